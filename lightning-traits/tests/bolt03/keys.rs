//! Appendix E: key derivation.
use lightning_traits::Secp;
use lightning_traits::id::HtlcId;
use lightning_traits::payment::PaymentHash;
use lightning_traits::tx::{
    ChannelPublicKeys, CommitmentKeys, CommitmentSecret, CommitmentSpec, HtlcSpec, KeyError, TxSide,
    derive_public_key, derive_revocation_key, derive_revocation_key_by_base_secret,
    derive_revocation_key_by_point_secret, derive_revocation_secret, derive_secret_key,
};
use lightning_traits::units::{CltvExpiry, FeeratePerKw, Msat};

use super::vectors::{array, key, list, load, secret};

#[test]
fn appendix_e() {
    let Some(vectors) = load("bolt03/appendix-e-key-derivation.json") else { return };
    let secp = Secp::new();
    let parameters = &vectors["parameters"];
    let (base, point) = (key(&parameters["base_point"]), key(&parameters["per_commitment_point"]));
    let base_secret = secret(&parameters["base_secret"]);
    let commitment_secret = CommitmentSecret::new(array(&parameters["per_commitment_secret"]));
    assert_eq!(commitment_secret.to_point(&secp), Ok(point));
    assert!(commitment_secret.opens(&secp, &point));
    assert!(!commitment_secret.opens(&secp, &base));
    let mut checked = 0;
    for case in list(&vectors["cases"]) {
        for (name, stated) in case["output"].as_object().unwrap() {
            match name.as_str() {
                "localpubkey" => assert_eq!(derive_public_key(&secp, &base, &point), Ok(key(stated))),
                "localprivkey" => {
                    assert_eq!(derive_secret_key(&secp, &base_secret, &point), Ok(secret(stated)));
                }
                "revocationpubkey" => {
                    assert_eq!(derive_revocation_key(&secp, &base, &point), Ok(key(stated)));
                    let by_base = derive_revocation_key_by_base_secret(&secp, &base_secret, &base, &point);
                    assert_eq!(by_base, Ok(key(stated)));
                    let by_point =
                        derive_revocation_key_by_point_secret(&secp, &base, &commitment_secret, &point);
                    assert_eq!(by_point, Ok(key(stated)));
                }
                "revocationprivkey" => {
                    let made = derive_revocation_secret(&secp, &base_secret, &commitment_secret);
                    assert_eq!(made, Ok(secret(stated)));
                }
                other => panic!("unknown output {other}"),
            }
            checked += 1;
        }
    }
    assert_eq!(checked, 4);
}

#[test]
fn a_secret_that_is_no_key_is_an_error() {
    let secp = Secp::new();
    let some = secp256k1::SecretKey::from_slice(&[5; 32]).unwrap();
    // Zero and values above the curve's order, which a peer may well send in `revoke_and_ack`.
    for bytes in [[0; 32], [0xff; 32]] {
        let broken = CommitmentSecret::new(bytes);
        assert_eq!(broken.to_point(&secp), Err(KeyError));
        assert!(!broken.opens(&secp, &some.public_key(&secp)));
        assert_eq!(derive_revocation_secret(&secp, &some, &broken), Err(KeyError));
        let base = some.public_key(&secp);
        assert_eq!(derive_revocation_key_by_point_secret(&secp, &base, &broken, &base), Err(KeyError));
    }
}

#[test]
fn each_side_derives_the_same_keys_and_only_its_own_secrets() {
    let secp = Secp::new();
    let secret = |byte| secp256k1::SecretKey::from_slice(&[byte; 32]).unwrap();
    let side = |base: u8| ChannelPublicKeys {
        funding: secret(base).public_key(&secp),
        revocation_basepoint: secret(base + 1).public_key(&secp),
        payment_basepoint: secret(base + 2).public_key(&secp),
        delayed_payment_basepoint: secret(base + 3).public_key(&secp),
        htlc_basepoint: secret(base + 4).public_key(&secp),
    };
    let commitment = CommitmentSecret::new([99; 32]);
    let point = commitment.to_point(&secp).unwrap();
    let keys = CommitmentKeys::derive(&secp, point, &side(10), &side(20)).unwrap();
    let derived = |byte| derive_secret_key(&secp, &secret(byte), &point).unwrap().public_key(&secp);
    assert_eq!(keys.broadcaster_delayed_key, derived(13));
    let htlc = keys.htlc.unwrap();
    assert_eq!((htlc.broadcaster, htlc.countersigner), (derived(14), derived(24)));
    assert_eq!(keys.countersigner_payment_key, secret(22).public_key(&secp));
    let revocation = derive_revocation_secret(&secp, &secret(21), &commitment).unwrap();
    assert_eq!(keys.revocation_key, revocation.public_key(&secp));

    let spec = |htlcs| CommitmentSpec {
        feerate: FeeratePerKw::new(253),
        to_broadcaster: Msat::ZERO,
        to_countersigner: Msat::ZERO,
        htlcs,
    };
    let parties = (&side(10), &side(20));
    let derive_for =
        |spec| CommitmentKeys::derive_around(keys.revocation_key, &spec, &secp, point, parties).unwrap();
    assert_eq!(derive_for(spec(vec![])), CommitmentKeys { htlc: None, ..keys });
    let htlc = HtlcSpec {
        offered_by: TxSide::Broadcaster,
        id: HtlcId(0),
        amount: Msat::ZERO,
        payment_hash: PaymentHash([0; 32]),
        expiry: CltvExpiry::new(1),
    };
    assert_eq!(derive_for(spec(vec![htlc])), keys);
}
