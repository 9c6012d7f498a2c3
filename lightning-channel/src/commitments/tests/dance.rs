//! One row for each rule of `commitment_signed` and `revoke_and_ack` (BOLT 2; RELIABILITY B7, B8, B9).
use bitcoin::Txid;
use bitcoin::hashes::Hash as _;
use lightning_traits::codec::TlvRecords;
use lightning_traits::id::ChannelId;
use lightning_traits::tx::{CommitmentFormat, SignatureError};
use lightning_traits::units::{FeeratePerKw, Msat};
use lightning_traits::wire::{CommitmentSigned, Message, RevokeAndAck};
use secp256k1::ecdsa::Signature;

use super::pair::{Pair, Trouble, violation};
use crate::commitments::*;

const ANCHORS: CommitmentFormat = CommitmentFormat::AnchorsZeroFeeHtlc;

/// The next message on the wire, which must be a `commitment_signed`.
fn commitment_signed(pair: &mut Pair, from: usize) -> CommitmentSigned {
    match pair.nodes[from].wire.pop_front() {
        Some(Message::CommitmentSigned(message)) => message,
        other => panic!("{other:?}"),
    }
}

fn revoke_and_ack(pair: &mut Pair, from: usize) -> RevokeAndAck {
    match pair.nodes[from].wire.pop_front() {
        Some(Message::RevokeAndAck(message)) => message,
        other => panic!("{other:?}"),
    }
}

// --- commitment_signed and revoke_and_ack ---

#[test]
fn commitment_with_a_wrong_signature() {
    let mut pair = Pair::new(ANCHORS);
    pair.add(0, Msat::from_sat(20_000), 1).unwrap();
    pair.add(0, Msat::from_sat(30_000), 2).unwrap();
    pair.deliver_all();
    pair.sign(0).unwrap();
    let good = commitment_signed(&mut pair, 0);
    let number = CommitmentNumber(1);
    let mut bad = good.clone();
    bad.signature = good.htlc_signature[0];
    let expected = Violation::Signature { number, error: SignatureError::Commitment };
    assert_eq!(violation(&mut pair, 1, bad), expected);
    for index in 0..2 {
        let mut bad = good.clone();
        bad.htlc_signature[index] = good.signature;
        let expected = Violation::Signature { number, error: SignatureError::Htlc { index } };
        assert_eq!(violation(&mut pair, 1, bad), expected);
    }
    let mut swapped = good.clone();
    swapped.htlc_signature.swap(0, 1);
    let expected = Violation::Signature { number, error: SignatureError::Htlc { index: 0 } };
    assert_eq!(violation(&mut pair, 1, swapped), expected);
    pair.nodes[1].take(&pair.secp, &good.into()).unwrap();
    pair.settle();
}

#[test]
fn commitment_with_a_wrong_number_of_signatures() {
    let mut pair = Pair::new(ANCHORS);
    pair.add(0, Msat::from_sat(20_000), 1).unwrap();
    pair.add(0, Msat::from_sat(300), 1).unwrap();
    pair.deliver_all();
    pair.sign(0).unwrap();
    let good = commitment_signed(&mut pair, 0);
    let number = CommitmentNumber(1);
    assert_eq!(good.htlc_signature.len(), 1, "dust has no output");
    for found in [0, 2] {
        let mut bad = good.clone();
        bad.htlc_signature.resize(found, good.signature);
        let error = SignatureError::HtlcCount { expected: 1, found };
        assert_eq!(violation(&mut pair, 1, bad), Violation::Signature { number, error });
    }
}

/// The same signature with the other S, which Core does not relay.
fn high_s(signature: Signature) -> Signature {
    let order = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba,
        0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41_u8,
    ];
    let mut bytes = signature.serialize_compact();
    let mut borrow = 0_i16;
    for index in (0..32).rev() {
        let digit = i16::from(order[index]) - i16::from(bytes[32 + index]) - borrow;
        borrow = i16::from(digit < 0);
        bytes[32 + index] = (digit + 256 * borrow) as u8;
    }
    Signature::from_compact(&bytes).unwrap()
}

#[test]
fn b08_commitment_with_a_high_s() {
    let mut pair = Pair::new(ANCHORS);
    pair.add(0, Msat::from_sat(20_000), 1).unwrap();
    pair.deliver_all();
    pair.sign(0).unwrap();
    let good = commitment_signed(&mut pair, 0);
    let expected = Violation::Signature { number: CommitmentNumber(1), error: SignatureError::HighS };
    let mut bad = good.clone();
    bad.signature = high_s(good.signature);
    assert_eq!(violation(&mut pair, 1, bad), expected);
    let mut bad = good.clone();
    bad.htlc_signature[0] = high_s(good.htlc_signature[0]);
    assert_eq!(violation(&mut pair, 1, bad), expected);
}

#[test]
fn commitment_for_another_funding_transaction() {
    let mut pair = Pair::new(ANCHORS);
    pair.add(0, Msat::from_sat(20_000), 1).unwrap();
    pair.deliver_all();
    pair.sign(0).unwrap();
    let mut message = commitment_signed(&mut pair, 0);
    let stale = Txid::from_byte_array([8; 32]);
    message.funding_txid = Some(stale);
    assert_eq!(violation(&mut pair, 1, message.clone()), Violation::ForeignFunding(stale));
    message.funding_txid = None;
    pair.nodes[1].take(&pair.secp, &message.into()).expect("older peers do not name it");
}

#[test]
fn commitment_before_its_update() {
    let mut pair = Pair::new(ANCHORS);
    pair.add(0, Msat::from_sat(20_000), 1).unwrap();
    pair.sign(0).unwrap();
    pair.nodes[0].wire.pop_front();
    let message = commitment_signed(&mut pair, 0);
    let error = SignatureError::HtlcCount { expected: 0, found: 1 };
    let expected = Violation::Signature { number: CommitmentNumber(1), error };
    assert_eq!(violation(&mut pair, 1, message), expected);
}

#[test]
fn empty_commitment_is_taken_but_not_sent() {
    let mut pair = Pair::new(ANCHORS);
    assert_eq!(pair.sign(0), Err(NotNow::NothingToSign));
    // As some peers do: force one.
    let unsigned = pair.nodes[0].state.clone();
    pair.nodes[0].evolve(Change::Signed {});
    let message = pair.nodes[0].state.sign_again(&pair.secp, &pair.nodes[0].signer).unwrap();
    pair.nodes[1].take(&pair.secp, &message.into()).unwrap();
    pair.deliver_all();
    assert_eq!(pair.nodes[0].state.their_number(), unsigned.their_number().next());
    pair.add(1, Msat::from_sat(20_000), 1).unwrap();
    pair.settle();
}

#[test]
fn no_second_signature_before_the_revocation() {
    let mut pair = Pair::new(ANCHORS);
    pair.add(0, Msat::from_sat(20_000), 1).unwrap();
    pair.sign(0).unwrap();
    pair.add(0, Msat::from_sat(20_000), 1).unwrap();
    assert_eq!(pair.sign(0), Err(NotNow::AwaitingRevocation));
    pair.settle();
}

#[test]
fn nothing_is_signed_before_channel_ready() {
    let pair = Pair::new(ANCHORS);
    let (node, secp) = (&pair.nodes[0], &pair.secp);
    let point = node.state.our_next_point();
    let terms = node.state.terms().clone();
    let spec = terms.first_spec(FeeratePerKw::new(1_000), Msat::ZERO).unwrap();
    let mut state = Commitments::new(terms, spec, point, point);
    assert!(!state.is_ready());
    assert_eq!(state.sign_next(secp, &node.signer).err(), Some(NotNow::AwaitingReady));
    let _ = state.evolve(&state.accept_ready(point).unwrap());
    assert!(state.is_ready());
    assert_eq!(state.accept_ready(point), None, "a redundant channel_ready is ignored");
}

#[test]
fn a_slow_signer_delays_and_breaks_nothing() {
    let mut pair = Pair::new(ANCHORS);
    pair.add(0, Msat::from_sat(20_000), 1).unwrap();
    pair.nodes[0].signer.slow.set(true);
    assert!(matches!(pair.sign(0), Err(NotNow::Signer(_))));
    pair.nodes[0].signer.slow.set(false);
    pair.deliver_all();
    pair.sign(0).unwrap();
    let message = pair.nodes[0].wire.front().cloned().unwrap();
    pair.nodes[1].signer.slow.set(true);
    let taken = pair.nodes[1].take(&pair.secp, &message);
    assert!(matches!(taken, Err(Trouble::Signer)));
    pair.nodes[1].signer.slow.set(false);
    pair.settle();
}

#[test]
fn revocation_that_nobody_waits_for() {
    let mut pair = Pair::new(ANCHORS);
    pair.add(0, Msat::from_sat(20_000), 1).unwrap();
    pair.deliver_all();
    pair.sign(0).unwrap();
    pair.deliver(0).unwrap().unwrap();
    let message = revoke_and_ack(&mut pair, 1);
    assert_eq!(violation(&mut pair, 1, message.clone()), Violation::UnexpectedRevocation);
    pair.nodes[0].take(&pair.secp, &message.clone().into()).unwrap();
    assert_eq!(violation(&mut pair, 0, message), Violation::UnexpectedRevocation);
}

#[test]
fn b09_revocation_with_a_wrong_secret() {
    let mut pair = Pair::new(ANCHORS);
    pair.add(0, Msat::from_sat(20_000), 1).unwrap();
    pair.deliver_all();
    pair.sign(0).unwrap();
    pair.deliver(0).unwrap().unwrap();
    let good = revoke_and_ack(&mut pair, 1);
    let expected = Violation::WrongSecret(CommitmentNumber(0));
    for secret in [[0; 32], [0xff; 32], *pair.nodes[1].signer.secret(1).as_bytes()] {
        let mut bad = good.clone();
        bad.per_commitment_secret = secret;
        assert_eq!(violation(&mut pair, 0, bad), expected);
    }
    for bit in 0..256 {
        let mut bad = good.clone();
        bad.per_commitment_secret[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(violation(&mut pair, 0, bad), expected);
    }
    pair.nodes[0].take(&pair.secp, &good.into()).unwrap();
    pair.settle();
}

#[test]
fn b09_revocation_with_a_secret_from_another_seed() {
    // The peer announces a point whose secret does not derive the earlier one, then reveals it: the point fits.
    let mut pair = Pair::new(ANCHORS);
    let foreign = lightning_traits::tx::CommitmentSecret::new([0x55; 32]);
    let point = foreign.to_point(&pair.secp).unwrap();
    pair.nodes[0].fee(1_100).unwrap();
    pair.deliver_all();
    pair.sign(0).unwrap();
    pair.deliver(0).unwrap().unwrap();
    let mut revocation = revoke_and_ack(&mut pair, 1);
    revocation.next_per_commitment_point = point;
    // Commitment 1 stays theirs to revoke; the next one is for the foreign point.
    pair.nodes[0].take(&pair.secp, &revocation.into()).unwrap();
    for (feerate, number) in [(1_200, 1), (1_300, 2)] {
        pair.nodes[0].fee(feerate).unwrap();
        pair.sign(0).unwrap();
        // Nothing older can be derived from secret 2, so it must be taken; from secret 3 it can.
        let secret = if number == 1 { pair.nodes[1].signer.secret(1) } else { foreign.clone() };
        let message = RevokeAndAck {
            channel_id: ChannelId([0; 32]),
            per_commitment_secret: *secret.as_bytes(),
            next_per_commitment_point: point,
            unknown: TlvRecords::default(),
        };
        pair.nodes[0].take(&pair.secp, &message.into()).unwrap();
    }
    pair.nodes[0].fee(1_400).unwrap();
    pair.sign(0).unwrap();
    let message = RevokeAndAck {
        channel_id: ChannelId([0; 32]),
        per_commitment_secret: *foreign.as_bytes(),
        next_per_commitment_point: point,
        unknown: TlvRecords::default(),
    };
    assert_eq!(violation(&mut pair, 0, message), Violation::SecretNotFromSeed(CommitmentNumber(3)));
}
