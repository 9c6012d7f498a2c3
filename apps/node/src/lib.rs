//! The program `lnode`: a daemon that is a Lightning node, and the commands that are its client.
//!
//! `api/methods.rs` is the one table that both are made of: the commands and their flags, the HTTP routes and their
//! parameters, and how answers are shown. `api/backend.rs` says what a node must be able to do; `daemon/` does it.
//!
//! # Invariants
//! - a command ends with one of the codes of [`error::Exit`], and with one sentence when it failed
//! - no secret is printed, logged, or taken from the command line
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "programs are where the outside world is touched (I1)"
)]

pub mod api;
pub mod chain;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod error;
pub mod logging;
pub mod output;
pub mod towers;

pub use cli::main;
