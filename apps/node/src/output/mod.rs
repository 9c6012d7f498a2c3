//! What commands print: tables for people, JSON for programs, progress while they wait.
//!
//! # Invariants
//! - standard output carries the answer and nothing else; progress and errors go to standard error
mod progress;
mod table;

pub use progress::Progress;
pub use table::{printable, render};

use std::io::IsTerminal as _;

use serde_json::Value;

use crate::api::methods::View;

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON document.
    Json,
    /// For people.
    Table,
}

impl Format {
    /// JSON if asked for or if standard output goes to a program; tables otherwise.
    #[must_use]
    pub fn choose(json: bool) -> Self {
        if json || !std::io::stdout().is_terminal() { Self::Json } else { Self::Table }
    }
}

/// The text of an answer.
#[must_use]
pub fn show(format: Format, view: View, answer: &Value) -> String {
    match format {
        Format::Json => serde_json::to_string_pretty(answer).unwrap_or_else(|_| answer.to_string()),
        Format::Table => render(view, answer),
    }
}

/// The name among `names` that `given` may have been meant as: at most two letters wrong, or its beginning.
pub fn nearest<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_ascii_lowercase();
    names
        .into_iter()
        .map(|name| (distance(&given, name), name))
        .filter(|(distance, name)| *distance <= 2.min(name.len() / 2) || prefix(&given, name))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

fn prefix(given: &str, name: &str) -> bool {
    given.len() >= 3 && name.starts_with(given)
}

/// Insertions, deletions and replacements that make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut next = vec![i.saturating_add(1)];
        let pairs = row.iter().zip(row.iter().skip(1)).zip(&b);
        for ((diagonal, above), other) in pairs {
            let left = next.last().copied().unwrap_or_default();
            let replaced = diagonal.saturating_add(usize::from(letter != *other));
            next.push(replaced.min(above.saturating_add(1)).min(left.saturating_add(1)));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_is_near() {
        let names = ["listen", "alias", "network", "announce"];
        assert_eq!(nearest("lisen", names), Some("listen"));
        assert_eq!(nearest("Netwrok", names), Some("network"));
        assert_eq!(nearest("ann", names), Some("announce"));
        assert_eq!(nearest("colour", names), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
