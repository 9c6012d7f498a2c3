//! The configuration: what `lnode run` and all other commands are told, from flags, environment and file.
//!
//! `keys.rs` is the table of settings, `layers.rs` decides which value counts and remembers who set it, and here they
//! become types. Every error names the setting, who set it, and what it must be.
//!
//! # Invariants
//! - a [`Config`] is consistent: the embedded chain only on regtest, the API only on loopback
pub mod keys;
mod layers;
mod value;

pub use layers::{Given, Origin, Setting};
pub use value::{parse_address, parse_socket};

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bitcoin::{Amount, Network};
use lightning_chain_bitcoind::Auth;
use lightning_traits::config::UserConfig;
use lightning_traits::units::{CltvDelta, Msat};
use lightning_traits::wire::NodeAddress;

use crate::error::{ApiError, Code};

/// Name of the file in the directory of the program's data.
pub const CONFIG_FILE: &str = "config.toml";
/// Name of the embedded chain's cookie in the data directory.
pub const CHAIN_COOKIE: &str = "chain.cookie";

/// Where blocks come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainConfig {
    /// An embedded chain of this process, which also serves it to others.
    Own {
        /// Where its RPC listens.
        listen: SocketAddr,
        /// Where its cookie is written.
        cookie: PathBuf,
    },
    /// An embedded chain that another process serves (`lnode chain`).
    Served {
        /// Its RPC.
        url: String,
        /// How to prove who we are.
        auth: Auth,
    },
    /// A bitcoind.
    Bitcoind {
        /// Its RPC.
        url: String,
        /// How to prove who we are.
        auth: Auth,
    },
}

/// How to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// In the words of `tracing_subscriber::EnvFilter`.
    pub filter: String,
    /// JSON lines instead of text.
    pub json: bool,
}

/// Everything that is configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// The network.
    pub network: Network,
    /// The directory of all networks, where `config.toml` is.
    pub dir: PathBuf,
    /// The directory of this network's data.
    pub data_dir: PathBuf,
    /// Where peers connect.
    pub listen: Vec<SocketAddr>,
    /// What is announced.
    pub announce: Vec<NodeAddress>,
    /// What the node calls itself; empty for the beginning of its id.
    pub alias: String,
    /// Red, green, blue.
    pub color: [u8; 3],
    /// Where the API listens.
    pub api_listen: SocketAddr,
    /// Where blocks come from.
    pub chain: ChainConfig,
    /// Time between looks for a new block.
    pub chain_poll: Duration,
    /// After how many blocks without use a channel's monitor is kept in the store only.
    pub rest_after: u32,
    /// Limits and policies of the library.
    pub user: UserConfig,
    /// How to log.
    pub log: LogConfig,
    settings: Vec<Setting>,
}

/// What was given apart from the settings: where they are.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--dir`, before `LNODE_DIR`.
    pub dir: Option<PathBuf>,
    /// `--config`, before `LNODE_CONFIG`.
    pub config: Option<PathBuf>,
    /// Flags.
    pub flags: Given,
}

impl Config {
    /// Reads environment and file and puts the flags on top.
    ///
    /// # Errors
    /// [`Code::BadConfig`], or [`Code::Disk`] when the file is there but cannot be read.
    pub fn load(sources: &Sources) -> Result<Self, ApiError> {
        Self::load_with(sources, |name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// As [`Config::load`], with `env` for the environment.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_with(sources: &Sources, env: impl Fn(&str) -> Option<String>) -> Result<Self, ApiError> {
        let dir = sources.dir.clone().map_or_else(|| default_dir(&env), Ok)?;
        let named = sources.config.clone().or_else(|| env("LNODE_CONFIG").map(PathBuf::from));
        let file = match &named {
            Some(path) => read_file(path, true)?,
            None => read_file(&dir.join(CONFIG_FILE), false)?,
        };
        let settings = layers::merge(&sources.flags, &layers::from_env(&env), file);
        Self::build(dir, env("HOME").map(PathBuf::from), settings)
    }

    /// All settings and who set them.
    #[must_use]
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// Whether somebody set it.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.settings.iter().any(|setting| setting.name == name && setting.origin != Origin::Default)
    }

    fn build(dir: PathBuf, home: Option<PathBuf>, settings: Vec<Setting>) -> Result<Self, ApiError> {
        let by_name: BTreeMap<_, _> = settings.iter().map(|setting| (setting.name, setting)).collect();
        let read = value::Values { settings: &by_name, home };
        let network = read.network("network")?;
        let data_dir = dir.join(read.text("network")?);
        let api_listen = read.socket("api.listen")?;
        if !api_listen.ip().is_loopback() {
            let what = "the API has no encryption and listens on loopback only, such as 127.0.0.1:9740";
            return Err(read.wrong("api.listen", what));
        }
        let config = Self {
            network,
            listen: read.sockets("listen")?,
            announce: read.addresses("announce")?,
            alias: read.alias("alias")?,
            color: read.color("color")?,
            api_listen,
            chain: read.chain(network, &data_dir, &dir)?,
            chain_poll: Duration::from_millis(read.number("chain.poll_ms")?),
            rest_after: read.number("channels.rest_after_blocks")?,
            user: user_config(&read)?,
            log: LogConfig { filter: read.filter("log.filter")?, json: read.text("log.format")? == "json" },
            dir,
            data_dir,
            settings: settings.clone(),
        };
        Ok(config)
    }
}

fn user_config(read: &value::Values<'_>) -> Result<UserConfig, ApiError> {
    let mut user = UserConfig::default();
    user.channel.fee_base = Msat::new(read.number("fees.base_msat")?);
    user.channel.fee_proportional_millionths = read.number("fees.proportional_millionths")?;
    user.channel.cltv_delta = CltvDelta::new(read.number("fees.cltv_delta")?);
    user.handshake.announce = read.truth("channels.announce")?;
    user.handshake.min_funding = Amount::from_sat(read.number("channels.min_sat")?);
    user.handshake.max_funding = Amount::from_sat(read.number("channels.max_sat")?);
    if user.handshake.min_funding > user.handshake.max_funding {
        return Err(read.wrong("channels.min_sat", "it must not be above channels.max_sat"));
    }
    user.handshake.upfront_shutdown = read.truth("channels.bind_close_address")?;
    user.handshake.minimum_depth = read.number("channels.minimum_depth")?;
    user.handshake.ask_before_accept = read.truth("channels.ask")?;
    for node in read.nodes("channels.trust_zero_conf")? {
        user.handshake.trusted.entry(node).or_default().zero_conf = true;
    }
    user.handshake.zero_conf =
        read.truth("channels.zero_conf")? || user.handshake.trusted.values().any(|trust| trust.zero_conf);
    for node in read.nodes("channels.trust_zero_reserve")? {
        user.handshake.trusted.entry(node).or_default().zero_reserve = true;
    }
    user.payment.max_fee_millionths = read.number("payments.max_fee_millionths")?;
    user.payment.max_attempts = read.number("payments.max_attempts")?;
    user.payment.accept_spontaneous = read.truth("payments.keysend")?;
    Ok(user)
}

/// `LNODE_DIR`, or `lnode` below `XDG_DATA_HOME`, or `.lnode` at home.
fn default_dir(env: impl Fn(&str) -> Option<String>) -> Result<PathBuf, ApiError> {
    if let Some(dir) = env("LNODE_DIR") {
        return Ok(dir.into());
    }
    if let Some(data) = env("XDG_DATA_HOME") {
        return Ok(Path::new(&data).join("lnode"));
    }
    match env("HOME") {
        Some(home) => Ok(Path::new(&home).join(".lnode")),
        None => Err(ApiError::new(Code::BadConfig, "this user has no home directory")
            .hint("say with --dir where the data is")),
    }
}

fn read_file(path: &Path, must_exist: bool) -> Result<BTreeMap<&'static str, Setting>, ApiError> {
    match fs::read_to_string(path) {
        Ok(text) => layers::from_file(path, &text),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => Ok(BTreeMap::new()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message = format!("there is no configuration file {}", path.display());
            Err(ApiError::new(Code::BadConfig, message).hint("leave out --config to use the defaults"))
        }
        Err(error) => {
            let message = format!("the configuration file {} cannot be read: {error}", path.display());
            Err(ApiError::new(Code::BadConfig, message))
        }
    }
}

#[cfg(test)]
mod tests;
