//! What the signer signs is what the verifying side of BOLT 3 accepts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::sync::Arc;

use bitcoin::hashes::Hash as _;
use bitcoin::{Amount, EcdsaSighashType, OutPoint, ScriptBuf, Txid};
use lightning_keys::{Seed, SeedKeys, SeedSigner};
use lightning_traits::Secp;
use lightning_traits::id::{ChannelKeysId, CommitmentNumber, HtlcId};
use lightning_traits::interface::{
    ChannelSigner, CommitmentToSign, EntropySource, InputToSign, KeysInterface, SigningKey,
};
use lightning_traits::payment::PaymentHash;
use lightning_traits::tx::signature::{p2wsh_sighash, verify};
use lightning_traits::tx::{
    CommitmentFormat, CommitmentKeys, CommitmentParams, CommitmentSpec, FundingOutput, HtlcSpec,
    ObscureFactor, TxSide, build, derive_public_key, derive_revocation_key, verify_commitment,
};
use lightning_traits::units::{CltvExpiry, CsvDelay, FeeratePerKw, Msat};
use secp256k1::Message;

fn keys(byte: u8) -> SeedKeys {
    SeedKeys::new(Seed::new([byte; 32]), Arc::new(ScriptBuf::new())).unwrap()
}

fn params(broadcaster: &SeedSigner, countersigner: &SeedSigner) -> CommitmentParams {
    let (ours, theirs) = (broadcaster.public_keys(), countersigner.public_keys());
    let outpoint = OutPoint { txid: Txid::all_zeros(), vout: 1 };
    CommitmentParams {
        format: CommitmentFormat::AnchorsZeroFeeHtlc,
        funding: FundingOutput::new(outpoint, Amount::from_sat(1_000_000), ours.funding, theirs.funding),
        broadcaster_funding_key: ours.funding,
        obscure: ObscureFactor::new(&ours.payment_basepoint, &theirs.payment_basepoint),
        dust_limit: Amount::from_sat(354),
        to_self_delay: CsvDelay::new(144),
        opener: TxSide::Broadcaster,
    }
}

#[test]
fn commitment_signatures_verify_on_the_other_side() {
    let secp = Secp::new();
    let (a, b) = (keys(1).signer(&ChannelKeysId([7; 32])), keys(2).signer(&ChannelKeysId([8; 32])));
    let params = params(&a, &b);
    let point = a.commitment_point(CommitmentNumber(3)).unwrap();
    let derived = CommitmentKeys::derive(&secp, point, &a.public_keys(), &b.public_keys()).unwrap();
    let htlc = |id: u64, offered_by| HtlcSpec {
        offered_by,
        id: HtlcId(id),
        amount: Msat::from_sat(20_000),
        payment_hash: PaymentHash([id as u8; 32]),
        expiry: CltvExpiry::new(500),
    };
    let spec = CommitmentSpec {
        feerate: FeeratePerKw::new(1_000),
        to_broadcaster: Msat::from_sat(600_000),
        to_countersigner: Msat::from_sat(360_000),
        htlcs: vec![htlc(0, TxSide::Broadcaster), htlc(0, TxSide::Countersigner)],
    };
    let commitment = build(&params, &derived, &spec, CommitmentNumber(3)).unwrap();
    let request = CommitmentToSign { params: &params, keys: &derived, commitment: &commitment };
    let theirs = b.sign_theirs(&request).unwrap();
    assert_eq!(theirs.htlcs.len(), 2);
    verify_commitment(&secp, &params, &derived, &commitment, &theirs.commitment, &theirs.htlcs).unwrap();
    let ours = a.sign_ours(&request).unwrap();
    verify(&secp, &commitment.sighash(&params), &ours, &a.public_keys().funding).unwrap();
    assert!(verify_commitment(&secp, &params, &derived, &commitment, &ours, &theirs.htlcs).is_err());
}

#[test]
fn every_kind_of_input_is_signed_with_the_key_that_its_script_names() {
    let secp = Secp::new();
    let (a, b) = (keys(1).signer(&ChannelKeysId([7; 32])), keys(2).signer(&ChannelKeysId([8; 32])));
    let params = params(&a, &b);
    let point = b.commitment_point(CommitmentNumber(5)).unwrap();
    let derived = CommitmentKeys::derive(&secp, point, &a.public_keys(), &b.public_keys()).unwrap();
    let spec = CommitmentSpec {
        feerate: FeeratePerKw::new(1_000),
        to_broadcaster: Msat::from_sat(600_000),
        to_countersigner: Msat::from_sat(400_000),
        htlcs: vec![],
    };
    let tx = build(&params, &derived, &spec, CommitmentNumber(0)).unwrap().tx;
    let script = ScriptBuf::from_bytes(vec![0x51]);
    let value = Amount::from_sat(4_321);
    let public = a.public_keys();
    let secret = b.release_secret(CommitmentNumber(5)).unwrap();
    assert!(secret.opens(&secp, &point));
    let cases = [
        (SigningKey::Funding, public.funding),
        (SigningKey::Payment, public.payment_basepoint),
        (
            SigningKey::Delayed(point),
            derive_public_key(&secp, &public.delayed_payment_basepoint, &point).unwrap(),
        ),
        (SigningKey::Htlc(point), derive_public_key(&secp, &public.htlc_basepoint, &point).unwrap()),
        (
            SigningKey::Revocation(secret),
            derive_revocation_key(&secp, &public.revocation_basepoint, &point).unwrap(),
        ),
    ];
    for (key, expected) in cases {
        for sighash in [EcdsaSighashType::All, EcdsaSighashType::SinglePlusAnyoneCanPay] {
            let request =
                InputToSign { transaction: &tx, input: 0, value, script: &script, sighash, key: &key };
            let signature = a.sign_input(&request).unwrap();
            let digest = p2wsh_sighash(&tx, 0, &script, value, sighash).unwrap();
            verify(&secp, &digest, &signature, &expected).unwrap_or_else(|_| panic!("{key:?}"));
        }
    }
}

#[test]
fn the_seed_alone_brings_everything_back_and_other_seeds_bring_other_keys() {
    let name = ChannelKeysId([3; 32]);
    let (first, again, other) = (keys(9), keys(9), keys(10));
    assert_eq!(first.node_id(), again.node_id());
    assert_eq!(first.inbound_payment_key(), again.inbound_payment_key());
    assert_eq!(first.signer(&name).public_keys(), again.signer(&name).public_keys());
    let number = CommitmentNumber(1_000_000);
    assert_eq!(first.signer(&name).commitment_point(number), again.signer(&name).commitment_point(number));
    assert_ne!(first.node_id(), other.node_id());
    assert_ne!(first.signer(&name).public_keys(), first.signer(&ChannelKeysId([4; 32])).public_keys());
    assert_ne!(first.new_channel_keys(), again.new_channel_keys(), "names of keys never repeat");
}

#[test]
fn both_sides_of_an_ecdh_agree_and_gossip_signatures_verify() {
    let (a, b) = (keys(1), keys(2));
    assert_eq!(a.ecdh(&b.node_id()).unwrap(), b.ecdh(&a.node_id()).unwrap());
    let secp = Secp::new();
    let digest = a.bytes32();
    let signature = a.sign_gossip(&digest).unwrap();
    verify(&secp, &Message::from_digest(digest), &signature, &a.node_id()).unwrap();
    let recoverable = a.sign_invoice(&digest).unwrap();
    assert_eq!(secp.recover_ecdsa(&Message::from_digest(digest), &recoverable).unwrap(), a.node_id());
}

#[test]
fn nothing_secret_is_printed() {
    let seed = Seed::new([0xab; 32]);
    let keys = keys(0xab);
    let shown = format!("{seed:?} {keys:?} {:?}", keys.signer(&ChannelKeysId([1; 32])));
    for secret in [[0xab; 32], keys.node_secret().secret_bytes(), keys.inbound_payment_key()] {
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!shown.contains(&hex));
    }
}

/// A signer that has secrets at hand gives the very keys that anybody computes from points.
#[test]
fn revocation_keys_are_those_of_public_points() {
    let secp = Secp::new();
    for round in 0..40_u8 {
        let (a, b) =
            (keys(round).signer(&ChannelKeysId([7; 32])), keys(round + 100).signer(&ChannelKeysId([8; 32])));
        let (ours, theirs) = (a.public_keys().revocation_basepoint, b.public_keys().revocation_basepoint);
        // The first, the last, and some between.
        for number in [0, 1, u64::from(round) * 1_000_003, CommitmentNumber::LAST.0].map(CommitmentNumber) {
            let point = a.commitment_point(number).unwrap();
            let public = derive_revocation_key(&secp, &theirs, &point);
            assert_eq!(a.our_revocation_key(&secp, number, &point, &theirs), public);
            assert_eq!(b.their_revocation_key(&secp, &point, &theirs), public);
            assert_ne!(b.their_revocation_key(&secp, &point, &ours), public);
        }
    }
    let beyond = CommitmentNumber(CommitmentNumber::LAST.0 + 1);
    let signer = keys(1).signer(&ChannelKeysId([7; 32]));
    let point = signer.commitment_point(CommitmentNumber(0)).unwrap();
    assert!(signer.our_revocation_key(&secp, beyond, &point, &point).is_err());
}
