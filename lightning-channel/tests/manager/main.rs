//! Whole managers talking to each other in memory: payments, failures, forwarding, restarts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod acceptance;
mod channels;
mod chaos;
mod collisions;
mod forwarding;
mod funding;
mod hold_times;
mod intercepting;
#[path = "../support/keys.rs"]
mod keys;
mod mocks;
mod on_chain;
mod onions;
mod parts;
mod payments;
mod probes;
mod record;
mod refusals;
mod resuming;
mod sizes;
mod stuck;
mod undecided;
mod world;
mod zero_conf;

/// Many threads may share a manager.
const fn is_shareable<T: Send + Sync>() {}
const _: () = is_shareable::<world::Manager>();
