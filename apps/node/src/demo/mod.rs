//! `lnode demo`: a whole Lightning network in one process, and every millisatoshi of it accounted for.
//!
//! Three real nodes with data directories and sockets of their own, on an embedded chain or a real regtest bitcoind. They
//! open channels, pay each other, lose one node in the middle of a payment, close one channel together and one by
//! force, and sweep everything back. `network.rs` has the nodes, `story.rs` what happens, `ledger.rs` the sums.
//! `watchtower.rs` is another story, with a watchtower in it.
mod ledger;
mod network;
mod story;
mod watchtower;

use std::time::Instant;

use lightning_chain_bitcoind::Auth;
use thiserror::Error;

use crate::daemon::StartError;
use crate::error::ApiError;

pub use ledger::{Ledger, Row};
pub use watchtower::watchtower;

/// Tells the user how far the story is.
fn say(line: &str) {
    println!("{line}");
}

/// Where the demo's chain is.
#[derive(Clone, Debug)]
pub enum DemoChain {
    /// In this process.
    Embedded,
    /// A regtest bitcoind.
    Bitcoind {
        /// Its RPC address.
        url: String,
        /// How to authenticate there.
        auth: Auth,
    },
}

/// Why the demo ended early, or did not hold.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DemoError {
    /// A temporary folder or a server could not be had.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A node did not start.
    #[error("{name} did not start: {error}")]
    Start {
        /// Which.
        name: &'static str,
        /// Why.
        error: StartError,
    },
    /// A node refused a command.
    #[error("{name} refused: {error}")]
    Refused {
        /// Which.
        name: &'static str,
        /// Why.
        error: ApiError,
    },
    /// The chain did not answer.
    #[error("the chain: {0}")]
    Chain(#[from] lightning_traits::interface::SourceError),
    /// Something that should have happened did not.
    #[error("{0} did not happen within {1} s")]
    Late(String, u64),
    /// A program of the demo failed.
    #[error("{0}")]
    Process(String),
    /// The sums are wrong.
    #[error("the sums do not add up: {0}")]
    Unaccounted(String),
}

/// Runs the demo and prints its table.
///
/// # Errors
/// [`DemoError`] when anything did not hold.
pub fn run(chain: &DemoChain) -> Result<Ledger, DemoError> {
    let begun = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let _inside = runtime.enter();
    let mut network = network::Network::start(chain)?;
    let told = story::tell(&mut network);
    let ledger = told.and_then(|totals| ledger::Ledger::close(&network, totals));
    network.stop();
    let ledger = ledger?;
    say(&format!("\n{ledger}"));
    ledger.check()?;
    say(&format!("Not one millisatoshi is unaccounted for. ({:.1} s)", begun.elapsed().as_secs_f64()));
    Ok(ledger)
}
