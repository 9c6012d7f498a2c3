//! Onions: how a payment finds its way without the hops knowing each other (BOLT 4).
//!
//! The channel peels, forwards and returns; the payer builds and reads what comes back; onion messages will use
//! the same packets in another size. No state and no policy here: bytes, keys and the values inside.
//!
//! # Invariants
//! - sees `units`, `id`, `payment`, `codec` and nothing else of this crate
//! - bytes from a peer never panic and never allocate more than a small multiple of their size (I9)
//! - secrets are compared in constant time and erased when dropped
//!
//! | file | what |
//! | --- | --- |
//! | `secret.rs` | shared secrets, derived keys, the pseudo-random stream |
//! | `packet.rs` | the packet as it travels |
//! | `build.rs` | origin: hops and payloads to packet |
//! | `peel.rs` | hop: packet to payload and next packet |
//! | `payload.rs` | the TLV payload of a hop |
//! | `failure.rs` | failure messages |
//! | `error_packet.rs` | failures on their way back |
//! | `attribution.rs` | who delayed or spoiled what comes back |
//! | `blinding.rs` | keys of blinded paths |
mod attribution;
mod blinding;
mod build;
mod error_packet;
mod failure;
mod packet;
mod payload;
mod peel;
mod secret;

pub use attribution::{
    ATTRIBUTION_DATA_LEN, AttributionData, MAX_ATTRIBUTED_HOPS, fulfil, verify_fulfilment,
};
pub use blinding::{blinded_node_id, next_path_key, unblind_ephemeral_key};
pub use build::{OnionError, build, build_into, hop_len, shared_secrets};
pub use error_packet::{DecodedError, ErrorSource, MAX_ATTRIBUTED_REASON_LEN, create, create_attributed};
pub use error_packet::{decode, wrap, wrap_attributed};
pub use failure::{Failure, FailureCode};
pub use packet::{OnionPacket, PAYMENT_PACKET_LEN, PAYMENT_PAYLOADS_LEN, Payloads};
pub use payload::{BlindedPayload, FinalPayload, ForwardPayload, HopPayload, PayloadError, PaymentData};
pub use payload::{FIRST_CUSTOM_RECORD, KEYSEND_RECORD};
pub use peel::{PeelError, Peeled, peel, peel_at, peel_with_secret};
pub use secret::SharedSecret;
