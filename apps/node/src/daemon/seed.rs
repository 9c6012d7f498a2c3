//! The seed file: made once, read ever after, readable by its owner only.
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use bitcoin::hashes::{Hash as _, HashEngine as _, Hmac, HmacEngine, sha256};
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
    /// The words are wrong.
    #[error("the seed file {0} does not hold seed words: {1}; restore it from your backup")]
    Words(PathBuf, String),
}

/// The wallet's seed and the node's, both from the words in `data_dir/seed`.
pub(crate) fn open(data_dir: &Path) -> Result<(WalletSeed, Seed), SeedError> {
    let path = data_dir.join("seed");
    if !path.exists() {
        create(&path)?;
    }
    let words = fs::read_to_string(&path).map_err(|error| SeedError::File(path.clone(), error))?;
    of_words(&words, &path)
}

/// Both seeds from the words of the file at `path`.
pub(crate) fn of_words(words: &str, path: &Path) -> Result<(WalletSeed, Seed), SeedError> {
    let wallet = WalletSeed::Mnemonic { words: words.trim().to_owned(), passphrase: String::new() };
    let words = wallet.words().map_err(|error| SeedError::Words(path.to_owned(), error.to_string()))?;
    let mut engine = HmacEngine::<sha256::Hash>::new(b"lnode node seed");
    engine.input(words.as_bytes());
    Ok((wallet, Seed::new(Hmac::from_engine(engine).to_byte_array())))
}

/// Makes new words.
fn create(path: &Path) -> Result<(), SeedError> {
    let mut entropy = [0_u8; 16];
    getrandom::fill(&mut entropy).map_err(|error| SeedError::Entropy(error.to_string()))?;
    let words = WalletSeed::Entropy(entropy.to_vec()).words();
    let words = words.map_err(|error| SeedError::Words(path.to_path_buf(), error.to_string()))?;
    store(path, &words)
}

/// Puts words into `data_dir/seed`.
pub(crate) fn write(data_dir: &Path, words: &str) -> Result<(), SeedError> {
    let path = data_dir.join("seed");
    if path.exists() { Ok(()) } else { store(&path, words) }
}

/// The file is whole before it has its name, so a crash leaves no half seed behind.
fn store(path: &Path, words: &str) -> Result<(), SeedError> {
    let failed = |error| SeedError::File(path.to_path_buf(), error);
    let unfinished = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&unfinished).map_err(failed)?;
    writeln!(file, "{words}").and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&unfinished, path).map_err(failed)
}
