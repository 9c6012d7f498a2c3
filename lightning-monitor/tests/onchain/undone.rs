//! The block that took a channel to the chain is taken back, and nothing but the monitor brings it there again: the channel
//! layer has left, and its peer may be gone (RELIABILITY D18, E10, L15).
use bitcoin::Transaction;
use lightning_traits::id::CommitmentNumber;
use lightning_traits::interface::ManyChannelMonitor as _;
use lightning_traits::monitor::{MonitorEvent, MonitorRefusal, MonitorStep, Persist, SpendKind};
use lightning_traits::tx::CommitmentFormat;

use crate::support::pair::number;
use crate::support::{BASE, Delta, FORMATS, Htlc, Pair, Restart, World, adding, offered, received};

/// Further away than any of the tests takes back: no deadline brings the channel to the chain.
const EXPIRY: u32 = BASE + 200;
const IN: Htlc = received(0, 200_000, 20, EXPIRY + 50);
const OUT: Htlc = offered(0, 100_000, 10, EXPIRY);
/// One block, several, more than is irrevocable by any measure but ours.
const DEPTHS: [u32; 4] = [1, 3, 6, 40];

/// What the peer publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Mutual,
    Current,
    Next,
    Revoked,
    Unknown,
}

const COMMITMENTS: [Kind; 4] = [Kind::Current, Kind::Next, Kind::Revoked, Kind::Unknown];

fn open(format: CommitmentFormat, restart: Restart, with_htlcs: bool) -> World {
    let mut world = World::new(format, restart);
    let mut steps = world.pair.commit(&adding(if with_htlcs { &[IN, OUT] } else { &[] }));
    steps.push(world.pair.sign_theirs(&Delta::default()));
    steps.push(world.pair.revoke_theirs());
    steps.push(world.pair.sign_theirs(&Delta::default()));
    world.learn(steps);
    world
}

/// The peer's transaction confirms.
fn confirm(world: &mut World, kind: Kind) -> Transaction {
    let spend = match kind {
        Kind::Mutual | Kind::Unknown => world.pair.mutual(),
        Kind::Current => world.pair.their_commitment(2),
        Kind::Next => world.pair.their_commitment(3),
        Kind::Revoked => world.pair.their_commitment(1),
    };
    let seen = match kind {
        Kind::Mutual => SpendKind::Mutual {},
        Kind::Unknown => SpendKind::Unknown {},
        Kind::Current => SpendKind::Theirs { number: number(2) },
        Kind::Next => SpendKind::Theirs { number: number(3) },
        Kind::Revoked => SpendKind::Revoked { number: number(1) },
    };
    world.mine(vec![spend.clone()]);
    assert_eq!(world.kinds().last(), Some(&seen));
    spend
}

/// Takes back the spend and what came after it, with whatever restarts there are.
fn undo(world: &mut World, depth: u32) {
    world.mine_blocks(depth - 1);
    for _ in 0..depth {
        world.disconnect();
    }
    assert!(world.monitor().closed_by().is_none());
    if world.restart != Restart::Never {
        world.env.store.flush();
        let before = world.monitor();
        world.crash();
        assert_eq!(world.monitor(), before);
    }
}

fn spends_funding(world: &World) -> Vec<Transaction> {
    let funding = world.pair.init.funding.outpoint;
    let spends = world.mempool.values().filter(|tx| tx.input[0].previous_output == funding);
    spends.cloned().collect()
}

#[test]
fn ours_goes_out_when_a_commitment_of_theirs_is_taken_back() {
    for format in FORMATS {
        let mut plain = open(format, Restart::Never, true);
        plain.learn(vec![MonitorStep::ForceClose {}]);
        plain.mine(vec![]);
        plain.learn_preimage(&IN);
        plain.mine_to(EXPIRY + 200);
        for restart in [Restart::Never, Restart::EachBlock] {
            for kind in COMMITMENTS {
                for depth in DEPTHS {
                    let what = format!("{format:?} {restart:?} {kind:?} {depth}");
                    let mut world = open(format, restart, true);
                    confirm(&mut world, kind);
                    undo(&mut world, depth);
                    world.censored = true;
                    world.mine_blocks(2);
                    world.censored = false;
                    let [ours] = &spends_funding(&world)[..] else { panic!("{what}") };
                    assert_eq!(ours.compute_txid(), world.pair.built_ours().2.tx.compute_txid(), "{what}");
                    world.mine(vec![]);
                    assert_eq!(world.kinds().last(), Some(&SpendKind::Ours { number: number(1) }), "{what}");
                    world.learn_preimage(&IN);
                    world.mine_to(EXPIRY + 200);
                    assert_eq!(world.outcomes(), [(0, false)], "{what}");
                    assert!(world.resolved_events() >= 1, "{what}");
                    assert_eq!(world.swept_last(), plain.swept_last(), "{what}");
                }
            }
        }
    }
}

/// The peer's commitment comes back in another block of the new chain: that is as good.
#[test]
fn theirs_may_come_back_and_is_claimed() {
    for format in FORMATS {
        for kind in COMMITMENTS {
            let mut plain = open(format, Restart::Never, true);
            confirm(&mut plain, kind);
            plain.learn_preimage(&IN);
            plain.mine_to(EXPIRY + 200);
            for depth in DEPTHS {
                for late in [false, true] {
                    let mut world = open(format, Restart::Never, true);
                    let spend = confirm(&mut world, kind);
                    undo(&mut world, depth);
                    world.censored = true;
                    if late {
                        world.mine_blocks(3);
                        assert_eq!(spends_funding(&world).len(), 1);
                    }
                    world.mine(vec![spend]);
                    world.censored = false;
                    world.learn_preimage(&IN);
                    world.mine_to(EXPIRY + 200);
                    let what = format!("{format:?} {kind:?} {depth} {late}");
                    assert_eq!(world.swept_last(), plain.swept_last(), "{what}");
                    assert_eq!(world.sorted_outcomes(), plain.sorted_outcomes(), "{what}");
                    assert_eq!(world.resolved_events(), 1, "{what}");
                }
            }
        }
    }
}

#[test]
fn a_mutual_close_goes_out_again_and_no_commitment_beside_it() {
    for format in FORMATS {
        for restart in [Restart::Never, Restart::EachBlock] {
            for forced in [false, true] {
                for depth in DEPTHS {
                    let what = format!("{format:?} {restart:?} {forced} {depth}");
                    let mut world = open(format, restart, false);
                    world.learn(vec![MonitorStep::ShutdownStarted {}]);
                    if forced {
                        world.learn(vec![MonitorStep::ForceClose {}]);
                        world.mempool.clear();
                    }
                    world.censored = true;
                    let close = confirm(&mut world, Kind::Mutual);
                    undo(&mut world, depth);
                    world.mine_blocks(2);
                    assert_eq!(spends_funding(&world), [close], "{what}");
                    world.censored = false;
                    world.mine(vec![]);
                    assert_eq!(world.kinds().last(), Some(&SpendKind::Mutual {}), "{what}");
                    world.mine_blocks(120);
                    assert!(world.mempool.is_empty(), "{what}");
                    assert_eq!((world.resolved_events(), world.swept()), (1, 0), "{what}");
                    world.env.store.flush();
                    assert_eq!(world.env.store.archived().len(), 1, "{what}");
                }
            }
        }
    }
}

/// Another monitor of the channel went to the chain with our commitment before the latest; when that is taken back, this one goes
/// there with the latest, and takes no newer one meanwhile.
#[test]
fn our_latest_goes_out_when_the_one_before_it_is_taken_back() {
    for format in FORMATS {
        for restart in [Restart::Never, Restart::EachBlock] {
            for depth in DEPTHS {
                let what = format!("{format:?} {restart:?} {depth}");
                let mut world = open(format, restart, true);
                let before = world.pair.our_commitment();
                let step = world.pair.sign_ours(&Delta::default());
                world.learn(vec![step]);
                world.censored = true;
                world.mine(vec![before]);
                assert_eq!(world.kinds().last(), Some(&SpendKind::Ours { number: number(1) }), "{what}");
                let kept = world.pair.clone();
                let step = world.pair.sign_ours(&Delta::default());
                let update = world.pair.update(vec![step]);
                assert_eq!(world.set.update_channel(update), Persist::Refused(MonitorRefusal::OnChain));
                world.pair = kept;
                undo(&mut world, depth);
                world.mine_blocks(2);
                let [ours] = &spends_funding(&world)[..] else { panic!("{what}") };
                assert_eq!(ours.compute_txid(), world.pair.built_ours().2.tx.compute_txid(), "{what}");
                world.censored = false;
                world.mine(vec![]);
                assert_eq!(world.kinds().last(), Some(&SpendKind::Ours { number: number(2) }), "{what}");
            }
        }
    }
}

/// Ours is old, so it stays in: theirs goes out again.
#[test]
fn after_data_loss_theirs_goes_out_again_and_ours_never() {
    for format in FORMATS {
        for future in [false, true] {
            for depth in DEPTHS {
                let mut world = open(format, Restart::Never, false);
                let latest = 3 + u64::from(future);
                if future {
                    let last_update = world.pair.last_update;
                    world.pair.revoke_theirs();
                    world.pair.sign_theirs(&Delta::default());
                    world.pair.last_update = last_update;
                }
                let point = world.pair.them.point(number(latest));
                world.learn(vec![MonitorStep::DataLoss { point }]);
                let theirs = world.pair.their_commitment(latest);
                world.mine(vec![theirs.clone()]);
                undo(&mut world, depth);
                world.censored = true;
                world.mine_blocks(2);
                assert_eq!(spends_funding(&world), [theirs], "{format:?} {future} {depth}");
                world.censored = false;
                world.mine_blocks(20);
                assert!(world.swept_last() > 4_000_000, "{}", world.swept_last());
            }
        }
    }
}

/// The channel layer has not heard of the spend yet and steps on: what would revoke the commitment that is out is refused.
#[test]
fn a_commitment_that_is_going_out_is_not_revoked() {
    for format in FORMATS {
        let mut world = open(format, Restart::Never, true);
        confirm(&mut world, Kind::Current);
        undo(&mut world, 1);
        let kept = world.pair.clone();
        let step = world.pair.sign_ours(&Delta::default());
        let update = world.pair.update(vec![step]);
        assert_eq!(world.set.update_channel(update), Persist::Refused(MonitorRefusal::OnChain));
        world.pair = kept;
        // Their revocation is taken: the commitment that was undone is punished, should it come back.
        let revoked = world.pair.revoke_theirs();
        world.learn(vec![revoked]);
        world.mine(vec![world.pair.their_commitment(2)]);
        assert_eq!(world.kinds().last(), Some(&SpendKind::Revoked { number: number(2) }));
    }
}

/// A channel given up as never funded was funded after all, as its spend has shown: it is not archived when that is undone.
#[test]
fn a_channel_given_up_and_spent_is_not_given_up_again() {
    for format in FORMATS {
        let mut world = World::with(Pair::new(format, 1, false), Restart::Never);
        world.mine_blocks(120);
        world.silent = true;
        world.learn(vec![MonitorStep::Abandoned {}]);
        world.mine(vec![world.pair.their_commitment(0)]);
        undo(&mut world, 1);
        world.silent = false;
        world.mine_blocks(3);
        assert_eq!(world.kinds().last(), Some(&SpendKind::Ours { number: CommitmentNumber(0) }));
        let resolved = MonitorEvent::Resolved { channel: world.channel() };
        assert!(world.events.contains(&resolved));
        world.settle();
    }
}

/// The channel layer gives up an output that is in no block for good: nothing is broadcast for it any more, whether our
/// commitment was on its way or what both had signed (RELIABILITY A5).
#[test]
fn a05_what_is_given_up_after_its_funding_was_undone_is_not_broadcast() {
    for format in FORMATS {
        for kind in [None, Some(Kind::Mutual), Some(Kind::Current)] {
            for restart in [Restart::Never, Restart::EachBlock] {
                let mut world = open(format, restart, false);
                if kind == Some(Kind::Mutual) {
                    world.learn(vec![MonitorStep::ShutdownStarted {}]);
                }
                match kind {
                    Some(kind) => {
                        confirm(&mut world, kind);
                        undo(&mut world, 1);
                    }
                    None => world.learn(vec![MonitorStep::ForceClose {}]),
                }
                world.censored = true;
                world.mine_blocks(3);
                let channel = world.channel();
                world.learn(vec![MonitorStep::Abandoned {}]);
                world.censored = false;
                world.mempool.clear();
                world.mine_blocks(3);
                assert!(world.mempool.is_empty() && spends_funding(&world).is_empty(), "{format:?} {kind:?}");
                let resolved = MonitorEvent::Resolved { channel };
                assert!(world.events.contains(&resolved), "{format:?} {kind:?}: {:?}", world.events);
            }
        }
    }
}

/// RELIABILITY B1: what must never be broadcast is not given up either, for a spend of it could be undone again.
#[test]
fn b01_a_channel_that_is_proven_old_stays_passive_when_it_is_given_up() {
    for format in FORMATS {
        let mut world = open(format, Restart::Never, false);
        let point = world.pair.them.point(number(3));
        world.learn(vec![
            MonitorStep::DataLoss { point },
            MonitorStep::Abandoned {},
            MonitorStep::ForceClose {},
        ]);
        world.mine_blocks(3);
        assert!(spends_funding(&world).is_empty(), "{format:?}");
    }
}

/// The peer's transaction confirms behind an empty block, and of both the disk keeps what became of the channel but not that it
/// heard of them; then they are taken back while the node is down.
fn ahead_of_the_tip(format: CommitmentFormat, kind: Kind) -> (World, Transaction) {
    let mut world = open(format, Restart::Never, true);
    world.silent = true;
    world.disk = false;
    world.censored = true;
    world.mine_blocks(1);
    let spend = confirm(&mut world, kind);
    world.env.store.flush_channels();
    world.disconnect_unheard();
    world.disconnect_unheard();
    world.disk = true;
    (world, spend)
}

/// What the disk has of blocks above its tip was never vouched for, and those blocks may be gone: a restart takes it back.
#[test]
fn d18_what_is_durable_above_the_tip_does_not_outlive_a_restart() {
    for format in FORMATS {
        for kind in COMMITMENTS {
            let what = format!("{format:?} {kind:?}");
            let (mut world, _) = ahead_of_the_tip(format, kind);
            world.crash();
            assert!(world.monitor().closed_by().is_none(), "{what}");
            world.mine_blocks(3);
            world.censored = false;
            let [ours] = &spends_funding(&world)[..] else { panic!("{what}") };
            assert_eq!(ours.compute_txid(), world.pair.built_ours().2.tx.compute_txid(), "{what}");
            world.mine_blocks(2);
            assert_eq!(world.kinds().last(), Some(&SpendKind::Ours { number: number(1) }), "{what}");
        }
    }
}

/// The spend is in a lower block of the chain that the restarted node hears, and what is above it is taken back: it stays spent,
/// and is claimed.
#[test]
fn d18_a_spend_that_moved_down_while_the_node_was_down_is_known_where_it_is() {
    for format in FORMATS {
        for kind in COMMITMENTS {
            let mut plain = open(format, Restart::Never, true);
            confirm(&mut plain, kind);
            plain.learn_preimage(&IN);
            plain.mine_to(EXPIRY + 200);
            let what = format!("{format:?} {kind:?}");
            let (mut world, spend) = ahead_of_the_tip(format, kind);
            world.chain.mine(vec![spend]);
            world.chain.mine(vec![]);
            world.crash();
            world.disconnect();
            assert!(world.monitor().closed_by().is_some(), "{what}");
            world.silent = false;
            world.censored = false;
            world.mine_blocks(1);
            world.learn_preimage(&IN);
            world.mine_to(EXPIRY + 200);
            assert_eq!(world.swept_last(), plain.swept_last(), "{what}");
            assert_eq!(world.sorted_outcomes(), plain.sorted_outcomes(), "{what}");
        }
    }
}
