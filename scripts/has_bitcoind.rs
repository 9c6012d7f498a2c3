//! Build script for packages whose tests need a real bitcoind: sets `cfg(has_bitcoind)` if there is one.
//!
//! Looked for in `BITCOIND_EXE`, then on `PATH` (install one with `scripts/bitcoind.sh`). A package opts in by
//! `build = "../../scripts/has_bitcoind.rs"` under `[package]`, and such a test then says
//! `#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]`, so that without a bitcoind
//! it is reported as ignored, with the reason, and never as passed. The test takes its path by
//! `env!("BITCOIND_FOUND")`, which is empty where there is none.
#![allow(clippy::disallowed_methods, reason = "a build script reads the environment")]
use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(has_bitcoind)");
    println!("cargo::rerun-if-env-changed=BITCOIND_EXE");
    println!("cargo::rerun-if-env-changed=PATH");
    let named = env::var_os("BITCOIND_EXE").map(PathBuf::from).into_iter();
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|folder| folder.join("bitcoind"));
    let found = named.chain(on_path).find(|candidate| candidate.is_file());
    if let Some(found) = &found {
        println!("cargo::rustc-cfg=has_bitcoind");
        println!("cargo::rerun-if-changed={}", found.display());
    }
    println!("cargo::rustc-env=BITCOIND_FOUND={}", found.unwrap_or_default().display());
}
