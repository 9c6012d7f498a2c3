//! `cargo xtask mutants`: plants known bugs, one at a time, and shows that the simulator finds each.
//!
//! A mutant is a patch in `sim/mutants/` (see `patch.rs`). It is applied to a copy of the workspace under `target/mutants`, the
//! simulator is built there and runs seeds until an oracle speaks (`bench.rs`). The seed that failed must pass without the patch:
//! what the oracle saw is the planted bug and nothing else. A few are in what the simulator does not run: these name a test that
//! must fail with them, and pass without. What was caught is noted in a table (`table.rs`).
mod bench;
mod patch;
mod table;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use crate::report::Failure;
use crate::tree::Tree;
use bench::Bench;
use patch::Mutant;
use table::Row;

/// Within how many seeds a mutant must be found.
const SEEDS: u64 = 20_000;
/// Entries of RELIABILITY that must be planted.
const NEEDED: &[&str] = &[
    "A7", "B1", "B2", "B5", "B6", "B13", "B15", "B20", "C1", "C3", "C4", "C12", "D1", "D2", "D3", "D4", "D5",
    "D6", "D9", "D10", "D18", "D20", "F1", "F3", "F12", "J1", "J2", "J3", "J4", "J5", "J7", "L1", "L2", "L3",
    "L6", "L7",
];
/// Those that a gate can afford to run, and within how many seeds they must be found there: one on the chain, one over a
/// restart, one of the disk.
const QUICK: &[&str] = &["D3", "J3", "J4"];
const QUICK_SEEDS: u64 = 400;
const USAGE: &str = "usage: cargo xtask mutants [--check | --quick | [--seeds N] [--only ID ...]]";

/// Who noticed a planted bug.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    /// The seed of the simulator; a test has none.
    seed: Option<u64>,
    /// `O1` to `O9`, and how the promise was broken; or the test that failed.
    by: String,
}

/// All mutants, or those whose ids are named. `--check` runs none; `--quick` runs a few, and notes nothing.
pub(crate) fn run(tree: &Tree, arguments: &[&str]) -> Result<(), Failure> {
    let mutants = patch::all(&tree.root.join("sim").join("mutants"))?;
    let (seeds, rest) = match arguments {
        ["--check"] => return check(&tree.root, &mutants),
        ["--quick"] => return try_all(&tree.root, &chosen(&mutants, QUICK)?, QUICK_SEEDS, false),
        ["--seeds", count, rest @ ..] => (count.parse().map_err(|_| Failure::Usage(USAGE))?, rest),
        rest => (SEEDS, rest),
    };
    match rest {
        [] => try_all(&tree.root, &mutants.iter().collect::<Vec<_>>(), seeds, true),
        ["--only", ids @ ..] => try_all(&tree.root, &chosen(&mutants, ids)?, seeds, true),
        _ => Err(Failure::Usage(USAGE)),
    }
}

/// The mutants with these ids; an id of none is a mistake, and no reason to pass.
fn chosen<'a>(mutants: &'a [Mutant], ids: &[&str]) -> Result<Vec<&'a Mutant>, Failure> {
    let find = |id: &&str| mutants.iter().find(|mutant| mutant.id == **id);
    ids.iter().map(|id| find(id).ok_or(Failure::Usage("no mutant has this id"))).collect()
}

fn try_all(root: &Path, chosen: &[&Mutant], seeds: u64, is_noted: bool) -> Result<(), Failure> {
    let bench = Bench::prepare(root, chosen)?;
    let mut missed = 0;
    // One crate after the other, and what tests must catch first, as these are built: each change of crate builds two of them.
    let mut chosen = chosen.to_vec();
    chosen.sort_by_key(|mutant| (mutant.test().is_none(), Reverse(mutant.touches.clone())));
    for mutant in &chosen {
        let began = Instant::now();
        let verdict = bench.try_out(mutant, seeds)?;
        let seconds = began.elapsed().as_secs();
        match verdict {
            Ok(found) => {
                let seed = found.seed.map(|seed| format!(", seed {seed}")).unwrap_or_default();
                println!("{}: caught by {}{seed} of {} ({seconds} s)", mutant.name, found.by, mutant.place());
                if is_noted {
                    table::note(root, Row::new(mutant, &found))?;
                }
            }
            Err(why) => {
                missed += 1;
                println!("{}: MISSED: {why} ({seconds} s)", mutant.name);
            }
        }
    }
    bench.leave()?;
    println!("mutants: {} of {} caught", chosen.len() - missed, chosen.len());
    if missed > 0 { Err(Failure::Violations { check: "mutants", count: missed }) } else { Ok(()) }
}

/// Whether every patch that must be there is, still applies to the sources as they are, and was caught as it is.
fn check(root: &Path, mutants: &[Mutant]) -> Result<(), Failure> {
    let mut wrong = complaints(mutants, &table::read(root), NEEDED);
    for mutant in mutants {
        if let Err(failure) = bench::apply(root, mutant, &["--check"]) {
            wrong.push(failure.to_string());
        }
    }
    wrong.iter().for_each(|line| println!("{line}"));
    if !wrong.is_empty() {
        return Err(Failure::Violations { check: "mutants", count: wrong.len() });
    }
    println!("mutants: {} patches apply, and each was caught as it is", mutants.len());
    Ok(())
}

/// What patches and table lack.
fn complaints(mutants: &[Mutant], rows: &[Row], needed: &[&str]) -> Vec<String> {
    let rows: BTreeMap<&str, &Row> = rows.iter().map(|row| (row.id.as_str(), row)).collect();
    let missing = needed.iter().filter(|id| mutants.iter().all(|mutant| mutant.id != **id));
    let mut wrong: Vec<String> = missing.map(|id| format!("{id}: no patch plants it")).collect();
    for mutant in mutants {
        match rows.get(mutant.id.as_str()) {
            None => wrong.push(format!("{}: was never caught", mutant.name)),
            Some(row) if row.digest != mutant.digest => {
                wrong.push(format!("{}: has changed since it was caught", mutant.name));
            }
            Some(row) => {
                let late = row.seed.filter(|seed| *seed >= SEEDS);
                wrong.extend(late.map(|seed| format!("{}: was caught only in seed {seed}", mutant.name)));
            }
        }
    }
    let unknown = rows.keys().filter(|id| mutants.iter().all(|mutant| mutant.id != **id));
    wrong.extend(unknown.map(|id| format!("{id}: is in the table, and no patch plants it")));
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_changed_or_unknown_is_said() {
        let found = |seed| Found { seed: Some(seed), by: "O1 money: lost".into() };
        let (first, second) = (patch::sample("D1", "aa"), patch::sample("J2", "bb"));
        let mutants = [first.clone(), second.clone()];
        let rows = [Row::new(&first, &found(3)), Row::new(&second, &found(19_999))];
        assert_eq!(complaints(&mutants, &rows, &["D1", "J2"]), Vec::<String>::new());
        let said = |mutants: &[Mutant], rows: &[Row], needed: &[&str]| {
            let wrong = complaints(mutants, rows, needed);
            assert_eq!(wrong.len(), 1, "{wrong:?}");
            wrong.into_iter().next().unwrap_or_default()
        };
        assert!(said(&mutants, &rows, &["D1", "A7"]).starts_with("A7: no patch"));
        assert!(said(&mutants, rows.get(..1).unwrap_or_default(), &[]).contains("never caught"));
        assert!(said(mutants.get(..1).unwrap_or_default(), &rows, &[]).starts_with("J2: is in the table"));
        let late = [Row::new(&first, &found(3)), Row::new(&second, &found(20_000))];
        assert!(said(&mutants, &late, &[]).contains("only in seed"));
        let changed = [first, patch::sample("J2", "cc")];
        assert!(said(&changed, &rows, &[]).contains("has changed"));
    }

    #[test]
    fn those_that_the_gate_runs_are_among_those_that_must_be_there() {
        assert!(QUICK.iter().all(|id| NEEDED.contains(id)));
        assert!(chosen(&[patch::sample("D1", "aa")], &["D2"]).is_err());
    }
}
