//! The boundaries: one trait a file.
//!
//! The five structures meet only through these traits and the values they carry, so a proxy can stand
//! between any two. What a proxy could make slow can answer "later". `forward.rs` implements every trait
//! for `&T`, `Box<T>` and `Arc<T>`.
//!
//! | trait | implemented by | called by |
//! | --- | --- | --- |
//! | [`BroadcasterInterface`], [`FeeEstimator`], [`ChainWatchInterface`] | the user | channel, monitor |
//! | [`ChainListener`] | channel, monitor | the user |
//! | [`Logger`], [`EntropySource`] | the user | all |
mod chain;
mod log;

pub use chain::{
    BroadcasterInterface, ChainListener, ChainWatchInterface, ConfirmationTarget, ConfirmedTransaction,
    FeeEstimator,
};
pub use log::{EntropySource, Level, LogRecord, Logger};
