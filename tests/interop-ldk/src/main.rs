//! `lnode` as this package's tests run it: the same program, built in the same run of cargo as they are.
use std::process::ExitCode;

fn main() -> ExitCode {
    lightning_node::main()
}
