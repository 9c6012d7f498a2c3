//! What of a channel is still to come on chain, as values.
use alloc::vec::Vec;

use bitcoin::Amount;
use lightning_traits::id::ChannelId;
use lightning_traits::tx::Spend;
use lightning_traits::units::BlockHeight;

use super::ChannelMonitor;

/// Why an amount is not in the wallet yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BalanceKind {
    /// The funding output is not spent: what our latest commitment would pay us, without HTLCs, before fees.
    InChannel,
    /// Ours, after a delay: claimable at this height.
    AwaitingDelay {
        /// The first height at which the claim can confirm.
        height: BlockHeight,
    },
    /// An HTLC that we offered: ours from this height on unless the peer shows the preimage.
    MaybeTimeout {
        /// Its expiry.
        height: BlockHeight,
    },
    /// An HTLC that was offered to us: ours while we know, or if we learn, the preimage before this height.
    MaybePreimage {
        /// Its expiry.
        height: BlockHeight,
        /// Whether we know it.
        known: bool,
    },
    /// Revoked by the peer, and ours to take at once.
    Penalty,
}

/// An amount that is ours, or may be, and not in the wallet yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// The channel.
    pub channel: ChannelId,
    /// How much, before fees.
    pub amount: Amount,
    /// Why it is not in the wallet yet.
    pub kind: BalanceKind,
}

impl ChannelMonitor {
    /// All that is still to come.
    #[must_use]
    pub fn balances(&self) -> Vec<Balance> {
        let channel = self.init.channel;
        let Some(closing) = &self.closing else {
            let amount = self.ours.spec.to_broadcaster.to_amount_floor();
            return alloc::vec![Balance { channel, amount, kind: BalanceKind::InChannel }];
        };
        let outputs = closing.outputs.iter().filter(|output| output.spent.is_none());
        outputs
            .filter_map(|output| {
                let expiry = output.htlc.map(|htlc| BlockHeight::new(htlc.expiry.get()));
                let kind = match output.spend {
                    Spend::Delayed => BalanceKind::AwaitingDelay {
                        height: output.created.plus(u32::from(self.init.ours.to_self_delay.get())),
                    },
                    Spend::CountersignerBalance => {
                        BalanceKind::AwaitingDelay { height: output.created.plus(1) }
                    }
                    Spend::HtlcTimeout | Spend::ReceivedAfterExpiry => {
                        BalanceKind::MaybeTimeout { height: expiry? }
                    }
                    Spend::HtlcSuccess | Spend::OfferedWithPreimage => {
                        let known = self.preimage_of(output).is_some();
                        BalanceKind::MaybePreimage { height: expiry?, known }
                    }
                    Spend::RevokedDelayed | Spend::RevokedOffered | Spend::RevokedReceived => {
                        BalanceKind::Penalty
                    }
                    Spend::Anchor | Spend::AnchorByAnyone | Spend::Funding => return None,
                };
                Some(Balance { channel, amount: output.value, kind })
            })
            .collect()
    }
}
