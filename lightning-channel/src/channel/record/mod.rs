//! The channel's durable record: a versioned snapshot and the changes appended to it.
//!
//! DESIGN section 5, "One durable record per channel". The record is written together with the monitor update of the
//! same step, and is the only truth about the channel (I6). Restart: decode the snapshot, apply the changes.
//!
//! # Invariants
//! - all that is stored is sealed by a checksum, and nothing is read whose seal is broken (RELIABILITY J12)
//! - applying the appended entries to the snapshot gives the state that a new snapshot would encode
mod facts;
mod journal;
mod retreat;

use alloc::boxed::Box;
use alloc::vec::Vec;

use lightning_traits::codec::checksum::{seal, unseal};
use lightning_traits::codec::{
    Decode, DecodeError, Encode, Reader, TlvRecords, decode_versioned, encode_versioned,
};

pub use facts::TheirTerms;
pub(crate) use facts::{
    Announcement, Closer, ClosingWish, Confirmation, Entry, Facts, Funder, Milestone, Ready, Shutdown, Stage,
};
pub(crate) use journal::{Journal, Log, decode_entries};

use super::open::Funded;
use super::resolving::Resolving;

/// The durable part of a channel.
#[derive(Debug)]
pub(crate) enum Durable {
    Funded(Box<Funded>),
    Resolving(Box<Resolving>),
}

const VERSION: u8 = 1;
/// What snapshots are sealed under, and so not taken for anything else.
const SNAPSHOT: &[u8] = b"snapshot";

impl Decode for Durable {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.read::<u8>()? {
            0 => Ok(Self::Funded(Box::new(Funded::new(reader.read()?, reader.read()?)))),
            1 => reader.read().map(Box::new).map(Self::Resolving),
            _ => Err(DecodeError::InvalidValue("phase of a channel's record")),
        }
    }
}

fn encode_funded(state: &Funded, out: &mut Vec<u8>) {
    out.push(0);
    state.commitments().encode(out);
    state.facts().encode(out);
}

fn encode_resolving(state: &Resolving, out: &mut Vec<u8>) {
    out.push(1);
    state.encode(out);
}

/// The snapshot of a funded channel.
pub(crate) fn snapshot_funded(state: &Funded) -> Vec<u8> {
    struct Borrowed<'a>(&'a Funded);
    impl Encode for Borrowed<'_> {
        fn encode(&self, out: &mut Vec<u8>) {
            encode_funded(self.0, out);
        }
    }
    seal(SNAPSHOT, encode_versioned(VERSION, &Borrowed(state), &TlvRecords::default()))
}

/// The snapshot of a channel that the chain decides.
pub(crate) fn snapshot_resolving(state: &Resolving) -> Vec<u8> {
    struct Borrowed<'a>(&'a Resolving);
    impl Encode for Borrowed<'_> {
        fn encode(&self, out: &mut Vec<u8>) {
            encode_resolving(self.0, out);
        }
    }
    seal(SNAPSHOT, encode_versioned(VERSION, &Borrowed(state), &TlvRecords::default()))
}

impl Durable {
    /// The state that a snapshot and the changes after it say.
    pub(crate) fn read(snapshot: &[u8], changes: &[Vec<u8>]) -> Result<Self, DecodeError> {
        let (mut durable, _) = decode_versioned::<Self>(VERSION, unseal(SNAPSHOT, snapshot)?)?;
        for bytes in changes {
            for entry in decode_entries(bytes)? {
                durable.apply(&entry);
            }
        }
        Ok(durable)
    }

    /// Applies one entry; what followed from it was told, or is told again from the state.
    fn apply(&mut self, entry: &Entry) {
        match self {
            Self::Funded(state) => drop(state.evolve(entry)),
            Self::Resolving(state) => drop(state.evolve(entry)),
        }
    }
}
