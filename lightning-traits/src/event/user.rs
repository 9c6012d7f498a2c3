//! Events for the user.
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction};
use thiserror::Error;

use crate::codec::TlvRecords;
use crate::feature::ChannelType;
use crate::id::{ChannelId, HtlcId, NodeId, PaymentId, ShortChannelId};
use crate::payment::{PaymentHash, Preimage};
use crate::route::Path;
use crate::units::{BlockHeight, CltvExpiry, CsvDelay, FeeratePerKw, Msat};

/// Why a channel is closed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// Both sides agreed.
    #[error("closed cooperatively")]
    Cooperative,
    /// The user forced it.
    #[error("force-closed by us on request")]
    ForcedByUser,
    /// An HTLC came too near its expiry.
    #[error("force-closed by us: an HTLC was about to expire")]
    HtlcDeadline,
    /// The peer broke the protocol.
    #[error("force-closed by us: {0}")]
    PeerViolation(String),
    /// The peer sent an error for the channel.
    #[error("the peer reported an error: {0}")]
    PeerError(String),
    /// A commitment of the peer confirmed.
    #[error("the peer closed the channel on chain")]
    ByPeerOnChain,
    /// A revoked commitment confirmed; we punish.
    #[error("the peer broadcast a revoked commitment")]
    Breach,
    /// The opening never came to a funding transaction.
    #[error("never funded: {0}")]
    NeverFunded(String),
    /// Our data is older than the peer's; it must close.
    #[error("our data is older than the peer's: waiting for the peer to close")]
    DataLoss,
}

/// Why a payment failed for good.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PaymentFailure {
    /// The payee refused: it does not know the payment, or the amount or expiry is wrong.
    #[error("the payee refused the payment: {0}")]
    RefusedByPayee(String),
    /// No route, at first or after all attempts.
    #[error("no route: {0}")]
    NoRoute(String),
    /// All attempts used up.
    #[error("gave up after {attempts} attempts; the last one failed: {last}")]
    RetriesExhausted {
        /// How many were made.
        attempts: u32,
        /// How the last one failed.
        last: String,
    },
    /// The user gave it up.
    #[error("abandoned on request")]
    Abandoned,
    /// The time that the user set was over.
    #[error("not paid in time{}{last}", if last.is_empty() { "" } else { "; the last attempt failed: " })]
    TimedOut {
        /// How the last attempt failed; empty if none has.
        last: String,
    },
    /// Its intent was lost before any HTLC was durable, so nothing can have been paid.
    #[error("nothing was sent before a restart")]
    LostBeforeSending,
}

/// Why a payment to us came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceivedKind {
    /// For an invoice whose preimage we derive.
    Invoice,
    /// For an invoice of a hash whose preimage the user keeps.
    Held,
    /// Nobody asked for it: the payer chose the preimage and sent it along ("keysend", bLIP 3).
    Spontaneous,
}

/// What a probe found out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProbeResult {
    /// The path carried it to the payee.
    #[error("it arrived")]
    Arrived,
    /// It failed on its way.
    #[error("it failed: {failure}")]
    Failed {
        /// The channel where it failed, if the failure could be read.
        channel: Option<ShortChannelId>,
        /// How.
        failure: String,
    },
    /// There was no path to try.
    #[error("no route: {0}")]
    NoRoute(String),
}

/// A channel that a peer proposes: its `open_channel` (BOLT 2), as far as it can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelRequest {
    /// The channel's temporary id, to accept or refuse it by, together with the peer: another peer may use the same.
    pub temporary: ChannelId,
    /// The peer.
    pub peer: NodeId,
    /// What the peer puts in.
    pub funding: Amount,
    /// What of it is ours at once; not before the funding transaction is deep enough, unless we trust the peer.
    pub push: Msat,
    /// Whether the channel will be announced.
    pub announce: bool,
    /// The type of channel.
    pub channel_type: ChannelType,
    /// Whether the peer wants to use the channel before it confirms: only for a peer that is trusted with all of it.
    pub zero_conf: bool,
    /// Feerate of the first commitment.
    pub feerate: FeeratePerKw,
    /// What the peer wants us to keep.
    pub reserve: Amount,
    /// Below this the peer's commitments have no outputs.
    pub dust_limit: Amount,
    /// How long the peer wants us to wait for our own outputs.
    pub to_self_delay: CsvDelay,
    /// The smallest HTLC that the peer takes.
    pub htlc_minimum: Msat,
    /// The most that the peer lets be in flight to it.
    pub max_in_flight: Msat,
    /// The most HTLCs that the peer lets be in flight to it.
    pub max_accepted_htlcs: u16,
    /// The script to which the peer binds itself for a cooperative close.
    pub upfront_shutdown: Option<ScriptBuf>,
}

/// What the user should know, or must answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A peer wants to open a channel, and the configuration leaves the decision to the user. Told until the proposal is
    /// answered, or its peer is gone, or it has waited too long.
    OpenChannelRequest(Box<ChannelRequest>),
    /// The peer accepted our channel: build and sign (but do not broadcast) a transaction with this output.
    FundingNeeded {
        /// The channel's temporary id, to hand the transaction over by.
        temporary: ChannelId,
        /// The peer.
        peer: NodeId,
        /// Value of the output.
        value: Amount,
        /// Script of the output.
        script: ScriptBuf,
    },
    /// The transaction that was handed over without signatures can be signed now, and handed over again, to be broadcast: every
    /// channel that it funds is durable on both sides. Told for each of these channels. Until then, signed or not, it must not be
    /// broadcast: what it funds could not be had back.
    FundingSafe {
        /// The channel.
        channel: ChannelId,
        /// The temporary id that it had until now.
        temporary: ChannelId,
        /// The peer.
        peer: NodeId,
        /// The funding output.
        funding: OutPoint,
        /// The transaction, as it was handed over.
        transaction: Transaction,
    },
    /// The funding transaction is safe to broadcast (and is, by us, if we funded).
    ChannelPending {
        /// The channel.
        channel: ChannelId,
        /// The temporary id that it had until now.
        temporary: ChannelId,
        /// The peer.
        peer: NodeId,
        /// The funding output.
        funding: OutPoint,
    },
    /// The channel can carry payments.
    ChannelReady {
        /// The channel.
        channel: ChannelId,
        /// The peer.
        peer: NodeId,
        /// Where the funding output is on chain.
        scid: Option<ShortChannelId>,
    },
    /// The channel carries no new payments any more, for good.
    ChannelClosed {
        /// The channel, or its temporary id if it never was funded.
        channel: ChannelId,
        /// The peer.
        peer: NodeId,
        /// Why.
        reason: CloseReason,
    },
    /// All parts of a payment to us have arrived: claim or fail it before `deadline`.
    PaymentClaimable {
        /// Its hash.
        hash: PaymentHash,
        /// What arrived.
        amount: Msat,
        /// The preimage, when the invoice was made by us without one given.
        preimage: Option<Preimage>,
        /// From this height on it fails back by itself.
        deadline: BlockHeight,
        /// Why it came.
        kind: ReceivedKind,
        /// What is missing to the amount that its payer sent for us, because somebody on the way kept it; zero unless the
        /// configuration takes such payments. Part of no `amount` here.
        skimmed: Msat,
        /// `payment_metadata` of the invoice, as the payer has sent it back.
        metadata: Option<Vec<u8>>,
        /// What applications put in (bLIP 2): records of type 65536 and above.
        custom: TlvRecords,
    },
    /// A payment to us that waited for the user's decision went back, since its deadline came first.
    PaymentReturned {
        /// Its hash.
        hash: PaymentHash,
        /// What it carried.
        amount: Msat,
    },
    /// A payment to us is ours: the preimage is durable.
    PaymentClaimed {
        /// Its hash.
        hash: PaymentHash,
        /// What we got.
        amount: Msat,
    },
    /// A payment of ours has arrived, and here is the proof.
    PaymentSent {
        /// The user's name for it.
        id: PaymentId,
        /// Its hash.
        hash: PaymentHash,
        /// The proof.
        preimage: Preimage,
        /// What the payee got.
        amount: Msat,
        /// What the way cost; `None` when the event is repeated after a restart that does not know of all parts any more.
        fee: Option<Msat>,
    },
    /// A payment of ours has failed for good: nothing of it is in flight any more.
    PaymentFailed {
        /// The user's name for it.
        id: PaymentId,
        /// Its hash.
        hash: PaymentHash,
        /// Why.
        reason: PaymentFailure,
    },
    /// One attempt failed; others may follow.
    AttemptFailed {
        /// The user's name for the payment.
        id: PaymentId,
        /// Its hash.
        hash: PaymentHash,
        /// The channel where it failed, if the failure could be read.
        channel: Option<ShortChannelId>,
        /// How.
        failure: String,
    },
    /// A probe has ended. Told once, and not again after a restart.
    ProbeEnded {
        /// The user's name for it.
        id: PaymentId,
        /// The path that it took, if there was one.
        path: Option<Path>,
        /// What it found out.
        result: ProbeResult,
    },
    /// How long the nodes of a path held an HTLC of ours that has ended, by their own words (`option_attribution_data`). Not told
    /// when none has measured anything.
    HoldTimes {
        /// The user's name for the payment.
        id: PaymentId,
        /// The path that the HTLC took.
        path: Path,
        /// For the first nodes of it, as far as their words are authentic, in units of 100 milliseconds; each has counted the
        /// time of those behind it too. Zero: not measured.
        hold_times: Vec<u32>,
    },
    /// A payment of others waits for the user's decision, as the configuration wants: forward or refuse it before `deadline`.
    /// `channel` and `htlc` name it, over restarts too.
    ForwardIntercepted {
        /// Where it came from.
        channel: ChannelId,
        /// Its id there.
        htlc: HtlcId,
        /// Its hash.
        hash: PaymentHash,
        /// The channel that its payer asks for.
        named: ShortChannelId,
        /// What came in.
        received: Msat,
        /// What its payer meant to go out.
        amount: Msat,
        /// When what goes out expires.
        expiry: CltvExpiry,
        /// From this height on it goes back by itself.
        deadline: BlockHeight,
    },
    /// We forwarded a payment and earned its fee.
    Forwarded {
        /// Where it came from.
        from: ChannelId,
        /// Where it went.
        to: ChannelId,
        /// What went out.
        amount: Msat,
        /// What we keep; `None` when the preimage was learnt on chain and the amounts are rounded.
        fee: Option<Msat>,
    },
    /// A claim on chain confirmed and pays the user's destination script.
    Swept {
        /// The channel that it came from.
        channel: ChannelId,
        /// The claiming transaction.
        transaction: Transaction,
        /// Where it confirmed.
        height: BlockHeight,
    },
    /// Nothing of a closed channel is left on chain.
    Resolved {
        /// The channel.
        channel: ChannelId,
    },
}
