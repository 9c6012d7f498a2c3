//! LDK against our daemon, over TCP on one regtest chain: channels, payments, forwards, restarts, closes.
//!
//! LDK is the judge: whatever it refuses, it refuses on the real network too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]
use bitcoin::Amount;
use interop_ldk::net::{COINS, FEES, HTLC_MSAT, Net, OPENING, PAYMENT_MSAT};
use interop_ldk::node::{Close, Node, Progress};
use interop_ldk::wait::turn;

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn each_side_opens_a_channel_to_the_other() {
    let _turn = turn();
    let net = Net::start();
    let first = net.open(net.ldk(), net.ours());
    let second = net.open(net.ours(), net.ldk());
    for funding in [first, second] {
        net.assert_agreed(funding);
        // What our daemon announces must be acceptable to LDK, which looks the output up and checks four signatures.
        net.ldk.wait_announced(net.ldk.short_id(funding).unwrap());
    }
    net.ours().pay(net.ldk(), PAYMENT_MSAT);
    net.ldk().pay(net.ours(), PAYMENT_MSAT);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn fifty_payments_in_a_row_in_both_directions() {
    let _turn = turn();
    let net = Net::start();
    let funding = net.open(net.ldk(), net.ours());
    for _ in 0..50 {
        net.ldk().pay(net.ours(), PAYMENT_MSAT);
    }
    for _ in 0..50 {
        net.ours().pay(net.ldk(), PAYMENT_MSAT);
    }
    net.assert_agreed(funding);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn twenty_payments_at_once_in_both_directions() {
    let _turn = turn();
    let net = Net::start();
    let funding = net.open(net.ours(), net.ldk());
    let mut begun = Vec::new();
    for _ in 0..20 {
        begun.push((net.ours(), net.ldk(), net.ours().must_begin(&net.ldk().new_invoice(PAYMENT_MSAT))));
        begun.push((net.ldk(), net.ours(), net.ldk().must_begin(&net.ours().new_invoice(PAYMENT_MSAT))));
    }
    for (payer, payee, hash) in begun {
        payer.must_be_paid(hash, payee, PAYMENT_MSAT);
    }
    net.nodes().into_iter().for_each(|node| node.wait_idle(funding));
    net.assert_agreed(funding);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn a_payment_that_ldk_refuses_fails_with_us() {
    let _turn = turn();
    let net = Net::start();
    let funding = net.open(net.ours(), net.ldk());
    let before = net.ours().owned_msat(funding).unwrap();
    let (invoice, hash) = net.ldk.hold_invoice(PAYMENT_MSAT);
    net.ours().must_begin(&invoice);
    let _preimage = net.ldk.wait_held(hash, net.ours());
    net.ldk.refuse(hash);
    let outcome = net.ours().outcome(hash, net.ldk());
    assert!(matches!(outcome, Progress::Failed(_)), "{outcome:?}\n{}", net.ours);
    net.ours().wait_idle(funding);
    assert_eq!(net.ours().owned_msat(funding), Some(before));
    // The channel is as good as before.
    net.ours().pay(net.ldk(), PAYMENT_MSAT);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn we_forward_from_ldk_to_ldk() {
    let _turn = turn();
    let net = Net::start().with_other();
    let incoming = net.open(net.ldk(), net.ours());
    let outgoing = net.open(net.ours(), net.other());
    // The payer learns of the second channel by our gossip.
    net.ldk.wait_announced(net.other().short_id(outgoing).unwrap());
    let before = net.ours().owned_msat(incoming).unwrap() + net.ours().owned_msat(outgoing).unwrap();
    let mut fees = 0;
    for _ in 0..5 {
        let hash = net.ldk().must_begin(&(net.other() as &dyn Node).new_invoice(PAYMENT_MSAT));
        net.ldk().must_be_paid(hash, net.other(), PAYMENT_MSAT);
        let Progress::Sent { fee_msat, .. } = net.ldk().progress(hash) else { panic!("it was paid") };
        assert!(fee_msat > 0, "we forward for nothing");
        fees += fee_msat;
    }
    net.ours().wait_idle(incoming);
    net.ours().wait_idle(outgoing);
    let after = net.ours().owned_msat(incoming).unwrap() + net.ours().owned_msat(outgoing).unwrap();
    assert_eq!(after, before + fees, "{}", net.ours);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn both_restart_in_the_middle_of_payments() {
    let _turn = turn();
    let mut net = Net::start();
    let funding = net.open(net.ldk(), net.ours());
    let begin = |net: &Net| {
        let to_ldk: Vec<_> =
            (0..10).map(|_| net.ours().must_begin(&net.ldk().new_invoice(PAYMENT_MSAT))).collect();
        let to_us: Vec<_> =
            (0..10).map(|_| net.ldk().must_begin(&net.ours().new_invoice(PAYMENT_MSAT))).collect();
        (to_ldk, to_us)
    };
    let settle = |net: &Net, (to_ldk, to_us): (Vec<_>, Vec<_>)| {
        for hash in to_ldk {
            net.ours().must_be_paid(hash, net.ldk(), PAYMENT_MSAT);
        }
        for hash in to_us {
            net.ldk().must_be_paid(hash, net.ours(), PAYMENT_MSAT);
        }
        net.nodes().into_iter().for_each(|node| node.wait_idle(funding));
        net.assert_agreed(funding);
    };
    // Ours is cut off in the middle of its work.
    let begun = begin(&net);
    net.ours.kill();
    net.ours.launch();
    net.ldk().connect_to(net.ours().id(), net.ours().address());
    settle(&net, begun);
    // LDK goes and comes back.
    let begun = begin(&net);
    net.ldk = net.ldk.restart(&net.chain);
    net.ours().connect_to(net.ldk().id(), net.ldk().address());
    settle(&net, begun);
    // Both at once, ours by its own wish.
    let begun = begin(&net);
    net.ours.stop();
    net.ldk = net.ldk.restart(&net.chain);
    net.ours.launch();
    net.ldk().connect_to(net.ours().id(), net.ours().address());
    settle(&net, begun);
    net.ours().pay(net.ldk(), PAYMENT_MSAT);
    net.ldk().pay(net.ours(), PAYMENT_MSAT);
}

/// What `opener` and the other side must have after their channel ended with nothing paid but the push.
fn shares(we_open: bool) -> [Amount; 2] {
    let push = Amount::from_sat(OPENING.push_msat / 1000);
    let (less, more) = (COINS - push - FEES, COINS + push - FEES);
    if we_open { [less, more] } else { [more, less] }
}

fn cooperative_close(we_open: bool, we_close: bool) {
    let _turn = turn();
    let net = Net::start();
    let (opener, accepter) = if we_open { (net.ours(), net.ldk()) } else { (net.ldk(), net.ours()) };
    let funding = net.open(opener, accepter);
    net.ours().pay(net.ldk(), PAYMENT_MSAT);
    net.ldk().pay(net.ours(), PAYMENT_MSAT);
    let closer = if we_close { net.ours() } else { net.ldk() };
    closer.close(funding, Close::Cooperative);
    net.confirm_close(funding);
    let close = net.chain.spender(funding, net.chain.height()).unwrap();
    assert_eq!(close.output.len(), 2, "a closing transaction has no anchors: {close:?}");
    net.mine_until_swept(shares(we_open));
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn we_close_our_channel_cooperatively() {
    cooperative_close(true, true);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn we_close_their_channel_cooperatively() {
    cooperative_close(false, true);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn ldk_closes_our_channel_cooperatively() {
    cooperative_close(true, false);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn ldk_closes_its_channel_cooperatively() {
    cooperative_close(false, false);
}

/// We offer an HTLC to LDK, a side force-closes, and LDK takes the HTLC on chain or lets it time out.
fn force_close_with_our_htlc(we_close: bool, claimed: bool) {
    let _turn = turn();
    let net = Net::start();
    let funding = net.open(net.ours(), net.ldk());
    let (invoice, hash) = net.ldk.hold_invoice(HTLC_MSAT);
    net.ours().must_begin(&invoice);
    let preimage = net.ldk.wait_held(hash, net.ours());
    let closer = if we_close { net.ours() } else { net.ldk() };
    closer.close(funding, Close::Force);
    net.confirm_close(funding);
    if claimed {
        net.ldk.claim(&preimage);
    }
    let [ours, theirs] = shares(true);
    let htlc = Amount::from_sat(HTLC_MSAT / 1000);
    net.mine_until_swept(if claimed { [ours - htlc, theirs + htlc] } else { [ours, theirs] });
    let outcome = net.ours().outcome(hash, net.ldk());
    match outcome {
        Progress::Sent { preimage: proof, .. } => assert!(claimed && proof == preimage, "{}", net.ours),
        Progress::Failed(_) => assert!(!claimed, "{outcome:?}\n{}", net.ours),
        Progress::Pending => panic!("an outcome is final"),
    }
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn we_force_close_and_ldk_claims_our_htlc() {
    force_close_with_our_htlc(true, true);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn we_force_close_and_our_htlc_times_out() {
    force_close_with_our_htlc(true, false);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn ldk_force_closes_and_claims_our_htlc() {
    force_close_with_our_htlc(false, true);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn ldk_force_closes_and_our_htlc_times_out() {
    force_close_with_our_htlc(false, false);
}

/// LDK pays the other LDK through us and the channel *to us* is force-closed while the HTLC is pending in both. The
/// preimage then comes over the channel that lives, and we must use it on the chain.
fn force_close_behind_a_forward(we_close: bool) {
    let _turn = turn();
    let net = Net::start().with_other();
    let incoming = net.open(net.ldk(), net.ours());
    let outgoing = net.open(net.ours(), net.other());
    net.ldk.wait_announced(net.other().short_id(outgoing).unwrap());
    let (invoice, hash) = net.other().hold_invoice(HTLC_MSAT);
    net.ldk().must_begin(&invoice);
    let preimage = net.other().wait_held(hash, net.ours());
    let closer = if we_close { net.ours() } else { net.ldk() };
    closer.close(incoming, Close::Force);
    net.confirm_close(incoming);
    net.other().claim(&preimage);
    net.ours().wait_idle(outgoing);
    // Our share of the closed channel and the HTLC come home; the HTLC went out over the other channel.
    let (push, htlc) = (Amount::from_sat(OPENING.push_msat / 1000), Amount::from_sat(HTLC_MSAT / 1000));
    net.mine_until_swept([COINS - OPENING.value + push + htlc - FEES, COINS - push - htlc - FEES]);
    net.ldk().must_be_paid(hash, net.other(), HTLC_MSAT);
    assert!(net.ours().is_usable(outgoing), "{}", net.ours);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn ldk_force_closes_behind_a_forward_and_we_claim_on_chain() {
    force_close_behind_a_forward(false);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn we_force_close_behind_a_forward_and_claim_on_chain() {
    force_close_behind_a_forward(true);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn a_preimage_from_the_chain_settles_the_incoming_half() {
    let _turn = turn();
    let net = Net::start().with_other();
    let incoming = net.open(net.ldk(), net.ours());
    let outgoing = net.open(net.ours(), net.other());
    net.ldk.wait_announced(net.other().short_id(outgoing).unwrap());
    let (invoice, hash) = net.other().hold_invoice(HTLC_MSAT);
    net.ldk().must_begin(&invoice);
    let preimage = net.other().wait_held(hash, net.ours());
    (net.other() as &dyn Node).close(outgoing, Close::Force);
    net.confirm_close(outgoing);
    net.other().claim(&preimage);
    net.mine_until("the payer to have its proof", || net.ldk().progress(hash) != Progress::Pending);
    net.ldk().must_be_paid(hash, net.other(), HTLC_MSAT);
    net.ours().wait_idle(incoming);
    assert!(net.ours().is_usable(incoming), "{}", net.ours);
}
