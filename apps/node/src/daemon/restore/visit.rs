//! A call to a tower without a node behind it: to hear what it keeps for us, and whether it serves a later life of this node.
//!
//! # Invariants
//! - nothing is handed over here, and no peer but the tower is spoken to
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bitcoin::Network;
use bitcoin::constants::ChainHash;
use lightning_keys::SeedKeys;
use lightning_net_tokio::{Net, NetConfig, NetError, PeerAddress};
use lightning_peer::{Disconnect, Parts, PeerManager};
use lightning_remote::wire::chain::{ChainFault, Signed};
use lightning_remote::wire::{Goodbye, MESSAGE_TYPE, Mode as WireMode};
use lightning_remote::{Alarm, Fetched, Promise, RecordPolicy, RemoteConfig, RemoteMonitors, SealKey};
use lightning_traits::event::MessageSendEvent;
use lightning_traits::feature::Features;
use lightning_traits::id::{ChannelId, NodeId};
use lightning_traits::interface::{
    ChannelMessageHandler, CustomMessageHandler, KeysInterface as _, MessageSendEventsProvider, RefusePeer,
};
use lightning_traits::wire::{ChannelMessage, ErrorMessage, Init, WarningMessage};
use tokio::runtime::Handle;

use crate::error::ApiError;
use crate::logging::TracingLogger;
use crate::towers::{TowerMode, parse};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// Between two calls of a tower that does not take them.
const PAUSE: Duration = Duration::from_millis(300);
/// Calls that are not taken, or are hung up on, before it is believed.
const TRIES: u32 = 4;
/// Without anything new of it, a tower from which channels are being fetched has gone.
const SILENCE: Duration = Duration::from_secs(60);

/// What came of a hello.
pub(in crate::daemon) enum Greeting {
    /// The tower has said what it keeps.
    Open(Arc<RemoteMonitors>),
    /// It serves this life of the node, and none before.
    Fenced(u64),
    /// It guards this node in another mode.
    OtherMode,
    /// It knows no such node.
    Stranger,
    /// It answers, and does not serve us.
    Refused(String),
    /// It does not answer.
    Silent(String),
}

/// Hands frames to whoever speaks to the tower now.
#[derive(Default)]
struct Line {
    remote: Mutex<Option<Arc<RemoteMonitors>>>,
    ended: Mutex<u32>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Front(Arc<Line>);

impl ChannelMessageHandler for Front {
    fn peer_connected(&self, _: NodeId, _: &Init, _: bool) -> Result<(), RefusePeer> {
        Ok(())
    }
    fn peer_disconnected(&self, _: NodeId) {
        let count = { *lock(&self.0.ended) }.saturating_add(1);
        *lock(&self.0.ended) = count;
        let remote = lock(&self.0.remote).clone();
        if let Some(remote) = remote {
            remote.disconnected();
        }
    }
    fn on_channel_message(&self, _: NodeId, _: ChannelMessage) {}
    fn on_error(&self, _: NodeId, _: &ErrorMessage) {}
    fn on_warning(&self, _: NodeId, _: &WarningMessage) {}
    fn features(&self) -> Features {
        Features::default()
    }
}

impl MessageSendEventsProvider for Front {
    fn next_message(&self) -> Option<MessageSendEvent> {
        None
    }
}

impl CustomMessageHandler for Line {
    fn on_custom_message(&self, _: NodeId, type_id: u16, payload: &[u8]) -> bool {
        let remote = lock(&self.remote).clone().filter(|_| type_id == MESSAGE_TYPE);
        remote.inspect(|remote| remote.on_frame(payload)).is_some()
    }
    fn next_custom_message(&self) -> Option<(NodeId, u16, Vec<u8>)> {
        let remote = lock(&self.remote).clone()?;
        let frame = remote.next_frame()?;
        Some((NodeId::from(remote.config().tower), MESSAGE_TYPE, frame))
    }
}

type Parties = Parts<SeedKeys, Front, (), Arc<Line>, TracingLogger>;

/// A tower that is being called on.
pub(in crate::daemon) struct Visit {
    pub(in crate::daemon) id: NodeId,
    address: PeerAddress,
    keys: SeedKeys,
    line: Arc<Line>,
    net: Net<Parties>,
    runtime: Handle,
}

/// Numbers of sessions that no earlier process has used.
fn session() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos());
    u64::try_from(now).unwrap_or(u64::MAX)
}

/// The word for it on the wire.
pub(in crate::daemon) const fn on_the_wire(mode: TowerMode) -> WireMode {
    match mode {
        TowerMode::Full => WireMode::Full {},
        TowerMode::Justice => WireMode::Justice {},
        TowerMode::Blind => WireMode::Blind {},
    }
}

impl Visit {
    /// Nobody is called yet.
    pub(in crate::daemon) fn new(
        keys: &SeedKeys,
        network: Network,
        address: &str,
        runtime: &Handle,
    ) -> Result<Self, ApiError> {
        let address = parse(address)?;
        let line = Arc::new(Line::default());
        let parts = Parts {
            keys: keys.clone(),
            channels: Front(Arc::clone(&line)),
            routing: (),
            custom: Arc::clone(&line),
            log: TracingLogger,
        };
        let peers = PeerManager::new(parts, vec![ChainHash::using_genesis_block_const(network)]);
        let net = {
            let _inside = runtime.enter();
            Net::new(Arc::new(peers), NetConfig::default())
        };
        let (keys, runtime, id) = (keys.clone(), runtime.clone(), NodeId::from(address.node_id));
        Ok(Self { id, address, keys, line, net, runtime })
    }

    /// Says hello for this life of the node, and waits for what comes of it.
    pub(in crate::daemon) fn greet(
        &self,
        mode: TowerMode,
        incarnation: u64,
        last: Option<Signed>,
        patience: Duration,
    ) -> Greeting {
        let seal = RecordPolicy::Sealed(SealKey::new(&self.keys.tower_seal()), Promise::NONE);
        let mut config = RemoteConfig::new(NodeId::from(self.keys.node_id()), self.address.node_id, seal);
        (config.mode, config.incarnation) = (on_the_wire(mode), incarnation);
        let remote = Arc::new(RemoteMonitors::new(config, session(), last));
        *lock(&self.line.remote) = Some(Arc::clone(&remote));
        let begun = Instant::now();
        let mut hung_up = 0_u32;
        while begun.elapsed() < patience {
            if !self.net.manager().is_connected(self.id) {
                match self.runtime.block_on(self.net.connect(&self.address)) {
                    Ok(_) => {}
                    Err(error) if hung_up >= TRIES => return unreached(&error),
                    Err(_) => {
                        hung_up = hung_up.saturating_add(1);
                        thread::sleep(PAUSE);
                        continue;
                    }
                }
            }
            let ended = *lock(&self.line.ended);
            remote.connected();
            self.wake();
            while *lock(&self.line.ended) == ended && begun.elapsed() < patience {
                if let Some(greeting) = heard(&remote) {
                    return greeting;
                }
                thread::sleep(LOOK);
            }
            if let Some(greeting) = heard(&remote) {
                return greeting;
            }
            // Who is no client is hung up on before anything is said. So is, now and then, who calls while the node itself does.
            hung_up = hung_up.saturating_add(1);
            if hung_up > TRIES {
                return Greeting::Stranger;
            }
            thread::sleep(PAUSE);
        }
        Greeting::Silent(format!("{} takes calls and says nothing", self.address))
    }

    /// Everything that the tower has of these channels, as far as it can be opened; with why not.
    pub(in crate::daemon) fn fetch(
        &self,
        remote: &RemoteMonitors,
        channels: &[ChannelId],
    ) -> Vec<(ChannelId, Result<Fetched, String>)> {
        channels.iter().for_each(|channel| remote.fetch(*channel));
        let mut found = Vec::new();
        let mut heard = Instant::now();
        while found.len() < channels.len() && heard.elapsed() < SILENCE {
            self.wake();
            while let Some((channel, fetched)) = remote.next_found() {
                heard = Instant::now();
                found.push((channel, fetched.ok_or_else(|| why_not(remote))));
            }
            thread::sleep(LOOK);
        }
        found
    }

    /// Hangs up.
    pub(in crate::daemon) fn end(&self) {
        self.runtime.block_on(self.net.shutdown());
    }

    fn wake(&self) {
        let _inside = self.runtime.enter();
        self.net.wake();
    }
}

/// Who proves to be the tower, and hangs up once it knows who we are, does not know us.
fn unreached(error: &NetError) -> Greeting {
    match error {
        NetError::Ended { reason: Disconnect::SocketClosed { after_init: true }, .. } => Greeting::Stranger,
        error => Greeting::Silent(error.to_string()),
    }
}

fn why_not(remote: &RemoteMonitors) -> String {
    match remote.next_alarm() {
        Some(Alarm::Seal { fault, .. }) => fault.to_string(),
        Some(alarm) => format!("{alarm:?}"),
        None => "the tower does not give it".to_owned(),
    }
}

/// What has come of the hello by now.
fn heard(remote: &Arc<RemoteMonitors>) -> Option<Greeting> {
    if remote.is_up() {
        return Some(Greeting::Open(Arc::clone(remote)));
    }
    Some(match remote.next_alarm()? {
        Alarm::Goodbye { why: Goodbye::Fenced { incarnation } } => Greeting::Fenced(incarnation),
        Alarm::Goodbye { why: Goodbye::Stranger {} } => Greeting::Stranger,
        Alarm::Goodbye { why: Goodbye::Mode {} } => Greeting::OtherMode,
        Alarm::Goodbye { why: Goodbye::Version { spoken } } => {
            Greeting::Refused(format!("it speaks version {spoken} of the towers' protocol"))
        }
        Alarm::Goodbye { why } => Greeting::Refused(format!("{why:?}")),
        Alarm::Statement { fault: fault @ ChainFault::Forked { .. } } => Greeting::Refused(fault.to_string()),
        other => Greeting::Refused(format!("{other:?}")),
    })
}
