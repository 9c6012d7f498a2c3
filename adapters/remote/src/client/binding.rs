//! Several towers behind the transport's one handler of custom messages.
use std::collections::BTreeMap;
use std::sync::Arc;

use lightning_traits::id::NodeId;
use lightning_traits::interface::CustomMessageHandler;

use super::RemoteMonitors;
use crate::wire::MESSAGE_TYPE;

/// The node's towers by the key of their transport.
///
/// The transport tells custom handlers of no connection, so the program does: [`Towers::connected`] and
/// [`Towers::disconnected`], from wherever it hears of peers that come and go.
#[derive(Clone, Default)]
pub struct Towers(BTreeMap<NodeId, Arc<RemoteMonitors>>);

impl Towers {
    /// These towers.
    #[must_use]
    pub fn new(towers: impl IntoIterator<Item = Arc<RemoteMonitors>>) -> Self {
        Self(towers.into_iter().map(|tower| (NodeId::from(tower.config().tower), tower)).collect())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<RemoteMonitors>> {
        self.0.values()
    }

    /// Whether the peer is a tower; then its session begins.
    pub fn connected(&self, peer: NodeId) -> bool {
        self.0.get(&peer).inspect(|tower| tower.connected()).is_some()
    }

    /// The connection with this peer is gone.
    pub fn disconnected(&self, peer: NodeId) {
        if let Some(tower) = self.0.get(&peer) {
            tower.disconnected();
        }
    }
}

impl CustomMessageHandler for Towers {
    fn on_custom_message(&self, peer: NodeId, type_id: u16, payload: &[u8]) -> bool {
        let tower = self.0.get(&peer).filter(|_| type_id == MESSAGE_TYPE);
        tower.inspect(|tower| tower.on_frame(payload)).is_some()
    }

    fn next_custom_message(&self) -> Option<(NodeId, u16, Vec<u8>)> {
        self.0.iter().find_map(|(peer, tower)| Some((*peer, MESSAGE_TYPE, tower.next_frame()?)))
    }
}
