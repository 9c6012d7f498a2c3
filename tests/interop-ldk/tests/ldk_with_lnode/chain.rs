//! What an honest peer does not do, and what the chain may do to all: old states, reorganisations.
use interop_ldk::net::{COINS, FEES, HTLC, HTLC_MSAT, Net, OPENING, PAYMENT_MSAT, PUSH};
use interop_ldk::node::mine;
use serde_json::json;

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn an_ldk_that_cheats_loses_everything() {
    let net = Net::start();
    let funding = net.open(net.ldk(), net.ours());
    // An HTLC is in what will be revoked, so that more than one output has to be punished.
    let (hash, preimage) = net.hold(net.ours(), &net.ldk);
    let revoked = net.ldk.latest_commitment(funding);
    net.ldk.claim(&preimage);
    net.ours().must_be_paid(hash, net.ldk(), HTLC_MSAT);
    net.wait_idle(funding);
    net.ldk().pay(net.ours(), PAYMENT_MSAT);
    net.ldk.disconnect(net.ours().id());
    interop_ldk::chain::broadcast(&net.chain.client(), &[&revoked]).unwrap();
    mine(&net.chain, &net.nodes(), 1);
    // All of the channel is ours, less the fees of the two transactions.
    let all = COINS + OPENING.value - FEES;
    net.mine_until("everything in our wallet", || net.ours().wallet_balance() >= all);
    net.mine_until("nothing left to claim", || net.ours().is_settled());
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn a_reorganisation_takes_a_force_close_back() {
    let net = Net::start();
    let funding = net.open(net.ours(), net.ldk());
    let (hash, preimage) = net.hold(net.ours(), &net.ldk);
    net.force_close(net.ours(), funding);
    net.ldk.claim(&preimage);
    mine(&net.chain, &net.nodes(), 2);
    // Four blocks come in the place of three.
    let fork = net.chain.height() - 2;
    let hash_at = net.chain.call("getblockhash", &json!([fork])).unwrap();
    net.chain.call("invalidateblock", &json!([hash_at])).unwrap();
    mine(&net.chain, &net.nodes(), 4);
    net.mine_until_swept([COINS - PUSH - HTLC - FEES, COINS + PUSH + HTLC - FEES]);
    net.ours().must_be_paid(hash, net.ldk(), HTLC_MSAT);
}
