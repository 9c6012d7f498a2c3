//! Every consensus rule of the embedded chain, refused on one side of its edge and accepted on the other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
mod funds;

use bitcoin::absolute::LockTime;
use bitcoin::block::Version as BlockVersion;
use bitcoin::{Amount, Sequence, Transaction, Witness};
use funds::*;
use lightning_chain_embedded::{BlockError, EmbeddedChain, RejectReason};

const FEE: u64 = 10_000;

#[test]
fn a_payment_is_mined_and_its_coins_move() {
    let Funds { chain, coins } = funded(1);
    let tx = spend(&coins[0], 1, &p2wpkh(2), FEE);
    assert_eq!(chain.submit(&tx), Ok(tx.compute_txid()));
    assert_eq!(chain.mempool_spender(&coins[0].0), Some(tx.compute_txid()));
    chain.mine(1, &p2wpkh(9));
    assert!(chain.mempool().is_empty());
    assert_eq!(chain.utxo(&coins[0].0), None);
    let made = chain.utxo(&coin_of(&tx, 0).0).unwrap();
    assert_eq!((made.height, made.coinbase), (102, false));
    let coinbase = &chain.block_at(102).unwrap().txdata[0];
    assert_eq!(coinbase.output[0].value, Amount::from_sat(50_0000_0000 + FEE));
}

#[test]
fn coinbases_ripen_for_100_blocks() {
    let chain = EmbeddedChain::new();
    chain.mine(99, &p2wpkh(1));
    let coin = coin_of(&chain.block_at(1).unwrap().txdata[0], 0);
    let tx = spend(&coin, 1, &p2wpkh(2), FEE);
    assert_eq!(chain.submit(&tx), Err(RejectReason::ImmatureCoinbase { depth: 99 }));
    assert!(matches!(
        chain.mine_transactions(vec![tx.clone()], &p2wpkh(9)),
        Err(BlockError::Transaction { index: 1, reason: RejectReason::ImmatureCoinbase { depth: 99 } })
    ));
    chain.mine(1, &p2wpkh(1));
    chain.submit(&tx).unwrap();
}

#[test]
fn values_may_not_be_created() {
    let Funds { chain, coins } = funded(1);
    let mut tx = unsigned(vec![input(coins[0].0, Sequence::MAX)], vec![output(50_0000_0001, &p2wpkh(2))]);
    sign_p2wpkh(&mut tx, 0, &coins[0].1, 1);
    let expected = RejectReason::InBelowOut {
        input: Amount::from_sat(50_0000_0000),
        output: Amount::from_sat(50_0000_0001),
    };
    assert_eq!(chain.submit(&tx), Err(expected.clone()));
    assert_eq!(
        chain.mine_transactions(vec![tx], &p2wpkh(9)),
        Err(BlockError::Transaction { index: 1, reason: expected })
    );
    let huge = unsigned(
        vec![input(coins[0].0, Sequence::MAX)],
        vec![output(u64::MAX, &p2wpkh(2)), output(u64::MAX, &p2wpkh(2))],
    );
    assert_eq!(chain.submit(&huge), Err(RejectReason::Malformed("bad-txns-txouttotal-toolarge")));
}

#[test]
fn coins_are_spent_once() {
    let Funds { chain, coins } = funded(1);
    let (first, second) = (spend(&coins[0], 1, &p2wpkh(2), FEE), spend(&coins[0], 1, &p2wpkh(3), FEE));
    assert!(matches!(
        chain.mine_transactions(vec![first.clone(), second.clone()], &p2wpkh(9)),
        Err(BlockError::Transaction { index: 2, reason: RejectReason::MissingOrSpent(_) })
    ));
    chain.mine_transactions(vec![first.clone()], &p2wpkh(9)).unwrap();
    assert_eq!(chain.submit(&second), Err(RejectReason::MissingOrSpent(coins[0].0)));
    assert_eq!(chain.submit(&first), Err(RejectReason::AlreadyConfirmed));
    let twice = unsigned(
        vec![input(coins[0].0, Sequence::MAX), input(coins[0].0, Sequence::MAX)],
        vec![output(1000, &p2wpkh(2))],
    );
    assert_eq!(chain.submit(&twice), Err(RejectReason::Malformed("bad-txns-inputs-duplicate")));
}

#[test]
fn a_block_that_confirms_a_rival_removes_the_waiting_and_its_child() {
    let Funds { chain, coins } = funded(1);
    let waiting = spend(&coins[0], 1, &p2wpkh(2), FEE);
    let child = spend(&coin_of(&waiting, 0), 2, &p2wpkh(3), FEE);
    chain.submit(&waiting).unwrap();
    chain.submit(&child).unwrap();
    let rival = spend(&coins[0], 1, &p2wpkh(4), FEE);
    chain.mine_transactions(vec![rival], &p2wpkh(9)).unwrap();
    assert!(chain.mempool().is_empty());
}

#[test]
fn lock_times_by_height_and_by_median_time() {
    let Funds { chain, coins } = funded(2);
    let height = chain.height();
    let locked = |lock_time: LockTime, coin: usize| {
        let mut tx = spend(&coins[coin], 1, &p2wpkh(2), FEE);
        tx.lock_time = lock_time;
        tx.input[0].sequence = Sequence::ENABLE_LOCKTIME_NO_RBF;
        sign_p2wpkh(&mut tx, 0, &coins[coin].1, 1);
        tx
    };
    let by_height = locked(LockTime::from_height(height + 1).unwrap(), 0);
    assert_eq!(chain.submit(&by_height), Err(RejectReason::NonFinal));
    let time = chain.median_time_at(height);
    let by_time = locked(LockTime::from_time(time).unwrap(), 1);
    assert_eq!(chain.submit(&by_time), Err(RejectReason::NonFinal));
    chain.mine(1, &p2wpkh(9));
    chain.submit(&by_height).unwrap();
    chain.submit(&by_time).unwrap();
    chain.mine(1, &p2wpkh(9));
    assert!(chain.mempool().is_empty());
}

#[test]
fn final_sequences_switch_lock_time_off() {
    let Funds { chain, coins } = funded(1);
    let mut tx = spend(&coins[0], 1, &p2wpkh(2), FEE);
    tx.lock_time = LockTime::from_height(400_000).unwrap();
    sign_p2wpkh(&mut tx, 0, &coins[0].1, 1);
    chain.submit(&tx).unwrap();
}

#[test]
fn relative_lock_times_by_height_count_from_the_coins_block() {
    let Funds { chain, coins } = funded(1);
    let first = spend(&coins[0], 1, &p2wpkh(2), FEE);
    let coin = coin_of(&first, 0);
    let mut second = spend(&coin, 2, &p2wpkh(3), FEE);
    second.input[0].sequence = Sequence::from_height(3);
    sign_p2wpkh(&mut second, 0, &coin.1, 2);
    let too_young = Err(RejectReason::NonBip68Final { input: 0 });
    chain.submit(&first).unwrap();
    assert_eq!(chain.submit(&second), too_young, "an unconfirmed coin has no age");
    chain.mine(2, &p2wpkh(9));
    assert_eq!(chain.submit(&second), too_young, "the next block would be only 2 above the coin's");
    chain.mine(1, &p2wpkh(9));
    chain.submit(&second).unwrap();
}

#[test]
fn relative_lock_times_by_time_count_512_seconds_of_median_time() {
    let Funds { chain, coins } = funded(1);
    let first = spend(&coins[0], 1, &p2wpkh(2), FEE);
    chain.submit(&first).unwrap();
    chain.mine(1, &p2wpkh(9));
    let coin = coin_of(&first, 0);
    let mut second = spend(&coin, 2, &p2wpkh(3), FEE);
    // 3 x 512 s take 3 blocks of 600 s from the median time of the block below the coin's.
    second.input[0].sequence = Sequence::from_512_second_intervals(3);
    sign_p2wpkh(&mut second, 0, &coin.1, 2);
    chain.mine(1, &p2wpkh(9));
    assert_eq!(chain.submit(&second), Err(RejectReason::NonBip68Final { input: 0 }));
    chain.mine(1, &p2wpkh(9));
    chain.submit(&second).unwrap();
}

#[test]
fn version_1_has_no_relative_lock_times() {
    let Funds { chain, coins } = funded(1);
    let mut tx = spend(&coins[0], 1, &p2wpkh(2), FEE);
    tx.version = bitcoin::transaction::Version::ONE;
    tx.input[0].sequence = Sequence::from_height(500);
    sign_p2wpkh(&mut tx, 0, &coins[0].1, 1);
    chain.submit(&tx).unwrap();
}

#[test]
fn a_channel_on_chain() {
    let Funds { chain, coins } = funded(1);
    let funding_script = multisig(2, 3);
    let funding = spend(&coins[0], 1, &funding_script.to_p2wsh(), FEE);
    chain.submit(&funding).unwrap();
    chain.mine(1, &p2wpkh(9));

    // The commitment: both signatures, in the order of the keys.
    let coin = coin_of(&funding, 0);
    let to_local = delayed(4, 5, 5);
    let value = coin.1.value.to_sat() - FEE;
    let mut commitment =
        unsigned(vec![input(coin.0, Sequence::MAX)], vec![output(value, &to_local.to_p2wsh())]);
    let signature = |number| p2wsh_signature(&commitment, 0, &funding_script, coin.1.value, number);
    let (two, three) = (signature(2), signature(3));
    let script = funding_script.to_bytes();
    commitment.input[0].witness = Witness::from_slice(&[vec![], three.clone(), two.clone(), script.clone()]);
    assert!(matches!(chain.submit(&commitment), Err(RejectReason::Script { input: 0, .. })));
    commitment.input[0].witness = Witness::from_slice(&[vec![], two, three, script]);
    chain.submit(&commitment).unwrap();
    chain.mine(1, &p2wpkh(9));

    // The owner must wait five blocks: the opcode refuses a lower sequence, BIP 68 a younger coin.
    let coin = coin_of(&commitment, 0);
    let claim = |sequence: Sequence, number: u8, branch: Vec<u8>, fee: u64| -> Transaction {
        let outputs = vec![output(coin.1.value.to_sat() - fee, &p2wpkh(6))];
        let mut tx = unsigned(vec![input(coin.0, sequence)], outputs);
        let signature = p2wsh_signature(&tx, 0, &to_local, coin.1.value, number);
        tx.input[0].witness = Witness::from_slice(&[signature, branch, to_local.to_bytes()]);
        tx
    };
    let early = claim(Sequence::from_height(4), 5, vec![], FEE);
    let patient = claim(Sequence::from_height(5), 5, vec![], FEE);
    chain.mine(3, &p2wpkh(9));
    assert!(matches!(chain.submit(&early), Err(RejectReason::Script { .. })), "the opcode wants 5");
    assert_eq!(chain.submit(&patient), Err(RejectReason::NonBip68Final { input: 0 }));
    chain.mine(1, &p2wpkh(9));
    chain.submit(&patient).unwrap();

    // The other side knows the revocation key: no wait, and more fee replaces the claim.
    let justice = claim(Sequence::MAX, 4, vec![1], 3 * FEE);
    chain.submit(&justice).unwrap();
    assert_eq!(chain.mempool().len(), 1);
    chain.mine(1, &p2wpkh(9));
    assert!(chain.utxo(&coin_of(&justice, 0).0).is_some());
}

#[test]
fn an_htlc_times_out_by_cltv() {
    let Funds { chain, coins } = funded(1);
    let expiry = chain.height() + 4;
    let script = locked_until(2, i64::from(expiry));
    let lock = spend(&coins[0], 1, &script.to_p2wsh(), FEE);
    chain.submit(&lock).unwrap();
    chain.mine(1, &p2wpkh(9));
    let coin = coin_of(&lock, 0);
    let timeout = |lock_time: u32| {
        let outputs = vec![output(coin.1.value.to_sat() - FEE, &p2wpkh(6))];
        let mut tx = unsigned(vec![input(coin.0, Sequence::ZERO)], outputs);
        tx.lock_time = LockTime::from_height(lock_time).unwrap();
        let signature = p2wsh_signature(&tx, 0, &script, coin.1.value, 2);
        tx.input[0].witness = Witness::from_slice(&[signature, script.to_bytes()]);
        tx
    };
    assert!(matches!(chain.submit(&timeout(expiry - 3)), Err(RejectReason::Script { .. })));
    assert_eq!(chain.submit(&timeout(expiry)), Err(RejectReason::NonFinal));
    chain.mine(3, &p2wpkh(9));
    assert_eq!(chain.height(), expiry);
    chain.submit(&timeout(expiry)).unwrap();
}

#[test]
fn taproot_key_spends_are_verified() {
    let Funds { chain, coins } = funded(1);
    let lock = spend(&coins[0], 1, &p2tr(7), FEE);
    chain.submit(&lock).unwrap();
    let coin = coin_of(&lock, 0);
    let outputs = vec![output(coin.1.value.to_sat() - FEE, &p2wpkh(2))];
    let mut tx = unsigned(vec![input(coin.0, Sequence::MAX)], outputs);
    sign_p2tr(&mut tx, 0, std::slice::from_ref(&coin.1), 7);
    let mut bad = tx.clone();
    let mut signature = tx.input[0].witness.nth(0).unwrap().to_vec();
    signature[40] ^= 1;
    bad.input[0].witness = Witness::from_slice(&[signature]);
    assert!(matches!(chain.submit(&bad), Err(RejectReason::Script { .. })));
    chain.submit(&tx).unwrap();
    chain.mine(1, &p2wpkh(9));
    assert!(chain.utxo(&coin_of(&tx, 0).0).is_some());
}

#[test]
fn the_witness_commits_to_the_value_of_the_coin() {
    let Funds { chain, coins } = funded(1);
    let mut lie = coins[0].1.clone();
    lie.value = Amount::from_sat(49_0000_0000);
    let mut tx = spend(&coins[0], 1, &p2wpkh(2), FEE);
    sign_p2wpkh(&mut tx, 0, &lie, 1);
    assert!(matches!(chain.submit(&tx), Err(RejectReason::Script { input: 0, .. })));
}

#[test]
fn the_subsidy_halves_every_150_blocks() {
    let chain = EmbeddedChain::new();
    chain.mine(300, &p2wpkh(1));
    let minted = |height| chain.block_at(height).unwrap().txdata[0].output[0].value.to_sat();
    assert_eq!(
        (minted(149), minted(150), minted(299), minted(300)),
        (50_0000_0000, 25_0000_0000, 25_0000_0000, 12_5000_0000)
    );
}

#[test]
fn foreign_blocks_are_checked_whole() {
    let (ours, theirs) = (EmbeddedChain::new(), EmbeddedChain::new());
    theirs.mine(3, &p2wpkh(1));
    let good = theirs.block_at(1).unwrap();
    let spoiled = |spoil: &dyn Fn(&mut bitcoin::Block)| {
        let mut block = (*good).clone();
        spoil(&mut block);
        let target = bitcoin::Target::from_compact(block.header.bits);
        while block.header.validate_pow(target).is_err() {
            block.header.nonce += 1;
        }
        ours.submit_block(&block)
    };
    let with_root =
        |block: &mut bitcoin::Block| block.header.merkle_root = block.compute_merkle_root().unwrap();
    let refused = |reason| Err(BlockError::Block(reason));
    assert_eq!(spoiled(&|b| b.header.version = BlockVersion::from_consensus(3)), refused("bad-version"));
    assert_eq!(spoiled(&|b| b.header.time = 1_296_688_602), refused("time-too-old"));
    assert_eq!(
        spoiled(&|b| b.header.merkle_root = bitcoin::hashes::Hash::all_zeros()),
        refused("bad-txnmrklroot")
    );
    assert_eq!(spoiled(&|b| b.txdata.clear()), refused("bad-cb-missing"));
    let later = theirs.block_at(2).unwrap().txdata[0].clone();
    assert_eq!(
        spoiled(&|b| {
            b.txdata[0] = later.clone();
            with_root(b);
        }),
        refused("bad-cb-height")
    );
    let rich = |b: &mut bitcoin::Block| {
        b.txdata[0].output[0].value = Amount::from_sat(50_0000_0001);
        with_root(b);
    };
    assert_eq!(spoiled(&rich), refused("bad-cb-amount"));
    let no_commitment = |b: &mut bitcoin::Block| {
        b.txdata[0].output.pop();
        with_root(b);
    };
    assert_eq!(spoiled(&no_commitment), refused("bad-witness-merkle-match"));
    assert_eq!(ours.submit_block(&theirs.block_at(2).unwrap()), Err(BlockError::NotOnTip));
    let mut unworked = (*good).clone();
    let target = bitcoin::Target::from_compact(unworked.header.bits);
    while unworked.header.validate_pow(target).is_ok() {
        unworked.header.nonce += 1;
    }
    assert_eq!(ours.submit_block(&unworked), refused("high-hash"));
    for height in 1..=3 {
        ours.submit_block(&theirs.block_at(height).unwrap()).unwrap();
    }
    assert_eq!(ours.tip(), theirs.tip());
}

#[test]
fn a_reorganisation_gives_coins_back_and_transactions_return_to_wait() {
    let Funds { chain, coins } = funded(2);
    let tx = spend(&coins[0], 1, &p2wpkh(2), FEE);
    chain.submit(&tx).unwrap();
    chain.mine(2, &p2wpkh(9));
    let before = chain.tip();
    let fresh = chain.reorg_empty(2, &p2wpkh(9));
    assert_eq!((fresh.len(), chain.height()), (3, before.1 + 1));
    assert!(!chain.block_by_hash(&before.0).unwrap().1, "the old tip is kept, but not in the best chain");
    assert_eq!(chain.utxo(&coins[0].0).unwrap().output, coins[0].1);
    assert!(chain.mempool_entry(&tx.compute_txid()).is_some());
    chain.mine(1, &p2wpkh(9));
    assert!(chain.utxo(&coin_of(&tx, 0).0).is_some());
}

#[test]
fn a_reorganisation_drops_what_lost_its_coinbase_or_its_time() {
    let chain = EmbeddedChain::new();
    chain.mine(101, &p2wpkh(1));
    let coin = coin_of(&chain.block_at(2).unwrap().txdata[0], 0);
    chain.submit(&spend(&coin, 1, &p2wpkh(2), FEE)).unwrap();
    chain.disconnect_tip().unwrap();
    assert!(chain.mempool().is_empty(), "the coinbase of block 2 is immature again");
}

#[test]
fn the_genesis_block_stays() {
    let chain = EmbeddedChain::new();
    assert!(chain.disconnect_tip().is_none());
    assert_eq!(chain.height(), 0);
    assert_eq!(chain.reorg(5, &p2wpkh(1)).len(), 6);
}

#[test]
fn equal_calls_make_equal_chains() {
    let run = || {
        let Funds { chain, coins } = funded(3);
        for coin in &coins {
            chain.submit(&spend(coin, 1, &p2wpkh(2), FEE)).unwrap();
        }
        chain.mine(3, &p2wpkh(9));
        chain.tip()
    };
    assert_eq!(run(), run());
}

#[test]
fn two_thousand_blocks_are_mined_at_once() {
    let chain = EmbeddedChain::new();
    assert_eq!(chain.mine(2000, &p2wpkh(1)).len(), 2000);
    assert_eq!(chain.height(), 2000);
}
