//! What user and manager ask of a channel.
use alloc::boxed::Box;

use bitcoin::Transaction;
use lightning_traits::event::{ChannelRequest, Event};
use lightning_traits::feature::Features;
use lightning_traits::id::{HtlcId, NodeId};
use lightning_traits::interface::KeysInterface;
use lightning_traits::units::FeeratePerKw;
use lightning_traits::wire::{ErrorMessage, FundingCreated, OpenChannel};
use thiserror::Error;

use super::context::Context;
use super::open::{QuiesceError, SendError};
use super::opening::{
    AcceptOptions, AwaitingSigned, FundError, Offered, OpenError, OpenParams, Opening, Requested,
};
use super::phase::Ending;
use super::record::{Entry, Milestone};
use super::violation::BadTerms;
use super::{Channel, CloseParams, Phase, ShutdownError, closing, error_message};
use crate::commitments::{Change, FeeRefused, NotNow, NoticeKey, OutgoingHtlc, Removal, RemovalRefused};

/// Why an HTLC is not removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SettleError {
    /// The channel has no HTLCs: it is opening, or done with.
    #[error("the channel has no HTLCs")]
    NoHtlcs,
    /// There is none such, or it is removed already.
    #[error("{0}")]
    Refused(#[from] RemovalRefused),
}

/// Why the feerate is not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FeeUpdateError {
    /// There is no synchronized connection, or the channel is not open.
    #[error("the channel is not online")]
    NotOnline,
    /// Nothing may be proposed until the connection ends.
    #[error("the channel is quiescent")]
    Quiescent,
    /// A limit of the channel.
    #[error("{0}")]
    Refused(#[from] FeeRefused),
}

/// Opening.
impl<K: KeysInterface> Channel<K> {
    /// Proposes a channel to a connected peer: `open_channel` is the first output.
    ///
    /// # Errors
    /// When the peer could not accept such terms.
    pub fn open(cx: &Context<'_, K>, params: &OpenParams, features: &Features) -> Result<Self, OpenError> {
        let keys = cx.keys.new_channel_keys();
        let signer = cx.keys.signer(&keys);
        let (phase, message) = Offered::new(cx, params, features, keys, &signer)?;
        let opening = Opening::Offered(Box::new(phase));
        let mut channel = Self::new(params.temporary, params.peer, signer, opening, features.clone());
        channel.split(cx).1.effects.send(message);
        Ok(channel)
    }

    /// Judges a peer's `open_channel`. [`Channel::accept`] or [`Channel::refuse`] comes next.
    ///
    /// # Errors
    /// The `error` to send when the terms are not acceptable.
    pub fn requested(
        cx: &Context<'_, K>,
        peer: NodeId,
        features: &Features,
        message: &OpenChannel,
    ) -> Result<Self, ErrorMessage> {
        let keys = cx.keys.new_channel_keys();
        let signer = cx.keys.signer(&keys);
        let temporary = message.temporary_channel_id;
        let phase = Requested::new(cx, peer, features, message, keys, &signer)
            .map_err(|error| error_message(temporary, &error))?;
        Ok(Self::new(temporary, peer, signer, Opening::Requested(Box::new(phase)), features.clone()))
    }

    /// What the user is asked, for a channel that a peer proposed.
    #[must_use]
    pub fn request(&self) -> Option<ChannelRequest> {
        let Phase::Opening(Opening::Requested(phase)) = &self.phase else { return None };
        Some(phase.request())
    }

    /// Agrees to a channel that a peer proposed. Does nothing in any other phase.
    ///
    /// # Errors
    /// When the peer is not trusted with what it wants, or the options do not fit; the proposal still waits.
    pub fn accept(&mut self, cx: &Context<'_, K>, options: &AcceptOptions) -> Result<(), BadTerms> {
        let Phase::Opening(Opening::Requested(phase)) = &self.phase else { return Ok(()) };
        let (next, message) = (**phase).clone().accept(cx, options)?;
        self.waited = 0;
        self.phase = Phase::Opening(Opening::AwaitingCreated(Box::new(next)));
        self.split(cx).1.effects.send(message);
        Ok(())
    }

    /// Gives up a channel that is not funded yet, and tells the peer. Does nothing in any other phase.
    pub fn refuse(&mut self, cx: &Context<'_, K>, reason: &str) {
        if let Phase::Opening(_) = &self.phase {
            self.abandon(cx, reason, true);
        }
    }

    /// Takes the funding transaction; `funding_created` goes out. The channel's lasting id is known from here on.
    ///
    /// # Errors
    /// The transaction is given back, and the channel still awaits one.
    #[allow(clippy::result_large_err, reason = "the user's transaction must come back")]
    pub fn fund(
        &mut self,
        cx: &Context<'_, K>,
        transaction: Transaction,
    ) -> Result<(), (Transaction, FundError)> {
        let Phase::Opening(Opening::AwaitingTransaction(phase)) = &self.phase else {
            return Err((transaction, FundError::NotAwaited));
        };
        let (next, message) = match phase.clone().fund(cx, &self.signer, transaction, None) {
            Ok(done) => done,
            Err((_, transaction, error)) => return Err((transaction, error)),
        };
        self.await_signed(cx, next, message);
        Ok(())
    }

    pub(super) fn await_signed(
        &mut self,
        cx: &Context<'_, K>,
        next: AwaitingSigned,
        message: FundingCreated,
    ) {
        self.id = next.first.terms.channel;
        self.waited = 0;
        self.phase = Phase::Opening(Opening::AwaitingSigned(Box::new(next)));
        // Promises nothing: whoever holds our signature for their first commitment holds nothing before we fund it.
        self.split(cx).1.effects.after_all().send(message);
    }
}

/// Payments.
impl<K: KeysInterface> Channel<K> {
    /// Offers an HTLC. It is signed for by the next [`Channel::commit`], so that many share one signature.
    ///
    /// # Errors
    /// When the channel cannot carry it now.
    pub fn offer_htlc(&mut self, cx: &Context<'_, K>, htlc: OutgoingHtlc) -> Result<HtlcId, SendError> {
        let (phase, mut step) = self.split(cx);
        let Phase::Funded(link) = phase else { return Err(SendError::NotOpen) };
        let Some((state, online)) = link.online() else { return Err(SendError::NotOnline) };
        if online.quiet.holds_ours() {
            return Err(SendError::Quiescent);
        }
        state.offer_htlc(htlc, &mut step)
    }

    /// Removes an HTLC of the peer: claims it with its preimage, or fails it. Works without connection and after the channel
    /// has gone to the chain too. [`Output::RemovalDurable`](super::Output::RemovalDurable) follows once it is durable.
    ///
    /// # Errors
    /// When there is none such, or it is removed already.
    pub fn settle(&mut self, cx: &Context<'_, K>, htlc: HtlcId, removal: Removal) -> Result<(), SettleError> {
        let (phase, mut step) = self.split(cx);
        match phase {
            Phase::Funded(link) if link.is_quiet() => {
                Ok(link.any().0.hold_removal(htlc, removal, &mut step)?)
            }
            Phase::Funded(link) => Ok(link.any().0.settle(htlc, removal, &mut step)?),
            Phase::Resolving(state) => Ok(state.settle(htlc, removal, &mut step)?),
            Phase::Opening(_) | Phase::Closed(_) => Err(SettleError::NoHtlcs),
        }
    }

    /// Signs for all updates that wait for it.
    ///
    /// # Errors
    /// Why not now. There is no need to call again: the peer's revocation leads to a signature by itself.
    pub fn commit(&mut self, cx: &Context<'_, K>) -> Result<(), NotNow> {
        self.take_held(cx);
        let (phase, mut step) = self.split(cx);
        match phase {
            Phase::Funded(link) => match link.online() {
                Some((state, _)) => state.commit(&mut step),
                None => Err(NotNow::NothingToSign),
            },
            Phase::Opening(_) | Phase::Resolving(_) | Phase::Closed(_) => Err(NotNow::NothingToSign),
        }
    }

    /// Whoever a notice was for has taken it over durably. Rides on the next write, or on [`Channel::flush`].
    pub fn notice_done(&mut self, cx: &Context<'_, K>, notice: NoticeKey) {
        let (phase, mut step) = self.split(cx);
        match phase {
            Phase::Funded(link) => {
                let change = Change::NoticeDone { notice };
                link.any().0.record(Entry::Commitments { change }, &mut step);
            }
            Phase::Resolving(state) => state.notice_done(notice, &mut step),
            Phase::Opening(_) | Phase::Closed(_) => {}
        }
    }

    /// As [`notice_done`](Self::notice_done); [`Output::NoticeGone`](super::Output::NoticeGone) follows once it is durable.
    /// `false` when nothing follows: the channel is past all notices.
    pub fn notice_done_reported(&mut self, cx: &Context<'_, K>, notice: NoticeKey) -> bool {
        let (phase, step) = self.split(cx);
        if matches!(phase, Phase::Opening(_) | Phase::Closed(_)) {
            return false;
        }
        // First: a channel that this lets go writes for the last time.
        step.journal.reports().notices_gone.push(notice);
        self.notice_done(cx, notice);
        true
    }

    /// The user has dealt with an event of this channel. Rides on the next write, or on [`Channel::flush`].
    pub fn event_acknowledged(&mut self, cx: &Context<'_, K>, event: &Event) {
        let milestone = match event {
            Event::ChannelPending { .. } => Milestone::Pending {},
            Event::FundingSafe { .. } => Milestone::Signable {},
            Event::ChannelReady { .. } => Milestone::Ready {},
            Event::ChannelClosed { .. } => Milestone::Closed {},
            _ => return,
        };
        let (phase, mut step) = self.split(cx);
        match phase {
            Phase::Funded(link) => link.any().0.record(Entry::Told { milestone }, &mut step),
            Phase::Resolving(state) => state.told(milestone, &mut step),
            Phase::Opening(_) | Phase::Closed(_) => {}
        }
    }

    /// Writes what waits for a write.
    pub fn flush(&mut self, cx: &Context<'_, K>) {
        let (phase, mut step) = self.split(cx);
        if !step.journal.is_dirty() {
            return;
        }
        match phase {
            Phase::Funded(link) => {
                link.state().persist(&mut step);
            }
            Phase::Resolving(state) => {
                state.persist(&mut step);
            }
            Phase::Opening(_) | Phase::Closed(_) => {}
        }
    }

    /// As the opener, sets this feerate; signed for by the next [`Channel::commit`].
    ///
    /// # Errors
    /// When the channel cannot bear it, or we are not the opener.
    pub fn update_fee(&mut self, cx: &Context<'_, K>, feerate: FeeratePerKw) -> Result<(), FeeUpdateError> {
        let (phase, mut step) = self.split(cx);
        let Phase::Funded(link) = phase else { return Err(FeeUpdateError::NotOnline) };
        match link.online() {
            Some((_, online)) if online.quiet.holds_ours() => Err(FeeUpdateError::Quiescent),
            Some((state, _)) if state.is_open() => Ok(state.offer_fee(feerate, &mut step)?),
            _ => Err(FeeUpdateError::NotOnline),
        }
    }
}

/// Quiescence.
impl<K: KeysInterface> Channel<K> {
    /// Asks the peer that nobody propose anything until the connection ends, which it does after a minute or two. What waits
    /// is settled first.
    ///
    /// # Errors
    /// When the channel is not open and online, or the peer does not know how.
    pub fn quiesce(&mut self, cx: &Context<'_, K>) -> Result<(), QuiesceError> {
        let (phase, step) = self.split(cx);
        let Phase::Funded(link) = phase else { return Err(QuiesceError::NotOpen) };
        let (state, online) = link.online().ok_or(QuiesceError::NotOpen)?;
        state.quiesce(online, &step)?;
        self.advance(cx);
        Ok(())
    }

    /// Whether both sides have promised to propose nothing.
    #[must_use]
    pub const fn is_quiescent(&self) -> bool {
        matches!(&self.phase, Phase::Funded(link) if link.is_quiescent())
    }
}

/// Closing.
impl<K: KeysInterface> Channel<K> {
    /// Closes the channel together with the peer, once its HTLCs are gone. Asked again of a peer that knows
    /// `option_simple_close`, it changes where our funds go or pays more.
    ///
    /// # Errors
    /// When it is opening or closed, closing and nothing can be changed about it, or the script is not allowed.
    pub fn shutdown(&mut self, cx: &Context<'_, K>, params: CloseParams) -> Result<(), ShutdownError> {
        let (phase, mut step) = self.split(cx);
        let Phase::Funded(link) = phase else { return Err(ShutdownError::NotOpen) };
        let (state, online) = link.any();
        // There is nothing to spend yet; calling the funding off costs nothing.
        if state.held().is_some() {
            return Err(ShutdownError::NotOpen);
        }
        closing::ask(state, params, online, &mut step)?;
        self.advance(cx);
        Ok(())
    }

    /// The record was put back from where nobody can say that it is the last: what it takes for our latest commitment may be
    /// revoked. A peer that says otherwise may have its reasons to. So the channel does as if the peer had proven that it is old
    /// (RELIABILITY B1): it asks the peer to close, and never goes to the chain by itself. Not durable: to be called after every
    /// restart, before a connection; the monitor must have been told before.
    pub fn doubt(&mut self) {
        self.doubted = true;
    }

    /// Goes to the chain with our latest commitment; gives up a channel that is not funded. `false` when it was on its
    /// way there already.
    pub fn force_close(&mut self, cx: &Context<'_, K>) -> bool {
        match &self.phase {
            Phase::Opening(_) => self.abandon(cx, "given up by us", true),
            Phase::Funded(_) => self.leave(cx, Ending::ForcedByUser {}),
            Phase::Resolving(_) | Phase::Closed(_) => return false,
        }
        true
    }
}
