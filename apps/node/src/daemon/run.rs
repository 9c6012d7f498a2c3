//! `lnode run`: from the configuration to a running node with its API, and to a clean end.
//!
//! # Invariants
//! - the API listens before the node starts, so that a user sees that it is starting; it answers once the chain is
//!   caught up
use std::sync::Arc;

use super::life;
use super::wallet::OpenWalletError;
use super::{ChainOptions, DirLock, Node, NodeBackend, NodeOptions, StartError};
use crate::api::{ApiServer, ServerOptions, Shutdown, Slot};
use crate::chain::{self, RunningChain};
use crate::config::{ChainConfig, Config};
use crate::error::{ApiError, Code};

/// Runs a node until it is told to stop.
///
/// # Errors
/// Why it cannot start, or had to stop.
pub fn run(config: &Config) -> Result<(), ApiError> {
    // Before anything in the directory is touched, the files of the API and of the chain included.
    let _lock = DirLock::take(&config.data_dir)?;
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
        rest_after: config.rest_after,
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
        Ok(Err(StartError::Replaced(why))) => return stay_frozen(&why, &slot, serving).await,
        Ok(Err(error)) => return Err(start_error(error)),
        Err(panic) => {
            return Err(ApiError::new(Code::Internal, format!("the node could not start: {panic}")));
        }
    };
    slot.fill(Arc::new(NodeBackend(Arc::clone(node.inner()))));
    tracing::info!(node_id = %node.inner().channels.node_id(), "the node is running");
    let mut serving = serving;
    let mut frozen = node.inner().frozen.subscribe();
    let why = tokio::select! {
        served = &mut serving => Err(served),
        why = frozen.wait_for(Option::is_some) => Ok(why.ok().and_then(|why| why.clone()).unwrap_or_default()),
    };
    let served = match why {
        Err(served) => served,
        Ok(why) => {
            // The threads have ended by themselves; what is left of it hangs up.
            slot.freeze(life::error(&why));
            let stopped = tokio::task::spawn_blocking(move || node.stop()).await;
            if let Err(error) = stopped {
                tracing::error!("the frozen node did not stop cleanly: {error}");
            }
            return stay_frozen(&why, &slot, serving).await;
        }
    };
    let stopped = tokio::task::spawn_blocking(move || node.stop()).await;
    let failed = |what: &str, error: String| ApiError::new(Code::Internal, format!("{what}: {error}"));
    stopped.map_err(|error| failed("the node did not stop cleanly", error.to_string()))?;
    served
        .map_err(|error| failed("the API stopped", error.to_string()))?
        .map_err(|error| failed("the API stopped", error.to_string()))?;
    tracing::info!("stopped");
    Ok(())
}

/// Does nothing but say why, until it is stopped.
async fn stay_frozen(
    why: &str,
    slot: &Slot,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
) -> Result<(), ApiError> {
    tracing::error!("{why}: this instance is frozen");
    slot.freeze(life::error(why));
    let served = serving.await;
    let failed = |error: String| ApiError::new(Code::Internal, format!("the API stopped: {error}"));
    served.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
}

/// Where blocks come from; the embedded chain of this process runs until it is dropped.
pub(super) fn chain_of(config: &Config) -> Result<(ChainOptions, Option<RunningChain>), ApiError> {
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

/// The error of a start with the code that users know it by, and what to do.
#[must_use]
pub fn start_error(error: StartError) -> ApiError {
    let code = match &error {
        StartError::DataDir(..) | StartError::Seed(_) | StartError::Thread(_) => Code::Disk,
        StartError::OtherNetwork(..) => Code::WrongNetwork,
        StartError::Towers(_) => Code::BadConfig,
        StartError::Replaced(why) => return life::error(why),
        StartError::Monitor(_) | StartError::Channel(_) => Code::DatabaseCorrupt,
        StartError::Keys(_) => Code::Internal,
        StartError::Store(_) | StartError::Wallet(_) | StartError::Chain(_) => return of_part(error),
        StartError::Follow(_) | StartError::Net(_) => return of_part(error),
    };
    ApiError::new(code, error.to_string())
}

/// The error of an adapter.
fn of_part(error: StartError) -> ApiError {
    match error {
        StartError::Store(error) | StartError::Wallet(OpenWalletError::Store(error)) => error.into(),
        StartError::Wallet(OpenWalletError::Wallet(error)) => error.into(),
        StartError::Chain(error) => error.into(),
        StartError::Follow(error) => error.into(),
        StartError::Net(error) => ApiError::from(error).hint("see --listen of `lnode run`"),
        other => ApiError::new(Code::Internal, other.to_string()),
    }
}
