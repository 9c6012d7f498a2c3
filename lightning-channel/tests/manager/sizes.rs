//! Floods and interleavings at the sizes that the catalogue names (RELIABILITY A3, A5, A13, A16). What is small enough for every run is
//! run every time; the rest by `cargo test --release -p lightning-channel --test manager -- --ignored`.
use bitcoin::Amount;
use lightning_channel::channel::PhaseName;
use lightning_traits::event::{CloseReason, Event};
use lightning_traits::id::ChannelId;
use lightning_traits::interface::{ChannelMessageHandler as _, EventsProvider as _};
use lightning_traits::monitor::{MonitorEvent, MonitorStep};
use lightning_traits::units::Msat;
use lightning_traits::wire::Init;

use super::collisions::flood;
use super::funding::crash_in_batches;
use super::world::World;

const FUNDING: Amount = Amount::from_sat(1_000_000);
/// Channels that wait to be forgotten at once.
const TOGETHER: u16 = 100;

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Moves messages between the first two nodes; only what asks for money is answered.
fn exchange(world: &mut World) {
    loop {
        for node in 0..2 {
            world.manager(node).process();
            while let Some((id, event)) = world.manager(node).next_event(None) {
                if let Event::FundingNeeded { .. } = event {
                    world.handle(node, id, &event);
                }
                world.manager(node).acknowledge_event(id);
            }
            world.collect(node);
        }
        if !world.deliver(0, 1) && !world.deliver(1, 0) {
            return;
        }
    }
}

/// The monitors of a node have nothing more to watch of the channels that were given up, and put them away. How many those were.
fn archive(world: &mut World, node: usize) -> usize {
    let monitors = world.nodes[node].env.monitors.clone();
    let stored = monitors.stored();
    for (channel, _) in &stored {
        assert!(monitors.steps(*channel).contains(&MonitorStep::Abandoned {}), "it is not given up");
        monitors.report(MonitorEvent::Resolved { channel: *channel });
    }
    exchange(world);
    assert_eq!(monitors.unacknowledged(), 0, "the record is of no more use");
    stored.iter().for_each(|(channel, _)| monitors.archive(*channel));
    stored.len()
}

/// RELIABILITY A5: a peer opens, signs, and never funds, again and again. Nothing stays of it: no channel, no record, no row, no event.
fn never_funded(rounds: u32) {
    let mut world = World::with(&["a", "b"], |config| {
        config.handshake.max_pending_per_peer = TOGETHER;
        config.handshake.max_unfunded_channels = TOGETHER;
        config.handshake.forget_unfunded_after = 10;
    });
    let mut rows = None;
    for round in 0..rounds {
        world.connect(0, 1);
        for _ in 0..TOGETHER {
            world.manager(0).open_channel(world.id(1), FUNDING, Msat::ZERO, false).unwrap();
        }
        exchange(&mut world);
        let waiting = world.manager(1).list_channels();
        assert_eq!(waiting.len(), usize::from(TOGETHER), "round {round}");
        assert!(waiting.iter().all(|channel| channel.phase == PhaseName::AwaitingReady));
        // The opener is gone, with its disk and its transactions.
        world.disconnect(0, 1);
        world.forget_broadcasts();
        world.wipe(0);
        for _ in 0..11 {
            world.mine(1);
            world.forget_broadcasts();
        }
        exchange(&mut world);
        assert_eq!(archive(&mut world, 1), usize::from(TOGETHER), "round {round}");
        assert!(world.manager(1).list_channels().is_empty(), "round {round}");
        assert!(world.manager(1).next_event(None).is_none());
        world.keep_record(1);
        let now = world.nodes[1].record.len();
        assert_eq!(*rows.get_or_insert(now), now, "round {round}: rows stay behind");
    }
    assert!(world.nodes[1].env.monitors.stored().is_empty());
    // And the next, which is funded, opens.
    world.open(0, 1, 1_000_000, 0, false);
}

/// What became of an opening.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    opened: u32,
    dropped: u32,
}

/// RELIABILITY A13: connections that are made, heard of late, or reported again, at any time while a channel opens: it opens on both
/// sides or on neither, and only if its money moved.
fn interleaved(seed: u64, tally: &mut Tally) {
    let mut dice = Dice(seed);
    let mut world = World::new(&["a", "b"]);
    world.connect(0, 1);
    world.manager(0).open_channel(world.id(1), FUNDING, Msat::ZERO, false).unwrap();
    for _ in 0..dice.below(14) {
        for _ in 0..dice.below(6) {
            world.step_once(0);
        }
        let (first, order) = (dice.below(2) as usize, dice.below(4));
        // What the old connection carried is lost with it.
        (0..2).for_each(|node| world.collect(node));
        world.wires.clear();
        for (number, node) in [first, 1 - first].into_iter().enumerate() {
            // One hears that the old one ended, or only of the new one, or of that twice.
            let (here, peer) = (world.manager(node), world.id(1 - node));
            if (order >> number) & 1 == 0 {
                here.peer_disconnected(peer);
                if dice.below(3) == 0 {
                    here.process();
                }
            }
            let init = Init {
                globalfeatures: Default::default(),
                features: world.manager(1 - node).features(),
                networks: None,
                remote_addr: None,
                unknown: Default::default(),
            };
            for _ in 0..=dice.below(2) {
                here.peer_connected(peer, &init, node == 1).unwrap();
            }
        }
        if dice.below(8) == 0 {
            world.restart(dice.below(2) as usize);
        }
    }
    world.disconnect(0, 1);
    world.connect(0, 1);
    world.settle();
    world.mine(6);
    world.settle();
    let phases = |node: usize| -> Vec<PhaseName> {
        world.manager(node).list_channels().iter().map(|channel| channel.phase).collect()
    };
    let (here, there) = (phases(0), phases(1));
    let pending = world.seen(0, |event| matches!(event, Event::ChannelPending { .. })).len();
    let failed = world
        .seen(0, |event| matches!(event, Event::ChannelClosed { reason: CloseReason::NeverFunded(_), .. }))
        .len();
    match &here[..] {
        [PhaseName::Open] => {
            assert_eq!(there, [PhaseName::Open], "seed {seed}");
            assert!(pending >= 1 && failed == 0, "seed {seed}: {pending} {failed}");
            tally.opened += 1;
        }
        [] => {
            // What only the accepter knows is never funded, and is forgotten in its time.
            assert!(!there.contains(&PhaseName::Open) && there.len() <= 1, "seed {seed}: {there:?}");
            assert_eq!(pending, 0, "seed {seed}");
            tally.dropped += 1;
        }
        other => panic!("seed {seed}: {other:?} and {there:?}"),
    }
}

fn interleavings(seeds: core::ops::Range<u64>) {
    let mut tally = Tally::default();
    let count = seeds.end - seeds.start;
    seeds.for_each(|seed| interleaved(seed, &mut tally));
    assert!(u64::from(tally.opened) > count / 10 && u64::from(tally.dropped) > count / 10, "{tally:?}");
}

#[test]
fn a05_three_hundred_channels_that_are_never_funded_leave_nothing() {
    never_funded(3);
}

#[test]
#[ignore = "at the catalogue's size: 100,000 channels, for release builds"]
fn a05_a_hundred_thousand_channels_that_are_never_funded_leave_nothing() {
    never_funded(1_000);
}

#[test]
fn a13_an_opening_survives_any_order_of_connections_or_leaves_nothing() {
    interleavings(0..150);
}

#[test]
#[ignore = "at the catalogue's size: 100,000 interleavings, for release builds"]
fn a13_an_opening_survives_a_hundred_thousand_orders_of_connections() {
    interleavings(0..100_000);
}

#[test]
#[ignore = "at the catalogue's size: 1,000,000 attempts of 100,000 ids, for release builds"]
fn a03_a_million_proposals_of_a_hundred_thousand_strangers_cost_what_a_few_do() {
    flood(100_000, 10);
}

#[test]
#[ignore = "at the catalogue's size: every step of batches of four and five, for release builds"]
fn a16_a_crash_at_each_step_of_batches_of_up_to_five_funds_all_channels_or_none() {
    crash_in_batches(4..=5);
}

/// The ids of channels that nobody funded do not come back.
#[test]
fn a05_what_was_given_up_is_not_stored_under_its_id_again() {
    let mut world = World::with(&["a", "b"], |config| config.handshake.forget_unfunded_after = 10);
    let mut known: Vec<ChannelId> = Vec::new();
    for _ in 0..5 {
        world.connect(0, 1);
        world.manager(0).open_channel(world.id(1), FUNDING, Msat::ZERO, false).unwrap();
        exchange(&mut world);
        let channel = world.manager(1).list_channels()[0].channel;
        assert!(!known.contains(&channel));
        known.push(channel);
        world.disconnect(0, 1);
        world.forget_broadcasts();
        world.wipe(0);
        for _ in 0..11 {
            world.mine(1);
            world.forget_broadcasts();
        }
        exchange(&mut world);
        archive(&mut world, 1);
        world.restart(1);
        assert!(world.manager(1).list_channels().is_empty());
    }
}
