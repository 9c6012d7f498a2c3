//! Settings as types. A wrong value is described with its setting, who set it, and what it must be.
use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use bitcoin::Network;
use bitcoin::hex::FromHex;
use lightning_chain_bitcoind::Auth;
use lightning_traits::id::NodeId;
use lightning_traits::wire::{Hostname, NodeAddress};
use tracing_subscriber::EnvFilter;

use super::layers::Origin;
use super::{CHAIN_COOKIE, ChainConfig, Setting};
use crate::api::kind::FromText as _;
use crate::config::keys::{self, KeyKind};
use crate::error::{ApiError, Code};

/// BOLT 7: the alias has 32 bytes.
const ALIAS_BYTES: usize = 32;

/// The settings by name.
pub(super) struct Values<'a> {
    pub(super) settings: &'a BTreeMap<&'static str, &'a Setting>,
    /// The user's home, where bitcoind puts its data.
    pub(super) home: Option<PathBuf>,
}

impl Values<'_> {
    fn setting(&self, name: &str) -> Result<&Setting, ApiError> {
        let missing = || ApiError::new(Code::Internal, format!("the table has no setting {name}"));
        self.settings.get(name).copied().ok_or_else(missing)
    }

    /// The error for a wrong value of `name`.
    pub(super) fn wrong(&self, name: &str, what: &str) -> ApiError {
        let Ok(setting) = self.setting(name) else { return ApiError::new(Code::BadConfig, what) };
        let message = match &setting.origin {
            Origin::File(path, line) => {
                format!("{} line {line}: {name} = {:?}: {what}", path.display(), setting.shown())
            }
            Origin::Flag(flag) => format!("--{flag} {:?}: {what}", setting.shown()),
            Origin::Environment(variable) => format!("{variable}={:?}: {what}", setting.shown()),
            Origin::Default => format!("{name}: {what}"),
        };
        ApiError::new(Code::BadConfig, message)
    }

    /// The text of a setting, one of its words if it has such.
    pub(super) fn text(&self, name: &str) -> Result<&str, ApiError> {
        let setting = self.setting(name)?;
        if let Some(KeyKind::Word(words)) = keys::find(name).map(|key| key.kind)
            && setting.origin != Origin::Default
            && !words.contains(&setting.value.as_str())
        {
            let error = self.wrong(name, &format!("it must be one of {}", words.join(", ")));
            return Err(match crate::output::nearest(&setting.value, words.iter().copied()) {
                Some(near) => error.hint(format!("did you mean {near}?")),
                None => error,
            });
        }
        Ok(&setting.value)
    }

    pub(super) fn network(&self, name: &str) -> Result<Network, ApiError> {
        Ok(match self.text(name)? {
            "mainnet" => Network::Bitcoin,
            "testnet" => Network::Testnet,
            "signet" => Network::Signet,
            _ => Network::Regtest,
        })
    }

    pub(super) fn number<T: TryFrom<u64>>(&self, name: &str) -> Result<T, ApiError> {
        let (min, max) = match keys::find(name).map(|key| key.kind) {
            Some(KeyKind::Number(min, max)) => (min, max),
            _ => (0, u64::MAX),
        };
        let text = &self.setting(name)?.value;
        let number = text.replace('_', "").parse::<u64>().ok().filter(|number| (min..=max).contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| self.wrong(name, &format!("it must be a whole number from {min} to {max}")))
    }

    pub(super) fn nodes(&self, name: &str) -> Result<Vec<NodeId>, ApiError> {
        let what = "each must be a node id, 66 hexadecimal digits";
        let parse = |item| NodeId::from_text(item).ok_or_else(|| self.wrong(name, what));
        self.list(name)?.into_iter().map(parse).collect()
    }

    pub(super) fn truth(&self, name: &str) -> Result<bool, ApiError> {
        match self.setting(name)?.value.as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.wrong(name, "it must be true or false")),
        }
    }

    pub(super) fn socket(&self, name: &str) -> Result<SocketAddr, ApiError> {
        parse_socket(&self.setting(name)?.value).ok_or_else(|| {
            self.wrong(
                name,
                "it must be an address of this machine and a port, such as 127.0.0.1:9735 or :9735",
            )
        })
    }

    fn list(&self, name: &str) -> Result<Vec<&str>, ApiError> {
        let value = self.setting(name)?.value.as_str();
        let items = value.split(',').map(str::trim).filter(|item| !item.is_empty());
        Ok(if value == "none" { Vec::new() } else { items.collect() })
    }

    pub(super) fn sockets(&self, name: &str) -> Result<Vec<SocketAddr>, ApiError> {
        let what = "each must be an address of this machine and a port, such as 0.0.0.0:9735 or :9735";
        let parse = |item| parse_socket(item).ok_or_else(|| self.wrong(name, what));
        self.list(name)?.into_iter().map(parse).collect()
    }

    pub(super) fn addresses(&self, name: &str) -> Result<Vec<NodeAddress>, ApiError> {
        let what = "each must be host:port as others reach it, such as 203.0.113.5:9735";
        let parse = |item| parse_address(item).ok_or_else(|| self.wrong(name, what));
        self.list(name)?.into_iter().map(parse).collect()
    }

    pub(super) fn alias(&self, name: &str) -> Result<String, ApiError> {
        let alias = self.text(name)?;
        let fits = alias.len() <= ALIAS_BYTES && !alias.chars().any(char::is_control);
        if fits { Ok(alias.to_owned()) } else { Err(self.wrong(name, "it must have at most 32 bytes")) }
    }

    pub(super) fn color(&self, name: &str) -> Result<[u8; 3], ApiError> {
        let digits = self.text(name)?.trim_start_matches('#');
        FromHex::from_hex(digits).map_err(|_| self.wrong(name, "it must be 6 hexadecimal digits"))
    }

    pub(super) fn filter(&self, name: &str) -> Result<String, ApiError> {
        let filter = self.text(name)?;
        match EnvFilter::try_new(filter) {
            Ok(_) => Ok(filter.to_owned()),
            Err(error) => {
                let error = error.to_string();
                let what =
                    format!("{error}; write a level such as info, or module=level with commas between");
                Err(self.wrong(name, &what))
            }
        }
    }

    /// Where blocks come from.
    pub(super) fn chain(&self, network: Network, data: &Path, dir: &Path) -> Result<ChainConfig, ApiError> {
        let source = match (self.text("chain.source")?, network) {
            ("", Network::Regtest) => "embedded",
            ("", _) => "bitcoind",
            (named, _) => named,
        };
        let url = self.text("chain.url")?.to_owned();
        if source == "bitcoind" {
            let cookie = self.home.as_deref().map(|home| bitcoind_cookie(network, home));
            let url = if url.is_empty() { format!("127.0.0.1:{}", bitcoind_port(network)) } else { url };
            return Ok(ChainConfig::Bitcoind { url, auth: self.auth(cookie, dir)? });
        }
        if network != Network::Regtest {
            let what =
                "the embedded chain is for regtest only; use a bitcoind with chain.source = \"bitcoind\"";
            return Err(self.wrong("chain.source", what));
        }
        if url.is_empty() {
            let listen = self.socket("chain.listen")?;
            return Ok(ChainConfig::Own { listen, cookie: data.join(CHAIN_COOKIE) });
        }
        Ok(ChainConfig::Served { url, auth: self.auth(Some(data.join(CHAIN_COOKIE)), dir)? })
    }

    fn auth(&self, cookie: Option<PathBuf>, dir: &Path) -> Result<Auth, ApiError> {
        let user = self.text("chain.user")?;
        let password = self.secret("chain.password", dir)?;
        let named = self.text("chain.cookie")?;
        match (user.is_empty(), password.is_empty(), named.is_empty()) {
            (false, false, true) => Ok(Auth::Password { user: user.to_owned(), password }),
            (true, true, false) => Ok(Auth::Cookie(PathBuf::from(named))),
            (true, true, true) => cookie.map(Auth::Cookie).ok_or_else(|| {
                self.wrong(
                    "chain.cookie",
                    "name bitcoind's cookie file, or set chain.user and chain.password",
                )
            }),
            (_, _, false) => {
                Err(self.wrong("chain.cookie", "set either this or chain.user and chain.password"))
            }
            (false, true, _) => Err(self.wrong("chain.user", "chain.password is missing")),
            (true, false, _) => Err(self.wrong("chain.password", "chain.user is missing")),
        }
    }

    /// A secret, which `file:/path` names instead of holding.
    fn secret(&self, name: &str, dir: &Path) -> Result<String, ApiError> {
        let setting = self.setting(name)?;
        let Some(path) = setting.value.strip_prefix("file:") else { return Ok(setting.value.clone()) };
        let read = fs::read_to_string(dir.join(path));
        let read = read.map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
        read.map_err(|error| self.wrong(name, &format!("its file {path} cannot be read: {error}")))
    }
}

/// Reads `host:port` of this machine, or `:port` for all its IPv4 addresses.
#[must_use]
pub fn parse_socket(text: &str) -> Option<SocketAddr> {
    if let Some(port) = text.strip_prefix(':') {
        return Some((Ipv4Addr::UNSPECIFIED, port.parse().ok()?).into());
    }
    if let Some(port) = text.strip_prefix("localhost:") {
        return Some((Ipv4Addr::LOCALHOST, port.parse().ok()?).into());
    }
    text.parse().ok()
}

/// Reads `host:port` of a node as others reach it.
#[must_use]
pub fn parse_address(text: &str) -> Option<NodeAddress> {
    if let Ok(socket) = text.parse::<SocketAddr>() {
        let port = socket.port();
        return (port != 0).then(|| match socket {
            SocketAddr::V4(socket) => NodeAddress::Ipv4 { address: *socket.ip(), port },
            SocketAddr::V6(socket) => NodeAddress::Ipv6 { address: *socket.ip(), port },
        });
    }
    let (name, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    // A version 3 onion service has its own descriptor, which needs base32; it is not a DNS name.
    if name.to_ascii_lowercase().ends_with(".onion") {
        return None;
    }
    Some(NodeAddress::Dns { hostname: Hostname::new(name)?, port })
}

const fn bitcoind_port(network: Network) -> u16 {
    match network {
        Network::Bitcoin => 8_332,
        Network::Testnet => 18_332,
        Network::Testnet4 => 48_332,
        Network::Signet => 38_332,
        Network::Regtest => 18_443,
    }
}

/// Where bitcoind puts its cookie unless told otherwise.
fn bitcoind_cookie(network: Network, home: &Path) -> PathBuf {
    home.join(match network {
        Network::Bitcoin => ".bitcoin/.cookie",
        Network::Testnet => ".bitcoin/testnet3/.cookie",
        Network::Testnet4 => ".bitcoin/testnet4/.cookie",
        Network::Signet => ".bitcoin/signet/.cookie",
        Network::Regtest => ".bitcoin/regtest/.cookie",
    })
}
