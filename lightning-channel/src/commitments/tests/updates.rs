//! One row for each rule of BOLT 2's "Normal Operation" that a peer, or we, could break (RELIABILITY B7).
//!
//! Each row sends the bad message to a node as it stands and to the same node after a restart.
use alloc::vec::Vec;

use bitcoin::Amount;
use lightning_traits::codec::TlvRecords;
use lightning_traits::id::{ChannelId, HtlcId};
use lightning_traits::monitor::HtlcOutcome;
use lightning_traits::tx::CommitmentFormat;
use lightning_traits::units::{CltvExpiry, FeeratePerKw, Msat};
use lightning_traits::wire::{
    Message, UpdateAddHtlc, UpdateFailHtlc, UpdateFailMalformedHtlc, UpdateFee, UpdateFulfillHtlc,
};

use super::pair::{Pair, fail, fulfil, hash, preimage, violation};
use crate::commitments::*;
use crate::terms::Terms;

const ANCHORS: CommitmentFormat = CommitmentFormat::AnchorsZeroFeeHtlc;

fn update_add(pair: &mut Pair, id: u64, amount: Msat) -> UpdateAddHtlc {
    let htlc = pair.htlc(amount, 1);
    UpdateAddHtlc {
        channel_id: ChannelId([0; 32]),
        id: HtlcId(id),
        amount_msat: htlc.amount,
        payment_hash: htlc.hash,
        cltv_expiry: htlc.expiry,
        onion_routing_packet: htlc.onion.packet().unwrap().clone(),
        path_key: None,
        unknown: TlvRecords::default(),
    }
}

fn update_fulfill(id: HtlcId, secret: u8) -> UpdateFulfillHtlc {
    UpdateFulfillHtlc {
        channel_id: ChannelId([0; 32]),
        id,
        payment_preimage: preimage(secret),
        attribution_data: None,
        unknown: TlvRecords::default(),
    }
}

fn update_fail(id: HtlcId) -> UpdateFailHtlc {
    UpdateFailHtlc {
        channel_id: ChannelId([0; 32]),
        id,
        reason: alloc::vec![1; 292],
        attribution_data: None,
        unknown: TlvRecords::default(),
    }
}

fn update_malformed(id: HtlcId, failure_code: u16) -> UpdateFailMalformedHtlc {
    UpdateFailMalformedHtlc {
        channel_id: ChannelId([0; 32]),
        id,
        sha256_of_onion: [0; 32],
        failure_code,
        unknown: TlvRecords::default(),
    }
}

fn update_fee(feerate: u32) -> UpdateFee {
    UpdateFee {
        channel_id: ChannelId([0; 32]),
        feerate_per_kw: FeeratePerKw::new(feerate),
        unknown: TlvRecords::default(),
    }
}

/// A pair with an HTLC of 20,000 sat from `from`, irrevocably committed.
fn with_htlc(from: usize) -> (Pair, HtlcId) {
    let mut pair = Pair::new(ANCHORS);
    let id = pair.add(from, Msat::from_sat(20_000), 1).unwrap();
    pair.settle();
    (pair, id)
}

// --- update_add_htlc, received ---

#[test]
fn add_of_nothing() {
    let mut pair = Pair::new(ANCHORS);
    let message = update_add(&mut pair, 0, Msat::ZERO);
    assert_eq!(violation(&mut pair, 1, message), Violation::AmountZero(HtlcId(0)));
}

#[test]
fn add_below_minimum() {
    let minimum = Msat::new(1_000);
    let limit = |opened: &mut Terms, accepted: &mut Terms| {
        opened.theirs.htlc_minimum = minimum;
        accepted.ours.htlc_minimum = minimum;
    };
    let mut pair = Pair::with(ANCHORS, Msat::ZERO, limit);
    let amount = Msat::new(999);
    let message = update_add(&mut pair, 0, amount);
    let expected = Violation::AmountBelowMinimum { htlc: HtlcId(0), amount, minimum };
    assert_eq!(violation(&mut pair, 1, message), expected);
    assert_eq!(pair.add(0, amount, 1), Err(OfferRefused::BelowMinimum { amount, minimum }));
    pair.add(0, minimum, 1).unwrap();
    pair.settle();
}

#[test]
fn add_with_an_id_gap_a_repeated_id_or_a_wrong_start() {
    let (mut pair, _) = with_htlc(0);
    for got in [0, 2, u64::MAX] {
        let message = update_add(&mut pair, got, Msat::from_sat(1_000));
        let expected = Violation::HtlcIdOutOfOrder { expected: HtlcId(1), got: HtlcId(got) };
        assert_eq!(violation(&mut pair, 1, message), expected);
    }
    let message = update_add(&mut pair, 1, Msat::from_sat(1_000));
    let expected = Violation::HtlcIdOutOfOrder { expected: HtlcId(0), got: HtlcId(1) };
    assert_eq!(violation(&mut pair, 0, message), expected);
}

#[test]
fn b17_add_that_expires_at_a_time() {
    let mut pair = Pair::new(ANCHORS);
    for (expiry, is_time) in [(499_999_999, false), (500_000_000, true), (u32::MAX, true), (0, false)] {
        let mut message = update_add(&mut pair, 0, Msat::from_sat(1_000));
        let expiry = CltvExpiry::new(expiry);
        message.cltv_expiry = expiry;
        if is_time {
            let expected = Violation::ExpiryIsTime { htlc: HtlcId(0), expiry };
            assert_eq!(violation(&mut pair, 1, message), expected);
        } else {
            // Whether the height is sensible is for the HTLC, not for the channel (RELIABILITY B17).
            pair.nodes[1].state.accept_add(&message, &pair.nodes[1].policy).unwrap();
        }
        let mut htlc = pair.htlc(Msat::from_sat(1_000), 1);
        htlc.expiry = expiry;
        let offered = pair.nodes[0].state.offer_add(&htlc, &pair.nodes[0].policy);
        assert_eq!(offered.err(), is_time.then_some(OfferRefused::ExpiryIsTime(expiry)));
    }
}

#[test]
fn add_above_the_number_of_htlcs() {
    let limit = |opened: &mut Terms, accepted: &mut Terms| {
        opened.theirs.max_accepted_htlcs = 3;
        accepted.ours.max_accepted_htlcs = 3;
    };
    let mut pair = Pair::with(ANCHORS, Msat::ZERO, limit);
    for _ in 0..3 {
        pair.add(0, Msat::from_sat(1_000), 1).unwrap();
    }
    pair.deliver_all();
    let message = update_add(&mut pair, 3, Msat::from_sat(1_000));
    assert_eq!(violation(&mut pair, 1, message), Violation::TooManyHtlcs(3));
    assert_eq!(pair.add(0, Msat::from_sat(1_000), 1), Err(OfferRefused::TooManyHtlcs { limit: 3 }));
    assert_eq!(pair.nodes[0].state.sendable(&pair.nodes[0].policy), Msat::ZERO);
}

#[test]
fn c06_add_above_483_htlcs() {
    let mut pair = Pair::new(ANCHORS);
    for _ in 0..483 {
        pair.add(0, Msat::from_sat(500), 1).unwrap();
    }
    pair.settle();
    let message = update_add(&mut pair, 483, Msat::from_sat(500));
    assert_eq!(violation(&mut pair, 1, message), Violation::TooManyHtlcs(483));
    assert_eq!(pair.add(0, Msat::from_sat(500), 1), Err(OfferRefused::TooManyHtlcs { limit: 483 }));
    let signed = pair.nodes[0].state.sign_again(&pair.secp, &pair.nodes[0].signer).unwrap();
    assert_eq!(signed.htlc_signature.len(), 483);
    Message::from(signed).to_wire().expect("fits a message");
}

#[test]
fn add_above_the_value_in_flight() {
    let limit = Msat::from_sat(50_000);
    let change = |opened: &mut Terms, accepted: &mut Terms| {
        opened.theirs.max_in_flight = limit;
        accepted.ours.max_in_flight = limit;
    };
    let mut pair = Pair::with(ANCHORS, Msat::ZERO, change);
    pair.add(0, Msat::from_sat(30_000), 1).unwrap();
    pair.deliver_all();
    let total = Msat::new(50_000_001);
    let message = update_add(&mut pair, 1, Msat::new(20_000_001));
    assert_eq!(violation(&mut pair, 1, message), Violation::TooMuchInFlight { total, limit });
    let refused = pair.add(0, Msat::new(20_000_001), 1);
    assert_eq!(refused, Err(OfferRefused::TooMuchInFlight { total, limit }));
    assert_eq!(pair.nodes[0].state.sendable(&pair.nodes[0].policy), Msat::from_sat(20_000));
    pair.add(0, Msat::from_sat(20_000), 1).unwrap();
    pair.settle();
}

#[test]
fn add_that_the_accepter_cannot_afford() {
    let mut pair = Pair::new(ANCHORS);
    // 400,000 sat less 10,000 of reserve.
    let message = update_add(&mut pair, 0, Msat::new(390_000_001));
    let expected = Violation::SenderCannotAfford { htlc: HtlcId(0), missing: Msat::new(1) };
    assert_eq!(violation(&mut pair, 0, message), expected);
    let amount = Msat::new(390_000_001);
    let refused = pair.add(1, amount, 1);
    assert_eq!(refused, Err(OfferRefused::InsufficientBalance { amount, missing: Msat::new(1) }));
    pair.add(1, Msat::new(390_000_000), 1).unwrap();
    pair.settle();
}

#[test]
fn add_that_the_opener_cannot_afford() {
    let mut pair = Pair::new(ANCHORS);
    // 600,000 - 10,000 - 660 - 1124 - 172 at 1000 sat/kw is what the peer must take,
    let most = 600_000 - 10_000 - 660 - 1_124 - 172;
    let message = update_add(&mut pair, 0, Msat::new(most * 1_000 + 1));
    let expected = Violation::SenderCannotAfford { htlc: HtlcId(0), missing: Msat::new(1) };
    assert_eq!(violation(&mut pair, 1, message), expected);
    let message = update_add(&mut pair, 0, Msat::from_sat(most));
    pair.nodes[1].state.accept_add(&message, &pair.nodes[1].policy).unwrap();
    // and with twice the rate for one HTLC more what we offer.
    let most = 600_000 - 10_000 - 660 - 2 * (1_124 + 2 * 172);
    assert_eq!(pair.nodes[0].state.sendable(&pair.nodes[0].policy), Msat::from_sat(most));
    let amount = Msat::new(most * 1_000 + 1);
    let refused = pair.add(0, amount, 1);
    assert_eq!(refused, Err(OfferRefused::InsufficientBalance { amount, missing: Msat::new(1) }));
    pair.add(0, Msat::from_sat(most), 1).unwrap();
    pair.settle();
}

#[test]
fn add_of_more_than_there_is() {
    let mut pair = Pair::new(ANCHORS);
    for amount in [Msat::from_sat(600_001), Msat::from_sat(1_000_001), Msat::MAX] {
        let message = update_add(&mut pair, 0, amount);
        assert!(matches!(violation(&mut pair, 1, message), Violation::SenderCannotAfford { .. }));
        assert!(matches!(pair.add(0, amount, 1), Err(OfferRefused::InsufficientBalance { .. })));
    }
}

#[test]
fn add_that_the_opener_on_our_side_cannot_pay_for() {
    // We, the opener, are at 10,900 sat: our reserve, the anchors, and not enough for a fee at 5000 sat/kw.
    let poor = Msat::from_sat(1_000_000 - 3_000);
    let low = |opened: &mut Terms, accepted: &mut Terms| {
        opened.ours.reserve = Msat::from_sat(354);
        accepted.theirs.reserve = Msat::from_sat(354);
    };
    let mut pair = Pair::with(ANCHORS, poor, low);
    let mut count = 0;
    let refused = loop {
        let message = update_add(&mut pair, count, Msat::from_sat(1_000));
        match pair.nodes[0].state.accept_add(&message, &pair.nodes[0].policy) {
            Ok(change) => pair.nodes[0].evolve(change),
            Err(error) => break error,
        }
        count += 1;
    };
    // 3000 - 660 - 1124 = 1216 sat pay for 7 HTLCs at 172 sat.
    assert_eq!(count, 7);
    let expected = Violation::OpenerCannotPay { htlc: HtlcId(7), missing: Msat::from_sat(160) };
    assert_eq!(refused, expected);
    // A peer of our own kind stops in time.
    let mut pair = Pair::with(ANCHORS, poor, low);
    let refused = loop {
        if let Err(error) = pair.add(1, Msat::from_sat(1_000), 1) {
            break error;
        }
    };
    assert!(matches!(refused, OfferRefused::PeerCannotPay { .. }));
    pair.add(1, Msat::from_sat(300), 1).expect("dust costs no fee");
    pair.settle();
}

#[test]
fn c10_add_that_leaves_no_output() {
    // Without reserves both could go below the dust limit with nothing but dust in flight (RELIABILITY C10).
    let none = |opened: &mut Terms, accepted: &mut Terms| {
        for terms in [opened, accepted] {
            terms.ours.reserve = Msat::ZERO;
            terms.theirs.reserve = Msat::ZERO;
            terms.ours.dust_limit = Amount::from_sat(600_000);
            terms.theirs.dust_limit = Amount::from_sat(600_000);
        }
    };
    let mut pair = Pair::with(ANCHORS, Msat::from_sat(350_000), none);
    let amount = Msat::from_sat(300_000);
    let message = update_add(&mut pair, 0, amount);
    assert_eq!(violation(&mut pair, 1, message), Violation::NoOutput(HtlcId(0)));
    assert_eq!(pair.add(0, amount, 1), Err(OfferRefused::NoOutput));
}

#[test]
fn c11_too_much_dust_is_marked_and_not_offered() {
    let mut pair = Pair::new(ANCHORS);
    let limit = Msat::from_sat(1_000);
    pair.nodes[1].policy.max_dust_exposure = limit;
    for amount in [353, 353, 294] {
        pair.add(0, Msat::from_sat(amount), 1).unwrap();
    }
    pair.settle();
    assert!(pair.nodes[1].state.pending_incoming().all(|htlc| !htlc.over_exposed));
    // Ours and theirs count together.
    let exposure = Msat::new(1_000_001);
    assert_eq!(pair.add(1, Msat::new(1), 1), Err(OfferRefused::DustExposure { exposure, limit }));
    assert!(pair.add(1, Msat::from_sat(354), 1).is_ok(), "what has an output is no dust");
    pair.add(0, Msat::new(1), 1).unwrap();
    pair.settle();
    let marked: Vec<_> = pair.nodes[1].state.pending_incoming().map(|htlc| htlc.over_exposed).collect();
    assert_eq!(marked, [false, false, false, true]);
    // RELIABILITY C11: once above, nothing more is offered.
    assert!(matches!(pair.add(1, Msat::from_sat(354), 1), Err(OfferRefused::DustExposure { .. })));
    assert_eq!(pair.nodes[1].state.sendable(&pair.nodes[1].policy), Msat::ZERO);
}

#[test]
fn c05_fees_above_what_is_fair_count_as_exposure() {
    let mut pair = Pair::new(ANCHORS);
    let policy = &mut pair.nodes[1].policy;
    policy.fair_feerate = FeeratePerKw::new(253);
    // The opener pays 1000 sat/kw: 1124 + 172 weight x 747 sat/kw is 968 sat too much.
    policy.max_dust_exposure = Msat::from_sat(967);
    pair.add(0, Msat::from_sat(10_000), 1).unwrap();
    pair.settle();
    assert!(pair.nodes[1].state.pending_incoming().all(|htlc| htlc.over_exposed));
}

// --- removals, received ---

#[test]
fn removal_of_an_htlc_that_is_not_committed() {
    let mut pair = Pair::new(ANCHORS);
    let id = pair.add(0, Msat::from_sat(20_000), 1).unwrap();
    // Not signed for; signed for; revoked by them, but not in our commitment.
    for _ in 0..3 {
        let expected = Violation::HtlcNotCommitted(id);
        assert_eq!(violation(&mut pair, 0, update_fulfill(id, 1)), expected);
        assert_eq!(violation(&mut pair, 0, update_fail(id)), expected);
        assert_eq!(violation(&mut pair, 0, update_malformed(id, BADONION | 4)), expected);
        let _ = pair.sign(0);
        let _ = pair.deliver(0);
        let _ = pair.deliver(0);
        let _ = pair.deliver(1);
    }
    assert_eq!(pair.nodes[1].state.offer_removal(id, fail()).err(), Some(RemovalRefused::NotCommitted(id)));
    pair.settle();
    pair.nodes[1].remove(id, fulfil(1)).unwrap();
    pair.settle();
}

#[test]
fn removal_of_an_unknown_htlc() {
    let (mut pair, id) = with_htlc(0);
    for unknown in [id.next(), HtlcId(u64::MAX)] {
        let expected = Violation::HtlcUnknown(unknown);
        assert_eq!(violation(&mut pair, 0, update_fulfill(unknown, 1)), expected);
        assert_eq!(violation(&mut pair, 0, update_fail(unknown)), expected);
        assert_eq!(violation(&mut pair, 0, update_malformed(unknown, BADONION)), expected);
        let refused = pair.nodes[1].state.offer_removal(unknown, fail()).err();
        assert_eq!(refused, Some(RemovalRefused::Unknown(unknown)));
    }
    // Ids of the other direction are other HTLCs.
    assert_eq!(violation(&mut pair, 1, update_fulfill(id, 1)), Violation::HtlcUnknown(id));
}

#[test]
fn removal_twice() {
    let (mut pair, id) = with_htlc(0);
    let removals = |id| -> [Message; 3] {
        [update_fulfill(id, 1).into(), update_fail(id).into(), update_malformed(id, BADONION).into()]
    };
    pair.nodes[1].remove(id, fulfil(1)).unwrap();
    let refused = RemovalRefused::AlreadyRemoved(id);
    // At each step of the removal, and when the HTLC is gone.
    for step in 0..5 {
        pair.deliver_all();
        for message in removals(id) {
            assert_eq!(violation(&mut pair, 0, message), Violation::HtlcAlreadyRemoved(id), "step {step}");
        }
        assert_eq!(pair.nodes[1].state.offer_removal(id, fulfil(1)).err(), Some(refused));
        assert_eq!(pair.nodes[1].state.offer_removal(id, fail()).err(), Some(refused));
        let _ = pair.sign(1);
        let _ = pair.deliver(1);
        let _ = pair.deliver(0);
        let _ = pair.sign(0);
    }
    pair.settle();
}

#[test]
fn fulfil_with_a_wrong_preimage() {
    let (mut pair, id) = with_htlc(0);
    assert_eq!(violation(&mut pair, 0, update_fulfill(id, 2)), Violation::WrongPreimage(id));
    assert_eq!(
        pair.nodes[1].state.offer_removal(id, fulfil(2)).err(),
        Some(RemovalRefused::WrongPreimage(id))
    );
}

#[test]
fn b14_malformed_without_badonion() {
    let (mut pair, id) = with_htlc(0);
    let expected = Violation::MissingBadOnion { htlc: id, code: 0x4005 };
    assert_eq!(violation(&mut pair, 0, update_malformed(id, 0x4005)), expected);
    let removal = Removal::Malformed { sha256_of_onion: [0; 32], code: 0x4005 };
    let refused = pair.nodes[1].state.offer_removal(id, removal).err();
    assert_eq!(refused, Some(RemovalRefused::MissingBadOnion(0x4005)));
}

#[test]
fn b16_failures_of_any_size_fit_a_message_or_are_refused() {
    let (pair, id) = with_htlc(0);
    for length in [0, 256, 292, 1_024, 60_000, 64_000, 65_000, 65_535, 70_000] {
        let removal = Removal::Fail {
            reason: alloc::vec![1; length],
            attribution: Some(lightning_traits::sphinx::AttributionData::empty()),
        };
        match pair.nodes[1].state.offer_removal(id, removal) {
            Ok((_, message)) => {
                message.to_wire().expect("fits a message");
            }
            Err(refused) => assert_eq!(refused, RemovalRefused::ReasonTooLong(length)),
        }
    }
}

#[test]
fn fulfilment_is_told_once_whatever_happens() {
    // RELIABILITY B5: fulfil, reconnect before it is signed for, fulfil again.
    let (mut pair, id) = with_htlc(0);
    pair.nodes[1].remove(id, fulfil(1)).unwrap();
    pair.deliver_all();
    let told = pair.nodes[0].state.notices();
    assert!(matches!(
        told.as_slice(),
        [Notice::Settled { outcome: Outcome::Fulfilled { .. }, is_final: false, .. }]
    ));
    for done in [false, true] {
        if done {
            let notice = NoticeKey::Settled { htlc: id };
            pair.nodes[0].evolve(Change::NoticeDone { notice });
        }
        pair.reconnect([true, true]);
        pair.deliver_all();
        let expected = if done { 0 } else { 1 };
        assert_eq!(pair.nodes[0].state.notices().len(), expected, "done: {done}");
    }
    pair.settle();
    assert!(pair.nodes[0].state.notices().is_empty());
    assert!(pair.nodes[0].state.outgoing().next().is_none());
    // We, the payee, are told until it is done with.
    let amount = Msat::from_sat(20_000);
    let claimed =
        Notice::Claimed { htlc: id, hash: hash(1), amount, total: Msat::new(1), preimage: preimage(1) };
    assert_eq!(pair.nodes[1].state.notices(), core::slice::from_ref(&claimed));
    pair.nodes[1].evolve(Change::NoticeDone { notice: claimed.key() });
    assert!(pair.nodes[1].state.notices().is_empty());
}

#[test]
fn failure_is_told_only_when_irrevocable() {
    let (mut pair, id) = with_htlc(0);
    pair.nodes[1].remove(id, fail()).unwrap();
    pair.sign(1).unwrap();
    pair.deliver_all();
    assert!(pair.nodes[0].state.notices().is_empty(), "they can still claim it on their old commitment");
    pair.sign(0).unwrap();
    pair.deliver(0).unwrap().unwrap();
    assert!(pair.nodes[0].state.notices().is_empty());
    pair.deliver_all();
    let notices = pair.nodes[0].state.notices();
    assert!(matches!(
        notices.as_slice(),
        [Notice::Settled { outcome: Outcome::Failed { .. }, is_final: true, .. }]
    ));
}

#[test]
fn the_chain_decides_what_the_peer_left_open() {
    let (pair, id) = with_htlc(0);
    let claimed = HtlcOutcome::Claimed { preimage: preimage(1) };
    let failed = HtlcOutcome::Failed {};
    for (outcomes, fulfilled) in [
        (alloc::vec![claimed.clone()], true),
        (alloc::vec![failed.clone()], false),
        // A preimage is worth its amount, whichever comes first.
        (alloc::vec![claimed.clone(), failed.clone()], true),
        (alloc::vec![failed.clone(), claimed.clone()], true),
    ] {
        let mut state = pair.nodes[0].state.clone();
        for outcome in outcomes {
            if let Some(change) = state.accept_chain_outcome(id, &outcome) {
                let _ = state.evolve(&change);
            }
            assert_eq!(state.accept_chain_outcome(id, &outcome), None, "told once");
        }
        let notices = state.notices();
        let [Notice::Settled { outcome, is_final: true, .. }] = notices.as_slice() else {
            panic!("{notices:?}")
        };
        assert_eq!(matches!(outcome, Outcome::Fulfilled { .. }), fulfilled);
        let _ = state.evolve(&Change::NoticeDone { notice: NoticeKey::Settled { htlc: id } });
        assert!(state.notices().is_empty());
        assert_eq!(state.accept_chain_outcome(id, &claimed), None);
        assert_eq!(state.accept_chain_outcome(id, &failed), None);
    }
}

#[test]
fn l19_a_preimage_that_opens_nothing_is_no_claim() {
    let (pair, id) = with_htlc(0);
    let mut state = pair.nodes[0].state.clone();
    let (claimed, bogus) = (preimage(1), preimage(2));
    let [claimed, bogus] = [claimed, bogus].map(|preimage| HtlcOutcome::Claimed { preimage });
    assert_eq!(state.accept_chain_outcome(id, &bogus), None);
    // Nor after it has failed.
    let change = state.accept_chain_outcome(id, &HtlcOutcome::Failed {}).unwrap();
    let _ = state.evolve(&change);
    assert_eq!(state.accept_chain_outcome(id, &bogus), None);
    assert!(state.accept_chain_outcome(id, &claimed).is_some());
}

// --- update_fee ---

#[test]
fn fee_from_the_accepter() {
    let mut pair = Pair::new(ANCHORS);
    assert_eq!(violation(&mut pair, 0, update_fee(2_000)), Violation::FeeFromAccepter);
    assert_eq!(pair.nodes[1].fee(2_000), Err(FeeRefused::NotOpener));
}

#[test]
fn fee_out_of_range() {
    let mut pair = Pair::new(ANCHORS);
    for got in [0, 1, 252] {
        let (feerate, limit) = (FeeratePerKw::new(got), FeeratePerKw::new(253));
        assert_eq!(violation(&mut pair, 1, update_fee(got)), Violation::FeerateTooLow { feerate, limit });
        assert_eq!(pair.nodes[0].fee(got), Err(FeeRefused::OutOfRange(feerate)));
    }
    for got in [20_001, 1_000_000, u32::MAX] {
        let (feerate, limit) = (FeeratePerKw::new(got), FeeratePerKw::new(20_000));
        assert_eq!(violation(&mut pair, 1, update_fee(got)), Violation::FeerateTooHigh { feerate, limit });
        assert_eq!(pair.nodes[0].fee(got), Err(FeeRefused::OutOfRange(feerate)));
    }
    assert_eq!(pair.nodes[0].fee(1_000), Err(FeeRefused::Same(FeeratePerKw::new(1_000))));
    pair.nodes[0].fee(253).unwrap();
    pair.settle();
    assert_eq!(pair.nodes[1].state.feerate(), FeeratePerKw::new(253));
}

#[test]
fn fee_that_the_opener_cannot_afford() {
    // 20,000 sat: 10,000 of reserve and 660 for anchors leave 9340, which 1124 weight turn into 8309 sat/kw.
    let mut pair = Pair::with(ANCHORS, Msat::from_sat(980_000), |_, _| ());
    let feerate = FeeratePerKw::new(8_311);
    let expected = Violation::FeeUnaffordable { feerate, missing: Msat::from_sat(1) };
    assert_eq!(violation(&mut pair, 1, update_fee(8_311)), expected);
    pair.nodes[1].state.accept_fee(&update_fee(8_309), &pair.nodes[1].policy).unwrap();
    // With room for five HTLCs more it is 1984 weight: 4707 sat/kw.
    assert!(matches!(pair.nodes[0].fee(4_709), Err(FeeRefused::Unaffordable { .. })));
    pair.nodes[0].fee(4_707).unwrap();
    pair.settle();
}

#[test]
fn fee_that_makes_too_much_dust() {
    let mut pair = Pair::new(CommitmentFormat::StaticRemoteKey);
    // 2000 sat have an output at 1000 sat/kw (354 + 703), and at 3500 sat/kw too, but not at 5000.
    pair.add(0, Msat::from_sat(3_000), 1).unwrap();
    pair.settle();
    let limit = Msat::from_sat(2_999);
    for node in &mut pair.nodes {
        node.policy.max_dust_exposure = limit;
    }
    let exposure = Msat::from_sat(3_000);
    assert_eq!(violation(&mut pair, 1, update_fee(5_000)), Violation::DustExposure { exposure, limit });
    assert_eq!(pair.nodes[0].fee(5_000), Err(FeeRefused::DustExposure { exposure, limit }));
    pair.nodes[1].state.accept_fee(&update_fee(500), &pair.nodes[1].policy).expect("a lower rate is fine");
}
