//! `lnode wtclient`: which watchtowers guard this node, and how well.
use clap::{Arg, ArgMatches, Command, value_parser};
use serde_json::json;

use super::{Client, print};
use crate::api::methods;
use crate::config::{Config, Sources};
use crate::error::{ApiError, Code};
use crate::output::{self, Format};
use crate::towers::{TowerEntry, TowerList, TowerMode};

pub(super) fn build(command: Command) -> Command {
    let address = Arg::new("address").value_name("ID@HOST:PORT").required(true);
    let mode = Arg::new("mode")
        .long("mode")
        .value_parser(["justice", "full", "blind"])
        .default_value("justice")
        .help(
            "What it may do, and so which keys of each channel it is given; the tower's operator says which",
        );
    let add = Command::new("add")
        .about("Use a watchtower from the next start on")
        .args([address.help("The content of the tower's `tower.address`"), mode]);
    let remove = Command::new("remove")
        .about("Use it no more from the next start on; ask its operator to remove this node too")
        .arg(Arg::new("tower").value_name("NODE_ID").required(true).help("Its node id"));
    let policy = Command::new("policy")
        .about("Show, or change from the next start on, how many towers channels wait for")
        .arg(
            Arg::new("needed")
                .long("needed")
                .value_name("N")
                .value_parser(value_parser!(u32).range(1..=16))
                .help(
                    "How many must hold an update before its channel goes on, this node's own disk counted",
                ),
        )
        .arg(
            Arg::new("max-ahead")
                .long("max-ahead")
                .value_name("N")
                .value_parser(value_parser!(u64))
                .help("How many updates a channel may be ahead while fewer are up; 0 freezes it"),
        );
    command.about("Watchtowers: who guards this node").subcommand_required(true).subcommands([
        add,
        remove,
        policy,
        Command::new("towers").about("List the towers and how they stand"),
        Command::new("coverage").about("Show for each channel how many towers hold its last state"),
    ])
}

pub(super) fn run(given: &ArgMatches, sources: &Sources, format: Format) -> Result<(), ApiError> {
    let config = Config::load(sources)?;
    let text = |given: &ArgMatches, name: &str| given.get_one::<String>(name).cloned().unwrap_or_default();
    match given.subcommand() {
        Some(("towers", _)) => ask(&config, "listtowers", format),
        Some(("coverage", _)) => ask(&config, "coverage", format),
        Some(("add", given)) => change(&config, format, |list| {
            let mode = match text(given, "mode").as_str() {
                "full" => TowerMode::Full,
                "blind" => TowerMode::Blind,
                _ => TowerMode::Justice,
            };
            list.add(TowerEntry { address: text(given, "address"), mode })
        }),
        Some(("remove", given)) => change(&config, format, |list| list.remove(&text(given, "tower"))),
        Some(("policy", given)) => change(&config, format, |list| {
            if let Some(needed) = given.get_one::<u32>("needed") {
                list.needed = *needed as usize;
            }
            if let Some(max_ahead) = given.get_one::<u64>("max-ahead") {
                list.max_ahead = *max_ahead;
            }
            Ok(())
        }),
        _ => Err(ApiError::bad("there is no such command")),
    }
}

/// Asks the running node.
fn ask(config: &Config, name: &str, format: Format) -> Result<(), ApiError> {
    let missing = || ApiError::new(Code::UnknownMethod, format!("there is no method {name}"));
    let method = methods::find(name).ok_or_else(missing)?;
    let answer = Client::new(config)?.call(name, &json!({}))?;
    print(&output::show(format, method.view, &answer));
    Ok(())
}

/// Changes the list on the disk, and shows it.
fn change(
    config: &Config,
    format: Format,
    change: impl FnOnce(&mut TowerList) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    let before = TowerList::load(&config.data_dir)?;
    let mut list = before.clone();
    change(&mut list)?;
    let is_new = list != before;
    if is_new {
        list.store(&config.data_dir)?;
    }
    let towers: Vec<_> = list.towers.iter().map(|tower| json!(tower)).collect();
    let answer = json!({
        "needed": list.needed, "max_ahead": list.max_ahead, "towers": towers, "restart_needed": is_new,
    });
    match format {
        Format::Json => print(&answer.to_string()),
        Format::Table => {
            let towers =
                list.towers.iter().map(|tower| format!("{} ({})\n", tower.address, tower.mode.word()));
            let towers: String = towers.collect();
            let ahead = match list.max_ahead {
                0 => "wait".to_owned(),
                ahead => format!("go on for {ahead} updates"),
            };
            let restart = if is_new { "Restart the node to use this." } else { "" };
            let needed = list.needed;
            print(&format!(
                "{towers}Channels need {needed} that hold an update; with fewer up they {ahead}. {restart}"
            ));
        }
    }
    Ok(())
}
