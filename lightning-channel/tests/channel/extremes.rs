//! Opening messages with extreme numbers, without their records, with every kind of closing script (RELIABILITY A9, A10, A14,
//! A15).
use bitcoin::{Amount, ScriptBuf};
use lightning_channel::channel::{AcceptOptions, Channel, OpenOptions, PhaseName, is_shutdown_script};
use lightning_traits::config::Trust;
use lightning_traits::event::CloseReason;
use lightning_traits::units::{CsvDelay, FeeratePerKw, Msat};
use lightning_traits::wire::{AcceptChannel, Message, OpenChannel, Shutdown};

use super::pair::Pair;

const PUSH: Msat = Msat::from_sat(300_000);
const ALL_BITCOIN: u64 = 2_100_000_000_000_000;

/// Numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    /// The good value three times out of four, else an extreme one.
    fn spoil(&mut self, good: u64, max: u64) -> u64 {
        let extremes = [
            0,
            1,
            good.saturating_sub(1),
            good.saturating_add(1),
            max - 1,
            max,
            ALL_BITCOIN,
            ALL_BITCOIN + 1,
        ];
        if self.below(4) < 3 { good } else { extremes[self.below(extremes.len())].min(max) }
    }
}

fn good_open(pair: &mut Pair) -> OpenChannel {
    pair.propose(PUSH, false);
    while pair.nodes[0].step() {}
    match pair.nodes[0].outgoing.pop_front() {
        Some(Message::OpenChannel(open)) => *open,
        other => panic!("{other:?}"),
    }
}

macro_rules! spoil_shared {
    ($message:ident, $random:ident) => {
        $message.dust_limit_satoshis =
            Amount::from_sat($random.spoil($message.dust_limit_satoshis.to_sat(), u64::MAX));
        $message.max_htlc_value_in_flight_msat =
            Msat::new($random.spoil($message.max_htlc_value_in_flight_msat.to_msat(), u64::MAX));
        $message.channel_reserve_satoshis =
            Amount::from_sat($random.spoil($message.channel_reserve_satoshis.to_sat(), u64::MAX));
        $message.htlc_minimum_msat = Msat::new($random.spoil($message.htlc_minimum_msat.to_msat(), u64::MAX));
        $message.to_self_delay =
            CsvDelay::new($random.spoil(u64::from($message.to_self_delay.get()), u64::from(u16::MAX)) as u16);
        $message.max_accepted_htlcs =
            $random.spoil(u64::from($message.max_accepted_htlcs), u64::from(u16::MAX)) as u16;
    };
}

#[test]
fn a10_a14_whatever_numbers_open_channel_has_what_is_taken_keeps_every_bound() {
    every_open_channel(4_000);
}

#[test]
#[ignore = "at the catalogue's size: 1,000,000 samples, for release builds"]
fn a10_a14_a_million_open_channels_of_extreme_numbers_keep_every_bound() {
    every_open_channel(500_000);
}

fn every_open_channel(samples: u32) {
    for zero_reserve in [false, true] {
        let mut pair = Pair::new();
        let good = good_open(&mut pair);
        let opener = pair.nodes[0].id();
        let trust = Trust { zero_conf: false, zero_reserve };
        pair.nodes[1].config.handshake.trusted.insert(opener, trust);
        let config = pair.nodes[1].config.handshake.clone();
        let mut random = Random(20_261_122);
        let (mut taken, mut refused) = (0, 0);
        for _ in 0..samples {
            let mut open = good.clone();
            open.funding_satoshis = Amount::from_sat(random.spoil(1_000_000, u64::MAX));
            open.push_msat = Msat::new(random.spoil(PUSH.to_msat(), u64::MAX));
            open.feerate_per_kw = FeeratePerKw::new(random.spoil(1_000, u64::from(u32::MAX)) as u32);
            spoil_shared!(open, random);
            let node = &pair.nodes[1];
            let Ok(mut channel) = Channel::requested(&node.cx(), opener, &pair.nodes[0].features, &open)
            else {
                refused += 1;
                continue;
            };
            if channel.accept(&node.cx(), &AcceptOptions::default()).is_err() {
                assert_eq!(channel.phase(), PhaseName::Requested);
                refused += 1;
                continue;
            }
            taken += 1;
            assert!((config.min_funding..=config.max_funding).contains(&open.funding_satoshis));
            assert!(open.push_msat <= Msat::from_amount(open.funding_satoshis));
            assert!((354..=config.max_dust_limit.to_sat()).contains(&open.dust_limit_satoshis.to_sat()));
            let waived = zero_reserve && open.channel_reserve_satoshis == Amount::ZERO;
            assert!(waived || open.channel_reserve_satoshis >= open.dust_limit_satoshis);
            assert!((1..=483).contains(&open.max_accepted_htlcs));
            assert!(open.to_self_delay <= config.max_to_self_delay);
            assert!((253..=25_000).contains(&open.feerate_per_kw.to_sat_per_kw()));
        }
        assert!(taken > 100 && refused > 1_000, "{taken} {refused}");
    }
}

#[test]
fn a10_a14_whatever_numbers_accept_channel_has_the_opener_is_asked_for_money_only_within_bounds() {
    let mut random = Random(7);
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..600 {
        let mut pair = Pair::new();
        pair.propose(PUSH, false);
        while pair.nodes[0].step() {}
        let open = pair.nodes[0].outgoing.pop_front().unwrap();
        pair.deliver(1, open);
        while pair.nodes[1].step() {}
        let Some(Message::AcceptChannel(accept)) = pair.nodes[1].outgoing.pop_front() else { panic!() };
        let mut accept: AcceptChannel = *accept;
        accept.minimum_depth = random.spoil(3, u64::from(u32::MAX)) as u32;
        spoil_shared!(accept, random);
        pair.deliver(0, Message::AcceptChannel(Box::new(accept.clone())));
        while pair.nodes[0].step() {}
        if pair.nodes[0].channel().phase() == PhaseName::AwaitingTransaction {
            taken += 1;
            assert!(accept.minimum_depth <= 144 && (1..=483).contains(&accept.max_accepted_htlcs));
            assert!((354..=1_062).contains(&accept.dust_limit_satoshis.to_sat()));
            assert!(accept.channel_reserve_satoshis >= Amount::from_sat(354));
        } else {
            refused += 1;
            assert!(matches!(pair.closed_event(0), Some(CloseReason::NeverFunded(_))));
        }
    }
    assert!(taken > 20 && refused > 100, "{taken} {refused}");
}

/// The records behind `open_channel`: left out, twice, in another order, and cut off anywhere.
#[test]
fn a09_records_that_are_missing_doubled_or_out_of_order_are_refused_without_harm() {
    for asks in [false, true] {
        let mut pair = Pair::new();
        pair.nodes[1].config.handshake.ask_before_accept = asks;
        let good = good_open(&mut pair);
        let judged = |pair: &Pair, open: &OpenChannel| {
            let node = &pair.nodes[1];
            Channel::requested(&node.cx(), pair.nodes[0].id(), &pair.nodes[0].features, open).is_ok()
        };
        assert!(judged(&pair, &good));
        assert!(!judged(&pair, &OpenChannel { channel_type: None, ..good.clone() }));
        assert!(judged(&pair, &OpenChannel { upfront_shutdown_script: None, ..good.clone() }));
        let none = OpenChannel { upfront_shutdown_script: None, channel_type: None, ..good.clone() };
        assert!(!judged(&pair, &none));
        let bytes = Message::OpenChannel(Box::new(good)).to_wire().unwrap();
        let bare = Message::OpenChannel(Box::new(none)).to_wire().unwrap();
        assert!(Message::decode(&bare).is_ok(), "records are optional on the wire");
        let records = &bytes[bare.len()..];
        let first = 2 + usize::from(records[1]);
        let (shutdown, kind) = records.split_at(first);
        for wrong in [[kind, shutdown].concat(), [shutdown, shutdown, kind].concat(), [kind, kind].concat()] {
            assert!(Message::decode(&[bare.clone(), wrong].concat()).is_err());
        }
        for end in 0..bytes.len() {
            if let Ok(Message::OpenChannel(cut)) = Message::decode(&bytes[..end]) {
                assert!(cut.channel_type.is_none() && !judged(&pair, &cut), "cut at {end}");
            }
        }
    }
}

/// Twenty scripts, most of which nobody should be paid to.
fn scripts() -> Vec<ScriptBuf> {
    let program = |version: u8, length: usize| [vec![version, length as u8], vec![3; length]].concat();
    let push = |length: usize| [vec![length as u8], vec![3; length]].concat();
    let all: [Vec<u8>; 20] = [
        program(0, 20),
        program(0, 32),
        program(0, 21),
        program(0, 2),
        program(0x51, 32),
        program(0x51, 2),
        program(0x51, 40),
        program(0x51, 41),
        program(0x51, 1),
        program(0x60, 20),
        program(0x61, 20),
        [vec![0x76, 0xa9], push(20), vec![0x88, 0xac]].concat(),
        [vec![0xa9], push(20), vec![0x87]].concat(),
        [push(33), vec![0xac]].concat(),
        vec![0x6a],
        [vec![0x6a], push(5)].concat(),
        vec![0x51],
        vec![0x51, 0x52],
        [program(0, 20), vec![0]].concat(),
        vec![3; 1_000],
    ];
    all.into_iter().map(ScriptBuf::from_bytes).collect()
}

#[test]
fn a15_a_peer_may_bind_itself_to_scripts_of_allowed_forms_only_on_either_side() {
    for side in 0..2 {
        for script in scripts() {
            let allowed = is_shutdown_script(&script, true);
            let mut pair = Pair::new();
            let bound = script.clone();
            pair.tamper = Some(Box::new(move |from, message| match message {
                Message::OpenChannel(open) if (from, side) == (0, 0) => {
                    open.upfront_shutdown_script = Some(bound.clone());
                }
                Message::AcceptChannel(accept) if (from, side) == (1, 1) => {
                    accept.upfront_shutdown_script = Some(bound.clone());
                }
                _ => {}
            }));
            pair.propose(PUSH, false);
            pair.run();
            let closed = pair.nodes[0].channel().phase() == PhaseName::Closed;
            assert_eq!(closed, !allowed, "{side} {script}");
        }
    }
    assert_eq!(scripts().iter().filter(|script| is_shutdown_script(script, true)).count(), 6);
}

#[test]
fn a15_a_shutdown_pays_to_what_the_peer_bound_itself_to_or_else_to_any_allowed_form() {
    for bound in [true, false] {
        for script in scripts() {
            let mut pair = Pair::new();
            // The legacy negotiation: what may be said in the other one is tried where that is.
            pair.nodes[0].config.handshake.upfront_shutdown = bound;
            pair.establish(PUSH, false);
            let terms = pair.nodes[1].channel().commitments().unwrap().terms().clone();
            assert_eq!(terms.their_shutdown.is_some(), bound);
            let allowed = is_shutdown_script(&script, true) && !bound;
            let channel_id = pair.nodes[1].channel().id();
            let shutdown = Shutdown { channel_id, scriptpubkey: script.clone(), unknown: Default::default() };
            pair.deliver(1, shutdown.into());
            while pair.nodes[1].step() {}
            assert_eq!(pair.nodes[1].hangup.is_some(), !allowed, "{bound} {script}");
            assert!(pair.closed_event(1).is_none(), "nothing is lost by a bad script");
            if !allowed {
                assert_eq!(pair.nodes[1].channel().phase(), PhaseName::Open);
            }
        }
    }
}

#[test]
fn a15_our_own_scripts_are_judged_before_anything_is_sent() {
    for script in scripts() {
        let mut pair = Pair::new();
        let options =
            OpenOptions { push: PUSH, shutdown_script: Some(script.clone()), ..OpenOptions::default() };
        let params = lightning_channel::channel::OpenParams {
            peer: pair.nodes[1].id(),
            temporary: super::pair::TEMPORARY,
            funding: super::pair::FUNDING,
            options: options.clone(),
        };
        let allowed = is_shutdown_script(&script, true);
        let opened = Channel::open(&pair.nodes[0].cx(), &params, &pair.nodes[1].features);
        assert_eq!(opened.is_ok(), allowed, "{script}");
        if allowed {
            pair.accept = AcceptOptions { shutdown_script: Some(script.clone()), ..AcceptOptions::default() };
            pair.propose_with(options);
            pair.run();
            pair.fund();
            pair.run();
            for node in &pair.nodes {
                let terms = node.channel().commitments().unwrap().terms();
                assert_eq!(terms.our_shutdown.as_ref(), Some(&script));
                assert_eq!(terms.their_shutdown.as_ref(), Some(&script));
            }
        }
    }
}
