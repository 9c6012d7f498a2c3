//! What the embedded chain accepts and refuses, a real bitcoind accepts and refuses too.
//!
//! Needs one: see `scripts/has_bitcoind.rs`. Without it each test is reported as ignored.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests"
)]
mod funds;

use std::path::Path;

use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{ScriptBuf, Sequence, Transaction, Witness};
use funds::*;
use lightning_chain_bitcoind::{BitcoindClient, RegtestBitcoind};
use lightning_chain_embedded::EmbeddedChain;
use lightning_traits::interface::{BlockSource, Broadcast};

const FEE: u64 = 10_000;

/// The folder outlives the daemon: what is bound last drops first.
fn start() -> (tempfile::TempDir, RegtestBitcoind, BitcoindClient) {
    let folder = tempfile::tempdir().unwrap();
    let exe = Path::new(env!("BITCOIND_FOUND"));
    let version = std::process::Command::new(exe).arg("-version").output().unwrap();
    // Knots has policies of its own, which are set here to what Bitcoin Core does.
    let arguments: &[&str] = match String::from_utf8_lossy(&version.stdout).contains("Knots") {
        true => &["-mempooltruc=enforce", "-permitephemeral=anchor,send,dust", "-subdustfeepenalty=0"],
        false => &[],
    };
    let bitcoind = RegtestBitcoind::start(exe, folder.path(), arguments).unwrap();
    let client = bitcoind.client();
    (folder, bitcoind, client)
}

/// Hands all blocks over that the client does not have.
fn copy(chain: &EmbeddedChain, client: &BitcoindClient) {
    for height in client.tip().unwrap().height + 1..=chain.height() {
        assert_eq!(client.submit_block(&chain.block_at(height).unwrap()).unwrap(), None, "height {height}");
    }
    assert_eq!(client.tip().unwrap().hash, chain.tip().0);
}

/// Both judge `tx`; answers whether they accept it.
fn both(chain: &EmbeddedChain, client: &BitcoindClient, tx: &Transaction) -> bool {
    let ours = chain.broadcast(std::slice::from_ref(tx)).unwrap().remove(0);
    let theirs = client.broadcast(std::slice::from_ref(tx)).unwrap().remove(0);
    let accepted = ours == Broadcast::Accepted;
    assert_eq!(accepted, theirs == Broadcast::Accepted, "we: {ours:?}, bitcoind: {theirs:?}");
    accepted
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn bitcoind_accepts_every_block_through_halvings_and_reorganisations() {
    let (_folder, _bitcoind, client) = start();
    let Funds { chain, coins } = funded(3);
    chain.mine(200, &p2wpkh(9));
    for coin in &coins {
        chain.submit(&spend(coin, 1, &p2tr(2), FEE)).unwrap();
    }
    chain.mine(2, &p2wpkh(9));
    copy(&chain, &client);
    let fork = chain.height() - 5;
    chain.reorg(5, &p2wpkh(8));
    for height in fork + 1..=chain.height() {
        let block = chain.block_at(height).unwrap();
        // Until it has more work, bitcoind calls the branch inconclusive.
        let answer = client.submit_block(&block).unwrap();
        assert!(matches!(answer.as_deref(), None | Some("inconclusive")), "height {height}: {answer:?}");
    }
    assert_eq!(client.tip().unwrap().hash, chain.tip().0);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn a_channel_on_chain_is_judged_alike() {
    let (_folder, _bitcoind, client) = start();
    let Funds { chain, coins } = funded(3);
    copy(&chain, &client);
    let mine = |count| {
        chain.mine(count, &p2wpkh(9));
        copy(&chain, &client);
    };
    let check = |tx: &Transaction| both(&chain, &client, tx);

    let funding_script = multisig(2, 3);
    let funding = spend(&coins[0], 1, &funding_script.to_p2wsh(), FEE);
    assert!(check(&funding));
    mine(1);
    let coin = coin_of(&funding, 0);
    let to_local = delayed(4, 5, 3);
    let value = coin.1.value.to_sat() - FEE;
    let mut commitment =
        unsigned(vec![input(coin.0, Sequence::MAX)], vec![output(value, &to_local.to_p2wsh())]);
    let signature = |number| p2wsh_signature(&commitment, 0, &funding_script, coin.1.value, number);
    let (two, three) = (signature(2), signature(3));
    let script = funding_script.to_bytes();
    commitment.input[0].witness = Witness::from_slice(&[vec![], three.clone(), two.clone(), script.clone()]);
    assert!(!check(&commitment), "signatures in the wrong order");
    commitment.input[0].witness = Witness::from_slice(&[vec![], two, three, script]);
    assert!(check(&commitment));
    mine(1);

    let coin = coin_of(&commitment, 0);
    let claim = |sequence: u16, number: u8, branch: Vec<u8>, fee: u64| {
        let outputs = vec![output(coin.1.value.to_sat() - fee, &p2wpkh(6))];
        let mut tx = unsigned(vec![input(coin.0, Sequence::from_height(sequence))], outputs);
        let signature = p2wsh_signature(&tx, 0, &to_local, coin.1.value, number);
        tx.input[0].witness = Witness::from_slice(&[signature, branch, to_local.to_bytes()]);
        tx
    };
    mine(1);
    assert!(!check(&claim(2, 5, vec![], FEE)), "the opcode wants 3");
    assert!(!check(&claim(3, 5, vec![], FEE)), "one block early");
    mine(1);
    let patient = claim(3, 5, vec![], FEE);
    assert!(check(&patient));
    assert!(!check(&claim(0, 4, vec![1], FEE + 10)), "too little to replace");
    assert!(check(&claim(0, 4, vec![1], 3 * FEE)));
    mine(1);

    let expiry = chain.height() + 3;
    let script = locked_until(2, i64::from(expiry));
    let lock = spend(&coins[1], 1, &script.to_p2wsh(), FEE);
    assert!(check(&lock));
    mine(1);
    let coin = coin_of(&lock, 0);
    let mut timeout =
        unsigned(vec![input(coin.0, Sequence::ZERO)], vec![output(coin.1.value.to_sat() - FEE, &p2wpkh(6))]);
    timeout.lock_time = LockTime::from_height(expiry).unwrap();
    let signature = p2wsh_signature(&timeout, 0, &script, coin.1.value, 2);
    timeout.input[0].witness = Witness::from_slice(&[signature, script.to_bytes()]);
    mine(1);
    assert!(!check(&timeout), "one block early");
    mine(1);
    assert!(check(&timeout));
    mine(1);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn policy_is_judged_alike() {
    let (_folder, _bitcoind, client) = start();
    let Funds { chain, coins } = funded(4);
    copy(&chain, &client);
    let check = |tx: &Transaction| both(&chain, &client, tx);
    let pay = |coin: usize, version: i32, outputs: Vec<bitcoin::TxOut>| {
        let mut tx = unsigned(vec![input(coins[coin].0, Sequence::MAX)], outputs);
        tx.version = Version(version);
        sign_p2wpkh(&mut tx, 0, &coins[coin].1, 1);
        tx
    };
    let rest = 50_0000_0000 - FEE - 1000;
    for (script, least) in [(p2wpkh(2), 294), (p2tr(2), 330), (multisig(1, 2).to_p2wsh(), 330)] {
        let with = |value| pay(0, 2, vec![output(value, &script), output(rest, &p2wpkh(3))]);
        assert!(!check(&with(least - 1)));
    }
    assert!(!check(&pay(0, 4, vec![output(rest, &p2wpkh(2))])), "version");
    let size = pay(0, 2, vec![output(rest, &p2wpkh(2))]).vsize() as u64;
    assert!(!check(&pay(0, 2, vec![output(50_0000_0000 - size + 1, &p2wpkh(2))])), "below the minimum");
    assert!(check(&pay(0, 2, vec![output(50_0000_0000 - size, &p2wpkh(2))])), "at the minimum");

    // Only version 3 may leave the fee to its child.
    let parent = pay(3, 2, vec![output(50_0000_0000, &p2wpkh(2))]);
    let mut child = spend(&coin_of(&parent, 0), 2, &p2wpkh(3), FEE);
    let refused = |chain: &dyn BlockSource, package: &[Transaction]| {
        chain.broadcast(package).unwrap().iter().all(|answer| matches!(answer, Broadcast::Refused { .. }))
    };
    assert!(refused(&chain, &[parent.clone(), child.clone()]));
    assert!(refused(&client, &[parent, child.clone()]));
    let parent = pay(3, 3, vec![output(50_0000_0000, &p2wpkh(2))]);
    child.version = Version(3);
    child.input[0].previous_output = coin_of(&parent, 0).0;
    sign_p2wpkh(&mut child, 0, &parent.output[0], 2);
    let package = [parent, child];
    assert_eq!(client.broadcast(&package), Ok(vec![Broadcast::Accepted; 2]));
    assert_eq!(chain.broadcast(&package), Ok(vec![Broadcast::Accepted; 2]));

    // Version 3 with an anchor of no value: only with its child, and the child only small.
    let anchor = ScriptBuf::from_bytes(vec![0x51, 0x02, 0x4e, 0x73]);
    let parent = pay(1, 3, vec![output(50_0000_0000, &p2wpkh(2)), output(0, &anchor)]);
    assert!(!check(&parent));
    let mut child = unsigned(
        vec![input(coins[2].0, Sequence::MAX), input(coin_of(&parent, 1).0, Sequence::MAX)],
        vec![output(50_0000_0000 - FEE, &p2wpkh(5))],
    );
    child.version = Version(3);
    sign_p2wpkh(&mut child, 0, &coins[2].1, 1);
    let package = [parent, child];
    let ours = chain.broadcast(&package).unwrap();
    assert_eq!(ours, vec![Broadcast::Accepted; 2]);
    assert_eq!(client.broadcast(&package).unwrap(), ours);
    chain.mine(1, &p2wpkh(9));
    copy(&chain, &client);
}
