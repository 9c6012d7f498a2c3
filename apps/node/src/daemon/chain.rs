//! The thread that follows the chain: blocks to every listener, look-ups for gossip, fees, rebroadcasts.
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use bitcoin::OutPoint;
use lightning_chain_bitcoind::{ChainFollower, FollowError, Progress};
use lightning_router::Utxo;
use lightning_traits::id::ShortChannelId;
use lightning_traits::interface::{BlockSource as _, ChainListener};

use super::environment::Source;
use super::node::Inner;
use super::reserve;

/// Polls between two looks at the fees and two rebroadcasts.
const POLLS_PER_REFRESH: u32 = 60;

/// Who hears of blocks. Channels before monitors: these write the durable tip, which must not pass what channels wrote
/// because of the same block, or a crash in between would lose a confirmation.
pub(super) fn listeners(node: &Inner) -> [&dyn ChainListener; 5] {
    [&node.channels, &node.monitors, &node.router, &**node.wallet.wallet(), &*node.broadcaster]
}

/// Brings everybody to the tip: at the start, before anything else happens.
pub(super) fn catch_up(node: &Inner, follower: &mut ChainFollower<Source>) -> Result<(), FollowError> {
    loop {
        match follower.poll(&listeners(node))? {
            Progress::Synced(tip) => {
                tracing::info!(height = tip.height, "the chain is up to date");
                return Ok(());
            }
            Progress::More { reached, tip } => {
                tracing::info!("{} blocks left", tip.height.saturating_sub(reached));
            }
            Progress::SourceBehind { tip, ours } => {
                tracing::warn!("the block source is at {}, behind our {ours}; waiting for it", tip.height);
                return Ok(());
            }
        }
        if node.wake.is_stopping() {
            return Ok(());
        }
    }
}

/// Starts the thread.
pub(super) fn start(node: Arc<Inner>, follower: ChainFollower<Source>) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name("chain".into()).spawn(move || run(&node, follower))
}

fn run(node: &Inner, mut follower: ChainFollower<Source>) {
    let mut polls = 0_u32;
    while !node.chain_wake.is_stopping() {
        let before = node.height();
        match follower.poll(&listeners(node)) {
            Ok(Progress::Synced(_)) => node.chain_down.store(false, std::sync::atomic::Ordering::SeqCst),
            Ok(Progress::More { .. }) => node.chain_wake.raise(),
            Ok(Progress::SourceBehind { tip, ours }) => {
                tracing::warn!("the block source is at {}, behind our {ours}; waiting for it", tip.height);
            }
            Err(error) => {
                // Said once when it begins: a chain that is down for an hour needs no thousand lines.
                if !node.chain_down.swap(true, std::sync::atomic::Ordering::SeqCst) {
                    tracing::error!("{error}");
                }
            }
        }
        if node.height() != before {
            node.monitors.rest(node.options.rest_after);
        }
        look_for_preimages(node);
        for report in node.broadcaster.take_reports() {
            tracing::debug!(?report, "broadcast");
        }
        polls = polls.wrapping_add(1);
        if polls.is_multiple_of(POLLS_PER_REFRESH) {
            refresh(node);
        }
        if node.height() != before {
            reserve::watch(node);
        }
        let answered = answer_look_ups(node);
        if node.height() != before || answered {
            node.wake.raise();
        }
        node.chain_wake.wait(node.options.poll);
    }
}

/// Looks into the source's mempool for preimages of HTLCs that we could lose: a peer may take our claims out of mempools again and
/// again, but must show the preimage each time (RELIABILITY D14).
fn look_for_preimages(node: &Inner) {
    let contested = node.monitors.contested();
    if contested.is_empty() {
        return;
    }
    match node.source.waiting_spenders(&contested) {
        Ok(spenders) => spenders.iter().for_each(|spender| node.monitors.unconfirmed_seen(spender)),
        Err(error) => tracing::debug!("the mempool cannot be looked at now: {error}"),
    }
    if node.monitors.contested().len() != contested.len() {
        node.wake.raise();
    }
}

fn refresh(node: &Inner) {
    if let Err(error) = node.fees.refresh(&*node.source) {
        tracing::warn!("no new fee estimates: {error}");
    }
    node.broadcaster.rebroadcast();
}

/// Look-ups in one go, so that blocks do not wait behind a flood of announcements.
const LOOK_UPS_PER_POLL: usize = 200;

/// Answers what the router wants to know of the chain.
fn answer_look_ups(node: &Inner) -> bool {
    let mut answered = false;
    for _ in 0..LOOK_UPS_PER_POLL {
        let Some(scid) = node.router.next_utxo_query() else { return answered };
        match look_up(node, scid) {
            Ok(utxo) => node.router.answer_utxo(scid, utxo),
            Err(error) => {
                tracing::debug!("channel {scid} cannot be looked up now: {error}");
                node.router.defer_utxo(scid);
                return answered;
            }
        }
        answered = true;
    }
    node.chain_wake.raise();
    answered
}

fn look_up(
    node: &Inner,
    scid: ShortChannelId,
) -> Result<Option<Utxo>, lightning_traits::interface::SourceError> {
    let Some(hash) = node.source.hash_at(scid.block())? else { return Ok(None) };
    let block = node.source.block(&hash)?;
    let Some(transaction) = block.txdata.get(scid.tx_index() as usize) else { return Ok(None) };
    let outpoint = OutPoint { txid: transaction.compute_txid(), vout: u32::from(scid.vout()) };
    let unspent = node.source.unspent(&outpoint)?;
    Ok(unspent.map(|unspent| Utxo { outpoint, output: unspent.output }))
}
