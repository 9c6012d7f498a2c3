//! Who may be one of N.
use std::collections::{BTreeMap, BTreeSet};

use lightning_traits::id::{ChannelId, EventId, UpdateId};
use lightning_traits::interface::ManyChannelMonitor;
use lightning_traits::monitor::{
    ChannelMonitorUpdate, LateRefusal, MonitorEvent, NewMonitor, Persist, Receipt, StoredChannels,
};
use lightning_traits::sync::Mutex;

use crate::client::RemoteMonitors;

/// Monitors that say whether they answer, and what they hold.
pub trait Member: ManyChannelMonitor {
    /// Whether they answer now.
    fn is_up(&self) -> bool;

    /// The last update of the channel that they hold durably, with all before it, as far as known.
    fn durable(&self, channel: ChannelId) -> Option<UpdateId>;

    /// Whether they hold more of the channel than they were ever given here: then what the node started from is old, and nothing
    /// of the channel may go on (RELIABILITY B1).
    fn is_ahead(&self, _channel: ChannelId) -> bool {
        false
    }

    /// The channel is done with: nothing of it need be held for the member any more.
    fn forget(&self, _channel: ChannelId) {}

    /// The next channel of which the above has changed without a receipt.
    fn next_news(&self) -> Option<ChannelId> {
        None
    }
}

impl Member for RemoteMonitors {
    fn is_up(&self) -> bool {
        Self::is_up(self)
    }

    fn durable(&self, channel: ChannelId) -> Option<UpdateId> {
        Self::durable(self, channel)
    }

    fn is_ahead(&self, channel: ChannelId) -> bool {
        Self::is_ahead(self, channel)
    }

    fn forget(&self, channel: ChannelId) {
        Self::forget(self, channel);
    }

    fn next_news(&self) -> Option<ChannelId> {
        Self::next_news(self)
    }
}

/// How far a channel is durable, and what is durable above a gap.
type Held = (Option<UpdateId>, BTreeSet<UpdateId>);

/// A member that is always up: a second disk of the same machine.
pub struct Always<M> {
    inner: M,
    held: Mutex<BTreeMap<ChannelId, Held>>,
}

impl<M: ManyChannelMonitor> Always<M> {
    /// Around monitors that were made from `stored`.
    #[must_use]
    pub fn new(inner: M, stored: &StoredChannels) -> Self {
        let held =
            stored.iter().map(|(channel, stored)| (*channel, (Some(stored.last_update), BTreeSet::new())));
        Self { inner, held: Mutex::new(held.collect()) }
    }

    /// What is inside.
    #[must_use]
    pub const fn inner(&self) -> &M {
        &self.inner
    }

    fn note(&self, receipt: Receipt) -> Receipt {
        let mut held = self.held.lock();
        let (durable, early) = held.entry(receipt.channel()).or_default();
        early.insert(receipt.id());
        while early.remove(&durable.map_or(UpdateId(0), UpdateId::next)) {
            *durable = Some(durable.map_or(UpdateId(0), UpdateId::next));
        }
        drop(held);
        receipt
    }

    fn note_persist(&self, persist: Persist) -> Persist {
        match persist {
            Persist::Durable(receipt) => Persist::Durable(self.note(receipt)),
            other => other,
        }
    }
}

impl<M: ManyChannelMonitor> ManyChannelMonitor for Always<M> {
    fn add_channel(&self, new: NewMonitor) -> Persist {
        self.note_persist(self.inner.add_channel(new))
    }

    fn update_channel(&self, update: ChannelMonitorUpdate) -> Persist {
        self.note_persist(self.inner.update_channel(update))
    }

    fn next_receipt(&self) -> Option<Receipt> {
        self.inner.next_receipt().map(|receipt| self.note(receipt))
    }

    fn next_refusal(&self) -> Option<LateRefusal> {
        self.inner.next_refusal()
    }

    fn next_monitor_event(&self, after: Option<EventId>) -> Option<(EventId, MonitorEvent)> {
        self.inner.next_monitor_event(after)
    }

    fn acknowledge_monitor_event(&self, id: EventId) {
        self.inner.acknowledge_monitor_event(id);
    }
}

impl<M: ManyChannelMonitor> Member for Always<M> {
    fn is_up(&self) -> bool {
        true
    }

    fn durable(&self, channel: ChannelId) -> Option<UpdateId> {
        self.held.lock().get(&channel)?.0
    }

    fn forget(&self, channel: ChannelId) {
        self.held.lock().remove(&channel);
    }
}

/// A table: what goes through a pointer goes to what it points at.
macro_rules! through_pointers {
    ($($pointer:ty),*) => {$(
        impl<T: Member + ?Sized> Member for $pointer {
            fn is_up(&self) -> bool {
                (**self).is_up()
            }
            fn durable(&self, channel: ChannelId) -> Option<UpdateId> {
                (**self).durable(channel)
            }
            fn is_ahead(&self, channel: ChannelId) -> bool {
                (**self).is_ahead(channel)
            }
            fn forget(&self, channel: ChannelId) {
                (**self).forget(channel);
            }
            fn next_news(&self) -> Option<ChannelId> {
                (**self).next_news()
            }
        }
    )*};
}
through_pointers!(std::rc::Rc<T>, std::sync::Arc<T>, Box<T>);
