//! What a peer manager calls, in one bundle instead of a row of type parameters.
use lightning_traits::interface::{
    ChannelMessageHandler, CustomMessageHandler, KeysInterface, Logger, MessageSendEventsProvider,
    RoutingMessageHandler,
};

/// Everything that a [`PeerManager`](crate::PeerManager) calls.
pub trait PeerEnvironment {
    /// The node's key, and entropy for ephemeral keys.
    type Keys: KeysInterface;
    /// Takes and makes messages about channels.
    type Channels: ChannelMessageHandler + MessageSendEventsProvider;
    /// Takes and makes gossip.
    type Routing: RoutingMessageHandler + MessageSendEventsProvider;
    /// Takes and makes messages of the user's own types.
    type Custom: CustomMessageHandler;
    /// Where log records go.
    type Log: Logger;

    /// The keys.
    fn keys(&self) -> &Self::Keys;
    /// The channels.
    fn channels(&self) -> &Self::Channels;
    /// The router.
    fn routing(&self) -> &Self::Routing;
    /// The user's own messages.
    fn custom(&self) -> &Self::Custom;
    /// The log.
    fn log(&self) -> &Self::Log;
}

/// The parts side by side, for those who have no bundle of their own. The traits are implemented for `&T` and
/// `Arc<T>`, so the parts may be shared with others.
#[derive(Clone, Debug)]
pub struct Parts<K, C, R, X, L> {
    /// The keys.
    pub keys: K,
    /// The channels.
    pub channels: C,
    /// The router.
    pub routing: R,
    /// The user's own messages; `()` for none.
    pub custom: X,
    /// The log.
    pub log: L,
}

impl<K, C, R, X, L> PeerEnvironment for Parts<K, C, R, X, L>
where
    K: KeysInterface,
    C: ChannelMessageHandler + MessageSendEventsProvider,
    R: RoutingMessageHandler + MessageSendEventsProvider,
    X: CustomMessageHandler,
    L: Logger,
{
    type Keys = K;
    type Channels = C;
    type Routing = R;
    type Custom = X;
    type Log = L;

    fn keys(&self) -> &K {
        &self.keys
    }
    fn channels(&self) -> &C {
        &self.channels
    }
    fn routing(&self) -> &R {
        &self.routing
    }
    fn custom(&self) -> &X {
        &self.custom
    }
    fn log(&self) -> &L {
        &self.log
    }
}
