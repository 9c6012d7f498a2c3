//! Nodes that do as they like: they keep all their old states, hold back or change what they say, and send to the chain
//! whatever was ever signed.
//!
//! A villain runs the same code as everybody, so that what it says is signed as it should be; what it does beside that is
//! here. Villains of one run know everything of each other.
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use bitcoin::{OutPoint, Transaction};
use lightning_channel::payment::Recipient;
use lightning_traits::id::{ChannelId, PaymentId};
use lightning_traits::interface::ManyChannelMonitor as _;
use lightning_traits::monitor::{ChannelMonitorUpdate, MonitorStep, RecordChange, StoredChannel};
use lightning_traits::payment::{PaymentHash, PaymentSecret, Preimage};
use lightning_traits::route::{Path, Route, RouteHop};
use lightning_traits::units::{BlockHeight, CltvExpiry, Msat};

use crate::disk::SimDisk;
use crate::follow::Follow;
use crate::journal::Journal;
use crate::parts::{MonitorParts, Monitors, SimBroadcaster, SimLog};
use crate::proxy::forward::Forward;
use crate::world::World;

/// States of one channel that a villain keeps.
const MAX_HISTORY: usize = 48;
/// Messages of one wire that a villain remembers.
const MAX_SAID: usize = 24;

/// All types of messages, where one type is expected.
pub(crate) const EVERYTHING: u16 = 0;

/// What villains have up their sleeves.
#[derive(Default)]
pub(crate) struct Mischief {
    /// Messages that are not sent: from whom, to whom, of which type.
    pub(crate) muted: BTreeSet<(usize, usize, u16)>,
    /// What was sent lately.
    pub(crate) said: BTreeMap<(usize, usize), VecDeque<Vec<u8>>>,
    /// Every state that their channels ever had, the latest last.
    history: BTreeMap<(usize, ChannelId), Vec<StoredChannel>>,
    preimages: BTreeMap<PaymentHash, Preimage>,
    ghosts: Vec<Ghost>,
    /// The output that the next opening claims to be funded by.
    pub(crate) borrowed_output: Option<OutPoint>,
    /// Whether the next HTLC of a villain has an onion that nobody can read.
    pub(crate) is_spoiled: bool,
    /// Whether villains leave what they open without money.
    pub(crate) is_broke: bool,
    payments: u64,
}

/// An old state of a channel that is on its way over the chain: a monitor that knows no more than its villain wants.
struct Ghost {
    monitors: Rc<Monitors>,
    disk: Rc<SimDisk>,
    follow: Follow,
    villain: usize,
    /// How many of what it has sent were looked at.
    told: usize,
    sent: Rc<RefCell<Vec<Transaction>>>,
}

impl Ghost {
    fn haunt(&mut self) {
        self.follow.poll(&[&*self.monitors]);
        self.disk.write_all();
        while self.monitors.next_receipt().is_some() {}
        self.disk.write_all();
    }
}

impl Mischief {
    /// Whether a message is held back.
    pub(crate) fn is_muted(&self, from: usize, to: usize, type_id: u16) -> bool {
        [EVERYTHING, type_id].iter().any(|known| self.muted.contains(&(from, to, *known)))
    }

    /// Remembers what a villain has sent.
    pub(crate) fn note_said(&mut self, from: usize, to: usize, bytes: &[u8]) {
        let said = self.said.entry((from, to)).or_default();
        said.push_back(bytes.to_vec());
        if said.len() > MAX_SAID {
            said.pop_front();
        }
    }

    /// A villain has learnt a preimage.
    pub(crate) fn learn(&mut self, preimage: &Preimage) {
        self.preimages.insert(preimage.hash(), preimage.clone());
    }

    /// How many states of a channel there are.
    pub(crate) fn states(&self, villain: usize, channel: ChannelId) -> usize {
        self.history.get(&(villain, channel)).map_or(0, Vec::len)
    }

    /// What the state has sent to the chain that was published last.
    pub(crate) fn latest_sent(&self) -> Vec<Transaction> {
        self.ghosts.last().map(|ghost| ghost.sent.borrow().clone()).unwrap_or_default()
    }

    /// Old states go to the chain as far as the chain lets them.
    pub(crate) fn haunt(&mut self) {
        self.ghosts.iter_mut().for_each(Ghost::haunt);
    }

    /// What they have sent since the last look, and whose it was.
    pub(crate) fn take_sent(&mut self) -> Vec<(usize, Transaction)> {
        let mut all = Vec::new();
        for ghost in &mut self.ghosts {
            let sent = ghost.sent.borrow();
            all.extend(sent.iter().skip(ghost.told).map(|transaction| (ghost.villain, transaction.clone())));
            ghost.told = sent.len();
        }
        all
    }
}

impl World {
    /// Villains keep what their disks hold.
    pub(crate) fn keep_history(&mut self) {
        for villain in &self.villains {
            for (channel, stored) in self.nodes[*villain].disk.channels() {
                let states = self.mischief.history.entry((*villain, channel)).or_default();
                if states.last().is_none_or(|last| last.last_update < stored.last_update) {
                    states.push(stored);
                    if states.len() > MAX_HISTORY {
                        // Neither the first nor the last ones.
                        states.remove(MAX_HISTORY / 2);
                    }
                }
            }
        }
    }

    /// A villain sends the state of a channel that it has kept to the chain, with all claims that it makes possible.
    pub(crate) fn publish(&mut self, villain: usize, channel: ChannelId, state: usize, by_miner: bool) {
        let states = self.mischief.history.get(&(villain, channel));
        let Some(stored) = states.and_then(|states| states.get(state)).cloned() else { return };
        self.say(|| format!("{villain} publishes state {} of {channel}", stored.last_update));
        let (disk, node) = (Rc::new(SimDisk::holding(channel, stored.clone())), &self.nodes[villain]);
        node.keys.is_slow.set(false);
        let broadcaster = SimBroadcaster {
            node: villain,
            journal: Journal::default(),
            chain: self.chain.clone(),
            sent: Rc::default(),
            is_gone: Rc::default(),
        };
        let parts = MonitorParts {
            keys: Forward::new(node.keys.clone()),
            store: Forward::new(Rc::clone(&disk)),
            broadcaster: Forward::new(broadcaster.clone()),
            fees: Forward::new(self.fees.clone()),
            coins: Forward::new(Rc::clone(&node.coins)),
            log: Forward::new(SimLog { node: villain, journal: Journal::default() }),
        };
        let (hash, height) = self.chain.tip();
        let (id, tip) = (stored.last_update.next(), (hash, BlockHeight::new(height)));
        let monitors = Monitors::restore(parts, &vec![(channel, stored)], Some(tip));
        let monitors = Rc::new(monitors.expect("a state that was durable"));
        let known = self.mischief.preimages.values();
        let mut steps: Vec<_> =
            known.map(|preimage| MonitorStep::Preimage { preimage: preimage.clone() }).collect();
        steps.push(MonitorStep::ForceClose {});
        let record = RecordChange::Same {};
        let update = ChannelMonitorUpdate { channel, id, steps, record, extra: Default::default() };
        let _later = monitors.update_channel(update);
        let sent = Rc::clone(&broadcaster.sent);
        let mut ghost = Ghost { monitors, disk, follow: Follow::new(&self.chain), villain, told: 0, sent };
        ghost.haunt();
        self.mischief.ghosts.push(ghost);
        let commitment = broadcaster.sent.borrow().first().cloned();
        if let (true, Some(commitment)) = (by_miner, commitment) {
            // A miner takes it, whatever else waits; unless something has spent its input already.
            let _refused = self.chain.mine_transactions(vec![commitment], &crate::bank::nobody());
            self.note_settled();
        }
    }

    /// A way through the network for a payment that asks nobody for a route: one channel after the other.
    pub(crate) fn path(&self, nodes: &[usize], msat: u64) -> Option<Path> {
        const FINAL_DELTA: u32 = 63;
        let height = self.chain.height();
        let (mut amount, mut expiry) = (msat, height + FINAL_DELTA);
        let mut hops = Vec::new();
        for ends in nodes.windows(2).rev() {
            let peer = self.nodes[ends[1]].id();
            let channels = self.nodes[ends[0]].manager().list_channels();
            let funded = channels.into_iter().filter(|channel| channel.peer == peer).filter_map(|c| c.funded);
            let scid = funded.filter_map(|funded| funded.scid).next()?;
            let (node, amount_here, expiry_here) = (peer, Msat::new(amount), CltvExpiry::new(expiry));
            hops.push(RouteHop { node, scid, amount: amount_here, expiry: expiry_here });
            amount += 1_000 + amount / 10_000 + 1;
            expiry += 80;
        }
        hops.reverse();
        (!hops.is_empty()).then_some(Path { hops })
    }

    /// A villain pays along some paths; to whomever `secret` is good for.
    pub(crate) fn send_along(
        &mut self,
        villain: usize,
        paths: Vec<Path>,
        hash: PaymentHash,
        secret: PaymentSecret,
    ) {
        self.mischief.payments += 1;
        let mut id = [0xff; 32];
        id[..8].copy_from_slice(&self.mischief.payments.to_be_bytes());
        let route = Route { paths };
        let sent =
            self.nodes[villain].manager().send_along(PaymentId(id), hash, route, &Recipient::invoice(secret));
        self.say(|| format!("{villain} sends along its own way for {hash}: {sent:?}"));
    }
}
