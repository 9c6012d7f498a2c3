//! What `verify_commitment` refuses (RELIABILITY B8 among it).
use lightning_traits::id::CommitmentNumber;
use lightning_traits::payment::Preimage;
use lightning_traits::tx::{
    CommitmentError, CommitmentFormat, CommitmentKeys, CommitmentTx, SignatureError, TxSide, build,
    sign_commitment, signature, verify_commitment,
};
use secp256k1::ecdsa::Signature;

use super::setup::{Setup, htlc, spec};

/// `order - s` for the same r: what a third party can make of any signature.
fn high_s(signature: &Signature) -> Signature {
    let compact = signature.serialize_compact();
    let (r, s) = compact.split_at(32);
    let negated = secp256k1::SecretKey::from_slice(s).unwrap().negate();
    Signature::from_compact(&[r, &negated.secret_bytes()].concat()).unwrap()
}

fn signed(setup: &Setup) -> (CommitmentTx, Signature, Vec<Signature>) {
    let preimage = Preimage::new([3; 32]);
    let htlcs = vec![
        htlc(TxSide::Broadcaster, 0, 50_000_000, &preimage, 500),
        htlc(TxSide::Countersigner, 0, 60_000_000, &preimage, 500),
        htlc(TxSide::Countersigner, 1, 90_000_000, &preimage, 500),
    ];
    let commitment = setup.build(&spec(1_000, 5_000_000_000, 4_800_000_000, htlcs));
    let (_, htlc_key) = setup.htlc_keys();
    let funding_key = &setup.countersigner.funding;
    let (own, htlcs) =
        sign_commitment(&setup.secp, &setup.params, &setup.keys, &commitment, funding_key, &htlc_key);
    (commitment, own, htlcs)
}

/// Keys that lack those of HTLCs never pass for a commitment that has some, and are enough for one that has none.
#[test]
fn keys_without_those_of_htlcs() {
    for format in [CommitmentFormat::StaticRemoteKey, CommitmentFormat::AnchorsZeroFeeHtlc] {
        let setup = Setup::plain(format);
        let (commitment, good, htlcs) = signed(&setup);
        let keys = CommitmentKeys { htlc: None, ..setup.keys };
        let refused =
            verify_commitment(&setup.secp, &setup.params, &keys, &commitment, &good, &htlcs).unwrap_err();
        assert_eq!(refused, SignatureError::NoHtlcKeys);
        let preimage = Preimage::new([3; 32]);
        let one = vec![htlc(TxSide::Broadcaster, 0, 50_000_000, &preimage, 500)];
        let one = spec(1_000, 5_000_000_000, 4_950_000_000, one);
        let none = spec(1_000, 5_000_000_000, 5_000_000_000, vec![]);
        let build = |keys, spec| build(&setup.params, keys, spec, CommitmentNumber(7));
        assert_eq!(build(&keys, &one), Err(CommitmentError::NoHtlcKeys));
        assert!(build(&setup.keys, &one).is_ok());
        assert_eq!(build(&keys, &none), build(&setup.keys, &none));
        assert!(build(&keys, &none).is_ok());
    }
}

#[test]
fn each_wrong_signature_is_named() {
    for format in [CommitmentFormat::StaticRemoteKey, CommitmentFormat::AnchorsZeroFeeHtlc] {
        let setup = Setup::plain(format);
        let (commitment, good, htlcs) = signed(&setup);
        let verify = |signature: &Signature, htlcs: &[Signature]| {
            verify_commitment(&setup.secp, &setup.params, &setup.keys, &commitment, signature, htlcs)
        };
        assert_eq!(verify(&good, &htlcs), Ok(()));
        assert_eq!(verify(&htlcs[0], &htlcs), Err(SignatureError::Commitment));
        assert_eq!(verify(&high_s(&good), &htlcs), Err(SignatureError::HighS));
        for index in 0..htlcs.len() {
            let mut wrong = htlcs.clone();
            wrong[index] = good;
            assert_eq!(verify(&good, &wrong), Err(SignatureError::Htlc { index }));
            wrong[index] = high_s(&htlcs[index]);
            assert_eq!(verify(&good, &wrong), Err(SignatureError::HighS));
        }
        let mut swapped = htlcs.clone();
        swapped.swap(1, 2);
        assert_eq!(verify(&good, &swapped), Err(SignatureError::Htlc { index: 1 }));
        let count = |found| Err(SignatureError::HtlcCount { expected: 3, found });
        assert_eq!(verify(&good, &htlcs[..2]), count(2));
        assert_eq!(verify(&good, &[&htlcs[..], &htlcs[..1]].concat()), count(4));
    }
}

#[test]
fn signatures_do_not_fit_the_other_format_or_another_number() {
    let setup = Setup::plain(CommitmentFormat::StaticRemoteKey);
    let (commitment, good, htlcs) = signed(&setup);
    let mut other = Setup::plain(CommitmentFormat::AnchorsZeroFeeHtlc);
    let (anchors, ..) = signed(&other);
    let result = verify_commitment(&setup.secp, &other.params, &setup.keys, &anchors, &good, &htlcs);
    assert_eq!(result, Err(SignatureError::Commitment));
    other.params = setup.params;
    let mut later = commitment;
    later.number = later.number.next();
    let result = verify_commitment(&setup.secp, &other.params, &setup.keys, &later, &good, &htlcs);
    assert_eq!(result, Err(SignatureError::Commitment));
}

#[test]
fn signing_is_deterministic_with_a_low_s() {
    let setup = Setup::plain(CommitmentFormat::StaticRemoteKey);
    for byte in 0..64 {
        let digest = secp256k1::Message::from_digest([byte; 32]);
        let made = signature::sign(&setup.secp, &digest, &setup.broadcaster.htlc);
        assert_eq!(made, signature::sign(&setup.secp, &digest, &setup.broadcaster.htlc));
        let key = setup.broadcaster.htlc.public_key(&setup.secp);
        assert_eq!(signature::verify(&setup.secp, &digest, &made, &key), Ok(()));
        let flipped = high_s(&made);
        assert_eq!(signature::verify(&setup.secp, &digest, &flipped, &key), Err(SignatureError::HighS));
        let other = setup.broadcaster.funding.public_key(&setup.secp);
        assert_eq!(signature::verify(&setup.secp, &digest, &made, &other), Err(SignatureError::Invalid));
    }
}
