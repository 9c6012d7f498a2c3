//! Restart: channels from their records, and between them nothing but ordinary outputs and work.
//!
//! An incoming HTLC that an outgoing one names as its origin is answered by that one's outcome; any other is decided on again.
//! What the channels' records hold decides; the manager's own record may be stale or missing.
//!
//! # Invariants
//! - nothing closes because of the manager's record, and nothing is paid twice because it is lost or behind, as far as
//!   [`take_record`](ChannelManager::take_record) was not told otherwise (I6)
//! - no payment ends before all channels have told what they know of it
mod intent;
mod record;

pub(crate) use intent::{Intent, Plan};
pub use record::{RecordRows, RowChange};

use alloc::boxed::Box;
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
use crate::manager::table::{Failing, Finishing, Table};
use crate::manager::work::Work;
use crate::manager::{ChannelManager, Tip};
use record::{Row, changes, paid_key};

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
    /// What is stored as one channel's is another's.
    #[error("what is stored as channel {channel} is channel {found}")]
    OtherChannel {
        /// Under which name.
        channel: ChannelId,
        /// Whose it is.
        found: ChannelId,
    },
    /// Two records of one channel.
    #[error("channel {0} is stored twice")]
    Duplicate(ChannelId),
}

impl<E: Environment> ChannelManager<E> {
    /// The manager of the `stored` channels. `record` is what [`take_record`](Self::take_record) gave, as far as it was kept.
    /// Blocks after `tip` are to be handed over like any others; what records hold of such blocks is not believed, so an
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
        record: &RecordRows,
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
        {
            let mut table = manager.table.lock();
            let Table { unread, answered, .. } = &mut *table;
            // Read before the restart, and offered on.
            unread.retain(|htlc, _| !answered.contains(htlc));
        }
        manager.restore_record(record);
        for slot in &slots {
            // A record may have seen a block that the tip had not reached on disk, and that was reorganised away since.
            manager.step(slot, |channel, cx| channel.block_disconnected(cx, tip.height.plus(1)));
        }
        // Before any peer can make a channel end that another one depends on.
        manager.judge_fundings(false);
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
        if restored.id() != channel {
            return Err(RecoverError::OtherChannel { channel, found: restored.id() });
        }
        self.join(channel, &restored);
        let slot = Arc::new(Slot::new(restored, None));
        if self.add(&slot, true) { Ok(slot) } else { Err(RecoverError::Duplicate(channel)) }
    }

    /// Notes what the channel's outgoing HTLCs, and outcomes of past ones, answer; and which incoming ones are undecided.
    fn join(&self, id: ChannelId, channel: &Channel<E::Keys>) {
        let mut table = self.table.lock();
        table.unread.extend(channel.pending_incoming().map(|htlc| ((id, htlc.id), htlc.hash)));
        for (id, htlc) in channel.outgoing() {
            let is_done = channel.commitments().is_some_and(|commitments| commitments.is_done_with(id));
            match &htlc.origin {
                // Its payment ended, and the user knows.
                Origin::Payment { .. } if is_done => {}
                // Nobody waits for it.
                Origin::Payment { id, .. } if self.is_probe(*id, htlc.hash) => {}
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

    fn restore_record(&self, rows: &RecordRows) {
        let (mut first_event, mut ids) = (0, Vec::new());
        for (key, value) in rows {
            match Row::decode(key, value) {
                Ok(Row::Counters { next_event, announced_at }) => {
                    first_event = next_event;
                    self.table.lock().announced_at = announced_at;
                }
                Ok(Row::Intent(intent)) => {
                    let mut table = self.table.lock();
                    table.records.listed.insert(intent.id);
                    table.payments.restore_intent(*intent);
                }
                Ok(Row::Paid { hash, expires }) => {
                    self.table.lock().inbound.restore_paid(hash, expires);
                    // Its own changes tell when it goes.
                    continue;
                }
                Ok(Row::Told { id, source }) => ids.push((id, source)),
                // A cache: what it would have said is worth no refusal to start.
                Err(error) => self.environment().log().log(&LogRecord {
                    level: Level::Error,
                    module: "recover",
                    peer: None,
                    channel: None,
                    message: format_args!("a row of the manager's record is of no use: {error}"),
                }),
            }
            self.table.lock().records.rows.insert(key.clone(), value.clone());
        }
        if !rows.is_empty() {
            self.events.lock().restore(first_event, ids);
        }
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

    /// What has changed in the manager's record, if anything: rows to be stored beside those of before, best all or none, and
    /// handed to [`restore`](Self::restore). By calling again the caller says that what it was given before is stored: what is
    /// needed until then is forgotten, so a record of before that comes back from a backup may begin a payment again that is over.
    #[must_use]
    pub fn take_record(&self) -> Vec<RowChange> {
        let (is_due, notices) = {
            let mut table = self.table.lock();
            let records = &mut table.records;
            let durable = records.made;
            let finishing = core::mem::take(&mut records.finishing);
            let (done, waiting): (Vec<_>, Vec<_>) =
                finishing.into_iter().partition(|finishing| finishing.record <= durable);
            records.finishing = waiting;
            // Those that have failed, as the record says by now: so they may be said to have.
            let failing = core::mem::take(&mut records.failing);
            let (failed, waiting): (Vec<_>, Vec<_>) =
                failing.into_iter().partition(|failing| failing.record <= durable);
            records.failing = waiting;
            for Finishing { id, .. } in &done {
                records.listed.remove(id);
            }
            let forgetting = core::mem::take(&mut records.forgetting);
            let (forgotten, waiting): (Vec<_>, Vec<_>) =
                forgetting.into_iter().partition(|forgetting| forgetting.record <= durable);
            records.forgetting = waiting;
            for Failing { id, .. } in &failed {
                table.payments.on_noted(*id);
                table.work.push_back(Work::Advance(*id));
            }
            let notices = done.into_iter().flat_map(|finishing| finishing.notices);
            let notices: Vec<_> =
                notices.chain(forgotten.into_iter().flat_map(|forgetting| forgetting.notices)).collect();
            (table.records.is_due, notices)
        };
        for (channel, notice) in notices {
            self.notice_done(channel, notice);
        }
        let changed = if is_due { self.make_record() } else { Vec::new() };
        self.run();
        changed
    }

    fn make_record(&self) -> Vec<RowChange> {
        let (next_event, told) = self.events.lock().reserve();
        let mut table = self.table.lock();
        let intents: Vec<_> = table.payments.intents().collect();
        let counters = Row::Counters { next_event, announced_at: table.announced_at };
        let ids: Vec<_> = intents.iter().map(|intent| intent.id).collect();
        let rows = intents.into_iter().map(|intent| Row::Intent(Box::new(intent)));
        let told = told.into_iter().map(|(id, source)| Row::Told { id, source });
        let rows: RecordRows = rows.chain(told).chain([counters]).map(|row| row.encode()).collect();
        let paid = table.inbound.take_paid_changes();
        let records = &mut table.records;
        records.is_due = false;
        records.made = records.made.saturating_add(1);
        records.listed.extend(ids);
        let mut changed = changes(&records.rows, &rows);
        records.rows = rows;
        changed.extend(paid.into_iter().map(|(hash, expires)| RowChange {
            key: paid_key(hash),
            value: expires.map(|expires| Row::Paid { hash, expires }.encode().1),
        }));
        changed
    }
}
