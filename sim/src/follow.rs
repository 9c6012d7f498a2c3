//! Somebody who fetches blocks.
use lightning_chain_bitcoind::{ChainFollower, Progress};
use lightning_chain_embedded::EmbeddedChain;
use lightning_traits::interface::ChainListener;

/// Brings listeners to the tip.
pub(crate) struct Follow(ChainFollower<EmbeddedChain>);

impl Follow {
    pub(crate) fn new(chain: &EmbeddedChain) -> Self {
        Self(ChainFollower::new(chain.clone(), bitcoin::Network::Regtest))
    }

    /// Hands all blocks over.
    pub(crate) fn poll(&mut self, listeners: &[&dyn ChainListener]) {
        loop {
            match self.0.poll(listeners).expect("the chain answers") {
                Progress::Synced(_) => return,
                Progress::More { .. } => {}
                Progress::SourceBehind { tip, ours } => {
                    panic!("the chain is at {}, behind {ours}", tip.height)
                }
            }
        }
    }
}
