//! `lnode run`: from the configuration to a running node with its API, and to a clean end.
//!
//! # Invariants
//! - the API listens before the node starts, so that a user sees that it is starting; it answers once the chain is
//!   caught up
use std::sync::Arc;

use lightning_chain_bitcoind::FollowError;
use lightning_net_tokio::NetError;
use lightning_store_redb::StoreError;
use lightning_traits::interface::SourceError;

use super::wallet::OpenWalletError;
use super::{ChainOptions, Node, NodeBackend, NodeOptions, StartError};
use crate::api::{ApiServer, ServerOptions, Shutdown, Slot};
use crate::chain::{self, RunningChain};
use crate::config::{ChainConfig, Config};
use crate::error::{ApiError, Code};

/// Runs a node until it is told to stop.
///
/// # Errors
/// Why it cannot start, or had to stop.
pub fn run(config: &Config) -> Result<(), ApiError> {
    std::fs::create_dir_all(&config.data_dir).map_err(|error| {
        ApiError::new(Code::Disk, format!("{} cannot be made: {error}", config.data_dir.display()))
    })?;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| ApiError::new(Code::Internal, format!("no threads: {error}")))?;
    let (chain, _running) = chain_of(config)?;
    let options = NodeOptions {
        network: config.network,
        data_dir: config.data_dir.clone(),
        chain,
        listen: config.listen.clone(),
        announce: config.announce.clone(),
        alias: config.alias.clone(),
        color: config.color,
        user: config.user.clone(),
        poll: config.chain_poll,
    };
    runtime.block_on(serve(config, options))
}

async fn serve(config: &Config, options: NodeOptions) -> Result<(), ApiError> {
    let server = ApiServer::bind(ServerOptions::new(config.api_listen, &config.data_dir)).await?;
    tracing::info!(address = %server.address(), "API listens");
    let shutdown = Shutdown::new();
    let no_signals = |error| ApiError::new(Code::Internal, format!("no signals: {error}"));
    shutdown.on_signals().map_err(no_signals)?;
    let slot = Slot::new();
    let serving = tokio::spawn(server.serve(slot.clone(), shutdown.clone()));
    let started = tokio::task::spawn_blocking(move || Node::start(options)).await;
    let node = match started {
        Ok(Ok(node)) => node,
        Ok(Err(error)) => return Err(start_error(&error)),
        Err(panic) => {
            return Err(ApiError::new(Code::Internal, format!("the node could not start: {panic}")));
        }
    };
    slot.fill(Arc::new(NodeBackend(Arc::clone(node.inner()))));
    tracing::info!(node_id = %node.inner().channels.node_id(), "the node is running");
    let served = serving.await;
    let stopped = tokio::task::spawn_blocking(move || node.stop()).await;
    let failed = |what: &str, error: String| ApiError::new(Code::Internal, format!("{what}: {error}"));
    stopped.map_err(|error| failed("the node did not stop cleanly", error.to_string()))?;
    served
        .map_err(|error| failed("the API stopped", error.to_string()))?
        .map_err(|error| failed("the API stopped", error.to_string()))?;
    tracing::info!("stopped");
    Ok(())
}

/// Where blocks come from; the embedded chain of this process runs until it is dropped.
fn chain_of(config: &Config) -> Result<(ChainOptions, Option<RunningChain>), ApiError> {
    match &config.chain {
        ChainConfig::Own { listen, cookie } => {
            let running = RunningChain::start(chain::ChainOptions {
                listen: *listen,
                cookie: cookie.clone(),
                file: Some(config.data_dir.join(chain::CHAIN_FILE)),
                mine_every: None,
            })?;
            let url = format!("http://{}", running.address());
            let auth = lightning_chain_bitcoind::Auth::Cookie(cookie.clone());
            Ok((ChainOptions { url, auth }, Some(running)))
        }
        ChainConfig::Served { url, auth } | ChainConfig::Bitcoind { url, auth } => {
            Ok((ChainOptions { url: url.clone(), auth: auth.clone() }, None))
        }
    }
}

/// The error of a start with the code that users know it by.
pub fn start_error(error: &StartError) -> ApiError {
    let code = match error {
        StartError::DataDir(..) | StartError::Seed(_) | StartError::Thread(_) => Code::Disk,
        StartError::OtherNetwork(..) => Code::WrongNetwork,
        StartError::Store(error) | StartError::Wallet(OpenWalletError::Store(error)) => store_code(error),
        StartError::Wallet(_) | StartError::Monitor(_) | StartError::Channel(_) => Code::DatabaseCorrupt,
        StartError::Chain(error) | StartError::Follow(FollowError::Source(error)) => source_code(error),
        StartError::Follow(_) => Code::WrongNetwork,
        StartError::Net(NetError::AddressInUse { .. }) => Code::PortInUse,
        StartError::Net(_) => Code::CannotListen,
        StartError::Keys(_) => Code::Internal,
    };
    ApiError::new(code, error.to_string())
}

const fn store_code(error: &StoreError) -> Code {
    match error {
        StoreError::InUse(_) => Code::DatabaseInUse,
        StoreError::Disk(_) => Code::Disk,
        _ => Code::DatabaseCorrupt,
    }
}

const fn source_code(error: &SourceError) -> Code {
    match error {
        SourceError::WrongNetwork { .. } => Code::WrongNetwork,
        _ => Code::ChainUnreachable,
    }
}
