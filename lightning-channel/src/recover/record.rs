//! The manager's own record: a cache of intents, never the truth about money (I6).
//!
//! What it adds to the channels' records: payments that no channel has an HTLC of yet, the ids of events that will come
//! again, hashes that were paid already. It is a set of rows, each of which stands for itself: what changes is written,
//! and nothing that was there before (I13).
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use lightning_traits::codec::checksum::{seal, unseal};
use lightning_traits::codec::{
    Decode, DecodeError, Encode, Reader, TlvRecords, decode_versioned, encode_versioned,
};
use lightning_traits::id::{EventId, PaymentId};
use lightning_traits::payment::PaymentHash;
use lightning_traits::record;

use super::intent::{Body, Intent, Stored};
use crate::manager::events::Source;

const VERSION: u8 = 1;
/// Of rows of payments: those before had no plan.
const INTENT_VERSION: u8 = 2;

/// The manager's record as it is stored: rows by their keys, both opaque.
pub type RecordRows = BTreeMap<Vec<u8>, Vec<u8>>;

/// A row of the manager's record that is to be stored, or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// Which row: at most 80 bytes.
    pub key: Vec<u8>,
    /// What it says; `None` when it goes.
    pub value: Option<Vec<u8>>,
}

impl RowChange {
    /// Changes `rows`, for whoever keeps them in memory.
    pub fn apply(self, rows: &mut RecordRows) {
        match self.value {
            Some(value) => drop(rows.insert(self.key, value)),
            None => drop(rows.remove(&self.key)),
        }
    }
}

/// What names a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Counters {},
    Intent { id: PaymentId },
    Paid { hash: PaymentHash },
    Told { source: Source },
}
record!(enum Key { 0 => Counters {}, 1 => Intent { id }, 2 => Paid { hash }, 3 => Told { source } });

/// What there is once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counters {
    next_event: u64,
    announced_at: u32,
}
record!(struct Counters { next_event, announced_at });

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    /// Event ids below `next_event` may be in use.
    Counters { next_event: u64, announced_at: u32 },
    /// A payment of ours that is not over.
    Intent(Box<Intent>),
    /// A hash that was paid to us, until when an invoice may name it.
    Paid { hash: PaymentHash, expires: u32 },
    /// An event that may come again.
    Told { id: EventId, source: Source },
}

impl Row {
    /// Key and value.
    pub(crate) fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        let (key, value) = self.encode_open();
        let value = seal(&key, value);
        (key, value)
    }

    fn encode_open(&self) -> (Vec<u8>, Vec<u8>) {
        match self {
            Self::Counters { next_event, announced_at } => {
                let counters = Counters { next_event: *next_event, announced_at: *announced_at };
                (bytes(&Key::Counters {}), value(&counters))
            }
            Self::Intent(intent) => {
                let body = encode_versioned(INTENT_VERSION, &Body(intent), &TlvRecords::default());
                (bytes(&Key::Intent { id: intent.id }), body)
            }
            Self::Paid { hash, expires } => (paid_key(*hash), value(expires)),
            Self::Told { id, source } => (bytes(&Key::Told { source: *source }), value(id)),
        }
    }

    /// Reads a row.
    pub(crate) fn decode(key: &[u8], row: &[u8]) -> Result<Self, DecodeError> {
        let row = unseal(key, row)?;
        let mut reader = Reader::new(key);
        let named: Key = reader.read()?;
        reader.finish()?;
        Ok(match named {
            Key::Counters {} => {
                let Counters { next_event, announced_at } = read(row)?;
                Self::Counters { next_event, announced_at }
            }
            Key::Intent { id } => {
                let (stored, _): (Stored, _) = decode_versioned(INTENT_VERSION, row)?;
                Self::Intent(Box::new(stored.of(id)))
            }
            Key::Paid { hash } => Self::Paid { hash, expires: read(row)? },
            Key::Told { source } => Self::Told { id: read(row)?, source },
        })
    }
}

/// The row of a hash that was paid.
pub(crate) fn paid_key(hash: PaymentHash) -> Vec<u8> {
    bytes(&Key::Paid { hash })
}

/// How `written` becomes `now`.
pub(crate) fn changes(written: &RecordRows, now: &RecordRows) -> Vec<RowChange> {
    let gone = written.keys().filter(|key| !now.contains_key(*key));
    let gone = gone.map(|key| RowChange { key: key.clone(), value: None });
    let new = now.iter().filter(|(key, value)| written.get(*key) != Some(value));
    gone.chain(new.map(|(key, value)| RowChange { key: key.clone(), value: Some(value.clone()) })).collect()
}

fn bytes(key: &Key) -> Vec<u8> {
    let mut out = Vec::new();
    key.encode(&mut out);
    out
}

fn value(body: &impl Encode) -> Vec<u8> {
    encode_versioned(VERSION, body, &TlvRecords::default())
}

fn read<T: Decode>(row: &[u8]) -> Result<T, DecodeError> {
    decode_versioned(VERSION, row).map(|(body, _)| body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;

    use lightning_traits::event::PaymentFailure;
    use lightning_traits::id::{ChannelId, NodeId, ShortChannelId};
    use lightning_traits::payment::{PaymentSecret, Preimage};
    use lightning_traits::route::{HintHop, RouteHint};
    use lightning_traits::units::{CltvDelta, Msat};

    use super::super::intent::Plan;
    use crate::payment::PayParams;
    use crate::payment::onion::Recipient;

    /// Payments with everything that they can have, given up in all ways.
    fn intents() -> impl Iterator<Item = Row> {
        let text = || "why, and what else \u{df}".to_string();
        let failures = [
            None,
            Some(PaymentFailure::RefusedByPayee(text())),
            Some(PaymentFailure::NoRoute(text())),
            Some(PaymentFailure::RetriesExhausted { attempts: 7, last: text() }),
            Some(PaymentFailure::Abandoned),
            Some(PaymentFailure::TimedOut { last: "".to_string() }),
            Some(PaymentFailure::LostBeforeSending),
        ];
        let mut custom = TlvRecords::default();
        custom.put_raw(65_537, vec![1, 2, 3]);
        let hop = HintHop {
            node: NodeId([2; 33]),
            scid: ShortChannelId(77),
            fee_base: Msat::new(1),
            fee_proportional_millionths: 2,
            cltv_delta: CltvDelta::new(3),
        };
        let recipients = [
            Recipient::invoice(PaymentSecret::new([8; 32])).with_metadata(Some(vec![9; 40])),
            Recipient::spontaneous(Preimage::new([7; 32])).with_custom(custom),
        ];
        failures.into_iter().enumerate().map(move |(at, given_up)| {
            let (payee, hash) = (NodeId([3; 33]), PaymentHash([2; 32]));
            let recipient = recipients[at % 2].clone();
            let mut params = PayParams::new(payee, Msat::new(3), hash, recipient, CltvDelta::new(18));
            if at > 1 {
                params.hints = vec![RouteHint { hops: vec![hop.clone(), hop.clone()] }; 2];
                (params.max_fee, params.max_parts, params.max_ticks) = (Some(Msat::new(5)), 16, Some(60));
            }
            let plan = Plan { params, attempts: 3, ticks: 4, given_up };
            Row::Intent(Box::new(Intent {
                id: PaymentId([1; 32]),
                hash,
                total: Msat::new(3),
                plan: Some(plan),
            }))
        })
    }

    #[test]
    fn rows_come_back_as_they_were_and_damaged_ones_are_refused() {
        let rows = [
            Row::Counters { next_event: 7, announced_at: 8 },
            Row::Intent(Box::new(Intent {
                id: PaymentId([1; 32]),
                hash: PaymentHash([2; 32]),
                total: Msat::new(3),
                plan: None,
            })),
            Row::Paid { hash: PaymentHash([4; 32]), expires: 5 },
            Row::Told { id: EventId(1), source: Source::Payment { id: PaymentId([1; 32]) } },
            Row::Told { id: EventId(2), source: Source::Channel { channel: ChannelId([6; 32]), what: 1 } },
        ];
        for row in rows.into_iter().chain(intents()) {
            let (key, value) = row.encode();
            assert!(key.len() <= 80);
            assert_eq!(Row::decode(&key, &value), Ok(row));
            assert!(Row::decode(&key[1..], &value).is_err());
            assert!(Row::decode(&[&key[..], &[0]].concat(), &value).is_err());
            assert!(Row::decode(&key, &value[..value.len() - 1]).is_err());
        }
    }

    #[test]
    fn changes_are_what_differs_and_lead_from_one_to_the_other() {
        let row = |byte, expires| Row::Paid { hash: PaymentHash([byte; 32]), expires }.encode();
        let mut before: RecordRows = [row(1, 1), row(2, 2), row(3, 3)].into();
        let after: RecordRows = [row(1, 1), row(2, 9), row(4, 4)].into();
        let changed = changes(&before, &after);
        assert_eq!(changed.len(), 3);
        changed.into_iter().for_each(|change| change.apply(&mut before));
        assert_eq!(before, after);
        assert!(changes(&before, &after).is_empty());
    }
}
