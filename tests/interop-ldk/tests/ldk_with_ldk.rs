//! The harness itself: two LDK nodes do with each other what our daemon will have to do with them.
//!
//! If one of these fails, nothing that the other tests say about our daemon can be trusted.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]
use bitcoin::{Amount, OutPoint};
use interop_ldk::chain::Chain;
use interop_ldk::ldk::{Close, LdkNode, LdkOptions, PaymentResult, hash_of};
use interop_ldk::wait::{PATIENCE, turn, wait_until, wait_within};

const CHANNEL: Amount = Amount::from_sat(1_000_000);
const COINS: Amount = Amount::from_sat(20_000_000);
const PUSH_MSAT: u64 = 400_000_000;
const PAYMENT_MSAT: u64 = 2_000_000;

/// Two connected nodes with coins. Fields drop in this order: the nodes before their chain and folder.
struct Pair {
    alice: LdkNode,
    bob: LdkNode,
    chain: Chain,
    _folder: tempfile::TempDir,
}

impl Pair {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let chain = Chain::start();
        let options = LdkOptions::default();
        let alice = LdkNode::start(&chain, folder.path(), "alice", &options);
        let bob = LdkNode::start(&chain, folder.path(), "bob", &options);
        alice.fund(&chain, COINS);
        bob.fund(&chain, COINS);
        alice.connect(bob.id(), bob.address());
        Self { alice, bob, chain, _folder: folder }
    }

    fn open(&self) -> OutPoint {
        let funding = self.alice.open_channel(&self.chain, self.bob.id(), CHANNEL, PUSH_MSAT, true);
        self.mine(6);
        self.alice.wait_usable(funding);
        self.bob.wait_usable(funding);
        funding
    }

    fn mine(&self, blocks: u32) {
        self.chain.mine(blocks);
        self.alice.sync(&self.chain);
        self.bob.sync(&self.chain);
    }

    /// Mines until nothing of the channel is left to claim and both wallets have at least what they should.
    fn mine_until_swept(&self, alice: Amount, bob: Amount) {
        wait_within(
            PATIENCE,
            &format!("{alice} with alice and {bob} with bob"),
            || format!("{}\n{}", self.alice, self.bob),
            || {
                self.mine(1);
                let done = |node: &LdkNode, wanted: Amount| {
                    node.balances().is_empty() && node.unswept() == 0 && node.wallet_balance() >= wanted
                };
                (done(&self.alice, alice) && done(&self.bob, bob)).then_some(())
            },
        );
    }
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn payments_both_ways_restarts_and_a_cooperative_close() {
    let _turn = turn();
    let mut pair = Pair::start();
    let funding = pair.open();
    let scid = pair.alice.channel(funding).unwrap().details.short_channel_id;
    for _ in 0..10 {
        pair.alice.pay_now(&pair.bob.invoice(PAYMENT_MSAT, "there"));
        pair.bob.pay_now(&pair.alice.invoice(PAYMENT_MSAT, "and back"));
    }
    pair.alice = pair.alice.restart(&pair.chain);
    pair.bob = pair.bob.restart(&pair.chain);
    pair.alice.connect(pair.bob.id(), pair.bob.address());
    pair.alice.wait_usable(funding);
    pair.bob.wait_usable(funding);
    pair.alice.wait_announced(funding, scid);
    let hashes: Vec<_> =
        (0..20).map(|_| pair.alice.pay(&pair.bob.invoice(PAYMENT_MSAT, "at once")).unwrap()).collect();
    for hash in hashes {
        assert!(matches!(pair.alice.outcome(hash), PaymentResult::Sent { .. }));
    }
    pair.bob.close_channel(funding, Close::Cooperative);
    wait_until("the closing transaction", || &pair.bob, || !pair.chain.is_unspent(funding));
    // Alice gave 400,000 away at the start and 40,000 by payments.
    let (given, fees) = (Amount::from_sat(440_000), Amount::from_sat(5_000));
    pair.mine_until_swept(COINS - given - fees, COINS + given - fees);
    assert!(pair.alice.channels().is_empty() && pair.bob.channels().is_empty());
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn a_force_close_with_an_htlc_pending_is_swept_by_both() {
    let _turn = turn();
    let pair = Pair::start();
    let funding = pair.open();
    let invoice = pair.bob.hold_invoice(30_000_000);
    pair.alice.pay(&invoice).unwrap();
    let preimage = pair.bob.wait_held(hash_of(&invoice));
    pair.alice.close_channel(funding, Close::Force);
    wait_until("the commitment", || &pair.alice, || !pair.chain.is_unspent(funding));
    pair.mine(1);
    // Bob knows the preimage and takes the HTLC on chain, which proves the payment to Alice.
    pair.bob.claim(preimage);
    let (given, fees) = (Amount::from_sat(430_000), Amount::from_sat(20_000));
    pair.mine_until_swept(COINS - given - fees, COINS + given - fees);
    let outcome = pair.alice.outcome(hash_of(&invoice));
    assert!(
        matches!(outcome, PaymentResult::Sent { preimage: proof, .. } if proof == preimage),
        "{outcome:?}"
    );
}
