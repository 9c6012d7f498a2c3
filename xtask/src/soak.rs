//! The soak of the daemons, as long as wanted, with the program as it is released.
//!
//! Role: one command for what is a test with an environment variable; a short run of it is among the tests of `lightning-node`.
use std::process::Command;

use crate::report::Failure;
use crate::tree::{Tree, cargo};

const ARGUMENTS: [&str; 8] =
    ["test", "--release", "--package", "lightning-node", "--test", "soak", "--", "--nocapture"];

/// Runs it for so many minutes; what it prints goes where ours goes.
pub(crate) fn run(tree: &Tree, minutes: u64) -> Result<(), Failure> {
    let mut command = Command::new(cargo());
    command.args(ARGUMENTS).env("SOAK_MINUTES", minutes.to_string()).current_dir(&tree.root);
    let message = match command.status() {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    Err(Failure::Command { command: format!("{command:?}"), message })
}
