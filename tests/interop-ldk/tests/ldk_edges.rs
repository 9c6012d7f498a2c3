//! LDK against our daemon where implementations differ: amounts, fees, parts, cut wires, older channels, cheats, reorgs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]
use bitcoin::Amount;
use interop_ldk::ldk::LdkOptions;
use interop_ldk::net::{COINS, FEES, HTLC_MSAT, Net, OPENING, PAYMENT_MSAT};
use interop_ldk::node::{Close, Node, Opening, Progress, mine, open_channel};
use interop_ldk::wait::{turn, wait_until};
use serde_json::json;

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn dust_and_odd_amounts_go_both_ways() {
    let _turn = turn();
    let net = Net::start();
    let funding = net.open(net.ldk(), net.ours());
    // Around the dust limits of both sides (354 sat), with and without a remainder of millisatoshi.
    for amount_msat in [1_000, 1_001, 353_999, 354_000, 354_001, 545_999, 546_000, 999_999, 12_345_678] {
        net.ldk().pay(net.ours(), amount_msat);
        net.ours().pay(net.ldk(), amount_msat);
    }
    // Several at once that have no output of their own.
    let begin = || net.ours().must_begin(&net.ldk().new_invoice(200_001));
    let hashes: Vec<_> = (0..5).map(|_| begin()).collect();
    for hash in hashes {
        net.ours().must_be_paid(hash, net.ldk(), 200_001);
    }
    net.nodes().into_iter().for_each(|node| node.wait_idle(funding));
    net.assert_agreed(funding);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn ldk_changes_the_feerate_of_its_channel() {
    let _turn = turn();
    let net = Net::start();
    let funding = net.open(net.ldk(), net.ours());
    for feerate in [1_500, 4_000, 900] {
        net.ldk.set_feerate(feerate);
        let changed = || net.ldk.channel(funding).unwrap().feerate_sat_per_1000_weight == Some(feerate);
        wait_until(&format!("a feerate of {feerate}"), || net.ldk(), changed);
        net.ldk().pay(net.ours(), PAYMENT_MSAT);
        net.ours().pay(net.ldk(), PAYMENT_MSAT);
    }
    net.ldk().close(funding, Close::Force);
    net.confirm_close(funding);
    let push = Amount::from_sat(OPENING.push_msat / 1000);
    net.mine_until_swept([COINS + push - FEES, COINS - push - FEES]);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn hidden_channels_are_paid_over_their_hints() {
    let _turn = turn();
    let mut options = LdkOptions::default();
    options.config.accept_forwards_to_priv_channels = true;
    let net = Net::start_with(&options, &[]).with_other();
    let hidden = Opening { announce: false, ..OPENING };
    let first = open_channel(&net.chain, net.ours(), net.other(), hidden, &net.nodes());
    let second = open_channel(&net.chain, net.ldk(), net.ours(), hidden, &net.nodes());
    // LDK's hint names our channel with it.
    net.ldk().pay(net.other(), PAYMENT_MSAT);
    // The way back, over a hint of the other LDK.
    let back = net.other() as &dyn Node;
    back.pay(net.ldk(), PAYMENT_MSAT / 2);
    // Our own invoices carry hints of both channels; each LDK node can use its own channel only.
    net.ldk().pay(net.ours(), PAYMENT_MSAT);
    back.pay(net.ours(), PAYMENT_MSAT / 4);
    net.ours().wait_idle(first);
    net.ours().wait_idle(second);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn ldk_pays_us_in_parts_over_two_channels() {
    let _turn = turn();
    let net = Net::start();
    let channels = [net.open(net.ldk(), net.ours()), net.open(net.ldk(), net.ours())];
    let before: Vec<_> = channels.iter().map(|funding| net.ours().owned_msat(*funding).unwrap()).collect();
    // More than either channel can carry.
    let amount_msat = OPENING.value.to_sat() * 1000 - OPENING.push_msat + 100_000_000;
    net.ldk().pay(net.ours(), amount_msat);
    for (funding, before) in channels.iter().zip(before) {
        net.ours().wait_idle(*funding);
        assert!(net.ours().owned_msat(*funding).unwrap() > before, "one channel carried all of it");
    }
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn the_wire_is_cut_again_and_again() {
    let _turn = turn();
    let net = Net::start();
    let funding = net.open(net.ours(), net.ldk());
    for round in 0..10 {
        let to_ldk: Vec<_> =
            (0..4).map(|_| net.ours().must_begin(&net.ldk().new_invoice(PAYMENT_MSAT))).collect();
        let to_us: Vec<_> =
            (0..4).map(|_| net.ldk().must_begin(&net.ours().new_invoice(PAYMENT_MSAT))).collect();
        // At another moment of the exchange each time.
        wait_until(
            "a part of them",
            || net.ldk(),
            || {
                let ended = |hash: &_| net.ldk().progress(*hash) != Progress::Pending;
                to_us.iter().filter(|hash| ended(hash)).count() >= round % 4
            },
        );
        net.ldk.disconnect(net.ours().id());
        net.ldk().connect_to(net.ours().id(), net.ours().address());
        for hash in to_ldk {
            net.ours().must_be_paid(hash, net.ldk(), PAYMENT_MSAT);
        }
        for hash in to_us {
            net.ldk().must_be_paid(hash, net.ours(), PAYMENT_MSAT);
        }
    }
    net.nodes().into_iter().for_each(|node| node.wait_idle(funding));
    net.assert_agreed(funding);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn an_ldk_without_anchors_is_served_by_static_remotekey() {
    let _turn = turn();
    let mut options = LdkOptions::default();
    options.config.channel_handshake_config.negotiate_anchors_zero_fee_htlc_tx = false;
    let net = Net::start_with(&options, &[]);
    let (first, second) = (net.open(net.ldk(), net.ours()), net.open(net.ours(), net.ldk()));
    net.ldk().pay(net.ours(), PAYMENT_MSAT);
    net.ours().pay(net.ldk(), PAYMENT_MSAT);
    // Channels without anchors pay for their HTLC transactions themselves.
    let (invoice, hash) = net.ldk.hold_invoice(HTLC_MSAT);
    net.ours().must_begin(&invoice);
    let preimage = net.ldk.wait_held(hash, net.ours());
    net.ours().close(first, Close::Force);
    net.ldk().close(second, Close::Force);
    net.confirm_close(first);
    net.confirm_close(second);
    net.ldk.claim(&preimage);
    // One gave what the other gave; the HTLC went over one of the two.
    let htlc = Amount::from_sat(HTLC_MSAT / 1000);
    net.mine_until_swept([COINS - htlc - FEES, COINS + htlc - FEES]);
    net.ours().must_be_paid(hash, net.ldk(), HTLC_MSAT);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn a_cooperative_close_waits_for_its_htlcs() {
    let _turn = turn();
    let net = Net::start();
    let funding = net.open(net.ours(), net.ldk());
    let (invoice, hash) = net.ldk.hold_invoice(HTLC_MSAT);
    net.ours().must_begin(&invoice);
    let preimage = net.ldk.wait_held(hash, net.ours());
    net.ours().close(funding, Close::Cooperative);
    let asked = || net.ldk.channel(funding).is_some_and(|found| !found.is_usable);
    wait_until("LDK to hear of it", || net.ldk(), asked);
    assert!(net.chain.is_unspent(funding), "closed over an HTLC");
    net.ldk.claim(&preimage);
    net.ours().must_be_paid(hash, net.ldk(), HTLC_MSAT);
    net.confirm_close(funding);
    let (push, htlc) = (Amount::from_sat(OPENING.push_msat / 1000), Amount::from_sat(HTLC_MSAT / 1000));
    net.mine_until_swept([COINS - push - htlc - FEES, COINS + push + htlc - FEES]);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn an_ldk_that_cheats_loses_everything() {
    let _turn = turn();
    let net = Net::start();
    let funding = net.open(net.ldk(), net.ours());
    // An HTLC is in what will be revoked, so that more than one output has to be punished.
    let (invoice, hash) = net.ldk.hold_invoice(HTLC_MSAT);
    net.ours().must_begin(&invoice);
    let preimage = net.ldk.wait_held(hash, net.ours());
    let revoked = net.ldk.latest_commitment(funding);
    net.ldk.claim(&preimage);
    net.ours().must_be_paid(hash, net.ldk(), HTLC_MSAT);
    net.nodes().into_iter().for_each(|node| node.wait_idle(funding));
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
fn our_stale_backup_closes_nothing_and_loses_nothing() {
    let _turn = turn();
    let net = Net::start();
    let funding = net.open(net.ldk(), net.ours());
    net.ldk().pay(net.ours(), PAYMENT_MSAT);
    net.ours.stop();
    let backup = net.ours.back_up();
    net.ours.launch();
    net.ldk().connect_to(net.ours().id(), net.ours().address());
    net.ldk().wait_usable(funding);
    net.ours().wait_usable(funding);
    for _ in 0..3 {
        net.ldk().pay(net.ours(), PAYMENT_MSAT);
    }
    net.nodes().into_iter().for_each(|node| node.wait_idle(funding));
    let theirs = net.ldk.latest_commitment(funding).compute_txid();
    net.ours.stop();
    net.ours.put_back(&backup);
    net.ours.launch();
    net.ldk().connect_to(net.ours().id(), net.ours().address());
    // LDK proves to us that we are late and closes with its commitment; ours would be a revoked one (BOLT 2).
    net.confirm_close(funding);
    let close = net.chain.spender(funding, net.chain.height()).unwrap();
    assert_eq!(close.compute_txid(), theirs, "{}\n{}", net.ours, net.ldk);
    let (push, paid) =
        (Amount::from_sat(OPENING.push_msat / 1000), Amount::from_sat(4 * PAYMENT_MSAT / 1000));
    net.mine_until_swept([COINS + push + paid - FEES, COINS - push - paid - FEES]);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn a_reorganisation_takes_a_force_close_back() {
    let _turn = turn();
    let net = Net::start();
    let funding = net.open(net.ours(), net.ldk());
    let (invoice, hash) = net.ldk.hold_invoice(HTLC_MSAT);
    net.ours().must_begin(&invoice);
    let preimage = net.ldk.wait_held(hash, net.ours());
    net.ours().close(funding, Close::Force);
    net.confirm_close(funding);
    net.ldk.claim(&preimage);
    mine(&net.chain, &net.nodes(), 2);
    // Four blocks come in the place of three.
    let fork = net.chain.height() - 2;
    let hash_at = net.chain.call("getblockhash", &json!([fork])).unwrap();
    net.chain.call("invalidateblock", &json!([hash_at])).unwrap();
    mine(&net.chain, &net.nodes(), 4);
    let (push, htlc) = (Amount::from_sat(OPENING.push_msat / 1000), Amount::from_sat(HTLC_MSAT / 1000));
    net.mine_until_swept([COINS - push - htlc - FEES, COINS + push + htlc - FEES]);
    net.ours().must_be_paid(hash, net.ldk(), HTLC_MSAT);
}
