//! HTLCs that nobody has decided on when their channel goes to the chain, over restarts (RELIABILITY J1, scenario 5: "one upstream
//! closed").
use lightning_channel::channel::PhaseName;
use lightning_traits::event::Event;
use lightning_traits::id::ChannelId;
use lightning_traits::monitor::{MonitorEvent, MonitorStep};
use lightning_traits::payment::{PaymentHash, Preimage};
use lightning_traits::units::Msat;

use super::world::World;

const AMOUNT: u64 = 1_200_000_000;

/// a - b - d and a - c - d, each way for up to 990,000 sat; the channels are those of d.
fn diamond() -> (World, [ChannelId; 2]) {
    let mut world = World::new(&["a", "b", "c", "d"]);
    world.open(0, 1, 1_000_000, 0, true);
    world.open(0, 2, 1_000_000, 0, true);
    let channels = [world.open(1, 3, 1_000_000, 0, true), world.open(2, 3, 1_000_000, 0, true)];
    world.nodes[3].user.claims = false;
    (world, channels)
}

/// d holds a payment in two parts.
fn held_in_parts(world: &mut World) -> PaymentHash {
    let invoice = world.invoice(3, AMOUNT);
    let mut params = world.params(3, AMOUNT, &invoice);
    params.max_parts = 4;
    let id = world.new_payment();
    world.manager(0).pay(id, params).unwrap();
    world.settle();
    let is_claimable = |event: &Event| matches!(event, Event::PaymentClaimable { .. });
    assert_eq!(world.seen(3, is_claimable).len(), 1);
    invoice.hash
}

fn go_to_chain(world: &mut World, node: usize, channel: ChannelId, by_user: bool) {
    if by_user {
        world.manager(node).force_close(channel).unwrap();
    } else {
        world.nodes[node].env.monitors.go_to_chain(channel);
        world.nodes[node].env.monitors.report(MonitorEvent::ForceClosed { channel });
    }
    world.settle();
    let channels = world.manager(node).list_channels();
    let gone = channels.iter().find(|details| details.channel == channel).expect("the chain is not done");
    assert_eq!(gone.phase, PhaseName::Resolving);
}

fn knows(world: &World, node: usize, channel: ChannelId, hash: PaymentHash) -> bool {
    let is_it =
        |step: &MonitorStep| matches!(step, MonitorStep::Preimage { preimage } if preimage.hash() == hash);
    world.nodes[node].env.monitors.steps(channel).iter().any(is_it)
}

#[test]
fn j1_a_part_on_the_chain_of_a_payment_claimed_elsewhere_is_claimed_after_a_restart() {
    for gone in 0..2 {
        for (by_user, slow_signer, restarts, loses_record) in
            [(true, false, 1, false), (false, false, 2, false), (true, true, 1, false), (true, true, 2, true)]
        {
            let (mut world, channels) = diamond();
            let hash = held_in_parts(&mut world);
            go_to_chain(&mut world, 3, channels[gone], by_user);
            // Of the claim only the part on the other channel reaches the disk.
            world.nodes[3].env.monitors.set_slow_channel(channels[gone]);
            world.manager(3).claim(hash).unwrap();
            assert!(!knows(&world, 3, channels[gone], hash) && knows(&world, 3, channels[1 - gone], hash));
            if loses_record {
                world.nodes[3].record.clear();
            }
            for _ in 0..restarts {
                world.nodes[3].env.keys.set_busy(slow_signer);
                world.restart(3);
            }
            world.nodes[3].env.monitors.set_slow(false);
            if slow_signer {
                world.settle();
                let is_known = knows(&world, 3, channels[gone], hash);
                assert!(is_known || world.claimed(3, hash).is_empty(), "who knows what the unread part is");
                world.nodes[3].env.keys.set_busy(false);
            }
            world.tick();
            world.settle();
            assert!(knows(&world, 3, channels[gone], hash), "{gone} {by_user} {slow_signer} {restarts}");
            assert_eq!(world.claimed(3, hash), [Msat::new(AMOUNT)]);
        }
    }
}

/// Whoever keeps the preimage of an invoice may have paid for it by now.
#[test]
fn j1_a_held_payment_on_the_chain_can_be_claimed_after_a_restart() {
    for claims in [true, false] {
        let mut world = World::new(&["a", "b"]);
        let channel = world.open(0, 1, 1_000_000, 0, true);
        world.nodes[1].user.claims = false;
        let preimage = Preimage::new([0x77; 32]);
        let (hash, msat) = (preimage.hash(), 30_000_000);
        let expires = world.now() + 36_000;
        let invoice =
            world.manager(1).create_inbound_payment_for_hash(hash, Some(Msat::new(msat)), expires, None);
        world.pay_invoice(0, 1, msat, &invoice);
        world.settle();
        go_to_chain(&mut world, 1, channel, true);
        world.restart(1);
        world.settle();
        if claims {
            world.manager(1).claim_with(preimage).unwrap();
        } else {
            world.manager(1).fail(hash).unwrap();
        }
        world.settle();
        assert_eq!(knows(&world, 1, channel, hash), claims);
        assert_eq!(world.claimed(1, hash).len(), usize::from(claims));
        // What was given back stays so.
        world.restart(1);
        world.settle();
        assert!(world.manager(1).fail(hash).is_err());
    }
}

/// What came in on a channel that is on the chain may have no output there: nothing is offered for it.
#[test]
fn nothing_is_forwarded_for_an_htlc_whose_channel_has_gone_to_the_chain() {
    let (mut points, mut undecided) = (0, 0);
    for restart_after in [true, false] {
        for steps in 0..40 {
            let mut world = World::new(&["a", "b", "c"]);
            let first = world.open(0, 1, 1_000_000, 0, true);
            let second = world.open(1, 2, 1_000_000, 0, true);
            let disk = world.nodes[1].env.monitors.clone();
            disk.set_slow(true);
            let (_, hash) = world.pay(0, 2, 30_000_000);
            for _ in 0..steps {
                world.step_once(0);
            }
            // b waits for c, whom its onion names; meanwhile the channel with a goes to the chain.
            world.crash(1);
            disk.set_slow(false);
            world.start(1);
            world.connect(0, 1);
            world.settle();
            if !disk.offered(second).is_empty() || world.nodes[1].htlcs() == 0 {
                continue;
            }
            go_to_chain(&mut world, 1, first, true);
            if restart_after {
                world.restart(1);
            }
            world.connect(1, 2);
            for _ in 0..4 {
                world.settle();
                world.tick();
            }
            world.settle();
            points += 1;
            undecided += world.manager(1).list_channels().iter().filter(|c| c.channel == first).count();
            assert!(world.claimed(2, hash).is_empty(), "{restart_after} {steps}");
            assert!(disk.offered(second).is_empty() && world.nodes[2].htlcs() == 0);
        }
    }
    assert!(points >= 4 && undecided >= 4, "{points} points, {undecided} undecided");
}
