//! The table of settings: each is a flag of `lnode run`, an environment variable and a key of `config.toml`.
//!
//! # Invariants
//! - a setting is one row here and one line in `Config::build`; nothing reads the environment elsewhere

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// Its name in `config.toml`: `section.key`.
    pub name: &'static str,
    /// What it is; decides how a wrong value is described.
    pub kind: KeyKind,
    /// Its value when nobody sets it; empty when that depends on others.
    pub default: &'static str,
    /// What it does, in one line.
    pub help: &'static str,
    /// Whether commands other than `run` take the flag, because they need it to find the node.
    pub global: bool,
}

/// What a setting is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// One of these words.
    Word(&'static [&'static str]),
    /// A text.
    Text,
    /// A text that is never shown. Not a flag, because command lines are seen by all users of a machine.
    Secret,
    /// A path.
    Path,
    /// `host:port`, or `:port` for all addresses of this machine.
    Socket,
    /// Some of them; empty for none.
    Sockets,
    /// Addresses that others can reach.
    Addresses,
    /// A whole number between these.
    Number(u64, u64),
    /// `true` or `false`.
    Bool,
    /// Node ids; empty for none.
    Nodes,
}

const fn key(name: &'static str, kind: KeyKind, default: &'static str, help: &'static str) -> Key {
    Key { name, kind, default, help, global: false }
}

const fn global(name: &'static str, kind: KeyKind, default: &'static str, help: &'static str) -> Key {
    Key { name, kind, default, help, global: true }
}

/// All settings.
pub const KEYS: &[Key] = &[
    global(
        "network",
        KeyKind::Word(&["regtest", "signet", "testnet", "mainnet"]),
        "regtest",
        "The bitcoin network",
    ),
    key("listen", KeyKind::Sockets, "0.0.0.0:9735", "Where other nodes connect; `none` for nowhere"),
    key("announce", KeyKind::Addresses, "", "Addresses under which others find this node, host:port each"),
    key("alias", KeyKind::Text, "", "What this node calls itself; its id's beginning if empty"),
    key("color", KeyKind::Text, "3399ff", "Its color on maps of the network, 6 hexadecimal digits"),
    global("api.listen", KeyKind::Socket, "127.0.0.1:9740", "Where the API listens; loopback only"),
    key(
        "chain.source",
        KeyKind::Word(&["embedded", "bitcoind"]),
        "",
        "Where blocks come from: a chain of our own for trying things out (regtest only), or a bitcoind",
    ),
    key("chain.url", KeyKind::Text, "", "Its RPC, host:port; empty runs the embedded chain in this process"),
    key("chain.cookie", KeyKind::Path, "", "Its cookie file"),
    key("chain.user", KeyKind::Text, "", "Its RPC user, if it has no cookie"),
    key("chain.password", KeyKind::Secret, "", "Its RPC password; file:/path reads it from a file"),
    key(
        "chain.listen",
        KeyKind::Socket,
        "127.0.0.1:9743",
        "Where an embedded chain of this process serves bitcoind's RPC",
    ),
    key("chain.poll_ms", KeyKind::Number(10, 60_000), "500", "Milliseconds between looks for a new block"),
    key("fees.base_msat", KeyKind::Number(0, 10_000_000), "1000", "What a forwarded payment pays us"),
    key(
        "fees.proportional_millionths",
        KeyKind::Number(0, 1_000_000),
        "100",
        "What it pays in addition, in millionths of its amount",
    ),
    key("fees.cltv_delta", KeyKind::Number(34, 2_016), "80", "Blocks between its expiry here and behind us"),
    key("channels.announce", KeyKind::Bool, "true", "Tell the network about channels that we open"),
    key("channels.min_sat", KeyKind::Number(1_000, 2_100_000_000_000_000), "20000", "The smallest channel"),
    key(
        "channels.max_sat",
        KeyKind::Number(1_000, 2_100_000_000_000_000),
        "1000000000",
        "The largest channel",
    ),
    key(
        "channels.minimum_depth",
        KeyKind::Number(1, 144),
        "3",
        "Confirmations before we use a channel that a peer funded",
    ),
    key(
        "channels.rest_after_blocks",
        KeyKind::Number(0, 1_000_000),
        "144",
        "Blocks without use after which what guards a channel is kept on disk only, until something happens",
    ),
    key(
        "channels.bind_close_address",
        KeyKind::Bool,
        "true",
        "Agree at the opening that a close with the peer pays into our wallet, and nowhere else",
    ),
    key(
        "channels.ask",
        KeyKind::Bool,
        "false",
        "Let peers' channels wait for acceptchannel or refusechannel",
    ),
    key(
        "channels.zero_conf",
        KeyKind::Bool,
        "false",
        "Offer channels that are used before they confirm; whose, the next two settings or acceptchannel say",
    ),
    key(
        "channels.trust_zero_conf",
        KeyKind::Nodes,
        "",
        "Nodes whose channels are used before they confirm: until then they can take back all that went over them",
    ),
    key(
        "channels.trust_zero_reserve",
        KeyKind::Nodes,
        "",
        "Nodes that keep no reserve: they lose nothing by publishing an old state",
    ),
    key(
        "payments.max_fee_millionths",
        KeyKind::Number(0, 1_000_000),
        "10000",
        "The most that a payment costs, in millionths of its amount",
    ),
    key(
        "payments.max_attempts",
        KeyKind::Number(1, 1_000),
        "10",
        "Attempts before a payment fails; two more for each part that it may have",
    ),
    key("payments.keysend", KeyKind::Bool, "true", "Take payments that nobody asked for, and announce it"),
    key("log.filter", KeyKind::Text, "info", "What is logged, such as info,lightning_channel=debug"),
    key("log.format", KeyKind::Word(&["text", "json"]), "text", "How it is logged"),
];

impl Key {
    /// The flag, without its dashes: `chain-url`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.replace(['.', '_'], "-")
    }

    /// The environment variable: `LNODE_CHAIN_URL`.
    #[must_use]
    pub fn env(&self) -> String {
        format!("LNODE_{}", self.name.replace('.', "_").to_ascii_uppercase())
    }
}

/// The setting with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}
