//! What the methods take, checked and typed: a backend never sees text that is no value.
//!
//! # Invariants
//! - an unknown field is refused, never ignored: it may be a limit that was misspelt
use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, Amount};
use lightning_traits::id::NodeId;
use lightning_traits::payment::{PaymentHash, Preimage};
use lightning_traits::units::Msat;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::kind::{ChannelRef, FromText, Opens, Peer};

/// No parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// An amount, or everything there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmountOrAll {
    /// Everything.
    All,
    /// This much.
    Amount(Amount),
}

/// An amount, or whatever the payer likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmountOrAny {
    /// The payer chooses.
    Any,
    /// This much.
    Amount(Msat),
}

/// `send`: pay on chain.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Send {
    /// To whom; its network is not checked yet.
    #[serde(deserialize_with = "text")]
    pub address: Address<NetworkUnchecked>,
    /// How much.
    #[serde(deserialize_with = "sat_or_all")]
    pub amount_sat: AmountOrAll,
    /// The feerate; without it the node estimates.
    #[serde(default)]
    pub feerate_sat_per_vbyte: Option<u32>,
}

/// `connect`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connect {
    /// Whom.
    #[serde(deserialize_with = "text")]
    pub peer: Peer,
}

/// `disconnect`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disconnect {
    /// Whom.
    #[serde(deserialize_with = "text")]
    pub node_id: NodeId,
}

/// `openchannel`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenChannel {
    /// With whom; connected to first if need be.
    #[serde(deserialize_with = "text")]
    pub peer: Peer,
    /// The capacity, all of it ours.
    #[serde(deserialize_with = "sat_or_all")]
    pub amount_sat: AmountOrAll,
    /// What is given to the peer at once.
    #[serde(default, deserialize_with = "msat")]
    pub push_msat: Msat,
    /// Tell the network about it; without it, what the configuration says.
    #[serde(default)]
    pub announce: Option<bool>,
    /// Never tell the network, nor anybody where it is on the chain.
    #[serde(default)]
    pub private: bool,
    /// Use it before it confirms, if the peer trusts us with it.
    #[serde(default)]
    pub zero_conf: bool,
    /// No reserves, if the peer trusts us with it.
    #[serde(default)]
    pub zero_reserve: bool,
    /// Another wallet pays.
    #[serde(default)]
    pub psbt: bool,
    /// The feerate of the funding transaction; without it the node estimates.
    #[serde(default)]
    pub feerate_sat_per_vbyte: Option<u32>,
}

/// `multiopen`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultiOpen {
    /// With whom, and how large.
    #[serde(deserialize_with = "text")]
    pub channels: Opens,
    /// Tell the network about them; without it, what the configuration says.
    #[serde(default)]
    pub announce: Option<bool>,
    /// Never tell the network, nor anybody where they are on the chain.
    #[serde(default)]
    pub private: bool,
    /// Use them before they confirm, if the peers trust us with it.
    #[serde(default)]
    pub zero_conf: bool,
    /// Another wallet pays.
    #[serde(default)]
    pub psbt: bool,
    /// The feerate of the funding transaction; without it the node estimates.
    #[serde(default)]
    pub feerate_sat_per_vbyte: Option<u32>,
}

/// `fundpsbt` and `signedpsbt`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FundPsbt {
    /// In base64; a signed transaction in hexadecimal will do.
    pub psbt: String,
}

/// `cancelfunding`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelFunding {
    /// Which.
    #[serde(deserialize_with = "text")]
    pub channel: ChannelRef,
}

/// `acceptchannel`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptChannel {
    /// Whose.
    #[serde(deserialize_with = "text")]
    pub node_id: NodeId,
    /// Which of its proposals.
    #[serde(deserialize_with = "text")]
    pub channel: ChannelRef,
    /// Use it before it confirms.
    #[serde(default)]
    pub zero_conf: bool,
    /// No reserves.
    #[serde(default)]
    pub zero_reserve: bool,
    /// What the peer must keep; without it, what the configuration says.
    #[serde(default, deserialize_with = "sat_option")]
    pub reserve_sat: Option<Amount>,
    /// Confirmations before it is used; without it, what the configuration says.
    #[serde(default)]
    pub minimum_depth: Option<u32>,
}

/// `refusechannel`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefuseChannel {
    /// Whose.
    #[serde(deserialize_with = "text")]
    pub node_id: NodeId,
    /// Which of its proposals.
    #[serde(deserialize_with = "text")]
    pub channel: ChannelRef,
    /// What the peer is told.
    #[serde(default)]
    pub reason: String,
}

/// `closechannel`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseChannel {
    /// Which.
    #[serde(deserialize_with = "text")]
    pub channel: ChannelRef,
    /// Without the peer, by publishing our commitment transaction.
    #[serde(default)]
    pub force: bool,
    /// Where our share goes; without it, into the wallet. Only for a close with the peer.
    #[serde(default, deserialize_with = "text_option")]
    pub address: Option<Address<NetworkUnchecked>>,
    /// The feerate of the closing transaction that we pay for; without it the node estimates. Asked again with a higher one, it
    /// is replaced. Only for a close with the peer.
    #[serde(default)]
    pub feerate_sat_per_vbyte: Option<u32>,
}

/// `forceclose`: a [`CloseChannel`] with `force`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForceClose {
    /// Which.
    #[serde(deserialize_with = "text")]
    pub channel: ChannelRef,
}

impl From<ForceClose> for CloseChannel {
    fn from(request: ForceClose) -> Self {
        Self { channel: request.channel, force: true, address: None, feerate_sat_per_vbyte: None }
    }
}

/// `invoice`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invoice {
    /// How much.
    #[serde(deserialize_with = "msat_or_any")]
    pub amount_msat: AmountOrAny,
    /// What for.
    #[serde(default)]
    pub description: String,
    /// How long it can be paid; without it an hour.
    #[serde(default)]
    pub expiry_s: Option<u32>,
}

/// `decode`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decode {
    /// The text.
    pub invoice: String,
}

/// `pay`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pay {
    /// The text.
    pub invoice: String,
    /// How much, when the invoice leaves it open.
    #[serde(default, deserialize_with = "msat_option")]
    pub amount_msat: Option<Msat>,
    /// The most to pay in fees; without it, what the configuration says.
    #[serde(default, deserialize_with = "msat_option")]
    pub max_fee_msat: Option<Msat>,
    /// The most parts at a time; without it, as many as make sense.
    #[serde(default)]
    pub max_parts: Option<u16>,
}

/// `keysend`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keysend {
    /// Whom.
    #[serde(deserialize_with = "text")]
    pub node_id: NodeId,
    /// How much.
    #[serde(deserialize_with = "msat")]
    pub amount_msat: Msat,
    /// The most to pay in fees; without it, what the configuration says.
    #[serde(default, deserialize_with = "msat_option")]
    pub max_fee_msat: Option<Msat>,
}

/// `holdinvoice`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldInvoice {
    /// The hash of a preimage that the caller keeps.
    #[serde(deserialize_with = "text")]
    pub payment_hash: PaymentHash,
    /// How much.
    #[serde(deserialize_with = "msat_or_any")]
    pub amount_msat: AmountOrAny,
    /// What for.
    #[serde(default)]
    pub description: String,
    /// How long it can be paid; without it an hour.
    #[serde(default)]
    pub expiry_s: Option<u32>,
    /// Blocks that its payment has at least when it comes; without it a day's worth.
    #[serde(default)]
    pub blocks: Option<u16>,
}

/// `settleinvoice`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettleInvoice {
    /// What the payment is claimed with.
    #[serde(deserialize_with = "text")]
    pub preimage: Preimage,
}

/// `cancelinvoice`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelInvoice {
    /// Which.
    #[serde(deserialize_with = "text")]
    pub payment_hash: PaymentHash,
}

/// `getpayment`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetPayment {
    /// Which.
    #[serde(deserialize_with = "text")]
    pub payment_hash: PaymentHash,
}

/// `listevents`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListEvents {
    /// Only those with a greater id.
    #[serde(default)]
    pub after: u64,
    /// At most this many, the oldest first.
    #[serde(default = "default_limit")]
    pub limit: u32,
}

fn default_limit() -> u32 {
    100
}

fn text<'de, D: Deserializer<'de>, T: FromText>(deserializer: D) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    T::from_text(&text).ok_or_else(|| D::Error::custom(format_args!("must be {}", T::EXPECTED)))
}

fn text_option<'de, D: Deserializer<'de>, T: FromText>(deserializer: D) -> Result<Option<T>, D::Error> {
    text(deserializer).map(Some)
}

fn msat<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Msat, D::Error> {
    u64::deserialize(deserializer).map(Msat::new)
}

fn msat_option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Msat>, D::Error> {
    msat(deserializer).map(Some)
}

fn sat_option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Amount>, D::Error> {
    u64::deserialize(deserializer).map(|sat| Some(Amount::from_sat(sat)))
}

/// A number, or one word instead.
#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrWord {
    Number(u64),
    Word(String),
}

fn sat_or_all<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AmountOrAll, D::Error> {
    match NumberOrWord::deserialize(deserializer)? {
        NumberOrWord::Number(sat) => Ok(AmountOrAll::Amount(Amount::from_sat(sat))),
        NumberOrWord::Word(word) if word == "all" => Ok(AmountOrAll::All),
        NumberOrWord::Word(_) => Err(D::Error::custom("must be an amount in satoshi, or `all`")),
    }
}

fn msat_or_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AmountOrAny, D::Error> {
    match NumberOrWord::deserialize(deserializer)? {
        NumberOrWord::Number(msat) => Ok(AmountOrAny::Amount(Msat::new(msat))),
        NumberOrWord::Word(word) if word == "any" => Ok(AmountOrAny::Any),
        NumberOrWord::Word(_) => Err(D::Error::custom("must be an amount in millisatoshi, or `any`")),
    }
}
