//! `update_fee` that was signed for before a cut, and odd by the time it comes again (BOLT 2, "Updating Fees", "Message
//! Retransmission"; RELIABILITY C5, C8).
use lightning_channel::channel::{FeeQuotes, PhaseName};
use lightning_traits::event::CloseReason;
use lightning_traits::feature::Feature;
use lightning_traits::monitor::MonitorStep;
use lightning_traits::units::{FeeratePerKw, Msat};
use lightning_traits::wire::{Message, UpdateFee};

use super::pair::{Fate, Pair};

const PUSH: Msat = Msat::from_sat(300_000);

/// Which way fees moved while the opener's update was on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Odd {
    High,
    Low,
}

#[derive(Clone, Copy, Debug)]
struct Plan {
    odd: Odd,
    anchors: bool,
    /// Who restarts while the connection is down.
    restarts: [bool; 2],
    in_flight: bool,
}

fn plans() -> impl Iterator<Item = Plan> {
    (0..32_u8).map(|bits| Plan {
        odd: if bits & 1 == 0 { Odd::High } else { Odd::Low },
        anchors: bits & 2 == 0,
        restarts: [bits & 4 != 0, bits & 8 != 0],
        in_flight: bits & 16 != 0,
    })
}

pub(crate) fn opened(anchors: bool) -> Pair {
    let mut pair = Pair::new();
    if !anchors {
        pair.nodes[1].features.clear_bit(Feature::Anchors.optional_bit());
    }
    pair.establish(PUSH, false);
    pair
}

fn feerate(pair: &Pair, side: usize) -> u32 {
    pair.nodes[side].channel().commitments().unwrap().feerate().to_sat_per_kw()
}

/// Lets messages go without anybody deciding on HTLCs.
fn drift(pair: &mut Pair) {
    while pair.connected && pair.move_once() {}
}

/// Fees as both sides see them.
fn set_fees(pair: &mut Pair, rate: u32) {
    for node in &mut pair.nodes {
        node.fees.other_commitment = FeeratePerKw::new(rate);
        node.fees.minimum = FeeratePerKw::new(rate / 4).max(FeeratePerKw::FLOOR);
    }
}

/// The opener signs for an update that nobody gets; fees move; whoever is named restarts. Returns what it signed for.
fn signed_and_lost(plan: Plan) -> (Pair, u32) {
    let mut pair = opened(plan.anchors);
    if plan.in_flight {
        pair.want(1, 0, Msat::from_sat(50_000), Fate::Claim);
        while pair.nodes[1].incoming.is_empty() {
            assert!(pair.move_once() || pair.manage());
        }
        while pair.move_once() {}
        pair.nodes[1].incoming.clear();
    }
    let (signed, moved) = match (plan.odd, plan.anchors) {
        (Odd::High, true) => (2_500, 253),
        (Odd::High, false) => (8_000, 600),
        (Odd::Low, true) => (300, 2_000),
        (Odd::Low, false) => (1_000, 6_000),
    };
    pair.nodes[0].with(|channel, cx| {
        channel.update_fee(cx, FeeratePerKw::new(signed)).expect("a feerate for the day");
        channel.commit(cx).expect("may sign");
    });
    while pair.nodes[0].step() {}
    pair.disconnect();
    set_fees(&mut pair, moved);
    for side in 0..2 {
        if plan.restarts[side] {
            pair.crash(side);
        }
    }
    (pair, signed)
}

/// RELIABILITY C8, O5: an opener that must send again what it signed for gets through, whatever fees are by then; but where
/// an HTLC must confirm in time and nothing shows that the feerate was ever good, the channel is failed rather than starved.
#[test]
fn c08_an_update_fee_from_before_a_cut_ends_in_agreement() {
    for plan in plans() {
        let (mut pair, signed) = signed_and_lost(plan);
        let mut connections = 0;
        while feerate(&pair, 1) != signed && pair.nodes[1].channel().phase() != PhaseName::Resolving {
            assert!(connections < 4, "{plan:?}: they meet and part for ever");
            pair.connect();
            drift(&mut pair);
            connections += 1;
            if !pair.connected {
                pair.disconnect();
            }
        }
        // Only an accepter that restarted does not know what fees were; bounds of anchors are wide above.
        let forgot = plan.restarts[1] && (plan.odd == Odd::Low || !plan.anchors);
        let starves = forgot && plan.in_flight && plan.odd == Odd::Low;
        assert_eq!(connections, if forgot { 2 } else { 1 }, "{plan:?}");
        if starves {
            assert!(matches!(pair.closed_event(1), Some(CloseReason::PeerViolation(_))), "{plan:?}");
            continue;
        }
        pair.run();
        assert_eq!(pair.phases(), [PhaseName::Open; 2], "{plan:?}");
        assert_eq!([feerate(&pair, 0), feerate(&pair, 1)], [signed; 2], "{plan:?}");
    }
}

fn offer_fee(pair: &mut Pair, feerate: u32) {
    let message = UpdateFee {
        channel_id: pair.nodes[1].channel().id(),
        feerate_per_kw: FeeratePerKw::new(feerate),
        unknown: Default::default(),
    };
    pair.deliver(1, Message::UpdateFee(message));
    drift(pair);
}

fn insisted(pair: &Pair) -> bool {
    let reason = pair.closed_event(1);
    matches!(&reason, Some(CloseReason::PeerViolation(text)) if text.contains("insisted"))
}

/// RELIABILITY C5, C8, O5: what no estimate ever allowed is hung up on; insisting gets it no further than the exposure limit, and
/// not for ever: who insists for an hour of blocks loses the channel, at the feerate that was fine.
#[test]
fn c05_insisting_does_not_lift_the_exposure_limit() {
    for anchors in [true, false] {
        let mut pair = opened(anchors);
        let fine = feerate(&pair, 1);
        for block in 0..6 {
            // 50,000 sat above the fair fee of some 724 or 1124 weight.
            offer_fee(&mut pair, 90_000);
            assert!(!pair.connected);
            pair.reconnect();
            assert_eq!(pair.phases(), [PhaseName::Open; 2], "anchors {anchors}, block {block}");
            assert_eq!(feerate(&pair, 1), fine);
            pair.mine(1);
        }
        offer_fee(&mut pair, 90_000);
        assert_eq!(pair.phases()[1], PhaseName::Resolving, "anchors {anchors}");
        assert!(insisted(&pair));
        assert_eq!(feerate(&pair, 1), fine, "our commitment is the one that was fine");
        assert!(pair.nodes[1].disk.steps.contains(&MonitorStep::ForceClose {}));
    }
}

/// What becomes of fees after a spike in which the opener has signed for an `update_fee` that its peer has not got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Later {
    /// They stay low.
    Low,
    /// The accepter's estimates follow within the hour.
    Follow,
}

/// RELIABILITY C5, C8, O5 (F1): an honest opener that must send again what it signed for in a spike, and whose excess breaks the
/// accepter's limit of exposure by then, gets through as soon as estimates agree, or loses the channel after an hour; a restart of
/// the accepter begins the hour again. Never do the two meet and part for ever, with or without an HTLC in flight.
#[test]
fn c05_c08_an_update_fee_of_a_spike_is_taken_or_ends_the_channel() {
    for bits in 0..16_u8 {
        let later = if bits & 1 == 0 { Later::Low } else { Later::Follow };
        let (in_flight, restarts) = (bits & 2 != 0, [bits & 4 != 0, bits & 8 != 0]);
        let what = format!("{later:?}, in flight {in_flight}, restarts {restarts:?}");
        let mut pair = opened(false);
        if in_flight {
            pair.want(1, 0, Msat::from_sat(40_000), Fate::Claim);
            while pair.nodes[1].incoming.is_empty() {
                assert!(pair.move_once() || pair.manage());
            }
            while pair.move_once() {}
            pair.nodes[1].incoming.clear();
        }
        let before = feerate(&pair, 1);
        set_fees(&mut pair, 80_000);
        pair.nodes[0].with(|channel, cx| {
            channel.update_fee(cx, FeeratePerKw::new(80_000)).expect("a feerate for the hour");
            channel.commit(cx).expect("may sign");
        });
        while pair.nodes[0].step() {}
        pair.disconnect();
        set_fees(&mut pair, 600);
        let mut connections = 0;
        while pair.nodes[1].channel().phase() != PhaseName::Resolving && feerate(&pair, 1) == before {
            assert!(connections < 16, "{what}: they meet and part for ever");
            if connections == 3 {
                for side in (0..2).filter(|side| restarts[*side]) {
                    pair.crash(side);
                }
                if later == Later::Follow {
                    set_fees(&mut pair, 80_000);
                }
            }
            pair.connect();
            drift(&mut pair);
            connections += 1;
            if !pair.connected {
                pair.disconnect();
                pair.mine(1);
            }
        }
        match later {
            Later::Low => {
                // Since the first refusal that is remembered.
                let first = if restarts[1] { 3 } else { 0 };
                assert_eq!(connections, first + 7, "{what}");
                assert!(insisted(&pair), "{what}");
                assert_eq!(feerate(&pair, 1), before, "{what}");
            }
            Later::Follow => {
                assert_eq!(connections, 4, "{what}");
                pair.run();
                assert_eq!(pair.phases(), [PhaseName::Open; 2], "{what}");
                assert_eq!([feerate(&pair, 0), feerate(&pair, 1)], [80_000; 2], "{what}");
            }
        }
    }
}

/// RELIABILITY C8: what is below the relay floor is not taken however often it comes, HTLCs or not, and closes nothing.
#[test]
fn c08_feerates_that_nobody_relays_are_never_taken() {
    for anchors in [true, false] {
        let mut pair = opened(anchors);
        for rate in [0, 1, 252, 252, 0] {
            offer_fee(&mut pair, rate);
            assert!(!pair.connected);
            pair.reconnect();
            assert_eq!(pair.phases(), [PhaseName::Open; 2]);
            assert!(feerate(&pair, 1) >= 1_000);
        }
    }
}

/// RELIABILITY C8: what is outside of the bounds but no farther out than what is in force makes nothing worse.
#[test]
fn c08_a_step_towards_the_bounds_is_taken() {
    for (moved, steps) in [(200_u32, [7_000_u32, 6_500]), (20_000, [2_600, 3_000])] {
        let mut pair = opened(false);
        let first = if moved < 1_000 { 8_000 } else { 2_500 };
        let _same = pair.nodes[0].with(|channel, cx| channel.update_fee(cx, FeeratePerKw::new(first)));
        pair.run();
        assert_eq!(feerate(&pair, 1), first);
        // A restart, so that no memory helps.
        pair.disconnect();
        pair.crash(1);
        set_fees(&mut pair, moved);
        pair.connect();
        pair.run();
        for step in steps {
            offer_fee(&mut pair, step);
            assert!(pair.connected, "{step} is nearer than {first}");
        }
        pair.reconnect();
        assert_eq!(pair.phases(), [PhaseName::Open; 2]);
    }
}

/// RELIABILITY C8: one memory of what was refused serves once: after the next signature everything is judged anew.
#[test]
fn c08_what_was_refused_is_forgotten_with_the_next_signature() {
    let mut pair = opened(false);
    offer_fee(&mut pair, 40_000);
    assert!(!pair.connected);
    pair.reconnect();
    pair.want(1, 0, Msat::from_sat(1_000), Fate::Claim);
    pair.run();
    assert_eq!(pair.outcomes.get(&(0, 1)), Some(&true));
    offer_fee(&mut pair, 40_000);
    assert!(!pair.connected, "it is the first time again");
}

/// A number that follows from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// RELIABILITY B19, C4, O5: HTLCs that wait while fees move, and cannot be afforded when their turn comes, wait on or are
/// given up; the channel never is, and no honest side finds the other in the wrong.
#[test]
fn b19_c04_htlcs_that_can_no_longer_be_afforded_wait_and_the_channel_lives() {
    let mut waited = 0;
    for seed in 0..6 {
        for anchors in [true, false] {
            let mut dice = Dice(seed);
            let mut pair = Pair::new();
            if !anchors {
                pair.nodes[1].features.clear_bit(Feature::Anchors.optional_bit());
            }
            // From an opener that has all to one that has hardly its reserve.
            pair.establish(Msat::from_sat(300_000 * dice.below(4)).min(Msat::from_sat(970_000)), false);
            for name in 1..60_u8 {
                let fate = if dice.below(2) == 0 { Fate::Claim } else { Fate::Fail };
                let amount = Msat::from_sat(300 + dice.below(120_000));
                let side = usize::try_from(dice.below(2)).unwrap();
                pair.want(name, side, amount, fate);
                if dice.below(3) == 0 {
                    let rate = 500 + u32::try_from(dice.below(4_000)).unwrap();
                    set_fees(&mut pair, rate);
                    pair.nodes[0].fees.anchor_commitment = FeeratePerKw::new(rate);
                    pair.nodes[0].with(|channel, cx| channel.timer_tick(cx));
                }
                // Half-way, so that additions and fees cross.
                for _ in 0..dice.below(40) {
                    let _moved = pair.move_once() || pair.manage();
                }
            }
            pair.run();
            assert!(pair.connected, "seed {seed}: no side breaks a rule");
            assert_eq!(pair.phases(), [PhaseName::Open; 2], "seed {seed}");
            let [(ours, theirs), (other_ours, other_theirs)] = pair.balances();
            assert_eq!((ours, theirs), (other_theirs, other_ours), "seed {seed}");
            waited += 59 - pair.outcomes.len();
        }
    }
    assert!(waited > 5, "all could be afforded at once: {waited}");
}

/// RELIABILITY C13: whatever an estimator says, nothing is closed for it, and all goes on once it has come to its senses.
#[test]
fn c13_an_estimator_out_of_its_mind_closes_nothing() {
    struct Wild(u32);
    impl lightning_traits::interface::FeeEstimator for Wild {
        fn feerate(&self, _: lightning_traits::interface::ConfirmationTarget) -> FeeratePerKw {
            FeeratePerKw::new(self.0)
        }
    }
    let wild = [0, 1, 253, 1_000_000_000, u32::MAX];
    for anchors in [true, false] {
        for opener in wild {
            for accepter in wild {
                let mut pair = opened(anchors);
                let sane = pair.nodes[0].fees;
                pair.want(1, 0, Msat::from_sat(20_000), Fate::Claim);
                pair.manage();
                for (node, rate) in pair.nodes.iter_mut().zip([opener, accepter]) {
                    node.fees = FeeQuotes::ask(&Wild(rate));
                    assert!(node.fees.normal >= FeeratePerKw::FLOOR, "never zero");
                }
                for _ in 0..4 {
                    for node in &mut pair.nodes {
                        node.with(|channel, cx| channel.timer_tick(cx));
                    }
                    pair.run();
                    if !pair.connected {
                        pair.reconnect();
                    }
                }
                for node in &mut pair.nodes {
                    node.fees = sane;
                    node.with(|channel, cx| channel.timer_tick(cx));
                }
                pair.run();
                if !pair.connected {
                    pair.reconnect();
                }
                pair.want(2, 1, Msat::from_sat(5_000), Fate::Claim);
                pair.run();
                let what = format!("{anchors} {opener} {accepter}");
                assert!(
                    pair.nodes.iter().all(|node| !node.disk.steps.contains(&MonitorStep::ForceClose {})),
                    "{what}"
                );
                assert_eq!(pair.phases(), [PhaseName::Open; 2], "{what}");
                assert_eq!(
                    (pair.outcomes.get(&(0, 1)), pair.outcomes.get(&(1, 2))),
                    (Some(&true), Some(&true)),
                    "{what}"
                );
            }
        }
    }
}

/// RELIABILITY C13: an opener whose commitments cannot be bumped follows rising fees at once, and falling ones after a day; a
/// restart in between costs another day.
#[test]
fn c13_an_opener_without_anchors_lets_fees_fall_slowly() {
    for restart in [false, true] {
        let mut pair = opened(false);
        let tick = |pair: &mut Pair| {
            pair.nodes[0].with(|channel, cx| channel.timer_tick(cx));
            pair.run();
        };
        tick(&mut pair);
        set_fees(&mut pair, 4_000);
        tick(&mut pair);
        assert_eq!(feerate(&pair, 1), 4_000);
        set_fees(&mut pair, 1_500);
        tick(&mut pair);
        pair.mine(143);
        tick(&mut pair);
        assert_eq!(feerate(&pair, 1), 4_000, "not yet");
        if restart {
            pair.disconnect();
            pair.crash(0);
            pair.connect();
            pair.mine(140);
            tick(&mut pair);
            assert_eq!(feerate(&pair, 1), 4_000, "it has seen too little");
        }
        for _ in 0..3 {
            pair.mine(144);
            tick(&mut pair);
        }
        assert_eq!(feerate(&pair, 1), 1_500);
        assert!(pair.connected);
    }
}
