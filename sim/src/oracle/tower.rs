//! What watchtowers promise (RELIABILITY, T1 to T5).
//!
//! | | |
//! | --- | --- |
//! | T1 | each revoked commitment that confirms, and whose revocation a tower that lives has acknowledged, has every output above dust punished before its delay ends; so has what the cheater made of it |
//! | T2 | what is acknowledged is durable, and stays it over crashes; nothing opens that the client's policy wants held by more |
//! | T3 | blocks are scanned one on the other, over restarts and reorganisations |
//! | T4 | nothing is let go of before all that settled it is a hundred blocks deep |
//! | T5 | no code of a refusal ends a retry: towers here are refused by codes, and T1 holds all the same |
//!
//! T5 includes that a tower never acts against what its client, or the client's peer, has published rightly (L23).
//! Nothing here asks a monitor: keys and commitment numbers come from the signers' books and the updates, all else from the chain.
use std::collections::{BTreeMap, BTreeSet};

use bitcoin::block::Header;
use bitcoin::{BlockHash, OutPoint, ScriptBuf, Transaction, Txid};
use lightning_traits::id::CommitmentNumber;
use lightning_traits::monitor::MonitorInit;
use lightning_traits::tx::{number_of, script};

use super::money::DUST;
use super::{Oracle, broken, hold};
use crate::towers::{Archived, Tower, Towers};
use crate::world::{Link, World};

/// Weight units of one punished input with its share of the transaction, at most.
const PUNISHED_WEIGHT: u64 = 900;
/// Blocks on what settles a channel before a tower may let go of it.
const BURIED: u32 = 100;
/// Stages of a cheater's transactions that can be punished: the commitment's outputs, and those of its HTLC transactions.
const STAGES: u32 = 2;

/// The chain that a tower's monitors were shown (T3).
#[derive(Clone, Debug, Default)]
pub(crate) struct Scanned {
    tip: Option<BlockHash>,
    all: BTreeSet<BlockHash>,
}

impl Scanned {
    /// The tower starts, and says up to where it has looked.
    pub(crate) fn restart(&mut self, tip: Option<BlockHash>) {
        let is_known = tip.is_none_or(|tip| self.all.contains(&tip));
        hold(Oracle::Scan, is_known, || format!("a tower starts at {tip:?}, which it never looked at"));
        self.tip = tip;
    }

    /// Up to where it has looked.
    pub(crate) const fn tip(&self) -> Option<BlockHash> {
        self.tip
    }

    pub(crate) fn connect(&mut self, header: &Header, height: u32) {
        let fits = self.tip.is_none_or(|tip| tip == header.prev_blockhash);
        hold(Oracle::Scan, fits, || format!("block {height} is not on {:?}", self.tip));
        self.tip = Some(header.block_hash());
        self.all.insert(header.block_hash());
    }

    pub(crate) fn disconnect(&mut self, header: &Header) {
        let fits = self.tip == Some(header.block_hash());
        hold(Oracle::Scan, fits, || format!("a block goes that is not the last: {:?}", self.tip));
        self.tip = Some(header.prev_blockhash);
        self.all.insert(header.prev_blockhash);
    }

    /// An old block is looked at once more, and all after it will be.
    pub(crate) fn jump(&mut self, to: BlockHash) {
        self.tip = Some(to);
        self.all.insert(to);
    }
}

/// All spends of a chain.
pub(crate) struct Spends {
    by: BTreeMap<OutPoint, (Txid, u32)>,
    all: BTreeMap<Txid, Transaction>,
    tip: u32,
}

impl Spends {
    pub(crate) fn of(world: &World) -> Self {
        Self::below(world, world.chain.tip().0)
    }

    /// Those of the chain that ends with this block, whether it is the best or was left.
    fn below(world: &World, tip: BlockHash) -> Self {
        let mut spends = Self { by: BTreeMap::new(), all: BTreeMap::new(), tip: 0 };
        let mut next = tip;
        while let Some((stored, _)) = world.chain.block_by_hash(&next) {
            spends.tip = spends.tip.max(stored.height);
            for transaction in stored.block.txdata.iter().skip(1) {
                let txid = transaction.compute_txid();
                let place = (txid, stored.height);
                spends.by.extend(transaction.input.iter().map(|input| (input.previous_output, place)));
                spends.all.insert(txid, transaction.clone());
            }
            next = stored.block.header.prev_blockhash;
        }
        spends
    }

    fn of_output(&self, outpoint: &OutPoint) -> Option<(&Transaction, u32)> {
        let (txid, height) = self.by.get(outpoint)?;
        Some((self.all.get(txid)?, *height))
    }
}

/// A revoked commitment in the chain, of a channel that towers guard.
struct Breach<'a> {
    towers: &'a Towers,
    node: usize,
    init: MonitorInit,
    transaction: &'a Transaction,
    height: u32,
}

/// What became of an output of a breach.
enum Fate {
    /// The client has it, or it is too small: since this block.
    Punished(u32),
    /// Nobody has spent it.
    Waits,
    /// The cheater has it.
    Lost(String),
}

/// Breaches that at least one tower which lives must punish.
fn breaches<'a>(world: &'a World, spends: &'a Spends) -> Vec<Breach<'a>> {
    let mut found = Vec::new();
    for (node, towers) in guarded(world) {
        for link in world.links.iter().filter(|link| link.ends.contains(&node)) {
            let Some((transaction, height)) = spends.of_output(&link.funding) else { continue };
            let Some((number, init)) = revealed(world, node, towers, link, transaction) else { continue };
            let knows = |tower: &Tower| {
                !tower.is_dead && towers.acknowledged_revocation(tower, link.channel) > Some(number)
            };
            if towers.towers.iter().any(knows) {
                found.push(Breach { towers, node, init, transaction, height });
            }
        }
    }
    found
}

fn guarded(world: &World) -> impl Iterator<Item = (usize, &Towers)> {
    world.nodes.iter().filter_map(|node| Some((node.number, node.towers.as_ref()?)))
}

/// The number of the peer's commitment that a transaction is.
fn revealed(
    world: &World,
    node: usize,
    towers: &Towers,
    link: &Link,
    transaction: &Transaction,
) -> Option<(CommitmentNumber, MonitorInit)> {
    let peer = if link.ends[0] == node { link.ends[1] } else { link.ends[0] };
    let signed = world.nodes[peer].keys.book.borrow().signed_ours(&transaction.compute_txid())?;
    Some((signed.number, towers.init(link.channel)?))
}

impl Breach<'_> {
    /// Every output that is worth to be punished, and what became of it.
    fn fates(&self, world: &World, spends: &Spends) -> Vec<(OutPoint, u64, Fate)> {
        let ours = script::countersigner_output(self.init.format, &self.init.ours.keys.payment_basepoint);
        let txid = self.transaction.compute_txid();
        let mut fates = Vec::new();
        for (vout, output) in self.transaction.output.iter().enumerate() {
            let outpoint = OutPoint { txid, vout: vout as u32 };
            if output.script_pubkey == ours {
                continue;
            }
            let value = output.value.to_sat();
            fates.push((outpoint, value, self.fate(world, spends, outpoint, value, self.height, STAGES)));
        }
        fates
    }

    fn fate(
        &self,
        world: &World,
        spends: &Spends,
        outpoint: OutPoint,
        value: u64,
        since: u32,
        stages: u32,
    ) -> Fate {
        if value <= policy_dust(world) {
            return Fate::Punished(since);
        }
        let Some((spender, height)) = spends.of_output(&outpoint) else { return Fate::Waits };
        let mine = self.towers.scripts(&world.nodes[self.node]);
        if spender.output.iter().all(|output| mine.contains(&output.script_pubkey)) {
            // The cheater's own time begins with the delay: whoever is later has been lucky.
            let is_late = height >= since + u32::from(self.init.ours_delay());
            return if is_late {
                Fate::Lost(format!("punished at {height}, confirmed at {since}"))
            } else {
                Fate::Punished(height)
            };
        }
        let at = spender.input.iter().position(|input| input.previous_output == outpoint);
        let next = at.and_then(|at| Some((at, spender.output.get(at)?)));
        match next {
            Some((at, output)) if stages > 1 => {
                let made = OutPoint { txid: spender.compute_txid(), vout: at as u32 };
                self.fate(world, spends, made, output.value.to_sat(), height, stages - 1)
            }
            _ => Fate::Lost(format!("taken at {height} by {}", spender.compute_txid())),
        }
    }
}

/// Blocks that a cheater has to wait.
trait Delay {
    fn ours_delay(&self) -> u16;
}

impl Delay for MonitorInit {
    fn ours_delay(&self) -> u16 {
        // What we ask of the peer is what its own outputs wait for.
        self.ours.to_self_delay.get()
    }
}

/// What is not worth to be punished: what no mempool takes, and what would cost more than half of it.
fn policy_dust(world: &World) -> u64 {
    let rate =
        u64::from(world.fees.rate.get().max(world.fees.floor.get()).max(world.market.dearest).max(WAR_RATE));
    (DUST as u64 / 1_000).max(2 * rate * PUNISHED_WEIGHT / 1_000)
}

/// The highest feerate outside of spikes, urgent.
const WAR_RATE: u32 = 1_600;

/// What is still to be punished; for whoever waits until all is done.
pub(crate) fn unpunished(world: &World) -> Vec<String> {
    if guarded(world).next().is_none() {
        return Vec::new();
    }
    let spends = Spends::of(world);
    let breaches = breaches(world, &spends);
    let all = breaches.iter().flat_map(|breach| {
        let fates = breach.fates(world, &spends).into_iter();
        fates.filter(|(_, _, fate)| matches!(fate, Fate::Waits)).map(|(outpoint, value, _)| {
            format!("node {}: {value} sat at {outpoint} wait to be punished", breach.node)
        })
    });
    all.collect()
}

/// What towers did in a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Punished {
    /// Breaches of which everything was punished.
    pub(crate) breaches: u64,
    /// Those of them whose client was not there.
    pub(crate) alone: u64,
}

/// Everything that must be punished has been, in time (T1).
pub(crate) fn check_punished(world: &World) -> Punished {
    let spends = Spends::of(world);
    let mut punished = Punished::default();
    for breach in breaches(world, &spends) {
        for (outpoint, value, fate) in breach.fates(world, &spends) {
            let why = match fate {
                Fate::Punished(_) => continue,
                Fate::Waits => "nobody has spent it".to_owned(),
                Fate::Lost(why) => why,
            };
            broken(
                Oracle::Punished,
                format!(
                    "{value} sat at {outpoint} of a commitment that was revoked to node {}, which came at {}: {why}",
                    breach.node, breach.height
                ),
            );
        }
        punished.breaches += 1;
        punished.alone += u64::from(world.absent.contains(&breach.node));
    }
    punished
}

/// A tower has let go of a channel (T4).
pub(crate) fn check_archived(world: &World, node: usize, archived: &Archived) {
    let Archived { channel, tip, revoked } = *archived;
    let Some(link) = world.links.iter().find(|link| link.channel == channel) else { return };
    let spends = Spends::below(world, tip);
    let tip = spends.tip;
    let is_buried = |height: u32| height + BURIED <= tip + 1;
    let Some((transaction, height)) = spends.of_output(&link.funding) else {
        // One that was never funded may be given up.
        let is_funded = spends.all.contains_key(&link.funding.txid);
        return hold(Oracle::Kept, !is_funded, || {
            format!("{channel} of node {node} is let go of, and is open")
        });
    };
    hold(Oracle::Kept, is_buried(height), || {
        format!("{channel} of node {node} is let go of at {tip}, and its end came at {height}")
    });
    let Some(towers) = world.nodes[node].towers.as_ref() else { return };
    let Some((number, init)) = revealed(world, node, towers, link, transaction) else { return };
    if revoked <= Some(number) {
        return;
    }
    let breach = Breach { towers, node, init, transaction, height };
    for (outpoint, _, fate) in breach.fates(world, &spends) {
        let is_done =
            matches!(fate, Fate::Punished(height) if is_buried(height)) || matches!(fate, Fate::Lost(_));
        hold(Oracle::Kept, is_done, || {
            format!("{channel} of node {node} is let go of at {tip}, and {outpoint} is not buried")
        });
    }
}

/// Looks at what towers have sent to the chain.
pub(crate) fn judge_sent(world: &mut World) {
    for node in 0..world.nodes.len() {
        let Some(towers) = &world.nodes[node].towers else { continue };
        let sent: Vec<(bool, Transaction)> = towers
            .towers
            .iter()
            .flat_map(|tower| {
                let is_full = tower.is_full();
                let mut known = tower.judged.borrow_mut();
                let mut sent = tower.machine.sent.take();
                sent.retain(|transaction| known.insert(transaction.compute_txid()));
                sent.into_iter().map(move |transaction| (is_full, transaction)).collect::<Vec<_>>()
            })
            .collect();
        for (is_full, transaction) in sent {
            judge_one(world, node, is_full, &transaction);
            world.note_offer(node, &transaction);
        }
    }
}

/// A tower in justice mode touches revoked commitments of the peer only, one in full mode publishes nothing that is revoked (L23).
fn judge_one(world: &mut World, node: usize, is_full: bool, transaction: &Transaction) {
    let txid = transaction.compute_txid();
    for spent in transaction.input.iter().map(|input| input.previous_output) {
        if let Some(link) = world.links.iter().find(|link| link.funding == spent) {
            hold(Oracle::Duty, is_full, || {
                format!("a tower of node {node} that may only punish spends {spent} by {txid}")
            });
            let Some(init) = guards(world, node).init(link.channel) else { continue };
            // What both have agreed on has no number.
            let Some(number) = number_of(transaction, init.obscure) else { continue };
            world.promises[node].on_tower_broadcast(node, init.keys, number);
            continue;
        }
        let parent = if is_full { None } else { find(world, &spent.txid) };
        let Some(parent) = parent else { continue };
        let made = |link: &&Link| parent.input.iter().any(|input| input.previous_output == link.funding);
        let Some(link) = world.links.iter().find(made) else { continue };
        let number = revealed(world, node, guards(world, node), link, &parent).map(|(number, _)| number);
        let is_revoked = number.is_some() && number < guards(world, node).revocation(link.channel, None);
        hold(Oracle::Duty, is_revoked, || {
            format!(
                "a tower of node {node} that may only punish spends {spent}, of the peer's commitment {number:?}"
            )
        });
    }
}

fn guards(world: &World, node: usize) -> &Towers {
    world.nodes[node].towers.as_ref().expect("it has sent something")
}

/// A transaction that waits, or is in the chain.
fn find(world: &World, txid: &Txid) -> Option<Transaction> {
    if let Some(entry) = world.chain.mempool_entry(txid) {
        return Some(entry.tx);
    }
    let mut blocks = (1..=world.chain.height()).rev().filter_map(|height| world.chain.block_at(height));
    blocks.find_map(|block| block.txdata.iter().find(|tx| tx.compute_txid() == *txid).cloned())
}

/// Scripts that are the client's and its towers'.
impl Towers {
    fn scripts(&self, node: &crate::node::Node) -> BTreeSet<ScriptBuf> {
        let own = [crate::node::script(node.number), node.coins.script()];
        let lent = self.towers.iter().map(|tower| tower.machine.coins.script());
        own.into_iter().chain(lent).collect()
    }
}
