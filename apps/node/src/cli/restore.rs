//! `lnode restore`: a lost node from its watchtowers.
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::{args, print};
use crate::config::{Config, Sources};
use crate::daemon::{RestoreAnswer, RestoreOptions, restore};
use crate::error::{ApiError, Code};
use crate::logging;
use crate::output::Format;

pub(super) fn build(command: Command) -> Command {
    let towers = Arg::new("from-tower").long("from-tower").value_name("ID@HOST:PORT").required(true);
    let towers = towers.action(ArgAction::Append).num_args(1).help(
        "A watchtower of the lost node, as its `tower.address` says; again for each. Name all that there are: with some left out \
         channels may not be provably at their last state, and are closed",
    );
    let seed =
        Arg::new("seed-file").long("seed-file").value_name("PATH").value_parser(value_parser!(PathBuf));
    let seed = seed.help("The file with the seed words [default: `seed` in the data directory]");
    let birthday =
        Arg::new("birthday").long("birthday").value_name("HEIGHT").value_parser(value_parser!(u32));
    let birthday = birthday.help(
        "The block from which on the wallet looks for its coins [default: the first that can have any]",
    );
    let assume = Arg::new("assume-newest").long("assume-newest").action(ArgAction::SetTrue).help(
        "Take what the towers have for the last state though nothing proves it: you know that they were up until the end. Should it \
         be old, the channel can be lost",
    );
    let dry_run = Arg::new("dry-run").long("dry-run").action(ArgAction::SetTrue);
    let dry_run = dry_run
        .help("Only show what would be restored: nothing is written, and no other instance is stopped");
    command
        .about("Restore a lost node and its live channels from its watchtowers, by its seed")
        .args([towers, seed, birthday, assume, dry_run])
        .args(args::settings())
}

pub(super) fn run(given: &ArgMatches, sources: &Sources, format: Format) -> Result<(), ApiError> {
    let config = Config::load(sources)?;
    logging::start(&config.log)?;
    let options = RestoreOptions {
        towers: given.get_many::<String>("from-tower").into_iter().flatten().cloned().collect(),
        seed_file: given.get_one::<PathBuf>("seed-file").cloned(),
        birthday: given.get_one::<u32>("birthday").copied(),
        assume_newest: given.get_flag("assume-newest"),
        dry_run: given.get_flag("dry-run"),
    };
    let answer = restore(&config, &options)?;
    match format {
        Format::Json => {
            let text = serde_json::to_string(&answer);
            print(&text.map_err(|error| ApiError::new(Code::Internal, error.to_string()))?);
        }
        Format::Table => print(&told(&answer)),
    }
    Ok(())
}

fn told(answer: &RestoreAnswer) -> String {
    let mut lines = vec![format!("Node {}", answer.node_id)];
    for tower in &answer.towers {
        lines.push(match tower.trouble.as_str() {
            "" => format!("Tower {} ({} mode) has {} channels.", tower.address, tower.mode, tower.channels),
            trouble => format!("Tower {} cannot be used: {trouble}", tower.address),
        });
    }
    for channel in &answer.channels {
        let why = if channel.why.is_empty() { String::new() } else { format!(": {}", channel.why) };
        lines.push(format!(
            "Channel {} of {} sat with {} at update {}, held by {}: {}{why}",
            channel.channel_id,
            channel.capacity_sat,
            channel.peer_id,
            channel.update,
            channel.held_by,
            channel.state
        ));
    }
    lines.extend(answer.notes.iter().map(|note| format!("- {note}")));
    lines.push(match answer.restored {
        true => "Restored. Start it with `lnode run`.".to_owned(),
        false => "Nothing was written.".to_owned(),
    });
    lines.join("\n")
}
