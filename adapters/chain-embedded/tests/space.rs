//! Little room: blocks that hold little, mempools that are full, packages that replace.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod funds;

use bitcoin::{OutPoint, Transaction, TxOut, Txid};
use funds::*;
use lightning_chain_embedded::{BlockSpace, EmbeddedChain, PackageError, RejectReason};

const COIN: u64 = 50_0000_0000;

fn waiting(chain: &EmbeddedChain) -> Vec<Txid> {
    chain.mempool().iter().map(|entry| entry.tx.compute_txid()).collect()
}

/// Pays this many satoshi per 1000 virtual bytes.
fn at_rate(coin: &(OutPoint, TxOut), number: u8, to: u8, rate: u64) -> Transaction {
    let size = spend(coin, number, &p2wpkh(to), 1_000).vsize() as u64;
    spend(coin, number, &p2wpkh(to), (rate * size).div_ceil(1_000))
}

#[test]
fn what_pays_less_than_the_rest_of_the_world_waits_unless_a_child_pays() {
    let Funds { chain, coins } = funded(3);
    let rates = [2_000, 20_000, 4_000];
    let all: Vec<Transaction> =
        coins.iter().zip(rates).map(|(coin, rate)| at_rate(coin, 1, 2, rate)).collect();
    for tx in &all {
        chain.submit(tx).unwrap();
    }
    chain.set_block_space(BlockSpace { min_fee: 10_000, ..BlockSpace::default() });
    chain.mine(3, &p2wpkh(9));
    assert_eq!(waiting(&chain), ids(&[all[0].clone(), all[2].clone()]));
    let child = at_rate(&coin_of(&all[2], 0), 2, 3, 30_000);
    chain.submit(&child).unwrap();
    chain.mine(1, &p2wpkh(9));
    assert_eq!(waiting(&chain), ids(&all[..1]));
    chain.set_block_space(BlockSpace::default());
    chain.mine(1, &p2wpkh(9));
    assert!(chain.mempool().is_empty());
}

#[test]
fn a_small_block_takes_the_best_first() {
    let Funds { chain, coins } = funded(4);
    let rates = [3_000, 9_000, 5_000, 7_000];
    let all: Vec<Transaction> =
        coins.iter().zip(rates).map(|(coin, rate)| at_rate(coin, 1, 2, rate)).collect();
    for tx in &all {
        chain.submit(tx).unwrap();
    }
    // Room for one and a half.
    let weight = all[0].weight().to_wu() * 3 / 2;
    chain.set_block_space(BlockSpace { weight, min_fee: 0 });
    for best in [1, 3, 2, 0] {
        assert!(chain.mempool_entry(&all[best].compute_txid()).is_some());
        chain.mine(1, &p2wpkh(9));
        assert!(chain.mempool_entry(&all[best].compute_txid()).is_none());
        assert!(chain.utxo(&coin_of(&all[best], 0).0).is_some());
    }
    assert_eq!(chain.block_space().weight, weight);
}

#[test]
fn a_full_mempool_lets_go_of_the_worst_families() {
    let Funds { chain, coins } = funded(3);
    let poor = at_rate(&coins[0], 1, 2, 2_000);
    let heir = at_rate(&coin_of(&poor, 0), 2, 3, 1_500);
    let carried = at_rate(&coins[1], 1, 2, 2_000);
    let carrier = at_rate(&coin_of(&carried, 0), 2, 3, 30_000);
    let rich = at_rate(&coins[2], 1, 2, 11_000);
    for tx in [&poor, &heir, &carried, &carrier, &rich] {
        chain.submit(tx).unwrap();
    }
    let gone = chain.fill_mempool(10_000);
    assert_eq!(gone.len(), 2);
    assert_eq!(waiting(&chain), ids(&[carried, carrier, rich]));
    assert!(matches!(chain.submit(&poor), Err(RejectReason::MempoolMinFee { .. })));
    assert!(chain.fill_mempool(0).is_empty());
    chain.submit(&poor).unwrap();
}

#[test]
fn a_child_pays_into_a_full_mempool_whatever_its_version_but_not_below_the_least_fee() {
    let Funds { chain, coins } = funded(2);
    chain.fill_mempool(10_000);
    let parent = at_rate(&coins[0], 1, 2, 1_000);
    let coin = coin_of(&parent, 0);
    let little = at_rate(&coin, 2, 3, 12_000);
    let enough = at_rate(&coin, 2, 3, 25_000);
    assert!(matches!(chain.submit(&parent), Err(RejectReason::MempoolMinFee { .. })));
    assert!(matches!(
        chain.submit_package(&[parent.clone(), little]),
        Err(PackageError::Transaction { reason: RejectReason::MempoolMinFee { .. }, .. })
    ));
    let package = [parent, enough];
    chain.submit_package(&package).unwrap();
    assert_eq!(waiting(&chain), ids(&package));
    // What came in as a package comes back after a reorganisation, though the parent alone pays too little.
    chain.mine(1, &p2wpkh(9));
    chain.disconnect_tip();
    assert_eq!(waiting(&chain), ids(&package));
    let free = spend(&coins[1], 1, &p2wpkh(2), 0);
    let carrier = at_rate(&coin_of(&free, 0), 2, 3, 90_000);
    assert!(matches!(
        chain.submit_package(&[free, carrier]),
        Err(PackageError::Transaction { reason: RejectReason::MinRelayFee { .. }, .. })
    ));
}

#[test]
fn packages_replace_as_one_parent_with_one_child() {
    let Funds { chain, coins } = funded(3);
    let old = spend(&coins[0], 1, &p2wpkh(2), 20_000);
    chain.submit(&old).unwrap();
    let refused = |package: &[Transaction], why| {
        assert!(
            matches!(chain.submit_package(package),
                Err(PackageError::Transaction { reason: RejectReason::PackageReplacement(reason), .. }) if reason == why),
            "{why}"
        );
    };
    // Two parents.
    chain.fill_mempool(5_000);
    let parents = [spend(&coins[0], 1, &p2wpkh(3), 200), spend(&coins[1], 1, &p2wpkh(3), 200)];
    let inputs = parents.iter().map(|tx| input(coin_of(tx, 0).0, bitcoin::Sequence::MAX)).collect();
    let mut child = unsigned(inputs, vec![output(2 * COIN - 500_000, &p2wpkh(4))]);
    for (at, parent) in parents.iter().enumerate() {
        sign_p2wpkh(&mut child, at, &coin_of(parent, 0).1, 3);
    }
    let [first, second] = parents;
    refused(&[first, second, child], "package must be 1-parent-1-child");
    chain.fill_mempool(0);
    // A parent that waits already beside the one that replaces.
    let waits = spend(&coins[1], 1, &p2wpkh(3), 20_000);
    chain.submit(&waits).unwrap();
    let parent = spend(&coins[0], 1, &p2wpkh(3), 200);
    let inputs = [&parent, &waits].map(|tx| input(coin_of(tx, 0).0, bitcoin::Sequence::MAX)).to_vec();
    let mut child = unsigned(inputs, vec![output(2 * COIN - 500_000, &p2wpkh(4))]);
    sign_p2wpkh(&mut child, 0, &coin_of(&parent, 0).1, 3);
    sign_p2wpkh(&mut child, 1, &coin_of(&waits, 0).1, 3);
    refused(&[parent, child], "new transaction cannot have mempool ancestors");
    // A child that pays worse than its parent.
    let parent = spend(&coins[0], 1, &p2wpkh(3), 19_000);
    let child = spend(&coin_of(&parent, 0), 3, &p2wpkh(4), 18_900);
    refused(&[parent, child], "package feerate is less than or equal to parent feerate");
    assert_eq!(waiting(&chain), ids(&[old, waits]), "nothing changed");
}
