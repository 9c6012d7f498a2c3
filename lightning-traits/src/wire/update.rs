//! Updates of a commitment (BOLT 2): adding and removing HTLCs, and the fee.
use alloc::sync::Arc;
use alloc::vec::Vec;

use secp256k1::PublicKey;

use super::table::message;
use crate::id::{ChannelId, HtlcId};
use crate::payment::{PaymentHash, Preimage};
use crate::sphinx::{AttributionData, OnionPacket};
use crate::units::{CltvExpiry, FeeratePerKw, Msat};

message! {
    /// `update_add_htlc`: offers an HTLC.
    UpdateAddHtlc = 128 {
        /// The channel.
        channel_id: ChannelId,
        /// Number of the HTLC: counts up from zero on the offering side.
        id: HtlcId,
        /// What it is worth.
        amount_msat: Msat,
        /// What it is locked to.
        payment_hash: PaymentHash,
        /// When it times out.
        cltv_expiry: CltvExpiry,
        /// The onion for the receiver; shared, because it is kept for sending again.
        onion_routing_packet: Arc<OnionPacket>,
    }
    tlvs {
        /// Key with which a hop inside a blinded path reads its part of the path.
        path_key: PublicKey = 0,
    }
}

message! {
    /// `update_fulfill_htlc`: claims an HTLC with its preimage.
    UpdateFulfillHtlc = 130 {
        /// The channel.
        channel_id: ChannelId,
        /// The HTLC, offered by the receiver of this message.
        id: HtlcId,
        /// The preimage.
        payment_preimage: Preimage,
    }
    tlvs {
        /// How long each hop held the HTLC.
        attribution_data: AttributionData = 1,
    }
}

message! {
    /// `update_fail_htlc`: gives an HTLC back.
    UpdateFailHtlc = 131 {
        /// The channel.
        channel_id: ChannelId,
        /// The HTLC, offered by the receiver of this message.
        id: HtlcId,
        /// The encrypted failure for the origin of the payment.
        reason: Vec<u8> as Counted,
    }
    tlvs {
        /// Says which hop failed it, and how long each held it.
        attribution_data: AttributionData = 1,
    }
}

message! {
    /// `update_fail_malformed_htlc`: gives back an HTLC whose onion could not be read.
    UpdateFailMalformedHtlc = 135 {
        /// The channel.
        channel_id: ChannelId,
        /// The HTLC, offered by the receiver of this message.
        id: HtlcId,
        /// SHA-256 of the onion that could not be read; all zero inside a blinded path.
        sha256_of_onion: [u8; 32],
        /// A failure code of BOLT 4 with the `BADONION` bit.
        failure_code: u16,
    }
    tlvs {}
}

message! {
    /// `update_fee`: a new feerate for the commitment transactions; from the funder only.
    UpdateFee = 134 {
        /// The channel.
        channel_id: ChannelId,
        /// The feerate.
        feerate_per_kw: FeeratePerKw,
    }
    tlvs {}
}
