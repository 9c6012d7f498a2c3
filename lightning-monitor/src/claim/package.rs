//! Which outputs one transaction claims, so that nobody can hold one claim up by making another impossible.
//!
//! What only we can ever spend goes together: it is cheaper. Penalties of outputs that the cheater may not touch before its delay
//! has passed go together until that is near. Whatever somebody else may spend goes alone: one input taken away would
//! invalidate the whole transaction, again and again (RELIABILITY D6, D12, D15).
//!
//! # Invariants
//! - an output is in one package at most, and packages are of one channel
use alloc::vec::Vec;

use bitcoin::{OutPoint, Transaction};
use lightning_traits::record;
use lightning_traits::tx::Spend;
use lightning_traits::units::BlockHeight;

use super::{Output, Price};
use crate::monitor::ChannelMonitor;

/// Blocks before the first in which the cheater could have an output, from which on it is claimed alone.
const NEAR: u32 = 18;
/// The most inputs of one transaction: far below what is relayed, and little to make anew when one is taken away.
const MOST_TOGETHER: usize = 50;

/// A claim that is out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// What it spends of the channel.
    pub(crate) outpoints: Vec<OutPoint>,
    pub(crate) transaction: Transaction,
    pub(crate) price: Price,
}
record!(struct Attempt { outpoints list, transaction, price });

/// Outputs to be claimed by one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) outputs: Vec<Output>,
    /// What is out, if the package replaces it.
    pub(crate) replaces: Option<Attempt>,
}

/// With what an output may share a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Company {
    /// With others that only we can spend, now and ever.
    Savings,
    /// With others that the cheater cannot spend yet.
    Penalties,
    /// With nothing.
    None,
}

impl ChannelMonitor {
    fn company_of(&self, output: &Output, tip: BlockHeight) -> Company {
        match output.spend {
            Spend::Delayed | Spend::CountersignerBalance => Company::Savings,
            Spend::RevokedDelayed => {
                let last = self.last_block_of(output, tip);
                let is_near = last.is_none_or(|last| tip.plus(NEAR) >= last);
                if is_near { Company::None } else { Company::Penalties }
            }
            Spend::HtlcTimeout
            | Spend::HtlcSuccess
            | Spend::OfferedWithPreimage
            | Spend::ReceivedAfterExpiry
            | Spend::RevokedOffered
            | Spend::RevokedReceived
            | Spend::Anchor
            | Spend::AnchorByAnyone
            | Spend::Funding => Company::None,
        }
    }

    /// The packages of outputs that nothing claims yet.
    pub(crate) fn packages_of(&self, outputs: Vec<Output>, tip: BlockHeight) -> Vec<Package> {
        let (mut packages, mut savings, mut penalties) = (Vec::new(), Vec::new(), Vec::new());
        for output in outputs {
            match self.company_of(&output, tip) {
                Company::None => packages.push(alloc::vec![output]),
                Company::Savings => savings.push(output),
                Company::Penalties => penalties.push(output),
            }
        }
        packages.extend(savings.chunks(MOST_TOGETHER).map(<[Output]>::to_vec));
        packages.extend(penalties.chunks(MOST_TOGETHER).map(<[Output]>::to_vec));
        packages.into_iter().map(|outputs| Package { outputs, replaces: None }).collect()
    }

    /// A claim that is out, again: whole, or taken apart because outputs of it have come near their deadline. The first
    /// package takes its place.
    pub(crate) fn packages_again(
        &self,
        attempt: Attempt,
        outputs: Vec<Output>,
        tip: BlockHeight,
    ) -> Vec<Package> {
        let must_split =
            outputs.len() > 1 && outputs.iter().any(|output| self.company_of(output, tip) == Company::None);
        if !must_split {
            return alloc::vec![Package { outputs, replaces: Some(attempt) }];
        }
        let mut packages = self.packages_of(outputs, tip);
        // Who takes the place of what is out pays all that it paid (BIP 125): what has most to give.
        packages.sort_by_key(|package| core::cmp::Reverse(self.stake_of(&package.outputs, tip).value));
        if let Some(first) = packages.first_mut() {
            first.replaces = Some(attempt);
        }
        packages
    }
}
