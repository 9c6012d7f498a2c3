//! What a node is started with, whoever collected it: configuration file, flags, or the demo.
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bitcoin::Network;
use lightning_chain_bitcoind::Auth;
use lightning_traits::config::UserConfig;
use lightning_traits::wire::NodeAddress;

/// Where blocks come from: a bitcoind, or an `lnode chain`, which speaks the same language.
#[derive(Clone, Debug)]
pub struct ChainOptions {
    /// Its RPC address.
    pub url: String,
    /// How to authenticate there.
    pub auth: Auth,
}

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The network.
    pub network: Network,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Where blocks come from.
    pub chain: ChainOptions,
    /// Where peers can connect.
    pub listen: Vec<SocketAddr>,
    /// Addresses to announce to the network.
    pub announce: Vec<NodeAddress>,
    /// The name to announce.
    pub alias: String,
    /// The colour to announce.
    pub color: [u8; 3],
    /// Channel limits, fees, payment limits.
    pub user: UserConfig,
    /// How often to look for new blocks.
    pub poll: Duration,
    /// After how many blocks without use a channel's monitor is kept in the store only.
    pub rest_after: u32,
}
