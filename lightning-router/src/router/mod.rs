//! The structure that peers and payments talk to.
//!
//! Methods: getters [`Router::counts`], [`Router::with_graph`], [`Router::snapshot`]; inputs `on_routing_message`, `on_own_message`,
//! `peer_connected`, [`Router::answer_utxo`], blocks; commands `find_route`, `report`;
//! outputs `next_message`, [`Router::next_utxo_query`].
//!
//! `inbound.rs` what comes from peers, `outbound.rs` what they are owed, `routes.rs` questions of payments.
//!
//! # Invariants
//! - signatures are checked before the lock is taken where the graph is not needed for it, and nothing foreign is
//!   called under the lock (I7)
mod inbound;
mod outbound;
mod routes;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bitcoin::block::Header;
use bitcoin::constants::ChainHash;
use bitcoin::{BlockHash, Network, OutPoint, TxOut};
use lightning_traits::Secp;
use lightning_traits::codec::{TlvRecords, decode_versioned, encode_versioned};
use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::interface::{ChainListener, ConfirmedTransaction};
use lightning_traits::record;
use lightning_traits::sync::Mutex;
use lightning_traits::units::BlockHeight;
use lightning_traits::wire::RoutingMessage;

use crate::flat::FlatGraph;
use crate::gossip::{Peers, Pending};
use crate::graph::{Graph, GraphCounts, SnapshotError, seal, unseal};
use crate::knowledge::Prior;
use crate::search::{Pathfinder, Prices};

/// Whether announced channels are looked up on chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UtxoCheck {
    /// A channel enters the graph once its output was found: the cost of a lie is a real output.
    #[default]
    Required,
    /// Signatures are enough: for tests, and for those who trust their peers.
    Trusted,
}

/// What a look-up on chain found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Utxo {
    /// Where the output is.
    pub outpoint: OutPoint,
    /// What it is; it must be unspent.
    pub output: TxOut,
}

/// Choices of a [`Router`].
#[derive(Clone, Debug)]
pub struct RouterConfig {
    /// The chain that gossip must be of.
    pub network: Network,
    /// Our own node.
    pub us: NodeId,
    /// Whether announced channels are looked up on chain.
    pub utxo_check: UtxoCheck,
    /// What is not a fee and costs a payer all the same: prefers quick and likely routes among cheap ones.
    pub prices: Prices,
    /// What is thought of balances that nobody has tried.
    pub prior: Prior,
}

impl RouterConfig {
    /// Sensible choices for a node of this key on this network.
    #[must_use]
    pub const fn new(network: Network, us: NodeId) -> Self {
        Self { network, us, utxo_check: UtxoCheck::Required, prices: Prices::USUAL, prior: Prior::Mixed }
    }

    fn chain(&self) -> ChainHash {
        ChainHash::using_genesis_block_const(self.network)
    }
}

/// Gossip in, routes out.
pub struct Router {
    secp: Secp,
    config: RouterConfig,
    state: Mutex<State>,
}

struct State {
    graph: Graph,
    /// The graph as searches want it; follows when one is asked.
    flat: FlatGraph,
    pathfinder: Pathfinder,
    pending: Pending,
    peers: Peers,
    relay: VecDeque<(Option<NodeId>, RoutingMessage)>,
    tip: Option<(BlockHash, BlockHeight)>,
    /// Timestamp of the latest block: the only clock there is.
    now: u32,
}

/// What [`Router::snapshot`] writes.
struct Stored {
    chain: ChainHash,
    tip: Option<(BlockHash, BlockHeight)>,
    now: u32,
    graph: Vec<u8>,
}
record!(struct Stored { chain, tip, now, graph });

const VERSION: u8 = 1;

/// Messages that may wait to be relayed.
const MAX_RELAY: usize = 10_000;

impl Router {
    /// A router that knows nothing yet.
    #[must_use]
    pub fn new(config: RouterConfig) -> Self {
        let state = State {
            graph: Graph::default(),
            flat: FlatGraph::default(),
            pathfinder: Pathfinder::new(config.prior, config.prices),
            pending: Pending::default(),
            peers: Peers::default(),
            relay: VecDeque::new(),
            tip: None,
            now: 0,
        };
        Self { secp: Secp::new(), config, state: Mutex::new(state) }
    }

    /// A router that knows what [`Router::snapshot`] wrote. The chain must go on from its
    /// [`best_block`](ChainListener::best_block), so that no close is missed.
    ///
    /// # Errors
    /// [`SnapshotError`] when the bytes are damaged or of another chain; then begin anew, peers have the graph.
    pub fn restore(config: RouterConfig, snapshot: &[u8]) -> Result<Self, SnapshotError> {
        let (stored, _) =
            decode_versioned::<Stored>(VERSION, unseal(snapshot)?).map_err(SnapshotError::Decode)?;
        if stored.chain != config.chain() {
            return Err(SnapshotError::OtherChain);
        }
        let router = Self::new(config);
        {
            let mut state = router.state.lock();
            state.graph = Graph::from_snapshot(&stored.graph)?;
            state.tip = stored.tip;
            state.now = stored.now;
        }
        Ok(router)
    }

    /// The graph and the block that it is true of as bytes, to begin from after a restart.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        let state = self.state.lock();
        let (chain, tip, now) = (self.config.chain(), state.tip, state.now);
        let stored = Stored { chain, tip, now, graph: state.graph.to_snapshot() };
        seal(&encode_versioned(VERSION, &stored, &TlvRecords::new()))
    }

    /// How large the graph is.
    #[must_use]
    pub fn counts(&self) -> GraphCounts {
        self.state.lock().graph.counts()
    }

    /// Looks at the graph. Nothing else of the router may be called inside.
    pub fn with_graph<T>(&self, look: impl FnOnce(&Graph) -> T) -> T {
        look(&self.state.lock().graph)
    }

    /// The next output that must be looked up on chain: answer with [`Router::answer_utxo`].
    #[must_use]
    pub fn next_utxo_query(&self) -> Option<ShortChannelId> {
        let mut state = self.state.lock();
        let tip = state.tip.map(|(_, height)| height);
        state.pending.next_to_ask(tip)
    }
}

impl ChainListener for Router {
    fn filtered_block_connected(
        &self,
        header: &Header,
        transactions: &[ConfirmedTransaction<'_>],
        height: BlockHeight,
    ) {
        let mut state = self.state.lock();
        state.tip = Some((header.block_hash(), height));
        state.now = state.now.max(header.time);
        state.pending.forget_absent();
        state.peers.on_block();
        for confirmed in transactions {
            for input in &confirmed.transaction.input {
                state.graph.mark_spent(&input.previous_output, height);
            }
        }
        let now = state.now;
        state.graph.prune(height, Some(now), Some(&self.config.us));
        let (flat, pathfinder) = state.paths();
        pathfinder.forget_before(flat, height);
    }

    fn block_disconnected(&self, header: &Header, height: BlockHeight) {
        let mut state = self.state.lock();
        state.tip = Some((header.prev_blockhash, height.minus(1)));
        state.graph.unmark_spent(height);
    }

    fn best_block(&self) -> Option<(BlockHash, BlockHeight)> {
        self.state.lock().tip
    }
}
