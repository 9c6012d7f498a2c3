//! Between channel and monitor, and between monitor and store.
//!
//! # Invariants
//! - a channel does not step forward before the [`Receipt`] of the update that its step needs (I3)
//! - update and record are written in one atomic store operation (I6)
use bitcoin::BlockHash;

use crate::id::{ChannelId, EventId};
use crate::monitor::{
    ChannelMonitorUpdate, LateRefusal, MonitorEvent, MonitorSnapshot, NewMonitor, Persist, Receipt,
    StoredChannel,
};
use crate::units::BlockHeight;

/// Many monitors behind one interface: local, remote on a watchtower, or K of N of them.
pub trait ManyChannelMonitor {
    /// Starts to monitor a channel, before its funding transaction may be broadcast or our signature for
    /// it leaves. Repeating the same call is answered like the first.
    fn add_channel(&self, new: NewMonitor) -> Persist;

    /// Takes the next update of a channel; ids count up by one. Repeating one that is known is answered like the first.
    fn update_channel(&self, update: ChannelMonitorUpdate) -> Persist;

    /// The next receipt of an earlier answer [`Persist::InProgress`]; receipts may come in any order.
    fn next_receipt(&self) -> Option<Receipt>;

    /// The next refusal of an earlier answer [`Persist::InProgress`]. Nothing of the same channel that was handed over after
    /// the refused update, and before this answer, is ever taken, nor refused by a name of its own: those ids are free again.
    fn next_refusal(&self) -> Option<LateRefusal>;

    /// The first event above `after` that is not acknowledged (I11).
    fn next_monitor_event(&self, after: Option<EventId>) -> Option<(EventId, MonitorEvent)>;

    /// What followed from the event is durable; it is not repeated.
    fn acknowledge_monitor_event(&self, id: EventId);
}

/// Durable storage of monitors and of the channels' records beside them. Each call is one atomic write.
///
/// An implementation that cannot write answers [`Persist::InProgress`] and tries again: the channel freezes, nothing else.
pub trait MonitorStore {
    /// Writes the first state of a channel.
    fn write_new(&self, new: &NewMonitor) -> Persist;

    /// Appends an update, or, when `snapshot` is given, replaces the monitor's state by it (which includes
    /// the update), puts its parts of the past beside those before and drops the updates before; the record inside the
    /// update is written with it.
    fn write_update(&self, update: &ChannelMonitorUpdate, snapshot: Option<MonitorSnapshot>) -> Persist;

    /// The same for a snapshot after the chain, not the channel, changed the monitor. Carries no receipt: what
    /// is lost here comes again when the blocks do.
    fn write_chain_state(&self, channel: ChannelId, snapshot: MonitorSnapshot);

    /// Remembers up to which block all that was written before is true. Carries no receipt: after a restart the
    /// blocks since the remembered one come again.
    fn write_tip(&self, hash: BlockHash, height: BlockHeight);

    /// Moves a channel that is fully resolved out of the way of the next start.
    fn archive(&self, channel: ChannelId);

    /// Everything of one channel up to the last update that has a receipt, or a later one; `None` when it cannot be read
    /// now, and is asked for again. So a monitor that has nothing to do need not stay in memory.
    fn read(&self, channel: ChannelId) -> Option<StoredChannel>;

    /// The next receipt of an earlier answer [`Persist::InProgress`].
    fn next_receipt(&self) -> Option<Receipt>;
}
