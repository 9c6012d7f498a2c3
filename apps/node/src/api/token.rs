//! The files by which commands find and may use the API of a node that runs on the same machine.
//!
//! # Invariants
//! - only the owner can read the token; it is never logged, printed or taken from a command line
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bitcoin::hex::{DisplayHex as _, FromHex as _};
use subtle::ConstantTimeEq as _;

use crate::error::{ApiError, Code};

/// The token's file in the data directory.
pub const TOKEN_FILE: &str = "admin.token";
/// The file in the data directory with the address of a node that runs; for port 0 there is no other way to know.
pub const ADDRESS_FILE: &str = "api.address";

/// The secret of the API.
#[derive(Clone)]
pub(super) struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// The token of `data_dir`; made if there is none.
    pub(super) fn load_or_make(data_dir: &Path) -> Result<Self, ApiError> {
        let path = data_dir.join(TOKEN_FILE);
        if path.exists() {
            return Ok(Self(read_token(data_dir)?));
        }
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)
            .map_err(|error| ApiError::new(Code::Internal, format!("no randomness: {error}")))?;
        let token = bytes.to_lower_hex_string();
        write_private(&path, &token).map_err(|error| disk(&path, "written", &error))?;
        Ok(Self(token))
    }

    /// Whether `given` is it, in a time that does not tell where they differ.
    pub(super) fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

/// The token of the node whose data is in `data_dir`.
///
/// # Errors
/// [`Code::NoToken`] when there is none or it cannot be read.
pub fn read_token(data_dir: &Path) -> Result<String, ApiError> {
    let path = data_dir.join(TOKEN_FILE);
    let text = fs::read_to_string(&path).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            let message = format!("there is no token for the API in {}", data_dir.display());
            return ApiError::new(Code::NoToken, message)
                .hint("start the node with `lnode run`, or name its directory with --dir and --network");
        }
        ApiError::new(Code::NoToken, format!("the token {} cannot be read: {error}", path.display()))
            .hint("run the command as the user who runs the node")
    })?;
    let token = text.trim();
    if <[u8; 32]>::from_hex(token).is_err() {
        let message = format!("the token {} is damaged", path.display());
        return Err(
            ApiError::new(Code::NoToken, message).hint("delete it and restart the node: it makes another")
        );
    }
    Ok(token.to_owned())
}

/// The file with the address of a running node, removed when this is dropped.
#[derive(Debug)]
pub(super) struct AddressFile(PathBuf);

impl AddressFile {
    pub(super) fn write(data_dir: &Path, address: SocketAddr) -> Result<Self, ApiError> {
        let path = data_dir.join(ADDRESS_FILE);
        write_private(&path, &address.to_string()).map_err(|error| disk(&path, "written", &error))?;
        Ok(Self(path))
    }
}

impl Drop for AddressFile {
    fn drop(&mut self) {
        let _removed = fs::remove_file(&self.0);
    }
}

fn disk(path: &Path, done: &str, error: &io::Error) -> ApiError {
    ApiError::new(Code::Disk, format!("{} cannot be {done}: {error}", path.display()))
        .hint("check the rights of the directory and the space on the disk")
}

/// Writes a file that only its owner may read, whole or not at all.
fn write_private(path: &Path, content: &str) -> io::Result<()> {
    let draft = path.with_extension("tmp");
    // A draft that was left behind may have other rights.
    let _removed = fs::remove_file(&draft);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let token = Token::load_or_make(dir.path()).unwrap();
        let text = read_token(dir.path()).unwrap();
        assert!(token.is(&text));
        assert!(!token.is("") && !token.is(&text.to_uppercase().replace('A', "b")));
        assert!(Token::load_or_make(dir.path()).unwrap().is(&text));
        assert!(!format!("{token:?}").contains(&text));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(dir.path().join(TOKEN_FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn damaged_token_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(TOKEN_FILE), "abc").unwrap();
        assert_eq!(Token::load_or_make(dir.path()).unwrap_err().code, Code::NoToken);
        assert_eq!(fs::read_to_string(dir.path().join(TOKEN_FILE)).unwrap(), "abc");
    }
}
