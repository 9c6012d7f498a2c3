//! A villain heaps second-stage transactions of a revoked commitment up in one: many inputs and outputs, a stranger among them,
//! in any order, and a miner takes it before anybody else's claims (RELIABILITY D6, D10).
use std::collections::BTreeMap;

use bitcoin::{EcdsaSighashType, OutPoint, ScriptBuf, Transaction, TxIn, TxOut, Witness};
use lightning_traits::interface::{
    ChannelSigner as _, CoinSource as _, InputToSign, KeysInterface as _, SigningKey,
};

use crate::act::MAX_WAR_BLOCKS;
use crate::bank::nobody;
use crate::clash::some;
use crate::dice::Dice;
use crate::run::Run;
use crate::script::{Move, Step};
use crate::world::{Link, World};

/// States back from which one is published.
const BACK: usize = 8;
/// What the peer has signed for one input and one output alone ends with: SIGHASH_SINGLE and SIGHASH_ANYONECANPAY.
const ANYONE: u8 = 0x83;
/// Where a second-stage witness has the signature of the side that publishes it (BOLT 3).
const OWN_SIGNATURE: usize = 2;

/// Scenario 7: a villain collects HTLCs of which it knows the preimages, revokes the commitments that have them, publishes one, and
/// then blocks come and go.
pub(crate) fn breaches(seed: u64) -> Vec<Step> {
    const COLLECTING: &[(Move, u32)] = &[(Move::Drip, 6), (Move::Twins, 2)];
    const MOVING: &[(Move, u32)] = &[(Move::Pay, 6), (Move::Drip, 2), (Move::Decide, 1)];
    const BETWEEN: &[(Move, u32)] = &[
        (Move::Deliver, 300),
        (Move::Write, 60),
        (Move::Process, 35),
        (Move::React, 35),
        (Move::Follow, 20),
        (Move::Connect, 12),
        (Move::Mood, 4),
        (Move::Crash, 4),
        (Move::Cut, 4),
    ];
    const CHAIN: &[(Move, u32)] = &[
        (Move::Follow, 60),
        (Move::Mine, 25),
        (Move::React, 25),
        (Move::Process, 25),
        (Move::Deliver, 40),
        (Move::Reorg, 12),
        (Move::Bury, 5),
        (Move::Crash, 10),
        (Move::Connect, 6),
        (Move::Tick, 3),
        (Move::Half, 1),
        (Move::Publish, 1),
    ];
    let (mut dice, mut steps) = (Dice::new(seed), Vec::new());
    for _ in 0..1 + dice.roll(2) {
        let count = 1 + dice.roll(3);
        some(COLLECTING, count, &mut steps, &mut dice);
        some(&[(Move::Settle, 1)], 1, &mut steps, &mut dice);
        let (count, moves) = (dice.roll(3), dice.roll(50));
        some(MOVING, count, &mut steps, &mut dice);
        some(BETWEEN, moves, &mut steps, &mut dice);
        if dice.once_in(2) {
            some(&[(Move::Settle, 1)], 1, &mut steps, &mut dice);
        }
        let (heaps, moves) = (1 + dice.roll(2), 10 + dice.roll(50));
        for _ in 0..heaps {
            some(&[(Move::Heap, 1)], 1, &mut steps, &mut dice);
            some(CHAIN, moves, &mut steps, &mut dice);
        }
    }
    steps
}

impl Run {
    /// A villain with several HTLCs that were offered to it, and the state that it publishes: a little older than the last.
    fn breach(&mut self) -> Option<(usize, Link, usize)> {
        let world = &self.world;
        let ends = world.links.iter().flat_map(|link| link.ends.map(|villain| (villain, *link)));
        let is_rich = |(villain, link): &(usize, Link)| {
            let channels = world.nodes[*villain].manager().list_channels();
            let funded = channels
                .into_iter()
                .find(|known| known.channel == link.channel)
                .and_then(|known| known.funded);
            let against_villains = link.ends.iter().all(|end| world.villains.contains(end));
            !against_villains && funded.is_some_and(|funded| funded.incoming_htlcs > 1)
        };
        let of_villains = ends.filter(|(villain, _)| world.villains.contains(villain));
        let rich: Vec<(usize, Link)> = of_villains.filter(is_rich).collect();
        let (villain, link) = self.dice.some(&rich)?;
        let back = 1 + self.dice.pick(BACK);
        Some((villain, link, self.world.mischief.states(villain, link.channel).saturating_sub(1 + back)))
    }

    /// A villain publishes a state that is old, and takes several of its HTLCs with one transaction.
    pub(crate) fn heap(&mut self) {
        let Some((villain, link, state)) = self.breach() else { return };
        let states = self.world.mischief.states(villain, link.channel);
        let is_there = self.world.chain.utxo(&link.funding).is_some();
        if states < 2 || !is_there || self.world.chain.height() + 2 > self.start + MAX_WAR_BLOCKS {
            return;
        }
        self.world.conspire();
        self.world.publish(villain, link.channel, state, true);
        self.outcome.published += 1;
        self.world.mischief.haunt();
        let stages = self.world.mischief.latest_sent().into_iter().filter(is_for_anyone);
        let stages: BTreeMap<OutPoint, Transaction> =
            stages.map(|stage| (stage.input[0].previous_output, stage)).collect();
        let heap = self.heap_up(stages.into_values().collect());
        self.world.say(|| format!("{villain} breaches {}", link.channel));
        if let Some(heap) = heap.and_then(|heap| self.world.sign_heap(villain, heap)) {
            let count = heap.input.len();
            let mined = self.world.chain.mine_transactions(vec![heap], &nobody());
            self.world.say(|| format!("{villain} takes HTLCs with a heap of {count} inputs: {mined:?}"));
            self.outcome.tricks += u64::from(mined.is_ok());
            self.world.note_settled();
        }
        self.keep_up();
    }

    /// One transaction of several, each input still beside its output; `None` of fewer than two.
    fn heap_up(&mut self, mut stages: Vec<Transaction>) -> Option<Transaction> {
        let lock_time = stages.first()?.lock_time;
        stages.retain(|stage| stage.lock_time == lock_time);
        let mut strangers: Vec<TxIn> = stages.first()?.input[1..].to_vec();
        let change = stages.first()?.output.get(1).cloned();
        if stages.len() < 2 {
            return None;
        }
        let mut pairs: Vec<(TxIn, TxOut)> = Vec::new();
        while !stages.is_empty() {
            let stage = stages.swap_remove(self.dice.pick(stages.len()));
            pairs.push((stage.input[0].clone(), stage.output[0].clone()));
        }
        if let (Some(change), Some(coin)) = (change, strangers.pop()) {
            pairs.insert(self.dice.pick(pairs.len() + 1), (coin, change));
        }
        let (mut input, output): (Vec<TxIn>, Vec<TxOut>) = pairs.into_iter().unzip();
        input.append(&mut strangers);
        Some(Transaction { version: bitcoin::transaction::Version::TWO, lock_time, input, output })
    }
}

/// Whether the peer's signature allows more inputs and outputs.
fn is_for_anyone(stage: &Transaction) -> bool {
    let witness = stage.input.first().map(|input| &input.witness);
    let theirs = witness.filter(|witness| witness.len() == 5).and_then(|witness| witness.nth(1));
    theirs.is_some_and(|signature| signature.last() == Some(&ANYONE))
}

impl World {
    /// Villains tell each other what they ask to be paid for.
    fn conspire(&mut self) {
        for villain in &self.villains {
            self.nodes[*villain].user.held.values().for_each(|preimage| self.mischief.learn(preimage));
        }
    }

    /// Signs every input of the villain's anew.
    fn sign_heap(&self, villain: usize, heap: Transaction) -> Option<Transaction> {
        let node = &self.nodes[villain];
        let is_stage = |input: &&TxIn| input.witness.len() == 5;
        let commitment = heap.input.iter().find(is_stage)?.previous_output.txid;
        let signed = node.keys.book.borrow().signed_ours(&commitment)?;
        node.keys.is_slow.set(false);
        let signer = node.keys.signer(&signed.keys);
        let point = signer.commitment_point(signed.number).ok()?;
        let mut heap = node.coins.sign(heap)?;
        for index in 0..heap.input.len() {
            let witness = heap.input[index].witness.to_vec();
            let Some(script) = witness.last().filter(|_| witness.len() == 5) else { continue };
            let value = self.output(&heap.input[index].previous_output)?.value;
            let signature = signer.sign_input(&InputToSign {
                transaction: &heap,
                input: index,
                value,
                script: &ScriptBuf::from_bytes(script.clone()),
                sighash: EcdsaSighashType::All,
                key: &SigningKey::Htlc(point),
            });
            let mut witness = witness;
            witness[OWN_SIGNATURE] = bitcoin::ecdsa::Signature::sighash_all(signature.ok()?).to_vec();
            heap.input[index].witness = Witness::from_slice(&witness);
        }
        Some(heap)
    }
}
