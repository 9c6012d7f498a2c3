//! Payments: what leaves as ours, what arrives for us.
//!
//! Pure state and pure functions: `manager/` drives them and talks to channels, route finder and user.
//!
//! | file | what |
//! | --- | --- |
//! | `outbound.rs` | payments of ours: attempts, retries, outcomes |
//! | `onion.rs` | the onion of one path |
//! | `verdict.rs` | what a failed attempt teaches |
//! | `inbound.rs` | payments to us: parts, claims |
//! | `secret.rs` | payment secrets that carry what must be checked |
pub(crate) mod inbound;
pub(crate) mod onion;
pub(crate) mod outbound;
pub(crate) mod secret;
pub(crate) mod verdict;

pub use inbound::ClaimError;
pub use onion::Recipient;
pub use outbound::{PayError, PayParams, PaymentDetails, PaymentState};
