//! What the chain itself may cost beside fees, each by its name, and nothing beyond.
//!
//! - **shaken**: blocks went that were at least six deep, and with them a close or what came of one. HTLCs of that channel were
//!   told as ended then (RELIABILITY rule 4): those that were in flight may be lost, the balance may not.
//! - **forgotten**: the same, a hundred blocks deep or more: nobody watches that channel any more (RELIABILITY rule 6).
//!   All of it may be lost.
//! - **fixed**: room in blocks was short, or the least that is relayed was raised, and a commitment without anchors came in
//!   later than it was sent. Nobody can raise what it pays: the HTLCs of that channel may be lost.
//! - **first feerate**: the same, of a claim or of a commitment with anchors. *The monitor raises fees now: to be narrowed to
//!   commitments of version 2 below the least that is relayed, which no child helps in (seed 477 of chain).*
//! - **dear**: what a claim would have cost when everything was dear, if more than the HTLC was worth; and the fees that
//!   transactions paid then.
//!
//! What a chain may cost that undoes the funding of a channel is nothing: only fundings are undone that no side takes for deep.
use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{OutPoint, Transaction};
use lightning_traits::id::ChannelId;
use lightning_traits::payment::PaymentHash;

use crate::tree::Offer;
use crate::world::{Link, World};

/// Weight units of a claim at most: second-stage with the coins that pay for it.
const CLAIM_WEIGHT: u64 = 1_300;

/// What may be lost in a run.
#[derive(Debug, Default)]
pub(crate) struct Excuse {
    nodes: BTreeMap<usize, i128>,
    hashes: BTreeSet<PaymentHash>,
    /// HTLCs up to this many msat may have been too small for what room cost.
    pub(crate) dear: u64,
}

impl Excuse {
    /// What may be lost in this one.
    pub(crate) fn new(world: &World) -> Self {
        let mut excuse = Self::default();
        if !world.tree.is_kept {
            return excuse;
        }
        let mut channels: BTreeSet<ChannelId> = world.tree.shaken.keys().copied().collect();
        if world.market.was_short() {
            excuse.dear = u64::from(world.market.dearest) * CLAIM_WEIGHT;
            channels.extend(late(world, is_fixed));
            channels.extend(late(world, is_at_first_feerate));
            excuse.add_fees(world);
        }
        for link in &world.links {
            let is_gone = world.is_forgotten(&link.channel);
            let in_flight = world.htlcs.in_flight(link.channel);
            let of_link: Vec<_> = in_flight
                .filter(|(_, msat)| channels.contains(&link.channel) || *msat <= excuse.dear)
                .collect();
            let sum: u64 = of_link.iter().map(|(_, msat)| msat).sum();
            for end in link.ends {
                excuse.add(end, if is_gone { link.capacity.to_sat() * 1_000 } else { sum });
            }
            excuse.hashes.extend(of_link.into_iter().map(|(hash, _)| hash));
        }
        excuse
    }

    /// What a node may have lost, in msat.
    pub(crate) fn of_node(&self, node: usize) -> i128 {
        self.nodes.get(&node).copied().unwrap_or_default()
    }

    /// Whether payer and payee may have been told different things.
    pub(crate) fn covers(&self, hash: &PaymentHash) -> bool {
        self.hashes.contains(hash)
    }

    fn add(&mut self, node: usize, msat: u64) {
        *self.nodes.entry(node).or_default() += i128::from(msat);
    }

    /// What commitments, and the claims of each node, have paid.
    fn add_fees(&mut self, world: &World) {
        for (transaction, _) in transactions(world) {
            let out: u64 = transaction.output.iter().map(|output| output.value.to_sat()).sum();
            if let Some(link) = world.links.iter().find(|link| spends(&transaction, link.funding)) {
                let fee = (link.capacity.to_sat() - out) * 1_000;
                link.ends.into_iter().for_each(|end| self.add(end, fee));
                continue;
            }
            let txid = transaction.compute_txid();
            let offers =
                transaction.input.iter().filter_map(|input| world.tree.offers.get(&input.previous_output));
            let sender = offers.flatten().find(|offer| offer.txid == txid).map(|offer| offer.node);
            let Some(sender) = sender else { continue };
            let values = transaction.input.iter().filter_map(|input| world.output(&input.previous_output));
            let fee = values.map(|output| output.value.to_sat()).sum::<u64>().saturating_sub(out);
            self.add(sender, fee * 1_000);
        }
    }
}

fn spends(transaction: &Transaction, outpoint: OutPoint) -> bool {
    transaction.input.iter().any(|input| input.previous_output == outpoint)
}

/// All transactions of the chain, and their heights.
fn transactions(world: &World) -> impl Iterator<Item = (Transaction, u32)> {
    (1..=world.chain.height()).flat_map(|height| {
        let block = world.chain.block_at(height).unwrap();
        let all: Vec<_> =
            block.txdata.iter().skip(1).map(|transaction| (transaction.clone(), height)).collect();
        all
    })
}

/// Whether both sides have signed what the transaction pays, and nothing can be added to it.
fn is_fixed(world: &World, link: &Link, offer: &Offer, spent: OutPoint) -> bool {
    let is_plain = link.ends.iter().any(|end| world.shape.is_plain(*end));
    let is_second_stage = || {
        let mut inputs = offer.transaction.input.iter().filter(|input| input.previous_output == spent);
        inputs.any(|input| input.witness.len() == 5)
    };
    is_plain && (spent == link.funding || is_second_stage())
}

fn is_at_first_feerate(world: &World, link: &Link, offer: &Offer, spent: OutPoint) -> bool {
    !is_fixed(world, link, offer, spent)
}

/// Channels of which something was spent later than somebody wanted to spend it, while room was short, by a transaction of this
/// kind.
fn late(world: &World, is_kind: fn(&World, &Link, &Offer, OutPoint) -> bool) -> BTreeSet<ChannelId> {
    let mut late = BTreeSet::new();
    for (transaction, height) in transactions(world) {
        for input in &transaction.input {
            let spent = input.previous_output;
            let Some(offers) = world.tree.offers.get(&spent) else { continue };
            let Some(link) =
                world.channel_of(&spent).and_then(|id| world.links.iter().find(|l| l.channel == id))
            else {
                continue;
            };
            let txid = transaction.compute_txid();
            // What was sent at a tip can be in the next block.
            let waited = |offer: &&Offer| {
                let last = if offer.txid == txid { height.saturating_sub(1) } else { height };
                world.market.is_short_between(offer.since, last)
            };
            if offers.iter().filter(waited).any(|offer| is_kind(world, link, offer, spent)) {
                late.insert(link.channel);
            }
        }
    }
    late
}
