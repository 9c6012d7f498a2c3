//! What a monitor starts from.
use alloc::vec::Vec;

use bitcoin::{Amount, ScriptBuf};
use secp256k1::PublicKey;
use secp256k1::ecdsa::Signature;

use super::receipt::Receipt;
use super::update::RecordChange;
use crate::codec::{DecodeError, TlvRecords, decode_versioned, encode_versioned};
use crate::id::{ChannelId, ChannelKeysId, NodeId, UpdateId};
use crate::record;
use crate::tx::{
    ChannelPublicKeys, CommitmentFormat, CommitmentParams, CommitmentSpec, FundingOutput, ObscureFactor,
    TxSide,
};
use crate::units::{BlockHeight, CsvDelay};

/// What is constant about one party's commitments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartyTerms {
    /// The party's public keys.
    pub keys: ChannelPublicKeys,
    /// `dust_limit_satoshis` that the party announced: outputs of its own commitment below it are trimmed.
    pub dust_limit: Amount,
    /// How long the party waits for its own outputs of its own commitment; the other party chose it.
    pub to_self_delay: CsvDelay,
}
record!(struct PartyTerms { keys, dust_limit, to_self_delay });

/// Everything about a channel that never changes, and its first pair of commitments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorInit {
    /// The channel.
    pub channel: ChannelId,
    /// The peer.
    pub peer: NodeId,
    /// The name of our keys.
    pub keys: ChannelKeysId,
    /// The funding output.
    pub funding: FundingOutput,
    /// How commitments are built.
    pub format: CommitmentFormat,
    /// What hides commitment numbers in transactions.
    pub obscure: ObscureFactor,
    /// Whether we opened the channel and so pay commitment fees.
    pub we_opened: bool,
    /// Our terms.
    pub ours: PartyTerms,
    /// Their terms.
    pub theirs: PartyTerms,
    /// Our commitment 0.
    pub our_spec: CommitmentSpec,
    /// Their signature for it; there are no HTLCs yet.
    pub their_signature: Signature,
    /// Their commitment 0, from their point of view as its broadcaster.
    pub their_spec: CommitmentSpec,
    /// Their per-commitment point 0.
    pub their_point: PublicKey,
    /// Where what we claim on chain goes.
    pub destination: ScriptBuf,
    /// The height when the channel was made: no spend of it can be older.
    pub birth: BlockHeight,
}
record!(struct MonitorInit {
    channel, peer, keys, funding, format, obscure, we_opened, ours, theirs, our_spec, their_signature, their_spec,
    their_point, destination, birth
});

impl MonitorInit {
    /// Parameters of our commitments: we are their broadcaster.
    #[must_use]
    pub fn our_params(&self) -> CommitmentParams {
        let opener = if self.we_opened { TxSide::Broadcaster } else { TxSide::Countersigner };
        self.params(&self.ours, opener)
    }

    /// Parameters of their commitments: they are their broadcaster.
    #[must_use]
    pub fn their_params(&self) -> CommitmentParams {
        let opener = if self.we_opened { TxSide::Countersigner } else { TxSide::Broadcaster };
        self.params(&self.theirs, opener)
    }

    fn params(&self, broadcaster: &PartyTerms, opener: TxSide) -> CommitmentParams {
        CommitmentParams {
            format: self.format,
            funding: self.funding,
            obscure: self.obscure,
            dust_limit: broadcaster.dust_limit,
            to_self_delay: broadcaster.to_self_delay,
            broadcaster_funding_key: broadcaster.keys.funding,
            opener,
        }
    }
}

/// A new channel: what its monitor needs, and the channel's first durable record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMonitor {
    /// What the monitor starts from.
    pub init: MonitorInit,
    /// The channel's own state, opaque to the monitor, written together with `init` (I6).
    pub record: RecordChange,
    /// Records of a later age, kept.
    pub extra: TlvRecords,
}

/// The body of the versioned encoding.
struct Body {
    init: MonitorInit,
    record: RecordChange,
}
record!(struct Body { init, record });

impl NewMonitor {
    const VERSION: u8 = 1;

    /// Made by whoever has made this state durable, and by nobody else.
    pub const fn receipt(&self) -> Receipt {
        Receipt::new(self.init.channel, UpdateId(0))
    }

    /// The versioned encoding.
    #[must_use]
    pub fn to_versioned(&self) -> Vec<u8> {
        let body = Body { init: self.init.clone(), record: self.record.clone() };
        encode_versioned(Self::VERSION, &body, &self.extra)
    }

    /// Reads the versioned encoding.
    ///
    /// # Errors
    /// When the bytes are of another version or damaged.
    pub fn from_versioned(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (Body { init, record }, extra) = decode_versioned(Self::VERSION, bytes)?;
        Ok(Self { init, record, extra })
    }
}
