//! The rows of a client's vault: blobs by lane and number, where they are found by locator, lanes, breaches, the tip.
use std::collections::BTreeMap;
use std::sync::Arc;

use bitcoin::hex::{DisplayHex as _, FromHex as _};
use bitcoin::{BlockHash, Txid};
use lightning_monitor::blind::Locator;
use lightning_remote::wire::blind::LaneContent;
use lightning_store_redb::{RedbStore, StoreError};
use lightning_traits::codec::{Decode, Encode as _};
use lightning_traits::id::{ChannelId, UpdateId};
use lightning_traits::monitor::ChannelMonitorUpdate;
use lightning_traits::units::BlockHeight;

use super::{Case, Lane};

const BLOB: &str = "blind/blob/";
const AT: &str = "blind/at/";
const LANE: &str = "blind/lane/";
const CASE: &str = "blind/case/";
const TIP: &str = "blind/tip";

pub(super) struct Rows(Arc<RedbStore>);

impl Rows {
    pub(super) const fn new(store: Arc<RedbStore>) -> Self {
        Self(store)
    }

    pub(super) fn put_update(&self, update: &ChannelMonitorUpdate, bytes: Vec<u8>, content: &LaneContent) {
        let place = place(update.channel, update.id);
        for entry in &content.entries {
            // Of several clients' and lanes' blobs under one locator each has a row of its own.
            self.0.put(&format!("{AT}{}/{place}", entry.locator.to_lower_hex_string()), Vec::new());
        }
        self.0.put(&format!("{BLOB}{place}"), bytes);
    }

    pub(super) fn put_lane(&self, lane: ChannelId, kept: &Lane) {
        self.0.put(&format!("{LANE}{}", lane.0.to_lower_hex_string()), kept.to_bytes());
    }

    /// The durable update of a lane.
    pub(super) fn update(&self, lane: ChannelId, id: UpdateId) -> Option<Vec<u8>> {
        self.get(&format!("{BLOB}{}", place(lane, id)))
    }

    fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.0.get(key).unwrap_or_else(|error| {
            tracing::error!("{error}");
            None
        })
    }

    /// The durable blobs under a locator, with the lanes that they are of.
    pub(super) fn find(&self, locator: Locator) -> Vec<(ChannelId, Vec<u8>)> {
        let prefix = format!("{AT}{}/", locator.0.to_lower_hex_string());
        let rows = self.0.list(&prefix).unwrap_or_else(|error| {
            tracing::error!("{error}");
            Vec::new()
        });
        let mut found = Vec::new();
        for (key, _) in rows {
            let place = key.strip_prefix(&prefix).unwrap_or_default();
            let update = self.get(&format!("{BLOB}{place}"));
            let Some(update) = update.and_then(|bytes| ChannelMonitorUpdate::from_versioned(&bytes).ok())
            else {
                continue;
            };
            let entries = LaneContent::of(&update).map(|content| content.entries).unwrap_or_default();
            let bodies =
                entries.into_iter().filter(|entry| entry.locator == locator.0).map(|entry| entry.body);
            found.extend(bodies.map(|body| (update.channel, body)));
        }
        found
    }

    /// All rows of a lane but those that wait for a commit: a client that sends and lets go at once loses nothing but room.
    pub(super) fn drop_lane(&self, lane: ChannelId) {
        let prefix = format!("{BLOB}{}/", lane.0.to_lower_hex_string());
        for (key, bytes) in self.0.list(&prefix).unwrap_or_default() {
            if let Ok(update) = ChannelMonitorUpdate::from_versioned(&bytes) {
                for entry in LaneContent::of(&update).map(|content| content.entries).unwrap_or_default() {
                    let place = place(update.channel, update.id);
                    self.0.remove(&format!("{AT}{}/{place}", entry.locator.to_lower_hex_string()));
                }
            }
            self.0.remove(&key);
        }
        self.0.remove(&format!("{LANE}{}", lane.0.to_lower_hex_string()));
    }

    pub(super) fn lanes(&self) -> Result<BTreeMap<ChannelId, Lane>, StoreError> {
        self.all(LANE, |text| <[u8; 32]>::from_hex(text).ok().map(ChannelId))
    }

    pub(super) fn put_case(&self, txid: Txid, case: &Case) {
        self.0.put(&format!("{CASE}{txid}"), case.to_bytes());
    }

    pub(super) fn drop_case(&self, txid: Txid) {
        self.0.remove(&format!("{CASE}{txid}"));
    }

    pub(super) fn cases(&self) -> Result<BTreeMap<Txid, Case>, StoreError> {
        self.all(CASE, |text| text.parse().ok())
    }

    fn all<K: Ord, V: Decode>(
        &self,
        prefix: &str,
        name: impl Fn(&str) -> Option<K>,
    ) -> Result<BTreeMap<K, V>, StoreError> {
        let damaged = |key: &str| StoreError::Damaged(format!("the row {key} does not decode"));
        let read = |(key, bytes): (String, Vec<u8>)| {
            let name = key.strip_prefix(prefix).and_then(&name).ok_or_else(|| damaged(&key))?;
            Ok((name, V::from_bytes(&bytes).map_err(|_| damaged(&key))?))
        };
        self.0.list(prefix)?.into_iter().map(read).collect()
    }

    pub(super) fn put_tip(&self, tip: (BlockHash, BlockHeight)) {
        self.0.put(TIP, tip.to_bytes());
    }

    pub(super) fn tip(&self) -> Result<Option<(BlockHash, BlockHeight)>, StoreError> {
        let damaged = |_| StoreError::Damaged("the tip does not decode".to_owned());
        self.0
            .get(TIP)?
            .map(|bytes| <(BlockHash, BlockHeight)>::from_bytes(&bytes).map_err(damaged))
            .transpose()
    }
}

/// Keys sort as numbers do.
fn place(lane: ChannelId, id: UpdateId) -> String {
    format!("{}/{:020}", lane.0.to_lower_hex_string(), id.0)
}
