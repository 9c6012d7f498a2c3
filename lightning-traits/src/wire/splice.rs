//! Quiescence and splicing (BOLT 2, "Channel Quiescence", "Channel Splicing").
use bitcoin::{SignedAmount, Txid};
use secp256k1::PublicKey;

use super::table::message;
use crate::id::ChannelId;
use crate::units::FeeratePerKw;

message! {
    /// `stfu`: the sender has no updates pending and makes no more.
    Stfu = 2 {
        /// The channel.
        channel_id: ChannelId,
        /// Whether the sender asks for quiescence, rather than answers.
        initiator: bool,
    }
    tlvs {}
}

message! {
    /// `splice_init`: asks to replace the funding transaction.
    SpliceInit = 80 {
        /// The channel.
        channel_id: ChannelId,
        /// What the sender adds to its side, or takes out.
        funding_contribution_satoshis: SignedAmount,
        /// Feerate of the splice transaction.
        funding_feerate_perkw: FeeratePerKw,
        /// `nLockTime` of the splice transaction.
        locktime: u32,
        /// The sender's key of the new funding output.
        funding_pubkey: PublicKey,
    }
    tlvs {
        /// The receiver must add confirmed inputs only.
        require_confirmed_inputs: () = 2,
    }
}

message! {
    /// `splice_ack`: agrees to that.
    SpliceAck = 81 {
        /// The channel.
        channel_id: ChannelId,
        /// What the sender adds to its side, or takes out.
        funding_contribution_satoshis: SignedAmount,
        /// The sender's key of the new funding output.
        funding_pubkey: PublicKey,
    }
    tlvs {
        /// The receiver must add confirmed inputs only.
        require_confirmed_inputs: () = 2,
    }
}

message! {
    /// `splice_locked`: the splice transaction is deep enough for the sender.
    SpliceLocked = 77 {
        /// The channel.
        channel_id: ChannelId,
        /// The splice transaction.
        splice_txid: Txid,
    }
    tlvs {}
}
