//! The kinds of parameters: how each is written in JSON and on the command line, and what is no such value.
//!
//! # Invariants
//! - what [`Kind::read`] answers, the request types of `request.rs` accept
//! - a bare number is in the unit that the field's name says in JSON, and in satoshi on the command line
use std::fmt;
use std::str::FromStr;

use bitcoin::address::NetworkUnchecked;
use bitcoin::hex::FromHex;
use bitcoin::{Address, Amount};
use lightning_traits::id::{ChannelId, NodeId, ShortChannelId};
use lightning_traits::payment::{PaymentHash, Preimage};
use serde_json::Value;

/// What a parameter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// True or false; on the command line a flag without value.
    Flag,
    /// A whole number up to this.
    Number(u64),
    /// Any text up to this many bytes.
    Text(usize),
    /// An amount in whole satoshi.
    Sat,
    /// An amount in whole satoshi, or `all`.
    SatOrAll,
    /// An amount.
    Msat,
    /// An amount, or `any`.
    MsatOrAny,
    /// A node: 66 hexadecimal digits.
    NodeId,
    /// `node_id@host:port`, or a node that the daemon knows an address of.
    Peer,
    /// A channel id (64 hexadecimal digits) or a short one (`812x4x0`).
    Channel,
    /// 64 hexadecimal digits.
    PaymentHash,
    /// 64 hexadecimal digits that are not shown again.
    Preimage,
    /// An on-chain address.
    Address,
    /// A BOLT 11 invoice.
    Invoice,
    /// Peers and amounts, `node_id@host:port=amount` each.
    Opens,
    /// A PSBT in base64, or a transaction in hexadecimal.
    Psbt,
}

/// Who wrote a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// A program, in JSON or in the query of a URL.
    Program,
    /// A person, on the command line.
    Person,
}

/// 21 million bitcoin, in millisatoshi.
const MAX_MSAT: u64 = 21_000_000 * MSAT_PER_BTC;
const MSAT_PER_BTC: u64 = 100_000_000_000;
const MSAT_PER_SAT: u64 = 1_000;

impl Kind {
    /// The value as the request types want it, or what it should be.
    ///
    /// # Errors
    /// A description of what is expected, to be put behind "must be".
    pub fn read(self, value: &Value, writer: Writer) -> Result<Value, String> {
        let text = match value {
            Value::String(text) => Some(text.trim()),
            _ => None,
        };
        match self {
            Self::Flag => match (value, text) {
                (Value::Bool(_), _) => Ok(value.clone()),
                (_, Some("true" | "1" | "")) => Ok(Value::Bool(true)),
                (_, Some("false" | "0")) => Ok(Value::Bool(false)),
                _ => Err("true or false".into()),
            },
            Self::Number(max) => {
                let number = value.as_u64().or_else(|| text.and_then(|text| text.parse().ok()));
                let number = number.filter(|number| *number <= max);
                number.map(Value::from).ok_or_else(|| format!("a whole number up to {max}"))
            }
            Self::Text(max) => match value {
                Value::String(text) if text.len() <= max => Ok(value.clone()),
                _ => Err(format!("a text of at most {max} bytes")),
            },
            Self::Sat => sats(value, writer).map(Value::from),
            Self::SatOrAll if text == Some("all") => Ok(Value::from("all")),
            Self::SatOrAll => sats(value, writer).map(Value::from).map_err(|error| error + ", or `all`"),
            Self::Msat => msats(value, writer).map(Value::from),
            Self::MsatOrAny if text == Some("any") => Ok(Value::from("any")),
            Self::MsatOrAny => msats(value, writer).map(Value::from).map_err(|error| error + ", or `any`"),
            Self::NodeId => known::<NodeId>(text),
            Self::Peer => known::<Peer>(text),
            Self::Channel => known::<ChannelRef>(text),
            Self::PaymentHash => known::<PaymentHash>(text),
            Self::Preimage => known::<Preimage>(text),
            Self::Address => known::<Address<NetworkUnchecked>>(text),
            // BIP 21 and links put this in front.
            Self::Invoice => text
                .map(|text| strip_scheme(text, "lightning:"))
                .filter(|text| !text.is_empty() && text.len() <= MAX_INVOICE)
                .map(Value::from)
                .ok_or_else(|| "a BOLT 11 invoice, a text that begins with ln".into()),
            Self::Opens => known::<Opens>(text),
            Self::Psbt => text
                .filter(|text| !text.is_empty() && text.len() <= MAX_PSBT)
                .map(Value::from)
                .ok_or_else(|| "a PSBT in base64".into()),
        }
    }

    /// How the value is called in `lnode help`.
    #[must_use]
    pub const fn placeholder(self) -> &'static str {
        match self {
            Self::Flag => "true|false",
            Self::Number(_) => "N",
            Self::Text(_) => "TEXT",
            Self::Sat | Self::Msat => "AMOUNT",
            Self::SatOrAll => "AMOUNT|all",
            Self::MsatOrAny => "AMOUNT|any",
            Self::NodeId => "NODE_ID",
            Self::Peer => "NODE_ID@HOST:PORT",
            Self::Channel => "CHANNEL",
            Self::PaymentHash => "PAYMENT_HASH",
            Self::Preimage => "PREIMAGE",
            Self::Address => "ADDRESS",
            Self::Invoice => "INVOICE",
            Self::Opens => "NODE_ID@HOST:PORT=AMOUNT,...",
            Self::Psbt => "PSBT",
        }
    }
}

/// BOLT 11 has no limit of its own; a QR code ends far below.
const MAX_INVOICE: usize = 8_192;

/// Far above what a block takes of inputs with their transactions; the server's limit is lower.
const MAX_PSBT: usize = 4_000_000;
/// A transaction can fund more, but not in the time that a command may take.
const MAX_OPENS: usize = 100;

/// `text` without `scheme` in front, in whatever case it is.
pub(super) fn strip_scheme<'a>(text: &'a str, scheme: &str) -> &'a str {
    match text.get(..scheme.len()) {
        Some(start) if start.eq_ignore_ascii_case(scheme) => text.get(scheme.len()..).unwrap_or(text),
        _ => text,
    }
}

fn known<T: FromText>(text: Option<&str>) -> Result<Value, String> {
    let parsed = text.and_then(T::from_text);
    parsed.map_or_else(|| Err(T::EXPECTED.into()), |_| Ok(Value::from(text.unwrap_or_default())))
}

fn msats(value: &Value, writer: Writer) -> Result<u64, String> {
    let bare = if writer == Writer::Person { MSAT_PER_SAT } else { 1 };
    amount(value, bare).ok_or_else(|| "an amount such as 1000, 1000sat, 1000msat or 0.01btc".into())
}

fn sats(value: &Value, _: Writer) -> Result<u64, String> {
    let msat = amount(value, MSAT_PER_SAT).filter(|msat| msat % MSAT_PER_SAT == 0);
    let sat = msat.and_then(|msat| msat.checked_div(MSAT_PER_SAT));
    sat.ok_or_else(|| "an amount in whole satoshi such as 1000, 1000sat or 0.01btc".into())
}

fn amount(value: &Value, bare: u64) -> Option<u64> {
    let msat = match value {
        Value::Number(number) => number.as_u64()?.checked_mul(bare)?,
        Value::String(text) => parse_amount(text.trim(), bare)?,
        _ => return None,
    };
    (msat <= MAX_MSAT).then_some(msat)
}

/// Reads `1000`, `1_000sat`, `1000 msat`, `0.01btc` as millisatoshi, exactly or not at all.
fn parse_amount(text: &str, bare: u64) -> Option<u64> {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = (text.get(..end)?.trim_end(), text.get(end..)?);
    let unit = match unit.to_ascii_lowercase().as_str() {
        "" => bare,
        "msat" | "msats" => 1,
        "sat" | "sats" => MSAT_PER_SAT,
        "btc" => MSAT_PER_BTC,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| -> Option<String> {
        let digits = text.replace('_', "");
        digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(digits)
    };
    let (whole, fraction) = (digits(whole)?, digits(fraction)?);
    if whole.is_empty() {
        return None;
    }
    let mut msat = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let mut unit = unit;
    for digit in fraction.bytes() {
        let value = u64::from(digit.wrapping_sub(b'0'));
        // Past the last place of a millisatoshi only zeros are exact.
        if unit % 10 != 0 {
            if value != 0 {
                return None;
            }
            continue;
        }
        unit = unit.checked_div(10)?;
        msat = msat.checked_add(value.checked_mul(unit)?)?;
    }
    Some(msat)
}

/// What is written as text.
pub trait FromText: Sized {
    /// What the text must be.
    const EXPECTED: &'static str;

    /// Reads it.
    fn from_text(text: &str) -> Option<Self>;
}

impl FromText for NodeId {
    const EXPECTED: &'static str = "a node id, 66 hexadecimal digits";

    fn from_text(text: &str) -> Option<Self> {
        let id = Self(FromHex::from_hex(text).ok()?);
        id.to_public_key().is_ok().then_some(id)
    }
}

impl FromText for PaymentHash {
    const EXPECTED: &'static str = "a payment hash, 64 hexadecimal digits";

    fn from_text(text: &str) -> Option<Self> {
        FromHex::from_hex(text).ok().map(Self)
    }
}

impl FromText for Preimage {
    const EXPECTED: &'static str = "a preimage, 64 hexadecimal digits";

    fn from_text(text: &str) -> Option<Self> {
        FromHex::from_hex(text).ok().map(Self::new)
    }
}

impl FromText for Address<NetworkUnchecked> {
    const EXPECTED: &'static str = "a bitcoin address";

    fn from_text(text: &str) -> Option<Self> {
        Self::from_str(strip_scheme(text, "bitcoin:")).ok()
    }
}

impl FromText for String {
    const EXPECTED: &'static str = "a text";

    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

/// A peer, and where to find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Who.
    pub node_id: NodeId,
    /// `host:port`; without it the node uses what it knows.
    pub host: Option<String>,
}

impl FromText for Peer {
    const EXPECTED: &'static str = "node_id@host:port with a node id of 66 hexadecimal digits";

    fn from_text(text: &str) -> Option<Self> {
        let Some((id, host)) = text.split_once('@') else {
            return NodeId::from_text(text).map(|node_id| Self { node_id, host: None });
        };
        let (name, port) = host.rsplit_once(':').unwrap_or((host, DEFAULT_PORT));
        // An IPv6 address without brackets: its last group is no port.
        let bare_ipv6 = name.contains(':') && !name.starts_with('[');
        let port_right = port.parse::<u16>().is_ok_and(|port| port != 0);
        if name.is_empty() || bare_ipv6 || !port_right || host.contains(char::is_whitespace) {
            return None;
        }
        Some(Self { node_id: NodeId::from_text(id)?, host: Some(format!("{name}:{port}")) })
    }
}

/// Channels to open by one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opens(pub Vec<(Peer, Amount)>);

impl FromText for Opens {
    const EXPECTED: &'static str = "node_id@host:port=amount, several of them with commas between";

    fn from_text(text: &str) -> Option<Self> {
        let one = |text: &str| {
            let (peer, amount) = text.trim().rsplit_once('=')?;
            let msat = parse_amount(amount.trim(), MSAT_PER_SAT)?;
            let is_whole = msat > 0 && msat <= MAX_MSAT && msat % MSAT_PER_SAT == 0;
            let sat = msat.checked_div(MSAT_PER_SAT).filter(|_| is_whole)?;
            Some((Peer::from_text(peer.trim())?, Amount::from_sat(sat)))
        };
        let all: Option<Vec<_>> = text.split(',').map(one).collect();
        all.filter(|all| !all.is_empty() && all.len() <= MAX_OPENS).map(Self)
    }
}

const DEFAULT_PORT: &str = "9735";

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) => write!(f, "{}@{host}", self.node_id),
            None => write!(f, "{}", self.node_id),
        }
    }
}

/// A channel by one of its two names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelRef {
    /// The `channel_id` of BOLT 2.
    Id(ChannelId),
    /// Where its funding is in the chain.
    Short(ShortChannelId),
}

impl FromText for ChannelRef {
    const EXPECTED: &'static str = "a channel id (64 hexadecimal digits) or a short one such as 812x4x0";

    fn from_text(text: &str) -> Option<Self> {
        if let Ok(bytes) = FromHex::from_hex(text) {
            return Some(Self::Id(ChannelId(bytes)));
        }
        let mut parts = text.split('x');
        let (block, index, vout) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        ShortChannelId::new(block.parse().ok()?, index.parse().ok()?, vout.parse().ok()?).map(Self::Short)
    }
}

impl fmt::Display for ChannelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Short(id) => id.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NODE: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

    #[test]
    fn amounts_are_exact_or_refused() {
        let cases = [
            ("1000", Some(1_000_000)),
            ("1000sat", Some(1_000_000)),
            ("1_000 sats", Some(1_000_000)),
            ("1000msat", Some(1_000)),
            ("0.01btc", Some(1_000_000_000)),
            ("0.00000000001BTC", Some(1)),
            ("0.000000000010btc", Some(1)),
            ("0.000000000001btc", None),
            ("1.5sat", Some(1_500)),
            ("1.5msat", None),
            ("21000000btc", Some(MAX_MSAT)),
            ("21000000.00000000001btc", None),
            ("99999999999999999999", None),
            ("-1", None),
            ("1e3", None),
            (".5btc", None),
            ("1 000", None),
            ("", None),
            ("sat", None),
            ("1usd", None),
        ];
        for (text, msat) in cases {
            let read = Kind::Msat.read(&json!(text), Writer::Person).ok();
            assert_eq!(read, msat.map(Value::from), "{text:?}");
        }
    }

    #[test]
    fn bare_number_has_the_unit_of_its_field() {
        assert_eq!(Kind::Msat.read(&json!(1000), Writer::Program), Ok(json!(1000)));
        assert_eq!(Kind::Msat.read(&json!("1000"), Writer::Program), Ok(json!(1000)));
        assert_eq!(Kind::Msat.read(&json!("1000"), Writer::Person), Ok(json!(1_000_000)));
        assert_eq!(Kind::Sat.read(&json!(1000), Writer::Program), Ok(json!(1000)));
        assert_eq!(Kind::Sat.read(&json!("1000"), Writer::Person), Ok(json!(1000)));
        assert!(Kind::Sat.read(&json!("1500msat"), Writer::Person).is_err());
        assert!(Kind::Sat.read(&json!(1.5), Writer::Program).is_err());
    }

    #[test]
    fn all_and_any_stand_where_they_may() {
        assert_eq!(Kind::SatOrAll.read(&json!("all"), Writer::Person), Ok(json!("all")));
        assert_eq!(Kind::MsatOrAny.read(&json!("any"), Writer::Person), Ok(json!("any")));
        assert!(Kind::Sat.read(&json!("all"), Writer::Person).is_err());
        assert!(Kind::SatOrAll.read(&json!("any"), Writer::Person).is_err());
    }

    #[test]
    fn peers_need_a_key_and_a_port() {
        let cases = [
            (format!("{NODE}@127.0.0.1:9735"), Some("127.0.0.1:9735")),
            (format!("{NODE}@example.org"), Some("example.org:9735")),
            (format!("{NODE}@[::1]:9736"), Some("[::1]:9736")),
        ];
        for (text, host) in cases {
            let peer = Peer::from_text(&text).unwrap();
            assert_eq!(peer.host.as_deref(), host, "{text}");
        }
        assert_eq!(Peer::from_text(NODE).unwrap().host, None);
        let no_point = format!("02{}", "f".repeat(64));
        let wrong = [
            format!("{NODE}@"),
            format!("{NODE}@host:0"),
            format!("{NODE}@host:70000"),
            format!("{NODE}@::1"),
            no_point,
            "host:9735".into(),
        ];
        for text in wrong {
            assert_eq!(Peer::from_text(&text), None, "{text}");
        }
    }

    #[test]
    fn several_openings_are_peers_and_amounts() {
        let text = format!("{NODE}@127.0.0.1:9735=100000, {NODE}=0.01btc");
        let opens = Opens::from_text(&text).unwrap().0;
        assert_eq!(opens.len(), 2);
        assert_eq!(
            (opens[0].0.host.as_deref(), opens[0].1),
            (Some("127.0.0.1:9735"), Amount::from_sat(100_000))
        );
        assert_eq!((opens[1].0.host.as_deref(), opens[1].1), (None, Amount::from_sat(1_000_000)));
        let many = vec![format!("{NODE}=1000"); 101].join(",");
        let one = format!("{NODE}=1000");
        for wrong in [
            "",
            "=",
            NODE,
            &format!("{NODE}="),
            &format!("{NODE}=0"),
            &format!("{NODE}=1msat"),
            &format!("{one},"),
            &many,
        ] {
            assert_eq!(Opens::from_text(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn channels_have_two_names() {
        let long = "ab".repeat(32);
        assert_eq!(ChannelRef::from_text(&long).unwrap().to_string(), long);
        assert_eq!(ChannelRef::from_text("812x4x0").unwrap().to_string(), "812x4x0");
        for wrong in ["812x4", "812x4x0x1", "99999999999x0x0", "ab"] {
            assert_eq!(ChannelRef::from_text(wrong), None, "{wrong}");
        }
    }
}
