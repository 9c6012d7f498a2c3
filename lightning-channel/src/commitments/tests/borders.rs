//! Amounts and balances at every border (RELIABILITY B15, C1 to C5, C7).
use alloc::vec::Vec;

use lightning_traits::codec::{Decode, Encode};
use lightning_traits::interface::ChannelSigner;
use lightning_traits::monitor::MonitorStep;
use lightning_traits::tx::{CommitmentFormat, CommitmentKeys, CommitmentSpec, build, trim};
use lightning_traits::units::{FeeratePerKw, Msat};
use proptest::prelude::*;

use super::pair::{Node, Pair, Trouble, fail, fulfil};
use crate::commitments::*;

const FORMATS: [CommitmentFormat; 2] =
    [CommitmentFormat::AnchorsZeroFeeHtlc, CommitmentFormat::StaticRemoteKey];

/// Both commitments of a node can be built, and the side that pays fees keeps its reserve on its own.
fn check_valid(pair: &Pair, node: &Node) {
    let terms = node.state.terms();
    let point = node.signer.commitment_point(CommitmentNumber(0)).unwrap();
    let keys = CommitmentKeys::derive(&pair.secp, point, &terms.ours.keys, &terms.theirs.keys).unwrap();
    build(&terms.our_params(), &keys, node.state.our_spec(), CommitmentNumber(9)).expect("ours can be built");
    let keys = CommitmentKeys::derive(&pair.secp, point, &terms.theirs.keys, &terms.ours.keys).unwrap();
    build(&terms.their_params(), &keys, node.state.their_spec(), CommitmentNumber(9))
        .expect("theirs can be built");
}

/// RELIABILITY C2: what is accepted near a threshold is what the transaction then has.
#[test]
fn c02_thresholds_of_acceptance_are_those_of_the_transaction() {
    for format in FORMATS {
        let rules = format.rules();
        let fee = |weight: u64| if rules.zero_fee_htlc { 0 } else { weight };
        for (from, threshold) in [
            // At 1000 sat/kw the fee in satoshi is the weight.
            (0, 354 + fee(rules.htlc_success_weight)),
            (0, 354 + fee(rules.htlc_timeout_weight)),
            (1, 354 + fee(rules.htlc_success_weight)),
            (1, 354 + fee(rules.htlc_timeout_weight)),
        ] {
            for msat in (threshold - 2) * 1_000..=(threshold + 2) * 1_000 {
                if msat % 500 > 1 && msat % 1_000 != 999 {
                    continue;
                }
                let mut pair = Pair::new(format);
                pair.add(from, Msat::new(msat), 1).unwrap();
                pair.settle();
                for node in &pair.nodes {
                    let terms = node.state.terms();
                    for (spec, dust) in [
                        (node.state.our_spec(), terms.ours.dust_limit),
                        (node.state.their_spec(), terms.theirs.dust_limit),
                    ] {
                        let htlc = spec.htlcs[0];
                        let bound = trim::htlc_threshold(format, spec.feerate, dust, htlc.offered_by);
                        let trimmed = htlc.amount.to_amount_floor() < bound;
                        assert_eq!(trim::untrimmed_count(spec, format, dust), usize::from(!trimmed));
                    }
                    check_valid(&pair, node);
                }
            }
        }
    }
}

/// What is in HTLCs without output on a commitment.
fn dust_of(spec: &CommitmentSpec, node: &Node, ours: bool) -> Msat {
    let terms = node.state.terms();
    let dust = if ours { terms.ours.dust_limit } else { terms.theirs.dust_limit };
    let trimmed = spec.htlcs.iter().filter(|htlc| trim::is_trimmed(htlc, terms.format, spec.feerate, dust));
    Msat::checked_sum(trimmed.map(|htlc| htlc.amount)).unwrap()
}

/// RELIABILITY C1: HTLCs from both sides, those above the bound failed back, never leave more than the bound for long; and
/// a rise of the feerate within the buffer does not either.
#[test]
fn c01_dust_stays_below_its_bound() {
    for format in FORMATS {
        let mut pair = Pair::new(format);
        let limit = Msat::from_sat(20_000);
        for node in &mut pair.nodes {
            node.policy.max_dust_exposure = limit;
        }
        for round in 0..60_u64 {
            for from in [0, 1] {
                let _ = pair.add(from, Msat::from_sat(200 + 97 * (round % 40)), 1);
            }
            pair.settle();
            for by in [0, 1] {
                let bad: Vec<_> = pair.nodes[by]
                    .state
                    .pending_incoming()
                    .filter(|htlc| htlc.over_exposed)
                    .map(|htlc| htlc.id)
                    .collect();
                for id in bad {
                    pair.nodes[by].remove(id, fail()).unwrap();
                }
            }
            pair.settle();
            for node in &pair.nodes {
                assert!(dust_of(node.state.our_spec(), node, true) <= limit);
                assert!(dust_of(node.state.their_spec(), node, false) <= limit);
            }
        }
        pair.nodes[0].fee(1_200).unwrap();
        pair.settle();
        for node in &pair.nodes {
            assert!(dust_of(node.state.our_spec(), node, true) <= limit);
        }
    }
}

/// RELIABILITY B15: HTLCs that are alike in everything but their id.
#[test]
fn b15_equal_htlcs_are_told_apart_by_id() {
    let mut pair = Pair::new(CommitmentFormat::AnchorsZeroFeeHtlc);
    let amount = Msat::from_sat(5_000);
    for _ in 0..25 {
        pair.add(0, amount, 1).unwrap();
        pair.add(1, amount, 1).unwrap();
    }
    pair.settle();
    let start = pair.nodes[0].state.our_balance();
    // In an order that is neither that of the ids nor its reverse; every third one fails.
    for step in 0..25_u64 {
        let id = HtlcId(step * 7 % 25);
        for by in [0, 1] {
            let removal = if id.0.is_multiple_of(3) { fail() } else { fulfil(1) };
            pair.nodes[by].remove(id, removal).unwrap();
        }
        if step.is_multiple_of(4) {
            pair.reconnect([step.is_multiple_of(8), true]);
            pair.settle();
        }
    }
    // A failure that was not signed for is forgotten by a restart, and decided again from what is pending.
    for node in &mut pair.nodes {
        let pending: Vec<_> = node.state.pending_incoming().map(|htlc| htlc.id).collect();
        for id in pending {
            assert_eq!(id.0 % 3, 0);
            node.remove(id, fail()).unwrap();
        }
    }
    pair.settle();
    for node in &pair.nodes {
        assert!(node.state.is_drained());
        assert_eq!(node.outcomes.len(), 25);
        let fulfilled = node.outcomes.values().filter(|end| matches!(end, Outcome::Fulfilled { .. })).count();
        assert_eq!(fulfilled, 16);
    }
    // Nine of ours came back; sixteen went each way.
    let back = Msat::from_sat(5_000 * 25);
    assert_eq!(pair.nodes[0].state.our_balance(), start.checked_add(back).unwrap());
}

/// A step's bytes and the monitor's deltas hold what changed, not what is in flight (I13).
#[test]
fn the_record_grows_with_the_change_only() {
    let mut pair = Pair::new(CommitmentFormat::AnchorsZeroFeeHtlc);
    let mut sizes = Vec::new();
    for _ in 0..60 {
        pair.add(0, Msat::from_sat(1_000), 1).unwrap();
        let mut state = pair.nodes[0].state.clone();
        let evolved = state.evolve(&Change::Signed {});
        let [MonitorStep::TheirCommitment { change, .. }] = evolved.steps.as_slice() else { panic!() };
        sizes.push((change.added.len(), change.removed.len()));
        pair.settle();
    }
    assert!(sizes.iter().all(|size| *size == (1, 0)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// RELIABILITY C3, C4, C10: whatever balances, feerates and reserves, what the limits let through can be built and
    /// signed, and neither side loses its reserve by its own doing.
    #[test]
    fn c03_c04_c10_a_valid_commitment_always_exists(
        pushed in 0..1_000_000_u64,
        reserve in prop_oneof![Just(354_u64), Just(1_000), Just(10_000)],
        anchors in any::<bool>(),
        steps in prop::collection::vec((0..4_u8, 1..400_000_000_u64, 253..15_000_u32), 1..25),
    ) {
        let format = FORMATS[usize::from(!anchors)];
        let mut pair = Pair::with(format, Msat::from_sat(pushed.min(985_000)), |opened, accepted| {
            for terms in [opened, accepted] {
                terms.ours.reserve = Msat::from_sat(reserve);
                terms.theirs.reserve = Msat::from_sat(reserve);
            }
        });
        for (kind, msat, feerate) in steps {
            match kind {
                0 => drop(pair.add(0, Msat::new(msat), 1)),
                1 => drop(pair.add(1, Msat::new(msat), 1)),
                2 => drop(pair.nodes[0].fee(feerate)),
                _ => pair.settle(),
            }
            for node in &pair.nodes {
                check_valid(&pair, node);
            }
        }
        pair.settle();
        for node in &pair.nodes {
            check_valid(&pair, node);
        }
    }

    /// What is said to be sendable is, to the millisatoshi.
    #[test]
    fn sendable_is_the_border(
        pushed in 0..990_000_u64,
        from in 0..2_usize,
        feerate in 253..5_000_u32,
        first in 1..300_000_000_u64,
    ) {
        let mut pair = Pair::with(CommitmentFormat::AnchorsZeroFeeHtlc, Msat::from_sat(pushed), |_, _| ());
        let _ = pair.nodes[0].fee(feerate);
        let _ = pair.add(1 - from, Msat::new(first), 1);
        pair.settle();
        let node = &pair.nodes[from];
        let most = node.state.sendable(&node.policy);
        if most >= Msat::from_sat(354) {
            let more = most.checked_add(Msat::new(1)).unwrap();
            prop_assert!(pair.add(from, more, 1).is_err());
            prop_assert!(pair.add(from, most, 1).is_ok());
            pair.settle();
        }
    }

    /// Extreme limits, feerates and amounts, and such as could be meant, are taken or refused by one of the limits, and overflow
    /// nothing. The opener offers by its own limits; those of the accepter, here no exposure at all, may still refuse it.
    #[test]
    fn c07_extremes_overflow_nothing(
        limit in prop_oneof![Just(Msat::MAX), Just(Msat::ZERO), any::<u64>().prop_map(Msat::new), (0..2_000_000_000_u64).prop_map(Msat::new)],
        feerate in prop_oneof![Just(u32::MAX), Just(0), any::<u32>(), 200..900_000_u32],
        amount in prop_oneof![Just(Msat::MAX), Just(Msat::ZERO), any::<u64>().prop_map(Msat::new), (1..700_000_000_u64).prop_map(Msat::new)],
        format in prop_oneof![Just(FORMATS[0]), Just(FORMATS[1])],
    ) {
        let mut pair = Pair::with(format, Msat::from_sat(400_000), |opened, accepted| {
            for terms in [opened, accepted] {
                terms.ours.max_in_flight = limit;
                terms.theirs.max_in_flight = limit;
            }
        });
        for node in &mut pair.nodes {
            node.policy.max_dust_exposure = limit;
            node.policy.max_feerate = FeeratePerKw::new(u32::MAX);
            node.policy.fair_feerate = FeeratePerKw::new(0);
        }
        let offered = [pair.add(0, amount, 1).is_ok(), pair.nodes[0].fee(feerate).is_ok()];
        let mut taken = Vec::new();
        while let Some(judged) = pair.deliver(0) {
            taken.push(judged.map_err(Trouble::violation));
        }
        prop_assert_eq!(taken.len(), offered.iter().filter(|offered| **offered).count());
        for judged in &taken {
            let by_limit = matches!(judged, Ok(()) | Err(Violation::DustExposure { .. } | Violation::TooMuchInFlight { .. }));
            prop_assert!(by_limit, "{:?}", judged);
        }
        for node in &pair.nodes {
            prop_assert!(node.state.sendable(&node.policy) <= node.state.terms().capacity());
            check_valid(&pair, node);
        }
    }

    /// A damaged record is refused, or gives a state that can be used without a panic (I9).
    #[test]
    fn j12_damaged_records_do_not_panic(
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
        cut in prop::option::of(any::<prop::sample::Index>()),
        noise in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = Change::from_bytes(&noise);
        let _ = Commitments::from_bytes(&noise);
        let mut pair = Pair::new(CommitmentFormat::AnchorsZeroFeeHtlc);
        pair.add(0, Msat::from_sat(20_000), 1).unwrap();
        pair.settle();
        pair.add(1, Msat::from_sat(30_000), 2).unwrap();
        pair.nodes[1].remove(HtlcId(0), fulfil(1)).unwrap();
        pair.deliver_all();
        pair.sign(1).unwrap();
        let node = &pair.nodes[1];
        let mut bytes = node.state.to_bytes();
        let index = at.index(bytes.len());
        bytes[index] ^= flip;
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(mut damaged) = Commitments::from_bytes(&bytes) {
            let _ = damaged.sendable(&node.policy);
            let _ = damaged.receivable();
            let _ = damaged.reestablish(&node.signer);
            let _ = damaged.sign_again(&pair.secp, &node.signer);
            let _ = damaged.evolve(&Change::Dropped {});
            let _ = damaged.evolve(&Change::Signed {});
            let _ = damaged.notices();
        }
    }
}
