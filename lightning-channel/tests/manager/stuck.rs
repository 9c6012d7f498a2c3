//! Forwards of whose outgoing half nobody hears: they go back before the peer upstream goes to the chain (RELIABILITY D23).
use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash as _;
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness};
use lightning_channel::channel::{OpenOptions, PhaseName};
use lightning_traits::config::Trust;
use lightning_traits::event::Event;
use lightning_traits::id::{ChannelId, HtlcId, PaymentId};
use lightning_traits::monitor::{HtlcOutcome, MonitorEvent, MonitorStep};
use lightning_traits::payment::{PaymentHash, Preimage};
use lightning_traits::units::Msat;

use super::mocks::Edge;
use super::world::World;

const MSAT: u64 = 30_000_000;

struct Story {
    world: World,
    first: ChannelId,
    second: ChannelId,
    payment: PaymentId,
    preimage: Preimage,
    /// When the incoming HTLC expires.
    expiry: u32,
}

/// a - b - c; c holds a payment of a's, and is gone. The channel of b and c is in a block, or nobody ever sees it in one.
fn story(confirmed: bool) -> Story {
    let mut world = World::with(&["a", "b", "c"], |config| config.handshake.zero_conf = true);
    let first = world.open(0, 1, 1_000_000, 0, true);
    let second = if confirmed {
        world.open(1, 2, 1_000_000, 0, true)
    } else {
        let (opener, accepter) = (world.id(1), world.id(2));
        let trust = Trust { zero_conf: true, zero_reserve: false };
        world.nodes[2].config.handshake.trusted.insert(opener, trust);
        world.restart(2);
        world.connect(1, 2);
        let options = OpenOptions { zero_conf: true, ..OpenOptions::default() };
        world.manager(1).open_channel_with(accepter, Amount::from_sat(500_000), options).unwrap();
        world.settle();
        // It never confirms.
        world.forget_broadcasts();
        let hints = world.manager(2).route_hints();
        let edge = Edge { scid: hints[0].hops[0].scid, ..world.edge(hints[0].hops[0].scid, 1, 2) };
        world.nodes[0].env.routes.add(edge);
        world.manager(2).list_channels()[0].channel
    };
    world.nodes[2].user.claims = false;
    let preimage = Preimage::new([0x44; 32]);
    let expires = world.now() + 3_600_000;
    let amount = Some(Msat::new(MSAT));
    let invoice = world.manager(2).create_inbound_payment_for_hash(preimage.hash(), amount, expires, None);
    let (payment, _) = world.pay_invoice(0, 2, MSAT, &invoice);
    world.settle();
    assert_eq!(world.seen(2, |event| matches!(event, Event::PaymentClaimable { .. })).len(), 1);
    let queries = world.nodes[0].env.routes.queries();
    let delta = queries[0].final_cltv_delta.get() + world.nodes[1].config.channel.cltv_delta.get();
    let expiry = world.height() + u32::from(delta);
    Story { world, first, second, payment, preimage, expiry }
}

impl Story {
    fn mine_to(&mut self, height: u32) {
        while self.world.height() < height {
            self.world.mine(1);
            self.world.forget_broadcasts();
            self.world.settle();
        }
    }

    fn is_open(&self, channel: ChannelId, node: usize) -> bool {
        let channels = self.world.manager(node).list_channels();
        channels.iter().any(|details| details.channel == channel && details.phase == PhaseName::Open)
    }

    fn htlcs(&self, node: usize, channel: ChannelId) -> usize {
        let channels = self.world.manager(node).list_channels();
        let funded =
            channels.iter().find(|details| details.channel == channel).and_then(|c| c.funded.as_ref());
        funded.map_or(0, |funded| funded.incoming_htlcs + funded.outgoing_htlcs)
    }

    fn knows(&self, hash: PaymentHash) -> bool {
        let is_it = |step: &MonitorStep| matches!(step, MonitorStep::Preimage { preimage } if preimage.hash() == hash);
        self.world.nodes[1].env.monitors.steps(self.first).iter().any(is_it)
    }

    /// The chain shows what c knew.
    fn claim_on_chain(&mut self) {
        let monitors = self.world.nodes[1].env.monitors.clone();
        let (htlc, _) =
            monitors.offered(self.second).into_iter().next().unwrap_or((HtlcId(0), self.preimage.hash()));
        let outcome = HtlcOutcome::Claimed { preimage: self.preimage.clone() };
        monitors.report(MonitorEvent::HtlcResolved { channel: self.second, htlc, outcome });
        self.world.settle();
    }
}

#[test]
fn d23_a_forward_that_ends_nowhere_goes_back_three_blocks_before_its_own_end() {
    for confirmed in [true, false] {
        for (restart, on_chain) in [(false, false), (true, false), (false, true), (true, true)] {
            let mut story = story(confirmed);
            story.world.disconnect(1, 2);
            if on_chain {
                story.world.manager(1).force_close(story.second).unwrap();
                story.world.settle();
            }
            let margin = story.expiry - 3;
            story.mine_to(margin - 1);
            if restart {
                story.world.restart(1);
                story.world.settle();
            }
            let (first, what) = (story.first, format!("{confirmed} {restart} {on_chain}"));
            assert_eq!(story.htlcs(1, first), 1, "{what}: there is time");
            assert!(story.world.endings(0, story.payment).is_empty());
            story.mine_to(margin);
            assert_eq!((story.htlcs(0, first), story.htlcs(1, first)), (0, 0), "{what}");
            assert!(story.is_open(first, 0) && story.is_open(first, 1), "{what}");
            let endings = story.world.endings(0, story.payment);
            assert!(matches!(endings[..], [Event::PaymentFailed { .. }]), "{what}: {endings:?}");
            // What comes of it later changes nothing upstream.
            story.claim_on_chain();
            story.world.restart(1);
            story.world.settle();
            assert!(story.is_open(first, 0) && story.is_open(first, 1), "{what}");
            assert_eq!(story.world.nodes[0].balance(), 1_000_000_000);
        }
    }
}

/// Channels hear of a block before monitors do: what the very block shows with which an HTLC would go back counts, however late a
/// monitor on another machine says it; and what is no preimage of it does not.
#[test]
fn d23_a_preimage_in_the_block_of_the_margin_is_in_time() {
    for (forced, restart) in [(false, false), (true, false), (true, true)] {
        for is_it in [true, false] {
            for reported in [true, false] {
                let what =
                    format!("forced {forced}, restart {restart}, preimage {is_it}, reported {reported}");
                let mut story = story(true);
                let (first, margin) = (story.first, story.expiry - 3);
                story.world.disconnect(1, 2);
                if forced {
                    story.world.manager(1).force_close(story.second).unwrap();
                    story.world.settle();
                }
                story.mine_to(margin - 1);
                if restart {
                    story.world.restart(1);
                    story.world.settle();
                }
                assert_eq!(story.htlcs(1, first), 1, "{what}: there is time");
                let shown = if is_it { story.preimage.clone() } else { Preimage::new([0x45; 32]) };
                story.world.broadcast(claim_with(&shown));
                story.world.mine(1);
                story.world.settle();
                assert_eq!((story.htlcs(0, first), story.htlcs(1, first)), (0, 0), "{what}");
                if reported {
                    story.claim_on_chain();
                }
                story.world.restart(1);
                story.world.settle();
                let endings = story.world.endings(0, story.payment);
                match &endings[..] {
                    [Event::PaymentSent { .. }] => assert!(is_it, "{what}"),
                    [Event::PaymentFailed { .. }] => assert!(!is_it, "{what}"),
                    other => panic!("{what}: {other:?}"),
                }
                assert!(story.is_open(first, 0) && story.is_open(first, 1), "{what}");
                let gained = if is_it { MSAT } else { 0 };
                assert!(story.world.nodes[0].balance() <= 1_000_000_000 - gained, "{what}");
                if reported {
                    assert_eq!(story.world.nodes[1].env.monitors.unacknowledged(), 0, "{what}");
                }
            }
        }
    }
}

/// A claim as a block shows it (BOLT 3, "HTLC Outputs": `<remotehtlcsig> <payment_preimage>` for an offered one).
fn claim_with(preimage: &Preimage) -> Transaction {
    let mut witness = Witness::new();
    for element in [&[0x30; 71][..], preimage.as_bytes(), &[0x76; 133]] {
        witness.push(element);
    }
    let previous_output = OutPoint { txid: Txid::from_byte_array([0x77; 32]), vout: 2 };
    let input = TxIn { previous_output, script_sig: ScriptBuf::new(), sequence: Sequence::ZERO, witness };
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![input],
        output: vec![TxOut { value: Amount::from_sat(20_000), script_pubkey: ScriptBuf::new() }],
    }
}

#[test]
fn d23_what_was_claimed_downstream_never_goes_back() {
    for busy in [false, true] {
        for restart in [false, true] {
            let mut story = story(true);
            story.world.disconnect(0, 1);
            story.world.nodes[1].env.keys.set_busy(busy);
            if busy {
                // Its monitor knows, and the signer does not let it go on.
                story.world.disconnect(1, 2);
                story.claim_on_chain();
            } else {
                story.world.manager(2).claim_with(story.preimage.clone()).unwrap();
            }
            story.world.settle();
            if restart {
                story.world.restart(1);
            }
            let end = story.expiry - 1;
            story.mine_to(end);
            story.world.nodes[1].env.keys.set_busy(false);
            story.world.connect(0, 1);
            story.world.settle();
            story.world.tick();
            story.world.settle();
            let endings = story.world.endings(0, story.payment);
            assert!(matches!(endings[..], [Event::PaymentSent { .. }]), "{busy} {restart}: {endings:?}");
        }
    }
}

#[test]
fn d23_upstream_on_the_chain_a_preimage_is_of_use_to_the_end() {
    // Before it would go back, or after, when the peer upstream has not heard of it.
    for before in [true, false] {
        for restart in [false, true] {
            let mut story = story(true);
            story.world.disconnect(1, 2);
            story.world.disconnect(0, 1);
            let (first, margin) = (story.first, story.expiry - 3);
            story.mine_to(if before { margin - 10 } else { margin });
            story.world.manager(1).force_close(first).unwrap();
            story.world.settle();
            story.mine_to(margin + 1);
            if restart {
                story.world.restart(1);
                story.world.settle();
            }
            assert!(!story.knows(story.preimage.hash()));
            story.claim_on_chain();
            assert!(story.knows(story.preimage.hash()), "{before} {restart}");
            assert_eq!(story.world.nodes[1].env.monitors.unacknowledged(), 0);
        }
    }
}
