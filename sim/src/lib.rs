//! Deterministic simulation of a small network: the real channels, monitors and routers on an embedded chain.
//!
//! One thread and one seed. Messages wait on wires, writes wait for the disk, blocks wait to be fetched; the dice say what
//! moves next. A node may crash at any step: what its disk had not made durable is gone, and it starts again from the rest.
//! Between the structures stand proxies, some of which turn every call into bytes, so that no structure can know another
//! but through its interface.
//!
//! | file | what |
//! | --- | --- |
//! | `dice.rs` | all chance |
//! | `disk.rs` | a disk that is slow and loses what it has not written |
//! | `keys.rs` | the keys adapter with entropy from the dice |
//! | `parts.rs` | what the structures call, through proxies |
//! | `bank.rs` `coins.rs` | coins of the chain for funding transactions; those of each node for claims |
//! | `node.rs` | one node: what is durable, and what runs |
//! | `world.rs` | nodes, wires, chain |
//! | `user.rs` | what users ask for, and what they were told |
//! | `schedule.rs` | what the dice may do, and the end of all trouble |
//! | `oracle.rs` | what must be true |
//!
//! # Invariants
//! - same seed, same run (I10)
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a simulation that goes wrong stops at once and says where"
)]
mod bank;
mod coins;
mod dice;
mod disk;
mod keys;
mod node;
mod oracle;
mod parts;
#[path = "../../lightning-traits/tests/proxy/mod.rs"]
mod proxy;
mod schedule;
mod user;
mod world;

pub use schedule::{Backup, Outcome, Trouble, run};
