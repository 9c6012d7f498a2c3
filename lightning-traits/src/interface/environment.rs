//! One bundle instead of a row of type parameters.
use super::{BroadcasterInterface, FeeEstimator, KeysInterface, Logger, ManyChannelMonitor, RouteFinder};

/// Everything that a `ChannelManager` calls.
pub trait Environment {
    /// Where updates become durable.
    type Monitors: ManyChannelMonitor;
    /// Keys and entropy.
    type Keys: KeysInterface;
    /// What the chain costs.
    type Fees: FeeEstimator;
    /// Where transactions go.
    type Broadcaster: BroadcasterInterface;
    /// Where routes come from.
    type Routes: RouteFinder;
    /// Where log records go.
    type Log: Logger;

    /// The monitors.
    fn monitors(&self) -> &Self::Monitors;
    /// The keys.
    fn keys(&self) -> &Self::Keys;
    /// The fee estimator.
    fn fees(&self) -> &Self::Fees;
    /// The broadcaster.
    fn broadcaster(&self) -> &Self::Broadcaster;
    /// The route finder.
    fn routes(&self) -> &Self::Routes;
    /// The log.
    fn log(&self) -> &Self::Log;
}
