//! The wire is cut: at any moment of much traffic, and after each single message of a payment.
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use bitcoin::OutPoint;
use interop_ldk::knife::Wire;
use interop_ldk::ldk::{LdkNode, LdkOptions, entropy};
use interop_ldk::net::{Net, PAYMENT_MSAT, Payment};
use interop_ldk::node::{Node, Progress};
use interop_ldk::wait::wait_until;
use lightning_traits::payment::{PaymentHash, Preimage};

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn the_wire_is_cut_again_and_again() {
    let net = Net::start();
    let funding = net.open(net.ours(), net.ldk());
    for round in 0..10 {
        let begun = net.begin(4);
        // At another moment of the exchange each time.
        let ended = |payment: &&Payment| net.ldk().progress(payment.hash) != Progress::Pending;
        let some = || begun.to_ours.iter().filter(ended).count() >= round % 4;
        wait_until("a part of them", || net.ldk(), some);
        net.ldk.disconnect(net.ours().id());
        net.ldk().connect_to(net.ours().id(), net.ours().address());
        net.settle_after_all(&begun, funding);
    }
}

/// Payments that are to meet a knife.
struct Course<'a> {
    net: &'a Net,
    payer: &'a dyn Node,
    /// The LDK node whose wire is cut.
    ldk: &'a LdkNode,
    wire: Wire,
    /// All channels that a payment needs.
    channels: &'a [OutPoint],
}

impl Course<'_> {
    fn is_over(&self, hash: PaymentHash) -> bool {
        // A node that has no part in a channel knows of no HTLC in it.
        let is_idle = |node: &&dyn Node| self.channels.iter().all(|at| node.htlcs(*at).unwrap_or(0) == 0);
        self.payer.progress(hash) != Progress::Pending && self.net.nodes().iter().all(is_idle)
    }

    /// Pays again and again, cuts the wire after the first message, then after the second, and so on until a payment needs
    /// no more than that; each has to end as it should. What passed of the last one has to be `kinds` (BOLT 2).
    fn run(&self, begin: impl Fn() -> PaymentHash, check: impl Fn(PaymentHash), kinds: &[u16]) {
        self.run_with(begin, |_| {}, check, kinds);
    }

    /// As [`run`](Self::run); `drive` is what somebody does again and again while the payment is under way.
    fn run_with(
        &self,
        begin: impl Fn() -> PaymentHash,
        drive: impl Fn(PaymentHash),
        check: impl Fn(PaymentHash),
        kinds: &[u16],
    ) {
        for count in 1.. {
            self.wire.cut_after(count);
            let hash = begin();
            let what = format!("a cut after {count} messages, or the end of the payment");
            let cut_or_over = || {
                drive(hash);
                self.wire.is_cut() || self.is_over(hash)
            };
            wait_until(&what, || self.net.show(), cut_or_over);
            let is_cut = self.wire.spare();
            if is_cut {
                self.net.rewire(self.ldk, &self.wire);
            }
            let ended = || {
                drive(hash);
                self.payer.progress(hash) != Progress::Pending
            };
            wait_until("the end of the payment", || self.net.show(), ended);
            check(hash);
            wait_until("the payment to leave no trace", || self.net.show(), || self.is_over(hash));
            if !is_cut {
                let passed = self.wire.passed();
                let seen: BTreeSet<u16> = passed.iter().map(|(_, kind)| *kind).collect();
                assert_eq!(seen, kinds.iter().copied().collect(), "{passed:?}");
                // Add and settle: each with two commitments and two revocations.
                assert!(count > 10 && passed.len() + 1 == count, "{count} {passed:?}");
                return;
            }
        }
    }
}

const ADD: u16 = 128;
const FULFILL: u16 = 130;
const FAIL: u16 = 131;
const SIGNED: u16 = 132;
const REVOKE: u16 = 133;

/// The usual payment to one LDK node.
fn paid(net: &Net, we_pay: bool) {
    let wire = net.wire(&net.ldk);
    let funding = if we_pay { net.open(net.ours(), net.ldk()) } else { net.open(net.ldk(), net.ours()) };
    let (payer, payee) = if we_pay { (net.ours(), net.ldk()) } else { (net.ldk(), net.ours()) };
    let course = Course { net, payer, ldk: &net.ldk, wire, channels: &[funding] };
    let begin = || payer.must_begin(&payee.new_invoice(PAYMENT_MSAT));
    let check = |hash| drop(payer.must_be_paid(hash, payee, PAYMENT_MSAT));
    course.run(begin, check, &[ADD, SIGNED, REVOKE, FULFILL]);
    net.wait_idle(funding);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn our_payment_survives_a_cut_after_each_message() {
    paid(&Net::start(), true);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn ldks_payment_survives_a_cut_after_each_message() {
    paid(&Net::start(), false);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn our_refused_payment_survives_a_cut_after_each_message() {
    let net = Net::start();
    let wire = net.wire(&net.ldk);
    let funding = net.open(net.ours(), net.ldk());
    let before = net.ours().owned_msat(funding);
    let course = Course { net: &net, payer: net.ours(), ldk: &net.ldk, wire, channels: &[funding] };
    let begin = || net.ours().must_begin(&net.ldk.refused_invoice(PAYMENT_MSAT));
    let check = |hash| net.assert_outcome(net.ours(), hash, None);
    course.run(begin, check, &[ADD, SIGNED, REVOKE, FAIL]);
    net.wait_idle(funding);
    assert_eq!(net.ours().owned_msat(funding), before);
}

/// From LDK over us to the other LDK.
fn forwarded(cut_incoming: bool) {
    let net = Net::start().with_other();
    let ldk = if cut_incoming { &net.ldk } else { net.other() };
    let wire = net.wire(ldk);
    let channels = net.open_both();
    let course = Course { net: &net, payer: net.ldk(), ldk, wire, channels: &channels };
    let begin = || net.ldk().must_begin(&(net.other() as &dyn Node).new_invoice(PAYMENT_MSAT));
    let check = |hash| drop(net.ldk().must_be_paid(hash, net.other(), PAYMENT_MSAT));
    course.run(begin, check, &[ADD, SIGNED, REVOKE, FULFILL]);
    net.assert_agreed(channels[0]);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn a_forward_survives_a_cut_after_each_message_of_the_incoming_channel() {
    forwarded(true);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn a_forward_survives_a_cut_after_each_message_of_the_outgoing_channel() {
    forwarded(false);
}

/// A payment that nobody has asked for.
fn keysent(we_pay: bool) {
    let net = Net::start();
    let wire = net.wire(&net.ldk);
    let funding = if we_pay { net.open(net.ours(), net.ldk()) } else { net.open(net.ldk(), net.ours()) };
    let (payer, payee) = if we_pay { (net.ours(), net.ldk()) } else { (net.ldk(), net.ours()) };
    let course = Course { net: &net, payer, ldk: &net.ldk, wire, channels: &[funding] };
    let begin = || {
        if we_pay {
            net.ours.keysend(payee.id(), PAYMENT_MSAT)
        } else {
            net.ldk.keysend(payee.id(), PAYMENT_MSAT, false)
        }
    };
    let check = |hash| drop(payer.must_be_paid(hash, payee, PAYMENT_MSAT));
    course.run(begin, check, &[ADD, SIGNED, REVOKE, FULFILL]);
    net.wait_idle(funding);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn our_keysend_survives_a_cut_after_each_message() {
    keysent(true);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn ldks_keysend_survives_a_cut_after_each_message() {
    keysent(false);
}

/// LDK pays an invoice of ours whose preimage the test keeps, and then takes or gives back.
fn held(settles: bool) {
    let net = Net::start();
    let wire = net.wire(&net.ldk);
    let funding = net.open(net.ldk(), net.ours());
    let before = net.ours().owned_msat(funding).unwrap();
    let course = Course { net: &net, payer: net.ldk(), ldk: &net.ldk, wire, channels: &[funding] };
    let preimages = RefCell::new(BTreeMap::new());
    let begin = || {
        let preimage = Preimage::new(entropy());
        preimages.borrow_mut().insert(preimage.hash(), preimage.clone());
        net.ldk().must_begin(&net.ours.hold_invoice(&preimage, PAYMENT_MSAT, 20))
    };
    let drive = |hash| {
        if !net.ours.is_held(hash) {
            return;
        }
        if settles {
            net.ours.settle(&preimages.borrow()[&hash]);
        } else {
            net.ours.cancel(hash);
        }
    };
    let check = |hash| {
        if settles {
            drop(net.ldk().must_be_paid(hash, net.ours(), PAYMENT_MSAT));
        } else {
            net.assert_outcome(net.ldk(), hash, None);
            assert_eq!(net.ours().received_msat(hash), 0);
        }
    };
    course.run_with(begin, drive, check, &[ADD, SIGNED, REVOKE, if settles { FULFILL } else { FAIL }]);
    net.wait_idle(funding);
    let count = preimages.borrow().len() as u64;
    let received = if settles { count * PAYMENT_MSAT } else { 0 };
    assert_eq!(net.ours().owned_msat(funding), Some(before + received));
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn a_held_payment_that_we_take_survives_a_cut_after_each_message() {
    held(true);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn a_held_payment_that_we_give_back_survives_a_cut_after_each_message() {
    held(false);
}

/// Over two channels, each of which carries less at a time.
#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn a_payment_in_parts_survives_a_cut_after_each_message() {
    let mut options = LdkOptions::default();
    // 20,000 sat of each channel: so small a payment needs both, and there is money for many.
    options.config.channel_handshake_config.max_inbound_htlc_value_in_flight_percent_of_channel = 1;
    let net = Net::start_with(&options, &[]);
    let wire = net.wire(&net.ldk);
    let channels = [net.open(net.ours(), net.ldk()), net.open(net.ours(), net.ldk())];
    let amount = 30_000_000;
    let course = Course { net: &net, payer: net.ours(), ldk: &net.ldk, wire, channels: &channels };
    let begin = || net.ours().must_begin(&net.ldk().new_invoice(amount));
    let check = |hash| drop(net.ours().must_be_paid(hash, net.ldk(), amount));
    course.run(begin, check, &[ADD, SIGNED, REVOKE, FULFILL]);
    channels.iter().for_each(|at| net.wait_idle(*at));
}
