//! What is stored of a channel, and comes back with a byte changed, cut, or from elsewhere (RELIABILITY J12): it is refused by name.
//! A record that still decodes, with another balance or another number of a commitment in it, would cost money.
use lightning_channel::channel::{Channel, CloseParams, OpenOptions, PhaseName, RestoreError};
use lightning_traits::id::ChannelId;
use lightning_traits::units::Msat;

use super::node::{Disk, Node};
use super::pair::{Fate, Pair};

const PUSH: Msat = Msat::from_sat(300_000);

/// Where a channel can stand when its process dies.
#[derive(Clone, Copy, Debug)]
enum At {
    Waiting,
    Held,
    Open,
    InFlight,
    Paid,
    Closing,
    Resolving,
}

const ALL: [At; 7] = [At::Waiting, At::Held, At::Open, At::InFlight, At::Paid, At::Closing, At::Resolving];

fn in_flight(pair: &mut Pair) {
    pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
    pair.want(2, 1, Msat::from_sat(20_000), Fate::Claim);
    pair.want(3, 0, Msat::new(100_000), Fate::Claim);
    while pair.nodes[0].incoming.is_empty() || pair.nodes[1].incoming.len() < 2 {
        assert!(pair.move_once() || pair.manage());
    }
    while pair.move_once() {}
}

fn pair_at(at: At) -> Pair {
    match at {
        At::Waiting => {
            let mut pair = Pair::new();
            pair.propose(PUSH, true);
            pair.run();
            pair.fund();
            pair.run();
            pair
        }
        At::Held => {
            let mut pair = Pair::new();
            pair.propose_with(OpenOptions { push: PUSH, ..OpenOptions::default() });
            pair.run();
            let funding = pair.funding();
            let outpoint = pair.nodes[0].channel().funding_in(&funding).unwrap();
            let members = vec![ChannelId::v1_from_funding(outpoint)];
            pair.nodes[0].with(|channel, cx| channel.hold_funding(cx, funding, members)).unwrap();
            pair.run();
            pair
        }
        At::Open => Pair::open(PUSH),
        At::InFlight | At::Resolving => {
            let mut pair = Pair::open(PUSH);
            in_flight(&mut pair);
            if matches!(at, At::Resolving) {
                for node in &mut pair.nodes {
                    assert!(node.with(|channel, cx| channel.force_close(cx)));
                    while node.step() {}
                    assert_eq!(node.channel().phase(), PhaseName::Resolving);
                }
            }
            pair
        }
        At::Paid => {
            let mut pair = Pair::open(PUSH);
            for name in 1..6 {
                pair.want(name, usize::from(name % 2), Msat::from_sat(10_000), Fate::Claim);
            }
            pair.run();
            pair
        }
        At::Closing => {
            let mut pair = Pair::open(PUSH);
            pair.nodes[0].with(|channel, cx| channel.shutdown(cx, CloseParams::default())).unwrap();
            pair.run();
            pair
        }
    }
}

fn restore(node: &Node, record: &[u8], changes: &[Vec<u8>]) -> Result<Vec<u8>, RestoreError> {
    let restored = Channel::restore(&node.cx(), record, changes, node.disk.last)?;
    Ok(restored.snapshot().expect("it has a record"))
}

#[test]
fn j12_a_record_with_any_byte_changed_is_refused_by_name() {
    let (mut bytes, mut appended) = (0, 0);
    for at in ALL {
        let pair = pair_at(at);
        for node in &pair.nodes {
            let Disk { record, changes, .. } = &node.disk;
            let whole = restore(node, record, changes).expect("as it was written");
            assert_eq!(restore(node, &whole, &[]), Ok(whole.clone()), "{at:?}");
            for place in 0..record.len() {
                let mut damaged = record.clone();
                damaged[place] ^= u8::try_from(place % 255 + 1).unwrap();
                assert_eq!(
                    restore(node, &damaged, changes),
                    Err(RestoreError::Damaged),
                    "{at:?}, byte {place}"
                );
            }
            for (number, change) in changes.iter().enumerate() {
                for place in 0..change.len() {
                    let mut damaged = changes.clone();
                    damaged[number][place] ^= 1 << (place % 8);
                    let what = format!("{at:?}, change {number}, byte {place}");
                    assert_eq!(restore(node, record, &damaged), Err(RestoreError::Damaged), "{what}");
                    appended += 1;
                }
            }
            bytes += record.len();
        }
    }
    assert!(bytes > 10_000 && appended > 10_000, "{bytes} and {appended}");
}

#[test]
fn j12_a_record_that_is_cut_or_something_else_is_refused_by_name() {
    for at in ALL {
        let pair = pair_at(at);
        let node = &pair.nodes[0];
        let Disk { record, changes, .. } = &node.disk;
        for cut in (0..record.len()).step_by(3) {
            assert_eq!(
                restore(node, &record[..cut], changes),
                Err(RestoreError::Damaged),
                "{at:?}, cut at {cut}"
            );
        }
        let longer = [&record[..], &[0]].concat();
        assert_eq!(restore(node, &longer, changes), Err(RestoreError::Damaged), "{at:?}");
        // A page that was never written, or by somebody else.
        for filled in [0, 0xff, 0x5a] {
            for length in [0, 1, 4, 5, 512, 4_096] {
                assert_eq!(restore(node, &vec![filled; length], &[]), Err(RestoreError::Damaged), "{at:?}");
                let changes = [vec![filled; length]];
                assert_eq!(restore(node, record, &changes), Err(RestoreError::Damaged), "{at:?}");
            }
        }
        // One in the place of the other.
        if let Some(change) = changes.first() {
            assert_eq!(restore(node, change, &[]), Err(RestoreError::Damaged), "{at:?}");
            let swapped = [record.clone()];
            assert_eq!(restore(node, record, &swapped), Err(RestoreError::Damaged), "{at:?}");
        }
    }
}
