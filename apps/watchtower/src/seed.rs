//! The tower's own seed: made once, read ever after, readable by its owner only.
//!
//! It gives the tower's node id, the key that signs its statements, and the wallet that pays fees. It opens no channel of a
//! client.
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use lightning_keys::Seed;
use lightning_wallet_bdk::WalletSeed;
use thiserror::Error;

/// Why there is no seed.
#[derive(Debug, Error)]
pub enum SeedError {
    /// The file cannot be read or written.
    #[error("the seed file {0} cannot be used: {1}")]
    File(PathBuf, std::io::Error),
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness: {0}")]
    Entropy(String),
    /// The file holds something else.
    #[error("the seed file {0} does not hold 64 hexadecimal digits; restore it from your backup")]
    Damaged(PathBuf),
}

/// The wallet's seed and the tower's, both from `data/seed`.
///
/// # Errors
/// [`SeedError`]; nothing was changed.
pub fn open(data: &Path) -> Result<(WalletSeed, Seed), SeedError> {
    let path = data.join("seed");
    if !path.exists() {
        create(&path)?;
    }
    let text = fs::read_to_string(&path).map_err(|error| SeedError::File(path.clone(), error))?;
    let bytes = <[u8; 32] as bitcoin::hex::FromHex>::from_hex(text.trim());
    let seed = Seed::new(bytes.map_err(|_| SeedError::Damaged(path))?);
    let wallet = WalletSeed::Entropy(seed.child("lntower wallet").as_bytes().to_vec());
    Ok((wallet, seed.child("lntower node")))
}

/// Makes a new one. The file is whole before it has its name, so a crash leaves no half seed behind.
fn create(path: &Path) -> Result<(), SeedError> {
    let mut entropy = [0_u8; 32];
    getrandom::fill(&mut entropy).map_err(|error| SeedError::Entropy(error.to_string()))?;
    let text = bitcoin::hex::DisplayHex::to_lower_hex_string(entropy.as_slice());
    let failed = |error| SeedError::File(path.to_path_buf(), error);
    let unfinished = path.with_extension("new");
    let mut file = private_file(&unfinished).map_err(failed)?;
    writeln!(file, "{text}").and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&unfinished, path).map_err(failed)
}

/// A new file that only its owner can read.
pub(crate) fn private_file(path: &Path) -> std::io::Result<fs::File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A directory that only its owner can enter, made if need be.
pub(crate) fn private_folder(path: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
