//! Updates of a commitment (BOLT 2): adding and removing HTLCs, and the fee.
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use secp256k1::PublicKey;

use super::table::message;
use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::id::{ChannelId, HtlcId};
use crate::payment::{PaymentHash, Preimage};
use crate::units::{CltvExpiry, FeeratePerKw, Msat};

/// A byte string of fixed length too long to print.
macro_rules! long_bytes {
    ($($(#[$doc:meta])* $name:ident($length:literal);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(pub [u8; $length]);

        impl $name {
            /// How many bytes it has.
            pub const LEN: usize = $length;
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))?;
                self.0.iter().take(8).try_for_each(|byte| write!(f, " {byte:02x}"))?;
                f.write_str(" ..")
            }
        }

        impl Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.0);
            }
        }

        impl Decode for $name {
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                reader.array().map(Self)
            }
        }
    )*};
}
long_bytes! {
    /// `onion_routing_packet`: the 1366 bytes of a payment onion, opaque here (BOLT 4, "Packet Structure").
    OnionRouting(1366);
    /// `attribution_data`: 20 hold times of 4 bytes, then 210 truncated HMACs of 4 bytes (BOLT 4, "Returning Errors").
    AttributionData(920);
}

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
        onion_routing_packet: Arc<OnionRouting>,
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
        attribution_data: Box<AttributionData> = 1,
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
        attribution_data: Box<AttributionData> = 1,
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
