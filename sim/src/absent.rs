//! Clients of watchtowers that go: their machines are never heard of again, and what their towers hold is all that is left.
use bitcoin::TxOut;

use crate::oracle::tower;
use crate::run::Run;
use crate::towers::Policy;
use crate::world::World;

/// Nodes of a run that have towers at most.
const MAX_GUARDED: usize = 3;
/// Towers of one node at most.
const MAX_TOWERS: usize = 3;
/// What each tower has for fees.
const COINS: usize = 4;
const COIN: bitcoin::Amount = bitcoin::Amount::from_sat(100_000);

impl World {
    /// All towers that can look at the blocks.
    pub(crate) fn scan(&mut self) {
        let height = self.chain.height();
        for node in 0..self.nodes.len() {
            let Some(towers) = &mut self.nodes[node].towers else { continue };
            towers.scan(height);
            for archived in towers.archived() {
                tower::check_archived(self, node, &archived);
            }
        }
        tower::judge_sent(self);
        for (villain, transaction) in self.mischief.take_sent() {
            self.note_offer(villain, &transaction);
        }
    }
}

impl Run {
    /// Some of those who keep to the rules get towers, with coins, and start again behind them.
    pub(crate) fn guard_some(&mut self) {
        let trusty: Vec<usize> =
            (0..self.world.nodes.len()).filter(|node| self.world.is_trusty(*node)).collect();
        let first = self.dice.pick(trusty.len());
        let count = 1 + self.dice.pick(MAX_GUARDED.min(trusty.len()));
        let chosen = trusty.iter().cycle().skip(first).take(count);
        let mut purse = Vec::new();
        for (at, node) in chosen.enumerate() {
            let policy = Policy::roll(&mut self.dice);
            self.world.say(|| format!("{node} has towers: {policy:?}"));
            self.world.nodes[*node].disk.write_all();
            self.world.nodes[*node].guard(policy, at * MAX_TOWERS);
            let towers = self.world.nodes[*node].towers.iter().flat_map(|towers| &towers.towers);
            let scripts = towers.map(|tower| tower.machine.coins.script());
            purse.extend(
                scripts.flat_map(|script_pubkey| {
                    core::iter::repeat_n(TxOut { value: COIN, script_pubkey }, COINS)
                }),
            );
            self.world.restart(*node, |_| (0, true));
        }
        let gift = self.world.bank.pay(purse);
        self.world.chain.submit(&gift).expect("the bank pays");
        self.world.mine(1);
        self.world.catch_up();
        for (a, b) in self.world.pairs() {
            self.world.connect(a, b);
        }
        self.world.settle();
    }

    /// Somebody who has towers, if there is anybody.
    pub(crate) fn some_client(&mut self) -> usize {
        let nodes = &self.world.nodes;
        let clients: Vec<usize> =
            nodes.iter().filter(|node| node.towers.is_some()).map(|node| node.number).collect();
        if clients.len() == nodes.len() { self.some_node() } else { self.dice.some(&clients).unwrap_or(0) }
    }

    /// A client goes for ever: its machine is lost.
    pub(crate) fn leave(&mut self) {
        let node = self.some_client();
        if self.world.nodes[node].towers.is_none() || !self.world.is_trusty(node) {
            return;
        }
        self.world.judge_broadcasts(node);
        self.world.say(|| format!("{node} is never heard of again"));
        self.world.absent.insert(node);
        self.world.nodes[node].leave();
        self.outcome.absent += 1;
        for peer in self.world.wires.peers_of(node) {
            let notices = self.dice.once_in(2);
            self.world.cut(node, peer, [true, notices]);
        }
    }
}
