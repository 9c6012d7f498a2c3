//! Mutual close (BOLT 2, "Channel Close"): `shutdown`, then the simplified or the legacy negotiation.
use bitcoin::{Amount, ScriptBuf};
use secp256k1::ecdsa::Signature;

use super::table::message;
use crate::id::ChannelId;
use crate::record;

message! {
    /// `shutdown`: the sender wants the channel closed once its HTLCs are gone.
    Shutdown = 38 {
        /// The channel.
        channel_id: ChannelId,
        /// Where the sender wants its funds.
        scriptpubkey: ScriptBuf as Counted,
    }
    tlvs {}
}

message! {
    /// `closing_signed`: a fee proposed in the legacy negotiation, with the signature for it.
    ClosingSigned = 39 {
        /// The channel.
        channel_id: ChannelId,
        /// The fee of the closing transaction.
        fee_satoshis: Amount,
        /// Signature for that transaction.
        signature: Signature,
    }
    tlvs {
        /// What the sender would accept.
        fee_range: FeeRange = 1,
    }
}

/// `fee_range` of `closing_signed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeRange {
    /// The lowest fee.
    pub min_fee_satoshis: Amount,
    /// The highest fee.
    pub max_fee_satoshis: Amount,
}
record!(struct FeeRange { min_fee_satoshis, max_fee_satoshis });

message! {
    /// `closing_complete`: the closer's transactions, which it pays for, with its signatures.
    ClosingComplete = 40 {
        /// The channel.
        channel_id: ChannelId,
        /// Where the closer is paid.
        closer_scriptpubkey: ScriptBuf as Counted,
        /// Where the other side, the closee, is paid.
        closee_scriptpubkey: ScriptBuf as Counted,
        /// The fee.
        fee_satoshis: Amount,
        /// `nLockTime` of the transaction.
        locktime: u32,
    }
    tlvs {
        /// Signature for the transaction without the closee's output.
        closer_output_only: Signature = 1,
        /// Signature for the transaction without the closer's output.
        closee_output_only: Signature = 2,
        /// Signature for the transaction with both outputs.
        closer_and_closee_outputs: Signature = 3,
    }
}

message! {
    /// `closing_sig`: the closee signs one of them.
    ClosingSig = 41 {
        /// The channel.
        channel_id: ChannelId,
        /// Where the closer is paid.
        closer_scriptpubkey: ScriptBuf as Counted,
        /// Where the closee is paid.
        closee_scriptpubkey: ScriptBuf as Counted,
        /// The fee.
        fee_satoshis: Amount,
        /// `nLockTime` of the transaction.
        locktime: u32,
    }
    tlvs {
        /// Signature for the transaction without the closee's output.
        closer_output_only: Signature = 1,
        /// Signature for the transaction without the closer's output.
        closee_output_only: Signature = 2,
        /// Signature for the transaction with both outputs.
        closer_and_closee_outputs: Signature = 3,
    }
}
