//! Payments without channels: what is asked, sent, told, kept.
use super::*;
use alloc::vec;
use lightning_traits::id::{HtlcId, ShortChannelId};
use lightning_traits::payment::PaymentSecret;
use lightning_traits::route::{ChannelAmount, DirectedChannel, LearntTerms};
use lightning_traits::route::{PathOutcome, RouteHop};
use lightning_traits::units::{CltvDelta, CltvExpiry};

const ID: PaymentId = PaymentId([1; 32]);
const US: NodeId = NodeId([2; 33]);
const PAYEE: NodeId = NodeId([3; 33]);
const NOW: BlockHeight = BlockHeight::new(50);

fn config() -> PaymentConfig {
    // Two more for the second part that the payments may have.
    PaymentConfig { max_attempts: 1, ..PaymentConfig::default() }
}

fn params(hash: u8) -> PayParams {
    let (amount, hash) = (Msat::new(1_000), PaymentHash([hash; 32]));
    let mut params = PayParams::new(PAYEE, amount, hash, recipient(), CltvDelta::new(18));
    params.max_fee = Some(Msat::new(100));
    params.max_parts = 2;
    params
}

fn recipient() -> Recipient {
    Recipient::invoice(PaymentSecret::new([5; 32]))
}

fn path(amount: u64, fee: u64, scid: u64) -> Path {
    let hop = |node, amount, scid| RouteHop {
        node,
        scid: ShortChannelId(scid),
        amount: Msat::new(amount),
        expiry: CltvExpiry::new(100),
    };
    Path { hops: vec![hop(NodeId([4; 33]), amount + fee, scid), hop(PAYEE, amount, scid + 1)] }
}

fn route(paths: Vec<Path>) -> Result<Route, NoRoute> {
    Ok(Route { paths })
}

fn sessions() -> impl Fn() -> SessionKey {
    let counter = core::cell::Cell::new(0);
    move || {
        counter.set(counter.get() + 1);
        SessionKey::new([counter.get(); 32])
    }
}

fn notice(htlc: u64) -> (ChannelId, NoticeKey) {
    (ChannelId([6; 32]), NoticeKey::Settled { htlc: HtlcId(htlc) })
}

fn verdict(refused: bool) -> Verdict {
    Verdict {
        report: PathOutcome::Unreadable,
        lessons: vec![Lesson::Avoid(DirectedChannel { scid: ShortChannelId(8), from: US })],
        channel: None,
        refused,
        text: "x".to_string(),
    }
}

const WHAT: (PaymentHash, Msat) = (PaymentHash([1; 32]), Msat::new(1_000));

fn begun() -> Payments {
    let mut payments = Payments::default();
    payments.begin(ID, params(1)).unwrap();
    payments
}

fn ask(payments: &mut Payments) -> RouteQuery {
    match payments.next(ID, &config(), US, NOW) {
        Next::Ask(query) => *query,
        other => panic!("{other:?}"),
    }
}

/// What comes next, the manager's record having said what it has to say before.
fn end(payments: &mut Payments) -> Next {
    match payments.next(ID, &config(), US, NOW) {
        Next::Note => {
            assert_eq!(payments.next(ID, &config(), US, NOW), Next::Wait, "told before it was written");
            payments.on_noted(ID);
            payments.next(ID, &config(), US, NOW)
        }
        other => other,
    }
}

#[test]
fn a_second_begin_with_the_id_or_the_hash_is_refused() {
    let mut payments = begun();
    assert_eq!(payments.begin(ID, params(2)), Err(PayError::Duplicate(ID)));
    let other = PaymentId([9; 32]);
    assert_eq!(payments.begin(other, params(1)), Err(PayError::SameHash(PaymentHash([1; 32]))));
    payments.begin(other, params(2)).unwrap();
    let nothing = PayParams { amount: Msat::ZERO, ..params(3) };
    assert_eq!(payments.begin(PaymentId([8; 32]), nothing), Err(PayError::Nothing));
}

#[test]
fn a_failed_part_is_asked_for_again_without_what_failed() {
    let mut payments = begun();
    let first = ask(&mut payments);
    assert_eq!((first.amount, first.max_fee), (Msat::new(1_000), Msat::new(100)));
    assert_eq!(payments.next(ID, &config(), US, NOW), Next::Wait);
    let paths = vec![path(600, 10, 20), path(400, 5, 30)];
    let attempts = payments.on_route(ID, route(paths), &config(), NOW, sessions());
    assert_eq!(attempts.len(), 2);
    assert_eq!(payments.next(ID, &config(), US, NOW), Next::Wait);
    let told = payments.on_failed(ID, WHAT, &attempts[0].session, notice(0), (US, &verdict(false)));
    assert!(matches!(told, Some(Event::AttemptFailed { .. })));
    let again = ask(&mut payments);
    assert_eq!((again.amount, again.max_fee), (Msat::new(600), Msat::new(95)));
    assert_eq!(again.excluded.len(), 1);
}

#[test]
fn a_payment_fails_only_once_nothing_is_in_flight() {
    let mut payments = begun();
    ask(&mut payments);
    let paths = vec![path(600, 0, 20), path(400, 0, 30)];
    let attempts = payments.on_route(ID, route(paths), &config(), NOW, sessions());
    payments.on_failed(ID, WHAT, &attempts[0].session, notice(0), (US, &verdict(true)));
    assert_eq!(payments.next(ID, &config(), US, NOW), Next::Wait);
    payments.on_failed(ID, WHAT, &attempts[1].session, notice(1), (US, &verdict(true)));
    let Next::Tell(Event::PaymentFailed { reason, .. }) = end(&mut payments) else { panic!() };
    assert_eq!(reason, PaymentFailure::RefusedByPayee("x".to_string()));
    assert_eq!(payments.next(ID, &config(), US, NOW), Next::Wait);
    assert_eq!(payments.release(ID), None);
    payments.acknowledged(ID);
    assert_eq!(payments.release(ID), Some(vec![notice(0), notice(1)]));
    payments.begin(ID, params(1)).unwrap();
}

#[test]
fn a_sent_payment_keeps_its_notices_until_its_last_part_has_ended() {
    let mut payments = begun();
    ask(&mut payments);
    let paths = vec![path(600, 10, 20), path(400, 5, 30)];
    let attempts = payments.on_route(ID, route(paths), &config(), NOW, sessions());
    let preimage = Preimage::new([7; 32]);
    let (one, two) = (&attempts[0], &attempts[1]);
    payments.on_fulfilled(ID, WHAT, &one.session, &one.path, notice(0), preimage.clone());
    let Next::Tell(Event::PaymentSent { fee, amount, .. }) = payments.next(ID, &config(), US, NOW) else {
        panic!()
    };
    assert_eq!((amount, fee), (Msat::new(1_000), Some(Msat::new(15))));
    payments.acknowledged(ID);
    assert_eq!(payments.release(ID), None);
    payments.on_fulfilled(ID, WHAT, &two.session, &two.path, notice(1), preimage);
    assert_eq!(payments.next(ID, &config(), US, NOW), Next::Wait);
    assert_eq!(payments.release(ID), Some(vec![notice(0), notice(1)]));
}

#[test]
fn routes_that_do_not_fit_are_not_taken() {
    let wrong = [
        vec![path(1_001, 0, 20)],
        vec![path(400, 0, 20), path(300, 0, 30), path(300, 0, 40)],
        vec![path(1_000, 101, 20)],
        vec![path(500, 60, 20), path(500, 60, 30)],
        vec![],
    ];
    for paths in wrong {
        let mut payments = begun();
        ask(&mut payments);
        assert!(payments.on_route(ID, route(paths), &config(), NOW, sessions()).is_empty());
        assert!(matches!(end(&mut payments), Next::Tell(Event::PaymentFailed { .. })));
    }
}

#[test]
fn after_a_restart_nothing_is_sent_and_a_fulfilment_wins_over_a_failure() {
    let mut payments = Payments::default();
    payments.freeze(true);
    payments.restore_intent(Intent { id: ID, hash: WHAT.0, total: WHAT.1, plan: None });
    let session = SessionKey::new([1; 32]);
    payments.on_failed(ID, WHAT, &session, notice(0), (US, &verdict(false)));
    assert_eq!(payments.next(ID, &config(), US, NOW), Next::Wait);
    let other = SessionKey::new([2; 32]);
    payments.on_fulfilled(ID, WHAT, &other, &path(400, 0, 5), notice(1), Preimage::new([7; 32]));
    payments.freeze(false);
    assert!(matches!(payments.next(ID, &config(), US, NOW), Next::Tell(Event::PaymentSent { .. })));

    let mut lost = Payments::default();
    lost.restore_intent(Intent { id: ID, hash: WHAT.0, total: WHAT.1, plan: None });
    let Next::Tell(Event::PaymentFailed { reason, .. }) = end(&mut lost) else { panic!() };
    assert_eq!(reason, PaymentFailure::LostBeforeSending);
}

#[test]
fn attempts_run_out_and_an_abandoned_payment_is_not_tried_again() {
    let mut payments = begun();
    for htlc in 0..3 {
        ask(&mut payments);
        let attempts = payments.on_route(ID, route(vec![path(1_000, 0, 20)]), &config(), NOW, sessions());
        payments.on_failed(ID, WHAT, &attempts[0].session, notice(htlc), (US, &verdict(false)));
    }
    let Next::Tell(Event::PaymentFailed { reason, .. }) = end(&mut payments) else { panic!() };
    assert_eq!(reason, PaymentFailure::RetriesExhausted { attempts: 3, last: "x".to_string() });

    let mut payments = begun();
    ask(&mut payments);
    assert!(payments.abandon(ID));
    assert!(payments.on_route(ID, route(vec![path(1_000, 0, 20)]), &config(), NOW, sessions()).is_empty());
    let Next::Tell(Event::PaymentFailed { reason, .. }) = end(&mut payments) else { panic!() };
    assert_eq!(reason, PaymentFailure::Abandoned);
    assert!(!payments.abandon(PaymentId([7; 32])));
}

fn direction(scid: u64, from: NodeId) -> DirectedChannel {
    DirectedChannel { scid: ShortChannelId(scid), from }
}

/// Sends over these paths; the payment must want them.
fn send(payments: &mut Payments, paths: Vec<Path>) -> Vec<Attempt> {
    let count = paths.len();
    let attempts = payments.on_route(ID, route(paths), &config(), NOW, sessions());
    assert_eq!(attempts.len(), count);
    attempts
}

/// One part fails, and teaches this.
fn fail(payments: &mut Payments, attempt: &Attempt, htlc: u64, lesson: Lesson) {
    let verdict = Verdict { lessons: vec![lesson], ..verdict(false) };
    payments.on_failed(ID, WHAT, &attempt.session, notice(htlc), (US, &verdict));
}

#[test]
fn f11_a_part_that_fails_while_a_route_is_looked_for_is_asked_for_next() {
    let mut payments = begun();
    ask(&mut payments);
    let attempts = send(&mut payments, vec![path(600, 10, 20), path(400, 5, 30)]);
    let nothing = Lesson::Avoid(direction(99, US));
    fail(&mut payments, &attempts[1], 1, nothing);
    assert_eq!(ask(&mut payments).amount, Msat::new(400));
    fail(&mut payments, &attempts[0], 0, nothing);
    assert_eq!(payments.next(ID, &config(), US, NOW), Next::Wait, "one question at a time");
    send(&mut payments, vec![path(400, 5, 40)]);
    assert_eq!(ask(&mut payments).amount, Msat::new(600));
}

#[test]
fn never_more_than_the_whole_is_under_way_whatever_is_answered() {
    let mut payments = begun();
    ask(&mut payments);
    let attempts = send(&mut payments, vec![path(600, 10, 20), path(400, 5, 30)]);
    assert!(payments.on_route(ID, route(vec![path(400, 5, 40)]), &config(), NOW, sessions()).is_empty());
    fail(&mut payments, &attempts[1], 1, Lesson::Avoid(direction(30, US)));
    ask(&mut payments);
    // An answer to a question of long ago.
    assert!(payments.on_route(ID, route(vec![path(1_000, 5, 40)]), &config(), NOW, sessions()).is_empty());
    assert_eq!(payments.next(ID, &config(), US, NOW), Next::Wait, "the first part is still out");
}

#[test]
fn parts_that_are_left_are_counted() {
    let mut payments = Payments::default();
    payments.begin(ID, PayParams { max_parts: 3, ..params(1) }).unwrap();
    assert_eq!(ask(&mut payments).max_parts, 3);
    let attempts = send(&mut payments, vec![path(300, 1, 20), path(300, 1, 30), path(400, 1, 40)]);
    fail(&mut payments, &attempts[2], 2, Lesson::Avoid(direction(40, US)));
    assert_eq!(ask(&mut payments).max_parts, 1);
}

#[test]
fn what_a_direction_did_not_carry_is_halved_beside_what_other_parts_have_on_it() {
    let mut payments = begun();
    ask(&mut payments);
    let attempts = send(&mut payments, vec![path(600, 0, 20), path(400, 0, 20)]);
    // Both go through scid 21, out of the node in between.
    let shared = direction(21, NodeId([4; 33]));
    fail(&mut payments, &attempts[1], 1, Lesson::CarriesLess(shared, Msat::new(400)));
    let query = ask(&mut payments);
    let on = |amount| vec![ChannelAmount { channel: shared, amount: Msat::new(amount) }];
    assert_eq!((query.limits, query.in_use), (on(200), on(600)));
    fail(&mut payments, &attempts[0], 0, Lesson::CarriesLess(shared, Msat::new(600)));
    payments.on_route(ID, route(vec![path(1, 0, 50)]), &config(), NOW, sessions());
    let query = ask(&mut payments);
    assert_eq!((query.limits, query.in_use.len()), (on(300), 1));
}

#[test]
fn f10_terms_are_learnt_once_and_then_the_channel_is_left_alone() {
    let mut payments = begun();
    let terms = |timestamp| LearntTerms {
        channel: direction(21, NodeId([4; 33])),
        timestamp,
        cltv_delta: CltvDelta::new(40),
        htlc_minimum: Msat::ZERO,
        htlc_maximum: Msat::MAX,
        fee_base: Msat::new(7),
        fee_proportional_millionths: 0,
    };
    ask(&mut payments);
    let attempts = send(&mut payments, vec![path(1_000, 0, 20)]);
    fail(&mut payments, &attempts[0], 0, Lesson::Terms(terms(1)));
    let query = ask(&mut payments);
    assert_eq!((query.learnt, query.excluded), (vec![terms(1)], vec![]));
    let attempts = send(&mut payments, vec![path(1_000, 7, 20)]);
    fail(&mut payments, &attempts[0], 1, Lesson::Terms(terms(2)));
    let query = ask(&mut payments);
    assert_eq!(query.excluded, [direction(21, NodeId([4; 33]))]);
}

#[test]
fn our_own_channel_is_tried_for_less_and_then_not_at_all() {
    let mut payments = begun();
    ask(&mut payments);
    let attempts = send(&mut payments, vec![path(1_000, 0, 20)]);
    payments.on_refused(&attempts[0], US, "too much".to_string());
    let query = ask(&mut payments);
    let limit = ChannelAmount { channel: direction(20, US), amount: Msat::new(500) };
    assert_eq!((query.limits, query.excluded), (vec![limit], vec![]));
    let attempts = send(&mut payments, vec![path(500, 0, 20), path(500, 0, 30)]);
    payments.on_refused(&attempts[0], US, "too much".to_string());
    assert_eq!(ask(&mut payments).excluded, [direction(20, US)]);
}

#[test]
fn a_payment_has_its_time_and_what_is_in_flight_then_still_counts() {
    let mut payments = Payments::default();
    payments.begin(ID, PayParams { max_ticks: Some(3), ..params(1) }).unwrap();
    ask(&mut payments);
    let attempts = send(&mut payments, vec![path(600, 0, 20), path(400, 0, 30)]);
    assert!(payments.on_tick().is_empty() && payments.on_tick().is_empty());
    assert_eq!(payments.on_tick(), [ID]);
    assert_eq!(payments.on_tick(), []);
    payments.on_failed(ID, WHAT, &attempts[0].session, notice(0), (US, &verdict(false)));
    assert_eq!(payments.next(ID, &config(), US, NOW), Next::Wait);
    let mut again = payments.clone();
    again.on_failed(ID, WHAT, &attempts[1].session, notice(1), (US, &verdict(false)));
    let Next::Tell(Event::PaymentFailed { reason, .. }) = end(&mut again) else { panic!() };
    assert!(matches!(reason, PaymentFailure::TimedOut { .. }));
    payments.on_fulfilled(
        ID,
        WHAT,
        &attempts[1].session,
        &attempts[1].path,
        notice(1),
        Preimage::new([7; 32]),
    );
    let told = payments.next(ID, &config(), US, NOW);
    assert!(matches!(told, Next::Tell(Event::PaymentSent { .. })), "the payee has taken it all the same");
}

#[test]
fn a_question_that_nobody_answers_is_asked_again() {
    let mut payments = begun();
    for _ in 0..3 {
        ask(&mut payments);
        assert!(payments.on_tick().is_empty());
        assert_eq!(payments.on_tick(), [ID]);
    }
    let Next::Tell(Event::PaymentFailed { reason, .. }) = end(&mut payments) else { panic!() };
    assert!(
        matches!(reason, PaymentFailure::RetriesExhausted { attempts: 3, last } if last.contains("no answer"))
    );
}

#[test]
fn routes_that_come_too_late_or_take_too_long_are_not_taken() {
    let far = BlockHeight::new(100 - 17);
    let long = PaymentConfig { max_total_cltv: 49, ..config() };
    for (height, config) in [(far, config()), (NOW, long)] {
        let mut payments = begun();
        ask(&mut payments);
        let answer = route(vec![path(1_000, 0, 20)]);
        assert!(payments.on_route(ID, answer, &config, height, sessions()).is_empty());
    }
}

#[test]
fn parts_need_the_payees_secret() {
    let mut payments = Payments::default();
    let mut bare = params(1);
    bare.recipient.secret = None;
    assert_eq!(payments.begin(ID, bare.clone()), Err(PayError::NoSecret));
    let paths = vec![path(600, 0, 20), path(400, 0, 30)];
    let refused =
        payments.begin_along(ID, PaymentHash([1; 32]), Route { paths }, &bare.recipient, sessions());
    assert_eq!(refused.err(), Some(PayError::NoSecret));
    payments.begin(ID, PayParams { max_parts: 1, ..bare }).unwrap();
}
