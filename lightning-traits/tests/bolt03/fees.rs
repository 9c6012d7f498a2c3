//! The fee example of BOLT 3 and the expected weights of BOLT 3 and BOLT 5, Appendices A.
use bitcoin::Amount;
use lightning_traits::payment::Preimage;
use lightning_traits::tx::weight::{self, Spend};
use lightning_traits::tx::{CommitmentFormat, HtlcSpec, TxSide, script, trim};
use lightning_traits::units::{CltvExpiry, FeeratePerKw, Msat};
use serde_json::Value;

use super::setup::{Setup, htlc, spec};
use super::vectors::{list, load, number};

const FORMATS: [(CommitmentFormat, &str); 2] =
    [(CommitmentFormat::StaticRemoteKey, "no_anchors"), (CommitmentFormat::AnchorsZeroFeeHtlc, "anchors")];

fn htlcs(amounts: &Value, offered_by: TxSide) -> Vec<HtlcSpec> {
    let preimage = Preimage::new([1; 32]);
    let amounts = list(amounts).iter().map(number);
    amounts.map(|msat| htlc(offered_by, msat, msat, &preimage, 500)).collect()
}

#[test]
fn fee_example() {
    let Some(vectors) = load("bolt03/fee-example-and-weights.json") else { return };
    let example = &vectors["fee_example"];
    let format = CommitmentFormat::StaticRemoteKey;
    let feerate = FeeratePerKw::new(number(&example["feerate_per_kw"]) as u32);
    let dust_limit = Amount::from_sat(number(&example["dust_limit_satoshis"]));
    let rules = format.rules();
    assert_eq!(rules.htlc_timeout_weight, number(&example["htlc_timeout_weight"]));
    assert_eq!(rules.htlc_success_weight, number(&example["htlc_success_weight"]));
    for (side, field) in
        [(TxSide::Broadcaster, "htlc_timeout_fee"), (TxSide::Countersigner, "htlc_success_fee")]
    {
        assert_eq!(trim::htlc_fee(format, feerate, side).to_sat(), number(&example[field]));
    }

    let mut all = htlcs(&example["offered_htlcs_msat"], TxSide::Broadcaster);
    all.extend(htlcs(&example["received_htlcs_msat"], TxSide::Countersigner));
    let mut untrimmed = htlcs(&example["untrimmed_offered_msat"], TxSide::Broadcaster);
    untrimmed.extend(htlcs(&example["untrimmed_received_msat"], TxSide::Countersigner));
    let kept: Vec<_> =
        all.iter().filter(|htlc| !trim::is_trimmed(htlc, format, feerate, dust_limit)).collect();
    assert_eq!(kept, untrimmed.iter().collect::<Vec<_>>());
    let weight = rules.commitment_weight + 172 * untrimmed.len() as u64;
    assert_eq!(weight, number(&example["commitment_weight"]));
    let fee = trim::commitment_fee(format, feerate, untrimmed.len());
    assert_eq!(fee.to_sat(), number(&example["base_commitment_fee"]));

    // And the transaction itself pays it, the trimmed HTLCs on top.
    let setup = Setup::plain(format);
    let in_flight = Msat::checked_sum(all.iter().map(|htlc| htlc.amount)).unwrap().to_msat();
    let commitment = setup.build(&spec(5_000, 6_000_000_000, 4_000_000_000 - in_flight, all));
    assert_eq!(commitment.fee(&setup.params).to_sat(), number(&example["actual_fee_with_dust"]));
}

#[test]
fn expected_weights_of_bolt_3() {
    let Some(vectors) = load("bolt03/fee-example-and-weights.json") else { return };
    let stated = &vectors["weights"];
    for (format, name) in FORMATS {
        let rules = format.rules();
        assert_eq!(rules.commitment_weight, number(&stated["commitment_base"][name]));
        assert_eq!(rules.htlc_timeout_weight, number(&stated["htlc_timeout"][name]));
        assert_eq!(rules.htlc_success_weight, number(&stated["htlc_success"][name]));
        let (timeout, success) = (Spend::HtlcTimeout, Spend::HtlcSuccess);
        assert_eq!(timeout.witness_weight(format), number(&stated["timeout_witness_bytes"][name]));
        assert_eq!(success.witness_weight(format), number(&stated["success_witness_bytes"][name]));
        assert_eq!(Spend::Funding.witness_weight(format), number(&stated["commitment_witness_bytes"]));

        // A second-stage transaction has one input and one P2WSH output.
        let rest = 4 * (weight::TRANSACTION_BYTES + weight::OUTPUT_BYTES + 34) + weight::SEGWIT_BYTES;
        assert_eq!(timeout.input_weight(format) + rest, rules.htlc_timeout_weight);
        assert_eq!(success.input_weight(format) + rest, number(&stated["htlc_success"]["really"][name]));

        let setup = Setup::plain(format);
        let scripts = script::HtlcScripts::new(format, &setup.keys).unwrap();
        let hash = Preimage::new([1; 32]).hash();
        assert_eq!(scripts.offered(&hash).len() as u64, number(&stated["offered_htlc_script_bytes"][name]));
        // The stated size is that of an expiry with four bytes.
        let received = scripts.received(&hash, CltvExpiry::new(0x0100_0000));
        assert_eq!(received.len() as u64, number(&stated["accepted_htlc_script_bytes"][name]));
    }
    assert_eq!(lightning_traits::tx::format::HTLC_OUTPUT_WEIGHT, number(&stated["per_untrimmed_htlc"]));
    let v2 = &stated["funding_tx_v2"];
    assert_eq!(weight::INPUT_BYTES, number(&v2["input_bytes"]));
    assert_eq!(weight::OUTPUT_BYTES, number(&v2["output_bytes_plus_scriptlen"]));
    assert_eq!(weight::OUTPUT_BYTES + 34, number(&v2["funding_output_bytes"]));
    assert_eq!(weight::TRANSACTION_BYTES, number(&v2["transaction_fields_bytes"]));
    assert_eq!(weight::SEGWIT_BYTES, number(&v2["segwit_fields_bytes"]));
}

#[test]
fn penalty_weights_of_bolt_5() {
    let Some(stated) = load("bolt05/penalty-witness-weights.json") else { return };
    let format = CommitmentFormat::StaticRemoteKey;
    let offered = Spend::RevokedOffered.witness_weight(format);
    assert_eq!(offered, number(&stated["offered_htlc_penalty_witness_bytes"]));
    // BOLT 5 has 139 bytes of script, so an expiry of three bytes; we bound four.
    let received = Spend::RevokedReceived.witness_weight(format);
    assert_eq!(received, number(&stated["accepted_htlc_penalty_witness_bytes"]) + 1);
    assert_eq!(number(&stated["accepted_htlc_script_bytes"]), 139);
    let setup = Setup::plain(format);
    let scripts = script::HtlcScripts::new(format, &setup.keys).unwrap();
    let received_script = scripts.received(&Preimage::new([1; 32]).hash(), CltvExpiry::new(0x7f_ffff));
    assert_eq!(received_script.len() as u64, number(&stated["accepted_htlc_script_bytes"]));
    // BOLT 5 allows a delay of 8 bytes where 3 are possible, and forgets the byte of the item `1`.
    let delayed = Spend::RevokedDelayed.witness_weight(format);
    assert_eq!(delayed, number(&stated["to_local_penalty_witness_bytes"]) - 5 + 1);
    assert_eq!(number(&stated["to_local_script_bytes"]) - 5, 78);
    assert_eq!(number(&stated["offered_htlc_script_bytes"]), 133);
}

#[test]
fn commitment_weight_is_the_expected_one_at_worst() {
    let preimage = Preimage::new([1; 32]);
    for (format, _) in FORMATS {
        let setup = Setup::plain(format);
        let htlcs: Vec<_> = (0..20)
            .map(|id| {
                let side = if id % 2 == 0 { TxSide::Broadcaster } else { TxSide::Countersigner };
                htlc(side, id, 10_000_000, &preimage, 600_000)
            })
            .collect();
        let commitment = setup.build(&spec(253, 5_000_000_000, 4_800_000_000, htlcs));
        let weight = setup.signed(&commitment).weight().to_wu();
        // "count_tx_out: 3 byte" of the anchors format allows for many outputs; with few of them it is 1 byte.
        let expected = format.rules().commitment_weight + 20 * 172;
        let slack = if format.rules().anchors { 4 * 2 } else { 0 };
        assert!(weight <= expected - slack && weight + slack + 5 >= expected, "{weight} {expected}");
        for tx in setup.second_stage(&commitment, |_| preimage.clone()) {
            let expected = if tx.lock_time.to_consensus_u32() == 0 {
                format.rules().htlc_success_weight
            } else {
                format.rules().htlc_timeout_weight
            };
            assert!(tx.weight().to_wu() <= expected);
        }
    }
}
