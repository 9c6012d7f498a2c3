//! The commands, built from the tables of methods and settings.
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::{Map, Value};

use super::local;
use crate::api::kind::{Kind, Writer};
use crate::api::methods::{METHODS, Method, Place, Wait};
use crate::config::Sources;
use crate::config::keys::{KEYS, Key, KeyKind};
use crate::error::ApiError;

/// Ids of the flags that are in no table.
pub(super) const JSON: &str = "json";
pub(super) const DIR: &str = "dir";
pub(super) const CONFIG: &str = "config-file";
pub(super) const WAIT: &str = "wait";
pub(super) const NO_WAIT: &str = "no-wait";
pub(super) const TIMEOUT: &str = "timeout";

/// All commands.
pub(super) fn command() -> Command {
    let root = Command::new("lnode")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A Lightning node (`lnode run`) and its client (all other commands)")
        .after_help("Exit codes: 0 done, 1 error, 2 usage, 3 payment failed, 4 node unreachable.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .infer_subcommands(false)
        .max_term_width(100)
        .args(globals());
    let root = local::commands().into_iter().fold(root, Command::subcommand);
    METHODS.iter().map(method_command).fold(root, Command::subcommand)
}

fn globals() -> Vec<Arg> {
    let path = |id: &'static str, long: &'static str, help: &'static str| {
        Arg::new(id).long(long).value_name("PATH").value_parser(value_parser!(PathBuf)).help(help)
    };
    let mut globals = vec![
        path(DIR, "dir", "Directory of all data and of config.toml [env: LNODE_DIR] [default: ~/.lnode]"),
        path(
            CONFIG,
            "config",
            "Configuration file [env: LNODE_CONFIG] [default: config.toml in the directory]",
        ),
        Arg::new(JSON).long("json").action(ArgAction::SetTrue).help("Print JSON, as is done when piped"),
    ];
    globals.extend(KEYS.iter().filter(|key| key.global).map(setting));
    globals.into_iter().map(|arg| arg.global(true).help_heading("Options of all commands")).collect()
}

/// The flags of all settings, for the commands that run something.
pub(super) fn settings() -> impl Iterator<Item = Arg> {
    KEYS.iter().filter(|key| !key.global && key.kind != KeyKind::Secret).map(setting)
}

fn setting(key: &'static Key) -> Arg {
    let default = if key.default.is_empty() { String::new() } else { format!(" [default: {}]", key.default) };
    let arg = Arg::new(key.name)
        .long(key.flag())
        .help(format!("{} [env: {}]{default}", key.help, key.env()))
        // An address such as `:0` and a number below zero are values, the latter a wrong one.
        .allow_hyphen_values(false);
    match key.kind {
        KeyKind::Word(words) => arg.value_name("WORD").value_parser(PossibleValuesParser::new(words)),
        KeyKind::Bool => arg.value_name("BOOL").value_parser(["true", "false"]),
        KeyKind::Text | KeyKind::Secret => arg.value_name("TEXT"),
        KeyKind::Path => arg.value_name("PATH"),
        KeyKind::Socket => arg.value_name("HOST:PORT"),
        KeyKind::Sockets | KeyKind::Addresses => arg.value_name("HOST:PORT").action(ArgAction::Append),
        KeyKind::Nodes => arg.value_name("NODE_ID").action(ArgAction::Append),
        KeyKind::Number(..) => arg.value_name("N"),
    }
}

fn method_command(method: &'static Method) -> Command {
    let mut command = Command::new(method.name).about(method.help).aliases(method.aliases.iter().copied());
    if !method.aliases.is_empty() {
        command = command.after_help(format!("Also called: {}", method.aliases.join(", ")));
    }
    for param in method.params {
        let arg = Arg::new(param.name).help(param.help);
        let arg = match param.place {
            Place::Required => arg.required(true),
            Place::Optional => arg,
            Place::Flag(flag) => arg.long(flag),
        };
        command = command.arg(match (param.place, param.kind) {
            (Place::Flag(_), Kind::Flag) => arg.action(ArgAction::SetTrue),
            (Place::Flag(_), kind) => arg.value_name(kind.placeholder()),
            (Place::Required | Place::Optional, _) => arg.value_name(param.title().to_uppercase()),
        });
    }
    command.args(wait_args(method.wait))
}

fn wait_args(wait: Wait) -> Vec<Arg> {
    let timeout = Arg::new(TIMEOUT)
        .long("timeout")
        .value_name("SECONDS")
        .value_parser(value_parser!(u64).range(1..=31_536_000))
        .help("Give up waiting after this time; what was begun goes on");
    let flag =
        |id: &'static str, help: &'static str| Arg::new(id).long(id).action(ArgAction::SetTrue).help(help);
    match wait {
        Wait::No => Vec::new(),
        Wait::Payment => vec![flag(NO_WAIT, "Do not wait for the end of the payment"), timeout],
        Wait::Open => vec![flag(WAIT, "Wait until the channel can be used"), timeout.requires(WAIT)],
        Wait::Close => vec![flag(WAIT, "Wait until the channel is closed for good"), timeout.requires(WAIT)],
    }
}

/// Where the configuration is, and the settings given as flags.
pub(super) fn sources(given: &ArgMatches) -> Sources {
    let path = |id| given.get_one::<PathBuf>(id).cloned();
    let flags = KEYS.iter().filter_map(|key| {
        // Not every command has every flag.
        let values = given.try_get_many::<String>(key.name).ok().flatten()?;
        Some((key.name, values.map(String::as_str).collect::<Vec<_>>().join(",")))
    });
    Sources { dir: path(DIR), config: path(CONFIG), flags: flags.collect() }
}

/// The parameters of a method, checked.
pub(super) fn request(method: &Method, given: &ArgMatches) -> Result<Value, ApiError> {
    let mut request = Map::new();
    for param in method.params {
        let value = match (param.place, param.kind) {
            (Place::Flag(_), Kind::Flag) => given.get_flag(param.name).then_some(Value::Bool(true)),
            _ => given.get_one::<String>(param.name).map(|text| Value::String(text.clone())),
        };
        request.extend(value.map(|value| (param.name.to_owned(), value)));
    }
    method.read(&request, Writer::Person)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_consistent() {
        // Doubled names, flags and positions panic here.
        command().debug_assert();
        assert_eq!(command().get_subcommands().count(), METHODS.len() + local::commands().len());
    }
}
