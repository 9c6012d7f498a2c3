//! Channel establishment v2 (BOLT 2): `open_channel2` and `accept_channel2`; the rest is interactive construction.
use bitcoin::constants::ChainHash;
use bitcoin::{Amount, ScriptBuf};
use secp256k1::PublicKey;

use super::table::message;
use crate::feature::ChannelType;
use crate::id::ChannelId;
use crate::units::{CsvDelay, FeeratePerKw, Msat};

message! {
    /// `open_channel2`: proposes a channel that both sides may fund.
    OpenChannel2 = 64 {
        /// The chain of the channel.
        chain_hash: ChainHash,
        /// Names the channel until both revocation basepoints are known.
        temporary_channel_id: ChannelId,
        /// Feerate of the funding transaction.
        funding_feerate_perkw: FeeratePerKw,
        /// Feerate of the commitment transactions.
        commitment_feerate_perkw: FeeratePerKw,
        /// What the sender puts into the channel.
        funding_satoshis: Amount,
        /// Outputs below this are left out of the sender's commitment.
        dust_limit_satoshis: Amount,
        /// The most that HTLCs offered to the sender may hold together.
        max_htlc_value_in_flight_msat: Msat,
        /// The smallest HTLC that the sender accepts.
        htlc_minimum_msat: Msat,
        /// How long the *other* side must wait for its own outputs.
        to_self_delay: CsvDelay,
        /// The most HTLCs that may be offered to the sender.
        max_accepted_htlcs: u16,
        /// `nLockTime` of the funding transaction.
        locktime: u32,
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
        /// Point of the sender's second commitment.
        second_per_commitment_point: PublicKey,
        /// Bit 0: `announce_channel`. The others are undefined and kept.
        channel_flags: u8,
    }
    tlvs {
        /// The only script a mutual close may pay the sender to; empty when it does not bind itself.
        upfront_shutdown_script: ScriptBuf as Rest = 0,
        /// The type of the channel.
        channel_type: ChannelType as Rest = 1,
        /// The receiver must add confirmed inputs only.
        require_confirmed_inputs: () = 2,
    }
}

message! {
    /// `accept_channel2`: the other side agrees and says what it adds.
    AcceptChannel2 = 65 {
        /// The name from `open_channel2`.
        temporary_channel_id: ChannelId,
        /// What the sender puts into the channel.
        funding_satoshis: Amount,
        /// Outputs below this are left out of the sender's commitment.
        dust_limit_satoshis: Amount,
        /// The most that HTLCs offered to the sender may hold together.
        max_htlc_value_in_flight_msat: Msat,
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
        /// Point of the sender's second commitment.
        second_per_commitment_point: PublicKey,
    }
    tlvs {
        /// The only script a mutual close may pay the sender to; empty when it does not bind itself.
        upfront_shutdown_script: ScriptBuf as Rest = 0,
        /// The type of the channel, as `open_channel2` had it.
        channel_type: ChannelType as Rest = 1,
        /// The receiver must add confirmed inputs only.
        require_confirmed_inputs: () = 2,
    }
}
