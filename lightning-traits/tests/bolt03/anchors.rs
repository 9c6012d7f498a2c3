//! Appendix F: 9 commitments with anchors and their 15 HTLC transactions.
use bitcoin::Amount;
use lightning_traits::tx::{CommitmentFormat, SecondStage, signature};

use super::setup::{Setup, accepts, appendix_preimage, spec};
use super::static_remote_key::{self, htlcs_of_case, setup};
use super::vectors::{bytes, list, load, number};

#[test]
fn commitments_and_htlc_transactions_are_bit_for_bit() {
    let Some(vectors) = load("bolt03/appendix-f-commitment-anchors.json") else { return };
    let channel = load(static_remote_key::FILE).unwrap();
    let cases = list(&vectors["cases"]);
    let mut htlc_transactions = 0;
    for (index, case) in cases.iter().enumerate() {
        let mut setup: Setup = setup(CommitmentFormat::AnchorsZeroFeeHtlc, &channel);
        setup.params.dust_limit = Amount::from_sat(number(&case["DustLimitSatoshis"]));
        let name = case["Name"].as_str().unwrap();
        let htlcs = htlcs_of_case(index, 2, cases.len() - 1);
        assert_eq!(!htlcs.is_empty(), case["UseTestHtlcs"].as_bool().unwrap(), "{name}");

        let (local, remote) = (number(&case["LocalBalance"]), number(&case["RemoteBalance"]));
        let commitment = setup.build(&spec(number(&case["FeePerKw"]) as u32, local, remote, htlcs));
        let theirs =
            signature::sign(&setup.secp, &commitment.sighash(&setup.params), &setup.countersigner.funding);
        assert_eq!(theirs.serialize_der().to_vec(), bytes(&case["RemoteSigHex"]), "{name}");
        let signed = setup.signed(&commitment);
        assert_eq!(bitcoin::consensus::serialize(&signed), bytes(&case["ExpectedCommitmentTxHex"]), "{name}");
        assert!(accepts(&setup.params.funding.txout(), &signed, 0), "{name}");

        let stated = list(&case["HtlcDescs"]);
        let made = setup.second_stage(&commitment, appendix_preimage);
        assert_eq!(made.len(), stated.len(), "{name}");
        let stage = SecondStage::new(&setup.params, &setup.keys, &commitment).unwrap();
        let (_, other_key) = setup.htlc_keys();
        for ((tx, output), stated) in made.iter().zip(&commitment.htlcs).zip(stated) {
            let other = signature::sign(&setup.secp, &stage.countersigner_sighash(output), &other_key);
            assert_eq!(other.serialize_der().to_vec(), bytes(&stated["RemoteSigHex"]), "{name}");
            assert_eq!(bitcoin::consensus::serialize(tx), bytes(&stated["ResolutionTxHex"]), "{name}");
            assert!(accepts(&commitment.tx.output[output.vout as usize], tx, 0), "{name}");
        }
        htlc_transactions += stated.len();
    }
    assert_eq!((cases.len(), htlc_transactions), (9, 15));
}
