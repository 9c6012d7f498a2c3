//! A tower on an embedded chain whose source can fail, and one client of it.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bitcoin::{Block, BlockHash, Network, OutPoint, Transaction};
use lightning_chain_bitcoind::BitcoindClient;
use lightning_chain_embedded::EmbeddedChain;
use lightning_traits::id::NodeId;
use lightning_traits::interface::{
    BlockSource, Broadcast, HeaderInfo, KeysInterface as _, SourceError, Tip, Unspent,
};
use lightning_traits::monitor::{ChannelMonitorUpdate, Persist};
use lightning_traits::units::{BlockHeight, FeeratePerKw};
use lightning_watchtower::clients::{self, Client, Mode};
use lightning_watchtower::guard::Guard;
use lightning_watchtower::status::Status;
use lightning_watchtower::tower::{Options, Tower};

use crate::pair::{Pair, anyone};

/// What the source does wrong.
#[derive(Default)]
pub struct Faults {
    /// Blocks that cannot be had, and why.
    pub blocks: BTreeMap<u32, SourceError>,
    /// Nothing is answered.
    pub down: bool,
    /// It says that it is still catching up.
    pub syncing: bool,
    /// It follows another chain.
    pub other_chain: bool,
    /// Broadcasts are refused with these codes, one each.
    pub refusals: Vec<i64>,
    /// How many were.
    pub refused: usize,
}

/// An embedded chain with faults.
#[derive(Clone)]
pub struct Flaky {
    pub chain: EmbeddedChain,
    /// Through what transactions go, instead of straight to the chain.
    pub wire: Option<Arc<BitcoindClient>>,
    pub faults: Arc<Mutex<Faults>>,
}

impl Flaky {
    fn up(&self) -> Result<(), SourceError> {
        if self.faults.lock().unwrap().down {
            return Err(SourceError::Unreachable { url: "test".into(), reason: "down".into() });
        }
        Ok(())
    }
}

impl BlockSource for Flaky {
    fn tip(&self) -> Result<Tip, SourceError> {
        self.up()?;
        let (hash, height) = self.chain.tip();
        let syncing = self.faults.lock().unwrap().syncing;
        Ok(Tip { hash, height, network: Network::Regtest, syncing })
    }

    fn hash_at(&self, height: u32) -> Result<Option<BlockHash>, SourceError> {
        self.up()?;
        if height == 0 && self.faults.lock().unwrap().other_chain {
            return Ok(self.chain.hash_at(1));
        }
        Ok(self.chain.hash_at(height))
    }

    fn header(&self, hash: &BlockHash) -> Result<Option<HeaderInfo>, SourceError> {
        self.up()?;
        self.chain.header(hash)
    }

    fn block(&self, hash: &BlockHash) -> Result<Block, SourceError> {
        self.up()?;
        let block = self.chain.block(hash)?;
        let height = self.chain.header(hash)?.map_or(0, |info| info.height);
        match self.faults.lock().unwrap().blocks.get(&height) {
            Some(error) => Err(error.clone()),
            None => Ok(block),
        }
    }

    fn broadcast(&self, package: &[Transaction]) -> Result<Vec<Broadcast>, SourceError> {
        self.up()?;
        let mut faults = self.faults.lock().unwrap();
        if let Some(code) = faults.refusals.pop() {
            faults.refused += 1;
            let refused = Broadcast::Refused { code, reason: "as told".into() };
            return Ok(vec![refused; package.len()]);
        }
        drop(faults);
        match &self.wire {
            Some(wire) => wire.broadcast(package),
            None => self.chain.broadcast(package),
        }
    }

    fn feerate(&self, blocks: u16) -> Result<Option<FeeratePerKw>, SourceError> {
        self.up()?;
        self.chain.feerate(blocks)
    }

    fn least_feerate(&self) -> Result<FeeratePerKw, SourceError> {
        self.chain.least_feerate()
    }

    fn unspent(&self, outpoint: &OutPoint) -> Result<Option<Unspent>, SourceError> {
        self.up()?;
        self.chain.unspent(outpoint)
    }

    fn waiting_spenders(&self, outpoints: &[OutPoint]) -> Result<Vec<Transaction>, SourceError> {
        self.up()?;
        self.chain.waiting_spenders(outpoints)
    }
}

/// Waits until `done`, looking often.
pub fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} did not happen");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A tower, its chain, and its data.
pub struct World {
    pub folder: tempfile::TempDir,
    pub source: Flaky,
    pub tower: Option<Tower>,
    pub client: NodeId,
    pub stale_after: Option<Duration>,
}

impl World {
    /// A chain with coins on it, and a tower with one client.
    pub fn new(mode: Mode) -> Self {
        let chain = EmbeddedChain::new();
        chain.mine(130, &anyone().to_p2wsh());
        Self::on(&chain, mode)
    }

    pub fn on(chain: &EmbeddedChain, mode: Mode) -> Self {
        Self::of(Flaky { chain: chain.clone(), wire: None, faults: Arc::default() }, mode)
    }

    pub fn of(source: Flaky, mode: Mode) -> Self {
        let client = NodeId::from(
            lightning_keys::SeedKeys::new(lightning_keys::Seed::new([9; 32]), Arc::new(anyone()))
                .unwrap()
                .node_id(),
        );
        let folder = tempfile::tempdir().unwrap();
        let mut world = Self { folder, source, tower: None, client, stale_after: None };
        world.admit(Client {
            id: client.to_string(),
            mode,
            max_channels: 10,
            max_bytes: 1_000_000,
            admitted: true,
        });
        world.start();
        world
    }

    pub fn admit(&self, client: Client) {
        clients::add(self.folder.path(), &client).unwrap();
    }

    pub fn chain(&self) -> &EmbeddedChain {
        &self.source.chain
    }

    pub fn start(&mut self) {
        let options = Options {
            data: self.folder.path().to_path_buf(),
            network: Network::Regtest,
            poll: Duration::from_millis(5),
            stale_after: self.stale_after,
        };
        self.tower = Some(Tower::start(options, Arc::new(self.source.clone())).unwrap());
    }

    pub fn stop(&mut self) {
        if let Some(tower) = self.tower.take() {
            tower.stop();
        }
    }

    pub fn restart(&mut self) {
        self.stop();
        self.start();
    }

    pub fn guard(&self) -> Arc<Guard> {
        self.tower.as_ref().unwrap().inner().guard(self.client).expect("the client is guarded")
    }

    pub fn status(&self) -> Status {
        Status::of(self.tower.as_ref().unwrap().inner())
    }

    /// Hands the channel over, with the keys for the client's mode.
    pub fn hand_over(&self, pair: &Pair) {
        let guard = self.guard();
        assert!(guard.give_keys(pair.init.keys, pair.lent(guard.mode().power().unwrap())));
        self.expect_kept(guard.add(pair.new_monitor()));
    }

    pub fn learn(&self, update: ChannelMonitorUpdate) {
        self.expect_kept(self.guard().update(update));
    }

    /// Waits for the receipt.
    fn expect_kept(&self, persist: Persist) {
        assert!(matches!(persist, Persist::InProgress), "{persist:?}");
        let guard = self.guard();
        wait("a receipt", || guard.next_receipt().is_some());
    }

    /// Waits until the tower has looked at all blocks, and at what follows from them.
    pub fn seen(&self) {
        let height = BlockHeight::new(self.chain().height());
        let hash = self.chain().tip().0;
        wait("the tip", || self.guard().tip() == Some((hash, height)));
        // What follows from a block is broadcast before the block counts as taken; refusals are offered again with the next look.
        wait("a look", || self.status().height == Some(height.get()));
    }

    pub fn mine(&self, blocks: u32) {
        for _ in 0..blocks {
            self.chain().mine(1, &anyone().to_p2wsh());
            self.seen();
        }
    }

    /// Mines a block with exactly these transactions.
    pub fn mine_exactly(&self, transactions: &[Transaction]) {
        self.chain().mine_transactions(transactions.to_vec(), &anyone().to_p2wsh()).unwrap();
    }

    /// Whether a claim took the output, and pays the client.
    pub fn is_taken(&self, outpoint: OutPoint) -> bool {
        let spender = (1..=self.chain().height()).rev().find_map(|height| {
            let block = self.chain().block_at(height)?;
            let spends = |tx: &&Transaction| tx.input.iter().any(|input| input.previous_output == outpoint);
            block.txdata.iter().find(spends).cloned()
        });
        spender.is_some_and(|tx| {
            tx.output.iter().all(|output| output.script_pubkey == crate::pair::destination())
        })
    }

    /// Mines until all of these are taken.
    pub fn expect_taken(&self, outpoints: &[OutPoint], blocks: u32) {
        for _ in 0..blocks {
            self.mine(1);
            if outpoints.iter().all(|outpoint| self.is_taken(*outpoint)) {
                return;
            }
        }
        let left: Vec<_> = outpoints.iter().filter(|outpoint| !self.is_taken(**outpoint)).collect();
        panic!("not taken within {blocks} blocks: {left:?}; {:#?}", self.status());
    }
}
