//! Gossip into a graph, routes out of it.
//!
//! [`Router`] implements [`RoutingMessageHandler`](lightning_traits::interface::RoutingMessageHandler) for the peer
//! layer and [`RouteFinder`](lightning_traits::interface::RouteFinder) for payments. It knows nothing of channels'
//! own state, so it also runs alone, in a pathfinding service.
//!
//! - `graph/`: nodes, channels and policies, by dense indices
//! - `gossip/`: verification as a pure step, look-ups on chain as values, relay, queries and sync
//! - `flat/`: the graph once more, as flat arrays for searches
//! - `search/`: the cheapest way for an amount, alone or in parts
//! - `knowledge/`: what payments have learnt of balances
//!
//! # Invariants
//! - only a [`Verified`] message enters the graph
//! - no clock: age is measured by the timestamps of blocks (I1)
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod flat;
mod gossip;
mod graph;
mod knowledge;
mod router;
mod search;

pub use flat::{FlatChannel, FlatCounts, FlatGraph};
pub use gossip::{GossipError, Unverified, Verified};
pub use graph::{ChannelInfo, Graph, GraphCounts, NodeInfo, Policy, Refused, SnapshotError};
pub use knowledge::Prior;
pub use router::{Router, RouterConfig, Utxo, UtxoCheck};
pub use search::{Pathfinder, Prices, find_path};
