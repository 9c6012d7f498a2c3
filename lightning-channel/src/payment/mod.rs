//! Payments: what leaves as ours, what arrives for us.
//!
//! Pure state and pure functions: `manager/` drives them and talks to channels, route finder and user.
//!
//! | file | what |
//! | --- | --- |
//! | `params.rs` | what to pay, and payments as others see them |
//! | `outbound/` | payments of ours: attempts, retries, outcomes |
//! | `onion.rs` | the onion of one path |
//! | `probe.rs` | HTLCs that only find out |
//! | `learnt_terms.rs` | what a `channel_update` inside a failure is worth |
//! | `verdict.rs` | what a failed attempt teaches |
//! | `inbound.rs` | payments to us: parts, claims |
//! | `secret.rs` | payment secrets that carry what must be checked |
pub(crate) mod inbound;
mod learnt_terms;
pub(crate) mod onion;
pub(crate) mod outbound;
mod params;
pub(crate) mod probe;
pub(crate) mod secret;
pub(crate) mod verdict;

pub use inbound::ClaimError;
pub use onion::Recipient;
pub use params::{PayError, PayParams, PaymentDetails, PaymentState};
pub use probe::ProbeParams;
