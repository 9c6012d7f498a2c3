//! What the methods answer. Amounts are integers whose names end in their unit; ids are hexadecimal text.
//!
//! Some of these are also rows of the daemon's books, so what an older version wrote must be read: a field that is
//! not there has its default, and none changes its meaning.
use serde::{Deserialize, Serialize};

/// Done, and there is nothing to say about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Done {}

/// `getinfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Info {
    /// Who we are.
    pub node_id: String,
    /// What we call ourselves.
    pub alias: String,
    /// This program's version.
    pub version: String,
    /// `regtest`, `signet`, `testnet` or `mainnet`.
    pub network: String,
    /// Where blocks come from.
    pub chain: String,
    /// The height up to which the node has worked.
    pub block_height: u32,
    /// Whether that is the chain's tip.
    pub synced: bool,
    /// Where peers connect to, `node_id@host:port` each.
    pub addresses: Vec<String>,
    /// Connections.
    pub peers: u32,
    /// Channels that can be used.
    pub channels_open: u32,
    /// Channels that wait for their funding.
    pub channels_pending: u32,
    /// Channels being closed or resolved on chain.
    pub channels_closing: u32,
    /// Where the data is.
    pub data_dir: String,
    /// Seconds since the start.
    pub uptime_s: u64,
}

/// `newaddr`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewAddress {
    /// The address.
    pub address: String,
}

/// `balance`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Balance {
    /// On chain, confirmed.
    pub onchain_confirmed_sat: u64,
    /// On chain, not confirmed yet.
    pub onchain_unconfirmed_sat: u64,
    /// The part of the confirmed that is kept back for the fees of unilateral closes.
    pub onchain_reserved_sat: u64,
    /// How much on chain the channels of this node need, so that their claims can pay fees when several close while the chain is
    /// dear. Below it the event `reserve_low` warns.
    pub needed_reserve_sat: u64,
    /// In how many confirmed outputs at least.
    pub needed_reserve_coins: u32,
    /// Ours in channels, their reserves included.
    pub channels_msat: u64,
    /// What can be paid over channels now.
    pub sendable_msat: u64,
    /// What can be received over channels now.
    pub receivable_msat: u64,
    /// Ours in channels that are being closed, and not back in the wallet yet.
    pub closing_sat: u64,
}

/// `send`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sent {
    /// The transaction.
    pub txid: String,
    /// What the address receives.
    pub amount_sat: u64,
    /// What the miners get.
    pub fee_sat: u64,
}

/// `listunspent`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnspentList {
    /// The wallet's coins.
    pub outputs: Vec<Unspent>,
}

/// A coin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unspent {
    /// `txid:vout`.
    pub outpoint: String,
    /// Its value.
    pub amount_sat: u64,
    /// 0 when it is in no block yet.
    pub confirmations: u32,
    /// Where it was received.
    pub address: String,
}

/// `connect`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Connected {
    /// Who.
    pub node_id: String,
    /// Where.
    pub address: String,
}

/// `listpeers`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerList {
    /// Those connected, and those we have channels with.
    pub peers: Vec<Peer>,
}

/// A peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Peer {
    /// Who.
    pub node_id: String,
    /// Whether it is connected now.
    pub connected: bool,
    /// Whether it connected to us.
    pub inbound: bool,
    /// Where; empty when unknown.
    pub address: String,
    /// Channels with it that are not closed.
    pub channels: u32,
}

/// `listtowers`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TowerList {
    /// How many must hold an update before its channel goes on, the node's own disk counted.
    pub needed: u32,
    /// How many updates a channel may be ahead while fewer are up; 0 freezes it.
    pub max_ahead: u64,
    /// Channels that wait for towers now.
    pub waiting: u32,
    /// The towers.
    pub towers: Vec<Tower>,
}

/// A watchtower.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tower {
    /// Who.
    pub node_id: String,
    /// Where.
    pub address: String,
    /// What it is asked to do: `full` or `justice`.
    pub mode: String,
    /// Whether it answers.
    pub up: bool,
    /// The block up to which it had looked when it last said so.
    pub block_height: u32,
    /// Channels that it guards, or will.
    pub channels: u32,
    /// Those of which it does not hold the last state.
    pub behind: u32,
}

/// `coverage`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Coverage {
    /// All channels that something on the chain could concern.
    pub channels: Vec<Covered>,
}

/// How well a channel is guarded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Covered {
    /// Which.
    pub channel_id: String,
    /// With whom.
    pub peer_id: String,
    /// The last update of its monitor.
    pub update: u64,
    /// Towers that hold that.
    pub held_by: u32,
    /// Of so many.
    pub towers: u32,
    /// How many updates the one that is farthest behind lacks; one more than there are if it holds nothing.
    pub behind: u64,
    /// The first state of the peer's that blind towers can punish, if there are such towers: of those before nothing is signed. Of any state
    /// of a channel with anchors they punish all but what HTLC-success and HTLC-timeout transactions pay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blind_from: Option<u64>,
}

/// Where a channel stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChannelState {
    /// Being negotiated; nothing is at stake.
    #[default]
    Opening,
    /// The funding transaction is out and waits for its confirmations.
    AwaitingConfirmations,
    /// In use.
    Open,
    /// In use as far as the node is concerned, but the peer is not connected.
    Offline,
    /// Being closed with the peer.
    Closing,
    /// A closing or commitment transaction is out; our outputs are being brought home.
    Resolving,
    /// Over, and all of ours is back in the wallet.
    Closed,
}

/// `listchannels`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChannelList {
    /// All channels, the closed ones at the end.
    pub channels: Vec<Channel>,
}

/// A channel. `openchannel` and `closechannel` answer it too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Channel {
    /// Its id by BOLT 2.
    pub channel_id: String,
    /// `812x4x0`, once confirmed.
    pub short_channel_id: Option<String>,
    /// With whom.
    pub peer_id: String,
    /// Where it stands.
    pub state: ChannelState,
    /// The value of its funding output.
    pub capacity_sat: u64,
    /// Ours, the reserve included.
    pub local_msat: u64,
    /// Theirs, the reserve included.
    pub remote_msat: u64,
    /// What we can send over it now.
    pub sendable_msat: u64,
    /// What we can receive over it now.
    pub receivable_msat: u64,
    /// HTLCs in flight.
    pub htlcs: u32,
    /// Its funding output, `txid:vout`, once there is one.
    pub funding_outpoint: Option<String>,
    /// Confirmations of the funding so far.
    pub confirmations: u32,
    /// Confirmations that it needs.
    pub confirmations_needed: u32,
    /// Whether we opened it.
    pub opener: bool,
    /// Whether the network is told about it.
    pub announced: bool,
    /// By which invoices name it when it is private, or not confirmed yet.
    pub alias: Option<String>,
    /// Whether it is used before it confirms.
    pub zero_conf: bool,
    /// Whether nobody is told where it is on the chain.
    pub hidden: bool,
    /// What we must keep.
    pub local_reserve_msat: u64,
    /// What they must keep.
    pub remote_reserve_msat: u64,
    /// `openchannel --psbt`: a transaction with the output that funds it, for another wallet to add coins to.
    pub psbt: Option<String>,
    /// `openchannel --psbt`: the same output as an address. Never pay to it before `fundpsbt` says that it is safe.
    pub funding_address: Option<String>,
    /// The transaction that closes it, once there is one.
    pub closing_txid: Option<String>,
    /// How it ends or ended, and by whom, in one sentence; empty while it is in use.
    pub close_reason: String,
}

/// `multiopen`, `fundpsbt` and `signedpsbt`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Openings {
    /// The transaction that funds them, once it is known.
    pub txid: Option<String>,
    /// A transaction with the outputs that fund them, for another wallet to add coins to.
    pub psbt: Option<String>,
    /// The channels.
    pub channels: Vec<Channel>,
}

/// `listrequests`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestList {
    /// By peer.
    pub requests: Vec<ChannelRequest>,
}

/// A channel that a peer proposes: its `open_channel` by BOLT 2.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChannelRequest {
    /// Its temporary id.
    pub channel_id: String,
    /// By whom.
    pub peer_id: String,
    /// What the peer puts in.
    pub capacity_sat: u64,
    /// What of it is ours at once.
    pub push_msat: u64,
    /// Whether the network is told about it.
    pub announced: bool,
    /// Whether it is to be used before it confirms.
    pub zero_conf: bool,
    /// The feature bits of its type.
    pub channel_type: Vec<u16>,
    /// Feerate of the first commitment.
    pub feerate_sat_per_kw: u32,
    /// What we must keep.
    pub reserve_sat: u64,
    /// Below this the peer's commitments have no outputs.
    pub dust_limit_sat: u64,
    /// Blocks that we wait for our own outputs.
    pub to_self_delay: u16,
    /// The smallest HTLC that the peer takes.
    pub htlc_minimum_msat: u64,
    /// The most in flight to the peer.
    pub max_in_flight_msat: u64,
    /// The most HTLCs in flight to the peer.
    pub max_accepted_htlcs: u16,
    /// Where the peer is paid when the channel closes, if it binds itself.
    pub closing_address: Option<String>,
}

/// `invoice`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewInvoice {
    /// What the payer needs.
    pub invoice: String,
    /// Its hash.
    pub payment_hash: String,
    /// Until when it can be paid, in seconds since 1970.
    pub expires_at: u64,
}

/// How an invoice of ours fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum InvoiceState {
    /// It can be paid.
    #[default]
    Open,
    /// It was paid.
    Paid,
    /// It cannot be paid any more.
    Expired,
    /// A payment has come and waits: `settleinvoice` takes it, `cancelinvoice` gives it back.
    Held,
    /// It was called off: whatever comes for it goes back.
    Cancelled,
}

/// `listinvoices`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InvoiceList {
    /// The newest last.
    pub invoices: Vec<InvoiceEntry>,
}

/// An invoice of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InvoiceEntry {
    /// Its hash.
    pub payment_hash: String,
    /// How it fares.
    pub state: InvoiceState,
    /// What was asked for; `null` for any amount.
    pub amount_msat: Option<u64>,
    /// What was received.
    pub received_msat: u64,
    /// What for.
    pub description: String,
    /// Its text.
    pub invoice: String,
    /// When it was made, in seconds since 1970.
    pub created_at: u64,
    /// Until when it can be paid, in seconds since 1970.
    pub expires_at: u64,
    /// Whether its preimage is kept by the caller, who decides on each payment.
    pub hold: bool,
    /// The height at which a payment that waits goes back by itself.
    pub deadline_height: Option<u32>,
}

/// `decode`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Decoded {
    /// Of which network it is.
    pub network: String,
    /// Whether this node could pay it: its network, and not expired.
    pub payable: bool,
    /// What is asked for; `null` for any amount.
    pub amount_msat: Option<u64>,
    /// What for, or the hash of it. The text is the payee's: escape it for wherever it is shown.
    pub description: String,
    /// To whom.
    pub payee: String,
    /// Its hash.
    pub payment_hash: String,
    /// When it was made, in seconds since 1970.
    pub created_at: u64,
    /// Until when it can be paid, in seconds since 1970.
    pub expires_at: u64,
    /// Whether that is past.
    pub expired: bool,
    /// The least number of blocks that the last HTLC must have left.
    pub min_final_cltv_expiry_delta: u32,
    /// Private hops to the payee.
    pub route_hints: u32,
    /// On-chain addresses as another way to pay.
    pub fallback_addresses: Vec<String>,
}

/// How a payment of ours fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PaymentState {
    /// Under way: it may still succeed, even if the client is gone.
    #[default]
    Pending,
    /// Paid; the preimage proves it.
    Succeeded,
    /// Failed for good; nothing was paid.
    Failed,
}

/// `listpayments`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PaymentList {
    /// The newest last.
    pub payments: Vec<Payment>,
}

/// A payment of ours. `pay` and `getpayment` answer it too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Payment {
    /// Its hash.
    pub payment_hash: String,
    /// How it fares.
    pub state: PaymentState,
    /// What the payee gets.
    pub amount_msat: u64,
    /// What it cost, or would cost as it is tried now.
    pub fee_msat: u64,
    /// To whom.
    pub payee: String,
    /// Attempts that have ended.
    pub attempts: u32,
    /// Parts under way now.
    pub parts: u32,
    /// The proof, when it succeeded.
    pub preimage: Option<String>,
    /// Why it failed, in one sentence.
    pub failure: Option<String>,
    /// When it began, in seconds since 1970.
    pub created_at: u64,
    /// Until when it is tried, in seconds since 1970; `null` without such a limit.
    pub pay_until: Option<u64>,
}

/// `listevents`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventList {
    /// The oldest first.
    pub events: Vec<EventEntry>,
}

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventEntry {
    /// Counts up.
    pub id: u64,
    /// When, in seconds since 1970.
    pub at: u64,
    /// What, in one word: `channel_open`, `payment_received`, ...
    pub kind: String,
    /// What, in one sentence.
    pub text: String,
}
