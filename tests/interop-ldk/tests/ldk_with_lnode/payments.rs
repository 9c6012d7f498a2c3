//! Channels of each side's making, and payments over them: rows, crowds, odd amounts, parts, hints, fees, refusals.
use interop_ldk::ldk::LdkOptions;
use interop_ldk::net::{COINS, FEES, Net, OPENING, PAYMENT_MSAT, PUSH};
use interop_ldk::node::{Node, Opening, open_channel};
use interop_ldk::wait::wait_until;

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn each_side_opens_a_channel_to_the_other() {
    let net = Net::start();
    let first = net.open(net.ldk(), net.ours());
    let second = net.open(net.ours(), net.ldk());
    for funding in [first, second] {
        net.assert_agreed(funding);
        net.wait_announced(&net.ldk, funding);
    }
    net.pay_both_ways();
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn fifty_payments_in_a_row_in_both_directions() {
    let net = Net::start();
    let funding = net.open(net.ldk(), net.ours());
    for _ in 0..50 {
        net.ldk().pay(net.ours(), PAYMENT_MSAT);
    }
    for _ in 0..50 {
        net.ours().pay(net.ldk(), PAYMENT_MSAT);
    }
    net.wait_idle(funding);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn twenty_payments_at_once_in_both_directions() {
    let net = Net::start();
    let funding = net.open(net.ours(), net.ldk());
    net.settle(&net.begin(20), funding);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn dust_and_odd_amounts_go_both_ways() {
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
    net.wait_idle(funding);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn a_payment_that_ldk_refuses_fails_with_us() {
    let net = Net::start();
    let funding = net.open(net.ours(), net.ldk());
    let before = net.ours().owned_msat(funding).unwrap();
    let (hash, _preimage) = net.hold(net.ours(), &net.ldk);
    net.ldk.refuse(hash);
    net.assert_outcome(net.ours(), hash, None);
    net.wait_idle(funding);
    assert_eq!(net.ours().owned_msat(funding), Some(before));
    // The channel is as good as before.
    net.ours().pay(net.ldk(), PAYMENT_MSAT);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn ldk_pays_us_in_parts_over_two_channels() {
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
fn hidden_channels_are_paid_over_their_hints() {
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

/// Waits until LDK has changed the feerate of its channel, and both commitments follow.
fn wait_feerate(net: &Net, funding: bitcoin::OutPoint, feerate: u32) {
    let changed = || net.ldk.channel(funding).unwrap().feerate_sat_per_1000_weight == Some(feerate);
    wait_until(&format!("a feerate of {feerate}"), || net.ldk(), changed);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn ldk_changes_the_feerate_of_its_channel() {
    let net = Net::start();
    let funding = net.open(net.ldk(), net.ours());
    for feerate in [1_500, 4_000, 900] {
        net.ldk.set_feerate(feerate);
        wait_feerate(&net, funding, feerate);
        net.pay_both_ways();
    }
    net.force_close(net.ldk(), funding);
    net.mine_until_swept([COINS + PUSH - FEES, COINS - PUSH - FEES]);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn the_feerate_changes_while_payments_go_both_ways() {
    let net = Net::start();
    let funding = net.open(net.ldk(), net.ours());
    for feerate in [1_700, 3_000, 800, 2_500] {
        let before = net.begin(6);
        net.ldk.set_feerate(feerate);
        let after = net.begin(6);
        // LDK keeps a change to itself while its last commitment is not answered: it tries again with its next tick.
        let changed = || net.ldk.channel(funding).unwrap().feerate_sat_per_1000_weight == Some(feerate);
        let tried = || {
            changed() || {
                net.ldk.set_feerate(feerate);
                changed()
            }
        };
        wait_until(&format!("a feerate of {feerate}"), || net.ldk(), tried);
        net.settle(&before, funding);
        net.settle(&after, funding);
    }
    // Both mean the same commitment: LDK's is taken by the chain, and ours is claimed from it.
    net.force_close(net.ldk(), funding);
    net.mine_until_swept([COINS + PUSH - FEES, COINS - PUSH - FEES]);
}
