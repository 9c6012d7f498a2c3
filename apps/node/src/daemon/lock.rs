//! One node to a data directory: two would sign for the same channels.
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

use crate::error::{ApiError, Code};

const LOCK_FILE: &str = "lnode.lock";

/// The right to use a data directory, as long as this lives. The system takes it back when the process ends, however
/// that happens.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    /// Makes the directory if need be, and takes it.
    ///
    /// # Errors
    /// [`Code::DatabaseInUse`] when another process has it, [`Code::Disk`] when it cannot be used.
    pub fn take(data_dir: &Path) -> Result<Self, ApiError> {
        let disk = |error: &io::Error| {
            ApiError::new(Code::Disk, format!("{} cannot be used: {error}", data_dir.display()))
                .hint("check its rights, or choose another directory with --dir")
        };
        fs::create_dir_all(data_dir).map_err(|error| disk(&error))?;
        let file = File::create(data_dir.join(LOCK_FILE)).map_err(|error| disk(&error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::Error(error)) => Err(disk(&error)),
            Err(TryLockError::WouldBlock) => {
                let message = format!("another node runs on {}", data_dir.display());
                Err(ApiError::new(Code::DatabaseInUse, message)
                    .hint("stop it with `lnode stop`, or choose another directory with --dir"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_has_one_owner_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("regtest");
        let lock = DirLock::take(&data).unwrap();
        assert_eq!(DirLock::take(&data).unwrap_err().code, Code::DatabaseInUse);
        drop(lock);
        assert!(DirLock::take(&data).is_ok());
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(DirLock::take(&file).unwrap_err().code, Code::Disk);
    }
}
