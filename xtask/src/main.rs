//! `cargo xtask <check>`: checks the house, so that its rules need no memory and no goodwill.
//!
//! | check | proves |
//! | --- | --- |
//! | `tidy` | crate graph (I2), headers and sizes (I12), global state (I1), money arithmetic (I8), hash maps (I10), manifests, locked versions, documents, and that no test is empty |
//! | `nostd` | the component crates compile without std (I1), and the check notices std when it is there |
//! | `wasm` | one module with every component linked in imports nothing (I1) |
//! | `multiples` | nothing: it writes `lightning-traits/src/curve/multiples.bin` (`docs/adr/0015`), which tests check |
//! | `soak [--minutes N]` | three released daemons under mixed traffic and `kill -9` lose nothing (`apps/node/tests/soak/`) |
//! | `mutants` | the simulator finds known bugs that are planted in a copy; `--only ID` for some, `--quick` for a few within few seeds; `--check`: each patch applies and was caught |
//! | `tested <log>` | what `cargo test --workspace` printed: every package was tested, nothing was skipped |
//!
//! Each check is fed a violating sample in its own unit tests: a check that cannot fail proves nothing.
#![allow(clippy::disallowed_methods, reason = "a tool of the host: it reads the tree and runs cargo (I1)")]

mod multiples;
mod mutants;
mod probe;
mod report;
mod soak;
mod tested;
mod tidy;
mod tree;
mod wasm;

use std::process::ExitCode;

use report::Failure;
use tree::Tree;

const USAGE: &str = "usage: cargo xtask <tidy | nostd | wasm | all | multiples | soak [--minutes N] | tested LOG \
    | mutants [--check | --quick | [--seeds N] [--only ID ...]]>";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Failure> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let tree = Tree::of_workspace()?;
    match arguments.as_slice() {
        ["tidy"] => tidy::run(&tree),
        ["nostd"] => probe::nostd(&tree),
        ["wasm"] => probe::wasm(&tree),
        ["multiples"] => multiples::write(&tree),
        ["soak"] => soak::run(&tree, 30),
        ["soak", "--minutes", minutes] => match minutes.parse() {
            Ok(minutes) => soak::run(&tree, minutes),
            Err(_) => Err(Failure::Usage(USAGE)),
        },
        ["mutants", rest @ ..] => mutants::run(&tree, rest),
        ["tested", log] => tested::run(&tree, log),
        ["all"] => {
            tidy::run(&tree)?;
            probe::nostd(&tree)?;
            probe::wasm(&tree)
        }
        _ => Err(Failure::Usage(USAGE)),
    }
}
