//! The daemon: a node made of the library's structures and the adapters.
//!
//! `node.rs` puts the parts together, `pump.rs` makes durable what waits and lets it go on, `chain.rs` follows the chain,
//! `events.rs` answers what the structures report, `backend.rs` does what users ask, `books.rs` remembers for them, and `lock.rs` keeps a second process out.
mod backend;
mod blind;
mod books;
mod chain;
mod environment;
mod events;
mod life;
mod lock;
mod node;
mod openings;
mod options;
mod pump;
mod received;
mod record;
mod reserve;
mod restore;
mod run;
mod seed;
mod snapshots;
mod towers;
mod wallet;

pub use backend::NodeBackend;
pub use lock::DirLock;
pub(crate) use node::Inner;
pub use node::{Node, StartError};
pub use options::{ChainOptions, NodeOptions};
pub use restore::{ChannelAnswer, RestoreAnswer, RestoreOptions, TowerAnswer, restore};
pub use run::{run, start_error};
