//! Finds and reads the vector files beside the workspace.
use std::path::PathBuf;

use bitcoin::hex::FromHex;
use secp256k1::{PublicKey, SecretKey};
use serde_json::Value;

/// The vectors of one file, or `None` (and a line that says so) where the shared directory does not exist.
pub(crate) fn load(file: &str) -> Option<Value> {
    let beside = || Some(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")));
    let root = std::env::var_os("LN_SHARED").map(PathBuf::from).or_else(beside)?;
    if !root.is_dir() {
        eprintln!("SKIPPED: {file}: no vectors; set LN_SHARED to the directory that holds `vectors/`");
        return None;
    }
    let text = std::fs::read_to_string(root.join("vectors").join(file)).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    Vec::from_hex(value.as_str().unwrap()).unwrap()
}

pub(crate) fn array(value: &Value) -> [u8; 32] {
    bytes(value).try_into().unwrap()
}

pub(crate) fn key(value: &Value) -> PublicKey {
    PublicKey::from_slice(&bytes(value)).unwrap()
}

/// A private key, where it has one without its trailing marker of a compressed key.
pub(crate) fn secret(value: &Value) -> SecretKey {
    let bytes = bytes(value);
    SecretKey::from_slice(&bytes[..32]).unwrap()
}

pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

pub(crate) fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap()
}
