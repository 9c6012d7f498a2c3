//! Why the store fails, each in a sentence that says what to do.
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why the store fails.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the file open.
    #[error("{0} is in use by another process: is a node already running on this data directory?")]
    InUse(PathBuf),
    /// The file is damaged, or no store of ours.
    #[error(
        "{0} is damaged or not a store of this program ({1}): restore it from a backup; do not delete it, it holds your channels"
    )]
    Corrupt(PathBuf, String),
    /// A later version wrote the file.
    #[error(
        "{path} was written by a newer version (format {found}, this program knows {known}): upgrade this program"
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The newest format that this code reads.
        known: u64,
    },
    /// The directory is missing, the disk is full, or it fails.
    #[error("the disk failed: {0}; nothing was lost, but nothing can be signed until it is mended")]
    Disk(String),
    /// Something inside the file that should be there is not.
    #[error("the store holds a value that does not decode: {0}")]
    Damaged(String),
}

impl StoreError {
    pub(crate) fn disk(error: impl Into<redb::Error>) -> Self {
        match error.into() {
            redb::Error::Corrupted(reason) => Self::Corrupt(PathBuf::from("the store"), reason),
            other => Self::Disk(other.to_string()),
        }
    }

    pub(crate) fn opening(path: &Path, error: redb::DatabaseError) -> Self {
        let at = path.to_path_buf();
        match error {
            redb::DatabaseError::DatabaseAlreadyOpen => Self::InUse(at),
            redb::DatabaseError::Storage(redb::StorageError::Io(io))
                if io.kind() != std::io::ErrorKind::InvalidData
                    && io.kind() != std::io::ErrorKind::UnexpectedEof =>
            {
                Self::Disk(format!("{}: {io}", path.display()))
            }
            other => Self::Corrupt(at, other.to_string()),
        }
    }

    /// Names the file.
    pub(crate) fn at(self, path: &Path) -> Self {
        match self {
            Self::Corrupt(_, reason) => Self::Corrupt(path.to_path_buf(), reason),
            Self::NewerFormat { found, known, .. } => {
                Self::NewerFormat { path: path.to_path_buf(), found, known }
            }
            other => other,
        }
    }
}
