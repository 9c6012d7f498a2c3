//! A - B - C, and a monitor that goes to the chain by itself at any moment of a payment.
//!
//! What it refuses is taken back, whatever it reports is passed on, every payment ends once, and nobody waits for anything
//! in the end (RELIABILITY O2, O3, O4).
use bitcoin::Txid;
use bitcoin::hashes::Hash as _;
use lightning_channel::channel::PhaseName;
use lightning_traits::event::Event;
use lightning_traits::id::{ChannelId, CommitmentNumber, PaymentId};
use lightning_traits::monitor::{HtlcOutcome, MonitorEvent, MonitorStep, SpendKind};
use lightning_traits::payment::{PaymentHash, Preimage};
use lightning_traits::units::BlockHeight;

use super::world::World;

/// Who goes to the chain when.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// The channel: that of a and b, or that of b and c.
    channel: usize,
    /// Whose monitor.
    node: usize,
    /// After so many messages.
    at: usize,
    /// Whether writes of the node take their time, so that the refusal comes late.
    slow: bool,
    /// Whether the node crashes right after the first refusal.
    crash: bool,
}

struct Story {
    world: World,
    channels: [ChannelId; 2],
    payments: Vec<(usize, PaymentId, usize, PaymentHash)>,
    struck: bool,
}

/// Runs payments in both directions; `None` when all was over before the plan's moment.
fn run(plan: Plan) -> Option<Story> {
    let mut world = World::new(&["a", "b", "c"]);
    let channels = [world.open(0, 1, 1_000_000, 400_000, true), world.open(1, 2, 1_000_000, 400_000, true)];
    let mut payments = Vec::new();
    for (payer, payee, msat) in [(0, 2, 10_000_000), (2, 0, 20_000_000), (0, 1, 7_000_000)] {
        let (id, hash) = world.pay(payer, payee, msat);
        payments.push((payer, id, payee, hash));
    }
    let mut story = Story { world, channels, payments, struck: false };
    story.world.nodes[plan.node].env.monitors.set_slow(plan.slow);
    let (mut delivered, mut crashed) = (0, false);
    while story.step(plan.node) {
        delivered += 1;
        let monitors = story.world.nodes[plan.node].env.monitors.clone();
        if delivered == plan.at {
            story.struck = true;
            monitors.go_to_chain(channels[plan.channel]);
        }
        if plan.crash && !crashed && monitors.refused() > 0 {
            crashed = true;
            story.world.restart(plan.node);
        }
    }
    story.struck.then_some(story)
}

impl Story {
    /// Everybody does what is to be done, then one message arrives; when none is there, one write reaches the disk.
    fn step(&mut self, slow: usize) -> bool {
        for node in 0..3 {
            self.world.manager(node).process();
            self.world.react(node);
            self.world.keep_record(node);
            self.world.collect(node);
        }
        let waiting = self.world.wires.iter().find(|(_, wire)| !wire.is_empty());
        if let Some((&(from, to), _)) = waiting {
            return self.world.deliver(from, to);
        }
        self.world.nodes[slow].env.monitors.write_one(0)
    }

    /// The monitor says that it went to the chain, the chain decides, and everybody hears it.
    fn resolve(&mut self, plan: Plan) {
        let channel = self.channels[plan.channel];
        let monitors = self.world.nodes[plan.node].env.monitors.clone();
        monitors.set_slow(false);
        monitors.report(MonitorEvent::ForceClosed { channel });
        self.world.settle();
        let sides = [plan.channel, plan.channel + 1];
        for side in sides {
            let kind = SpendKind::Theirs { number: CommitmentNumber(1) };
            let height = BlockHeight::new(self.world.height());
            let spent = MonitorEvent::FundingSpent { channel, txid: Txid::all_zeros(), kind, height };
            self.world.nodes[side].env.monitors.report(spent);
        }
        self.world.settle();
        for side in sides {
            let peer = sides[0] + sides[1] - side;
            let monitors = self.world.nodes[side].env.monitors.clone();
            for (htlc, hash) in monitors.offered(channel) {
                let outcome = match preimage(&self.world, peer, channel, hash) {
                    Some(preimage) => HtlcOutcome::Claimed { preimage },
                    None => HtlcOutcome::Failed {},
                };
                monitors.report(MonitorEvent::HtlcResolved { channel, htlc, outcome });
            }
            self.world.settle();
        }
        for side in sides {
            self.world.nodes[side].env.monitors.report(MonitorEvent::Resolved { channel });
        }
        self.world.settle();
        for _ in 0..3 {
            self.world.tick();
            self.world.settle();
        }
    }

    fn check(&self, plan: Plan) {
        let world = &self.world;
        for (payer, id, payee, hash) in &self.payments {
            let (endings, claimed) = (world.endings(*payer, *id), world.claimed(*payee, *hash));
            let [ending] = &endings[..] else { panic!("{plan:?}: {endings:?}") };
            let sent = matches!(ending, Event::PaymentSent { .. });
            assert_eq!(sent, !claimed.is_empty(), "{plan:?}: {ending:?}");
        }
        let gone = self.channels[plan.channel];
        for node in 0..3 {
            assert_eq!(world.nodes[node].htlcs(), 0, "{plan:?}: HTLCs of node {node}");
            assert_eq!(world.nodes[node].env.monitors.unacknowledged(), 0, "{plan:?}");
            for details in world.manager(node).list_channels() {
                assert_ne!(details.channel, gone, "{plan:?}: node {node} keeps {details:?}");
                assert_eq!(details.phase, PhaseName::Open, "{plan:?}: node {node}");
            }
            assert!(world.manager(node).list_payments().is_empty(), "{plan:?}");
        }
    }
}

/// The preimage that a node's monitor knows.
fn preimage(world: &World, node: usize, channel: ChannelId, hash: PaymentHash) -> Option<Preimage> {
    let steps = world.nodes[node].env.monitors.steps(channel);
    steps.into_iter().find_map(|step| match step {
        MonitorStep::Preimage { preimage } if preimage.hash() == hash => Some(preimage),
        _ => None,
    })
}

fn everywhere(slow: bool, crash: bool) {
    let (mut points, mut refusals, mut late) = (0, 0, 0);
    for channel in 0..2 {
        for node in [channel, channel + 1] {
            for at in 1..1_000 {
                let plan = Plan { channel, node, at, slow, crash };
                let Some(mut story) = run(plan) else { break };
                points += 1;
                let refused = story.world.nodes[node].env.monitors.refused();
                // After a crash the same may come again.
                assert!(refused <= 1 + usize::from(crash), "{plan:?}: refused {refused} times");
                refusals += refused;
                late += usize::from(slow) * refused;
                story.resolve(plan);
                story.check(plan);
            }
        }
    }
    println!("{refusals} refusals at {points} points, {late} late");
    assert!(points > 80 && refusals > 40, "{refusals} refusals at {points} points");
}

#[test]
fn a_refusal_anywhere() {
    everywhere(false, false);
}

#[test]
fn a_late_refusal_anywhere() {
    everywhere(true, false);
}

#[test]
fn a_refusal_anywhere_and_a_crash_behind_it() {
    everywhere(false, true);
    everywhere(true, true);
}
