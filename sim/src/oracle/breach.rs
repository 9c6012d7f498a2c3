//! Revoked commitments that confirmed: whoever published one gets nothing out of it (O1; of a tower it is T1).
//!
//! The signer's book says which commitment it is, the disk of the victim says up to which it can prove that they are revoked,
//! and the chain says where its value went: through second-stage transactions of whatever shape.
use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{OutPoint, Transaction, Txid};

use super::money::SMALL;
use super::{Oracle, hold};
use crate::world::{Link, World};

/// Everything above what may be too small to be claimed was punished.
pub(crate) fn check(world: &World) {
    let ends = world.links.iter().flat_map(|link| [(link, 0), (link, 1)]);
    let fronts = ends.map(|(link, villain)| (link, link.ends[villain], link.ends[1 - villain]));
    let fronts: Vec<(&Link, usize, usize)> = fronts
        .filter(|(_, villain, victim)| world.villains.contains(villain) && world.is_trusty(*victim))
        .collect();
    if fronts.is_empty() {
        return;
    }
    let spends = spends(world);
    for (link, villain, victim) in fronts {
        let Some(commitment) = spends.get(&link.funding) else { continue };
        let signed = world.nodes[villain].keys.book.borrow().signed_ours(&commitment.compute_txid());
        let provable = world.nodes[victim].disk.marks(&link.channel).map(|marks| marks.unrevoked);
        let Some(signed) = signed.filter(|signed| provable.is_some_and(|first| signed.number < first)) else {
            continue;
        };
        let lost = unpunished(commitment, villain, &spends);
        hold(Oracle::Money, lost.is_empty(), || {
            format!(
                "node {victim} leaves node {villain} {lost:?} of its revoked commitment {}",
                signed.number
            )
        });
    }
}

/// What nobody has taken, or the villain has, of a commitment and of what spends it.
fn unpunished(
    commitment: &Transaction,
    villain: usize,
    spends: &BTreeMap<OutPoint, Transaction>,
) -> Vec<(OutPoint, u64)> {
    let (mut lost, mut seen) = (Vec::new(), BTreeSet::<Txid>::new());
    let mut left = vec![commitment];
    let own = crate::node::script(villain);
    while let Some(transaction) = left.pop() {
        let txid = transaction.compute_txid();
        if !seen.insert(txid) {
            continue;
        }
        for (vout, output) in (0..).zip(&transaction.output) {
            let (outpoint, value) = (OutPoint { txid, vout }, output.value.to_sat());
            if value * 1_000 < SMALL {
                continue;
            }
            // All but what goes to somebody's wallet stands behind a script: the commitment's, or a second stage's.
            let is_locked = output.script_pubkey.is_p2wsh();
            match spends.get(&outpoint) {
                Some(next) if is_locked => left.push(next),
                None if is_locked => lost.push((outpoint, value)),
                _ if output.script_pubkey == own => lost.push((outpoint, value)),
                _ => {}
            }
        }
    }
    lost
}

/// What spends each output of the chain.
fn spends(world: &World) -> BTreeMap<OutPoint, Transaction> {
    let mut spends = BTreeMap::new();
    for height in 1..=world.chain.height() {
        let block = world.chain.block_at(height).unwrap();
        for transaction in block.txdata.iter().skip(1) {
            for input in &transaction.input {
                spends.insert(input.previous_output, transaction.clone());
            }
        }
    }
    spends
}
