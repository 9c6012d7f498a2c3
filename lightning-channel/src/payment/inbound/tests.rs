//! Parts of payments to us, without channels.
use super::*;
use crate::payment::secret::Facts;
use alloc::sync::Arc;
use lightning_traits::codec::TlvRecords;
use lightning_traits::event::ReceivedKind;
use lightning_traits::interface::EntropySource;
use lightning_traits::payment::PaymentSecret;
use lightning_traits::sphinx::{OnionPacket, PAYMENT_PAYLOADS_LEN, PaymentData};
use lightning_traits::units::{CltvDelta, CltvExpiry};

struct Fixed;
impl EntropySource for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(3);
    }
}

const LIMITS: Limits = Limits {
    height: BlockHeight::new(100),
    time: 1_000,
    max_ahead: 2_016,
    claim_buffer: 20,
    takes_spontaneous: true,
    takes_underpaid: false,
};

struct Payee {
    inbound: Inbound,
    secrets: Secrets,
    limits: Limits,
    hash: PaymentHash,
    secret: PaymentSecret,
}

/// One HTLC: its channel, what it carries, and what its onion says.
#[derive(Clone)]
struct Piece {
    channel: u64,
    hash: PaymentHash,
    amount: u64,
    payload: FinalPayload,
}

impl Piece {
    fn with(mut self, change: impl FnOnce(&mut FinalPayload)) -> Self {
        change(&mut self.payload);
        self
    }

    /// The payer sends the preimage along.
    fn spontaneous(mut self, preimage: &Preimage, secret: Option<PaymentSecret>) -> Self {
        self.hash = preimage.hash();
        let total = self.payload.total();
        let data = secret.map(|payment_secret| PaymentData { payment_secret, total });
        self.with(|payload| {
            payload.keysend = Some(preimage.clone());
            payload.payment_data = data;
        })
    }
}

impl Payee {
    fn new() -> Self {
        let secrets = Secrets::new(&[7; 32]);
        let (amount, final_cltv) = (Msat::new(1_000), CltvDelta::new(24));
        let (hash, secret) = secrets.create(&Facts { amount, expires: 2_000, final_cltv }, &Fixed);
        Self { inbound: Inbound::default(), secrets, limits: LIMITS, hash, secret }
    }

    /// A part of the invoice.
    fn piece(&self, channel: u64, amount: u64, forward: u64, total: u64) -> Piece {
        let total = Msat::new(total);
        let payload = FinalPayload {
            amount: Msat::new(forward),
            expiry: CltvExpiry::new(130),
            payment_data: Some(PaymentData { payment_secret: self.secret.clone(), total }),
            payment_metadata: None,
            keysend: None,
            custom: TlvRecords::default(),
        };
        Piece { channel, hash: self.hash, amount, payload }
    }

    fn take(&mut self, piece: &Piece) -> Judgement {
        let onion = OnionPacket {
            version: 0,
            ephemeral_key: [2; 33],
            payloads: [0; PAYMENT_PAYLOADS_LEN],
            hmac: [0; 32],
        };
        let htlc = IncomingHtlc {
            id: HtlcId(piece.channel),
            amount: Msat::new(piece.amount),
            hash: piece.hash,
            expiry: piece.payload.expiry,
            onion: Arc::new(onion).into(),
            path_key: None,
            over_exposed: false,
        };
        let key = key(piece.channel);
        self.inbound.on_part(key, &htlc, &piece.payload, &self.secrets, &self.limits)
    }

    /// One part: its channel, what it carries, what its onion says of itself and of the whole.
    fn part(&mut self, channel: u64, amount: u64, forward: u64, total: u64) -> Judgement {
        let piece = self.piece(channel, amount, forward, total);
        self.take(&piece)
    }

    fn claimable(&mut self, hash: PaymentHash) -> Option<Event> {
        self.inbound.completed(hash, &self.limits)
    }

    fn completed(&mut self) -> Option<Msat> {
        match self.claimable(self.hash) {
            Some(Event::PaymentClaimable { amount, .. }) => Some(amount),
            _ => None,
        }
    }
}

fn unknown(amount: u64) -> Failure {
    Failure::IncorrectOrUnknownPaymentDetails { htlc_msat: Msat::new(amount), height: LIMITS.height }
}

fn key(number: u64) -> HtlcKey {
    (ChannelId([number as u8; 32]), HtlcId(number))
}

#[test]
fn parts_come_together_and_extra_or_odd_ones_go_back() {
    let mut payee = Payee::new();
    assert_eq!(payee.part(1, 400, 400, 1_000), Judgement::Held);
    assert_eq!(payee.completed(), None);
    assert_eq!(payee.part(1, 400, 400, 1_000), Judgement::Held, "the same again");
    assert_eq!(payee.part(3, 700, 700, 1_000), Judgement::Held);
    assert_eq!(payee.completed(), Some(Msat::new(1_100)));
    assert_eq!(payee.completed(), None, "told once");
    assert!(matches!(payee.part(4, 400, 400, 1_000), Judgement::Fail(_)), "more than all");
    let (preimage, total, keys) = payee.inbound.claim(payee.hash, None).unwrap();
    assert_eq!((preimage.hash(), total, keys), (payee.hash, Msat::new(1_100), [key(1), key(3)].to_vec()));
    assert!(matches!(payee.part(5, 1_000, 1_000, 1_000), Judgement::Fail(_)), "paid already");
}

#[test]
fn a_hop_before_us_that_pays_more_is_welcome_and_one_that_pays_less_is_named() {
    let mut payee = Payee::new();
    assert_eq!(payee.part(1, 3_000, 1_000, 1_000), Judgement::Held);
    assert_eq!(payee.completed(), Some(Msat::new(3_000)));
    let mut payee = Payee::new();
    let failure = Failure::FinalIncorrectHtlcAmount { incoming_htlc_amt: Msat::new(999) };
    assert_eq!(payee.part(1, 999, 1_000, 1_000), Judgement::Fail(failure));
}

#[test]
fn a_claim_is_told_once_all_parts_are_durable_and_survives_a_restart_in_between() {
    let mut payee = Payee::new();
    payee.part(1, 400, 400, 1_000);
    payee.part(2, 600, 600, 1_000);
    assert!(payee.completed().is_some());
    let (preimage, total, _) = payee.inbound.claim(payee.hash, None).unwrap();
    let told = Event::PaymentClaimed { hash: payee.hash, amount: Msat::new(1_000) };
    let claimed = |inbound: &mut Inbound, channel| {
        let (channel, htlc) = key(channel);
        inbound.on_claimed((channel, htlc), payee.hash, total, preimage.clone(), 2_000);
    };
    claimed(&mut payee.inbound, 1);
    assert_eq!(payee.inbound.all_claimed(payee.hash), None);
    assert!(payee.inbound.acknowledged(payee.hash).is_empty());
    claimed(&mut payee.inbound, 2);
    assert_eq!(payee.inbound.all_claimed(payee.hash), Some(told.clone()));
    assert_eq!(payee.inbound.all_claimed(payee.hash), None);
    assert_eq!(payee.inbound.acknowledged(payee.hash).len(), 2);

    // A crash when only the first part was durable: the second is undecided again.
    let mut again = Payee::new();
    claimed(&mut again.inbound, 1);
    again.inbound.restore_claimed_part(again.hash, key(2));
    assert_eq!(again.part(2, 600, 600, 1_000), Judgement::Claim(preimage.clone(), total));
    assert_eq!(again.inbound.all_claimed(again.hash), None);
    claimed(&mut again.inbound, 2);
    assert_eq!(again.inbound.all_claimed(again.hash), Some(told));
}

#[test]
fn lonely_parts_go_back_after_ticks_and_late_ones_after_blocks() {
    let mut payee = Payee::new();
    payee.part(1, 400, 400, 1_000);
    assert!(payee.inbound.on_tick().is_empty() && payee.inbound.on_tick().is_empty());
    let late = |amount, was_claimable| Late {
        hash: payee.hash,
        parts: [(key(1), Msat::new(amount))].to_vec(),
        was_claimable,
    };
    let (partial, whole) = (late(400, false), late(1_000, true));
    assert_eq!(payee.inbound.on_tick(), [partial]);
    payee.part(1, 1_000, 1_000, 1_000);
    assert!(payee.completed().is_some());
    for _ in 0..5 {
        assert!(payee.inbound.on_tick().is_empty());
    }
    assert!(payee.inbound.on_block(&Limits { height: BlockHeight::new(109), ..LIMITS }).is_empty());
    let late = payee.inbound.on_block(&Limits { height: BlockHeight::new(110), ..LIMITS });
    assert_eq!(late, [whole]);
}

#[test]
fn f03_parts_that_contradict_each_other_all_go_back() {
    let mut payee = Payee::new();
    assert_eq!(payee.part(1, 400, 400, 1_000), Judgement::Held);
    let others = [(key(1), Msat::new(400))].to_vec();
    assert_eq!(payee.part(2, 700, 700, 1_100), Judgement::FailAll(unknown(700), others));
    // It begins anew.
    assert_eq!(payee.part(3, 1_000, 1_000, 1_000), Judgement::Held);
    assert_eq!(payee.completed(), Some(Msat::new(1_000)));
    assert_eq!(payee.part(4, 100, 100, 1_100), Judgement::Fail(unknown(100)), "the user counts on it now");
    assert!(payee.inbound.claim(payee.hash, None).is_ok());
}

#[test]
fn f03_what_arrived_is_counted_by_what_its_payer_sent_and_credited_by_what_came() {
    let mut payee = Payee::new();
    // The node before us adds 500 to the first part: that does not stand in for the second.
    assert_eq!(payee.part(1, 1_000, 500, 1_000), Judgement::Held);
    assert_eq!(payee.completed(), None);
    assert_eq!(payee.part(2, 500, 500, 1_000), Judgement::Held);
    assert_eq!(payee.completed(), Some(Msat::new(1_500)));
    let mut payee = Payee::new();
    assert_eq!(payee.part(1, 1_000, 1_000, 0), Judgement::Fail(unknown(1_000)), "a total of nothing");
    assert_eq!(
        payee.part(1, 1_000, 1_000, 999),
        Judgement::Fail(unknown(1_000)),
        "a total below the invoice"
    );
}

#[test]
fn f03_a_thousand_parts_are_a_payment_and_one_less_is_none() {
    let mut payee = Payee::new();
    for number in 1..1_000 {
        assert_eq!(payee.part(number, 1, 1, 1_000), Judgement::Held);
        assert_eq!(payee.part(number, 1, 1, 1_000), Judgement::Held, "the same again is the same");
        assert_eq!(payee.completed(), None);
    }
    assert!(payee.inbound.claim(payee.hash, None).is_err());
    assert_eq!(payee.part(1_000, 1, 1, 1_000), Judgement::Held);
    assert_eq!(payee.completed(), Some(Msat::new(1_000)));
    assert_eq!(payee.inbound.claim(payee.hash, None).unwrap().2.len(), 1_000);
}

/// Marsaglia's xorshift.
fn roll(state: &mut u64, sides: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 11) % sides
}

/// Parts, repetitions, lies, ticks and claims in any order: whatever is claimed is whole, and every HTLC has one fate.
#[test]
fn f03_random_schedules_never_claim_less_than_the_whole() {
    let (mut claims, mut returns) = (0, 0);
    for seed in 1..400_u64 {
        let (mut payee, mut state) = (Payee::new(), seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut sent: BTreeMap<HtlcKey, Piece> = BTreeMap::new();
        let (mut held, mut gone) = (BTreeSet::new(), BTreeSet::new());
        let mut claimed = None;
        let hash = payee.hash;
        for number in 1..60 {
            match roll(&mut state, 10) {
                0 => {
                    for late in payee.inbound.on_tick() {
                        gone.extend(late.parts.into_iter().map(|(key, _)| key));
                    }
                }
                1 => {
                    if let Ok((_, amount, keys)) = payee.inbound.claim(hash, None) {
                        claimed.get_or_insert((amount, keys));
                    }
                }
                _ => {
                    let again = sent.values().nth(roll(&mut state, 20) as usize).cloned();
                    let forward = [100, 250, 500, 1_000][roll(&mut state, 4) as usize];
                    let total = [1_000, 1_000, 1_000, 1_500][roll(&mut state, 4) as usize];
                    let extra = roll(&mut state, 2) * 7;
                    let fresh = || payee.piece(number, forward + extra, forward, total);
                    let piece = again
                        .filter(|piece| {
                            // What has gone back does not come again.
                            let name = key(piece.channel);
                            held.contains(&name) && !gone.contains(&name)
                        })
                        .unwrap_or_else(fresh);
                    let name = key(piece.channel);
                    sent.insert(name, piece.clone());
                    match payee.take(&piece) {
                        Judgement::Held => drop(held.insert(name)),
                        Judgement::Claim(..) => assert!(held.contains(&name)),
                        Judgement::Fail(_) => drop(gone.insert(name)),
                        Judgement::FailAll(_, others) => {
                            gone.insert(name);
                            gone.extend(others.into_iter().map(|(key, _)| key));
                        }
                    }
                    payee.claimable(hash);
                }
            }
        }
        if let Some((amount, keys)) = claimed {
            claims += 1;
            assert!(keys.iter().all(|key| !gone.contains(key)), "claimed and given back");
            let sum = |of: fn(&Piece) -> u64| keys.iter().map(|key| of(&sent[key])).sum::<u64>();
            assert_eq!(sum(|piece| piece.amount), amount.to_msat());
            let total = sent[&keys[0]].payload.total().to_msat();
            assert!(sum(|piece| piece.payload.amount.to_msat()) >= total, "less than the whole");
        }
        returns += usize::from(!gone.is_empty());
    }
    assert!(claims > 100 && returns > 100, "{claims} claims, {returns} with returns");
}

#[test]
fn a_payment_that_nobody_asked_for_is_taken_unless_that_is_not_wanted() {
    let preimage = Preimage::new([9; 32]);
    let mut payee = Payee::new();
    let piece = payee.piece(1, 700, 700, 700).spontaneous(&preimage, None);
    payee.limits.takes_spontaneous = false;
    assert_eq!(payee.take(&piece), Judgement::Fail(unknown(700)));
    payee.limits.takes_spontaneous = true;
    let wrong = Piece { hash: payee.hash, ..piece.clone() };
    assert_eq!(payee.take(&wrong), Judgement::Fail(unknown(700)), "the preimage is another's");
    assert_eq!(payee.take(&piece), Judgement::Held);
    let Some(Event::PaymentClaimable { kind, preimage: known, amount, .. }) = payee.claimable(piece.hash)
    else {
        panic!()
    };
    assert_eq!((kind, known, amount), (ReceivedKind::Spontaneous, Some(preimage), Msat::new(700)));
    assert_eq!(payee.take(&Piece { channel: 2, ..piece.clone() }), Judgement::Fail(unknown(700)), "once");
    payee.inbound.claim(piece.hash, None).unwrap();
    assert_eq!(
        payee.take(&Piece { channel: 3, ..piece.clone() }),
        Judgement::Fail(unknown(700)),
        "and not again"
    );
}

#[test]
fn f03_spontaneous_parts_need_the_payers_secret_and_do_not_mix_with_an_invoice() {
    let mut payee = Payee::new();
    let opened = payee.secrets.open(payee.hash, &payee.secret).unwrap();
    let preimage = opened.preimage.unwrap();
    // Whoever knows an invoice's preimage has it from us.
    let invoice = payee.piece(1, 400, 400, 1_000);
    assert_eq!(payee.take(&invoice), Judgement::Held);
    let bare = payee.piece(2, 600, 600, 600).spontaneous(&preimage, None);
    assert_eq!(payee.take(&bare), Judgement::Fail(unknown(600)));
    let secret = PaymentSecret::new([4; 32]);
    let other = Preimage::new([9; 32]);
    let part = |payee: &Payee, channel, amount: u64| {
        payee.piece(channel, amount, amount, 1_000).spontaneous(&other, Some(secret.clone()))
    };
    let (one, two) = (part(&payee, 3, 300), part(&payee, 4, 700));
    assert_eq!(payee.take(&one), Judgement::Held);
    assert_eq!(payee.claimable(one.hash), None);
    let stranger = payee.piece(5, 700, 700, 1_000).spontaneous(&other, Some(PaymentSecret::new([5; 32])));
    assert_eq!(payee.take(&stranger), Judgement::Fail(unknown(700)));
    assert_eq!(payee.take(&two), Judgement::Held);
    assert!(payee.claimable(one.hash).is_some());
}

#[test]
fn metadata_and_records_of_applications_reach_the_user_and_must_agree() {
    let mut payee = Payee::new();
    let with = |payee: &Payee, channel, records: &[(u64, u8)]| {
        payee.piece(channel, 500, 500, 1_000).with(|payload| {
            payload.payment_metadata = Some([1, 2, 3].to_vec());
            for (kind, value) in records {
                payload.custom.put_raw(*kind, [*value].to_vec());
            }
        })
    };
    let one = with(&payee, 1, &[(9_001, 1), (65_536, 2), (65_537, 3), (65_539, 4)]);
    assert_eq!(payee.take(&one), Judgement::Held);
    let bare = payee.piece(2, 500, 500, 1_000);
    assert_eq!(payee.take(&bare), Judgement::Fail(unknown(500)), "without metadata");
    let odd = with(&payee, 2, &[(65_536, 9)]);
    assert_eq!(payee.take(&odd), Judgement::Fail(unknown(500)), "another even record");
    let two = with(&payee, 2, &[(65_536, 2), (65_537, 9), (65_539, 4)]);
    assert_eq!(payee.take(&two), Judgement::Held);
    let Some(Event::PaymentClaimable { metadata, custom, kind, .. }) = payee.claimable(payee.hash) else {
        panic!()
    };
    assert_eq!((metadata, kind), (Some([1, 2, 3].to_vec()), ReceivedKind::Invoice));
    let kinds: Vec<_> = custom.as_slice().iter().map(|record| record.kind).collect();
    assert_eq!(kinds, [65_536, 65_539], "what both say, and what applications may say");
}

#[test]
fn what_somebody_on_the_way_keeps_is_said_to_those_who_allow_it() {
    let mut payee = Payee::new();
    let failure = Failure::FinalIncorrectHtlcAmount { incoming_htlc_amt: Msat::new(450) };
    assert_eq!(payee.part(1, 450, 500, 1_000), Judgement::Fail(failure));
    payee.limits.takes_underpaid = true;
    assert_eq!(payee.part(1, 450, 500, 1_000), Judgement::Held);
    assert_eq!(payee.part(2, 500, 500, 1_000), Judgement::Held);
    let Some(Event::PaymentClaimable { amount, skimmed, .. }) = payee.claimable(payee.hash) else { panic!() };
    assert_eq!((amount, skimmed), (Msat::new(950), Msat::new(50)));
}

/// Whatever is wrong about a payment, somebody who guesses learns nothing from the answer (BOLT 4: all of it is
/// `incorrect_or_unknown_payment_details`, with the amount of the HTLC and our height, which the guesser knows).
#[test]
fn f02_one_answer_for_all_that_is_wrong() {
    let mut payee = Payee::new();
    let stranger = PaymentHash([9; 32]);
    let right = payee.piece(1, 1_000, 1_000, 1_000);
    let with_total = |total: u64| {
        right.clone().with(|payload| {
            payload.payment_data.as_mut().unwrap().total = Msat::new(total);
        })
    };
    let wrong = [
        ("unknown hash", Piece { hash: stranger, ..right.clone() }),
        ("no secret", right.clone().with(|payload| payload.payment_data = None)),
        (
            "wrong secret",
            right.clone().with(|payload| {
                payload.payment_data.as_mut().unwrap().payment_secret = PaymentSecret::new([9; 32]);
            }),
        ),
        ("too little", with_total(999)),
        ("more than twice", with_total(2_001)),
        ("nothing", with_total(0)),
        ("too soon", right.clone().with(|payload| payload.expiry = CltvExpiry::new(120))),
        (
            "a preimage of another hash",
            right.clone().with(|payload| {
                payload.payment_data = None;
                payload.keysend = Some(Preimage::new([9; 32]));
            }),
        ),
    ];
    for (what, piece) in wrong {
        assert_eq!(payee.take(&piece), Judgement::Fail(unknown(1_000)), "{what}");
    }
    payee.limits.time = 2_001;
    assert_eq!(payee.take(&right), Judgement::Fail(unknown(1_000)), "expired");
    payee.limits.time = 2_000;
    assert_eq!(payee.take(&right), Judgement::Held);
}
