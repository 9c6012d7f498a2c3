//! The harness itself: two LDK nodes do with each other what our daemon will have to do with them.
//!
//! If one of these fails, nothing that the other tests say about our daemon can be trusted.
use bitcoin::Amount;
use interop_ldk::chain::Chain;
use interop_ldk::ldk::{LdkNode, LdkOptions};
use interop_ldk::node::{Close, Node, Opening, give, mine, mine_until, open_channel};
use interop_ldk::wait::folder;

const COINS: Amount = Amount::from_sat(20_000_000);
const OPENING: Opening =
    Opening { value: Amount::from_sat(1_000_000), push_msat: 400_000_000, announce: true };
const PAYMENT_MSAT: u64 = 2_000_000;

/// Two nodes with coins. Fields drop in this order: the nodes before their chain and folder.
struct Pair {
    alice: LdkNode,
    bob: LdkNode,
    chain: Chain,
    _folder: tempfile::TempDir,
}

impl Pair {
    fn start() -> Self {
        let folder = folder();
        let chain = Chain::start();
        let start = |name| LdkNode::start(&chain, folder.path(), name, &LdkOptions::default());
        let (alice, bob) = (start("alice"), start("bob"));
        let pair = Self { alice, bob, chain, _folder: folder };
        give(&pair.chain, &pair.nodes(), COINS);
        pair
    }

    fn nodes(&self) -> [&dyn Node; 2] {
        [&self.alice, &self.bob]
    }

    /// Mines until nothing of the channel is left to claim and both wallets have at least what they should.
    fn mine_until_swept(&self, wanted: [Amount; 2]) {
        let nodes = self.nodes();
        let what = format!("wallets of at least {wanted:?}");
        let done = |(node, wanted): (&dyn Node, Amount)| node.is_settled() && node.wallet_balance() >= wanted;
        mine_until(&self.chain, &nodes, &what, || nodes.into_iter().zip(wanted).all(done));
    }
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn payments_both_ways_restarts_and_a_cooperative_close() {
    let mut pair = Pair::start();
    let [alice, bob] = pair.nodes();
    let funding = open_channel(&pair.chain, alice, bob, OPENING, &pair.nodes());
    for _ in 0..10 {
        alice.pay(bob, PAYMENT_MSAT);
        bob.pay(alice, PAYMENT_MSAT);
    }
    let scid = pair.alice.short_id(funding).unwrap();
    pair.alice = pair.alice.restart(&pair.chain);
    pair.bob = pair.bob.restart(&pair.chain);
    let [alice, bob] = pair.nodes();
    alice.connect_to(bob.id(), bob.address());
    alice.wait_usable(funding);
    bob.wait_usable(funding);
    pair.alice.wait_announced(&pair.chain, scid, funding);
    let hashes: Vec<_> = (0..20).map(|_| alice.must_begin(&bob.new_invoice(PAYMENT_MSAT))).collect();
    for hash in hashes {
        alice.must_be_paid(hash, bob, PAYMENT_MSAT);
    }
    bob.close(funding, Close::Cooperative);
    // Alice gave 400,000 away at the start and 40,000 by payments.
    let (given, fees) = (Amount::from_sat(440_000), Amount::from_sat(5_000));
    pair.mine_until_swept([COINS - given - fees, COINS + given - fees]);
    assert!(pair.alice.channels().is_empty() && pair.bob.channels().is_empty());
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn a_force_close_with_an_htlc_pending_is_swept_by_both() {
    let pair = Pair::start();
    let [alice, bob] = pair.nodes();
    let funding = open_channel(&pair.chain, alice, bob, OPENING, &pair.nodes());
    let (invoice, hash) = pair.bob.hold_invoice(30_000_000);
    alice.must_begin(&invoice);
    let preimage = pair.bob.wait_held(hash, alice);
    alice.close(funding, Close::Force);
    mine_until(&pair.chain, &pair.nodes(), "the commitment", || !pair.chain.is_unspent(funding));
    mine(&pair.chain, &pair.nodes(), 1);
    // Bob knows the preimage and takes the HTLC on chain, which proves the payment to Alice.
    pair.bob.claim(&preimage);
    let (given, fees) = (Amount::from_sat(430_000), Amount::from_sat(20_000));
    pair.mine_until_swept([COINS - given - fees, COINS + given - fees]);
    assert_eq!(alice.must_be_paid(hash, bob, 30_000_000), preimage);
}
