//! Frames and signed statements, by themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use lightning_remote::wire::chain::{
    Acknowledgement, ChainFault, Follower, Kept, KeyAtHand, Memory, Signed, Statement, StatementSigner as _,
    is_fork, is_negligence,
};
use lightning_remote::wire::frame::{Broken, FRAME_PAYLOAD, Frame, Link, WINDOW};
use lightning_remote::wire::{Answer, Head, Name, Request};
use lightning_traits::Secp;
use lightning_traits::id::{ChannelId, NodeId, UpdateId};
use proptest::prelude::*;
use secp256k1::{PublicKey, SecretKey};

const CLIENT: NodeId = NodeId([3; 33]);
const CHANNEL: ChannelId = ChannelId([7; 32]);

fn key(byte: u8) -> SecretKey {
    SecretKey::from_slice(&[byte; 32]).unwrap()
}

fn tower() -> PublicKey {
    key(9).public_key(&Secp::new())
}

fn sign(by: u8, acknowledgement: Acknowledgement) -> Signed {
    let signature = KeyAtHand::new(key(by)).sign_statement(&acknowledgement.digest());
    Signed { acknowledgement, signature }
}

fn kept(id: u64) -> Vec<Kept> {
    vec![Kept { channel: CHANNEL, head: Head { id: UpdateId(id), name: Some(Name([id as u8; 32])) } }]
}

fn statement(count: u64, previous: [u8; 32], statement: Statement, kept: Vec<Kept>) -> Signed {
    sign(9, Acknowledgement { client: CLIENT, count, previous, session: 5, statement, kept, tip: None })
}

fn follow(follower: &mut Follower, is_first: bool, next: &Signed) -> Result<(), ChainFault> {
    follower.follow(&Secp::new(), &tower(), (CLIENT, 5), is_first, next)
}

#[test]
fn l18_a_chain_is_followed_and_a_fork_proves_itself() {
    let one = statement(1, [0; 32], Statement::Durable {}, kept(1));
    let two = statement(2, one.acknowledgement.digest(), Statement::Durable {}, kept(2));
    let mut follower = Follower::default();
    follow(&mut follower, true, &one).unwrap();
    follow(&mut follower, false, &two).unwrap();
    let secp = Secp::new();
    // A second statement with a count that was used, a second history behind an earlier one, and a count that goes back.
    let same = statement(2, one.acknowledgement.digest(), Statement::Durable {}, kept(1));
    let other = statement(3, one.acknowledgement.digest(), Statement::Durable {}, kept(3));
    for forged in [&same, &other] {
        let Err(ChainFault::Forked { proof }) = follow(&mut follower.clone(), true, forged) else {
            panic!("a fork was followed")
        };
        assert!(is_fork(&secp, &tower(), &proof.0, &proof.1));
        assert!(is_fork(&secp, &tower(), &proof.1, &proof.0));
    }
    assert_eq!(follow(&mut follower.clone(), true, &one), Err(ChainFault::Backward { last: 2, got: 1 }));
    assert_eq!(follow(&mut follower.clone(), true, &two), Err(ChainFault::Backward { last: 2, got: 2 }));
    assert!(!is_fork(&secp, &tower(), &one, &two), "one history");
    assert!(!is_fork(&secp, &tower(), &two, &two), "one statement");
    let foreign = sign(8, same.acknowledgement.clone());
    assert!(!is_fork(&secp, &tower(), &two, &foreign), "nobody can be accused with another's signature");
    assert_eq!(follower.last(), Some(&two));
}

#[test]
fn a_statement_is_the_towers_for_this_client_and_this_session() {
    let good = statement(1, [0; 32], Statement::Durable {}, kept(1));
    let mut follower = Follower::default();
    assert_eq!(
        follow(&mut follower, true, &sign(8, good.acknowledgement.clone())),
        Err(ChainFault::Signature)
    );
    let mut changed = good.clone();
    changed.acknowledgement.kept = kept(2);
    assert_eq!(follow(&mut follower, true, &changed), Err(ChainFault::Signature));
    let elsewhere = Acknowledgement { client: NodeId([2; 33]), ..good.acknowledgement.clone() };
    assert_eq!(follow(&mut follower, true, &sign(9, elsewhere)), Err(ChainFault::NotOurs));
    let before = Acknowledgement { session: 4, ..good.acknowledgement.clone() };
    assert_eq!(follow(&mut follower, true, &sign(9, before)), Err(ChainFault::NotOurs));
    assert_eq!(follower.last(), None);
    follow(&mut follower, true, &good).unwrap();
    let gap = statement(3, [1; 32], Statement::Durable {}, kept(2));
    assert_eq!(follow(&mut follower, false, &gap), Err(ChainFault::Gap { expected: 2, got: 3 }));
    follow(&mut follower, true, &gap).unwrap();
}

#[test]
fn l18_what_was_acknowledged_and_is_not_kept_proves_itself() {
    let secp = Secp::new();
    let early = statement(4, [0; 32], Statement::Durable {}, kept(6));
    let page = |count, page, last, kept| statement(count, [9; 32], Statement::Standing { page, last }, kept);
    let proves =
        |pages: &[Signed], update| is_negligence(&secp, &tower(), &early, pages, CHANNEL, UpdateId(update));
    assert!(proves(&[page(5, 0, true, vec![])], 6), "not there at all");
    assert!(proves(&[page(5, 0, true, kept(5))], 6), "not far enough");
    assert!(proves(&[page(5, 0, false, vec![]), page(6, 1, true, kept(3))], 6));
    assert!(!proves(&[page(5, 0, true, kept(6))], 6), "it is there");
    assert!(!proves(&[page(5, 0, true, kept(5))], 7), "that was never acknowledged");
    assert!(!proves(&[page(6, 1, true, vec![])], 6), "the first page is left out");
    assert!(!proves(&[page(5, 0, false, vec![])], 6), "the last page is left out");
    assert!(!proves(&[page(3, 0, true, vec![])], 6), "of before");
    assert!(!proves(&[], 6));
    assert!(!proves(&[statement(5, [9; 32], Statement::Durable {}, vec![])], 6), "no list of all");
}

#[test]
fn a_start_leaps_over_every_count_that_a_backup_may_lack() {
    let backup = Memory { count: 7, link: [1; 32], incarnation: 2 };
    let signed_since = Memory { count: 7_000, ..backup };
    assert!(backup.at_start().count > signed_since.count);
    assert!(signed_since.at_start().count > 7_000);
    assert_eq!(Memory::NONE.at_start(), Memory::NONE);
    assert_eq!(Memory::from_versioned(&backup.to_versioned()), Ok(backup));
}

/// Carries frames until nothing moves; gives the messages that arrive at `to`.
fn carry(from: &mut Link, to: &mut Link) -> Vec<Vec<u8>> {
    let mut came = Vec::new();
    loop {
        let mut moved = false;
        while let Some(frame) = from.next_frame() {
            came.extend(to.on_frame(&Frame::read(&frame).unwrap()).unwrap());
            moved = true;
        }
        while let Some(frame) = to.next_frame() {
            assert_eq!(from.on_frame(&Frame::read(&frame).unwrap()).unwrap(), None);
            moved = true;
        }
        if !moved {
            return came;
        }
    }
}

#[test]
fn under_way_is_never_more_than_the_window() {
    let mut link = Link::new(1, 0);
    link.push(vec![1; 5_000_000]);
    let mut sent = 0;
    while let Some(frame) = link.next_frame() {
        assert!(frame.len() <= FRAME_PAYLOAD + 13 && frame.len() + 2 <= 65_535);
        sent += frame.len();
    }
    assert!(sent <= WINDOW as usize, "{sent}");
    assert!(link.waiting() > 4_000_000);
}

#[test]
fn i9_chunks_beyond_limit_or_window_end_the_session() {
    let mut sender = Link::new(1, 0);
    sender.push(vec![1; FRAME_PAYLOAD * 3]);
    let mut taker = Link::new(1, FRAME_PAYLOAD * 2);
    let frames: Vec<_> = std::iter::from_fn(|| sender.next_frame()).collect();
    assert_eq!(frames.len(), 3);
    taker.on_frame(&Frame::read(&frames[0]).unwrap()).unwrap();
    taker.on_frame(&Frame::read(&frames[1]).unwrap()).unwrap();
    let outcome = taker.on_frame(&Frame::read(&frames[2]).unwrap());
    assert_eq!(outcome, Err(Broken::TooLong(FRAME_PAYLOAD * 2)));
    // A flood that does not wait, of empty frames even.
    let mut taker = Link::new(1, usize::MAX);
    let mut taken = 0;
    let outcome = (0_u32..).find_map(|number| {
        let frame = [&[1_u8][..], &1_u64.to_be_bytes(), &number.to_be_bytes()].concat();
        taken += 1;
        taker.on_frame(&Frame::read(&frame).unwrap()).err()
    });
    assert_eq!(outcome, Some(Broken::Window));
    assert!(taken < 10_000, "{taken}");
}

#[test]
fn a_frame_that_is_lost_double_or_late_ends_the_session() {
    let mut sender = Link::new(1, 0);
    (0..4_u8).for_each(|byte| sender.push(vec![byte]));
    let frames: Vec<_> = std::iter::from_fn(|| sender.next_frame()).collect();
    for (order, expected, got) in [([0, 2, 3, 1], 1, 2), ([0, 0, 1, 2], 1, 0), ([1, 0, 2, 3], 0, 1)] {
        let mut taker = Link::new(1, 100);
        let outcome = order.iter().find_map(|at| taker.on_frame(&Frame::read(&frames[*at]).unwrap()).err());
        assert_eq!(outcome, Some(Broken::Order { expected, got }));
    }
}

proptest! {
    #[test]
    fn messages_arrive_whole_and_in_order(sizes in prop::collection::vec(0_usize..200_000, 0..12)) {
        let mut from = Link::new(8, 0);
        let mut to = Link::new(8, 200_000);
        let messages: Vec<Vec<u8>> = sizes.iter().zip(1_u8..).map(|(size, byte)| vec![byte; *size]).collect();
        messages.iter().for_each(|message| from.push(message.clone()));
        prop_assert_eq!(carry(&mut from, &mut to), messages);
        prop_assert_eq!(from.waiting(), 0);
    }

    #[test]
    fn i9_no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _frame = Frame::read(&bytes);
        if let Ok(request) = Request::from_versioned(&bytes) {
            prop_assert_eq!(Request::from_versioned(&request.to_versioned()), Ok(request));
        }
        if let Ok(answer) = Answer::from_versioned(&bytes) {
            prop_assert_eq!(Answer::from_versioned(&answer.to_versioned()), Ok(answer));
        }
    }
}
