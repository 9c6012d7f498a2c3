//! `lnode chain` and `lnode mine`: the embedded chain for all nodes of a machine, and blocks when they are needed.
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, Network};
use clap::{Arg, ArgMatches, Command, value_parser};
use lightning_chain_bitcoind::{Auth, BitcoindClient};
use serde_json::{Map, json};

use super::{Client, print};
use crate::api::Shutdown;
use crate::api::kind::FromText as _;
use crate::api::methods::View;
use crate::api::response::NewAddress;
use crate::chain::{CHAIN_FILE, ChainOptions, RunningChain};
use crate::config::{CHAIN_COOKIE, ChainConfig, Config, Sources, parse_socket};
use crate::error::{ApiError, Code};
use crate::logging;
use crate::output::{self, Format};

/// Not `listen`, which is where peers connect.
const LISTEN: &str = "chain-listen";
const COOKIE: &str = "cookie";
const EVERY: &str = "mine-every";
const BLOCKS: &str = "blocks";
const TO: &str = "to";
/// The word for the wallet of the node.
const WALLET: &str = "wallet";

pub(super) fn build_chain(command: Command) -> Command {
    command
        .about("Run the embedded regtest chain for all nodes of this machine, with bitcoind's RPC")
        .arg(
            Arg::new(LISTEN)
                .long("listen")
                .value_name("HOST:PORT")
                .help("Where its RPC listens [env: LNODE_CHAIN_LISTEN] [default: 127.0.0.1:9743]"),
        )
        .arg(
            Arg::new(COOKIE)
                .long(COOKIE)
                .value_name("PATH")
                .value_parser(value_parser!(PathBuf))
                .help("Where its cookie is written [default: chain.cookie in the data directory]"),
        )
        .arg(
            Arg::new(EVERY)
                .long(EVERY)
                .value_name("SECONDS")
                .value_parser(value_parser!(u64).range(1..=86_400))
                .help("Mine a block so often"),
        )
}

pub(super) fn run_chain(given: &ArgMatches, sources: &Sources, _: Format) -> Result<(), ApiError> {
    let config = regtest(sources)?;
    logging::start(&config.log)?;
    let listen = match given.get_one::<String>(LISTEN) {
        Some(text) => parse_socket(text).ok_or_else(|| {
            ApiError::bad(format!(
                "--listen must be an address and a port such as 127.0.0.1:9743, not {text:?}"
            ))
        })?,
        None => configured_listen(&config),
    };
    fs::create_dir_all(&config.data_dir).map_err(|error| {
        ApiError::new(Code::Disk, format!("{} cannot be made: {error}", config.data_dir.display()))
    })?;
    let cookie = given.get_one::<PathBuf>(COOKIE).cloned();
    let cookie = cookie.unwrap_or_else(|| config.data_dir.join(CHAIN_COOKIE));
    let running = RunningChain::start(ChainOptions {
        listen,
        cookie: cookie.clone(),
        file: Some(config.data_dir.join(CHAIN_FILE)),
        mine_every: given.get_one::<u64>(EVERY).map(|seconds| Duration::from_secs(*seconds)),
    })?;
    let address = running.address();
    // A line on standard output, for scripts that start it with port 0.
    print(&format!("chain at {address}, height {}", running.chain().height()));
    tracing::info!("nodes use it with --chain-url {address} --chain-cookie {}", cookie.display());
    wait_for_signal()
}

fn configured_listen(config: &Config) -> SocketAddr {
    match &config.chain {
        ChainConfig::Own { listen, .. } => *listen,
        ChainConfig::Served { .. } | ChainConfig::Bitcoind { .. } => {
            SocketAddr::from(([127, 0, 0, 1], 9_743))
        }
    }
}

fn wait_for_signal() -> Result<(), ApiError> {
    let wrong = |error: std::io::Error| ApiError::new(Code::Internal, format!("no signals: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(wrong)?;
    runtime.block_on(async {
        let shutdown = Shutdown::new();
        shutdown.on_signals().map_err(wrong)?;
        shutdown.wait().await;
        Ok(())
    })
}

pub(super) fn build_mine(command: Command) -> Command {
    command
        .about("Mine blocks on the embedded chain, or on a bitcoind of regtest")
        .arg(
            Arg::new(BLOCKS)
                .value_name("BLOCKS")
                .value_parser(value_parser!(u32).range(1..=10_000))
                .default_value("1")
                .help("How many"),
        )
        .arg(
            Arg::new(TO)
                .long(TO)
                .value_name("ADDRESS|wallet")
                .help("Who gets the coins: an address, or the wallet of the node; nobody if not given"),
        )
}

pub(super) fn run_mine(given: &ArgMatches, sources: &Sources, format: Format) -> Result<(), ApiError> {
    let config = regtest(sources)?;
    let count = given.get_one::<u32>(BLOCKS).copied().unwrap_or(1);
    let address = match given.get_one::<String>(TO).map(String::as_str) {
        None => burn_address()?,
        Some(WALLET) => {
            let fresh: NewAddress = Client::new(&config)?.ask("newaddr", Map::new())?;
            regtest_address(&fresh.address)?
        }
        Some(text) => regtest_address(text)?,
    };
    let miner = match &config.chain {
        ChainConfig::Own { listen, cookie } => {
            BitcoindClient::new(&listen.to_string(), Auth::Cookie(cookie.clone()), config.network)
        }
        ChainConfig::Served { url, auth } | ChainConfig::Bitcoind { url, auth } => {
            BitcoindClient::new(url, auth.clone(), config.network)
        }
    };
    let mined = miner.generate(count, &address);
    let hashes = mined.map_err(|error| {
        ApiError::from(error).hint("run a chain with `lnode chain`, or a node with its own with `lnode run`")
    })?;
    let hashes: Vec<String> = hashes.iter().map(ToString::to_string).collect();
    let answer = json!({ "blocks": hashes.len(), "tip": hashes.last(), "to": address.to_string() });
    print(&output::show(format, View::Fields, &answer));
    Ok(())
}

/// The configuration, if blocks can be mined on its network.
fn regtest(sources: &Sources) -> Result<Config, ApiError> {
    let config = Config::load(sources)?;
    if config.network == Network::Regtest {
        return Ok(config);
    }
    Err(ApiError::new(Code::WrongNetwork, "blocks are made on regtest only").hint("use --network regtest"))
}

fn regtest_address(text: &str) -> Result<Address, ApiError> {
    let address = Address::<NetworkUnchecked>::from_text(text)
        .ok_or_else(|| ApiError::bad(format!("--to must be a bitcoin address or `wallet`, not {text:?}")))?;
    address.require_network(Network::Regtest).map_err(|_| {
        ApiError::new(Code::WrongNetwork, format!("{text} is no address of regtest"))
            .hint("`lnode newaddr` makes one")
    })
}

/// An address that nobody has a key of: the hash of its program is chosen, not computed.
fn burn_address() -> Result<Address, ApiError> {
    let program = bitcoin::WitnessProgram::new(bitcoin::WitnessVersion::V0, &[0; 32])
        .map_err(|error| ApiError::new(Code::Internal, error.to_string()))?;
    Ok(Address::from_witness_program(program, Network::Regtest))
}
