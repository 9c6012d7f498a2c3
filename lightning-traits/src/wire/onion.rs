//! `onion_message` (BOLT 4, "Onion Messages"): carried here, read by whoever holds the keys.
use alloc::vec::Vec;

use secp256k1::PublicKey;

use super::table::message;

message! {
    /// `onion_message`: a message through several nodes, to be peeled or forwarded.
    OnionMessage = 513 {
        /// Key with which the receiver reads its part of the blinded path.
        path_key: PublicKey,
        /// The onion, opaque here.
        onion_message_packet: Vec<u8> as Counted,
    }
    tlvs {}
}
