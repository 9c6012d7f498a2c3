//! `lnode`: a Lightning node and its client.
use std::process::ExitCode;

fn main() -> ExitCode {
    lightning_node::main()
}
