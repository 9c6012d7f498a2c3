//! The node's watchtowers as its user wants them: a small file in the data directory, read when the node starts.
//!
//! `lnode wtclient add`, `remove` and `policy` write it, whether the node runs or not; it says so when a restart is needed.
use std::fs;
use std::io::Write as _;
use std::path::Path;

use lightning_net_tokio::PeerAddress;
use lightning_remote::Promise;
use lightning_traits::id::NodeId;
use serde::{Deserialize, Serialize};

use crate::error::{ApiError, Code};

const FILE: &str = "towers.json";

/// What a tower is asked to do, and so which keys it is given (`docs/watchtower.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TowerMode {
    /// Enforces everything; gets all keys of each channel.
    Full,
    /// Punishes revoked commitments; gets the revocation secret of each channel.
    Justice,
    /// Punishes revoked commitments with signatures that open with them; gets no key and learns nothing before.
    Blind,
}

impl TowerMode {
    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Justice => "justice",
            Self::Blind => "blind",
        }
    }
}

/// One tower.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TowerEntry {
    /// `node_id@host:port`.
    pub address: String,
    /// What it is asked to do.
    pub mode: TowerMode,
}

impl TowerEntry {
    /// Its node id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.address.split('@').next().unwrap_or_default()
    }
}

/// All towers, and how many must hold an update before a channel goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TowerList {
    /// The towers.
    pub towers: Vec<TowerEntry>,
    /// How many must hold an update, the node's own disk counted. A full tower must in any case.
    pub needed: usize,
    /// While fewer are up: how many updates a channel may be ahead of them; 0 freezes it.
    pub max_ahead: u64,
}

impl Default for TowerList {
    fn default() -> Self {
        Self { towers: Vec::new(), needed: 2, max_ahead: 20 }
    }
}

impl TowerList {
    /// Reads the list; without a file there are no towers.
    ///
    /// # Errors
    /// [`Code::Disk`], [`Code::BadConfig`].
    pub fn load(data_dir: &Path) -> Result<Self, ApiError> {
        let path = data_dir.join(FILE);
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(&path).map_err(|error| disk(&path, &error))?;
        let list: Self = serde_json::from_str(&text).map_err(|error| {
            ApiError::new(Code::BadConfig, format!("{} is damaged: {error}", path.display()))
        })?;
        for tower in &list.towers {
            parse(&tower.address)?;
        }
        Ok(list)
    }

    /// Writes the list; the file is whole before it has its name.
    ///
    /// # Errors
    /// [`Code::Disk`].
    pub fn store(&self, data_dir: &Path) -> Result<(), ApiError> {
        let path = data_dir.join(FILE);
        let failed = |error: std::io::Error| disk(&path, &error);
        fs::create_dir_all(data_dir).map_err(failed)?;
        let unfinished = path.with_extension("new");
        let text = serde_json::to_string_pretty(self).map_err(|error| failed(error.into()))?;
        let mut file = fs::File::create(&unfinished).map_err(failed)?;
        writeln!(file, "{text}").and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&unfinished, &path).map_err(failed)
    }

    /// Adds a tower, or changes where it is. Its mode stays: it has keys for it.
    ///
    /// # Errors
    /// [`Code::BadRequest`] when the address is none, or the mode another.
    pub fn add(&mut self, entry: TowerEntry) -> Result<(), ApiError> {
        parse(&entry.address)?;
        if let Some(known) = self.towers.iter_mut().find(|known| known.id() == entry.id()) {
            if known.mode != entry.mode {
                let message = format!("that tower is used in {} mode already", known.mode.word());
                return Err(
                    ApiError::bad(message).hint("remove it, close its account there, and add it anew")
                );
            }
            known.address = entry.address;
            return Ok(());
        }
        self.towers.push(entry);
        Ok(())
    }

    /// What is sealed into the records that this tower keeps: which towers hold each step before it is said.
    ///
    /// # Errors
    /// [`Code::BadRequest`] when an address is none.
    pub fn promise_to(&self, entry: &TowerEntry) -> Result<Promise, ApiError> {
        // A full tower is always waited for.
        if entry.mode == TowerMode::Full {
            return Ok(Promise::new(&[id_of(&entry.address)?], 1));
        }
        let ids = self.towers.iter().map(|tower| id_of(&tower.address)).collect::<Result<Vec<_>, _>>()?;
        // The node's own disk is one of those that must hold it.
        let waited_for = self.needed.clamp(1, ids.len().saturating_add(1)).saturating_sub(1);
        Ok(Promise::new(&ids, if self.max_ahead == 0 { waited_for } else { 0 }))
    }

    /// Removes a tower.
    ///
    /// # Errors
    /// [`Code::BadRequest`] when it is not in the list.
    pub fn remove(&mut self, id: &str) -> Result<(), ApiError> {
        let before = self.towers.len();
        self.towers.retain(|tower| tower.id() != id);
        if self.towers.len() == before {
            return Err(ApiError::bad(format!("{id} is no tower of this node")));
        }
        Ok(())
    }
}

/// Reads `node_id@host:port`.
///
/// # Errors
/// [`Code::BadRequest`].
pub fn parse(address: &str) -> Result<PeerAddress, ApiError> {
    address.parse().map_err(|error: lightning_net_tokio::NetError| {
        ApiError::bad(error.to_string()).hint("the tower's `tower.address` file has it")
    })
}

/// The node id in the address.
///
/// # Errors
/// [`Code::BadRequest`].
pub fn id_of(address: &str) -> Result<NodeId, ApiError> {
    let id = address.split('@').next().unwrap_or_default();
    let key = id.parse::<bitcoin::secp256k1::PublicKey>();
    key.map(NodeId::from).map_err(|_| ApiError::bad(format!("{id:?} is no node id")))
}

fn disk(path: &Path, error: &std::io::Error) -> ApiError {
    ApiError::new(Code::Disk, format!("{} cannot be used: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

    fn entry(host: &str, mode: TowerMode) -> TowerEntry {
        TowerEntry { address: format!("{ID}@{host}"), mode }
    }

    #[test]
    fn towers_come_back_and_keep_their_mode() {
        let dir = tempfile::tempdir().unwrap();
        let mut list = TowerList::load(dir.path()).unwrap();
        assert_eq!(list, TowerList::default());
        list.add(entry("127.0.0.1:9911", TowerMode::Justice)).unwrap();
        list.add(entry("tower.example:9911", TowerMode::Justice)).unwrap();
        assert!(list.add(entry("127.0.0.1:9911", TowerMode::Full)).is_err());
        list.store(dir.path()).unwrap();
        let mut again = TowerList::load(dir.path()).unwrap();
        assert_eq!(again.towers, [entry("tower.example:9911", TowerMode::Justice)]);
        assert_eq!(id_of(&again.towers[0].address).unwrap().to_string(), ID);
        again.remove(ID).unwrap();
        assert!(again.remove(ID).is_err());
    }

    #[test]
    fn what_is_no_tower_is_refused() {
        let mut list = TowerList::default();
        for wrong in ["", ID, "me@127.0.0.1:1", "127.0.0.1:9911"] {
            assert!(
                list.add(TowerEntry { address: wrong.to_owned(), mode: TowerMode::Full }).is_err(),
                "{wrong}"
            );
        }
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "{\"towers\":[]").unwrap();
        assert_eq!(TowerList::load(dir.path()).unwrap_err().code, Code::BadConfig);
    }
}
