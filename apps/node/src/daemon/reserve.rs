//! How much on-chain money the channels of this node need, and the warning when there is less.
use std::sync::atomic::Ordering;

use lightning_monitor::{Reserve, ReserveAssumptions, reserve};

use lightning_traits::feature::Feature;

use super::node::Inner;

/// What must be kept for the channels that there are, as the monitor's calculator has it.
pub(crate) fn needed(node: &Inner) -> Reserve {
    let channels = node.channels.list_channels();
    // Only channels with anchors pay fees that were not in them (BOLT 3).
    let funded = channels.iter().filter_map(|channel| channel.funded.as_ref());
    let funded = funded.filter(|funded| funded.channel_type.has(Feature::Anchors)).count();
    reserve(u32::try_from(funded).unwrap_or(u32::MAX), &ReserveAssumptions::default())
}

/// Says so when the wallet falls below it, and when it is above again; once each.
pub(super) fn watch(node: &Inner) {
    let (needed, held) = (needed(node), node.wallet.wallet().balance().confirmed);
    let is_low = held < needed.amount;
    if node.reserve_low.swap(is_low, Ordering::SeqCst) == is_low {
        return;
    }
    let (kind, text) = if is_low {
        let text = format!(
            "the wallet holds {held} on chain, and the channels need {} in {} outputs to pay the fees of their claims when \
             several close while the chain is dear: pay the rest to `lnode newaddr`",
            needed.amount, needed.coins
        );
        ("reserve_low", text)
    } else {
        ("reserve_ok", format!("the wallet holds {held} on chain, enough for the channels' claims"))
    };
    if is_low {
        tracing::warn!("{text}");
    }
    node.books.note(kind, text);
}
