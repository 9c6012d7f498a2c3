//! What is wrong with a command line, in one sentence.
use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::api::methods;

/// The sentence for `error`.
pub(super) fn sentence(error: &Error) -> String {
    let context = |kind| error.get(kind).map(text).unwrap_or_default();
    let argument = context(ContextKind::InvalidArg);
    let value = context(ContextKind::InvalidValue);
    let what = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let name = context(ContextKind::InvalidSubcommand);
            return match methods::suggest(&name) {
                Some(near) => format!("there is no command {name:?}; did you mean {near}?"),
                None => format!("there is no command {name:?}; `lnode help` lists them"),
            };
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            return "a command is missing; `lnode help` lists them".into();
        }
        ErrorKind::UnknownArgument => match error.get(ContextKind::SuggestedArg) {
            Some(near) => format!("unexpected argument {argument}, did you mean {}?", text(near)),
            None => format!("unexpected argument {argument}"),
        },
        ErrorKind::MissingRequiredArgument => format!("{argument} is missing"),
        ErrorKind::InvalidValue if value.is_empty() => format!("{argument} needs a value"),
        ErrorKind::InvalidValue => {
            format!(
                "{value:?} is no value of {argument}: it must be one of {}",
                context(ContextKind::ValidValue)
            )
        }
        ErrorKind::ValueValidation => format!("{value:?} is no value of {argument}"),
        ErrorKind::ArgumentConflict => {
            format!("{argument} cannot be given twice or with {}", context(ContextKind::PriorArg))
        }
        _ => first_line(&error.to_string()),
    };
    format!("{what}; see `{} --help`", command_of(error))
}

/// The command that was meant, from the usage that clap adds.
fn command_of(error: &Error) -> String {
    let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
    let usage = plain(&usage);
    let words = usage.split_whitespace().skip_while(|word| *word != "lnode");
    let names: Vec<_> = words.take_while(|word| !word.starts_with(['[', '<', '-'])).collect();
    if names.is_empty() { "lnode".into() } else { names.join(" ") }
}

/// `text` without the sequences that color it.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' {
            // A color ends with `m`.
            let _color = letters.by_ref().find(|letter| *letter == 'm');
        } else {
            out.push(letter);
        }
    }
    out
}

fn text(value: &ContextValue) -> String {
    match value {
        ContextValue::String(text) => text.clone(),
        ContextValue::Strings(texts) => texts.join(", "),
        other => plain(&other.to_string()),
    }
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
