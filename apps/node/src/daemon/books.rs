//! What the node remembers for its user: invoices, payments, what happened, where peers are.
//!
//! The channels need none of it: secrets of invoices are derived, payments in flight stand in the channels' own
//! records. A row is queued for the store before the event behind it is acknowledged, and both become durable in
//! order, so nothing a user was owed is lost (I11).
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use lightning_store_redb::{RedbStore, StoreError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::api::response::{Channel, ChannelState, EventEntry, InvoiceEntry, Payment, PaymentState};

/// All that was forwarded, in sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Forwards {
    /// How many.
    pub(crate) count: u64,
    /// What went out.
    pub(crate) amount_msat: u64,
    /// What was earned.
    pub(crate) fee_msat: u64,
}

/// All rows, in memory and in the store.
pub(crate) struct Books {
    store: Arc<RedbStore>,
    rows: Mutex<Rows>,
}

#[derive(Default)]
struct Rows {
    invoices: BTreeMap<String, InvoiceEntry>,
    payments: BTreeMap<String, Payment>,
    closed: BTreeMap<String, Channel>,
    peers: BTreeMap<String, String>,
    events: VecDeque<EventEntry>,
    next_event: u64,
    forwards: Forwards,
}

const INVOICES: &str = "invoice/";
const PAYMENTS: &str = "payment/";
const CLOSED: &str = "closed/";
const PEERS: &str = "peer/";
const EVENTS: &str = "event/";
const FORWARDS: &str = "forwards/";
/// Events that are kept.
const MAX_EVENTS: usize = 1_000;
/// How often the node was started, in JSON.
const STARTS: &str = "starts";
/// Ids of events between two starts. More than a crash can take with it: an event is shown before it is durable, and its
/// id must not be another event's after the crash, which a program that has seen it would then never ask for.
const IDS_PER_START: u64 = 1 << 20;

impl Books {
    /// Reads all rows.
    pub(crate) fn open(store: Arc<RedbStore>) -> Result<Self, StoreError> {
        let events: BTreeMap<String, EventEntry> = load(&store, EVENTS)?;
        let starts: u64 = match store.get(STARTS)? {
            Some(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| StoreError::Damaged(format!("{STARTS}: {error}")))?,
            None => 0,
        };
        store.put(STARTS, starts.saturating_add(1).to_string().into_bytes());
        store.commit()?;
        let rows = Rows {
            invoices: load(&store, INVOICES)?,
            payments: load(&store, PAYMENTS)?,
            closed: load(&store, CLOSED)?,
            peers: load(&store, PEERS)?,
            next_event: starts.saturating_mul(IDS_PER_START).saturating_add(1),
            events: events.into_values().collect(),
            forwards: load::<Forwards>(&store, FORWARDS)?.remove("sum").unwrap_or_default(),
        };
        Ok(Self { store, rows: Mutex::new(rows) })
    }

    /// Writes an invoice.
    pub(crate) fn put_invoice(&self, row: InvoiceEntry) {
        self.write(INVOICES, &row.payment_hash, &row);
        self.rows().invoices.insert(row.payment_hash.clone(), row);
    }

    /// An invoice by its hash.
    pub(crate) fn invoice(&self, payment_hash: &str) -> Option<InvoiceEntry> {
        self.rows().invoices.get(payment_hash).cloned()
    }

    /// All invoices, oldest first.
    pub(crate) fn invoices(&self) -> Vec<InvoiceEntry> {
        let mut rows: Vec<InvoiceEntry> = self.rows().invoices.values().cloned().collect();
        rows.sort_by_key(|row| row.created_at);
        rows
    }

    /// Writes a payment.
    pub(crate) fn put_payment(&self, row: Payment) {
        self.write(PAYMENTS, &row.payment_hash, &row);
        self.rows().payments.insert(row.payment_hash.clone(), row);
    }

    /// Writes a payment that is about to be begun, unless it is under way or done: then its row is the error. Answers the row
    /// of an earlier try that failed.
    pub(crate) fn begin_payment(&self, row: &Payment) -> Result<Option<Payment>, Box<Payment>> {
        let mut rows = self.rows();
        let before = rows.payments.get(&row.payment_hash).cloned();
        match before {
            Some(known) if known.state != PaymentState::Failed => Err(Box::new(known)),
            before => {
                self.write(PAYMENTS, &row.payment_hash, row);
                rows.payments.insert(row.payment_hash.clone(), row.clone());
                Ok(before)
            }
        }
    }

    /// A payment by its hash, which is its name: no invoice is paid twice.
    pub(crate) fn payment(&self, payment_hash: &str) -> Option<Payment> {
        self.rows().payments.get(payment_hash).cloned()
    }

    /// All payments, oldest first.
    pub(crate) fn payments(&self) -> Vec<Payment> {
        let mut rows: Vec<Payment> = self.rows().payments.values().cloned().collect();
        rows.sort_by_key(|row| row.created_at);
        rows
    }

    /// Remembers a channel that is closed or being closed, for when the structures have forgotten it.
    pub(crate) fn put_closed(&self, row: Channel) {
        let row = Channel { state: ChannelState::Closed, ..row };
        self.write(CLOSED, &row.channel_id, &row);
        self.rows().closed.insert(row.channel_id.clone(), row);
    }

    /// What is remembered of channels that are closed or being closed, by their ids.
    pub(crate) fn closed(&self) -> BTreeMap<String, Channel> {
        self.rows().closed.clone()
    }

    /// Remembers where a peer was reached.
    pub(crate) fn put_peer(&self, node_id: &str, address: &str) {
        let known = self.rows().peers.insert(node_id.to_owned(), address.to_owned());
        if known.as_deref() != Some(address) {
            self.write(PEERS, node_id, &address);
        }
    }

    /// Where peers were reached, by their node ids.
    pub(crate) fn peers(&self) -> BTreeMap<String, String> {
        self.rows().peers.clone()
    }

    /// Adds a forwarded payment to the sum.
    pub(crate) fn add_forward(&self, amount_msat: u64, fee_msat: u64) {
        let mut rows = self.rows();
        let sum = &mut rows.forwards;
        sum.count = sum.count.saturating_add(1);
        sum.amount_msat = sum.amount_msat.saturating_add(amount_msat);
        sum.fee_msat = sum.fee_msat.saturating_add(fee_msat);
        self.write(FORWARDS, "sum", sum);
    }

    /// All that was forwarded.
    pub(crate) fn forwards(&self) -> Forwards {
        self.rows().forwards
    }

    /// Notes something that the user may want to know.
    pub(crate) fn note(&self, kind: &str, text: String) {
        let mut rows = self.rows();
        let id = rows.next_event;
        rows.next_event = id.saturating_add(1);
        let entry = EventEntry { id, at: now(), kind: kind.to_owned(), text };
        self.write(EVENTS, &event_key(id), &entry);
        rows.events.push_back(entry);
        if rows.events.len() > MAX_EVENTS
            && let Some(oldest) = rows.events.pop_front()
        {
            self.store.remove(&format!("{EVENTS}{}", event_key(oldest.id)));
        }
    }

    /// Events with an id above `after`, oldest first.
    pub(crate) fn events(&self, after: u64, limit: usize) -> Vec<EventEntry> {
        self.rows().events.iter().filter(|event| event.id > after).take(limit).cloned().collect()
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, table: &str, key: &str, row: &impl Serialize) {
        // Rows are plain structs of text and numbers: encoding them has no way to fail.
        if let Ok(bytes) = serde_json::to_vec(row) {
            self.store.put(&format!("{table}{key}"), bytes);
        }
    }
}

/// Seconds since 1970, for people: the channels know time by blocks only.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Keys sort as numbers do.
fn event_key(id: u64) -> String {
    format!("{id:020}")
}

fn load<T: DeserializeOwned>(store: &RedbStore, table: &str) -> Result<BTreeMap<String, T>, StoreError> {
    let rows = store.list(table)?;
    rows.into_iter()
        .map(|(key, bytes)| {
            let row = serde_json::from_slice(&bytes);
            let row = row.map_err(|error| StoreError::Damaged(format!("{key}: {error}")))?;
            Ok((key.strip_prefix(table).unwrap_or(&key).to_owned(), row))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(books: &Books) -> Vec<u64> {
        books.events(0, 10).into_iter().map(|event| event.id).collect()
    }

    #[test]
    fn an_id_that_was_shown_and_lost_is_never_another_events() {
        let dir = tempfile::tempdir().unwrap();
        let open = || {
            let store = Arc::new(RedbStore::open(&dir.path().join("store")).unwrap());
            (Books::open(Arc::clone(&store)).unwrap(), store)
        };
        let (books, store) = open();
        books.note("kind", "durable".to_owned());
        store.commit().unwrap();
        books.note("kind", "lost".to_owned());
        assert_eq!(ids(&books), [1, 2]);
        drop((books, store));
        let (books, store) = open();
        assert_eq!(ids(&books), [1]);
        books.note("kind", "again".to_owned());
        assert_eq!(ids(&books), [1, IDS_PER_START + 1]);
        drop((books, store));
        // Nothing of that start was durable, and still it counts.
        let (books, _store) = open();
        books.note("kind", "later".to_owned());
        assert_eq!(ids(&books), [1, 2 * IDS_PER_START + 1]);
    }
}
