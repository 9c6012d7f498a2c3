//! The command line: what was asked, done, printed.
//!
//! `args.rs` builds the commands from the table of methods, `usage.rs` says in one sentence what is wrong with a
//! command line, `client.rs` speaks with the node, `wait.rs` waits for payments and channels, `local.rs` has the commands
//! that need no node, `miner.rs` those about the embedded chain, `towers.rs` and `restore.rs` those about watchtowers.
//!
//! # Invariants
//! - exit codes are those of [`Exit`]: 0 done, 1 error, 2 usage, 3 payment failed, 4 node unreachable
mod args;
mod client;
mod completions;
mod local;
mod miner;
mod restore;
mod towers;
mod usage;
mod wait;

pub use client::Client;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::ArgMatches;
use serde_json::Value;

use crate::api::methods::{self, Method};
use crate::config::{Config, Sources};
use crate::error::{ApiError, Exit};
use crate::output::{self, Format};

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    run(std::env::args_os()).into()
}

/// Does what `arguments` say, the name of the program first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let matches = match args::command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) if !error.use_stderr() => {
            print(&error.render().to_string());
            return Exit::Ok;
        }
        Err(error) => {
            eprintln!("lnode: {}", usage::sentence(&error));
            return Exit::Usage;
        }
    };
    let Some((name, given)) = matches.subcommand() else { return Exit::Usage };
    let json = given.get_flag(args::JSON);
    match dispatch(name, given, Format::choose(json)) {
        Ok(exit) => exit,
        Err(error) => {
            report(&error, json);
            error.code.exit()
        }
    }
}

fn dispatch(name: &str, given: &ArgMatches, format: Format) -> Result<Exit, ApiError> {
    let sources = args::sources(given);
    match methods::find(name) {
        Some(method) => call(method, given, &sources, format),
        None => local::run(name, given, &sources, format),
    }
}

/// A command that the node answers.
fn call(method: &Method, given: &ArgMatches, sources: &Sources, format: Format) -> Result<Exit, ApiError> {
    let request = args::request(method, given)?;
    let client = Client::new(&Config::load(sources)?)?;
    let answer = client.call(method.name, &request)?;
    let (answer, end) = match wait::options(method.wait, given) {
        Some(limit) => wait::until_done(&client, method.wait, answer, limit),
        None => (answer, Ok(())),
    };
    print(&output::show(format, method.view, &answer));
    end.map(|()| Exit::Ok)
}

/// Prints to standard output; who closed it does not want to know.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _closed = writeln!(out, "{}", text.trim_end());
}

/// Prints an error: one sentence for people, the whole for programs.
fn report(error: &ApiError, json: bool) {
    if json {
        eprintln!("{}", serde_json::to_value(error).unwrap_or(Value::Null));
    } else {
        // Peers and bitcoind are quoted in errors.
        eprintln!("lnode: {} ({})", output::printable(&error.to_string()), error.code);
    }
}
