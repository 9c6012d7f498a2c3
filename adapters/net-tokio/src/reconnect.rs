//! Keeping peers connected.
use std::sync::Arc;
use std::time::Duration;

use lightning_peer::PeerEnvironment;
use lightning_traits::id::NodeId;
use lightning_traits::interface::EntropySource as _;
use tokio::time::{Instant, sleep};

use crate::outgoing::PeerAddress;
use crate::{Net, Shared, lock};

impl<E: PeerEnvironment + Send + Sync + 'static> Net<E> {
    /// Sees to it that the peer is connected, now and whenever it is lost, with growing pauses between tries. A second
    /// address for the same node takes the place of the first.
    pub fn keep_connected(&self, peer: PeerAddress) {
        let node = NodeId::from(peer.node_id);
        let task = self.shared.spawn(keep(self.clone(), node, peer));
        if let Some(task) = task
            && let Some(before) = lock(&self.shared.kept).insert(node, task)
        {
            before.abort();
        }
    }

    /// Whether the peer is called whenever it is lost.
    #[must_use]
    pub fn keeps(&self, node: NodeId) -> bool {
        lock(&self.shared.kept).contains_key(&node)
    }

    /// Does not call the peer again. A connection that stands goes on.
    pub fn let_go(&self, node: NodeId) {
        if let Some(task) = lock(&self.shared.kept).remove(&node) {
            task.abort();
        }
    }
}

async fn keep<E: PeerEnvironment + Send + Sync + 'static>(net: Net<E>, node: NodeId, peer: PeerAddress) {
    let shared = Arc::clone(&net.shared);
    let (first, longest) = shared.config.backoff;
    let mut pause = first;
    loop {
        let since = Instant::now();
        tokio::select! {
            () = stay(&net, node, &peer) => {}
            () = shared.stopped() => return,
        }
        // A connection that held for a while was a success, one that breaks at once was none.
        if since.elapsed() > longest {
            pause = first;
        }
        tokio::select! {
            () = sleep(jittered(&shared, pause)) => {}
            () = shared.stopped() => return,
        }
        pause = pause.saturating_mul(2).min(longest);
    }
}

/// Connects, unless the peer is, and returns when the peer is not connected.
async fn stay<E: PeerEnvironment + Send + Sync + 'static>(net: &Net<E>, node: NodeId, peer: &PeerAddress) {
    let mut ended = net.shared.ended.subscribe();
    if !net.manager().is_connected(node)
        && let Err(error) = net.connect(peer).await
    {
        tracing::info!(peer = %node, %error, "not connected");
    }
    while net.manager().is_connected(node) {
        if ended.changed().await.is_err() {
            return;
        }
    }
}

/// Half to all of `pause`: so that two nodes that lost each other do not call at the same time again and again.
fn jittered<E: PeerEnvironment>(shared: &Shared<E>, pause: Duration) -> Duration {
    let mut byte = [0];
    shared.manager.environment().keys().fill(&mut byte);
    let half = pause / 2;
    half.saturating_add(half.mul_f64(f64::from(byte[0]) / 255.0))
}
