//! Restart: channels from their records, and between them nothing but ordinary outputs and work.
//!
//! An incoming HTLC that an outgoing one names as its origin is answered by that one's outcome; any other is decided on again.
//! What the channels' records hold decides; the manager's own record may be stale or missing.
//!
//! # Invariants
//! - nothing closes and nothing is paid twice because of the manager's record (I6)
//! - no payment ends before all channels have told what they know of it
mod record;

use alloc::sync::Arc;
use alloc::vec::Vec;

use bitcoin::constants::ChainHash;
use lightning_traits::config::UserConfig;
use lightning_traits::id::ChannelId;
use lightning_traits::interface::{Environment, Level, LogRecord, Logger as _};
use lightning_traits::monitor::{StoredChannel, StoredChannels};
use thiserror::Error;

use crate::channel::{Channel, RestoreError};
use crate::commitments::{Notice, Origin};
use crate::manager::slot::Slot;
use crate::manager::table::Finishing;
use crate::manager::work::Work;
use crate::manager::{ChannelManager, Tip};
use record::{Intent, ManagerRecord, Paid, Told};

/// Why the node must not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// A channel's record cannot be read. Starting without it would leave its HTLCs to others.
    #[error("channel {channel}: {error}")]
    Channel {
        /// The channel.
        channel: ChannelId,
        /// Why.
        error: RestoreError,
    },
    /// Two records of one channel.
    #[error("channel {0} is stored twice")]
    Duplicate(ChannelId),
}

impl<E: Environment> ChannelManager<E> {
    /// The manager of the `stored` channels. `record` is the last that [`take_record`](Self::take_record) gave, if it was
    /// kept. Blocks after `tip` are to be handed over like any others; what records hold of such blocks is not believed, so an
    /// older tip does no harm, and one that is newer than what the records have seen hides a confirmation from them: so, as long
    /// as the monitors' store keeps the tip, blocks go to the channels before they go to the monitors.
    ///
    /// # Errors
    /// [`RecoverError`].
    pub fn restore(
        env: E,
        config: UserConfig,
        chain: ChainHash,
        tip: Tip,
        stored: StoredChannels,
        record: Option<&[u8]>,
    ) -> Result<Self, RecoverError> {
        let manager = Self::new(env, config, chain, tip);
        {
            let mut table = manager.table.lock();
            table.is_recovering = true;
            table.payments.freeze(true);
        }
        let mut slots = Vec::with_capacity(stored.len());
        for (channel, stored) in stored {
            slots.push(manager.restore_channel(channel, &stored)?);
        }
        manager.restore_record(record);
        for slot in &slots {
            // A record may have seen a block that the tip had not reached on disk, and that was reorganised away since.
            manager.step(slot, |channel, cx| channel.block_disconnected(cx, tip.height.plus(1)));
        }
        manager.notices_first();
        manager.run();
        manager.recovered();
        Ok(manager)
    }

    fn restore_channel(
        &self,
        channel: ChannelId,
        stored: &StoredChannel,
    ) -> Result<Arc<Slot<E::Keys>>, RecoverError> {
        let now = self.now();
        let restored =
            Channel::restore(&self.context(&now), &stored.record, &stored.record_changes, stored.last_update)
                .map_err(|error| RecoverError::Channel { channel, error })?;
        self.join(&restored);
        let slot = Arc::new(Slot::new(restored, None));
        if self.add(&slot, true) { Ok(slot) } else { Err(RecoverError::Duplicate(channel)) }
    }

    /// Notes what the channel's outgoing HTLCs, and outcomes of past ones, answer.
    fn join(&self, channel: &Channel<E::Keys>) {
        let mut table = self.table.lock();
        for (id, htlc) in channel.outgoing() {
            let is_done = channel.commitments().is_some_and(|commitments| commitments.is_done_with(id));
            match &htlc.origin {
                // Its payment ended, and the user knows.
                Origin::Payment { .. } if is_done => {}
                Origin::Forward { channel, htlc } => {
                    table.answered.insert((*channel, *htlc));
                }
                Origin::Payment { id, path, session_key, total } => {
                    table.payments.restore_part(*id, htlc.hash, *total, session_key, path.clone());
                }
            }
        }
        let notices = channel.commitments().map(|commitments| commitments.notices()).unwrap_or_default();
        for notice in notices {
            if let Notice::Settled { origin: Origin::Forward { channel, htlc }, .. } = notice {
                table.answered.insert((channel, htlc));
            }
        }
    }

    fn restore_record(&self, bytes: Option<&[u8]>) {
        let Some(bytes) = bytes else { return };
        let record = match ManagerRecord::from_versioned(bytes) {
            Ok(record) => record,
            Err(error) => {
                // A cache: what it would have said is worth no refusal to start.
                self.environment().log().log(&LogRecord {
                    level: Level::Error,
                    module: "recover",
                    peer: None,
                    channel: None,
                    message: format_args!("the manager's record is of no use: {error}"),
                });
                return;
            }
        };
        {
            let mut table = self.table.lock();
            for Intent { id, hash, total } in record.intents {
                table.payments.restore_intent(id, hash, total);
                table.records.listed.insert(id);
            }
            for Paid { hash, expires } in record.paid {
                table.inbound.restore_paid(hash, expires);
            }
            table.announced_at = record.announced_at;
        }
        let told = record.told.into_iter().map(|told| (told.id, told.source));
        self.events.lock().restore(record.next_event, told);
    }

    /// What is known to have ended comes before what is to be decided: a part of a payment that is claimed elsewhere is
    /// claimed too (RELIABILITY J1).
    fn notices_first(&self) {
        let mut table = self.table.lock();
        let work: Vec<_> = table.work.drain(..).collect();
        let (notices, others): (Vec<_>, Vec<_>) =
            work.into_iter().partition(|work| matches!(work, Work::Notice { .. }));
        table.work.extend(notices.into_iter().chain(others));
    }

    fn recovered(&self) {
        let claims = {
            let mut table = self.table.lock();
            table.is_recovering = false;
            table.payments.freeze(false);
            let ids = table.payments.ids();
            table.work.extend(ids.into_iter().map(Work::Advance));
            table.records.is_due = true;
            table.inbound.claimed_hashes()
        };
        for hash in claims {
            self.tell_claimed(hash);
        }
        self.run();
    }

    /// The manager's record when it has changed, to be stored in place of the one before and handed to
    /// [`restore`](Self::restore). By calling again the caller says that what it was given before is stored.
    #[must_use]
    pub fn take_record(&self) -> Option<Vec<u8>> {
        let (is_due, done) = {
            let mut table = self.table.lock();
            let records = &mut table.records;
            let durable = records.made;
            let finishing = core::mem::take(&mut records.finishing);
            let (done, waiting): (Vec<_>, Vec<_>) =
                finishing.into_iter().partition(|finishing| finishing.record <= durable);
            records.finishing = waiting;
            for Finishing { id, .. } in &done {
                records.listed.remove(id);
            }
            (records.is_due, done)
        };
        for (channel, notice) in done.into_iter().flat_map(|finishing| finishing.notices) {
            self.notice_done(channel, notice);
        }
        is_due.then(|| self.make_record())
    }

    fn make_record(&self) -> Vec<u8> {
        let (next_event, told) = self.events.lock().reserve();
        let mut table = self.table.lock();
        let intents: Vec<_> =
            table.payments.intents().map(|(id, hash, total)| Intent { id, hash, total }).collect();
        let paid = table.inbound.paid().map(|(hash, expires)| Paid { hash, expires }).collect();
        let records = &mut table.records;
        records.is_due = false;
        records.made = records.made.saturating_add(1);
        records.listed.extend(intents.iter().map(|intent| intent.id));
        let told = told.into_iter().map(|(id, source)| Told { id, source }).collect();
        ManagerRecord { next_event, announced_at: table.announced_at, intents, paid, told }.to_versioned()
    }
}
