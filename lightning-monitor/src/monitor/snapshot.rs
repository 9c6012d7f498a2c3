//! The encoding of a monitor: whole, versioned, with room for a later age; or, for a store, as its state and the parts of its
//! past beside it.
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use lightning_traits::codec::{
    Decode, DecodeError, Encode, Reader, TlvRecords, decode_list, decode_versioned, encode_list,
    encode_versioned,
};
use lightning_traits::payment::Preimage;

use super::{ChannelMonitor, Duty, OurCommitment, TheirCommitments};

const VERSION: u8 = 3;

/// The past, and what stands behind it.
struct Whole<M>(M);

impl Encode for Whole<&ChannelMonitor> {
    fn encode(&self, out: &mut Vec<u8>) {
        let past: Vec<Vec<u8>> = self.0.full_parts().iter().map(|part| part.to_vec()).collect();
        encode_list(&past, out);
        self.0.encode_state(out);
    }
}

impl Decode for Whole<ChannelMonitor> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let past = decode_list(reader)?;
        Ok(Self(ChannelMonitor::decode_state(reader, past)?))
    }
}

impl ChannelMonitor {
    /// The versioned encoding.
    #[must_use]
    pub fn to_versioned(&self) -> Vec<u8> {
        encode_versioned(VERSION, &Whole(self), &TlvRecords::new())
    }

    /// Reads the versioned encoding.
    ///
    /// # Errors
    /// When the bytes are of another version or damaged.
    pub fn from_versioned(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (Whole(monitor), extra) = decode_versioned(VERSION, bytes)?;
        extra.into_unknown_odd()?;
        Ok(monitor)
    }

    /// Parts of the past that never change again.
    pub(crate) fn full_parts(&self) -> &[Box<[u8]>] {
        self.theirs.past.parts()
    }

    /// All but the parts of the past that are full.
    pub(crate) fn encode_state(&self, out: &mut Vec<u8>) {
        self.init.encode(out);
        self.last_update.encode(out);
        self.ours.encode(out);
        self.previous.as_deref().cloned().encode(out);
        self.theirs.encode_state(out);
        self.secrets.encode(out);
        let preimages: Vec<Preimage> = self.preimages.values().cloned().collect();
        encode_list(&preimages, out);
        self.shutdown_started.encode(out);
        self.stance.encode(out);
        self.closing.encode(out);
        encode_list(&self.pending, out);
        self.told.encode(out);
        self.undone.encode(out);
        encode_list(&self.children, out);
    }

    /// Reads what [`ChannelMonitor::encode_state`] wrote; `past` is the parts that are full.
    pub(crate) fn decode_state(reader: &mut Reader<'_>, past: Vec<Vec<u8>>) -> Result<Self, DecodeError> {
        let (init, last_update, ours) = (reader.read()?, reader.read()?, reader.read()?);
        let previous: Option<OurCommitment> = reader.read()?;
        let theirs = TheirCommitments::decode_state(reader, past)?;
        let secrets = reader.read()?;
        let preimages: Vec<Preimage> = decode_list(reader)?;
        let preimages: BTreeMap<_, _> =
            preimages.into_iter().map(|preimage| (preimage.hash(), preimage)).collect();
        Ok(Self {
            init,
            last_update,
            ours,
            previous: previous.map(Box::new),
            theirs,
            secrets,
            preimages,
            shutdown_started: reader.read()?,
            stance: reader.read()?,
            closing: reader.read()?,
            pending: decode_list(reader)?,
            told: reader.read()?,
            undone: reader.read()?,
            duty: Duty::default(),
            children: decode_list(reader)?,
        })
    }
}
