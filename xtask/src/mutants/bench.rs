//! Where mutants are built and run: one copy of the sources and one target folder for all of them, so that only the crate
//! that a patch touches is built again.
//!
//! # Invariants
//! - the target folder is never left with something planted in it: others build there too
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::report::Failure;
use crate::tree::cargo;

use super::Found;
use super::patch::{Catcher, Mutant, Test};

/// Where mutants are built: a copy of the sources with a target folder of its own.
pub(super) struct Bench {
    /// The files as they were in the beginning: whoever edits meanwhile must not mix with what is planted.
    files: BTreeMap<String, Vec<u8>>,
    copy: PathBuf,
    target: PathBuf,
    /// The simulator as it is.
    plain: PathBuf,
}

impl Bench {
    /// A copy of the workspace as it is, with the simulator built; the tests of `mutants` pass.
    pub(super) fn prepare(root: &Path, mutants: &[&Mutant]) -> Result<Self, Failure> {
        let folder = root.join("target").join("mutants");
        let bench = Self {
            files: listed(root)?,
            copy: folder.join("tree"),
            target: folder.join("build"),
            plain: folder.join("sim-plain"),
        };
        bench.restore()?;
        let built =
            bench.build()?.map_err(|message| Failure::Command { command: "cargo build".into(), message })?;
        copy(&built, &bench.plain)?;
        for test in mutants.iter().filter_map(|mutant| mutant.test()).collect::<BTreeSet<_>>() {
            let passes = matches!(bench.test(test)?, Verdict::Passes);
            let message = "without anything planted it does not pass".to_owned();
            passes.then_some(()).ok_or(Failure::Command { command: test.name.clone(), message })?;
        }
        Ok(bench)
    }

    /// Everything is built as it was before something was planted.
    pub(super) fn leave(self) -> Result<(), Failure> {
        self.restore()?;
        let built = self.build()?;
        built.map(drop).map_err(|message| Failure::Command { command: "cargo build".into(), message })
    }

    /// Makes the copy what the workspace is. Files that did not change keep their times, so that little is built again.
    fn restore(&self) -> Result<(), Failure> {
        for (file, bytes) in &self.files {
            let to = self.copy.join(file);
            if *bytes != fs::read(&to).unwrap_or_default() {
                if let Some(folder) = to.parent() {
                    fs::create_dir_all(folder).map_err(|error| Failure::Io { path: folder.into(), error })?;
                }
                // Written, not copied: the time must be now, or cargo takes the file for an old one.
                fs::write(&to, bytes).map_err(|error| Failure::Io { path: to, error })?;
            }
        }
        Ok(())
    }

    fn cargo(&self, arguments: &[&str]) -> Result<Output, Failure> {
        let mut command = Command::new(cargo());
        command.args(arguments).args(["--quiet", "--profile", "trial"]);
        command.current_dir(&self.copy).env("CARGO_TARGET_DIR", &self.target).env("CARGO_INCREMENTAL", "1");
        output(command)
    }

    /// Builds the simulator of the copy; the compiler's words when it does not compile.
    fn build(&self) -> Result<Result<PathBuf, String>, Failure> {
        let output = self.cargo(&["build", "--package", "sim"])?;
        Ok(if output.status.success() {
            Ok(self.target.join("trial").join("sim"))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        })
    }

    /// Builds and runs one test.
    fn test(&self, test: &Test) -> Result<Verdict, Failure> {
        let of_target = ["test", "--package", &test.package, "--test", &test.target];
        let built = self.cargo(&[&of_target[..], &["--no-run"]].concat())?;
        if !built.status.success() {
            return Ok(Verdict::Broken(String::from_utf8_lossy(&built.stderr).into_owned()));
        }
        let mut command = Command::new(cargo());
        command.args(of_target).args(["--profile", "trial", "--", "--exact", &test.name]);
        command.current_dir(&self.copy).env("CARGO_TARGET_DIR", &self.target).env("CARGO_INCREMENTAL", "1");
        Ok(verdict(&String::from_utf8_lossy(&output(command)?.stdout), &test.name))
    }

    /// Plants a mutant and looks for it in the first seeds, or with its test; why it was not caught, if it was not.
    pub(super) fn try_out(&self, mutant: &Mutant, seeds: u64) -> Result<Result<Found, String>, Failure> {
        if let Err(failure) = apply(&self.copy, mutant, &[]) {
            return Ok(Err(failure.to_string()));
        }
        let found = match &mutant.catcher {
            Catcher::Simulator { profile, oracles } => self.simulate(profile, oracles, seeds),
            Catcher::Test(test) => self.test(test).map(|verdict| match verdict {
                Verdict::Fails => Ok(Found { seed: None, by: format!("test `{}`", test.name) }),
                Verdict::Passes => Err(format!("{} passes", test.name)),
                Verdict::Broken(message) => {
                    Err(format!("it does not compile, or has no such test: {message}"))
                }
            }),
        };
        self.restore()?;
        found
    }

    fn simulate(
        &self,
        profile: &str,
        oracles: &[String],
        seeds: u64,
    ) -> Result<Result<Found, String>, Failure> {
        let simulator = match self.build()? {
            Ok(simulator) => simulator,
            Err(message) => return Ok(Err(format!("it does not compile: {message}"))),
        };
        let Some((seed, by)) = simulate(&simulator, profile, 0..seeds)? else {
            return Ok(Err(format!("{seeds} seeds of profile {profile} pass")));
        };
        if let Some((_, other)) = simulate(&self.plain, profile, seed..seed + 1)? {
            return Ok(Err(format!("seed {seed} fails without it too: {other}")));
        }
        if !oracles.iter().any(|oracle| by.starts_with(oracle.as_str())) {
            return Ok(Err(format!("seed {seed} finds it by {by}, not by {oracles:?}")));
        }
        Ok(Ok(Found { seed: Some(seed), by }))
    }
}

/// What became of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Passes,
    Fails,
    /// It did not run: the compiler's words, or what was printed instead.
    Broken(String),
}

/// The verdict in what the harness has printed: `test scan::missing ... FAILED`.
fn verdict(text: &str, name: &str) -> Verdict {
    let line =
        text.lines().find_map(|line| line.strip_prefix("test ")?.strip_prefix(name)?.strip_prefix(" ... "));
    match line {
        Some("ok") => Verdict::Passes,
        Some("FAILED") => Verdict::Fails,
        _ => Verdict::Broken(text.to_owned()),
    }
}

/// Tries or does what a patch says.
pub(super) fn apply(folder: &Path, mutant: &Mutant, arguments: &[&str]) -> Result<(), Failure> {
    let mut command = Command::new("git");
    command.args(["apply", "-C1"]).args(arguments).arg(&mutant.path).current_dir(folder);
    // The copy is no part of the repository around it.
    command.env("GIT_CEILING_DIRECTORIES", folder.parent().unwrap_or(folder));
    let output = output(command)?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Failure::Command { command: format!("git apply {}", mutant.path.display()), message })
}

/// The files of the workspace, those included that are not committed yet.
fn listed(root: &Path) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let mut command = Command::new("git");
    command.args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    let listed = output(command)?;
    let mut files = BTreeMap::new();
    for file in String::from_utf8_lossy(&listed.stdout).lines() {
        let path = root.join(file);
        if path.is_file() {
            files.insert(file.to_owned(), read(&path)?);
        }
    }
    Ok(files)
}

/// The first seed that fails, and by what.
fn simulate(
    simulator: &Path,
    profile: &str,
    seeds: std::ops::Range<u64>,
) -> Result<Option<(u64, String)>, Failure> {
    let mut command = Command::new(simulator);
    command.args(["--whole", "--patience", "60", "--profile", profile]);
    command.args(["--seeds", &format!("{}..{}", seeds.start, seeds.end)]);
    let output = output(command)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = found(&text);
    // A simulator that cannot run at all must not look like one that finds nothing.
    if found.is_none() && !output.status.success() {
        return Err(Failure::Command { command: simulator.display().to_string(), message: text });
    }
    Ok(found)
}

/// The failure in what the simulator has printed: `seed 17 of profile chain fails: O1 money: ...`.
fn found(text: &str) -> Option<(u64, String)> {
    text.lines().find_map(|line| {
        let (head, oracle) = line.split_once(" fails: ")?;
        let seed = head.strip_prefix("seed ")?.split(' ').next()?.parse().ok()?;
        let oracle = oracle.splitn(3, ':').take(2).collect::<Vec<_>>().join(":");
        Some((seed, oracle.chars().take(110).collect()))
    })
}

fn output(mut command: Command) -> Result<Output, Failure> {
    command
        .output()
        .map_err(|error| Failure::Command { command: format!("{command:?}"), message: error.to_string() })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::Io { path: path.to_owned(), error })
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::copy(from, to).map(drop).map_err(|error| Failure::Io { path: from.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_read_from_what_the_simulator_prints() {
        let text = "3 seeds in 1.0 s\nseed 17 of profile chain fails: O1 money: node 2 has lost 5 msat: much\nmore\n";
        assert_eq!(found(text), Some((17, "O1 money: node 2 has lost 5 msat".to_owned())));
        assert_eq!(found("100 seeds in 1.0 s\n"), None);
    }

    #[test]
    fn a_test_that_did_not_run_neither_passes_nor_fails() {
        let text = |outcome: &str| format!("running 1 test\ntest scan::missing ... {outcome}\n\nmore\n");
        assert_eq!(verdict(&text("ok"), "scan::missing"), Verdict::Passes);
        assert_eq!(verdict(&text("FAILED"), "scan::missing"), Verdict::Fails);
        assert!(matches!(verdict(&text("FAILED"), "scan::other"), Verdict::Broken(_)));
        assert!(matches!(verdict("running 0 tests\n", "scan::missing"), Verdict::Broken(_)));
    }
}
