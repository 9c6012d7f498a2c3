//! One node: what is durable, and what runs.
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bitcoin::constants::ChainHash;
use bitcoin::hashes::Hash as _;
use bitcoin::{Network, OutPoint, ScriptBuf, WPubkeyHash};
use lightning_chain_embedded::EmbeddedChain;
use lightning_channel::manager::{ChannelManager, Tip};
use lightning_channel::recover::RecordRows;
use lightning_router::{Router, RouterConfig, Utxo};
use lightning_traits::codec::{Reader, decode_list, encode_list};
use lightning_traits::config::{Trust, UserConfig};
use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::interface::{ChainListener, KeysInterface as _, ManyChannelMonitor};
use lightning_traits::units::{BlockHeight, CltvDelta, Msat};

use crate::coins::SimCoins;
use crate::dice::Dice;
use crate::disk::{Durable, SimDisk};
use crate::follow::Follow;
use crate::journal::{Boundary, Journal};
use crate::keys::SimKeys;
use crate::parts::{
    ChannelParts, Late, MonitorParts, Monitors, SimBroadcaster, SimFees, SimLog, monitor_line, route_line,
};
use crate::proxy::bytes::{NearMonitors, NearRoutes};
use crate::proxy::forward::Forward;
use crate::towers::{Policy, Towers};
use crate::user::User;
use crate::view::View;

pub(crate) type Manager = ChannelManager<ChannelParts>;

/// The most that a node may have in HTLCs without outputs, on one channel.
pub(crate) const MAX_DUST: Msat = Msat::from_sat(10_000);

/// Where the manager's record stands on the disk.
pub(crate) const RECORD: &str = "manager";
/// Where the graph stands on the disk.
pub(crate) const GRAPH: &str = "graph";

/// What a crash ends.
pub(crate) struct Running {
    pub(crate) manager: Forward<Manager>,
    pub(crate) monitors: Forward<Rc<Monitors>>,
    pub(crate) router: Forward<Rc<Router>>,
    follow: Follow,
}

/// One node.
pub(crate) struct Node {
    pub(crate) number: usize,
    pub(crate) keys: SimKeys,
    pub(crate) disk: Rc<SimDisk>,
    pub(crate) user: User,
    pub(crate) broadcaster: SimBroadcaster,
    pub(crate) coins: Rc<SimCoins>,
    /// Whether routes come late.
    pub(crate) is_late: Rc<Cell<bool>>,
    /// Whether what it hands to its monitors arrives there twice.
    pub(crate) is_twice: Rc<Cell<bool>>,
    /// Whether writes wait for the dice.
    pub(crate) is_slow: bool,
    pub(crate) running: Option<Running>,
    /// Its watchtowers, if it has any.
    pub(crate) towers: Option<Towers>,
    config: UserConfig,
    chain: EmbeddedChain,
    fees: SimFees,
    journal: Journal,
}

/// Where everything of node `number` goes that leaves its channels.
pub(crate) fn script(number: usize) -> ScriptBuf {
    ScriptBuf::new_p2wpkh(&WPubkeyHash::from_byte_array([number as u8 + 1; 20]))
}

/// The library's own choices, but for more time to claim, as blocks come while messages wait, and for less dust, so that a loss
/// shows.
fn config(is_plain: bool) -> UserConfig {
    let mut config = UserConfig::default();
    config.payment.final_cltv_delta = CltvDelta::new(60);
    config.channel.max_dust_exposure = MAX_DUST;
    config.handshake.anchors = !is_plain;
    config.payment.accept_spontaneous = true;
    config
}

impl Node {
    /// A node that is still to be started.
    pub(crate) fn new(
        number: usize,
        is_plain: bool,
        chain: &EmbeddedChain,
        fees: &SimFees,
        dice: Dice,
        journal: &Journal,
    ) -> Self {
        let sent = Rc::new(RefCell::new(Vec::new()));
        Self {
            number,
            keys: SimKeys::new(number, script(number), dice),
            disk: Rc::default(),
            user: User::default(),
            broadcaster: SimBroadcaster {
                node: number,
                journal: journal.clone(),
                chain: chain.clone(),
                sent,
                is_gone: Rc::default(),
            },
            coins: Rc::new(SimCoins::new(number, chain)),
            is_late: Rc::default(),
            is_twice: Rc::default(),
            is_slow: false,
            running: None,
            towers: None,
            config: config(is_plain),
            chain: chain.clone(),
            fees: fees.clone(),
            journal: journal.clone(),
        }
    }

    /// It uses channels of these before they confirm, and asks them for no reserve.
    pub(crate) fn trust(&mut self, others: impl Iterator<Item = usize>) {
        let ids = others.map(|other| SimKeys::new(other, script(other), Dice::new(0)).node_id());
        let trust = Trust { zero_conf: true, zero_reserve: true };
        self.config.handshake.zero_conf = true;
        self.config.handshake.trusted = ids.map(|id| (NodeId::from(id), trust)).collect();
    }

    /// What its disk holds once everything is written.
    pub(crate) fn backup(&self) -> Durable {
        self.disk.put(GRAPH, self.running().router.inner().snapshot());
        self.disk.write_all();
        self.disk.backup()
    }

    /// How many blocks it has not heard of.
    pub(crate) fn lag(&self) -> u32 {
        let known = self.running().monitors.inner().best_block().map_or(0, |(_, height)| height.get());
        self.chain.height().saturating_sub(known)
    }

    pub(crate) fn id(&self) -> NodeId {
        NodeId::from(self.keys.node_id())
    }

    pub(crate) fn running(&self) -> &Running {
        self.running.as_ref().expect("the node runs")
    }

    pub(crate) fn manager(&self) -> &Manager {
        self.running().manager.inner()
    }

    /// The process dies, and with it all that its disk has not written.
    pub(crate) fn crash(&mut self) {
        self.running = None;
        if let Some(towers) = &mut self.towers {
            towers.crash();
        }
        self.disk.crash();
        self.coins.crash();
    }

    /// Starts from what the disk holds.
    pub(crate) fn start(&mut self) {
        let log = || Forward::new(SimLog { node: self.number, journal: self.journal.clone() });
        let (stored, tip) = (self.disk.channels(), self.disk.tip());
        let parts = MonitorParts {
            keys: Forward::new(self.keys.clone()),
            store: Forward::new(Rc::clone(&self.disk)),
            broadcaster: Forward::new(self.broadcaster.clone()),
            fees: Forward::new(self.fees.clone()),
            coins: Forward::new(Rc::clone(&self.coins)),
            log: log(),
        };
        let monitors = Rc::new(Monitors::restore(parts, &stored, tip).expect("the disk is whole"));
        let router = Rc::new(self.open_router());
        let near: Box<dyn ManyChannelMonitor> = Box::new(NearMonitors::new(monitor_line(
            Rc::clone(&monitors),
            Rc::clone(&self.is_twice),
            self.number,
            self.journal.clone(),
        )));
        let parts = ChannelParts {
            monitors: match &mut self.towers {
                Some(towers) => Box::new(towers.start(near, &self.disk, &stored)),
                None => near,
            },
            keys: Forward::new(self.keys.clone()),
            fees: Forward::new(self.fees.clone()),
            broadcaster: Forward::new(self.broadcaster.clone()),
            routes: Late::new(
                NearRoutes::new(route_line(Rc::clone(&router), self.number, self.journal.clone())),
                Rc::clone(&self.is_late),
            ),
            log: log(),
        };
        let (hash, height) = tip.unwrap_or_else(|| {
            let (hash, height) = self.chain.tip();
            (hash, BlockHeight::new(height))
        });
        let time = self.chain.block_by_hash(&hash).map_or(0, |(stored, _)| stored.block.header.time);
        let tip = Tip { hash, height, time };
        let record = self.record();
        let manager = Manager::restore(parts, self.config.clone(), ChainHash::REGTEST, tip, stored, &record)
            .expect("the disk is whole");
        self.running = Some(Running {
            manager: Forward::new(manager),
            monitors: Forward::new(monitors),
            router: Forward::new(router),
            follow: Follow::new(&self.chain),
        });
        self.follow_chain();
    }

    fn open_router(&self) -> Router {
        let config = RouterConfig::new(Network::Regtest, self.id());
        match self.disk.get(GRAPH) {
            Some(snapshot) => Router::restore(config, &snapshot).expect("the disk is whole"),
            None => Router::new(config),
        }
    }

    /// Hears of all blocks, and answers what the router wants to know of the chain.
    pub(crate) fn follow_chain(&mut self) {
        if self.is_gone() {
            return;
        }
        let running = self.running.as_mut().expect("the node runs");
        // Channels before monitors: these write the durable tip, which must not pass what channels wrote because of the same
        // block, or a crash in between would lose a confirmation.
        let listeners: [&dyn ChainListener; 3] = [&running.manager, &running.monitors, &running.router];
        running.follow.poll(&listeners);
        self.journal.note(self.number, Boundary::Follows, || self.chain.tip().0.to_byte_array());
        let router = Rc::clone(running.router.inner());
        while let Some(scid) = router.next_utxo_query() {
            router.answer_utxo(scid, self.look_up(scid));
        }
    }

    fn look_up(&self, scid: ShortChannelId) -> Option<Utxo> {
        let block = self.chain.block_at(scid.block())?;
        let transaction = block.txdata.get(scid.tx_index() as usize)?;
        let outpoint = OutPoint { txid: transaction.compute_txid(), vout: u32::from(scid.vout()) };
        self.chain.utxo(&outpoint).map(|coin| Utxo { outpoint, output: coin.output })
    }

    /// Gives it watchtowers, before it starts. `first` tells them from those of others.
    pub(crate) fn guard(&mut self, policy: Policy, first: usize) {
        let (keys, view) = (self.keys.lender(), View::of(&self.chain));
        let mut towers = Towers::new(self.id(), keys, policy, first, &view, &self.fees, &self.journal);
        towers.scan(self.chain.height());
        self.towers = Some(towers);
    }

    /// Its machine is gone for ever.
    pub(crate) fn leave(&mut self) {
        self.broadcaster.is_gone.set(true);
        if let Some(towers) = &mut self.towers {
            towers.crash();
        }
    }

    /// Whether its machine is gone.
    pub(crate) fn is_gone(&self) -> bool {
        self.broadcaster.is_gone.get()
    }

    /// Carries what is ready between it and its towers; whether anything moved.
    fn pump(&self, towers: &Towers) -> bool {
        let seen = self.disk.tip().map_or(BlockHeight::new(0), |(_, height)| height);
        towers.pump(|| self.disk.channels(), seen)
    }

    /// Whether it may speak to its peers: what it had before it started is held by enough.
    pub(crate) fn is_settled(&self) -> bool {
        self.towers.as_ref().is_none_or(|towers| {
            self.pump(towers);
            towers.is_settled()
        })
    }

    /// Disk, signer, route finder and towers answer at once.
    pub(crate) fn be_quick(&mut self) {
        if let Some(towers) = &mut self.towers {
            towers.be_quick();
        }
        self.is_slow = false;
        self.is_late.set(false);
        self.is_twice.set(false);
        self.disk.be_quick();
        self.keys.is_slow.set(false);
    }

    /// Lets the channels go on with what became durable, and queues their record.
    pub(crate) fn process(&self) {
        if self.is_gone() {
            return;
        }
        if !self.is_slow {
            self.disk.write_all();
        }
        self.manager().process();
        if let Some(towers) = &self.towers {
            while self.pump(towers) {
                self.manager().process();
                if !self.is_slow {
                    self.disk.write_all();
                }
            }
        }
        // To ask again is to say that the one before is stored.
        if !self.disk.is_writing(RECORD) {
            let changed = self.manager().take_record();
            if !changed.is_empty() {
                let mut rows = self.record();
                changed.into_iter().for_each(|row| row.apply(&mut rows));
                let mut bytes = Vec::new();
                encode_list(&rows.into_iter().collect::<Vec<_>>(), &mut bytes);
                self.disk.put(RECORD, bytes);
            }
        }
        if !self.is_slow {
            self.disk.write_all();
        }
    }

    /// The rows of the manager's record that are durable.
    fn record(&self) -> RecordRows {
        let Some(bytes) = self.disk.get(RECORD) else { return RecordRows::new() };
        let rows: Vec<(Vec<u8>, Vec<u8>)> = decode_list(&mut Reader::new(&bytes)).expect("the disk is whole");
        rows.into_iter().collect()
    }

    /// HTLCs that are still there.
    pub(crate) fn htlcs(&self) -> usize {
        let channels = self.manager().list_channels();
        let funded = channels.iter().filter_map(|channel| channel.funded.as_ref());
        funded.map(|funded| funded.outgoing_htlcs + funded.incoming_htlcs).sum()
    }
}
