//! Properties over arbitrary states: money is conserved, trimming is one decision, the sides are swapped in one place.
use bitcoin::Amount;
use lightning_traits::codec::{Decode as _, Encode as _};
use lightning_traits::id::CommitmentNumber;
use lightning_traits::payment::Preimage;
use lightning_traits::tx::{
    ANCHOR_VALUE, CommitmentError, CommitmentFormat, CommitmentSpec, CommitmentTx, HtlcSpec, ObscureFactor,
    TxSide, build, number_of, trim,
};
use lightning_traits::units::{FeeratePerKw, Msat};
use proptest::prelude::*;

use super::setup::{NUMBER, Setup, htlc, spec};

const CAPACITY: u64 = 10_000_000_000;

fn format() -> impl Strategy<Value = CommitmentFormat> {
    prop_oneof![Just(CommitmentFormat::StaticRemoteKey), Just(CommitmentFormat::AnchorsZeroFeeHtlc)]
}

fn side() -> impl Strategy<Value = TxSide> {
    prop_oneof![Just(TxSide::Broadcaster), Just(TxSide::Countersigner)]
}

fn htlcs() -> impl Strategy<Value = Vec<HtlcSpec>> {
    // Two amounts come often, so that outputs are equal but for their expiry.
    let msat = prop_oneof![Just(8_000_000), Just(8_000_001), 1_u64..20_000_000];
    let one = (side(), msat, 0_u8..2, 500_u32..503);
    prop::collection::vec(one, 0..40).prop_map(|list| {
        let make = |(id, (side, msat, preimage, expiry))| {
            htlc(side, id as u64, msat, &Preimage::new([preimage; 32]), expiry)
        };
        list.into_iter().enumerate().map(make).collect()
    })
}

/// A state of a channel of [`CAPACITY`].
fn state() -> impl Strategy<Value = CommitmentSpec> {
    let feerate = prop_oneof![Just(0), 253_u32..5_000, 100_000..2_000_000_u32];
    (feerate, 0_u64..=1_000, htlcs()).prop_map(|(feerate, share, htlcs)| {
        let in_flight: u64 = htlcs.iter().map(|htlc| htlc.amount.to_msat()).sum();
        let rest = CAPACITY - in_flight;
        let own = rest / 1_000 * share;
        spec(feerate, own, rest - own, htlcs)
    })
}

fn sum(commitment: &CommitmentTx) -> u64 {
    commitment.tx.output.iter().map(|output| output.value.to_sat()).sum()
}

proptest! {
    #[test]
    fn mirroring_twice_changes_nothing(spec in state()) {
        let mirrored = spec.mirror();
        prop_assert_eq!(mirrored.mirror(), spec.clone());
        prop_assert_eq!(mirrored.total(), spec.total());
        prop_assert_eq!(mirrored.balance(TxSide::Broadcaster), spec.balance(TxSide::Countersigner));
        prop_assert!(spec.htlcs.iter().zip(&mirrored.htlcs).all(|(one, other)| one.offered_by != other.offered_by));
        prop_assert_eq!(CommitmentSpec::from_bytes(&spec.to_bytes()), Ok(spec));
    }

    /// Outputs + base fee + trimmed + rounding = capacity, each computed by itself.
    #[test]
    fn money_is_conserved(format in format(), opener in side(), spec in state()) {
        let mut setup = Setup::plain(format);
        setup.params.opener = opener;
        let commitment = match build(&setup.params, &setup.keys, &spec, NUMBER) {
            Ok(commitment) => commitment,
            Err(error) => {
                // Only anchors that nobody pays for can be too much.
                let overdrawn = matches!(error, CommitmentError::Overdrawn { .. });
                prop_assert!(overdrawn && format == CommitmentFormat::AnchorsZeroFeeHtlc);
                let untrimmed = trim::untrimmed_count(&spec, format, setup.params.dust_limit);
                let cost = trim::opener_cost(format, spec.feerate, untrimmed);
                prop_assert!(spec.balance(opener).to_amount_floor() < cost);
                return Ok(());
            }
        };
        let (feerate, limit) = (spec.feerate, setup.params.dust_limit);
        let trimmed = |htlc: &&HtlcSpec| trim::is_trimmed(htlc, format, feerate, limit);
        let cost = trim::opener_cost(format, feerate, commitment.htlcs.len()).to_sat();

        let mut expected: u64 = spec.htlcs.iter().filter(|htlc| !trimmed(htlc)).map(|htlc| htlc.amount.to_sat_floor()).sum();
        for (side, vout) in [
            (TxSide::Broadcaster, commitment.to_broadcaster),
            (TxSide::Countersigner, commitment.to_countersigner),
        ] {
            let balance = spec.balance(side).to_sat_floor();
            let balance = if side == opener { balance.saturating_sub(cost) } else { balance };
            prop_assert_eq!(vout.is_some(), balance >= limit.to_sat());
            if let Some(vout) = vout {
                prop_assert_eq!(commitment.tx.output[vout as usize].value.to_sat(), balance);
                expected += balance;
            }
        }
        let anchors = [commitment.broadcaster_anchor, commitment.countersigner_anchor];
        expected += anchors.iter().flatten().count() as u64 * ANCHOR_VALUE.to_sat();
        prop_assert_eq!(sum(&commitment), expected);
        prop_assert_eq!(commitment.fee(&setup.params).to_sat() + expected, CAPACITY / 1_000);
        prop_assert_eq!(commitment.tx.compute_txid(), commitment.txid);
        prop_assert_eq!(number_of(&commitment.tx, setup.params.obscure), Some(NUMBER));
    }

    /// Every output is listed once, HTLCs in output order, outputs in BIP 69 order with expiries breaking ties.
    #[test]
    fn outputs_are_ordered_and_listed(format in format(), spec in state(), seed in any::<u64>()) {
        let setup = Setup::plain(format);
        let Ok(commitment) = build(&setup.params, &setup.keys, &spec, NUMBER) else { return Ok(()) };
        let outputs = &commitment.tx.output;
        prop_assert!(outputs.is_sorted_by_key(|output| (output.value, output.script_pubkey.to_bytes())));
        for pair in commitment.htlcs.windows(2) {
            let same = outputs[pair[0].vout as usize] == outputs[pair[1].vout as usize];
            prop_assert!(pair[0].vout < pair[1].vout);
            prop_assert!(!same || pair[0].htlc.expiry <= pair[1].htlc.expiry);
        }
        let named = [commitment.to_broadcaster, commitment.to_countersigner, commitment.broadcaster_anchor, commitment.countersigner_anchor];
        let mut all: Vec<u32> = named.into_iter().flatten().chain(commitment.htlcs.iter().map(|htlc| htlc.vout)).collect();
        all.sort_unstable();
        prop_assert_eq!(all, (0..outputs.len() as u32).collect::<Vec<_>>());

        // The order in which the spec lists HTLCs does not matter (I10).
        let mut shuffled = spec;
        let length = shuffled.htlcs.len().max(1);
        shuffled.htlcs.rotate_left(seed as usize % length);
        prop_assert_eq!(build(&setup.params, &setup.keys, &shuffled, NUMBER), Ok(commitment));
    }

    /// RELIABILITY C2: two satoshi around both thresholds, the rule, its threshold and the built transaction agree.
    #[test]
    fn trimming_is_one_decision(format in format(), feerate in 253_u32..50_000, limit in 354_u64..10_000, below in any::<bool>()) {
        let mut setup = Setup::plain(format);
        setup.params.dust_limit = Amount::from_sat(limit);
        let (rate, limit) = (FeeratePerKw::new(feerate), setup.params.dust_limit);
        for side in [TxSide::Broadcaster, TxSide::Countersigner] {
            let threshold = trim::htlc_threshold(format, rate, limit, side).to_sat();
            // The threshold by BOLT 3's own words.
            let weight = match (format, side) {
                (CommitmentFormat::AnchorsZeroFeeHtlc, _) => 0,
                (CommitmentFormat::StaticRemoteKey, TxSide::Broadcaster) => 663,
                (CommitmentFormat::StaticRemoteKey, TxSide::Countersigner) => 703,
            };
            prop_assert_eq!(threshold, limit.to_sat() + u64::from(feerate) * weight / 1_000);
            for sat in threshold - 2..=threshold + 2 {
                // The millisatoshi part never counts.
                let msat = sat * 1_000 + if below { 0 } else { 999 };
                let one = htlc(side, 0, msat, &Preimage::new([1; 32]), 500);
                let rest = CAPACITY - msat;
                let commitment = setup.build(&spec(feerate, rest / 2, rest - rest / 2, vec![one]));
                let trimmed = trim::is_trimmed(&one, format, rate, limit);
                prop_assert_eq!(trimmed, sat < threshold);
                prop_assert_eq!(commitment.htlcs.is_empty(), trimmed);
                let spec = spec(feerate, rest / 2, rest - rest / 2, vec![one]);
                prop_assert_eq!(trim::untrimmed_count(&spec, format, limit), usize::from(!trimmed));
            }
        }
    }

    #[test]
    fn numbers_are_read_off_the_transaction(number in 0_u64..1 << 48) {
        let setup = Setup::plain(CommitmentFormat::StaticRemoteKey);
        let state = spec(253, CAPACITY, 0, vec![]);
        let number = CommitmentNumber(number);
        let commitment = build(&setup.params, &setup.keys, &state, number).unwrap();
        prop_assert_eq!(number_of(&commitment.tx, setup.params.obscure), Some(number));
        let obscured = setup.params.obscure.obscure(number);
        prop_assert!(obscured < 1 << 48);
        prop_assert_eq!(setup.params.obscure.reveal(obscured), number);
    }
}

#[test]
fn other_transactions_have_no_number() {
    let setup = Setup::plain(CommitmentFormat::StaticRemoteKey);
    let tx = setup.build(&spec(253, CAPACITY, 0, vec![])).tx;
    let [opener, accepter] = *setup.params.funding.keys();
    let obscure = ObscureFactor::new(&opener, &accepter);
    let mut closing = tx.clone();
    closing.lock_time = bitcoin::absolute::LockTime::ZERO;
    assert_eq!(number_of(&closing, obscure), None);
    let mut closing = tx.clone();
    closing.input[0].sequence = bitcoin::Sequence::MAX;
    assert_eq!(number_of(&closing, obscure), None);
    let mut two_inputs = tx.clone();
    two_inputs.input.push(tx.input[0].clone());
    assert_eq!(number_of(&two_inputs, obscure), None);
}

#[test]
fn money_that_is_not_the_channels_is_refused() {
    let setup = Setup::plain(CommitmentFormat::StaticRemoteKey);
    let capacity = setup.params.funding.value;
    for (own, other) in [(CAPACITY, 1), (CAPACITY - 1, 0), (u64::MAX, u64::MAX)] {
        let result = build(&setup.params, &setup.keys, &spec(253, own, other, vec![]), NUMBER);
        assert_eq!(result, Err(CommitmentError::Unbalanced { capacity }));
    }
}

/// Anchors that the opener cannot pay for: the fee shrinks first; if that is not enough there is no such transaction.
#[test]
fn anchors_beyond_the_openers_balance() {
    let setup = Setup::plain(CommitmentFormat::AnchorsZeroFeeHtlc);
    let preimage = Preimage::new([1; 32]);
    let state = |own: u64| {
        let big = htlc(TxSide::Countersigner, 0, 1_000_000_000, &preimage, 500);
        spec(253, own, CAPACITY - 1_000_000_000 - own, vec![big])
    };
    // Both anchors cost 660 sat; with less than that in the opener's balance the outputs are more than there is.
    let exact = setup.build(&state(660_000));
    assert_eq!(exact.fee(&setup.params), Amount::ZERO);
    assert!(exact.to_broadcaster.is_none() && exact.broadcaster_anchor.is_some());
    let result = build(&setup.params, &setup.keys, &state(659_999), NUMBER);
    let capacity = setup.params.funding.value;
    // One millisatoshi less for one side is one more for the other, which makes no satoshi of it.
    assert_eq!(result, Ok(setup.build(&state(659_999))).map(|tx: CommitmentTx| tx));
    let result = build(&setup.params, &setup.keys, &state(659_000), NUMBER);
    let needed = capacity + Amount::from_sat(1);
    assert_eq!(result, Err(CommitmentError::Overdrawn { needed, capacity }));
    assert_eq!(Msat::from_amount(capacity), Msat::new(CAPACITY));
}
