//! The boundaries: one trait a file.
//!
//! The five structures meet only through these traits and the values they carry, so a proxy can stand
//! between any two. What a proxy could make slow can answer "later". `forward.rs` implements every trait
//! for `&T`, `Box<T>`, `Rc<T>` and `Arc<T>`.
//!
//! | trait | implemented by | called by |
//! | --- | --- | --- |
//! | [`BroadcasterInterface`], [`FeeEstimator`], [`ChainWatchInterface`] | the user | channel, monitor |
//! | [`ChainListener`] | channel, monitor | the user |
//! | [`KeysInterface`], [`ChannelSigner`] | the user | channel, monitor, peer |
//! | [`ManyChannelMonitor`] | monitor | channel |
//! | [`MonitorStore`] | the user | monitor |
//! | [`ChannelMessageHandler`] | channel | peer |
//! | [`RoutingMessageHandler`] | router | peer |
//! | [`CustomMessageHandler`] | the user | peer |
//! | [`MessageSendEventsProvider`] | channel, router | peer |
//! | [`RouteFinder`] | router | channel |
//! | [`EventsProvider`] | channel, monitor | the user |
//! | [`CoinSource`] | the user | monitor |
//! | [`BlockSource`] | the user | the user's programs |
//! | [`Logger`], [`EntropySource`] | the user | all |
mod chain;
mod channel;
mod coins;
mod environment;
mod events;
mod forward;
mod keys;
mod log;
mod monitor;
mod routing;
mod source;

pub use chain::{
    BroadcasterInterface, ChainListener, ChainWatchInterface, ConfirmationTarget, ConfirmedTransaction,
    FeeEstimator,
};
pub use channel::{ChannelMessageHandler, CustomMessageHandler, RefusePeer};
pub use coins::{Coin, CoinSource, Coins};
pub use environment::Environment;
pub use events::{EventsProvider, MessageSendEventsProvider};
pub use keys::{
    ChannelSigner, CommitmentSignatures, CommitmentToSign, InputToSign, KeysInterface, SignError, SigningKey,
};
pub use log::{EntropySource, Level, LogRecord, Logger};
pub use monitor::{ManyChannelMonitor, MonitorStore};
pub use routing::{RouteFinder, RoutingMessageHandler};
pub use source::{BlockSource, Broadcast, HeaderInfo, SourceError, Tip, Unspent};
