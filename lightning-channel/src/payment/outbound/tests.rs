//! Payments without channels: what is asked, sent, told, kept.
use super::*;
use alloc::vec;
use lightning_traits::id::{HtlcId, ShortChannelId};
use lightning_traits::payment::PaymentSecret;
use lightning_traits::route::DirectedChannel;
use lightning_traits::route::{PathOutcome, RouteHop};
use lightning_traits::units::{CltvDelta, CltvExpiry};

const ID: PaymentId = PaymentId([1; 32]);
const US: NodeId = NodeId([2; 33]);
const PAYEE: NodeId = NodeId([3; 33]);
const NOW: BlockHeight = BlockHeight::new(50);

fn config() -> PaymentConfig {
    PaymentConfig { max_attempts: 3, ..PaymentConfig::default() }
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
    let Next::Tell(Event::PaymentFailed { reason, .. }) = payments.next(ID, &config(), US, NOW) else {
        panic!()
    };
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
    assert_eq!((amount, fee), (Msat::new(1_000), Msat::new(15)));
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
        assert!(matches!(payments.next(ID, &config(), US, NOW), Next::Tell(Event::PaymentFailed { .. })));
    }
}

#[test]
fn after_a_restart_nothing_is_sent_and_a_fulfilment_wins_over_a_failure() {
    let mut payments = Payments::default();
    payments.freeze(true);
    payments.restore_intent(ID, WHAT.0, WHAT.1);
    let session = SessionKey::new([1; 32]);
    payments.on_failed(ID, WHAT, &session, notice(0), (US, &verdict(false)));
    assert_eq!(payments.next(ID, &config(), US, NOW), Next::Wait);
    let other = SessionKey::new([2; 32]);
    payments.on_fulfilled(ID, WHAT, &other, &path(400, 0, 5), notice(1), Preimage::new([7; 32]));
    payments.freeze(false);
    assert!(matches!(payments.next(ID, &config(), US, NOW), Next::Tell(Event::PaymentSent { .. })));

    let mut lost = Payments::default();
    lost.restore_intent(ID, WHAT.0, WHAT.1);
    let Next::Tell(Event::PaymentFailed { reason, .. }) = lost.next(ID, &config(), US, NOW) else { panic!() };
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
    let Next::Tell(Event::PaymentFailed { reason, .. }) = payments.next(ID, &config(), US, NOW) else {
        panic!()
    };
    assert_eq!(reason, PaymentFailure::RetriesExhausted { attempts: 3, last: "x".to_string() });

    let mut payments = begun();
    ask(&mut payments);
    assert!(payments.abandon(ID));
    assert!(payments.on_route(ID, route(vec![path(1_000, 0, 20)]), &config(), NOW, sessions()).is_empty());
    let Next::Tell(Event::PaymentFailed { reason, .. }) = payments.next(ID, &config(), US, NOW) else {
        panic!()
    };
    assert_eq!(reason, PaymentFailure::Abandoned);
    assert!(!payments.abandon(PaymentId([7; 32])));
}
