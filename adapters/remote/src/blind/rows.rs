//! Where blobs wait for a tower: rows in the leader's own store.
use bitcoin::hex::{DisplayHex as _, FromHex as _};
use lightning_traits::id::ChannelId;
use lightning_traits::monitor::ChannelMonitorUpdate;
use secp256k1::PublicKey;

/// A store of rows, durable in the order in which they were written, together with the leader's updates.
pub trait RowStore {
    /// Queues a row.
    fn put(&self, key: &str, value: Vec<u8>);

    /// Queues the end of a row.
    fn remove(&self, key: &str);

    /// The durable rows whose keys begin with `prefix`, in order.
    fn list(&self, prefix: &str) -> Vec<(String, Vec<u8>)>;
}

/// The rows of one tower.
pub(super) struct Rows<R> {
    store: R,
    blobs: String,
    released: String,
}

impl<R: RowStore> Rows<R> {
    pub(super) fn new(store: R, tower: &PublicKey) -> Self {
        Self { store, blobs: format!("blind/blob/{tower}/"), released: format!("blind/released/{tower}/") }
    }

    fn key(&self, channel: ChannelId, number: u64) -> String {
        // Keys sort as numbers do.
        format!("{}{}/{number:020}", self.blobs, channel.0.to_lower_hex_string())
    }

    pub(super) fn put(&self, channel: ChannelId, number: u64, update: &ChannelMonitorUpdate) {
        self.store.put(&self.key(channel, number), update.to_versioned());
    }

    pub(super) fn remove(&self, channel: ChannelId, number: u64) {
        self.store.remove(&self.key(channel, number));
    }

    /// The durable rows of a channel, in order; one that does not decode ends them, since what is behind it does not follow.
    pub(super) fn of(&self, channel: ChannelId) -> Vec<(u64, ChannelMonitorUpdate)> {
        let prefix = format!("{}{}/", self.blobs, channel.0.to_lower_hex_string());
        let rows = self.store.list(&prefix).into_iter();
        rows.map_while(|(key, bytes)| {
            let number = key.strip_prefix(&prefix)?.parse().ok()?;
            Some((number, ChannelMonitorUpdate::from_versioned(&bytes).ok()?))
        })
        .collect()
    }

    pub(super) fn release(&self, lane: ChannelId) {
        self.store.put(&format!("{}{}", self.released, lane.0.to_lower_hex_string()), Vec::new());
    }

    pub(super) fn forget_release(&self, lane: ChannelId) {
        self.store.remove(&format!("{}{}", self.released, lane.0.to_lower_hex_string()));
    }

    pub(super) fn released(&self) -> Vec<ChannelId> {
        let rows = self.store.list(&self.released).into_iter();
        rows.filter_map(|(key, _)| {
            <[u8; 32]>::from_hex(key.strip_prefix(&self.released)?).ok().map(ChannelId)
        })
        .collect()
    }
}
