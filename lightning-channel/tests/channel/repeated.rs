//! Messages that come twice, in pieces, by the thousand, or from an old connection (RELIABILITY B4, B5, B6, B10).
use lightning_channel::channel::PhaseName;
use lightning_traits::feature::Feature;
use lightning_traits::units::Msat;
use lightning_traits::wire::Message;

use super::pair::{Fate, Pair};

const PUSH: Msat = Msat::from_sat(300_000);

/// Payments of every fate both ways, on a channel of either type.
fn busy(anchors: bool) -> Pair {
    let mut pair = Pair::new();
    if !anchors {
        pair.nodes[1].features.clear_bit(Feature::Anchors.optional_bit());
    }
    pair.establish(PUSH, false);
    pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
    pair.want(2, 0, Msat::from_sat(20_000), Fate::Fail);
    pair.want(3, 1, Msat::from_sat(10_000), Fate::Malformed);
    pair.want(4, 1, Msat::from_sat(7_000), Fate::Claim);
    pair
}

/// What a test does with a message on the wire.
enum Wire {
    Through,
    Twice,
    /// It does not arrive whole: the transport hangs up.
    Cut,
}

/// Runs until nothing moves; connections that end come back, with a restart of a side if asked for.
fn run(pair: &mut Pair, restart: Option<usize>, mut wire: impl FnMut(&Message) -> Wire) {
    for _ in 0..20_000 {
        let mut moved = false;
        for side in 0..2 {
            moved |= pair.nodes[side].step();
            let mut cut = pair.nodes[side].hangup.is_some();
            if let Some(message) = pair.nodes[side].outgoing.pop_front() {
                moved = true;
                match wire(&message) {
                    Wire::Through => pair.deliver(1 - side, message),
                    Wire::Twice => {
                        pair.deliver(1 - side, message.clone());
                        pair.deliver(1 - side, message);
                    }
                    Wire::Cut => cut = true,
                }
            }
            if cut {
                moved = true;
                pair.disconnect();
                if let Some(side) = restart {
                    pair.crash(side);
                }
                pair.connect();
            }
        }
        if !moved && !pair.manage() {
            return;
        }
    }
    panic!("does not come to rest");
}

fn check(pair: &Pair, what: &str) {
    assert_eq!(pair.outcomes.values().copied().collect::<Vec<_>>(), [true, false, false, true], "{what}");
    pair.assert_balance(Msat::from_sat(657_000), Msat::from_sat(343_000));
    assert_eq!(pair.phases(), [PhaseName::Open; 2], "{what}");
    assert!(pair.closed_event(0).is_none() && pair.closed_event(1).is_none(), "{what}");
}

const fn is_update(message: &Message) -> bool {
    matches!(
        message,
        Message::UpdateAddHtlc(_)
            | Message::UpdateFulfillHtlc(_)
            | Message::UpdateFailHtlc(_)
            | Message::UpdateFailMalformedHtlc(_)
    )
}

/// RELIABILITY B5: an update that comes twice, at whatever step, is taken once, closes nothing and loses nothing.
#[test]
fn b05_a_duplicate_update_is_taken_once() {
    for anchors in [true, false] {
        for restart in [None, Some(0), Some(1)] {
            let mut points = 0;
            for at in 1..100 {
                let mut pair = busy(anchors);
                let mut count = 0;
                run(&mut pair, restart, |message| {
                    count += usize::from(is_update(message));
                    if is_update(message) && count == at { Wire::Twice } else { Wire::Through }
                });
                check(&pair, &format!("{anchors} {restart:?} {at}"));
                if count < at {
                    break;
                }
                points += 1;
            }
            assert!(points >= 8, "only {points} updates");
        }
    }
}

/// RELIABILITY B6: whenever the connection ends, whoever restarts, and whatever waits for a disk: the first that either side says on the
/// next connection is `channel_reestablish`, and it says nothing else before it has heard the other's.
#[test]
fn b06_whenever_a_connection_ends_nothing_of_it_leaves_on_the_next() {
    for bits in 0..12_u8 {
        let (anchors, slow) = (bits & 1 == 0, bits & 2 != 0);
        let restart = [None, Some(0), Some(1)][usize::from(bits >> 2)];
        let mut points = 0;
        // Every third step, each time others.
        for at in (1 + usize::from(bits % 3)..400).step_by(3) {
            let what = format!("anchors {anchors}, slow {slow}, restart {restart:?}, step {at}");
            let mut pair = busy(anchors);
            let mut steps = 0;
            while steps < at && (pair.move_once() || pair.manage()) {
                // What is decided last waits for its write.
                if slow && at - steps <= 3 {
                    pair.nodes.iter_mut().for_each(|node| node.slow_disk = true);
                }
                steps += 1;
            }
            if steps < at {
                break;
            }
            points += 1;
            pair.disconnect();
            if let Some(side) = restart {
                pair.crash(side);
            }
            pair.connect();
            for node in &mut pair.nodes {
                while node.step() || node.write_one() {}
                node.slow_disk = false;
                while node.step() {}
                let said: Vec<u16> = node.outgoing.iter().map(Message::type_id).collect();
                assert_eq!(said, [136], "{what}");
                assert_eq!(node.channel().phase(), PhaseName::Syncing, "{what}");
            }
            pair.run();
            check(&pair, &what);
        }
        assert!(points > 10, "only {points} steps");
    }
}

/// RELIABILITY B10: a message that cannot be decoded is not skipped: the connection ends, and the next one goes on from what
/// both have signed.
#[test]
fn b10_a_message_that_arrives_in_pieces_ends_the_connection_and_nothing_else() {
    for anchors in [true, false] {
        for restart in [None, Some(0), Some(1)] {
            let mut points = 0;
            for at in 1..200 {
                let mut pair = busy(anchors);
                let (mut count, mut undecodable) = (0, false);
                run(&mut pair, restart, |message| {
                    count += 1;
                    let bytes = message.to_wire().unwrap();
                    // Half of it: every message of a channel is longer than its channel id.
                    let half = Message::decode(&bytes[..bytes.len() / 2]);
                    undecodable |= half.is_err();
                    if count == at && half.is_err() { Wire::Cut } else { Wire::Through }
                });
                assert!(undecodable);
                check(&pair, &format!("{anchors} {restart:?} {at}"));
                if count < at {
                    break;
                }
                points += 1;
            }
            assert!(points > 20, "only {points} messages");
        }
    }
}

/// RELIABILITY B4: thousands of `channel_reestablish` to a channel that cannot use them: nothing piles up, nothing is answered
/// more than once, and no money moves.
#[test]
fn b04_a_flood_of_reestablish_piles_nothing_up() {
    for phase in [PhaseName::AwaitingCreated, PhaseName::AwaitingReady, PhaseName::Open, PhaseName::Resolving]
    {
        let mut pair = Pair::open(PUSH);
        let mut hello = None;
        pair.disconnect();
        pair.connect();
        while pair.nodes[0].step() {
            hello = hello.or_else(|| pair.nodes[0].outgoing.pop_front());
        }
        let hello = hello.unwrap();
        assert!(matches!(hello, Message::ChannelReestablish(_)));
        match phase {
            PhaseName::AwaitingCreated => {
                pair = Pair::new();
                pair.propose(PUSH, false);
                while pair.nodes[1].channel.is_none() {
                    assert!(pair.move_once());
                }
                while pair.nodes[1].step() {}
                pair.nodes[1].outgoing.clear();
            }
            PhaseName::AwaitingReady => {
                pair = Pair::new();
                pair.propose(PUSH, false);
                pair.run();
                pair.fund();
                pair.run();
            }
            PhaseName::Resolving => {
                pair.run();
                pair.nodes[1].with(|channel, cx| channel.force_close(cx));
                while pair.nodes[1].step() {}
                pair.nodes[1].outgoing.clear();
            }
            _ => pair.reconnect(),
        }
        assert_eq!(pair.nodes[1].channel().phase(), phase);
        let (mut answers, mut hung_up) = (0, false);
        for _ in 0..2_000 {
            pair.deliver(1, hello.clone());
            while pair.nodes[1].step() {}
            answers += pair.nodes[1].outgoing.len();
            pair.nodes[1].outgoing.clear();
            hung_up |= pair.nodes[1].hangup.is_some();
        }
        // In a channel that is over, "SHOULD retransmit the error packet": one each, and the memory is none.
        assert!(phase == PhaseName::Resolving || answers <= 2, "{phase:?}: {answers}");
        assert!(hung_up || answers > 0, "{phase:?}");
        assert!(!pair.nodes[1].step());
    }
    // While the signer sleeps messages wait, up to a bound.
    let mut pair = Pair::open(PUSH);
    pair.nodes[1].keys.set_busy(true);
    pair.disconnect();
    pair.connect();
    while pair.nodes[0].step() {}
    let hello = pair.nodes[0].outgoing.pop_front().unwrap();
    let mut taken = 0;
    while pair.nodes[1].hangup.is_none() {
        pair.deliver(1, hello.clone());
        while pair.nodes[1].step() {}
        taken += 1;
        assert!(taken < 2_000, "there is no bound");
    }
    pair.nodes[1].keys.set_busy(false);
    pair.run();
    pair.reconnect();
    assert_eq!(pair.phases(), [PhaseName::Open; 2]);
}
