//! Appendix C: 16 commitments and their 33 HTLC transactions, all signatures included.
use bitcoin::{Amount, OutPoint, TxOut};
use lightning_traits::payment::Preimage;
use lightning_traits::tx::{
    CommitmentFormat, CommitmentSecret, HtlcSpec, SecondStage, TxSide, derive_secret_key, number_of, script,
    signature,
};
use serde_json::Value;

use super::setup::{NUMBER, Setup, Side, accepts, appendix_htlc, appendix_preimage, public, spec};
use super::vectors::{array, bytes, key, list, load, number, secret};

pub(crate) const FILE: &str = "bolt03/appendix-c-commitment-static-remotekey.json";

/// The channel of Appendix C; F has the same keys.
pub(crate) fn setup(format: CommitmentFormat, vectors: &Value) -> Setup {
    let (keys, internal, parameters) = (&vectors["keys"], &vectors["internal"], &vectors["parameters"]);
    let broadcaster = Side {
        funding: secret(&keys["local_funding_privkey"]),
        // Not named by the vectors: nothing on the broadcaster's own commitment depends on it.
        revocation: secret(&internal["local_payment_basepoint_secret"]),
        payment: secret(&internal["local_payment_basepoint_secret"]),
        delayed: secret(&internal["local_delayed_payment_basepoint_secret"]),
        htlc: secret(&internal["local_payment_basepoint_secret"]),
    };
    let countersigner = Side {
        funding: secret(&internal["remote_funding_privkey"]),
        revocation: secret(&internal["remote_revocation_basepoint_secret"]),
        payment: secret(&internal["remote_payment_basepoint_secret"]),
        delayed: secret(&internal["remote_payment_basepoint_secret"]),
        htlc: secret(&internal["remote_payment_basepoint_secret"]),
    };
    let per_commitment = secret(&internal["x_local_per_commitment_secret"]);
    let outpoint = OutPoint {
        txid: parameters["funding_tx_id"].as_str().unwrap().parse().unwrap(),
        vout: number(&parameters["funding_output_index"]) as u32,
    };
    let value = Amount::from_sat(number(&parameters["funding_amount_satoshi"]));
    let secret = CommitmentSecret::new(per_commitment.secret_bytes());
    let setup = Setup::new(format, [broadcaster, countersigner], secret, (outpoint, value));
    assert_eq!(number(&parameters["commitment_number"]), NUMBER.0);
    assert_eq!(number(&parameters["local_delay"]), u64::from(setup.params.to_self_delay.get()));
    assert_eq!(number(&parameters["local_dust_limit_satoshi"]), setup.params.dust_limit.to_sat());
    setup
}

#[test]
fn keys_are_derived_as_stated() {
    let Some(vectors) = load(FILE) else { return };
    let setup = setup(CommitmentFormat::StaticRemoteKey, &vectors);
    let (stated, internal) = (&vectors["keys"], &vectors["internal"]);
    assert_eq!(setup.keys.revocation_key, key(&stated["local_revocation_pubkey"]));
    assert_eq!(setup.keys.broadcaster_delayed_key, key(&stated["local_delayedpubkey"]));
    let htlc = setup.keys.htlc.unwrap();
    assert_eq!(htlc.broadcaster, key(&stated["local_htlcpubkey"]));
    assert_eq!(htlc.countersigner, key(&stated["remote_htlcpubkey"]));
    assert_eq!(setup.keys.countersigner_payment_key, key(&stated["remote_payment_basepoint"]));
    assert_eq!(setup.keys.per_commitment_point, key(&internal["local_per_commitment_point"]));
    assert_eq!(setup.params.broadcaster_funding_key, key(&stated["local_funding_pubkey"]));
    assert_eq!(setup.params.countersigner_funding_key(), key(&stated["remote_funding_pubkey"]));
    let (own, other) = setup.htlc_keys();
    assert_eq!(own, secret(&stated["local_privkey"]));
    assert_eq!(other, secret(&internal["remote_privkey"]));
    let delayed =
        derive_secret_key(&setup.secp, &setup.broadcaster.delayed, &setup.keys.per_commitment_point);
    assert_eq!(delayed.unwrap(), secret(&internal["local_delayed_privkey"]));
    assert_eq!(public(&setup.secp, &delayed.unwrap()), setup.keys.broadcaster_delayed_key);
    // "obscured commitment number = 0x2bb038521914 ^ 42"
    assert_eq!(setup.params.obscure.obscure(NUMBER), 0x2bb0_3852_1914 ^ 42);
}

#[test]
fn htlcs_are_those_of_the_file() {
    let Some(vectors) = load(FILE) else { return };
    for (index, stated) in list(&vectors["htlcs"]).iter().enumerate() {
        let (htlc, preimage) = appendix_htlc(index);
        let received = stated["direction"] == "remote->local";
        assert_eq!(htlc.offered_by == TxSide::Countersigner, received);
        assert_eq!(htlc.amount.to_msat(), number(&stated["amount_msat"]));
        assert_eq!(u64::from(htlc.expiry.get()), number(&stated["expiry"]));
        assert_eq!(preimage, Preimage::new(array(&stated["payment_preimage"])));
    }
    assert_eq!(list(&vectors["htlcs"]).len(), 7);
}

/// Which HTLCs a case has in flight: all of 0 to 4 but in the first and the last one.
pub(crate) fn htlcs_of_case(index: usize, without: usize, last: usize) -> Vec<HtlcSpec> {
    let ids = match index {
        _ if index < without => vec![],
        _ if index == last => vec![1, 5, 6],
        _ => vec![0, 1, 2, 3, 4],
    };
    ids.into_iter().map(|id| appendix_htlc(id).0).collect()
}

#[test]
fn commitments_and_htlc_transactions_are_bit_for_bit() {
    let Some(vectors) = load(FILE) else { return };
    let setup = setup(CommitmentFormat::StaticRemoteKey, &vectors);
    let cases = list(&vectors["cases"]);
    let mut htlc_transactions = 0;
    for (index, case) in cases.iter().enumerate() {
        htlc_transactions += check(&setup, case, htlcs_of_case(index, 1, cases.len() - 1));
    }
    assert_eq!((cases.len(), htlc_transactions), (16, 33));
}

fn check(setup: &Setup, case: &Value, htlcs: Vec<HtlcSpec>) -> usize {
    let name = case["name"].as_str().unwrap();
    let feerate = number(&case["local_feerate_per_kw"]) as u32;
    let (local, remote) = (number(&case["to_local_msat"]), number(&case["to_remote_msat"]));
    let commitment = setup.build(&spec(feerate, local, remote, htlcs));
    assert_eq!(commitment.htlcs.len() as u64, number(&case["num_htlcs"]), "{name}");
    if let Some(fee) = case.get("actual_commitment_transaction_fee") {
        assert_eq!(commitment.fee(&setup.params).to_sat(), number(fee), "{name}");
    }
    assert_eq!(number_of(&commitment.tx, setup.params.obscure), Some(NUMBER), "{name}");
    check_outputs(setup, &commitment, list(&case["outputs"]), name);

    let digest = commitment.sighash(&setup.params);
    for (signer, field) in
        [(&setup.broadcaster.funding, "local_signature"), (&setup.countersigner.funding, "remote_signature")]
    {
        let made = signature::sign(&setup.secp, &digest, signer);
        assert_eq!(made.serialize_der().to_vec(), bytes(&case[field]), "{name}: {field}");
    }
    let signed = setup.signed(&commitment);
    assert_eq!(bitcoin::consensus::serialize(&signed), bytes(&case["commit_tx"]), "{name}");
    assert!(accepts(&setup.params.funding.txout(), &signed, 0), "{name}");

    let stated = list(&case["htlc_txs"]);
    let made = setup.second_stage(&commitment, appendix_preimage);
    assert_eq!(made.len(), stated.len(), "{name}");
    let stage = SecondStage::new(&setup.params, &setup.keys, &commitment).unwrap();
    let (own_key, other_key) = setup.htlc_keys();
    for ((tx, output), stated) in made.iter().zip(&commitment.htlcs).zip(stated) {
        assert_eq!(u64::from(output.vout), number(&stated["output_index"]), "{name}");
        assert_eq!(output.htlc.id.0, number(&stated["htlc"]), "{name}");
        let timeout = output.htlc.offered_by == TxSide::Broadcaster;
        assert_eq!(stated["kind"] == "htlc_timeout", timeout, "{name}");
        let other = signature::sign(&setup.secp, &stage.countersigner_sighash(output), &other_key);
        let own = signature::sign(&setup.secp, &stage.broadcaster_sighash(output), &own_key);
        assert_eq!(other.serialize_der().to_vec(), bytes(&stated["remote_htlc_signature"]), "{name}");
        assert_eq!(own.serialize_der().to_vec(), bytes(&stated["local_htlc_signature"]), "{name}");
        assert_eq!(bitcoin::consensus::serialize(tx), bytes(&stated["tx"]), "{name}");
        assert!(accepts(&commitment.tx.output[output.vout as usize], tx, 0), "{name}");
    }
    stated.len()
}

/// The outputs that the vectors spell out: amounts and witness scripts.
fn check_outputs(
    setup: &Setup,
    commitment: &lightning_traits::tx::CommitmentTx,
    stated: &[Value],
    name: &str,
) {
    let scripts = script::HtlcScripts::new(setup.params.format, &setup.keys).unwrap();
    for output in stated {
        let value = Amount::from_sat(number(&output["amount_satoshi"]));
        let (vout, script_pubkey) = match output["kind"].as_str().unwrap() {
            "to_local" => {
                let script = script::delayed(
                    &setup.keys.revocation_key,
                    setup.params.to_self_delay,
                    &setup.keys.broadcaster_delayed_key,
                );
                assert_eq!(script.to_bytes(), bytes(&output["witness_script"]), "{name}");
                (commitment.to_broadcaster.unwrap(), script.to_p2wsh())
            }
            "to_remote" => {
                let payment_key = key(&output["p2wpkh_pubkey"]);
                let vout = commitment.to_countersigner.unwrap();
                (vout, script::countersigner_output(setup.params.format, &payment_key))
            }
            _ => {
                let id = number(&output["htlc"]);
                let found = commitment.htlcs.iter().find(|found| found.htlc.id.0 == id).unwrap();
                let script = scripts.script(&found.htlc);
                assert_eq!(script.to_bytes(), bytes(&output["witness_script"]), "{name}");
                (found.vout, script.to_p2wsh())
            }
        };
        assert_eq!(commitment.tx.output[vout as usize], TxOut { value, script_pubkey }, "{name}");
    }
}
