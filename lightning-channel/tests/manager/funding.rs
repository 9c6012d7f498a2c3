//! One transaction for several channels, and transactions that others sign (RELIABILITY A16, A17, A18).
use std::collections::BTreeSet;

use bitcoin::{Amount, ScriptBuf, Transaction, TxOut, Witness};
use lightning_channel::channel::{FundError, PhaseName};
use lightning_channel::manager::FundingError;
use lightning_traits::event::{CloseReason, Event};
use lightning_traits::id::ChannelId;
use lightning_traits::interface::ChannelMessageHandler as _;
use lightning_traits::units::Msat;
use lightning_traits::wire::{ErrorMessage, Message};

use super::world::World;

/// Node 0 and `peers` others, to each of whom it has proposed a channel that all have accepted.
fn proposed(peers: usize) -> (World, Vec<ChannelId>, Transaction) {
    let names = ["a", "b", "c", "d", "e", "f"];
    let mut world = World::new(&names[..=peers]);
    world.nodes[0].user.funds_itself = true;
    let mut temporaries = Vec::new();
    for peer in 1..=peers {
        world.connect(0, peer);
        let amount = Amount::from_sat(100_000 + peer as u64);
        let id = world.id(peer);
        temporaries.push(world.manager(0).open_channel(id, amount, Msat::ZERO, false).unwrap());
    }
    world.settle();
    let transaction = transaction_for(&mut world, &temporaries);
    (world, temporaries, transaction)
}

fn transaction_for(world: &mut World, temporaries: &[ChannelId]) -> Transaction {
    let needed = world.seen(0, |event| matches!(event, Event::FundingNeeded { .. }));
    // The outputs are in another order than the channels, and the change between them.
    let mut outputs: Vec<TxOut> = temporaries
        .iter()
        .rev()
        .map(|wanted| {
            let output = needed.iter().find_map(|event| match event {
                Event::FundingNeeded { temporary, value, script, .. } if temporary == wanted => {
                    Some(TxOut { value: *value, script_pubkey: script.clone() })
                }
                _ => None,
            });
            output.unwrap()
        })
        .collect();
    let change = TxOut { value: Amount::from_sat(7_777), script_pubkey: ScriptBuf::new_op_return([1]) };
    outputs.insert(1, change);
    world.transaction(outputs)
}

fn unsigned(transaction: &Transaction) -> Transaction {
    let mut unsigned = transaction.clone();
    unsigned.input.iter_mut().for_each(|input| input.witness = Witness::new());
    unsigned
}

fn count(world: &World, node: usize, is: impl Fn(&Event) -> bool) -> usize {
    world.seen(node, is).len()
}

fn never_funded(event: &Event) -> bool {
    matches!(event, Event::ChannelClosed { reason: CloseReason::NeverFunded(_), .. })
}

/// All channels open, each once.
fn assert_open(world: &mut World, transaction: &Transaction) {
    let peers = world.nodes.len() - 1;
    world.settle();
    assert!(world.is_broadcast(transaction.compute_txid()));
    world.mine(6);
    world.settle();
    assert_eq!(world.manager(0).list_channels().len(), peers);
    for node in 0..=peers {
        for channel in world.manager(node).list_channels() {
            assert_eq!(channel.phase, PhaseName::Open, "node {node}");
            assert_eq!(channel.funded.unwrap().funding.txid, transaction.compute_txid());
        }
    }
    let pending: BTreeSet<_> = world
        .seen(0, |event| matches!(event, Event::ChannelPending { .. }))
        .into_iter()
        .map(|event| match event {
            Event::ChannelPending { channel, .. } => channel,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(pending.len(), peers);
}

/// No channel anywhere, after all that has to be waited for.
fn assert_nothing(world: &mut World, transaction: &Transaction) {
    world.settle();
    assert!(!world.is_broadcast(transaction.compute_txid()));
    assert!(world.manager(0).list_channels().is_empty(), "{:?}", world.manager(0).list_channels());
}

#[test]
fn a16_channels_of_one_transaction_open_together() {
    for peers in 1..=5 {
        let (mut world, temporaries, transaction) = proposed(peers);
        let channels = world.manager(0).funding_transaction_for(&temporaries, &transaction).unwrap();
        assert_eq!(channels.len(), peers);
        assert_open(&mut world, &transaction);
        let known: BTreeSet<_> = world.manager(0).list_channels().iter().map(|c| c.channel).collect();
        assert_eq!(known, channels.into_iter().collect());
    }
}

#[test]
fn a16_the_transaction_leaves_only_when_the_last_channel_is_durable() {
    let (mut world, temporaries, transaction) = proposed(3);
    let monitors = world.nodes[0].env.monitors.clone();
    monitors.set_slow(true);
    world.manager(0).funding_transaction_for(&temporaries, &transaction).unwrap();
    world.settle();
    for _ in 0..3 {
        assert!(!world.is_broadcast(transaction.compute_txid()));
        assert_eq!(count(&world, 0, |event| matches!(event, Event::ChannelPending { .. })), 0);
        monitors.write_one(0);
        world.settle();
    }
    // Now they are committed to it, which must be durable as well.
    assert!(!world.is_broadcast(transaction.compute_txid()));
    monitors.set_slow(false);
    assert_open(&mut world, &transaction);
}

/// Whoever dies, and whenever: the transaction is out and everybody knows every channel, or it never was and nobody does.
#[test]
fn a16_a_crash_at_each_step_of_a_batch_funds_all_channels_or_none() {
    crash_in_batches(1..=3);
}

/// Every victim, every step, of batches with so many peers.
pub(crate) fn crash_in_batches(sizes: core::ops::RangeInclusive<usize>) {
    for peers in sizes {
        for signed in [true, false] {
            for (victim, slow) in [(0, false), (0, true), (1, false)] {
                let (mut funded, mut dropped, mut is_over) = (0, 0, false);
                for at in 0..160 {
                    let (mut world, temporaries, transaction) = proposed(peers);
                    world.nodes[0].env.monitors.set_slow(slow);
                    let given = if signed { transaction.clone() } else { unsigned(&transaction) };
                    world.manager(0).funding_transaction_for(&temporaries, &given).unwrap();
                    let mut steps = 0;
                    while steps < at && world.step_once(at) {
                        sign_if_asked(&world, &transaction);
                        steps += 1;
                    }
                    world.crash(victim);
                    world.start(victim);
                    world.nodes[0].env.monitors.set_slow(false);
                    (1..=peers).for_each(|peer| world.connect(0, peer));
                    world.settle();
                    for _ in 0..12 {
                        sign_if_asked(&world, &transaction);
                        world.settle();
                        world.tick();
                        world.settle();
                    }
                    if world.is_broadcast(transaction.compute_txid()) {
                        funded += 1;
                        world.mine(6);
                        world.settle();
                        let open = |node: usize| {
                            let channels = world.manager(node).list_channels();
                            channels.iter().filter(|channel| channel.phase == PhaseName::Open).count()
                        };
                        assert_eq!(open(0), peers, "{signed} {victim} {slow} at {at}");
                        assert!((1..=peers).all(|peer| open(peer) == 1), "{signed} {victim} {slow} at {at}");
                    } else {
                        dropped += 1;
                        assert_nothing(&mut world, &transaction);
                    }
                    if steps < at {
                        is_over = true;
                        break;
                    }
                }
                assert!(is_over, "{peers} {signed} {victim} {slow}: there are more steps");
                assert!(funded > 0, "{peers} {signed} {victim} {slow}: {funded} {dropped}");
                assert!(dropped > 0, "{peers} {signed} {victim} {slow}: {funded} {dropped}");
            }
        }
    }
}

/// The user of node 0 signs once every channel says that it is safe.
fn sign_if_asked(world: &World, transaction: &Transaction) {
    let asked = world.seen(0, |event| matches!(event, Event::FundingSafe { .. }));
    if let Some(Event::FundingSafe { channel, .. }) = asked.first() {
        let _repeated = world.manager(0).funding_signed(*channel, transaction.clone());
    }
}

#[test]
fn a16_one_peer_that_refuses_leaves_none_funded() {
    for signed in [true, false] {
        for restart in [false, true] {
            let (mut world, temporaries, transaction) = proposed(3);
            let given = if signed { transaction.clone() } else { unsigned(&transaction) };
            world.manager(0).funding_transaction_for(&temporaries, &given).unwrap();
            world.collect(0);
            // Two sign, the third says no.
            for peer in 1..=2 {
                while world.deliver(0, peer) {}
                world.manager(peer).process();
                world.collect(peer);
                while world.deliver(peer, 0) {}
            }
            assert_eq!(count(&world, 0, |_| true), 3, "only what was asked for");
            if restart {
                world.crash(0);
                world.start(0);
                (1..=2).for_each(|peer| world.connect(0, peer));
                world.settle();
                world.tick();
            } else {
                let error = ErrorMessage {
                    // BOLT 1: the accepter names the channel so until it has sent `funding_signed`.
                    channel_id: temporaries[2],
                    data: b"no more".to_vec(),
                    unknown: Default::default(),
                };
                world.manager(0).on_error(world.id(3), &error);
            }
            assert_nothing(&mut world, &transaction);
            let told = count(&world, 0, never_funded);
            assert_eq!(told, if restart { 2 } else { 3 });
            for peer in 1..=2 {
                let closed = world.seen(peer, |event| matches!(event, Event::ChannelClosed { .. }));
                assert_eq!(closed.len(), 1, "peer {peer} hears of it");
            }
        }
    }
}

#[test]
fn a16_a_peer_that_leaves_before_all_have_signed_leaves_none_funded() {
    let (mut world, temporaries, transaction) = proposed(2);
    world.manager(0).funding_transaction_for(&temporaries, &transaction).unwrap();
    world.collect(0);
    while world.deliver(0, 1) {}
    world.manager(1).process();
    world.collect(1);
    while world.deliver(1, 0) {}
    world.disconnect(0, 2);
    assert_nothing(&mut world, &transaction);
}

#[test]
fn a_transaction_signed_elsewhere_is_asked_for_when_it_is_safe_and_not_before() {
    for restart in [false, true] {
        let (mut world, temporaries, transaction) = proposed(2);
        let unsigned = unsigned(&transaction);
        let channels = world.manager(0).funding_transaction_for(&temporaries, &unsigned).unwrap();
        let early = world.manager(0).funding_signed(channels[0], transaction.clone());
        assert_eq!(early, Err(FundingError::NotHeld(channels[0])), "the peers have not signed");
        // The user does not acknowledge before it has signed.
        world.nodes[0].env.monitors.set_slow(false);
        world.settle();
        let safe = world.seen(0, |event| matches!(event, Event::FundingSafe { .. }));
        assert_eq!(safe.len(), 2);
        for event in &safe {
            let Event::FundingSafe { transaction: asked, .. } = event else { panic!() };
            assert_eq!(*asked, unsigned);
        }
        assert_eq!(count(&world, 0, |event| matches!(event, Event::ChannelPending { .. })), 0);
        assert!(!world.is_broadcast(transaction.compute_txid()));
        if restart {
            world.restart(0);
            world.settle();
            for _ in 0..20 {
                world.tick();
                world.settle();
            }
        }
        let manager = world.manager(0);
        let mut other = transaction.clone();
        other.output[0].value -= Amount::ONE_SAT;
        assert_eq!(manager.funding_signed(channels[0], other), Err(FundingError::OtherTransaction));
        let mut legacy = transaction.clone();
        legacy.input[0].script_sig = ScriptBuf::from_bytes(vec![1, 1]);
        assert_eq!(manager.funding_signed(channels[0], legacy), Err(FundingError::OtherTransaction));
        assert_eq!(manager.funding_signed(channels[0], unsigned.clone()), Err(FundingError::NotSigned(0)));
        assert_eq!(manager.funding_signed(channels[1], transaction.clone()), Ok(()));
        assert_eq!(manager.funding_signed(channels[0], transaction.clone()), Ok(()), "again does no harm");
        assert_open(&mut world, &transaction);
    }
}

#[test]
fn a17_a18_a_transaction_that_does_not_fit_funds_nothing() {
    let (world, temporaries, transaction) = proposed(2);
    let manager = world.manager(0);
    let refused = |given: &Transaction| match manager.funding_transaction_for(&temporaries, given) {
        Err(FundingError::Channel(_, error)) => error,
        other => panic!("{other:?}"),
    };
    let mut legacy = unsigned(&transaction);
    legacy.input[0].script_sig = ScriptBuf::from_bytes(vec![1, 1]);
    assert_eq!(refused(&legacy), FundError::NotSegwit(0));
    let (world, temporaries, transaction) = proposed(2);
    let manager = world.manager(0);
    let mut short = transaction.clone();
    short.output.remove(0);
    for spoil in [
        |tx: &mut Transaction| tx.output[0].value -= Amount::ONE_SAT,
        |tx: &mut Transaction| tx.output[0].value += Amount::ONE_SAT,
        |tx: &mut Transaction| tx.output[0].script_pubkey = ScriptBuf::new(),
        |tx: &mut Transaction| tx.output[2].value -= Amount::ONE_SAT,
        |tx: &mut Transaction| tx.output.clear(),
    ] {
        let mut wrong = transaction.clone();
        spoil(&mut wrong);
        let answer = manager.funding_transaction_for(&temporaries, &wrong);
        assert!(matches!(answer, Err(FundingError::Channel(_, FundError::NoOutput))), "{answer:?}");
    }
    let twice = [temporaries[0], temporaries[0]];
    assert!(manager.funding_transaction_for(&twice, &transaction).is_err());
    assert_eq!(manager.funding_transaction_for(&[], &transaction), Err(FundingError::NoChannel));
    // Nothing of it has harmed the openings.
    assert!(manager.funding_transaction_for(&temporaries, &transaction).is_ok());
    assert!(manager.funding_transaction_for(&temporaries, &transaction).is_err());
}

#[test]
fn a_funding_that_waits_for_a_signature_is_called_off_by_the_user_only() {
    for restart in [false, true] {
        let (mut world, temporaries, transaction) = proposed(2);
        let channels =
            world.manager(0).funding_transaction_for(&temporaries, &unsigned(&transaction)).unwrap();
        world.settle();
        if restart {
            world.restart(0);
            world.settle();
        }
        assert_eq!(world.manager(0).cancel_funding(channels[1], "changed my mind"), Ok(()));
        assert_nothing(&mut world, &transaction);
        assert_eq!(count(&world, 0, never_funded), 2);
        assert_eq!(
            world.manager(0).funding_signed(channels[0], transaction.clone()),
            Err(FundingError::NotHeld(channels[0]))
        );
    }
}

#[test]
fn a16_an_error_while_the_user_signs_keeps_watch_and_funds_no_other() {
    let (mut world, temporaries, transaction) = proposed(2);
    let channels = world.manager(0).funding_transaction_for(&temporaries, &unsigned(&transaction)).unwrap();
    world.settle();
    let broken =
        world.manager(0).list_channels().into_iter().find(|c| c.peer == world.id(1)).unwrap().channel;
    let error = ErrorMessage { channel_id: broken, data: b"no".to_vec(), unknown: Default::default() };
    world.manager(0).on_error(world.id(1), &error);
    world.settle();
    let other = *channels.iter().find(|channel| **channel != broken).unwrap();
    assert_eq!(
        world.manager(0).funding_signed(other, transaction.clone()),
        Err(FundingError::Broken(broken))
    );
    let closed = world.seen(0, |event| matches!(event, Event::ChannelClosed { .. }));
    let [Event::ChannelClosed { reason: CloseReason::PeerError(_), channel, .. }] = &closed[..] else {
        panic!("{closed:?}")
    };
    assert_eq!(*channel, broken, "the user may have broadcast it: the monitor watches");
    assert_eq!(world.manager(0).cancel_funding(other, "the other one failed"), Ok(()));
    world.settle();
    assert!(!world.is_broadcast(transaction.compute_txid()));
}

#[test]
fn a_transaction_that_was_broadcast_elsewhere_is_found_in_its_block() {
    let (mut world, temporaries, transaction) = proposed(2);
    world.manager(0).funding_transaction_for(&temporaries, &unsigned(&transaction)).unwrap();
    world.settle();
    world.broadcast(transaction.clone());
    world.mine(1);
    assert_open(&mut world, &transaction);
}

#[test]
fn a_temporary_id_of_another_state_is_no_funding() {
    let (mut world, temporaries, transaction) = proposed(1);
    let unknown = ChannelId([3; 32]);
    let manager = world.manager(0);
    assert!(manager.funding_transaction_for(&[temporaries[0], unknown], &transaction).is_err());
    assert_eq!(manager.funding_signed(unknown, transaction.clone()), Err(FundingError::NotHeld(unknown)));
    assert_eq!(manager.cancel_funding(temporaries[0], ""), Err(FundingError::NotHeld(temporaries[0])));
    manager.funding_transaction_for(&temporaries, &transaction).unwrap();
    assert_open(&mut world, &transaction);
    let channel = world.manager(0).list_channels()[0].channel;
    assert_eq!(world.manager(0).cancel_funding(channel, ""), Err(FundingError::NotHeld(channel)));
    let sent = world.wires.values().flatten().filter(|message| matches!(message, Message::Error(_)));
    assert_eq!(sent.count(), 0);
}
