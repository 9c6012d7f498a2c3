//! The mempool's policy: fees, dust, forms, replacement, packages, version 3.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod funds;

use bitcoin::script::Builder;
use bitcoin::secp256k1::ecdsa::Signature;
use bitcoin::transaction::Version;
use bitcoin::{Amount, ScriptBuf, Sequence, Transaction, Txid, Witness};
use funds::*;
use lightning_chain_embedded::{EmbeddedChain, PackageError, RejectReason};

const FEE: u64 = 10_000;

fn waiting(chain: &EmbeddedChain) -> Vec<Txid> {
    chain.mempool().iter().map(|entry| entry.tx.compute_txid()).collect()
}

fn anchor() -> ScriptBuf {
    ScriptBuf::from_bytes(vec![0x51, 0x02, 0x4e, 0x73])
}

/// Spends `coin` of key `number` by version `version` to `outputs`.
fn spend_to(
    coin: &(bitcoin::OutPoint, bitcoin::TxOut),
    number: u8,
    version: Version,
    outputs: Vec<bitcoin::TxOut>,
) -> Transaction {
    let mut tx = unsigned(vec![input(coin.0, Sequence::MAX)], outputs);
    tx.version = version;
    sign_p2wpkh(&mut tx, 0, &coin.1, number);
    tx
}

#[test]
fn one_satoshi_a_virtual_byte_is_the_least() {
    let Funds { chain, coins } = funded(1);
    let size = spend(&coins[0], 1, &p2wpkh(2), FEE).vsize() as u64;
    let cheap = spend(&coins[0], 1, &p2wpkh(2), size - 1);
    let (fee, needed) = (Amount::from_sat(size - 1), Amount::from_sat(size));
    assert_eq!(chain.submit(&cheap), Err(RejectReason::MinRelayFee { fee, needed }));
    let enough = spend(&coins[0], 1, &p2wpkh(2), size);
    assert_eq!(chain.test(&enough), Ok((needed, size)));
    assert!(chain.mempool().is_empty(), "a test leaves nothing");
    chain.submit(&enough).unwrap();
    assert_eq!(chain.submit(&enough), Err(RejectReason::AlreadyInMempool));
}

#[test]
fn dust_depends_on_the_output_type() {
    let Funds { chain, coins } = funded(1);
    for (script, least) in
        [(p2wpkh(2), 294), (p2tr(2), 330), (multisig(1, 2).to_p2wsh(), 330), (anchor(), 240)]
    {
        let with = |value: u64| {
            let rest = 50_0000_0000 - FEE - value;
            spend_to(&coins[0], 1, Version::TWO, vec![output(value, &script), output(rest, &p2wpkh(3))])
        };
        let value = Amount::from_sat(least - 1);
        assert_eq!(chain.test(&with(least - 1)), Err(RejectReason::Dust { output: 0, value }));
        chain.test(&with(least)).unwrap();
    }
}

#[test]
fn forms_that_nodes_do_not_relay_are_refused_but_may_be_mined() {
    let Funds { chain, coins } = funded(1);
    let refused = |tx: &Transaction, reason| {
        assert_eq!(chain.submit(tx), Err(RejectReason::NonStandard(reason)));
    };
    refused(&spend_to(&coins[0], 1, Version(4), vec![output(1000, &p2wpkh(2))]), "version");
    let bare = Builder::new().push_slice([7; 20]).into_script();
    let odd = spend_to(&coins[0], 1, Version::TWO, vec![output(1000, &bare)]);
    refused(&odd, "scriptpubkey");
    let long = ScriptBuf::new_op_return(<&bitcoin::script::PushBytes>::try_from(&[7; 81][..]).unwrap());
    refused(&spend_to(&coins[0], 1, Version::TWO, vec![output(0, &long)]), "datacarrier");
    let fits = ScriptBuf::new_op_return(<&bitcoin::script::PushBytes>::try_from(&[7; 80][..]).unwrap());
    chain.test(&spend_to(&coins[0], 1, Version::TWO, vec![output(0, &fits)])).unwrap();
    let many = vec![output(1000, &p2wpkh(2)); 3300];
    refused(&spend_to(&coins[0], 1, Version::TWO, many), "tx-size");
    chain.mine_transactions(vec![odd], &p2wpkh(9)).unwrap();
}

#[test]
fn signatures_with_high_s_do_not_relay() {
    let Funds { chain, coins } = funded(1);
    let mut tx = spend(&coins[0], 1, &p2wpkh(2), FEE);
    let mut witness = tx.input[0].witness.to_vec();
    let mut compact = Signature::from_der(&witness[0][..witness[0].len() - 1]).unwrap().serialize_compact();
    // n - s is as valid as s.
    let s = bitcoin::secp256k1::SecretKey::from_slice(&compact[32..]).unwrap().negate();
    compact[32..].copy_from_slice(&s.secret_bytes());
    witness[0] = Signature::from_compact(&compact).unwrap().serialize_der().to_vec();
    witness[0].push(1);
    tx.input[0].witness = Witness::from_slice(&witness);
    assert!(
        matches!(chain.submit(&tx), Err(RejectReason::NonStandard(reason)) if reason.contains("S value"))
    );
    chain.mine_transactions(vec![tx], &p2wpkh(9)).unwrap();
}

#[test]
fn replacement_pays_for_what_it_evicts_and_for_itself() {
    let Funds { chain, coins } = funded(1);
    let first = spend(&coins[0], 1, &p2wpkh(2), FEE);
    let child = spend(&coin_of(&first, 0), 2, &p2wpkh(3), FEE);
    chain.submit(&first).unwrap();
    chain.submit(&child).unwrap();
    let size = first.vsize() as u64;
    let short = spend(&coins[0], 1, &p2wpkh(4), 2 * FEE + size - 1);
    let (fee, needed) = (Amount::from_sat(2 * FEE + size - 1), Amount::from_sat(2 * FEE + size));
    assert_eq!(chain.submit(&short), Err(RejectReason::InsufficientFee { fee, needed }));
    let enough = spend(&coins[0], 1, &p2wpkh(4), 2 * FEE + size);
    chain.submit(&enough).unwrap();
    assert_eq!(waiting(&chain), vec![enough.compute_txid()], "the child went with its parent");
}

#[test]
fn a_replacement_may_not_lower_the_rate() {
    let Funds { chain, coins } = funded(1);
    let small = spend(&coins[0], 1, &p2wpkh(2), FEE);
    chain.submit(&small).unwrap();
    // Twice the fee at many times the size.
    let mut outputs = vec![output(1000, &p2wpkh(3)); 200];
    outputs.push(output(50_0000_0000 - 200_000 - 2 * FEE, &p2wpkh(3)));
    let big = spend_to(&coins[0], 1, Version::TWO, outputs);
    assert!(matches!(chain.submit(&big), Err(RejectReason::InsufficientFee { .. })));
}

#[test]
fn a_replacement_adds_no_unconfirmed_input_and_spends_no_victim() {
    let Funds { chain, coins } = funded(2);
    let victim = spend(&coins[0], 1, &p2wpkh(2), FEE);
    let other = spend(&coins[1], 1, &p2wpkh(3), FEE);
    chain.submit(&victim).unwrap();
    chain.submit(&other).unwrap();
    let join = |second: &(bitcoin::OutPoint, bitcoin::TxOut), number: u8| {
        let inputs = vec![input(coins[0].0, Sequence::MAX), input(second.0, Sequence::MAX)];
        let mut tx = unsigned(inputs, vec![output(50_0000_0000, &p2wpkh(4))]);
        sign_p2wpkh(&mut tx, 0, &coins[0].1, 1);
        sign_p2wpkh(&mut tx, 1, &second.1, number);
        tx
    };
    let unconfirmed = coin_of(&other, 0);
    let adds = join(&unconfirmed, 3);
    assert_eq!(chain.submit(&adds), Err(RejectReason::ReplacementAddsUnconfirmed(unconfirmed.0)));
    let victims = join(&coin_of(&victim, 0), 2);
    assert_eq!(chain.submit(&victims), Err(RejectReason::SpendsConflicting(victim.compute_txid())));
}

#[test]
fn chains_are_25_long() {
    let Funds { chain, coins } = funded(1);
    let mut coin = coins[0].clone();
    for _ in 0..25 {
        let tx = spend(&coin, 1, &p2wpkh(1), FEE);
        chain.submit(&tx).unwrap();
        coin = coin_of(&tx, 0);
    }
    let longer = spend(&coin, 1, &p2wpkh(1), FEE);
    assert!(matches!(chain.submit(&longer), Err(RejectReason::TooLongChain(_))));
    chain.mine(1, &p2wpkh(9));
    chain.submit(&longer).unwrap();
}

#[test]
fn a_child_pays_for_a_parent_below_the_minimum() {
    let Funds { chain, coins } = funded(1);
    let truc = Version(3);
    let pay = |coin, number, value| spend_to(coin, number, truc, vec![output(value, &p2wpkh(2))]);
    let parent = pay(&coins[0], 1, 50_0000_0000);
    assert!(matches!(chain.submit(&parent), Err(RejectReason::MinRelayFee { .. })));
    let coin = coin_of(&parent, 0);
    let poor = pay(&coin, 2, 50_0000_0000 - 150);
    let child = pay(&coin, 2, 50_0000_0000 - FEE);
    assert_eq!(chain.submit(&child), Err(RejectReason::MissingOrSpent(child.input[0].previous_output)));
    assert!(matches!(
        chain.submit_package(&[parent.clone(), poor]),
        Err(PackageError::Transaction { reason: RejectReason::MinRelayFee { .. }, .. })
    ));
    let package = [parent, child];
    assert_eq!(chain.submit_package(&package), Ok(ids(&package)));
    assert_eq!(chain.submit_package(&package), Ok(ids(&package)), "repeating is no error");
    chain.mine(1, &p2wpkh(9));
    assert!(chain.utxo(&coin_of(&package[1], 0).0).is_some());
    chain.disconnect_tip();
    assert_eq!(waiting(&chain), ids(&package), "a reorganisation does not ask for the parent's fee again");
}

#[test]
fn only_version_3_may_leave_the_fee_to_its_child() {
    let Funds { chain, coins } = funded(1);
    let parent = spend(&coins[0], 1, &p2wpkh(2), 0);
    let child = spend(&coin_of(&parent, 0), 2, &p2wpkh(3), FEE);
    assert!(matches!(
        chain.submit_package(&[parent, child]),
        Err(PackageError::Transaction { reason: RejectReason::MinRelayFee { .. }, .. })
    ));
}

#[test]
fn a_package_replaces_as_a_whole() {
    let Funds { chain, coins } = funded(1);
    let old = spend(&coins[0], 1, &p2wpkh(2), FEE);
    chain.submit(&old).unwrap();
    let parent = spend(&coins[0], 1, &p2wpkh(3), 200);
    let child = spend(&coin_of(&parent, 0), 3, &p2wpkh(4), 3 * FEE);
    let package = [parent, child];
    chain.submit_package(&package).unwrap();
    assert_eq!(waiting(&chain), ids(&package));
}

#[test]
fn packages_are_one_child_with_its_parents() {
    let Funds { chain, coins } = funded(2);
    let one = spend(&coins[0], 1, &p2wpkh(2), FEE);
    let two = spend(&coins[1], 1, &p2wpkh(2), FEE);
    let shape = |reason| Err(PackageError::Shape(reason));
    assert_eq!(chain.submit_package(&[]), shape("package-empty"));
    assert_eq!(chain.submit_package(&[one.clone(), two]), shape("package-not-child-with-parents"));
    assert_eq!(chain.submit_package(&[one.clone(), one]), shape("package-contains-duplicates"));
}

#[test]
fn version_3_is_one_parent_with_one_small_child_that_can_be_replaced() {
    let Funds { chain, coins } = funded(2);
    let truc = Version(3);
    let half = 25_0000_0000 - FEE;
    let outputs = vec![output(half, &p2wpkh(2)), output(half, &p2wpkh(3))];
    let parent = spend_to(&coins[0], 1, truc, outputs);
    chain.submit(&parent).unwrap();
    let (left, right) = (coin_of(&parent, 0), coin_of(&parent, 1));
    let old_version = spend(&left, 2, &p2wpkh(4), FEE);
    assert!(matches!(chain.submit(&old_version), Err(RejectReason::Truc(_))));
    let big = spend_to(&left, 2, truc, vec![output(1000, &p2wpkh(4)); 40]);
    assert!(matches!(chain.submit(&big), Err(RejectReason::Truc(_))));
    let child = |coin, number, fee| spend_to(coin, number, truc, vec![output(half - fee, &p2wpkh(4))]);
    let first = child(&left, 2, FEE);
    chain.submit(&first).unwrap();
    let grandchild = spend_to(&coin_of(&first, 0), 4, truc, vec![output(1000, &p2wpkh(5))]);
    assert!(matches!(chain.submit(&grandchild), Err(RejectReason::Truc(_))));
    let cheap = child(&right, 3, FEE);
    assert!(matches!(chain.submit(&cheap), Err(RejectReason::InsufficientFee { .. })));
    let better = child(&right, 3, 3 * FEE);
    chain.submit(&better).unwrap();
    assert_eq!(waiting(&chain), vec![parent.compute_txid(), better.compute_txid()]);
}

#[test]
fn a_zero_fee_commitment_with_an_anchor_of_dust_goes_with_its_child_only() {
    let Funds { chain, coins } = funded(2);
    let value = 50_0000_0000;
    let outputs = vec![output(value, &p2wpkh(2)), output(0, &anchor())];
    let parent = spend_to(&coins[0], 1, Version(3), outputs);
    assert!(matches!(chain.submit(&parent), Err(RejectReason::Dust { output: 1, .. })));
    let pay = |with_anchor: bool| {
        let mut inputs = vec![input(coins[1].0, Sequence::MAX)];
        inputs.push(input(coin_of(&parent, u32::from(with_anchor)).0, Sequence::MAX));
        let total = if with_anchor { value } else { 2 * value };
        let mut tx = unsigned(inputs, vec![output(total - FEE, &p2wpkh(5))]);
        tx.version = Version(3);
        sign_p2wpkh(&mut tx, 0, &coins[1].1, 1);
        if !with_anchor {
            sign_p2wpkh(&mut tx, 1, &parent.output[0], 2);
        }
        tx
    };
    assert!(matches!(
        chain.submit_package(&[parent.clone(), pay(false)]),
        Err(PackageError::Transaction { reason: RejectReason::EphemeralUnspent, .. })
    ));
    let package = [parent.clone(), pay(true)];
    chain.submit_package(&package).unwrap();
    assert_eq!(waiting(&chain), ids(&package));
    chain.mine(1, &p2wpkh(9));
    assert!(chain.utxo(&coin_of(&parent, 0).0).is_some());
}

#[test]
fn full_blocks_take_the_best_rates_with_their_ancestors() {
    let Funds { chain, coins } = funded(1);
    let fan: Vec<_> = (0..60).map(|_| output(8000_0000, &p2wpkh(1))).collect();
    let fan_out = spend_to(&coins[0], 1, Version::TWO, fan);
    chain.mine_transactions(vec![fan_out.clone()], &p2wpkh(9)).unwrap();
    // Some 390,000 weight units each: ten fill a block.
    let heavy = |vout: u32, fee: u64| {
        let coin = coin_of(&fan_out, vout);
        let mut outputs = vec![output(1000, &p2wpkh(3)); 3130];
        outputs.push(output(8000_0000 - 3_130_000 - fee, &p2wpkh(1)));
        spend_to(&coin, 1, Version::TWO, outputs)
    };
    let all: Vec<Transaction> = (0..12).map(|i| heavy(i, 200_000 + u64::from(i) * 1000)).collect();
    for tx in &all {
        chain.submit(tx).unwrap();
    }
    // The poorest has a rich child.
    let child = spend(&coin_of(&all[0], 3130), 1, &p2wpkh(4), 1_000_000);
    chain.submit(&child).unwrap();
    chain.mine(1, &p2wpkh(9));
    let left = waiting(&chain);
    assert_eq!(left, ids(&all[1..3]), "the next poorest two stay");
    assert!(chain.block_at(chain.height()).unwrap().weight().to_wu() <= 4_000_000);
    chain.mine(1, &p2wpkh(9));
    assert!(chain.mempool().is_empty());
}

#[test]
fn spends_of_future_witness_versions_and_anchors() {
    let Funds { chain, coins } = funded(1);
    let tx = spend_to(
        &coins[0],
        1,
        Version::TWO,
        vec![output(1_0000_0000, &anchor()), output(40_0000_0000, &p2wpkh(2))],
    );
    chain.submit(&tx).unwrap();
    let coin = coin_of(&tx, 0);
    let mut claim = unsigned(vec![input(coin.0, Sequence::MAX)], vec![output(9000_0000, &p2tr(3))]);
    claim.input[0].witness = Witness::from_slice(&[vec![1]]);
    assert_eq!(chain.submit(&claim), Err(RejectReason::NonStandard("bad-witness-nonstandard")));
    claim.input[0].witness = Witness::new();
    chain.submit(&claim).unwrap();
}
