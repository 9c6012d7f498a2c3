//! The front of a tower: every client's frames to its own service, as the transport's custom messages.
//!
//! # Invariants
//! - clients are served in turn, so that none who has much to hear keeps the others waiting (RELIABILITY L13)
//! - who is no client is hung up on before it can say anything
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use lightning_traits::feature::Features;
use lightning_traits::id::NodeId;
use lightning_traits::interface::{ChannelMessageHandler, CustomMessageHandler, RefusePeer};
use lightning_traits::sync::{Mutex, assert_unlocked};
use lightning_traits::wire::{ChannelMessage, ErrorMessage, Init, WarningMessage};

use super::{Backing, MonitorService};
use crate::wire::MESSAGE_TYPE;
use crate::wire::chain::StatementSigner;

/// Decides who is a client, and finds or makes what is behind it.
pub trait Admission {
    /// What keeps a client's monitors.
    type Backing: Backing;
    /// Who signs statements.
    type Signer: StatementSigner;

    /// The service of this client, the same one as long as it is in use; `None` for strangers.
    fn admit(&self, client: NodeId) -> Option<Arc<MonitorService<Self::Backing, Self::Signer>>>;
}

/// A service and those who have frames to send.
type Services<A> = BTreeMap<NodeId, Arc<MonitorService<<A as Admission>::Backing, <A as Admission>::Signer>>>;

struct Open<A: Admission> {
    services: Services<A>,
    /// Who may have something to send, in turn.
    turn: VecDeque<NodeId>,
    in_turn: BTreeSet<NodeId>,
}

impl<A: Admission> Open<A> {
    fn note(&mut self, client: NodeId) {
        if self.in_turn.insert(client) {
            self.turn.push_back(client);
        }
    }
}

/// Stands between the transport and the services: both of its handlers at once.
pub struct Desk<A: Admission> {
    admission: A,
    open: Mutex<Open<A>>,
}

impl<A: Admission> Desk<A> {
    /// Nobody is connected yet.
    #[must_use]
    pub const fn new(admission: A) -> Self {
        let open = Open { services: BTreeMap::new(), turn: VecDeque::new(), in_turn: BTreeSet::new() };
        Self { admission, open: Mutex::new(open) }
    }

    /// Who decides.
    #[must_use]
    pub const fn admission(&self) -> &A {
        &self.admission
    }

    /// Clients that are connected.
    #[must_use]
    pub fn clients(&self) -> Vec<NodeId> {
        self.open.lock().services.keys().copied().collect()
    }

    /// Something became durable, or a block came: what is there to say to whom? Afterwards the transport asks for messages.
    pub fn process(&self) {
        let services: Vec<_> = {
            let open = self.open.lock();
            open.services.iter().map(|(client, service)| (*client, Arc::clone(service))).collect()
        };
        for (client, service) in services {
            service.process();
            self.open.lock().note(client);
        }
    }

    /// The same for one client, for whom something became durable.
    pub fn process_client(&self, client: NodeId) {
        if let Some(service) = self.service(client) {
            service.process();
            self.open.lock().note(client);
        }
    }

    fn service(&self, client: NodeId) -> Option<Arc<MonitorService<A::Backing, A::Signer>>> {
        self.open.lock().services.get(&client).cloned()
    }
}

impl<A: Admission> CustomMessageHandler for Desk<A> {
    fn on_custom_message(&self, peer: NodeId, type_id: u16, payload: &[u8]) -> bool {
        if type_id != MESSAGE_TYPE {
            return false;
        }
        if let Some(service) = self.service(peer) {
            service.on_frame(payload);
            self.open.lock().note(peer);
        }
        true
    }

    fn next_custom_message(&self) -> Option<(NodeId, u16, Vec<u8>)> {
        loop {
            let (client, service) = {
                let mut open = self.open.lock();
                let client = open.turn.pop_front()?;
                open.in_turn.remove(&client);
                let Some(service) = open.services.get(&client) else { continue };
                (client, Arc::clone(service))
            };
            assert_unlocked();
            if let Some(frame) = service.next_frame() {
                self.open.lock().note(client);
                return Some((client, MESSAGE_TYPE, frame));
            }
        }
    }
}

impl<A: Admission> ChannelMessageHandler for Desk<A> {
    fn peer_connected(&self, peer: NodeId, _: &Init, _: bool) -> Result<(), RefusePeer> {
        let service = self.admission.admit(peer).ok_or(RefusePeer)?;
        // A connection that is not seen to be dead yet: the new one begins anew.
        service.disconnected();
        self.open.lock().services.insert(peer, service);
        Ok(())
    }

    fn peer_disconnected(&self, peer: NodeId) {
        let service = self.open.lock().services.remove(&peer);
        if let Some(service) = service {
            service.disconnected();
        }
    }

    // A tower has no channels.
    fn on_channel_message(&self, _: NodeId, _: ChannelMessage) {}

    fn on_error(&self, _: NodeId, _: &ErrorMessage) {}

    fn on_warning(&self, _: NodeId, _: &WarningMessage) {}

    fn features(&self) -> Features {
        Features::default()
    }
}
