//! What is at stake when outputs are claimed together, and until when it is.
use bitcoin::Amount;
use lightning_traits::tx::Spend;
use lightning_traits::tx::weight::{INPUT_BYTES, OUTPUT_BYTES, SEGWIT_BYTES, TRANSACTION_BYTES};
use lightning_traits::units::BlockHeight;

use super::Stake;
use crate::claim::Output;
use crate::monitor::ChannelMonitor;

/// Blocks after the expiry of an HTLC that we offered by which its claim must be in a block.
///
/// The incoming half of a forward expires `cltv_expiry_delta` later. Of the 34 that BOLT 2 calls reasonable, "3R+2G+2S", six pass
/// until the claim is irrevocable and three before that deadline the incoming half must have failed (RELIABILITY D23, D27).
pub(crate) const OFFERED_WINDOW: u32 = 24;
/// Blocks over which a claim raises its offer that comes too late already. Whoever else may have the output has not taken it so
/// far: to pay all that it is worth in the first block would help nobody but miners.
pub(crate) const LATE_WINDOW: u32 = 6;
/// Weight of the input that spends a coin of the user: P2WPKH.
pub(crate) const COIN_INPUT_WEIGHT: u64 = 273;
/// Length of the longest script that a wallet has its change paid to: P2WSH or P2TR.
pub(crate) const LONGEST_CHANGE: usize = 34;

impl ChannelMonitor {
    /// What is at stake with outputs that one transaction claims: a second-stage output alone, or any others.
    pub(crate) fn stake_of(&self, outputs: &[Output], tip: BlockHeight) -> Stake {
        let value = outputs.iter().map(|output| output.value.to_sat()).fold(0, u64::saturating_add);
        let second_stage = outputs.first().filter(|output| output.is_second_stage());
        let (left_over, weight) = match second_stage {
            // The HTLC's own value stays whole, the coins of the user pay: no more than it brings.
            Some(output) => {
                (1, self.second_stage_weight(output, LONGEST_CHANGE).saturating_add(COIN_INPUT_WEIGHT))
            }
            None => (self.init.destination.minimal_non_dust().to_sat(), self.sweep_weight(outputs)),
        };
        Stake {
            value: Amount::from_sat(value),
            payable: Amount::from_sat(value.saturating_sub(left_over)),
            weight,
            deadline: outputs.iter().filter_map(|output| self.last_block_of(output, tip)).min(),
            punishes: outputs.iter().all(|output| output.is_penalty()),
        }
    }

    /// The block by which a claim of the output, made now or before, should be in the chain; `None` when nobody else can ever
    /// have the output.
    pub(crate) fn last_block_of(&self, output: &Output, tip: BlockHeight) -> Option<BlockHeight> {
        let since = output.offered.map_or(tip, |offer| offer.since);
        let expiry = output.htlc.map(|htlc| BlockHeight::new(htlc.expiry.get()));
        // Nothing happens at this height by itself, and who comes near it is late.
        let timeout = || Some(expiry?.plus(OFFERED_WINDOW).max(since.plus(LATE_WINDOW)));
        // The cheater's own claim must wait for the delay: the block of that height is the first that may have it.
        let delay = u32::from(self.init.theirs.to_self_delay.get());
        let punished = output.created.plus(delay.saturating_sub(1));
        let last = match output.spend {
            Spend::Delayed | Spend::CountersignerBalance => None,
            // A locktime of the expiry is passed in the block above it.
            Spend::HtlcSuccess | Spend::OfferedWithPreimage => expiry,
            Spend::HtlcTimeout | Spend::ReceivedAfterExpiry => timeout(),
            // The incoming half of what we offered waits for it, too (RELIABILITY D27).
            Spend::RevokedReceived => Some(timeout().map_or(punished, |timeout| timeout.min(punished))),
            Spend::RevokedDelayed | Spend::RevokedOffered => Some(punished),
            Spend::Anchor | Spend::AnchorByAnyone | Spend::Funding => None,
        };
        last.map(|last| in_time(last, since))
    }

    /// The weight of a second-stage transaction with a change output of this script length, without the coins' inputs.
    pub(crate) fn second_stage_weight(&self, output: &Output, change: usize) -> u64 {
        let outputs = (OUTPUT_BYTES + 34) + OUTPUT_BYTES.saturating_add(change as u64);
        let fixed =
            (TRANSACTION_BYTES.saturating_add(outputs)).saturating_mul(4).saturating_add(SEGWIT_BYTES);
        fixed.saturating_add(output.spend.input_weight(self.init.format))
    }

    /// The weight of a transaction that spends the outputs to the user.
    pub(crate) fn sweep_weight(&self, outputs: &[Output]) -> u64 {
        let inputs = outputs
            .iter()
            .map(|output| (INPUT_BYTES * 4).saturating_add(output.spend.witness_weight(self.init.format)));
        (TRANSACTION_BYTES + OUTPUT_BYTES)
            .saturating_add(self.init.destination.len() as u64)
            .saturating_mul(4)
            .saturating_add(SEGWIT_BYTES)
            .saturating_add(inputs.fold(0, u64::saturating_add))
    }

    /// Whether the output can never pay for its claim, at whatever feerate.
    pub(crate) fn is_dust(&self, output: &Output) -> bool {
        let alone = core::slice::from_ref(output);
        !self.is_fixed(output) && self.stake_of(alone, output.created).is_hopeless()
    }

    /// Whether both sides have signed what its claim pays, and nothing can be added.
    pub(crate) fn is_fixed(&self, output: &Output) -> bool {
        output.is_second_stage() && !self.init.format.rules().zero_fee_htlc
    }
}

/// The deadline of what was offered first at `since`: `last`, unless that was too late then.
pub(crate) fn in_time(last: BlockHeight, since: BlockHeight) -> BlockHeight {
    if last > since { last } else { since.plus(LATE_WINDOW) }
}
