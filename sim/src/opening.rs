//! Users who open channels in other ways: several with one transaction, with coins of a wallet elsewhere that signs last, and
//! for use before they confirm (scenario 19 of RELIABILITY, as far as there is no interactive construction).
//!
//! # Invariants
//! - a transaction that funds several channels funds all of them or none; what nobody has signed never confirms
use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, TxOut, Witness};
use lightning_channel::channel::OpenOptions;
use lightning_channel::manager::FundingError;
use lightning_traits::id::ChannelId;
use lightning_traits::units::Msat;

use crate::oracle::{Oracle, hold};
use crate::run::Run;
use crate::world::World;

/// Channels that one run opens so at most.
const MAX_TOGETHER: u64 = 8;

/// Channels that a user opens with one transaction.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    node: usize,
    /// Their temporary ids.
    wanted: BTreeSet<ChannelId>,
    /// What their peers have accepted.
    outputs: BTreeMap<ChannelId, TxOut>,
    /// Whether another wallet signs.
    is_outside: bool,
    /// Whether the user thinks better of it when it comes to signing.
    keeps_back: bool,
    /// With all signatures; the node has it so only when they were made.
    signed: Option<Transaction>,
    /// Whether the signatures were handed over.
    is_given: bool,
}

impl Run {
    /// A user opens one to three channels with one transaction.
    pub(crate) fn open_together(&mut self) {
        let node = self.dice.pick(self.world.nodes.len());
        let connected: Vec<usize> = self
            .world
            .wires
            .peers_of(node)
            .into_iter()
            .filter(|peer| self.world.wires.is_up(node, *peer))
            .collect();
        let count = 1 + self.dice.pick(3);
        if connected.is_empty() || self.world.bank.coins() == 0 || self.outcome.opened >= MAX_TOGETHER {
            return;
        }
        let mut batch = Batch {
            node,
            wanted: BTreeSet::new(),
            outputs: BTreeMap::new(),
            is_outside: self.dice.once_in(2),
            keeps_back: self.dice.once_in(5),
            signed: None,
            is_given: false,
        };
        for _ in 0..count {
            let peer = self.world.nodes[self.dice.of(&connected)].id();
            let push = self.dice.of(&[0, 60_000_000]);
            let options = OpenOptions {
                push: Msat::new(push),
                announce: self.dice.once_in(2),
                zero_conf: self.world.shape.is_trusting() && self.dice.once_in(2),
                ..OpenOptions::default()
            };
            let value = Amount::from_sat(self.dice.of(&[200_000, 400_000]));
            let opened = self.world.nodes[node].manager().open_channel_with(peer, value, options);
            self.world.say(|| format!("{node} opens together: {opened:?}"));
            batch.wanted.extend(opened.ok());
        }
        self.outcome.opened += batch.wanted.len() as u64;
        self.world.batches.push(batch);
        self.world.collect(node);
    }
}

impl World {
    /// A peer has accepted a channel that others wait for; whether it is such a one.
    pub(crate) fn fund_together(
        &mut self,
        node: usize,
        temporary: ChannelId,
        value: Amount,
        script: &ScriptBuf,
    ) -> bool {
        let is_it = |batch: &&mut Batch| batch.node == node && batch.wanted.contains(&temporary);
        let Some(batch) = self.batches.iter_mut().find(is_it) else { return false };
        batch.outputs.insert(temporary, TxOut { value, script_pubkey: script.clone() });
        if batch.signed.is_some() || batch.outputs.len() < batch.wanted.len() || self.bank.coins() == 0 {
            return true;
        }
        let signed = self.bank.pay(batch.outputs.values().cloned().collect());
        let mut handed = signed.clone();
        if batch.is_outside {
            handed.input.iter_mut().for_each(|input| input.witness = Witness::new());
        }
        let temporaries: Vec<ChannelId> = batch.outputs.keys().copied().collect();
        let held = self.nodes[node].manager().funding_transaction_for(&temporaries, &handed);
        if held.is_ok() {
            batch.signed = Some(signed);
            batch.is_given = !batch.is_outside;
        }
        self.say(|| format!("{node} funds together: {held:?}"));
        true
    }

    /// The wallet elsewhere may sign now.
    pub(crate) fn sign_elsewhere(&mut self, node: usize, channel: ChannelId, transaction: &Transaction) {
        let txid = transaction.compute_txid();
        let is_it = |batch: &&mut Batch| {
            batch.node == node && batch.signed.as_ref().is_some_and(|signed| signed.compute_txid() == txid)
        };
        let Some(batch) = self.batches.iter_mut().find(is_it) else { return };
        let manager = self.nodes[node].manager();
        let signed = batch.signed.clone().filter(|_| !batch.keeps_back);
        let Some(signed) = signed else {
            let _gone = manager.cancel_funding(channel, "the user thinks better of it");
            return;
        };
        match manager.funding_signed(channel, signed) {
            Ok(()) => batch.is_given = true,
            Err(FundingError::Broken(_)) => {
                // Nobody has the signatures: the user gives its word and keeps it.
                batch.keeps_back = !batch.is_given;
                let _gone = manager.cancel_funding(channel, "another channel has ended");
            }
            // Its channels have ended meanwhile.
            Err(error) => self.say(|| format!("{node} signs in vain: {error}")),
        }
    }

    /// When all is over: all channels of a transaction or none, and nothing that was not signed.
    pub(crate) fn check_batches(&self) {
        for batch in &self.batches {
            let Some(signed) = &batch.signed else { continue };
            let txid = signed.compute_txid();
            let change = OutPoint { txid, vout: signed.output.len() as u32 - 1 };
            let links = self.links.iter().filter(|link| link.funding.txid == txid);
            if self.chain.utxo(&change).is_some() {
                hold(Oracle::Secrets, batch.is_given, || {
                    format!("nobody has signed {txid}, which confirmed")
                });
                hold(Oracle::Money, links.count() == batch.outputs.len(), || {
                    format!("{txid} pays to channels that nobody knows: {batch:?}")
                });
            } else {
                let known = self.nodes[batch.node].manager().list_channels();
                for link in links {
                    let is_left = known.iter().any(|channel| channel.channel == link.channel);
                    hold(Oracle::Live, !is_left, || {
                        format!("{} waits for {txid}, which never came: {batch:?}", link.channel)
                    });
                }
            }
        }
    }
}
