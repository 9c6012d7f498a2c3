//! Forwards that the user decides on: held, released over a channel of its choice and for less, or refused.
use lightning_traits::config::Interception;
use lightning_traits::id::{ChannelId, HtlcId, ShortChannelId};
use lightning_traits::interface::Environment;
use lightning_traits::sphinx::{Failure, ForwardPayload, OnionPacket};
use lightning_traits::units::{BlockHeight, Msat};
use thiserror::Error;

use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::ChannelManager;
use super::events::Source;
use super::forwarding::NotForwarded;
use super::work::Work;
use crate::commitments::{IncomingHtlc, Origin, OutgoingHtlc};
use crate::forward::admit::{self, Wish};
use crate::forward::intercepted::Intercepted;
use crate::payment::inbound::HtlcKey;

/// Why a forward that waits is not released or refused. It waits on, unless it is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InterceptError {
    /// No forward of that HTLC waits (any more).
    #[error("HTLC {1} of channel {0} does not wait to be forwarded")]
    Unknown(ChannelId, HtlcId),
    /// There is no such channel to send it over.
    #[error("no channel {0} to forward over")]
    UnknownChannel(ChannelId),
    /// Nothing, or more than its payer meant to go out.
    #[error("{amount} is not between 1 msat and the {most} that its payer sends")]
    Amount {
        /// What was asked for.
        amount: Msat,
        /// The most that may go out.
        most: Msat,
    },
    /// The channel does not take it now.
    #[error("it cannot go out: {0}")]
    NotCarried(String),
}

impl<E: Environment> ChannelManager<E> {
    /// A name of a channel that does not exist, for the route hints of somebody whom we will open a channel to when it is paid.
    /// HTLCs that ask to go out by it are told as [`ForwardIntercepted`](lightning_traits::event::Event::ForwardIntercepted)
    /// when [`Interception::Promised`] is configured, after a restart too.
    #[must_use]
    pub fn promise_channel(&self) -> ShortChannelId {
        self.promises.promise(self.env.keys())
    }

    /// Whether the user decides on an HTLC that asks to go out by this name.
    pub(super) fn is_intercepted(&self, named: ShortChannelId) -> bool {
        match self.config.forward.intercept {
            Interception::None => false,
            Interception::Promised => self.promises.is_promise(named),
            Interception::All => true,
        }
    }

    /// Holds a forward and asks the user.
    pub(super) fn intercept(
        &self,
        key: HtlcKey,
        htlc: &IncomingHtlc,
        payload: &ForwardPayload,
        next: &Arc<OnionPacket>,
    ) -> Result<(), NotForwarded> {
        if htlc.over_exposed {
            let failure = Failure::TemporaryChannelFailure { channel_update: Vec::new() };
            return Err(NotForwarded::Failed(failure));
        }
        let config = &self.config.channel;
        let height = self.now().tip.height;
        let wish = Wish { amount: htlc.amount, expiry: htlc.expiry, payload, height };
        admit::in_time(&wish, config).map_err(NotForwarded::Failed)?;
        // The last block at which it could still go out is the one before.
        let deadline = BlockHeight::new(payload.expiry.get().saturating_sub(config.grace_blocks));
        let (htlc, payload, next) = (htlc.clone(), payload.clone(), next.clone());
        let intercepted = Intercepted { htlc, payload, next, deadline };
        let event = intercepted.event(key);
        self.table.lock().intercepted.insert(key, intercepted);
        self.tell(event, source(key));
        Ok(())
    }

    /// Lets a forward go that waited: over the channel `over` and with `amount`, or as its payer wants where either is not
    /// given. With a channel of the user's choice our terms for fees do not count, but there must be enough time.
    ///
    /// # Errors
    /// [`InterceptError`]; but for [`InterceptError::Unknown`] it waits on, and may be tried again.
    pub fn forward_intercepted(
        &self,
        channel: ChannelId,
        htlc: HtlcId,
        over: Option<ChannelId>,
        amount: Option<Msat>,
    ) -> Result<(), InterceptError> {
        let key = (channel, htlc);
        let intercepted = self.table.lock().intercepted.get(key).cloned();
        let mut intercepted = intercepted.ok_or(InterceptError::Unknown(channel, htlc))?;
        if self.is_on_chain(channel) {
            // There may be no output for it to pay us with.
            return Err(InterceptError::NotCarried("its own channel has gone to the chain".to_string()));
        }
        let most = intercepted.payload.amount.min(intercepted.htlc.amount);
        let amount = amount.unwrap_or(most);
        if amount == Msat::ZERO || amount > most {
            return Err(InterceptError::Amount { amount, most });
        }
        intercepted.payload.amount = amount;
        // Whoever takes it out forwards it: a second call finds nothing.
        if self.table.lock().intercepted.remove(key).is_none() {
            return Err(InterceptError::Unknown(channel, htlc));
        }
        let Intercepted { htlc: incoming, payload, next, .. } = &intercepted;
        let answer = match over {
            Some(over) => self.forward_over(key, over, &intercepted),
            None => self.forward(key, incoming, payload, next).map_err(|why| match why {
                NotForwarded::Away => InterceptError::NotCarried("the next node is away".to_string()),
                NotForwarded::Failed(failure) => InterceptError::NotCarried(alloc::format!("{failure:?}")),
            }),
        };
        match &answer {
            Ok(()) => {
                self.events.lock().withdraw(&source(key));
                self.run();
            }
            Err(_) => {
                // As it was before the user asked for less.
                intercepted.payload.amount = most;
                self.table.lock().intercepted.insert(key, intercepted);
            }
        }
        answer
    }

    fn forward_over(
        &self,
        key: HtlcKey,
        over: ChannelId,
        intercepted: &Intercepted,
    ) -> Result<(), InterceptError> {
        let Intercepted { htlc, payload, next, .. } = intercepted;
        let slot = self.table.lock().channel(over).ok_or(InterceptError::UnknownChannel(over))?;
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
        let answer = self.step(&slot, |channel, cx| {
            let wish = Wish { amount: htlc.amount, expiry: htlc.expiry, payload, height: cx.height };
            admit::in_time(&wish, &cx.config.channel).map_err(|failure| alloc::format!("{failure:?}"))?;
            channel.offer_htlc(cx, outgoing).map_err(|error| error.to_string())
        });
        match answer {
            Ok(_) => {
                self.sign_later(&slot);
                Ok(())
            }
            Err(why) => {
                self.table.lock().answered.remove(&key);
                Err(InterceptError::NotCarried(why))
            }
        }
    }

    /// Fails a forward that waited.
    ///
    /// # Errors
    /// [`InterceptError::Unknown`].
    pub fn refuse_intercepted(&self, channel: ChannelId, htlc: HtlcId) -> Result<(), InterceptError> {
        let key = (channel, htlc);
        let taken = self.table.lock().intercepted.remove(key);
        let intercepted = taken.ok_or(InterceptError::Unknown(channel, htlc))?;
        self.give_back_intercepted(key, &intercepted);
        self.run();
        Ok(())
    }

    /// A block has come: what nobody has decided on in time goes back.
    pub(super) fn give_back_late_forwards(&self) {
        let due = {
            let mut table = self.table.lock();
            let height = table.now.tip.height;
            table.intercepted.due(height)
        };
        for (key, intercepted) in due {
            self.give_back_intercepted(key, &intercepted);
        }
    }

    fn give_back_intercepted(&self, key: HtlcKey, intercepted: &Intercepted) {
        self.events.lock().withdraw(&source(key));
        let named = intercepted.payload.short_channel_id;
        let exists = !self.table.lock().routes_over(named).is_empty();
        let failure = if exists {
            self.with_update(Failure::TemporaryChannelFailure { channel_update: Vec::new() }, named)
        } else {
            Failure::UnknownNextPeer
        };
        self.queue([Work::FailBack(key, failure)]);
    }
}

const fn source((channel, htlc): HtlcKey) -> Source {
    Source::Intercepted { channel, htlc }
}
