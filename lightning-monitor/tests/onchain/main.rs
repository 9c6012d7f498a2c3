//! BOLT 5 on a small chain with rules of its own: every kind of close, both formats, restarts at every block; each
//! transaction that the monitor broadcasts is checked by Bitcoin Core's script interpreter.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod blind;
mod breach;
mod candidates;
mod closes;
mod coins;
mod cycling;
mod deadlines;
mod families;
mod flood;
mod late;
mod market;
mod orders;
mod punish;
mod random;
mod reorg;
mod set;
mod sleep;
mod strange;
mod support;
mod undone;
