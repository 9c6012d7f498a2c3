//! Incoming HTLCs: decided on, forwarded, and removed again.
//!
//! # Invariants
//! - every irrevocably committed HTLC is decided on once, and every decision ends in a removal or an outgoing HTLC whose
//!   origin names it
//! - a downstream outcome is done with only when the upstream removal is durable (RELIABILITY O2)
use alloc::sync::Arc;
use alloc::vec::Vec;

use lightning_traits::event::Event;
use lightning_traits::id::{ChannelId, HtlcId, ShortChannelId};
use lightning_traits::interface::{Environment, Level};
use lightning_traits::sphinx::{Failure, ForwardPayload, OnionPacket, SharedSecret};
use lightning_traits::wire::WireMessage as _;

use super::ChannelManager;
use super::slot::Slot;
use super::work::Work;
use crate::channel::{Channel, Context, PhaseName, SendError, SettleError};
use crate::commitments::{
    IncomingHtlc, Notice, NoticeKey, Origin, Outcome, OutgoingHtlc, Removal, RemovalRefused,
};
use crate::forward::admit::{self, Wish};
use crate::forward::onion::{self, Asked};
use crate::forward::removal::Owed;
use crate::payment::inbound::HtlcKey;

/// Why an HTLC is not forwarded.
pub(super) enum NotForwarded {
    Failed(Failure),
    /// The next peer is away.
    Away,
}

impl<E: Environment> ChannelManager<E> {
    /// Decides on an incoming HTLC.
    pub(super) fn decide(&self, channel: ChannelId, htlc: IncomingHtlc, patience: u32) {
        let key = (channel, htlc.id);
        {
            let table = self.table.lock();
            let is_known = table.answered.contains(&key) || table.intercepted.contains(key);
            if is_known || table.removals.is_decided(key) {
                drop(table);
                self.was_read(key);
                return;
            }
        }
        let understood = &self.config.payment.understood_records;
        let asked = onion::read(&self.secp, self.env.keys(), &htlc, understood, self.back(key).hold_time);
        let mut is_news = true;
        if let Ok(Asked::Keep { .. }) = &asked {
            let mut table = self.table.lock();
            // A signer may take its time after a restart: what was there then is still a part of what is claimed.
            if table.unread.contains_key(&key) {
                table.inbound.restore_claimed_part(htlc.hash, key);
                is_news = false;
            }
        }
        if asked.is_ok() {
            self.was_read(key);
            // The peer hears no refusal any more; the chain may have no output for it to pay us with; and only what the user knew
            // of before a restart can still be claimed there.
            if is_news && self.is_on_chain(channel) {
                self.table.lock().arrivals.remove(&key);
                return;
            }
        }
        match asked {
            Err(_) => self.park(Work::Decide { channel, htlc, patience }),
            Ok(Asked::Refuse(removal)) => self.remove(key, removal),
            Ok(Asked::Keep { secret, payload }) => {
                self.note_arrival(key, &secret);
                self.keep(key, &htlc, &payload, &secret);
            }
            Ok(Asked::Forward { secret, payload, next }) => {
                self.note_arrival(key, &secret);
                let done = if self.is_intercepted(payload.short_channel_id) {
                    self.intercept(key, &htlc, &payload, &next)
                } else {
                    self.forward(key, &htlc, &payload, &next)
                };
                match done {
                    Ok(()) => {}
                    Err(NotForwarded::Away) if patience > 0 => {
                        self.park(Work::Decide { channel, htlc, patience });
                    }
                    Err(NotForwarded::Away) => {
                        let failure = Failure::TemporaryChannelFailure { channel_update: Vec::new() };
                        self.refuse_forward(key, &secret, failure, payload.short_channel_id);
                    }
                    Err(NotForwarded::Failed(failure)) => {
                        self.log(Level::Debug, format_args!("HTLC {} of {channel}: {failure:?}", key.1));
                        self.refuse_forward(key, &secret, failure, payload.short_channel_id);
                    }
                }
            }
        }
    }

    /// An HTLC that was there at the last restart is known for what it is: what waited for that can be told.
    fn was_read(&self, key: HtlcKey) {
        let hash = self.table.lock().unread.remove(&key);
        if let Some(hash) = hash {
            self.tell_claimed(hash);
        }
    }

    /// What was there at the last restart, and whose channel is gone before it was read, is nothing to wait for. A channel that is
    /// still there tells it sooner or later.
    pub(super) fn drop_unread(&self) {
        let gone: Vec<HtlcKey> = {
            let table = self.table.lock();
            table.unread.keys().filter(|key| !table.has_channel(key.0)).copied().collect()
        };
        for key in gone {
            self.was_read(key);
        }
    }

    /// Whether the channel has left for the chain, or is gone.
    pub(super) fn is_on_chain(&self, channel: ChannelId) -> bool {
        let slot = self.table.lock().channel(channel);
        let is_out = |slot| {
            self.look(&slot, |channel, _| matches!(channel.phase(), PhaseName::Resolving | PhaseName::Closed))
        };
        slot.is_none_or(is_out)
    }

    /// Fails an HTLC that was to go out by the channel that its onion names `named`.
    fn refuse_forward(&self, key: HtlcKey, secret: &SharedSecret, failure: Failure, named: ShortChannelId) {
        self.refuse(key, secret, &self.with_update(failure, named));
    }

    /// The failure with our terms for the channel of that name, if they are due to it.
    pub(super) fn with_update(&self, failure: Failure, named: ShortChannelId) -> Failure {
        admit::with_update(failure, || {
            let slot = self.table.lock().routes_over(named).into_iter().next();
            let update = slot.and_then(|slot| self.look(&slot, |channel, cx| channel.update_for(cx, named)));
            update.and_then(|update| update.to_wire().ok()).unwrap_or_default()
        })
    }

    /// Fails an HTLC whose onion has just been read.
    pub(super) fn refuse(&self, key: HtlcKey, secret: &SharedSecret, failure: &Failure) {
        let removal = onion::fail(secret, failure, self.back(key).hold_time);
        self.remove(key, removal);
    }

    /// Offers an HTLC on by the channel that its onion names, or by another with the same peer.
    pub(super) fn forward(
        &self,
        key: HtlcKey,
        htlc: &IncomingHtlc,
        payload: &ForwardPayload,
        next: &Arc<OnionPacket>,
    ) -> Result<(), NotForwarded> {
        let slots = self.table.lock().routes_over(payload.short_channel_id);
        if slots.is_empty() {
            return Err(NotForwarded::Failed(Failure::UnknownNextPeer));
        }
        if htlc.over_exposed {
            // BOLT 2: "SHOULD fail this HTLC once it's committed".
            let failure = Failure::TemporaryChannelFailure { channel_update: Vec::new() };
            return Err(NotForwarded::Failed(failure));
        }
        let outgoing = OutgoingHtlc {
            amount: payload.amount,
            hash: htlc.hash,
            expiry: payload.expiry,
            onion: next.clone().into(),
            path_key: None,
            origin: Origin::Forward { channel: key.0, htlc: key.1 },
        };
        // Before the offer: its outcome may come on another thread.
        self.table.lock().answered.insert(key);
        // What the named channel says counts; the others only help out.
        let mut first = None;
        for slot in slots {
            let answer = self.step(&slot, |channel, cx| offer(channel, cx, htlc, payload, outgoing.clone()));
            match answer {
                Ok(id) => {
                    self.sign_later(&slot);
                    let to = slot.lock().names().id;
                    self.log(
                        Level::Debug,
                        format_args!("HTLC {} of {} goes out as HTLC {id} of {to}", key.1, key.0),
                    );
                    return Ok(());
                }
                Err(why) => drop(first.get_or_insert(why)),
            }
        }
        self.table.lock().answered.remove(&key);
        Err(first.unwrap_or(NotForwarded::Failed(Failure::UnknownNextPeer)))
    }

    /// The channel has an update to sign for once all work is done.
    pub(super) fn sign_later(&self, slot: &Arc<Slot<E::Keys>>) {
        let id = slot.lock().names().id;
        self.table.lock().unsigned.insert(id);
    }

    /// Removes an HTLC by our own decision.
    pub(super) fn remove(&self, key: HtlcKey, removal: Removal) {
        self.table.lock().removals.decide(key, removal, None, None);
        self.settle(key);
    }

    /// Fails an HTLC that was held.
    pub(super) fn fail_back(&self, key: HtlcKey, failure: Failure) {
        let Some(htlc) = self.incoming(key) else {
            self.table.lock().arrivals.remove(&key);
            return;
        };
        match onion::fail_back(self.env.keys(), &htlc, &failure, &self.back(key)) {
            Ok(removal) => self.remove(key, removal),
            Err(_) => self.park(Work::FailBack(key, failure)),
        }
    }

    /// An HTLC that a channel brought and that is still in it.
    pub(super) fn incoming(&self, (channel, id): HtlcKey) -> Option<IncomingHtlc> {
        let slot = self.table.lock().channel(channel)?;
        self.look(&slot, |channel, _| channel.incoming_htlc(id).cloned())
    }

    /// Hands a removal to its channel.
    pub(super) fn settle(&self, key: HtlcKey) {
        let (slot, removal) = {
            let table = self.table.lock();
            let Some(removal) = table.removals.to_offer(key) else { return };
            (table.channel(key.0), removal)
        };
        let Some(slot) = slot else {
            self.not_settled(key);
            return;
        };
        match self.step(&slot, |channel, cx| channel.settle(cx, key.1, removal)) {
            Ok(()) => {
                self.table.lock().removals.taken(key);
                self.sign_later(&slot);
            }
            Err(SettleError::Refused(RemovalRefused::AlreadyRemoved(_) | RemovalRefused::Unknown(_))) => {
                // Removed in an earlier life, or by the chain: durable either way.
                self.not_settled(key);
            }
            Err(error) => {
                self.log(Level::Error, format_args!("HTLC {} of {} is not removed: {error}", key.1, key.0));
                self.not_settled(key);
            }
        }
    }

    /// There is nothing to remove any more.
    fn not_settled(&self, key: HtlcKey) {
        let claim = self.finish(key, false);
        if let Some(hash) = claim {
            self.table.lock().inbound.on_claim_refused(hash, key);
            self.tell_claimed(hash);
        }
    }

    /// A removal is durable.
    pub(super) fn settled(&self, key: HtlcKey) {
        self.finish(key, true);
    }

    /// Does with what the removal answered; returns the payment that was claimed by it.
    fn finish(&self, key: HtlcKey, is_ours: bool) -> Option<lightning_traits::payment::PaymentHash> {
        let pending = {
            let mut table = self.table.lock();
            table.answered.remove(&key);
            table.arrivals.remove(&key);
            table.removals.finish(key)
        }?;
        let Some(owed) = pending.owed else { return pending.claim };
        self.notice_done(owed.channel, owed.notice);
        if is_ours && matches!(pending.removal, Removal::Fulfill { .. }) {
            self.tell_once(Event::Forwarded {
                from: key.0,
                to: owed.channel,
                amount: owed.amount,
                fee: owed.received.checked_sub(owed.amount),
            });
        }
        pending.claim
    }

    /// The channel may forget an outcome.
    pub(crate) fn notice_done(&self, channel: ChannelId, notice: NoticeKey) {
        let slot = self.table.lock().channel(channel);
        if let Some(slot) = slot {
            self.step(&slot, |channel, cx| channel.notice_done(cx, notice));
        }
    }

    /// Takes an outcome over.
    pub(super) fn on_notice(&self, channel: ChannelId, notice: Notice) {
        let key = notice.key();
        match notice {
            Notice::Claimed { htlc, hash, total, preimage, .. } => {
                self.on_claimed(channel, htlc, hash, total, preimage);
            }
            Notice::Settled {
                origin: Origin::Payment { id, path, session_key, total },
                hash,
                outcome,
                ..
            } => {
                let what = (id, hash, total);
                self.on_part_settled((channel, key), what, &path, &session_key, &outcome);
            }
            Notice::Settled {
                origin: Origin::Forward { channel: from, htlc }, amount, ref outcome, ..
            } => {
                let outcome = outcome.clone();
                self.pass_back((channel, key), (from, htlc), amount, outcome, notice);
            }
        }
    }

    /// Takes the outcome of a forwarded HTLC upstream.
    fn pass_back(
        &self,
        (channel, key): (ChannelId, NoticeKey),
        upstream: HtlcKey,
        amount: lightning_traits::units::Msat,
        outcome: Outcome,
        notice: Notice,
    ) {
        let Some(incoming) = self.incoming(upstream) else {
            // It is irrevocably gone upstream, so it was answered.
            let mut table = self.table.lock();
            table.answered.remove(&upstream);
            table.arrivals.remove(&upstream);
            drop(table);
            self.notice_done(channel, key);
            return;
        };
        match onion::pass_back(self.env.keys(), &incoming, outcome, &self.back(upstream)) {
            Ok(removal) => {
                let owed = Owed { channel, notice: key, amount, received: incoming.amount };
                self.table.lock().removals.decide(upstream, removal, Some(owed), None);
                self.settle(upstream);
            }
            Err(_) => self.park(Work::Notice { channel, notice }),
        }
    }

    /// An HTLC was dropped with its connection before it bound anybody: it is decided on anew.
    pub(super) fn on_unsent(&self, channel: ChannelId, id: HtlcId, htlc: OutgoingHtlc) {
        self.log(Level::Debug, format_args!("HTLC {id} of {channel} was never sent"));
        match htlc.origin {
            Origin::Forward { channel, htlc } => {
                self.table.lock().answered.remove(&(channel, htlc));
                if let Some(incoming) = self.incoming((channel, htlc)) {
                    self.queue([Work::Decide { channel, htlc: incoming, patience: 0 }]);
                }
            }
            Origin::Payment { id, path, session_key, .. } => self.on_part_unsent(id, &path, &session_key),
        }
    }
}

/// Offers an HTLC on a channel, if it keeps our terms there.
fn offer<K: lightning_traits::interface::KeysInterface>(
    channel: &mut Channel<K>,
    cx: &Context<'_, K>,
    htlc: &IncomingHtlc,
    payload: &ForwardPayload,
    outgoing: OutgoingHtlc,
) -> Result<HtlcId, NotForwarded> {
    let wish = Wish { amount: htlc.amount, expiry: htlc.expiry, payload, height: cx.height };
    let minimum = channel
        .commitments()
        .map_or(lightning_traits::units::Msat::ZERO, |commitments| commitments.terms().theirs.htlc_minimum);
    admit::admit(&wish, &cx.config.channel, minimum).map_err(NotForwarded::Failed)?;
    channel.offer_htlc(cx, outgoing).map_err(|error| match error {
        SendError::NotOnline | SendError::Quiescent => NotForwarded::Away,
        other => NotForwarded::Failed(admit::refused(other, payload.amount)),
    })
}
