//! Questions and answers about routes: what passes between payments and pathfinding.
//!
//! Amounts and expiries of a hop are those of the HTLC *on the channel that leads to it*. BOLT 4 and 7.
use alloc::vec::Vec;

use thiserror::Error;

use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::id::{NodeId, PaymentId, ShortChannelId};
use crate::payment::PaymentHash;
use crate::record;
use crate::units::{BlockHeight, CltvDelta, CltvExpiry, Msat};

/// One channel on the way, and the node at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteHop {
    /// The node that receives this HTLC.
    pub node: NodeId,
    /// The channel that carries it; for a first hop the channel's alias or id as given in [`FirstHop`].
    pub scid: ShortChannelId,
    /// Amount of the HTLC on this channel.
    pub amount: Msat,
    /// Expiry of the HTLC on this channel.
    pub expiry: CltvExpiry,
}
record!(struct RouteHop { node, scid, amount, expiry });

/// A way from us to the payee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The hops, ours first; never empty.
    pub hops: Vec<RouteHop>,
}
record!(struct Path { hops list });

impl Path {
    /// What the payee receives.
    #[must_use]
    pub fn delivered(&self) -> Msat {
        self.hops.last().map_or(Msat::ZERO, |hop| hop.amount)
    }

    /// What leaves our own channel.
    #[must_use]
    pub fn sent(&self) -> Msat {
        self.hops.first().map_or(Msat::ZERO, |hop| hop.amount)
    }

    /// What forwarding nodes keep.
    #[must_use]
    pub fn fee(&self) -> Msat {
        self.sent().saturating_sub(self.delivered())
    }
}

/// One or more paths that together deliver the amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The parts.
    pub paths: Vec<Path>,
}
record!(struct Route { paths list });

/// One hop of a BOLT 11 route hint: a channel that gossip does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HintHop {
    /// The node at the start of the channel.
    pub node: NodeId,
    /// The channel.
    pub scid: ShortChannelId,
    /// `fee_base_msat`.
    pub fee_base: Msat,
    /// `fee_proportional_millionths`.
    pub fee_proportional_millionths: u32,
    /// `cltv_expiry_delta`.
    pub cltv_delta: CltvDelta,
}
record!(struct HintHop { node, scid, fee_base, fee_proportional_millionths, cltv_delta });

/// A private way to the payee (BOLT 11, field `r`): from a public node, hop by hop, to the payee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteHint {
    /// The channels in order; the last one ends at the payee.
    pub hops: Vec<HintHop>,
}
record!(struct RouteHint { hops list });

/// A channel of our own with what can be sent over it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstHop {
    /// The peer at its other end.
    pub node: NodeId,
    /// How the sender names the channel: real id or alias.
    pub scid: ShortChannelId,
    /// The least that one HTLC may carry.
    pub htlc_minimum: Msat,
    /// The most that one HTLC can carry now.
    pub sendable: Msat,
    /// What a further HTLC takes of `sendable` beside its amount: the fee of its output, when we pay for the commitment.
    pub htlc_cost: Msat,
}
record!(struct FirstHop { node, scid, htlc_minimum, sendable, htlc_cost });

/// A channel and a direction of it, as BOLT 7 numbers them: 0 from the node whose id sorts first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirectedChannel {
    /// The channel.
    pub scid: ShortChannelId,
    /// The node at the start of the direction.
    pub from: NodeId,
}
record!(struct DirectedChannel { scid, from });

/// An amount on a direction of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelAmount {
    /// The direction.
    pub channel: DirectedChannel,
    /// The amount.
    pub amount: Msat,
}
record!(struct ChannelAmount { channel, amount });

/// Terms of a direction that its node told the payer of one payment, in a failure of that payment.
///
/// BOLT 4, "Receiving Failure Codes": "MUST NOT expose the `channel_update` to third-parties in any other context, including
/// applying the `channel_update` to the local network graph". So they live with the payment and die with it; whoever finds
/// its routes uses them for the one question, if they are newer than what gossip says, and forgets them (RELIABILITY F13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearntTerms {
    /// The direction.
    pub channel: DirectedChannel,
    /// `timestamp` of the update.
    pub timestamp: u32,
    /// `cltv_expiry_delta`.
    pub cltv_delta: CltvDelta,
    /// `htlc_minimum_msat`.
    pub htlc_minimum: Msat,
    /// `htlc_maximum_msat`.
    pub htlc_maximum: Msat,
    /// `fee_base_msat`.
    pub fee_base: Msat,
    /// `fee_proportional_millionths`.
    pub fee_proportional_millionths: u32,
}
record!(struct LearntTerms {
    channel, timestamp, cltv_delta, htlc_minimum, htlc_maximum, fee_base, fee_proportional_millionths
});

/// A question for a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteQuery {
    /// The payment that asks; names a late answer.
    pub payment: PaymentId,
    /// Where the payment starts.
    pub payer: NodeId,
    /// Where it ends.
    pub payee: NodeId,
    /// What must arrive.
    pub amount: Msat,
    /// The most that all fees together may cost.
    pub max_fee: Msat,
    /// `min_final_cltv_expiry_delta` of the payee, with any safety margin already added.
    pub final_cltv_delta: CltvDelta,
    /// The most blocks that the first HTLC may be locked for.
    pub max_total_cltv: u32,
    /// The height that expiries count from.
    pub height: BlockHeight,
    /// Most parts; 1 asks for a single path.
    pub max_parts: u16,
    /// Private ways to the payee, each from a public node onwards.
    pub hints: Vec<RouteHint>,
    /// Our channels, with live balances; when empty the graph's own edges of the payer are used.
    pub first_hops: Vec<FirstHop>,
    /// Directions not to use, as earlier attempts of this payment failed there.
    pub excluded: Vec<DirectedChannel>,
    /// Directions that did not carry what this payment wanted: the most that may still be sent over each.
    pub limits: Vec<ChannelAmount>,
    /// What other parts of this payment carry now, on channels of others.
    pub in_use: Vec<ChannelAmount>,
    /// Terms that this payment has learnt.
    pub learnt: Vec<LearntTerms>,
}
record!(struct RouteQuery {
    payment, payer, payee, amount, max_fee, final_cltv_delta, max_total_cltv, height, max_parts, hints list,
    first_hops list, excluded list, limits list, in_use list, learnt list
});

impl RouteQuery {
    /// A question with no limits but the amount, for one path by the graph alone.
    #[must_use]
    pub const fn new(payment: PaymentId, payer: NodeId, payee: NodeId, amount: Msat) -> Self {
        Self {
            payment,
            payer,
            payee,
            amount,
            max_fee: Msat::MAX,
            final_cltv_delta: CltvDelta::new(0),
            max_total_cltv: u32::MAX,
            height: BlockHeight::new(0),
            max_parts: 1,
            hints: Vec::new(),
            first_hops: Vec::new(),
            excluded: Vec::new(),
            limits: Vec::new(),
            in_use: Vec::new(),
            learnt: Vec::new(),
        }
    }
}

/// Why there is no route, so that a user knows what would help.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoRoute {
    /// Neither gossip nor hints know the payee.
    #[error("the payee is not in the graph and the request has no hint to it")]
    UnknownPayee,
    /// We have no channel that could carry the amount.
    #[error("none of our channels can send {needed}; the most one can send is {sendable}")]
    NoFirstHop {
        /// What would have to be sent, at least.
        needed: Msat,
        /// The most that one channel can send.
        sendable: Msat,
    },
    /// Paths exist, but not for this amount.
    #[error("no path carries {amount}")]
    NoCapacity {
        /// The amount.
        amount: Msat,
    },
    /// The cheapest path costs more than allowed.
    #[error("the cheapest path costs {fee} in fees, more than the limit of {limit}")]
    TooExpensive {
        /// What the cheapest costs.
        fee: Msat,
        /// The limit.
        limit: Msat,
    },
    /// The quickest path locks funds for longer than allowed.
    #[error("no path within {limit} blocks of lock time")]
    TooSlow {
        /// The limit.
        limit: u32,
    },
    /// The question itself makes no sense.
    #[error("a payment to ourselves, or of nothing, has no route")]
    Pointless,
}

record!(enum NoRoute {
    0 => UnknownPayee {}, 1 => NoFirstHop { needed, sendable }, 2 => NoCapacity { amount },
    3 => TooExpensive { fee, limit }, 4 => TooSlow { limit }, 5 => Pointless {},
});

/// Answer to a [`RouteQuery`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteAnswer {
    /// Here it is, or why there is none.
    Ready(Result<Route, NoRoute>),
    /// It comes through [`RouteFinder::next_route`](crate::interface::RouteFinder::next_route).
    InProgress,
}

/// A tag: 0 later, 1 a route, 2 none; then what it is.
impl Encode for RouteAnswer {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::InProgress => out.push(0),
            Self::Ready(Ok(route)) => {
                out.push(1);
                route.encode(out);
            }
            Self::Ready(Err(why)) => {
                out.push(2);
                why.encode(out);
            }
        }
    }
}

impl Decode for RouteAnswer {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.read::<u8>()? {
            0 => Self::InProgress,
            1 => Self::Ready(Ok(reader.read()?)),
            2 => Self::Ready(Err(reader.read()?)),
            _ => return Err(DecodeError::InvalidValue("route answer")),
        })
    }
}

/// What became of a path, told to the route finder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteReport {
    /// The payment hash, for the log only.
    pub hash: PaymentHash,
    /// The path that was tried.
    pub path: Path,
    /// What happened.
    pub outcome: PathOutcome,
}
record!(struct RouteReport { hash, path, outcome });

/// How an attempt over a path ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathOutcome {
    /// It arrived.
    Delivered,
    /// It failed at the channel that leaves hop `at`: 0 is our own.
    FailedAt {
        /// Index of the channel in the path that could not carry it.
        channel: usize,
        /// A temporary lack of liquidity, or for good.
        temporary: bool,
    },
    /// It failed, and who failed it could not be read.
    Unreadable,
    /// It arrived, and the payee gave it back, for now: other parts were missing, or it was not the time. The path is as good
    /// as if it had been paid.
    GivenBack,
}

/// A tag, then the fields; an index has four bytes, which no path is too long for.
impl Encode for PathOutcome {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Delivered => out.push(0),
            Self::FailedAt { channel, temporary } => {
                out.push(1);
                u32::try_from(*channel).unwrap_or(u32::MAX).encode(out);
                temporary.encode(out);
            }
            Self::Unreadable => out.push(2),
            Self::GivenBack => out.push(3),
        }
    }
}

impl Decode for PathOutcome {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.read::<u8>()? {
            0 => Self::Delivered,
            1 => {
                let channel = usize::try_from(reader.read::<u32>()?);
                let channel = channel.map_err(|_| DecodeError::InvalidValue("channel"))?;
                Self::FailedAt { channel, temporary: reader.read()? }
            }
            2 => Self::Unreadable,
            3 => Self::GivenBack,
            _ => return Err(DecodeError::InvalidValue("path outcome")),
        })
    }
}
