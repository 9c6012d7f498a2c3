//! The table of results in `sim/mutants/README.md`, which is written by the runs themselves.
//!
//! Each row carries a digest of its patch, so that a patch that changed since it was last caught shows.
use std::fs;
use std::path::{Path, PathBuf};

use crate::report::Failure;

use super::Found;
use super::patch::Mutant;

const HEAD: &str = "\
# Planted bugs

Each patch re-creates one known kind of bug, whose id is the one under which `RELIABILITY` lists it. `cargo xtask mutants`
plants them one at a time in a copy of the workspace, runs the simulator there until an oracle speaks, and checks that the
seed that failed passes without the patch. What lies where the simulator does not go, in the watchtower and what it follows the
chain with, must make a test fail that passes without it. It wrote the table below; `cargo xtask mutants --check` fails when a
patch does not apply any more, when one is missing, or when one has changed since it was caught.

| id | what is planted | profile, or package | caught by | first seed | patch |
| --- | --- | --- | --- | --- | --- |
";

/// What stands for the seed of a test.
const NO_SEED: &str = "none";

/// One row: how a mutant was caught.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) id: String,
    what: String,
    /// The profile of the simulator, or the package whose test it was.
    place: String,
    caught: String,
    /// None of a test.
    pub(super) seed: Option<u64>,
    pub(super) digest: String,
}

impl Row {
    pub(super) fn new(mutant: &Mutant, found: &Found) -> Self {
        let cell = |text: &str| text.replace('|', "/").trim().to_owned();
        Self {
            id: mutant.id.clone(),
            what: cell(&mutant.what),
            place: mutant.place().to_owned(),
            caught: cell(&found.by),
            seed: found.seed,
            digest: mutant.digest.clone(),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let cells: Vec<&str> = line.trim().strip_prefix('|')?.strip_suffix('|')?.split('|').collect();
        let [id, what, place, caught, seed, digest] = cells.as_slice() else { return None };
        let text = |cell: &str| cell.trim().to_owned();
        Some(Self {
            id: text(id),
            what: text(what),
            place: text(place),
            caught: text(caught),
            // The head of the table has neither a number here nor this.
            seed: if seed.trim() == NO_SEED { None } else { Some(seed.trim().parse().ok()?) },
            digest: text(digest),
        })
    }

    fn line(&self) -> String {
        let Self { id, what, place, caught, seed, digest } = self;
        let seed = seed.map_or(NO_SEED.to_owned(), |seed| seed.to_string());
        format!("| {id} | {what} | {place} | {caught} | {seed} | {digest} |\n")
    }
}

fn path(root: &Path) -> PathBuf {
    root.join("sim").join("mutants").join("README.md")
}

/// The rows as they are stored; none when there is no table.
pub(super) fn read(root: &Path) -> Vec<Row> {
    let text = fs::read_to_string(path(root)).unwrap_or_default();
    text.lines().filter_map(Row::parse).collect()
}

/// Puts a row in the place of the one with its id.
pub(super) fn note(root: &Path, row: Row) -> Result<(), Failure> {
    let mut rows = read(root);
    rows.retain(|known| known.id != row.id);
    rows.push(row);
    rows.sort_by_key(|row| order(&row.id));
    let text = HEAD.to_owned() + &rows.iter().map(Row::line).collect::<String>();
    let path = path(root);
    fs::write(&path, text).map_err(|error| Failure::Io { path, error })
}

/// Letter, then number.
fn order(id: &str) -> (String, u32) {
    let number = id.find(|digit: char| digit.is_ascii_digit()).unwrap_or(id.len());
    let (letter, number) = id.split_at(number);
    (letter.to_owned(), number.parse().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_back_as_it_was_written() {
        let row = Row {
            id: "D1".into(),
            what: "bad".into(),
            place: "chain".into(),
            caught: "O1 money: lost".into(),
            seed: Some(17),
            digest: "0123abcd".into(),
        };
        assert_eq!(Row::parse(&row.line()), Some(row.clone()));
        let tested = Row { seed: None, ..row };
        assert_eq!(Row::parse(&tested.line()), Some(tested));
        assert!(HEAD.lines().all(|line| Row::parse(line).is_none()));
    }

    #[test]
    fn ids_are_in_the_order_of_their_numbers() {
        let mut ids = vec!["B13", "B2", "A7", "B1"];
        ids.sort_by_key(|id| order(id));
        assert_eq!(ids, ["A7", "B1", "B2", "B13"]);
    }
}
