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
//! | `script.rs` `profile.rs` | a run as a list of steps, made from a seed; what may happen and how often |
//! | `scenario.rs` `dance.rs` | generators for what is known to hurt; payments step by step, with cuts in between |
//! | `run.rs` `act.rs` `trouble.rs` | the steps one after the other, and the end of all trouble; what each does |
//! | `shrink.rs` | the shortest script that still fails |
//! | `topology.rs` | networks to begin with |
//! | `world.rs` `talk.rs` `wires.rs` | nodes and chain; messages; connections |
//! | `market.rs` `tree.rs` | what room in blocks costs; blocks that go again, for others of the same chain or of another |
//! | `clash.rs` | both sides go to the chain at once, deadlines pass, miners choose (scenarios 9, 10, 12, 15 and 22) |
//! | `follow.rs` | who fetches blocks |
//! | `node.rs` | one node: what is durable, and what runs |
//! | `disk.rs` `store.rs` `media.rs` | what waits to be written; a log with checksums, that is read back; files that tear when the power fails |
//! | `keys.rs` | the keys adapter with entropy from the dice, and a signer that takes its time |
//! | `parts.rs` | what the structures call, through proxies |
//! | `towers.rs` `guard.rs` `view.rs` | watchtowers of a node, over the real client, service and quorum; a tower's machine; how it sees the chain |
//! | `absent.rs` | clients of towers that go, and what happens to their towers then |
//! | `bank.rs` `coins.rs` | coins of the chain for funding transactions; those of each node for claims |
//! | `villain.rs` `plot.rs` `heap.rs` `lie.rs` | nodes that do as they like; what they do in a step; how they change what they say |
//! | `opening.rs` | users who fund several channels at once, with another wallet, or trust their peers |
//! | `unbuilt.rs` | messages of what is not built |
//! | `user.rs` | what users ask for, and what they were told |
//! | `oracle/` | what must be true |
//! | `coverage.rs` | what was seen |
//! | `journal.rs` | what crossed the boundaries, written down and compared |
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
mod absent;
mod act;
mod bank;
mod clash;
mod coins;
mod coverage;
mod dance;
mod dice;
mod disk;
mod follow;
mod guard;
mod heap;
mod journal;
mod keys;
mod lie;
mod market;
mod media;
mod node;
mod opening;
mod oracle;
mod parts;
mod plot;
mod profile;
#[path = "../../lightning-traits/tests/proxy/mod.rs"]
mod proxy;
mod run;
mod scenario;
mod script;
mod shrink;
mod store;
mod talk;
mod topology;
mod towers;
mod tree;
mod trouble;
mod unbuilt;
mod user;
mod view;
mod villain;
mod wires;
mod world;

pub use coverage::Coverage;
pub use journal::{Boundary, Differs, record, replay};
pub use oracle::{Broken, Oracle};
pub use profile::Profile;
pub use run::{Outcome, run};
pub use scenario::list_scenarios;
pub use script::{Move, Script, Step};
pub use shrink::shortest;
