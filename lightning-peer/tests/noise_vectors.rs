//! The vectors of BOLT 8, Appendix A: five of the initiator, ten of the responder, six encrypted messages.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]
use std::path::PathBuf;

use bitcoin::hex::FromHex;
use bitcoin::secp256k1::ecdh::SharedSecret;
use bitcoin::secp256k1::{PublicKey, SecretKey};
use lightning_peer::frame::framed;
use lightning_peer::noise::{
    HandshakeError, InitiatorAwaitsActTwo, ResponderAwaitsActOne, Session, StaticKey,
};
use lightning_traits::Secp;
use serde_json::Value;

struct Key(SecretKey, PublicKey);

impl StaticKey for Key {
    fn public_key(&self) -> PublicKey {
        self.1
    }
    fn ecdh(&self, other: &PublicKey) -> Option<zeroize::Zeroizing<[u8; 32]>> {
        Some(zeroize::Zeroizing::new(SharedSecret::new(other, &self.0).secret_bytes()))
    }
}

fn vectors() -> Option<Value> {
    let shared = std::env::var_os("LN_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let path = shared.join("vectors/bolt08/transport.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("SKIPPED: no vectors at {} (set LN_SHARED)", path.display());
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

fn hex(value: &Value) -> Vec<u8> {
    Vec::from_hex(value.as_str().unwrap()).unwrap()
}

fn hex32(value: &Value) -> [u8; 32] {
    hex(value).try_into().unwrap()
}

fn secret(value: &Value) -> SecretKey {
    SecretKey::from_slice(&hex(value)).unwrap()
}

/// The value of the only key of a step, if it has this name.
fn field(case: &Value, name: &str) -> Vec<Value> {
    case["steps"].as_array().unwrap().iter().filter_map(|step| step.get(name).cloned()).collect()
}

/// The vectors name the act and the reason; the reason is what our error says.
fn assert_error(found: HandshakeError, expected: &Value) {
    let expected = expected.as_str().unwrap();
    let reasons = [
        ("READ_FAILED", HandshakeError::BadLength),
        ("BAD_VERSION", HandshakeError::BadVersion(1)),
        ("BAD_PUBKEY", HandshakeError::BadPublicKey),
        ("BAD_TAG", HandshakeError::BadTag),
        ("BAD_CIPHERTEXT", HandshakeError::BadTag),
    ];
    let (_, reason) = reasons.iter().find(|(name, _)| expected.contains(name)).expect(expected);
    assert_eq!(found, *reason, "{expected}");
}

fn assert_keys(session: Session, case: &Value, initiator: bool) {
    let keys = field(case, "keys").pop().expect("a good case ends with keys");
    let pair = (hex32(&keys["sk"]), hex32(&keys["rk"]));
    // Keys are compared by what they encrypt. The vectors give no chaining key, so one message is enough.
    let expected = Session::from_keys(pair.0, pair.1, [0; 32]);
    let (mut writer, _) = framed(session);
    let (mut expected, _) = framed(expected);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    writer.write(b"same keys", &mut ours).unwrap();
    expected.write(b"same keys", &mut theirs).unwrap();
    assert_eq!(ours, theirs, "initiator: {initiator}");
}

#[test]
fn initiator_vectors() {
    let Some(vectors) = vectors() else { return };
    let secp = Secp::new();
    let (mut good, mut bad) = (0, 0);
    for case in vectors["initiator"].as_array().unwrap() {
        let keys = &case["keys"];
        let local = secret(&keys["ls.priv"]);
        let key = Key(local, local.public_key(&secp));
        assert_eq!(key.1.serialize().to_vec(), hex(&keys["ls.pub"]));
        let remote = PublicKey::from_slice(&hex(&keys["rs.pub"])).unwrap();
        let outputs = field(case, "output");

        let (state, act_one) = InitiatorAwaitsActTwo::start(&secp, secret(&keys["e.priv"]), remote);
        assert_eq!(act_one.to_vec(), hex(&outputs[0]));
        let input = hex(&field(case, "input")[0]);
        match (state.on_act_two(&input, &key), field(case, "error").first()) {
            (Ok((act_three, session)), None) => {
                assert_eq!(act_three.to_vec(), hex(&outputs[1]));
                assert_keys(session, case, true);
                good += 1;
            }
            (Err(error), Some(expected)) => {
                assert_error(error, expected);
                bad += 1;
            }
            (outcome, expected) => panic!("{}: {:?} but {expected:?}", case["name"], outcome.err()),
        }
    }
    assert_eq!((good, bad), (1, 4));
}

#[test]
fn responder_vectors() {
    let Some(vectors) = vectors() else { return };
    let secp = Secp::new();
    let (mut good, mut bad) = (0, 0);
    for case in vectors["responder"].as_array().unwrap() {
        let keys = &case["keys"];
        let local = secret(&keys["ls.priv"]);
        let key = Key(local, local.public_key(&secp));
        let (inputs, outputs) = (field(case, "input"), field(case, "output"));
        let run = || -> Result<(PublicKey, Session), HandshakeError> {
            let first = ResponderAwaitsActOne::new(&key.1);
            let (act_two, state) =
                first.on_act_one(&secp, &hex(&inputs[0]), &key, secret(&keys["e.priv"]))?;
            assert_eq!(act_two.to_vec(), hex(&outputs[0]));
            state.on_act_three(&hex(&inputs[1]))
        };
        match (run(), field(case, "error").first()) {
            (Ok((initiator, session)), None) => {
                assert_eq!(
                    initiator.to_string(),
                    "034f355bdcb7cc0af728ef3cceb9615d90684bb5b2ca5f859ab0f0b704075871aa"
                );
                // The file gives the responder's own view of the keys.
                assert_keys(session, case, false);
                good += 1;
            }
            (Err(error), Some(expected)) => {
                assert_error(error, expected);
                bad += 1;
            }
            (outcome, expected) => panic!("{}: {:?} but {expected:?}", case["name"], outcome.err()),
        }
    }
    assert_eq!((good, bad), (1, 9));
}

#[test]
fn messages_over_two_rotations() {
    let Some(vectors) = vectors() else { return };
    let case = &vectors["message_encryption"];
    let (ck, sk, rk) = (hex32(&case["ck"]), hex32(&case["sk"]), hex32(&case["rk"]));
    let (mut writer, _) = framed(Session::from_keys(sk, rk, ck));
    // The other side, reading what we write, rotates in step.
    let (_, mut reader) = framed(Session::from_keys(rk, sk, ck));
    let message = hex(&case["plaintext"]);
    let outputs = case["outputs"].as_array().unwrap();
    let mut checked = 0;
    for index in 0..=1001_u64 {
        let mut frame = Vec::new();
        writer.write(&message, &mut frame).unwrap();
        if let Some(expected) = outputs.iter().find(|output| output["index"] == index) {
            assert_eq!(frame, hex(&expected["bytes"]), "message {index}");
            checked += 1;
        }
        let mut input = frame.as_slice();
        assert_eq!(reader.read(&mut input).unwrap().unwrap(), message);
        assert!(input.is_empty());
    }
    assert_eq!(checked, 6);
}
