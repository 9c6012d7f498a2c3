//! One chain in every legal way to hand it over: whole or filtered, with blocks repeated, taken back and connected again, restarts and
//! sleep in between. The monitor ends the same (RELIABILITY E6).
use bitcoin::Transaction;
use lightning_monitor::{ChannelMonitor, MonitorSet};
use lightning_traits::interface::{ChainListener as _, ConfirmedTransaction, ManyChannelMonitor as _};
use lightning_traits::monitor::{ChannelMonitorUpdate, MonitorStep};
use lightning_traits::units::BlockHeight;
use proptest::prelude::*;

use crate::support::world::Env;
use crate::support::{BASE, Delta, FORMATS, Restart, World, adding, offered, received};

const EXPIRY: u32 = BASE + 60;

/// What a channel learnt, and the chain that came then.
struct Story {
    world: World,
    updates: Vec<ChannelMonitorUpdate>,
    first: usize,
}

/// A channel with HTLCs on both sides that ends by a commitment of theirs, revoked or not, or by ours.
fn story(format: usize, end: usize) -> Story {
    let mut world = World::new(FORMATS[format], Restart::Never);
    let mut updates = Vec::new();
    let mut learn = |world: &mut World, steps: Vec<MonitorStep>| {
        world.learn(steps.clone());
        updates.push((world.monitor().last_update(), steps));
    };
    let htlcs = [offered(0, 100_000, 10, EXPIRY), received(0, 200_000, 20, EXPIRY)];
    let steps = world.pair.commit(&adding(&htlcs));
    learn(&mut world, steps);
    let steps = world.pair.commit(&Delta::default());
    learn(&mut world, steps);
    learn(&mut world, vec![MonitorStep::Preimage { preimage: htlcs[1].preimage() }]);
    let first = world.chain.blocks.len();
    match end {
        0 => world.mine(vec![world.pair.their_commitment(1)]),
        1 => world.mine(vec![world.pair.their_commitment(2)]),
        _ => {
            learn(&mut world, vec![MonitorStep::ForceClose {}]);
            world.mine(vec![]);
        }
    }
    world.settle();
    let channel = world.channel();
    let update = |(id, steps)| ChannelMonitorUpdate {
        channel,
        id,
        steps,
        record: lightning_traits::monitor::RecordChange::Same {},
        extra: lightning_traits::codec::TlvRecords::new(),
    };
    let updates = updates.into_iter().map(update).collect();
    Story { world, updates, first }
}

/// How the blocks are handed over: each step is about one block.
#[derive(Clone, Debug)]
struct Way {
    filtered: bool,
    repeated: bool,
    /// So many blocks are taken back, and connected again.
    undone: usize,
    restart: bool,
    sleep: bool,
}

fn way() -> impl Strategy<Value = Way> {
    (any::<bool>(), any::<bool>(), prop_oneof![8 => Just(0), 2 => 1_usize..8], any::<bool>(), any::<bool>())
        .prop_map(|(filtered, repeated, undone, restart, sleep)| Way {
            filtered,
            repeated,
            undone,
            restart,
            sleep,
        })
}

/// A monitor among nothing but what it is told.
struct Listener {
    env: Env,
    set: MonitorSet<Env>,
}

impl Listener {
    fn settle(&self) {
        self.env.store.flush();
        while self.set.next_receipt().is_some() {}
        while let Some((id, _)) = self.set.next_monitor_event(None) {
            self.set.acknowledge_monitor_event(id);
        }
        self.env.store.flush();
    }

    fn connect(&self, story: &Story, at: usize, filtered: bool) {
        let (block, height) = (&story.world.chain.blocks[at].block, BlockHeight::new(BASE + at as u32));
        if !filtered {
            self.set.block_connected(block, height);
        } else {
            let mut watched: std::collections::BTreeSet<_> =
                self.env.watch.0.borrow().keys().copied().collect();
            let mut concerns = |tx: &Transaction| {
                let is_watched = tx.input.iter().any(|input| watched.contains(&input.previous_output));
                // What spends it in the same block must be handed over too.
                let txid = tx.compute_txid();
                let outputs = (0..tx.output.len() as u32).map(|vout| bitcoin::OutPoint { txid, vout });
                watched.extend(outputs.filter(|_| is_watched));
                is_watched
            };
            let all = block.txdata.iter().enumerate();
            let chosen: Vec<_> = all
                .filter(|(_, transaction)| concerns(transaction))
                .map(|(index, transaction)| ConfirmedTransaction { index, transaction })
                .collect();
            self.set.filtered_block_connected(&block.header, &chosen, height);
        }
        self.settle();
    }

    fn disconnect(&self, story: &Story, at: usize) {
        let block = &story.world.chain.blocks[at].block;
        self.set.block_disconnected(&block.header, BlockHeight::new(BASE + at as u32));
        self.settle();
    }
}

/// The monitor after the whole story, told in these ways, one after the other and again from the first.
fn told(story: &Story, ways: &[Way]) -> ChannelMonitor {
    let env = Env { wallet: story.world.env.wallet.clone(), ..Env::new() };
    let mut listener = Listener { set: MonitorSet::new(env.clone()), env };
    let _ = listener.set.add_channel(story.world.pair.new_monitor());
    listener.settle();
    let mut updates = story.updates.iter();
    for at in 0..story.world.chain.blocks.len() {
        if at == story.first {
            for update in updates.by_ref() {
                let _ = listener.set.update_channel(update.clone());
                listener.settle();
            }
        }
        let way = &ways[at % ways.len()];
        listener.connect(story, at, way.filtered);
        if way.repeated {
            listener.connect(story, at, !way.filtered);
        }
        // Not so far that the close would be taken back: then the channel goes to the chain by itself, which is another story.
        let undone = way.undone.min(at.saturating_sub(story.first));
        for back in 0..undone {
            listener.disconnect(story, at - back);
        }
        for back in (0..undone).rev() {
            listener.connect(story, at - back, way.filtered);
        }
        if way.sleep {
            listener.set.rest(0);
        }
        if way.restart {
            let (stored, tip) = listener.env.store.crash();
            listener.env.wallet.restart();
            listener.set = MonitorSet::restore(listener.env.clone(), &stored, tip).expect("restores");
            listener.settle();
        }
    }
    listener.set.monitor(story.world.channel()).expect("not yet archived")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

    #[test]
    fn e06_any_legal_order_of_calls_ends_the_same(
        format in 0_usize..2,
        end in 0_usize..3,
        ways in prop::collection::vec(way(), 1..12),
    ) {
        let story = story(format, end);
        let plain = Way { filtered: false, repeated: false, undone: 0, restart: false, sleep: false };
        let expected = told(&story, &[plain]);
        prop_assert!(expected.is_resolved());
        prop_assert_eq!(told(&story, &ways), expected);
    }
}
