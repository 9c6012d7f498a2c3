//! Reconnection: every pair of counters, lost and found messages, proofs (BOLT 2, "Message Retransmission"; RELIABILITY B2,
//! B3, B13).
use alloc::vec::Vec;

use lightning_traits::id::CommitmentNumber;
use lightning_traits::tx::CommitmentFormat;
use lightning_traits::units::Msat;
use lightning_traits::wire::{ChannelReestablish, Message};

use super::pair::{Pair, fulfil};
use crate::commitments::*;

const ANCHORS: CommitmentFormat = CommitmentFormat::AnchorsZeroFeeHtlc;

/// What node `to` sends again, by kind, after `hello`.
fn answer(pair: &Pair, to: usize, hello: &ChannelReestablish) -> Result<Vec<&'static str>, Desync> {
    let node = &pair.nodes[to];
    let before = node.state.clone();
    let resend = node.state.retransmit(&pair.secp, &node.signer, hello);
    assert_eq!(node.state, before);
    let kind = |resend: &Resend| match resend {
        Resend::Revocation => "revoke",
        Resend::Signed => "sign",
        Resend::Update(Message::UpdateAddHtlc(_)) => "add",
        Resend::Update(Message::UpdateFulfillHtlc(_)) => "fulfil",
        Resend::Update(other) => panic!("{other:?}"),
    };
    resend.map(|resend| resend.iter().map(kind).collect())
}

fn hello(pair: &Pair, from: usize) -> ChannelReestablish {
    pair.nodes[from].state.reestablish(&pair.nodes[from].signer)
}

/// `hello` with other counters, and the secret that an honest node would show for them.
fn with(pair: &Pair, to: usize, next_commitment: u64, next_revocation: u64) -> ChannelReestablish {
    let mut message = hello(pair, 1 - to);
    message.next_commitment_number = CommitmentNumber(next_commitment);
    message.next_revocation_number = CommitmentNumber(next_revocation);
    let shown = next_revocation.checked_sub(1).filter(|number| *number <= CommitmentNumber::LAST.0);
    message.your_last_per_commitment_secret =
        shown.map_or([0; 32], |number| *pair.nodes[to].signer.secret(number).as_bytes());
    message
}

/// A pair at commitment `rounds` on both sides, all acknowledged.
fn at(rounds: u64) -> Pair {
    let mut pair = Pair::new(ANCHORS);
    for _ in 0..rounds {
        pair.add(0, Msat::from_sat(1_000), 1).unwrap();
        pair.settle();
    }
    pair
}

#[test]
fn first_hello() {
    let pair = Pair::new(ANCHORS);
    let message = hello(&pair, 0);
    assert_eq!(message.next_commitment_number, CommitmentNumber(1));
    assert_eq!(message.next_revocation_number, CommitmentNumber(0));
    assert_eq!(message.your_last_per_commitment_secret, [0; 32]);
    assert_eq!(answer(&pair, 1, &message), Ok(Vec::new()));
    let mut message = message;
    message.your_last_per_commitment_secret = [1; 32];
    assert_eq!(answer(&pair, 1, &message), Err(Desync::WrongSecret { number: CommitmentNumber(0) }));
}

#[test]
fn every_pair_of_counters() {
    let pair = at(3);
    let ours = CommitmentNumber(3);
    assert_eq!(pair.nodes[0].state.our_number(), ours);
    assert_eq!(pair.nodes[0].state.their_number(), ours);
    let edges = [0, 1, 2, 3, 4, 5, 6, 1 << 47, (1 << 48) - 1, 1 << 48, (1 << 48) + 1, u64::MAX - 1, u64::MAX];
    for next_commitment in edges {
        for next_revocation in edges {
            let message = with(&pair, 0, next_commitment, next_revocation);
            let theirs = CommitmentNumber(next_revocation);
            let expected = if next_commitment == 0 {
                Err(Desync::NextCommitmentZero)
            } else if next_revocation > 3 {
                // With the right secret, which exists for 48 bits, it is proven.
                let proven = next_revocation <= 1 << 48;
                Err(Desync::WeAreLate { proven, theirs, ours })
            } else if next_revocation < 2 {
                Err(Desync::PeerLost { theirs, ours })
            } else {
                let (theirs, ours) = (CommitmentNumber(next_commitment), CommitmentNumber(4));
                match next_commitment {
                    4 if next_revocation == 2 => Ok(alloc::vec!["revoke"]),
                    4 => Ok(Vec::new()),
                    5.. => Err(Desync::WeAreLate { proven: false, theirs, ours }),
                    _ => Err(Desync::PeerLost { theirs, ours }),
                }
            };
            assert_eq!(answer(&pair, 0, &message), expected, "{next_commitment} {next_revocation}");
        }
    }
}

#[test]
fn a_claim_that_we_are_late_needs_proof() {
    // RELIABILITY B2: a high number with a wrong secret must not silence us. The signer of this test panics should its
    // secret be asked for.
    let pair = at(3);
    for (number, secret) in [(4, [0; 32]), (4, [0x42; 32]), (50, [0xff; 32]), (u64::MAX, [1; 32])] {
        let mut message = with(&pair, 0, 4, number);
        message.your_last_per_commitment_secret = secret;
        let expected =
            Desync::WeAreLate { proven: false, theirs: CommitmentNumber(number), ours: CommitmentNumber(3) };
        assert_eq!(answer(&pair, 0, &message), Err(expected));
    }
    // The secret of a commitment that we did revoke proves nothing about a later one.
    let mut message = with(&pair, 0, 4, 10);
    message.your_last_per_commitment_secret = *pair.nodes[0].signer.secret(2).as_bytes();
    assert!(matches!(answer(&pair, 0, &message), Err(Desync::WeAreLate { proven: false, .. })));
}

#[test]
fn restored_from_an_old_state() {
    // RELIABILITY B1: whichever side is stale by k states finds out, with proof.
    let mut pair = at(1);
    let old = pair.nodes[0].state.clone();
    for k in 1..20 {
        pair.add(0, Msat::from_sat(1_000), 1).unwrap();
        pair.settle();
        let from_peer = hello(&pair, 1);
        let node = &pair.nodes[0];
        let late = old.retransmit(&pair.secp, &node.signer, &from_peer);
        assert!(matches!(late, Err(Desync::WeAreLate { proven: true, .. })), "{k}: {late:?}");
        let to_peer = old.reestablish(&node.signer);
        let lost = answer(&pair, 1, &to_peer);
        let expected = if k == 1 {
            Desync::PeerLost { theirs: CommitmentNumber(2), ours: CommitmentNumber(3) }
        } else {
            Desync::PeerLost { theirs: CommitmentNumber(1), ours: CommitmentNumber(k + 1) }
        };
        assert_eq!(lost, Err(expected), "{k}");
    }
}

#[test]
fn a_wrong_last_secret() {
    let pair = at(3);
    for next_revocation in [2, 3] {
        let mut message = with(&pair, 0, 4, next_revocation);
        message.your_last_per_commitment_secret[7] ^= 1;
        let number = CommitmentNumber(next_revocation - 1);
        assert_eq!(answer(&pair, 0, &message), Err(Desync::WrongSecret { number }));
    }
}

#[test]
fn a_slow_signer_is_asked_again() {
    let pair = at(2);
    let message = hello(&pair, 1);
    pair.nodes[0].signer.slow.set(true);
    assert!(matches!(answer(&pair, 0, &message), Err(Desync::Signer(_))));
    let ours = pair.nodes[0].state.reestablish(&pair.nodes[0].signer);
    pair.nodes[0].signer.slow.set(false);
    assert_eq!(answer(&pair, 0, &message), Ok(Vec::new()));
    assert_eq!(answer(&pair, 1, &ours), Ok(Vec::new()));
}

#[test]
fn lost_signature_is_sent_again_with_its_updates() {
    let mut pair = at(1);
    pair.add(0, Msat::from_sat(1_000), 1).unwrap();
    pair.add(0, Msat::from_sat(2_000), 1).unwrap();
    pair.sign(0).unwrap();
    let sent: Vec<Message> = pair.nodes[0].wire.iter().cloned().collect();
    pair.reconnect([false, false]);
    let again: Vec<Message> = pair.nodes[0].wire.iter().cloned().collect();
    assert_eq!(again, sent, "to the byte");
    // It arrives, the answer is lost: nothing but the answer is sent again.
    pair.deliver(0).unwrap().unwrap();
    pair.deliver(0).unwrap().unwrap();
    pair.deliver(0).unwrap().unwrap();
    pair.reconnect([true, true]);
    assert!(pair.nodes[0].wire.is_empty());
    assert!(matches!(pair.nodes[1].wire.make_contiguous(), [Message::RevokeAndAck(_)]));
    pair.settle();
    assert_eq!(pair.nodes[1].state.pending_incoming().count(), 3);
}

/// Both sides' signatures cross, so each owes a revocation and a signature: the order must be that of the first time.
#[test]
fn revocation_and_signature_keep_their_order() {
    for revoke_first in [true, false] {
        let mut pair = at(1);
        pair.add(0, Msat::from_sat(1_000), 1).unwrap();
        pair.add(1, Msat::from_sat(1_000), 1).unwrap();
        pair.deliver_all();
        if revoke_first {
            // Their signature comes, we revoke, then sign.
            pair.sign(1).unwrap();
            pair.deliver(1).unwrap().unwrap();
            pair.sign(0).unwrap();
        } else {
            pair.sign(0).unwrap();
            pair.sign(1).unwrap();
            pair.deliver(1).unwrap().unwrap();
        }
        let message = hello(&pair, 1);
        let expected = if revoke_first {
            alloc::vec!["revoke", "add", "sign"]
        } else {
            alloc::vec!["add", "sign", "revoke"]
        };
        assert_eq!(answer(&pair, 0, &message), Ok(expected));
        pair.reconnect([revoke_first, !revoke_first]);
        pair.settle();
        assert_eq!(pair.nodes[0].state.pending_incoming().count(), 1);
        assert_eq!(pair.nodes[1].state.pending_incoming().count(), 2);
    }
}

#[test]
fn unsigned_adds_are_taken_back_and_their_ids_used_again() {
    let mut pair = at(1);
    let first = pair.add(0, Msat::from_sat(1_000), 1).unwrap();
    pair.deliver_all();
    let balance = pair.nodes[0].state.our_balance();
    let mut dropped = pair.nodes[0].state.clone();
    let evolved = dropped.evolve(&Change::Dropped {});
    assert_eq!(evolved.unsent.len(), 1);
    assert_eq!(evolved.unsent[0].0, first);
    assert_eq!(evolved.unsent[0].1.amount, Msat::from_sat(1_000));
    pair.reconnect([false, false]);
    assert!(pair.nodes.iter().all(|node| node.wire.is_empty()));
    assert_eq!(pair.nodes[0].state.our_balance(), balance);
    assert_eq!(pair.add(0, Msat::from_sat(5_000), 1), Ok(first));
    pair.settle();
}

#[test]
fn unsigned_removals_are_sent_again() {
    let mut pair = at(1);
    let id = pair.nodes[1].state.pending_incoming().next().unwrap().id;
    pair.nodes[1].remove(id, fulfil(1)).unwrap();
    for restarts in [[false, false], [false, true], [true, true]] {
        pair.reconnect(restarts);
        assert!(matches!(pair.nodes[1].wire.make_contiguous(), [Message::UpdateFulfillHtlc(_)]));
    }
    pair.settle();
    assert!(pair.nodes[0].state.is_drained());
}

#[test]
fn settling_while_disconnected() {
    let mut pair = at(1);
    pair.reconnect([false, false]);
    let id = pair.nodes[1].state.pending_incoming().next().unwrap().id;
    let (change, _) = pair.nodes[1].state.offer_removal(id, fulfil(1)).unwrap();
    pair.nodes[1].evolve(change);
    pair.reconnect([false, false]);
    pair.settle();
    assert!(pair.nodes.iter().all(|node| node.state.is_drained()));
}
