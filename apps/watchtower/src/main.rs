//! `lntower`: guards the channels of other nodes.
use std::process::ExitCode;

fn main() -> ExitCode {
    lightning_watchtower::main()
}
