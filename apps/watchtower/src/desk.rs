//! The door: clients over the Lightning transport, each to its own guard.
//!
//! `lightning-remote` says what is said; here is who stands behind it. A node is let in by its key, which the transport proves;
//! whoever is no client is hung up on.
//!
//! # Invariants
//! - nobody is let in before all blocks were looked at once: updates come after the blocks that they know of
//! - keys travel inside the encrypted transport only, and lie in files that their owner alone can read
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::BlockHash;
use bitcoin::constants::ChainHash;
use lightning_keys::{KEYS_MESSAGE, KEYS_REFUSED, LentKeys, SeedKeys};
use lightning_net_tokio::{Net, NetConfig, NetError};
use lightning_peer::{Parts, PeerManager};
use lightning_remote::serve::{Admission, Backing, Desk, MonitorService};
use lightning_remote::wire::Mode as WireMode;
use lightning_remote::wire::chain::{Kept, KeyAtHand, Memory};
use lightning_remote::wire::state::{ChannelState, head_of};
use lightning_traits::event::MessageSendEvent;
use lightning_traits::feature::Features;
use lightning_traits::id::{ChannelId, EventId, NodeId};
use lightning_traits::interface::{
    ChannelMessageHandler, KeysInterface as _, ManyChannelMonitor, MessageSendEventsProvider, RefusePeer,
};
use lightning_traits::monitor::{
    ChannelMonitorUpdate, LateRefusal, MonitorEvent, MonitorRefusal, NewMonitor, Persist, Receipt,
};
use lightning_traits::units::BlockHeight;
use lightning_traits::wire::{ChannelMessage, ErrorMessage, Init, WarningMessage};

use crate::clients::Mode;
use crate::guard::Guard;
use crate::logging::TracingLogger;
use crate::tower::{Inner, lock};

impl ManyChannelMonitor for Guard {
    fn add_channel(&self, new: NewMonitor) -> Persist {
        self.add(new)
    }

    fn update_channel(&self, update: ChannelMonitorUpdate) -> Persist {
        self.update(update)
    }

    fn next_receipt(&self) -> Option<Receipt> {
        Guard::next_receipt(self)
    }

    fn next_refusal(&self) -> Option<LateRefusal> {
        self.monitors().next_refusal()
    }

    fn next_monitor_event(&self, after: Option<EventId>) -> Option<(EventId, MonitorEvent)> {
        self.monitors().next_monitor_event(after)
    }

    fn acknowledge_monitor_event(&self, id: EventId) {
        self.monitors().acknowledge_monitor_event(id);
    }
}

impl Backing for Guard {
    fn mode(&self) -> WireMode {
        match Guard::mode(self) {
            Mode::Full => WireMode::Full {},
            Mode::Justice => WireMode::Justice {},
            Mode::Blind => WireMode::Blind {},
        }
    }

    fn heads(&self) -> Vec<Kept> {
        if let Some(vault) = self.vault() {
            return vault.heads();
        }
        match self.store().load_channels() {
            Ok(channels) => channels
                .iter()
                .map(|(channel, stored)| Kept { channel: *channel, head: head_of(stored) })
                .collect(),
            Err(error) => {
                // To state less than is kept would be a false confession; so nothing is stated, and the client sends it again.
                tracing::error!(client = %self.id, "{error}");
                Vec::new()
            }
        }
    }

    fn fetch(&self, channel: ChannelId) -> Option<ChannelState> {
        // The tip first: what is stored after it may know more blocks, never fewer.
        let seen = self.store().load_tip().ok().flatten().map_or(BlockHeight::new(0), |(_, height)| height);
        match self.store().load_channel(channel) {
            Ok(stored) => stored.map(|stored| ChannelState { stored, seen }),
            Err(error) => {
                tracing::error!(client = %self.id, "{error}");
                None
            }
        }
    }

    fn replace(&self, channel: ChannelId, state: ChannelState) {
        Guard::replace(self, channel, state);
    }

    fn next_replaced(&self) -> Option<(ChannelId, Result<(), MonitorRefusal>)> {
        Guard::next_replaced(self)
    }

    fn write_memory(&self, memory: Memory) {
        Guard::write_memory(self, memory);
    }

    fn written_memory(&self) -> Memory {
        Guard::written_memory(self)
    }

    fn tip(&self) -> Option<(BlockHash, BlockHeight)> {
        Guard::tip(self)
    }

    fn has_room(&self, bytes: usize) -> bool {
        Guard::has_room(self, bytes)
    }

    fn on_other(&self, kind: u16, body: Vec<u8>) -> Option<(u16, Vec<u8>)> {
        let refused = |why: &str| Some((KEYS_REFUSED, why.as_bytes().to_vec()));
        if let Some(vault) = self.vault() {
            return vault.on_other(kind, &body);
        }
        if kind != KEYS_MESSAGE {
            return refused("this tower knows no such message");
        }
        let Some((name, keys)) = LentKeys::from_message(&body) else { return refused("these are no keys") };
        if self.give_keys(name, keys) {
            return None;
        }
        refused("these keys are fewer than the mode needs, or too many wait for their channels")
    }

    fn next_gone(&self) -> Option<ChannelId> {
        self.vault()?.next_gone()
    }
}

type Service = MonitorService<Arc<Guard>, Arc<KeyAtHand>>;

/// Who is let in: clients on the list, and those of whom channels are guarded still.
pub struct Doorman {
    tower: Arc<Inner>,
    signer: Arc<KeyAtHand>,
    services: Mutex<BTreeMap<NodeId, Arc<Service>>>,
}

impl Admission for Doorman {
    type Backing = Arc<Guard>;
    type Signer = Arc<KeyAtHand>;

    fn admit(&self, client: NodeId) -> Option<Arc<Service>> {
        self.tower.look_at_clients();
        let guard = self.tower.guard(client)?;
        if !guard.client().admitted && guard.channels() == 0 {
            return None;
        }
        let mut services = lock(&self.services);
        let service = services.entry(client).or_insert_with(|| {
            let (signer, key) = (Arc::clone(&self.signer), self.tower.keys.node_id());
            Arc::new(MonitorService::new(guard, signer, key, client, lightning_remote::Bounds::default()))
        });
        Some(Arc::clone(service))
    }
}

/// The desk as the transport's handler of channels, of which a tower has none.
pub struct Front(Arc<Desk<Doorman>>);

impl ChannelMessageHandler for Front {
    fn peer_connected(&self, peer: NodeId, init: &Init, inbound: bool) -> Result<(), RefusePeer> {
        let outcome = self.0.peer_connected(peer, init, inbound);
        match outcome {
            Ok(()) => tracing::info!(client = %peer, "connected"),
            Err(RefusePeer) => tracing::debug!(%peer, "no client; hung up"),
        }
        outcome
    }

    fn peer_disconnected(&self, peer: NodeId) {
        tracing::info!(client = %peer, "disconnected");
        self.0.peer_disconnected(peer);
    }

    fn on_channel_message(&self, peer: NodeId, message: ChannelMessage) {
        self.0.on_channel_message(peer, message);
    }

    fn on_error(&self, peer: NodeId, error: &ErrorMessage) {
        self.0.on_error(peer, error);
    }

    fn on_warning(&self, peer: NodeId, warning: &WarningMessage) {
        self.0.on_warning(peer, warning);
    }

    fn features(&self) -> Features {
        self.0.features()
    }
}

impl MessageSendEventsProvider for Front {
    fn next_message(&self) -> Option<MessageSendEvent> {
        None
    }
}

type PeerParts = Parts<SeedKeys, Front, (), Arc<Desk<Doorman>>, TracingLogger>;

/// The door of a running tower.
pub struct Door {
    net: Net<PeerParts>,
    desk: Arc<Desk<Doorman>>,
    tower: Arc<Inner>,
}

impl Door {
    /// Made, and still shut. To be called inside a Tokio runtime.
    #[must_use]
    pub fn new(tower: Arc<Inner>) -> Self {
        let doorman = Doorman {
            tower: Arc::clone(&tower),
            signer: Arc::clone(&tower.shared.statements),
            services: Mutex::default(),
        };
        let desk = Arc::new(Desk::new(doorman));
        let parts = Parts {
            keys: tower.keys.clone(),
            channels: Front(Arc::clone(&desk)),
            routing: (),
            custom: Arc::clone(&desk),
            log: TracingLogger,
        };
        let chain = ChainHash::using_genesis_block_const(tower.options.network);
        let peers = PeerManager::new(parts, vec![chain]);
        let net = Net::new(Arc::new(peers), NetConfig::default());
        let (of_guards, of_blocks) = ((net.clone(), Arc::clone(&desk)), (net.clone(), Arc::clone(&desk)));
        let handle = tokio::runtime::Handle::current();
        let inside = handle.clone();
        tower.for_each_guard(move |guard| {
            let (net, desk, client) = (of_guards.0.clone(), Arc::clone(&of_guards.1), guard.id);
            let handle = handle.clone();
            guard.on_commit(move || {
                let _inside = handle.enter();
                desk.process_client(client);
                net.wake();
            });
        });
        tower.on_block(move || {
            let _inside = inside.enter();
            of_blocks.1.process();
            of_blocks.0.wake();
        });
        Self { net, desk, tower }
    }

    /// Opens once all blocks were looked at.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn open(&self, listen: SocketAddr) -> Result<SocketAddr, NetError> {
        while !lock(&self.tower.progress).caught_up {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.net.listen(listen).await
    }

    /// Clients that are connected.
    #[must_use]
    pub fn connected(&self) -> Vec<NodeId> {
        self.desk.clients()
    }

    /// Says good-bye, and shuts.
    pub async fn shut(&self) {
        self.net.shutdown().await;
    }
}
