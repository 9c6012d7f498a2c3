//! Who is let in: one directory and one small file for each client, which the operator's commands write.
//!
//! The daemon reads them again and again, so that `lntower client` works whether it runs or not, and who may write to the
//! data directory, and nobody else, decides who is a client.
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use lightning_keys::Power;
use lightning_traits::id::NodeId;
use secp256k1::PublicKey;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::seed::{private_file, private_folder};

const FOLDER: &str = "clients";
const FILE: &str = "client.json";

/// What the tower does for a client, and so which keys it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Enforces everything, for a node that is away.
    Full,
    /// Punishes revoked commitments and does nothing else.
    Justice,
    /// Keeps blobs that open with the breach, and knows nothing else.
    Blind,
}

impl Mode {
    /// What the keys must be able to do, and may at most; `None` when none are taken.
    #[must_use]
    pub const fn power(self) -> Option<Power> {
        match self {
            Self::Full => Some(Power::Enforce),
            Self::Justice => Some(Power::Punish),
            Self::Blind => None,
        }
    }

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

/// A client, as the operator has let it in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Its node id.
    pub id: String,
    /// What is done for it. Fixed as long as channels of it are kept.
    pub mode: Mode,
    /// How many channels it may have here.
    pub max_channels: u32,
    /// How many bytes its file may take.
    pub max_bytes: u64,
    /// Whether more is taken from it. What was taken is guarded in any case.
    pub admitted: bool,
}

/// Why the list of clients cannot be changed or read.
#[derive(Debug, Error)]
pub enum ClientError {
    /// A file.
    #[error("{0} cannot be used: {1}")]
    File(PathBuf, std::io::Error),
    /// It is not what it should be.
    #[error("{0} is damaged: {1}")]
    Damaged(PathBuf, String),
    /// Not a node id.
    #[error("{0:?} is no node id: those are 66 hexadecimal digits")]
    Id(String),
    /// Nobody of that id.
    #[error("{0} is no client")]
    Unknown(NodeId),
    /// The mode is fixed.
    #[error("{0} is a client in {mode} mode already, with keys for it: remove its directory to begin anew", mode = .1.word())]
    OtherMode(NodeId, Mode),
}

/// Reads a node id.
///
/// # Errors
/// [`ClientError::Id`].
pub fn parse_id(text: &str) -> Result<NodeId, ClientError> {
    let key = PublicKey::from_str(text).map_err(|_| ClientError::Id(text.to_owned()))?;
    // The same id is written in one way only: directories have its name.
    if text.len() == 66 { Ok(NodeId::from(key)) } else { Err(ClientError::Id(text.to_owned())) }
}

/// Where a client's data is.
#[must_use]
pub fn folder(data: &Path, id: NodeId) -> PathBuf {
    data.join(FOLDER).join(id.to_string())
}

/// Lets a client in, or changes its quota.
///
/// # Errors
/// [`ClientError`].
pub fn add(data: &Path, client: &Client) -> Result<(), ClientError> {
    let id = parse_id(&client.id)?;
    if let Some(known) = read(data, id)?
        && known.mode != client.mode
    {
        return Err(ClientError::OtherMode(id, known.mode));
    }
    write(data, id, client)
}

/// Takes no more from a client. What was taken is guarded until it is resolved.
///
/// # Errors
/// [`ClientError`].
pub fn remove(data: &Path, id: NodeId) -> Result<(), ClientError> {
    let known = read(data, id)?.ok_or(ClientError::Unknown(id))?;
    write(data, id, &Client { admitted: false, ..known })
}

/// All clients, in order of their ids.
///
/// # Errors
/// [`ClientError`].
pub fn list(data: &Path) -> Result<Vec<(NodeId, Client)>, ClientError> {
    let path = data.join(FOLDER);
    let failed = |error| ClientError::File(path.clone(), error);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let mut clients = Vec::new();
    for entry in fs::read_dir(&path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        // Whatever else lies there is nobody's.
        let Some(id) = name.to_str().and_then(|name| parse_id(name).ok()) else { continue };
        clients.extend(read(data, id)?.map(|client| (id, client)));
    }
    clients.sort_by_key(|(id, _)| *id);
    Ok(clients)
}

fn read(data: &Path, id: NodeId) -> Result<Option<Client>, ClientError> {
    let path = folder(data, id).join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path).map_err(|error| ClientError::File(path.clone(), error))?;
    serde_json::from_str(&text).map(Some).map_err(|error| ClientError::Damaged(path, error.to_string()))
}

/// The file is whole before it has its name.
fn write(data: &Path, id: NodeId, client: &Client) -> Result<(), ClientError> {
    let folder = folder(data, id);
    let path = folder.join(FILE);
    let failed = |error| ClientError::File(path.clone(), error);
    private_folder(&folder).map_err(failed)?;
    let unfinished = path.with_extension("new");
    let mut file = private_file(&unfinished).map_err(failed)?;
    let text = serde_json::to_string_pretty(client).map_err(|error| failed(error.into()))?;
    writeln!(file, "{text}").and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&unfinished, &path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(id: &str, mode: Mode) -> Client {
        Client { id: id.to_owned(), mode, max_channels: 10, max_bytes: 1_000, admitted: true }
    }

    #[test]
    fn clients_come_back_and_keep_their_mode() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(list(dir.path()).unwrap(), []);
        let id = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
        add(dir.path(), &client(id, Mode::Justice)).unwrap();
        add(dir.path(), &Client { max_bytes: 5, ..client(id, Mode::Justice) }).unwrap();
        assert!(matches!(
            add(dir.path(), &client(id, Mode::Full)),
            Err(ClientError::OtherMode(_, Mode::Justice))
        ));
        let node = parse_id(id).unwrap();
        let known = list(dir.path()).unwrap();
        assert_eq!(known, [(node, Client { max_bytes: 5, ..client(id, Mode::Justice) })]);
        remove(dir.path(), node).unwrap();
        assert!(!list(dir.path()).unwrap()[0].1.admitted);
    }

    #[test]
    fn what_is_no_node_id_is_refused() {
        for wrong in ["", "02", "../../etc", "zz", &"00".repeat(33)] {
            assert!(matches!(parse_id(wrong), Err(ClientError::Id(_))), "{wrong}");
        }
        let uncompressed = "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798\
                            483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8";
        assert!(matches!(parse_id(uncompressed), Err(ClientError::Id(_))));
    }
}
