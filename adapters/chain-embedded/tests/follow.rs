//! The follower and the broadcaster over a source that fails, lags and forgets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests"
)]
mod funds;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bitcoin::{Block, BlockHash, Network, OutPoint, Transaction};
use funds::recorder::Recorder;
use funds::*;
use lightning_chain_bitcoind::{BitcoindBroadcaster, BitcoindFees, ChainFollower, FollowError, Progress};
use lightning_chain_embedded::EmbeddedChain;
use lightning_traits::interface::{
    BlockSource, Broadcast, BroadcasterInterface, ChainListener, ConfirmationTarget, FeeEstimator,
    HeaderInfo, SourceError, Tip, Unspent,
};
use lightning_traits::units::{BlockHeight, FeeratePerKw};

const FEE: u64 = 10_000;

/// A source with faults.
#[derive(Clone)]
struct Faulty {
    chain: EmbeddedChain,
    faults: Arc<Mutex<Faults>>,
}

#[derive(Default)]
struct Faults {
    missing: BTreeSet<BlockHash>,
    unknown: BTreeSet<BlockHash>,
    down: bool,
    /// Another chain that replaces this one after so many blocks were fetched.
    switch: Option<(usize, EmbeddedChain)>,
    fetched: Vec<BlockHash>,
}

impl Faulty {
    fn new(chain: &EmbeddedChain) -> Self {
        Self { chain: chain.clone(), faults: Arc::default() }
    }

    fn faults(&self) -> std::sync::MutexGuard<'_, Faults> {
        self.faults.lock().unwrap()
    }

    fn up(&self) -> Result<EmbeddedChain, SourceError> {
        let faults = self.faults();
        if faults.down {
            return Err(SourceError::Unreachable { url: "here".into(), reason: "down".into() });
        }
        match &faults.switch {
            Some((after, other)) if faults.fetched.len() >= *after => Ok(other.clone()),
            _ => Ok(self.chain.clone()),
        }
    }
}

impl BlockSource for Faulty {
    fn tip(&self) -> Result<Tip, SourceError> {
        BlockSource::tip(&self.up()?)
    }
    fn hash_at(&self, height: u32) -> Result<Option<BlockHash>, SourceError> {
        BlockSource::hash_at(&self.up()?, height)
    }
    fn header(&self, hash: &BlockHash) -> Result<Option<HeaderInfo>, SourceError> {
        let chain = self.up()?;
        if self.faults().unknown.contains(hash) { Ok(None) } else { chain.header(hash) }
    }
    fn block(&self, hash: &BlockHash) -> Result<Block, SourceError> {
        let chain = self.up()?;
        let mut faults = self.faults();
        if faults.missing.contains(hash) {
            return Err(SourceError::Pruned(*hash));
        }
        faults.fetched.push(*hash);
        chain.block(hash)
    }
    fn broadcast(&self, package: &[Transaction]) -> Result<Vec<Broadcast>, SourceError> {
        self.up()?.broadcast(package)
    }
    fn feerate(&self, blocks: u16) -> Result<Option<FeeratePerKw>, SourceError> {
        self.up()?.feerate(blocks)
    }
    fn least_feerate(&self) -> Result<FeeratePerKw, SourceError> {
        self.up()?.least_feerate()
    }
    fn unspent(&self, outpoint: &OutPoint) -> Result<Option<Unspent>, SourceError> {
        self.up()?.unspent(outpoint)
    }
    fn waiting_spenders(&self, outpoints: &[OutPoint]) -> Result<Vec<Transaction>, SourceError> {
        self.up()?.waiting_spenders(outpoints)
    }
}

fn setup(blocks: u32) -> (EmbeddedChain, Faulty, ChainFollower<Faulty>, Recorder) {
    let chain = EmbeddedChain::new();
    chain.mine(blocks, &p2wpkh(9));
    let source = Faulty::new(&chain);
    let follower = ChainFollower::new(source.clone(), Network::Regtest);
    let listener = Recorder::at(chain.hash_at(0).unwrap(), 0);
    (chain, source, follower, listener)
}

fn best_chain(chain: &EmbeddedChain) -> Vec<BlockHash> {
    (0..=chain.height()).map(|height| chain.hash_at(height).unwrap()).collect()
}

fn height_of(listener: &Recorder) -> u32 {
    listener.best_block().unwrap().1.get()
}

#[test]
fn a_block_that_cannot_be_fetched_is_waited_for() {
    let (chain, source, mut follower, listener) = setup(10);
    let missing = chain.hash_at(6).unwrap();
    source.faults().missing.insert(missing);
    for _ in 0..3 {
        assert_eq!(follower.poll(&[&listener]), Err(FollowError::Source(SourceError::Pruned(missing))));
        assert_eq!(height_of(&listener), 5);
    }
    source.faults().missing.clear();
    follower.poll(&[&listener]).unwrap();
    assert_eq!(listener.hashes(), best_chain(&chain));
}

#[test]
fn an_outage_stops_nothing_but_time() {
    let (chain, source, mut follower, listener) = setup(3);
    follower.poll(&[&listener]).unwrap();
    source.faults().down = true;
    chain.mine(5, &p2wpkh(9));
    assert!(matches!(follower.poll(&[&listener]), Err(FollowError::Source(SourceError::Unreachable { .. }))));
    source.faults().down = false;
    follower.poll(&[&listener]).unwrap();
    assert_eq!(listener.hashes(), best_chain(&chain));
}

#[test]
fn polls_are_bounded_and_share_the_fetched_blocks() {
    let (chain, source, follower, listener) = setup(25);
    let mut follower = follower.with_blocks_per_poll(10);
    let late = Recorder::at(chain.hash_at(12).unwrap(), 12);
    let tip = source.tip().unwrap();
    assert_eq!(follower.poll(&[&listener, &late]), Ok(Progress::More { reached: 10, tip }));
    assert_eq!(height_of(&late), 12);
    assert_eq!(follower.poll(&[&listener, &late]), Ok(Progress::More { reached: 20, tip }));
    assert_eq!(follower.poll(&[&listener, &late]), Ok(Progress::Synced(tip)));
    assert_eq!(source.faults().fetched, best_chain(&chain)[1..], "each block once, whoever needs it");
}

#[test]
fn a_source_that_went_backwards_is_waited_for() {
    let (chain, source, mut follower, listener) = setup(10);
    follower.poll(&[&listener]).unwrap();
    let lost: Vec<_> = (0..3).map(|_| chain.disconnect_tip().unwrap()).collect();
    let tip = source.tip().unwrap();
    assert_eq!(follower.poll(&[&listener]), Ok(Progress::SourceBehind { tip, ours: 10 }));
    assert_eq!((height_of(&listener), listener.disconnected()), (10, 0));
    for block in lost.iter().rev() {
        chain.submit_block(block).unwrap();
    }
    chain.mine(1, &p2wpkh(9));
    follower.poll(&[&listener]).unwrap();
    assert_eq!((height_of(&listener), listener.disconnected()), (11, 0));
}

#[test]
fn a_shorter_fork_is_not_followed_until_it_has_as_much_work() {
    let (chain, _, mut follower, listener) = setup(10);
    follower.poll(&[&listener]).unwrap();
    for _ in 0..4 {
        chain.disconnect_tip();
    }
    for _ in 0..3 {
        chain.mine(1, &p2wpkh(8));
        assert!(matches!(follower.poll(&[&listener]), Ok(Progress::SourceBehind { ours: 10, .. })));
    }
    chain.mine(1, &p2wpkh(8));
    follower.poll(&[&listener]).unwrap();
    assert_eq!((listener.hashes(), listener.disconnected()), (best_chain(&chain), 4));
}

#[test]
fn a_deep_reorganisation_to_the_first_block() {
    let (chain, _, mut follower, listener) = setup(150);
    follower.poll(&[&listener]).unwrap();
    chain.reorg(150, &p2wpkh(8));
    follower.poll(&[&listener]).unwrap();
    assert_eq!((listener.hashes(), listener.disconnected()), (best_chain(&chain), 150));
}

#[test]
fn a_source_that_never_saw_our_blocks_is_followed_by_our_headers() {
    let (chain, source, mut follower, listener) = setup(10);
    follower.poll(&[&listener]).unwrap();
    source.faults().unknown.extend((8..=10).map(|height| chain.hash_at(height).unwrap()));
    chain.reorg(3, &p2wpkh(8));
    // Another run of the program knows the tip only: it cannot take back what it cannot name.
    let stranger = Recorder::at(listener.hashes()[10], 10);
    let mut fresh = ChainFollower::new(source.clone(), Network::Regtest);
    assert!(matches!(fresh.poll(&[&stranger]), Err(FollowError::UnknownTip { height: 10, .. })));
    // With the headers of the first run it can, and the first run can too.
    for (header, height) in follower.headers() {
        fresh.remember(header, height);
    }
    fresh.poll(&[&stranger]).unwrap();
    assert_eq!(stranger.best_block().unwrap().0, chain.tip().0);
    follower.poll(&[&listener]).unwrap();
    assert_eq!(listener.hashes(), best_chain(&chain));
}

#[test]
fn a_source_still_catching_up_from_nothing_is_waited_for() {
    let (chain, _, mut follower, listener) = setup(10);
    follower.poll(&[&listener]).unwrap();
    let young = EmbeddedChain::new();
    let mut follower = ChainFollower::new(young.clone(), Network::Regtest);
    for height in 1..=10 {
        assert!(matches!(follower.poll(&[&listener]), Ok(Progress::SourceBehind { ours: 10, .. })));
        young.submit_block(&chain.block_at(height).unwrap()).unwrap();
    }
    assert!(matches!(follower.poll(&[&listener]), Ok(Progress::Synced(_))));
    assert_eq!(listener.disconnected(), 0);
}

#[test]
fn a_reorganisation_in_the_middle_of_a_poll() {
    let (chain, source, mut follower, listener) = setup(10);
    // The same first four blocks, then others.
    let other = EmbeddedChain::new();
    for height in 1..=4 {
        other.submit_block(&chain.block_at(height).unwrap()).unwrap();
    }
    other.mine(9, &p2wpkh(7));
    source.faults().switch = Some((7, other.clone()));
    // The tip that was asked for is gone; no error, and nothing that does not fit is handed over.
    let first = follower.poll(&[&listener]).unwrap();
    assert!(matches!(first, Progress::More { reached: 7, .. }), "{first:?}");
    follower.poll(&[&listener]).unwrap();
    assert_eq!((listener.hashes(), listener.disconnected()), (best_chain(&other), 3));
}

#[test]
fn random_trees_are_followed() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let (chain, _, follower, listener) = setup(20);
    let mut follower = follower.with_blocks_per_poll(3);
    let second = Recorder::at(chain.hash_at(0).unwrap(), 0);
    for _ in 0..400 {
        match random(4) {
            0 => drop(chain.mine(u32::try_from(random(4)).unwrap(), &p2wpkh(9))),
            1 => drop(chain.reorg(u32::try_from(random(8)).unwrap(), &p2wpkh(9))),
            2 => drop(chain.disconnect_tip()),
            _ => drop(follower.poll(&[&listener, &second]).unwrap()),
        }
    }
    chain.mine(20, &p2wpkh(9));
    while !matches!(follower.poll(&[&listener, &second]).unwrap(), Progress::Synced(_)) {}
    assert_eq!((listener.hashes(), second.hashes()), (best_chain(&chain), best_chain(&chain)));
}

#[test]
fn a_listener_that_stands_still_is_reported() {
    struct Deaf;
    impl ChainListener for Deaf {
        fn filtered_block_connected(
            &self,
            _: &bitcoin::block::Header,
            _: &[lightning_traits::interface::ConfirmedTransaction<'_>],
            _: BlockHeight,
        ) {
        }
        fn block_disconnected(&self, _: &bitcoin::block::Header, _: BlockHeight) {}
        fn best_block(&self) -> Option<(BlockHash, BlockHeight)> {
            None
        }
    }
    let (chain, _, mut follower, listener) = setup(5);
    let stuck = follower.poll(&[&Deaf, &listener]);
    assert!(matches!(stuck, Err(FollowError::Stuck { found: None, .. })));
    assert_eq!(listener.hashes(), best_chain(&chain), "the other goes on");
}

#[test]
fn a_listener_of_another_past_keeps_nobody_from_his_blocks() {
    let (chain, _, mut follower, listener) = setup(5);
    let elsewhere = EmbeddedChain::new();
    elsewhere.mine(3, &p2wpkh(5));
    let lost = Recorder::at(elsewhere.tip().0, 3);
    assert!(matches!(follower.poll(&[&lost, &listener]), Err(FollowError::UnknownTip { height: 3, .. })));
    assert_eq!((listener.hashes(), lost.disconnected()), (best_chain(&chain), 0));
}

#[test]
fn broadcasts_are_repeated_until_buried() {
    let Funds { chain, coins } = funded(2);
    let source = Faulty::new(&chain);
    let broadcaster = BitcoindBroadcaster::new(source.clone());
    let mut follower = ChainFollower::new(source.clone(), Network::Regtest);
    follower.poll(&[&broadcaster]).unwrap();
    let tx = spend(&coins[0], 1, &p2wpkh(2), FEE);
    source.faults().down = true;
    broadcaster.broadcast(std::slice::from_ref(&tx));
    assert!(matches!(&broadcaster.take_reports()[..], [report] if report.outcome.is_err()));
    source.faults().down = false;
    assert_eq!(broadcaster.rebroadcast()[0].outcome, Ok(Broadcast::Accepted));
    chain.forget(tx.compute_txid());
    broadcaster.rebroadcast();
    assert_eq!(chain.mempool().len(), 1, "what the node forgot it is told again");

    chain.mine(1, &p2wpkh(9));
    follower.poll(&[&broadcaster]).unwrap();
    assert!(broadcaster.unconfirmed().is_empty() && broadcaster.rebroadcast().is_empty());
    chain.reorg_empty(1, &p2wpkh(9));
    chain.forget(tx.compute_txid());
    follower.poll(&[&broadcaster]).unwrap();
    assert_eq!(broadcaster.unconfirmed(), vec![tx.compute_txid()]);
    broadcaster.rebroadcast();
    chain.mine(6, &p2wpkh(9));
    follower.poll(&[&broadcaster]).unwrap();
    chain.reorg_empty(6, &p2wpkh(9));
    follower.poll(&[&broadcaster]).unwrap();
    assert!(broadcaster.unconfirmed().is_empty(), "six blocks were deep enough to forget it");
}

#[test]
fn a_transaction_whose_coin_is_gone_is_dropped_with_its_child_when_that_is_buried() {
    let Funds { chain, coins } = funded(1);
    let broadcaster = BitcoindBroadcaster::new(chain.clone());
    let mut follower = ChainFollower::new(chain.clone(), Network::Regtest);
    follower.poll(&[&broadcaster]).unwrap();
    let parent = spend(&coins[0], 1, &p2wpkh(2), FEE);
    let child = spend(&coin_of(&parent, 0), 2, &p2wpkh(3), FEE);
    broadcaster.broadcast(&[parent, child]);
    assert_eq!((chain.mempool().len(), broadcaster.take_reports().len()), (2, 2));
    let rival = spend(&coins[0], 1, &p2wpkh(4), FEE);
    chain.mine_transactions(vec![rival], &p2wpkh(9)).unwrap();
    follower.poll(&[&broadcaster]).unwrap();
    assert!(broadcaster.unconfirmed().is_empty() && broadcaster.rebroadcast().is_empty());
    chain.reorg_empty(1, &p2wpkh(9));
    follower.poll(&[&broadcaster]).unwrap();
    assert_eq!(broadcaster.unconfirmed().len(), 2, "a reorganisation gives the coin back");
}

#[test]
fn fees_fall_back_then_follow_and_stay_when_the_source_is_gone() {
    let chain = EmbeddedChain::new();
    let source = Faulty::new(&chain);
    let fees = BitcoindFees::new();
    assert_eq!(fees.feerate(ConfirmationTarget::MinimumAccepted), FeeratePerKw::FLOOR);
    let fallback = fees.feerate(ConfirmationTarget::Urgent);
    fees.refresh(&source).unwrap();
    assert_eq!(fees.feerate(ConfirmationTarget::Urgent), fallback, "regtest knows no rate");
    chain.set_fee_estimate(Some(FeeratePerKw::new(9000)));
    fees.refresh(&source).unwrap();
    assert_eq!(fees.feerate(ConfirmationTarget::Normal), FeeratePerKw::new(9000));
    source.faults().down = true;
    assert!(fees.refresh(&source).is_err());
    assert_eq!(fees.feerate(ConfirmationTarget::Normal), FeeratePerKw::new(9000));
    source.faults().down = false;
    chain.set_fee_estimate(Some(FeeratePerKw::new(100)));
    chain.set_min_relay_fee(8000);
    fees.refresh(&source).unwrap();
    assert_eq!(
        fees.feerate(ConfirmationTarget::Background),
        FeeratePerKw::new(2000),
        "a full mempool raises it"
    );
    assert_eq!(fees.feerate(ConfirmationTarget::MinimumAccepted), FeeratePerKw::FLOOR);
}
