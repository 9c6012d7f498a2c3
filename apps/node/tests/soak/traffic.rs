//! Payments of all kinds, one after the other at a given rate, whatever happens to the nodes meanwhile.
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bitcoin::hashes::{Hash as _, sha256};
use lightning_traits::payment::{PaymentHash, Preimage};
use serde_json::{Value, json};

use super::forged;
use super::world::{Daemon, Refused};

/// What kind of payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Over one channel.
    Direct,
    /// Over the node in the middle.
    Forwarded,
    /// More than any channel carries alone.
    InParts,
    /// Without an invoice.
    Keysend,
    /// Its payee decides later, and takes it.
    HeldAndSettled,
    /// Its payee decides later, and gives it back.
    HeldAndCancelled,
    /// For a hash that its payee does not know.
    UnknownHash,
    /// For less than its payee asked for.
    TooLittle,
    /// An invoice that its payer is told to pay twice.
    Twice,
}

/// All of them, and how many of a hundred are of each.
pub const KINDS: [(Kind, u64); 9] = [
    (Kind::Direct, 34),
    (Kind::Forwarded, 24),
    (Kind::InParts, 4),
    (Kind::Keysend, 10),
    (Kind::HeldAndSettled, 9),
    (Kind::HeldAndCancelled, 7),
    (Kind::UnknownHash, 4),
    (Kind::TooLittle, 4),
    (Kind::Twice, 4),
];

/// How a payment must end, as far as it is known already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Must {
    /// Either way.
    End,
    /// Its payee has been told to take it, and said that it does.
    Succeed,
    /// Its payee cannot or may not take it.
    Fail,
}

/// A payment that a node has written down.
#[derive(Clone, Debug)]
pub struct Ordered {
    pub kind: Kind,
    pub payer: usize,
    pub payee: usize,
    pub must: Must,
}

/// What was ordered, by hash, and what was not.
#[derive(Default)]
pub struct Ledger {
    pub ordered: BTreeMap<String, Ordered>,
    /// Of each kind: those that their payer refused at once, for lack of funds or of a connection.
    pub refused: BTreeMap<Kind, u64>,
    /// What the payers said.
    pub refusals: BTreeMap<String, u64>,
    /// Payments without an invoice whose order was not answered: they may have been made.
    pub unanswered: u64,
}

/// Random numbers that a seed decides.
pub struct Random(u64);

impl Random {
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn bytes(&mut self) -> [u8; 32] {
        std::array::from_fn(|_| self.below(256) as u8)
    }
}

/// What all who pay share.
pub struct Traffic<'a> {
    pub nodes: &'a [Daemon; 3],
    pub ledger: Mutex<Ledger>,
    pub stop: AtomicBool,
    /// Orders given so far.
    pub given: AtomicU64,
    /// When the first was.
    pub begun: Instant,
    pub per_second: u64,
}

/// As long as payer or payee may be away, and then some.
const TRIES: u32 = 300;
const PAUSE: Duration = Duration::from_millis(100);

impl Traffic<'_> {
    /// Takes one order after the other, each when its time has come, until told to stop.
    pub fn run(&self, worker: u64) {
        let mut random = Random::new(worker + 1);
        loop {
            let number = self.given.fetch_add(1, Ordering::SeqCst);
            let due = self.begun + Duration::from_micros(number * 1_000_000 / self.per_second);
            while Instant::now() < due {
                if self.is_over() {
                    self.given.fetch_sub(1, Ordering::SeqCst);
                    return;
                }
                thread::sleep((due - Instant::now()).min(PAUSE));
            }
            if self.is_over() {
                self.given.fetch_sub(1, Ordering::SeqCst);
                return;
            }
            self.one(&mut random);
        }
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn one(&self, random: &mut Random) {
        let mut roll = random.below(100);
        let kind = KINDS.iter().find(|(_, share)| match roll.checked_sub(*share) {
            Some(left) => {
                roll = left;
                false
            }
            None => true,
        });
        let kind = kind.unwrap().0;
        let middle_pays = random.below(2) == 0;
        let end = 2 * random.below(2) as usize;
        let (payer, payee) = match kind {
            Kind::Forwarded => (end, 2 - end),
            Kind::Keysend | Kind::HeldAndSettled | Kind::HeldAndCancelled if random.below(3) == 0 => {
                (end, 2 - end)
            }
            _ if middle_pays => (1, end),
            _ => (end, 1),
        };
        let msat = 1_000 + random.below(3_000_000);
        match kind {
            Kind::Direct | Kind::Forwarded => drop(self.invoice_paid(kind, payer, payee, msat)),
            Kind::InParts => self.in_parts(payer, payee, random),
            Kind::Keysend => self.keysend(payer, payee, msat),
            Kind::HeldAndSettled | Kind::HeldAndCancelled => self.held(kind, payer, payee, msat, random),
            Kind::UnknownHash | Kind::TooLittle => self.forged(kind, payer, payee, msat, random),
            Kind::Twice => self.twice(payer, payee, msat),
        }
    }

    fn new_invoice(&self, payee: usize, msat: u64) -> Option<Value> {
        self.until_answered(payee, "invoice", &json!({ "amount_msat": msat, "description": "soak" }))?.ok()
    }

    fn invoice_paid(&self, kind: Kind, payer: usize, payee: usize, msat: u64) -> Option<String> {
        let invoice = self.new_invoice(payee, msat)?;
        let text = invoice["invoice"].as_str().unwrap();
        self.pay(kind, payer, payee, text, hash_of(&invoice), Must::End).then(|| text.to_owned())
    }

    /// Orders a payment; false when it was refused. A payer that dies after it took the order has written it down; asking
    /// again is refused, and that is right.
    fn pay(&self, kind: Kind, payer: usize, payee: usize, text: &str, hash: &str, must: Must) -> bool {
        let mut asked_before = false;
        for _ in 0..TRIES {
            match self.nodes[payer].call("pay", &json!({ "invoice": text })) {
                Ok(_) => {
                    self.note(kind, payer, payee, hash, must);
                    return true;
                }
                Err(Refused::No(code, _)) if asked_before && code == "LN0022" => {
                    self.note(kind, payer, payee, hash, must);
                    return true;
                }
                Err(Refused::No(code, text)) => {
                    // An earlier order, that was not answered, may have been taken and have failed since.
                    let known = asked_before
                        && self.nodes[payer].call("getpayment", &json!({ "payment_hash": hash })).is_ok();
                    if known {
                        self.note(kind, payer, payee, hash, must);
                    } else {
                        self.refuse(kind, &format!("{code} {text}"));
                    }
                    return known;
                }
                Err(Refused::NoAnswer) => {
                    asked_before = true;
                    thread::sleep(PAUSE);
                }
            }
        }
        panic!("{} does not come back", self.nodes[payer].name);
    }

    fn note(&self, kind: Kind, payer: usize, payee: usize, hash: &str, must: Must) {
        let ordered = Ordered { kind, payer, payee, must };
        let before = self.ledger.lock().unwrap().ordered.insert(hash.to_owned(), ordered);
        assert!(before.is_none_or(|before| before.kind == Kind::Twice), "{hash} was ordered before");
    }

    fn refuse(&self, kind: Kind, why: &str) {
        let mut ledger = self.ledger.lock().unwrap();
        *ledger.refused.entry(kind).or_default() += 1;
        // Amounts differ; what is wrong does not.
        let why: String = why.chars().filter(|c| !c.is_ascii_digit()).take(60).collect();
        *ledger.refusals.entry(why).or_default() += 1;
    }

    fn must(&self, hash: &str, must: Must) {
        self.ledger.lock().unwrap().ordered.get_mut(hash).unwrap().must = must;
    }

    /// A little more than the largest of the payer's channels with the payee carries.
    fn in_parts(&self, payer: usize, payee: usize, random: &mut Random) {
        let Ok(answer) = self.nodes[payer].call("listchannels", &json!({})) else {
            self.refuse(Kind::InParts, "no answer");
            return;
        };
        let rows = answer["channels"].as_array().unwrap().iter();
        let rows = rows.filter(|row| row["peer_id"] == self.nodes[payee].id && row["state"] == "open");
        let each: Vec<u64> = rows.map(|row| row["sendable_msat"].as_u64().unwrap()).collect();
        let (most, all) = (each.iter().max().copied().unwrap_or(0), each.iter().sum::<u64>());
        let msat = most + 1 + random.below(20_000_000);
        if msat + 10_000_000 > all {
            self.refuse(Kind::InParts, "one channel has nearly everything");
            return;
        }
        self.invoice_paid(Kind::InParts, payer, payee, msat);
    }

    fn keysend(&self, payer: usize, payee: usize, msat: u64) {
        let order = json!({ "node_id": self.nodes[payee].id, "amount_msat": msat });
        match self.nodes[payer].call("keysend", &order) {
            Ok(payment) => self.note(Kind::Keysend, payer, payee, hash_of(&payment), Must::End),
            Err(Refused::No(code, text)) => self.refuse(Kind::Keysend, &format!("{code} {text}")),
            Err(Refused::NoAnswer) => self.ledger.lock().unwrap().unanswered += 1,
        }
    }

    fn held(&self, kind: Kind, payer: usize, payee: usize, msat: u64, random: &mut Random) {
        let preimage = random.bytes();
        let hash = PaymentHash(sha256::Hash::hash(&preimage).to_byte_array()).to_string();
        let order = json!({ "payment_hash": hash, "amount_msat": msat });
        // Refused when an earlier order, that was not answered, was taken: without its text it cannot be paid.
        let Some(Ok(invoice)) = self.until_answered(payee, "holdinvoice", &order) else { return };
        if !self.pay(kind, payer, payee, invoice["invoice"].as_str().unwrap(), &hash, Must::End) {
            return;
        }
        if kind == Kind::HeldAndSettled {
            self.settle(payer, payee, &hash, &Preimage::new(preimage));
            return;
        }
        // Before it has come, while it comes, and while it waits.
        thread::sleep(Duration::from_millis(random.below(3_000)));
        self.cancel(payee, &hash);
    }

    /// Settles as soon as it can be; gives up when the payer has.
    fn settle(&self, payer: usize, payee: usize, hash: &str, preimage: &Preimage) {
        let hex: String = preimage.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        for _ in 0..TRIES {
            match self.nodes[payee].call("settleinvoice", &json!({ "preimage": hex })) {
                Ok(_) => return self.must(hash, Must::Succeed),
                Err(Refused::No(code, text)) => assert_eq!(code, "LN0023", "{text}"),
                Err(Refused::NoAnswer) => {}
            }
            let row = self.nodes[payer].call("getpayment", &json!({ "payment_hash": hash }));
            if row.is_ok_and(|row| row["state"] == "failed") {
                break;
            }
            thread::sleep(2 * PAUSE);
        }
        // Nobody knows where it is; its payee shall not have it any more.
        self.cancel(payee, hash);
    }

    fn cancel(&self, payee: usize, hash: &str) {
        match self.until_answered(payee, "cancelinvoice", &json!({ "payment_hash": hash })) {
            Some(Ok(_)) => self.must(hash, Must::Fail),
            other => panic!("{hash} is neither settled nor given back: {other:?}"),
        }
    }

    fn forged(&self, kind: Kind, payer: usize, payee: usize, msat: u64, random: &mut Random) {
        let Some(like) = self.new_invoice(payee, msat) else { return };
        let (text, node) = (like["invoice"].as_str().unwrap(), &self.nodes[payee]);
        let unknown = PaymentHash(random.bytes());
        let (text, hash) = if kind == Kind::UnknownHash {
            (forged::of_unknown_hash(node, text, unknown), unknown.to_string())
        } else {
            (forged::for_too_little(node, text), hash_of(&like).to_owned())
        };
        self.pay(kind, payer, payee, &text, &hash, Must::Fail);
    }

    fn twice(&self, payer: usize, payee: usize, msat: u64) {
        let Some(text) = self.invoice_paid(Kind::Twice, payer, payee, msat) else { return };
        for _ in 0..3 {
            thread::sleep(3 * PAUSE);
            // Refused, unless it has failed meanwhile: then it is paid now. Its payee has it once in any case.
            let _again = self.nodes[payer].call("pay", &json!({ "invoice": text }));
        }
    }

    fn until_answered(
        &self,
        node: usize,
        method: &str,
        parameters: &Value,
    ) -> Option<Result<Value, (String, String)>> {
        for _ in 0..TRIES {
            match self.nodes[node].call(method, parameters) {
                Ok(answer) => return Some(Ok(answer)),
                Err(Refused::No(code, text)) => return Some(Err((code, text))),
                Err(Refused::NoAnswer) => thread::sleep(PAUSE),
            }
        }
        None
    }
}

fn hash_of(row: &Value) -> &str {
    row["payment_hash"].as_str().unwrap()
}
