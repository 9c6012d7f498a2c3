//! Completion of commands and flags for shells, from the same tables as the commands themselves.
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command};

use super::{args, print};
use crate::config::Sources;
use crate::error::ApiError;
use crate::output::Format;

const SHELL: &str = "shell";

pub(super) fn build(command: Command) -> Command {
    let shells = PossibleValuesParser::new(["bash", "zsh", "fish"]);
    command
        .about("Print the completion script of a shell")
        .after_help("bash and zsh: eval \"$(lnode completions bash)\"; fish: lnode completions fish | source")
        .arg(Arg::new(SHELL).value_name("SHELL").value_parser(shells).required(true))
}

pub(super) fn run(given: &ArgMatches, _: &Sources, _: Format) -> Result<(), ApiError> {
    let mut root = args::command();
    root.build();
    print(&match given.get_one::<String>(SHELL).map(String::as_str) {
        Some("fish") => fish(&root),
        Some("zsh") => format!("autoload -U bashcompinit && bashcompinit\n{}", bash(&root)),
        _ => bash(&root),
    });
    Ok(())
}

fn flags(command: &Command) -> Vec<String> {
    command.get_arguments().filter_map(Arg::get_long).map(|long| format!("--{long}")).collect()
}

fn bash(root: &Command) -> String {
    let names: Vec<_> = root.get_subcommands().map(Command::get_name).collect();
    let cases: String = root
        .get_subcommands()
        .map(|command| format!("    {}) words=\"{}\" ;;\n", command.get_name(), flags(command).join(" ")))
        .collect();
    format!(
        "_lnode() {{\n  local words=\"{}\"\n  if [ \"$COMP_CWORD\" -gt 1 ]; then case \"${{COMP_WORDS[1]}}\" in\n{cases}  \
         esac; fi\n  COMPREPLY=($(compgen -W \"$words\" -- \"${{COMP_WORDS[COMP_CWORD]}}\"))\n}}\ncomplete -o default -F \
         _lnode lnode",
        names.join(" ")
    )
}

fn fish(root: &Command) -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
    let about = |command: &Command| command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut lines = Vec::new();
    for command in root.get_subcommands() {
        let name = command.get_name();
        let help = quoted(&about(command));
        lines.push(format!("complete -c lnode -n __fish_use_subcommand -f -a {name} -d '{help}'"));
        for arg in command.get_arguments() {
            let (Some(long), help) = (arg.get_long(), arg.get_help().map(ToString::to_string)) else {
                continue;
            };
            let help = quoted(&help.unwrap_or_default());
            lines.push(format!(
                "complete -c lnode -n '__fish_seen_subcommand_from {name}' -l {long} -d '{help}'"
            ));
        }
    }
    lines.join("\n")
}
