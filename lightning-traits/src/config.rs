//! What the user may choose, each with the BOLT field it becomes and why the default is what it is.
//!
//! Numbers are those that today's peers accept (see `docs/adr` and the sources named at each field).
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bitcoin::Amount;

use crate::id::NodeId;
use crate::units::{CltvDelta, CsvDelay, FeeratePerKw, Msat};

/// What a peer may do that costs us money if it cheats. Nothing, unless the user says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Carry payments over a channel that the peer funds before the funding transaction confirms (`option_zeroconf`): until
    /// then the peer can spend the same coins elsewhere, and what we forwarded or took for it is lost.
    pub zero_conf: bool,
    /// Neither ask for a reserve nor demand that we keep one: a peer that has spent all has nothing to lose when it publishes
    /// a revoked commitment. BOLT 2 forbids reserves below the dust limit, so both sides must know of it.
    pub zero_reserve: bool,
}

/// Limits and offers for a channel's opening (BOLT 2, `open_channel` and `accept_channel`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeConfig {
    /// `dust_limit_satoshis`. 354 sat is the least that covers every script a peer may close to (BOLT 3, "Dust Limits").
    pub dust_limit: Amount,
    /// The largest `dust_limit_satoshis` of a peer: above it, value goes to miners unseen (CVE-2021-41591).
    pub max_dust_limit: Amount,
    /// `channel_reserve_satoshis` that we ask of the peer, in millionths of the funding; never below 1,000 sat or the dust limits.
    pub reserve_millionths: u32,
    /// The largest reserve, in millionths, that we let a peer ask of us.
    pub max_reserve_millionths: u32,
    /// `to_self_delay` that we ask of the peer: our time to punish.
    pub to_self_delay: CsvDelay,
    /// The longest delay that we let a peer ask of us.
    pub max_to_self_delay: CsvDelay,
    /// `max_accepted_htlcs`; at most 483 (BOLT 2).
    pub max_accepted_htlcs: u16,
    /// `max_htlc_value_in_flight_msat`, in millionths of the funding.
    pub max_in_flight_millionths: u32,
    /// `htlc_minimum_msat`.
    pub htlc_minimum: Msat,
    /// `minimum_depth` that we ask for before we use a channel that a peer funded.
    pub minimum_depth: u32,
    /// The deepest `minimum_depth` that we let a peer ask for.
    pub max_minimum_depth: u32,
    /// The smallest channel we accept.
    pub min_funding: Amount,
    /// The largest channel we accept; above 2^24 - 1 sat both must set `option_support_large_channel`.
    pub max_funding: Amount,
    /// Open unannounced channels unless asked otherwise.
    pub announce: bool,
    /// Offer `option_anchors_zero_fee_htlc_tx` when the peer knows it.
    pub anchors: bool,
    /// Use `option_scid_alias` for unannounced channels when the peer knows it: they then never go by their place on chain.
    pub hide_scid: bool,
    /// Offer `option_zeroconf` in `init`. Whose channels are used before they confirm is for [`trusted`](Self::trusted), or the
    /// user's answer, to say.
    pub zero_conf: bool,
    /// Bind ourselves, by `upfront_shutdown_script`, to the script that a channel is closed to.
    pub upfront_shutdown: bool,
    /// Peers that may do what others may not.
    pub trusted: BTreeMap<NodeId, Trust>,
    /// Ask the user, by an event, before accepting a channel.
    pub ask_before_accept: bool,
    /// Ticks after which a proposal that the user has not answered is refused.
    pub forget_request_after: u32,
    /// Most proposals that wait for the user, of all peers together (RELIABILITY A4).
    pub max_unaccepted: u16,
    /// Most channels that one peer has proposed and that are not confirmed yet, answered or not (RELIABILITY A3).
    pub max_pending_per_peer: u16,
    /// Most such channels of all peers together.
    pub max_unfunded_channels: u16,
    /// Most peers whose channels are all such (RELIABILITY A4).
    pub max_unfunded_peers: u16,
    /// Blocks after which a channel whose funding never confirmed is forgotten, when the peer funds it (BOLT 2: 2016).
    pub forget_unfunded_after: u32,
}

impl Default for HandshakeConfig {
    fn default() -> Self {
        Self {
            dust_limit: Amount::from_sat(354),
            max_dust_limit: Amount::from_sat(1_062),
            reserve_millionths: 10_000,
            max_reserve_millionths: 50_000,
            to_self_delay: CsvDelay::new(144),
            max_to_self_delay: CsvDelay::new(2_016),
            max_accepted_htlcs: 483,
            max_in_flight_millionths: 1_000_000,
            htlc_minimum: Msat::new(1),
            minimum_depth: 3,
            max_minimum_depth: 144,
            min_funding: Amount::from_sat(20_000),
            max_funding: Amount::from_sat(1_000_000_000),
            announce: false,
            anchors: true,
            hide_scid: false,
            zero_conf: false,
            upfront_shutdown: true,
            trusted: BTreeMap::new(),
            ask_before_accept: false,
            forget_request_after: 60,
            max_unaccepted: 20,
            max_pending_per_peer: 4,
            max_unfunded_channels: 100,
            max_unfunded_peers: 50,
            forget_unfunded_after: 2_016,
        }
    }
}

impl HandshakeConfig {
    /// What this peer may do.
    #[must_use]
    pub fn trust(&self, peer: &NodeId) -> Trust {
        self.trusted.get(peer).copied().unwrap_or_default()
    }
}

/// How an open channel behaves (BOLT 2 and 7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelConfig {
    /// `fee_base_msat` of our `channel_update`.
    pub fee_base: Msat,
    /// `fee_proportional_millionths` of our `channel_update`.
    pub fee_proportional_millionths: u32,
    /// `cltv_expiry_delta` of our `channel_update`: our time to claim upstream what was claimed downstream.
    pub cltv_delta: CltvDelta,
    /// Blocks before an outgoing HTLC's expiry plus grace at which the channel goes to the chain (BOLT 2, G and 2R+G+S).
    pub grace_blocks: u32,
    /// The furthest expiry of an HTLC, in blocks from now (BOLT 4, `expiry_too_far`; peers refuse above 2016).
    pub max_cltv_ahead: u32,
    /// Most value, in msat, that may be in trimmed HTLCs of either commitment (RELIABILITY C1).
    pub max_dust_exposure: Msat,
    /// As the opener, change the feerate when the estimate is off by this many percent.
    pub fee_update_percent: u32,
    /// The lowest feerate of a peer, as a share of our estimate in percent.
    pub min_feerate_percent: u32,
    /// The highest feerate of a peer, as a share of our estimate in percent (Eclair's ratio-high is 10).
    pub max_feerate_percent: u32,
    /// As the opener, the highest feerate we ever set on an anchors channel: it need only enter a mempool.
    pub max_anchor_feerate: FeeratePerKw,
    /// Feerate range of a cooperative close around the estimate, in percent of it.
    pub closing_fee_percent: (u32, u32),
}

impl Default for ChannelConfig {
    fn default() -> Self {
        Self {
            fee_base: Msat::new(1_000),
            fee_proportional_millionths: 100,
            cltv_delta: CltvDelta::new(80),
            grace_blocks: 3,
            max_cltv_ahead: 2_016,
            max_dust_exposure: Msat::from_sat(50_000),
            fee_update_percent: 20,
            min_feerate_percent: 20,
            max_feerate_percent: 1_000,
            max_anchor_feerate: FeeratePerKw::new(2_500),
            closing_fee_percent: (50, 200),
        }
    }
}

/// Which forwards the user decides on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interception {
    /// None.
    #[default]
    None,
    /// Those that ask for a channel which does not exist yet, by a name that the manager made for it.
    Promised,
    /// All.
    All,
}

/// How payments of others go through us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardConfig {
    /// Which forwards the user decides on.
    pub intercept: Interception,
}

/// How payments of ours are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentConfig {
    /// `min_final_cltv_expiry_delta` of our invoices (BOLT 11; 18 by default, more leaves time to claim on chain).
    pub final_cltv_delta: CltvDelta,
    /// Attempts before a payment fails; two more for each part beyond the first that it may have.
    pub max_attempts: u32,
    /// Fee budget in millionths of the amount, when the user gives none.
    pub max_fee_millionths: u32,
    /// Fee budget below which no payment falls.
    pub min_fee_budget: Msat,
    /// The most blocks that a payment of ours may be locked for.
    pub max_total_cltv: u32,
    /// Take payments that nobody asked for, and announce it ("keysend", bLIP 3).
    pub accept_spontaneous: bool,
    /// Take HTLCs that carry less than their payer sent for us, as a node that opens a channel for a payment leaves them. The
    /// event says what is missing: claim only what was agreed upon with that node.
    pub accept_underpaid: bool,
    /// Even records of applications (65536 and above, bLIP 2) that the user understands: a payment with others is refused.
    pub understood_records: Vec<u64>,
}

impl Default for PaymentConfig {
    fn default() -> Self {
        Self {
            final_cltv_delta: CltvDelta::new(24),
            max_attempts: 10,
            max_fee_millionths: 10_000,
            min_fee_budget: Msat::new(50_000),
            max_total_cltv: 1_008,
            accept_spontaneous: true,
            accept_underpaid: false,
            understood_records: Vec::new(),
        }
    }
}

/// Everything a user may choose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserConfig {
    /// For channels being opened.
    pub handshake: HandshakeConfig,
    /// For open channels.
    pub channel: ChannelConfig,
    /// For payments of ours.
    pub payment: PaymentConfig,
    /// For payments of others.
    pub forward: ForwardConfig,
}
