//! Closing transactions, legacy and simple.
use bitcoin::{Amount, ScriptBuf, Sequence};
use lightning_traits::codec::{Decode as _, Encode as _};
use lightning_traits::tx::{
    ClosingError, ClosingKind, ClosingOutput, ClosingSpec, ClosingTx, CommitmentFormat, signature,
};
use lightning_traits::units::Msat;

use super::setup::{Setup, accepts};

fn side(msat: u64, script: &ScriptBuf) -> ClosingOutput {
    ClosingOutput { balance: Msat::new(msat), script: Some(script.clone()) }
}

fn scripts() -> (ScriptBuf, ScriptBuf) {
    let payer = ScriptBuf::from_bytes([&[0x00, 0x14][..], &[0xbb; 20]].concat());
    let other = ScriptBuf::from_bytes([&[0x51, 0x20][..], &[0xaa; 32]].concat());
    (payer, other)
}

fn spec(payer: u64, other: u64, fee: u64) -> ClosingSpec {
    let (payer_script, other_script) = scripts();
    ClosingSpec {
        kind: ClosingKind::Legacy,
        payer: side(payer, &payer_script),
        other: side(other, &other_script),
        fee: Amount::from_sat(fee),
        dust_limit: Amount::from_sat(354),
    }
}

fn setup() -> Setup {
    Setup::plain(CommitmentFormat::StaticRemoteKey)
}

fn values(closing: &ClosingTx) -> Vec<u64> {
    closing.tx().output.iter().map(|output| output.value.to_sat()).collect()
}

#[test]
fn signed_by_both_it_spends_the_funding_output() {
    let setup = setup();
    let simple = ClosingKind::Simple { lock_time: 812_345 };
    for (kind, lock_time, sequence) in
        [(ClosingKind::Legacy, 0, Sequence::MAX), (simple, 812_345, Sequence(0xffff_fffd))]
    {
        let spec = ClosingSpec { kind, ..spec(6_000_000_999, 3_999_999_001, 500) };
        let closing = ClosingTx::build(&setup.params.funding, &spec).unwrap();
        assert_eq!(ClosingTx::from_bytes(&closing.to_bytes()).as_ref(), Ok(&closing));
        assert_eq!(values(&closing), [3_999_999, 5_999_500]);
        assert_eq!(closing.tx().lock_time.to_consensus_u32(), lock_time);
        assert_eq!(closing.tx().input[0].sequence, sequence);
        let digest = closing.sighash();
        let own = signature::sign(&setup.secp, &digest, &setup.broadcaster.funding);
        let other = signature::sign(&setup.secp, &digest, &setup.countersigner.funding);
        let bound = closing.signed_weight();
        // From either side's view it is the same transaction.
        let signed = closing.clone().signed(&setup.params.broadcaster_funding_key, &own, &other);
        assert_eq!(signed, closing.signed(&setup.params.countersigner_funding_key(), &other, &own));
        assert!(accepts(&setup.params.funding.txout(), &signed, 0));
        let weight = signed.weight().to_wu();
        assert!(weight <= bound && weight + 5 >= bound, "{weight} of {bound}");
    }
}

#[test]
fn equal_amounts_are_ordered_by_script() {
    let setup = setup();
    let closing = ClosingTx::build(&setup.params.funding, &spec(5_000_000_000, 5_000_000_000, 0)).unwrap();
    let (payer, other) = scripts();
    let order: Vec<_> = closing.tx().output.iter().map(|output| output.script_pubkey.clone()).collect();
    assert_eq!(order, [payer, other]);
}

#[test]
fn dust_and_given_up_outputs_are_left_out() {
    let setup = setup();
    let build = |spec: &ClosingSpec| ClosingTx::build(&setup.params.funding, spec);
    let (limit, capacity) = (354_000, 10_000_000_000);
    assert_eq!(values(&build(&spec(capacity - limit, limit, 0)).unwrap()), [354, 9_999_646]);
    assert_eq!(values(&build(&spec(capacity - limit, limit - 1, 0)).unwrap()), [9_999_646]);
    // The payer's output counts after the fee.
    assert_eq!(values(&build(&spec(1_353_000, 9_000_000_000, 1_000)).unwrap()), [9_000_000]);
    let mut given_up = spec(6_000_000_000, 4_000_000_000, 1_000);
    given_up.other.script = None;
    assert_eq!(values(&build(&given_up).unwrap()), [5_999_000]);
    given_up.payer.script = None;
    assert_eq!(build(&given_up), Err(ClosingError::NoOutput));
    assert_eq!(build(&spec(353_999, 353_999, 0)), Err(ClosingError::NoOutput));
}

#[test]
fn fee_above_the_balance_and_money_from_nowhere_are_refused() {
    let setup = setup();
    let (fee, balance) = (Amount::from_sat(1_001), Amount::from_sat(1_000));
    let result = ClosingTx::build(&setup.params.funding, &spec(1_000_999, 9_000_000_000, 1_001));
    assert_eq!(result, Err(ClosingError::FeeAboveBalance { fee, balance }));
    let (needed, capacity) = (Amount::from_sat(10_000_001), setup.params.funding.value);
    let result = ClosingTx::build(&setup.params.funding, &spec(6_000_001_000, 4_000_000_000, 0));
    assert_eq!(result, Err(ClosingError::Overdrawn { needed, capacity }));
}

#[test]
fn op_return_outputs_are_zero_and_never_dust() {
    let setup = setup();
    let mut spec = spec(6_000_000_000, 100_000, 1_000);
    spec.kind = ClosingKind::Simple { lock_time: 0 };
    spec.other.script = Some(ScriptBuf::from_bytes(vec![0x6a, 0x06, 1, 2, 3, 4, 5, 6]));
    assert_eq!(values(&ClosingTx::build(&setup.params.funding, &spec).unwrap()), [0, 5_999_000]);
}
