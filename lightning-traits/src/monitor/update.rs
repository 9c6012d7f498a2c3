//! What a monitor learns, step by step.
//!
//! # Invariants
//! - ids of one channel count up by one; 0 is the channel's [`NewMonitor`](super::NewMonitor)
//! - the bytes of an update grow with what changed, not with the HTLCs in flight (I13), but for the
//!   signatures that BOLT 2 itself sends anew for each HTLC
use alloc::vec::Vec;

use secp256k1::PublicKey;
use secp256k1::ecdsa::Signature;

use super::receipt::Receipt;
use crate::codec::{Decode, DecodeError, Encode, Reader, TlvRecords, decode_versioned, encode_versioned};
use crate::id::{ChannelId, CommitmentNumber, HtlcId, UpdateId};
use crate::payment::Preimage;
use crate::record;
use crate::tx::{CommitmentSecret, HtlcSpec, TxSide};
use crate::units::{FeeratePerKw, Msat};

/// How one side's next commitment differs from its previous one. Sides are as in `tx/`: of *that* commitment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitmentChange {
    /// Its number: one above the previous of the same side.
    pub number: CommitmentNumber,
    /// Its feerate.
    pub feerate: FeeratePerKw,
    /// What its broadcaster owns, before fees, without HTLCs.
    pub to_broadcaster: Msat,
    /// What its countersigner owns, before fees, without HTLCs.
    pub to_countersigner: Msat,
    /// HTLCs that the previous one did not have.
    pub added: Vec<HtlcSpec>,
    /// HTLCs that only the previous one had.
    pub removed: Vec<(TxSide, HtlcId)>,
}
record!(struct CommitmentChange { number, feerate, to_broadcaster, to_countersigner, added list, removed list });

/// One thing that a monitor must learn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MonitorStep {
    /// We have a new commitment, signed by them; until we revoke, the previous one stays valid too.
    OurCommitment {
        /// What changed.
        change: CommitmentChange,
        /// Their signature.
        signature: Signature,
        /// Their signatures for its HTLC transactions, in the order of its outputs.
        htlc_signatures: Vec<Signature>,
    },
    /// We are about to sign this commitment of theirs.
    TheirCommitment {
        /// What changed.
        change: CommitmentChange,
        /// Its per-commitment point.
        point: PublicKey,
    },
    /// They have revoked their commitment `number`.
    TheirRevocation {
        /// The revoked commitment.
        number: CommitmentNumber,
        /// What claims everything if it confirms.
        secret: CommitmentSecret,
    },
    /// We know a preimage: claim every HTLC that it opens.
    Preimage {
        /// The preimage.
        preimage: Preimage,
    },
    /// Both sides have asked to close; a cooperative close may spend the funding output from now on.
    ShutdownStarted {},
    /// Broadcast our latest commitment: the channel goes to the chain.
    ForceClose {},
    /// The peer has proven that our state is old (BOLT 2, `option_data_loss_protect`): never broadcast our
    /// commitment, wait for theirs, whose point this is.
    DataLoss {
        /// Their current per-commitment point, which makes our output of their commitment spendable.
        point: PublicKey,
    },
    /// The funding transaction of the peer never confirmed, or lacks the output that was negotiated: the channel is given
    /// up, and nothing need be watched (RELIABILITY A5).
    Abandoned {},
}
record!(enum MonitorStep {
    0 => OurCommitment { change, signature, htlc_signatures list },
    1 => TheirCommitment { change, point },
    2 => TheirRevocation { number, secret },
    3 => Preimage { preimage },
    4 => ShutdownStarted {},
    5 => ForceClose {},
    6 => DataLoss { point },
    7 => Abandoned {},
});

/// The channel's own durable state, or what changed in it; opaque to the monitor (I6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordChange {
    /// The channel's state did not change.
    Same {},
    /// Put behind the snapshot and the changes before.
    Append {
        /// The encoded change.
        bytes: Vec<u8>,
    },
    /// Replaces the snapshot and drops all changes.
    Snapshot {
        /// The encoded state.
        bytes: Vec<u8>,
    },
}
record!(enum RecordChange { 0 => Same {}, 1 => Append { bytes }, 2 => Snapshot { bytes } });

/// One durable step of one channel: what the monitor must learn, and the channel's own record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelMonitorUpdate {
    /// The channel.
    pub channel: ChannelId,
    /// Counts up by one.
    pub id: UpdateId,
    /// What the monitor must learn, in order; may be empty when only the record changes.
    pub steps: Vec<MonitorStep>,
    /// Written in the same atomic operation. A watchtower gets [`RecordChange::Same`], or sealed bytes.
    pub record: RecordChange,
    /// Records of a later age, kept.
    pub extra: TlvRecords,
}

/// The body of the versioned encoding.
struct Body {
    channel: ChannelId,
    id: UpdateId,
    steps: Vec<MonitorStep>,
    record: RecordChange,
}
record!(struct Body { channel, id, steps list, record });

impl ChannelMonitorUpdate {
    const VERSION: u8 = 1;

    /// Made by whoever has made this update durable, and by nobody else.
    pub const fn receipt(&self) -> Receipt {
        Receipt::new(self.channel, self.id)
    }

    /// The versioned encoding.
    #[must_use]
    pub fn to_versioned(&self) -> Vec<u8> {
        struct Borrowed<'a>(&'a ChannelMonitorUpdate);
        impl Encode for Borrowed<'_> {
            fn encode(&self, out: &mut Vec<u8>) {
                self.0.channel.encode(out);
                self.0.id.encode(out);
                crate::codec::encode_list(&self.0.steps, out);
                self.0.record.encode(out);
            }
        }
        encode_versioned(Self::VERSION, &Borrowed(self), &self.extra)
    }

    /// Reads the versioned encoding.
    ///
    /// # Errors
    /// When the bytes are of another version or damaged.
    pub fn from_versioned(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (Body { channel, id, steps, record }, extra) = decode_versioned(Self::VERSION, bytes)?;
        Ok(Self { channel, id, steps, record, extra })
    }
}

impl Decode for ChannelMonitorUpdate {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::from_versioned(&reader.read::<Vec<u8>>()?)
    }
}

impl Encode for ChannelMonitorUpdate {
    fn encode(&self, out: &mut Vec<u8>) {
        self.to_versioned().encode(out);
    }
}
