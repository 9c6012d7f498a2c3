//! Payments: what leaves as ours, what arrives for us.
mod onion;
mod secret;
mod verdict;

pub use onion::Recipient;
