//! Channel establishment v1 (BOLT 2): `open_channel` to `channel_ready`.
use bitcoin::constants::ChainHash;
use bitcoin::{Amount, ScriptBuf, Txid};
use secp256k1::PublicKey;
use secp256k1::ecdsa::Signature;

use super::table::message;
use crate::feature::ChannelType;
use crate::id::{ChannelId, ShortChannelId};
use crate::units::{CsvDelay, FeeratePerKw, Msat};

message! {
    /// `open_channel`: the funder proposes a channel.
    OpenChannel = 32 {
        /// The chain of the channel.
        chain_hash: ChainHash,
        /// Names the channel until its funding is known; chosen by the funder.
        temporary_channel_id: ChannelId,
        /// What the funder puts into the channel.
        funding_satoshis: Amount,
        /// What the funder gives to the other side at the start.
        push_msat: Msat,
        /// Outputs below this are left out of the sender's commitment.
        dust_limit_satoshis: Amount,
        /// The most that HTLCs offered to the sender may hold together.
        max_htlc_value_in_flight_msat: Msat,
        /// What the other side must keep as its own.
        channel_reserve_satoshis: Amount,
        /// The smallest HTLC that the sender accepts.
        htlc_minimum_msat: Msat,
        /// Feerate of the commitment transactions.
        feerate_per_kw: FeeratePerKw,
        /// How long the *other* side must wait for its own outputs.
        to_self_delay: CsvDelay,
        /// The most HTLCs that may be offered to the sender.
        max_accepted_htlcs: u16,
        /// The sender's key of the funding output.
        funding_pubkey: PublicKey,
        /// The sender's `revocation_basepoint` (BOLT 3, "Key Derivation").
        revocation_basepoint: PublicKey,
        /// The sender's `payment_basepoint`.
        payment_basepoint: PublicKey,
        /// The sender's `delayed_payment_basepoint`.
        delayed_payment_basepoint: PublicKey,
        /// The sender's `htlc_basepoint`.
        htlc_basepoint: PublicKey,
        /// Point of the sender's first commitment.
        first_per_commitment_point: PublicKey,
        /// Bit 0: `announce_channel`. The others are undefined and kept.
        channel_flags: u8,
    }
    tlvs {
        /// The only script a mutual close may pay the sender to; empty when it does not bind itself.
        upfront_shutdown_script: ScriptBuf as Rest = 0,
        /// The type of the channel.
        channel_type: ChannelType as Rest = 1,
    }
}

impl OpenChannel {
    /// Bit of `channel_flags`: the channel is to be announced.
    pub const ANNOUNCE_CHANNEL: u8 = 1;

    /// Whether the channel is to be announced.
    #[must_use]
    pub const fn announces_channel(&self) -> bool {
        self.channel_flags & Self::ANNOUNCE_CHANNEL != 0
    }
}

message! {
    /// `accept_channel`: the other side agrees.
    AcceptChannel = 33 {
        /// The name from `open_channel`.
        temporary_channel_id: ChannelId,
        /// Outputs below this are left out of the sender's commitment.
        dust_limit_satoshis: Amount,
        /// The most that HTLCs offered to the sender may hold together.
        max_htlc_value_in_flight_msat: Msat,
        /// What the other side must keep as its own.
        channel_reserve_satoshis: Amount,
        /// The smallest HTLC that the sender accepts.
        htlc_minimum_msat: Msat,
        /// Confirmations of the funding transaction that the sender waits for.
        minimum_depth: u32,
        /// How long the *other* side must wait for its own outputs.
        to_self_delay: CsvDelay,
        /// The most HTLCs that may be offered to the sender.
        max_accepted_htlcs: u16,
        /// The sender's key of the funding output.
        funding_pubkey: PublicKey,
        /// The sender's `revocation_basepoint` (BOLT 3, "Key Derivation").
        revocation_basepoint: PublicKey,
        /// The sender's `payment_basepoint`.
        payment_basepoint: PublicKey,
        /// The sender's `delayed_payment_basepoint`.
        delayed_payment_basepoint: PublicKey,
        /// The sender's `htlc_basepoint`.
        htlc_basepoint: PublicKey,
        /// Point of the sender's first commitment.
        first_per_commitment_point: PublicKey,
    }
    tlvs {
        /// The only script a mutual close may pay the sender to; empty when it does not bind itself.
        upfront_shutdown_script: ScriptBuf as Rest = 0,
        /// The type of the channel, as `open_channel` had it.
        channel_type: ChannelType as Rest = 1,
    }
}

message! {
    /// `funding_created`: the funder names the funding output and signs the peer's first commitment.
    FundingCreated = 34 {
        /// The name from `open_channel`.
        temporary_channel_id: ChannelId,
        /// The funding transaction.
        funding_txid: Txid,
        /// The funding output in it.
        funding_output_index: u16,
        /// Signature for the receiver's first commitment.
        signature: Signature,
    }
    tlvs {}
}

message! {
    /// `funding_signed`: the other side signs the funder's first commitment.
    FundingSigned = 35 {
        /// The channel's lasting name.
        channel_id: ChannelId,
        /// Signature for the funder's first commitment.
        signature: Signature,
    }
    tlvs {}
}

message! {
    /// `channel_ready`: the funding transaction is deep enough for the sender.
    ChannelReady = 36 {
        /// The channel.
        channel_id: ChannelId,
        /// Point of the sender's second commitment.
        second_per_commitment_point: PublicKey,
    }
    tlvs {
        /// An alias by which the receiver may name the channel.
        short_channel_id: ShortChannelId = 1,
    }
}
