//! What a watchtower is given: no more than its power, and nothing that its signer may not sign.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::sync::Arc;

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash as _;
use bitcoin::transaction::Version;
use bitcoin::{Amount, EcdsaSighashType, OutPoint, ScriptBuf, Transaction, TxIn, Txid};
use lightning_keys::{LentKeys, LentSigner, Power, Seed, SeedKeys};
use lightning_traits::Secp;
use lightning_traits::id::{ChannelKeysId, CommitmentNumber};
use lightning_traits::interface::{ChannelSigner, InputToSign, KeysInterface as _, SignError, SigningKey};
use lightning_traits::tx::FundingOutput;

const NAME: ChannelKeysId = ChannelKeysId([7; 32]);

fn keys() -> SeedKeys {
    SeedKeys::new(Seed::new([1; 32]), Arc::new(ScriptBuf::new())).unwrap()
}

fn sign(signer: &impl ChannelSigner, key: &SigningKey) -> Result<secp256k1::ecdsa::Signature, SignError> {
    let input = TxIn { previous_output: OutPoint::new(Txid::all_zeros(), 0), ..TxIn::default() };
    let transaction =
        Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: vec![input], output: vec![] };
    let script = ScriptBuf::new();
    let value = Amount::from_sat(1_000);
    let sighash = EcdsaSighashType::All;
    signer.sign_input(&InputToSign {
        transaction: &transaction,
        input: 0,
        value,
        script: &script,
        sighash,
        key,
    })
}

fn all_kinds(own: &impl ChannelSigner) -> [SigningKey; 5] {
    let point = own.commitment_point(CommitmentNumber(3)).unwrap();
    let secret = own.release_secret(CommitmentNumber(3)).unwrap();
    [
        SigningKey::Revocation(secret),
        SigningKey::Funding,
        SigningKey::Payment,
        SigningKey::Delayed(point),
        SigningKey::Htlc(point),
    ]
}

fn refuses_what_no_tower_does(signer: &LentSigner) {
    assert_eq!(signer.release_secret(CommitmentNumber(0)), Err(SignError::Refused));
    assert_eq!(signer.sign_announcement(&[1; 32]), Err(SignError::Refused));
    let public = signer.public_keys();
    let funding = FundingOutput::new(OutPoint::null(), Amount::ONE_BTC, public.funding, public.funding);
    let close =
        Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: vec![], output: vec![] };
    assert_eq!(signer.sign_closing(&funding, &close), Err(SignError::Refused));
}

#[test]
fn a_punisher_signs_with_the_revocation_key_and_nothing_else() {
    let (keys, secp) = (keys(), Arc::new(Secp::new()));
    let own = keys.signer(&NAME);
    let lent = keys.lend(&NAME, Power::Punish);
    let signer = lent.signer(secp, own.public_keys());
    assert_eq!(signer.public_keys(), own.public_keys());
    for (index, key) in all_kinds(&own).iter().enumerate() {
        if index == 0 {
            assert_eq!(sign(&signer, key), sign(&own, key));
        } else {
            assert_eq!(sign(&signer, key), Err(SignError::Refused), "{key:?}");
        }
    }
    assert_eq!(signer.commitment_point(CommitmentNumber(0)), Err(SignError::Refused));
    refuses_what_no_tower_does(&signer);
}

#[test]
fn an_enforcer_claims_as_the_node_does_and_negotiates_nothing() {
    let (keys, secp) = (keys(), Arc::new(Secp::new()));
    let own = keys.signer(&NAME);
    let signer = keys.lend(&NAME, Power::Enforce).signer(secp, own.public_keys());
    assert_eq!(signer.public_keys(), own.public_keys());
    for key in all_kinds(&own) {
        assert_eq!(sign(&signer, &key), sign(&own, &key), "{key:?}");
    }
    let number = CommitmentNumber(9);
    assert_eq!(signer.commitment_point(number), own.commitment_point(number));
    refuses_what_no_tower_does(&signer);
    let nothing = LentSigner::without_keys(own.public_keys());
    for key in all_kinds(&own) {
        assert_eq!(sign(&nothing, &key), Err(SignError::Refused), "{key:?}");
    }
    refuses_what_no_tower_does(&nothing);
}

#[test]
fn encoding_comes_back_and_damage_is_refused() {
    let (keys, secp) = (keys(), Secp::new());
    let public = keys.signer(&NAME).public_keys();
    let other = keys.signer(&ChannelKeysId([8; 32])).public_keys();
    for (power, length) in [(Power::Punish, 33), (Power::Enforce, 193)] {
        let bytes = keys.lend(&NAME, power).to_bytes();
        assert_eq!(bytes.len(), length);
        let again = LentKeys::from_bytes(&bytes).unwrap();
        assert_eq!((again.power(), again.to_bytes()), (power, bytes.clone()));
        assert!(again.fit(&secp, &public) && !again.fit(&secp, &other));
        let message = again.to_message(&NAME);
        let (name, sent) = LentKeys::from_message(&message).unwrap();
        assert_eq!((name, sent.to_bytes()), (NAME, bytes.clone()));
        assert!(LentKeys::from_message(&message[..message.len() - 1]).is_none());
        for cut in 0..length {
            assert!(LentKeys::from_bytes(&bytes[..cut]).is_none());
        }
        let mut longer = bytes.to_vec();
        longer.push(1);
        assert!(LentKeys::from_bytes(&longer).is_none());
        longer = bytes.to_vec();
        longer[0] = 3;
        assert!(LentKeys::from_bytes(&longer).is_none());
        assert_eq!(format!("{again:?}"), format!("LentKeys({power:?}, ..)"), "no secret is printed");
    }
}

#[test]
fn what_is_not_needed_is_not_kept() {
    let keys = keys();
    let all = keys.lend(&NAME, Power::Enforce);
    assert_eq!(all.clone().limited_to(Power::Enforce).power(), Power::Enforce);
    let punish = all.limited_to(Power::Punish);
    assert_eq!(punish.to_bytes(), keys.lend(&NAME, Power::Punish).to_bytes());
    assert_eq!(punish.limited_to(Power::Enforce).power(), Power::Punish, "what is not there cannot be added");
}
