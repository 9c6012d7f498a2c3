//! What was punished, and what was claimed: for the operator, durable, each once.
use std::sync::{Arc, Mutex, PoisonError};

use lightning_store_redb::{RedbStore, StoreError};
use serde::{Deserialize, Serialize};

const BREACH: &str = "book/breach/";
const CLAIM: &str = "book/claim/";

/// A revoked commitment that was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breach {
    /// Whose channel.
    pub client: String,
    /// Which.
    pub channel: String,
    /// The commitment.
    pub txid: String,
    /// Where it confirmed.
    pub height: u32,
}

/// A claim that confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRow {
    /// For whom.
    pub client: String,
    /// Of which channel.
    pub channel: String,
    /// The claim.
    pub txid: String,
    /// Where it confirmed.
    pub height: u32,
    /// What it pays.
    pub value_sat: u64,
}

#[derive(Default)]
struct Rows {
    breaches: Vec<Breach>,
    claims: Vec<ClaimRow>,
}

/// The two lists.
pub struct Book {
    store: Arc<RedbStore>,
    rows: Mutex<Rows>,
}

impl Book {
    /// Reads what there is.
    ///
    /// # Errors
    /// When the store cannot be read. A row that does not decode is left out.
    pub fn open(store: Arc<RedbStore>) -> Result<Self, StoreError> {
        let breaches = store.list(BREACH)?;
        let claims = store.list(CLAIM)?;
        let rows = Rows {
            breaches: breaches.iter().filter_map(|(_, row)| serde_json::from_slice(row).ok()).collect(),
            claims: claims.iter().filter_map(|(_, row)| serde_json::from_slice(row).ok()).collect(),
        };
        Ok(Self { store, rows: Mutex::new(rows) })
    }

    /// Notes a breach; the same one again changes nothing.
    pub fn breach(&self, breach: Breach) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.breaches.iter().any(|known| known.txid == breach.txid && known.client == breach.client) {
            return;
        }
        tracing::error!(client = breach.client, channel = breach.channel, txid = breach.txid, "BREACH");
        self.put(&format!("{BREACH}{}/{}", breach.client, breach.txid), &breach);
        rows.breaches.push(breach);
    }

    /// Notes a claim; the same one again changes nothing.
    pub fn claim(&self, claim: ClaimRow) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.claims.iter().any(|known| known.txid == claim.txid && known.client == claim.client) {
            return;
        }
        tracing::info!(
            client = claim.client,
            channel = claim.channel,
            txid = claim.txid,
            "a claim confirmed"
        );
        self.put(&format!("{CLAIM}{}/{}", claim.client, claim.txid), &claim);
        rows.claims.push(claim);
    }

    fn put(&self, key: &str, row: &impl Serialize) {
        // Rows of strings and numbers always encode.
        self.store.put(key, serde_json::to_vec(row).unwrap_or_default());
    }

    /// Makes durable what was noted.
    ///
    /// # Errors
    /// When the disk fails; what is queued stays queued.
    pub fn keep(&self) -> Result<(), StoreError> {
        self.store.commit().map(|_| ())
    }

    /// All breaches.
    #[must_use]
    pub fn breaches(&self) -> Vec<Breach> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).breaches.clone()
    }

    /// All claims.
    #[must_use]
    pub fn claims(&self) -> Vec<ClaimRow> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).claims.clone()
    }
}
