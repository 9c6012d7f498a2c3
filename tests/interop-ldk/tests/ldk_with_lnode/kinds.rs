//! Payments in parts, payments that nobody asked for, and payments that wait for a decision of ours.
use interop_ldk::ldk::entropy;
use interop_ldk::net::{COINS, FEES, HTLC, HTLC_MSAT, Net, OPENING, PAYMENT_MSAT, PUSH};
use interop_ldk::node::{Progress, mine};
use interop_ldk::wait::wait_until;
use lightning_traits::payment::{PaymentHash, Preimage};

/// More than one of two usual channels carries from its opener.
const IN_PARTS: u64 = 1_300_000_000;

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn we_pay_ldk_in_parts_over_two_channels() {
    let net = Net::start();
    let channels = [net.open(net.ours(), net.ldk()), net.open(net.ours(), net.ldk())];
    let before: Vec<_> = channels.iter().map(|funding| net.ours().owned_msat(*funding).unwrap()).collect();
    // LDK takes a tenth of a channel at a time.
    net.ours().pay(net.ldk(), OPENING.push_msat * 3 / 8);
    for (funding, before) in channels.iter().zip(before) {
        net.wait_idle(*funding);
        assert!(net.ours().owned_msat(*funding).unwrap() < before, "one channel carried all of it");
    }
    // And back, as LDK divides it.
    net.ldk().pay(net.ours(), IN_PARTS);
    channels.iter().for_each(|funding| net.wait_idle(*funding));
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn what_nobody_asked_for_goes_both_ways() {
    let net = Net::start();
    let channels = [net.open(net.ldk(), net.ours()), net.open(net.ldk(), net.ours())];
    for _ in 0..3 {
        let there = net.ours.keysend(net.ldk().id(), PAYMENT_MSAT);
        let back = net.ldk.keysend(net.ours().id(), PAYMENT_MSAT, false);
        net.ours().must_be_paid(there, net.ldk(), PAYMENT_MSAT);
        net.ldk().must_be_paid(back, net.ours(), PAYMENT_MSAT);
    }
    // In parts that belong together by a secret of the payer's.
    let parts = net.ldk.keysend(net.ours().id(), IN_PARTS, true);
    net.ldk().must_be_paid(parts, net.ours(), IN_PARTS);
    channels.iter().for_each(|funding| net.wait_idle(*funding));
}

/// LDK pays an invoice of ours whose preimage the test keeps; it has arrived and waits.
fn hold(net: &Net, blocks: u16) -> (PaymentHash, Preimage) {
    let preimage = Preimage::new(entropy());
    let hash = net.ldk().must_begin(&net.ours.hold_invoice(&preimage, HTLC_MSAT, blocks));
    assert_eq!(hash, preimage.hash());
    wait_until("the payment to wait", || net.show(), || net.ours.is_held(hash));
    assert_eq!(net.ldk().progress(hash), Progress::Pending);
    (hash, preimage)
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn ldk_waits_for_our_word_over_a_restart_and_hears_it() {
    let net = Net::start();
    let funding = net.open(net.ldk(), net.ours());
    for (settles, restarts) in [(true, false), (false, false), (true, true), (false, true)] {
        let (hash, preimage) = hold(&net, 40);
        if restarts {
            net.ours.kill();
            net.ours.launch();
            net.ldk().connect_to(net.ours().id(), net.ours().address());
            wait_until("the payment to wait again", || net.show(), || net.ours.is_held(hash));
        }
        if settles {
            wait_until("our word", || net.show(), || net.ours.settle(&preimage));
            assert_eq!(net.ldk().must_be_paid(hash, net.ours(), HTLC_MSAT), preimage);
        } else {
            net.ours.cancel(hash);
            net.assert_outcome(net.ldk(), hash, None);
            assert_eq!(net.ours().received_msat(hash), 0);
        }
        net.wait_idle(funding);
    }
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn what_we_do_not_decide_on_goes_back_before_anybody_closes() {
    let net = Net::start();
    let funding = net.open(net.ldk(), net.ours());
    let (hash, _) = hold(&net, 4);
    // LDK gives it more blocks than it needs, so that nobody on the way knows where it ends.
    let deadline = net.ours.deadline(hash).expect("a height at which it goes back");
    let left = deadline - net.chain.height();
    mine(&net.chain, &net.nodes(), left - 1);
    assert!(net.ours.is_held(hash) && net.ldk().progress(hash) == Progress::Pending);
    mine(&net.chain, &net.nodes(), 1);
    net.assert_outcome(net.ldk(), hash, None);
    assert!(net.chain.is_unspent(funding), "{}", net.show());
    net.wait_idle(funding);
    net.pay_both_ways();
}

/// We take a payment, and LDK is not there to hear of it: before it could take its HTLC back we go to the chain.
#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn what_we_take_while_ldk_is_away_is_taken_on_the_chain_in_time() {
    let net = Net::start();
    let wire = net.wire(&net.ldk);
    let funding = net.open(net.ldk(), net.ours());
    let (hash, preimage) = hold(&net, 4);
    net.ldk.disconnect(net.ours().id());
    let apart = || !net.ours.is_connected(&net.ldk().id());
    wait_until("both to be apart", || net.show(), apart);
    wait_until("our word", || net.show(), || net.ours.settle(&preimage));
    assert!(net.chain.is_unspent(funding), "there was time");
    net.mine_until("somebody to go to the chain", || !net.chain.is_unspent(funding));
    net.mine_until_swept([COINS + PUSH + HTLC - FEES, COINS - PUSH - HTLC - FEES]);
    assert_eq!(net.ldk().must_be_paid(hash, net.ours(), HTLC_MSAT), preimage);
    drop(wire);
}
