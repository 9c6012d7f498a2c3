//! Where mutants are built and run: one copy of the sources and one target folder for all of them, so that only the crate
//! that a patch touches is built again.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::report::Failure;
use crate::tree::cargo;

use super::Found;
use super::patch::Mutant;

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
    pub(super) fn prepare(root: &Path) -> Result<Self, Failure> {
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
        Ok(bench)
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

    /// Builds the simulator of the copy; the compiler's words when it does not compile.
    fn build(&self) -> Result<Result<PathBuf, String>, Failure> {
        let mut command = Command::new(cargo());
        command.args(["build", "--quiet", "--profile", "trial", "--package", "sim"]);
        command.current_dir(&self.copy).env("CARGO_TARGET_DIR", &self.target).env("CARGO_INCREMENTAL", "1");
        let output = output(command)?;
        Ok(if output.status.success() {
            Ok(self.target.join("trial").join("sim"))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        })
    }

    /// Plants a mutant and looks for it in the first seeds; why it was not caught, if it was not.
    pub(super) fn try_out(&self, mutant: &Mutant, seeds: u64) -> Result<Result<Found, String>, Failure> {
        apply(&self.copy, mutant, &[])?;
        let built = self.build();
        let found = match &built {
            Ok(Ok(simulator)) => simulate(simulator, mutant, 0..seeds),
            Ok(Err(_)) | Err(_) => Ok(None),
        };
        self.restore()?;
        if let Err(message) = built? {
            return Ok(Err(format!("it does not compile: {message}")));
        }
        let Some(found) = found? else {
            return Ok(Err(format!("{seeds} seeds of profile {} pass", mutant.profile)));
        };
        if let Some(other) = simulate(&self.plain, mutant, found.seed..found.seed + 1)? {
            return Ok(Err(format!("seed {} fails without it too: {}", other.seed, other.oracle)));
        }
        let is_named = mutant.oracles.iter().any(|oracle| found.oracle.starts_with(oracle.as_str()));
        if !is_named {
            return Ok(Err(format!(
                "seed {} finds it by {}, not by {:?}",
                found.seed, found.oracle, mutant.oracles
            )));
        }
        Ok(Ok(found))
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

fn simulate(
    simulator: &Path,
    mutant: &Mutant,
    seeds: std::ops::Range<u64>,
) -> Result<Option<Found>, Failure> {
    let mut command = Command::new(simulator);
    command.args(["--whole", "--patience", "60", "--profile", &mutant.profile]);
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
fn found(text: &str) -> Option<Found> {
    text.lines().find_map(|line| {
        let (head, oracle) = line.split_once(" fails: ")?;
        let seed = head.strip_prefix("seed ")?.split(' ').next()?.parse().ok()?;
        let oracle = oracle.splitn(3, ':').take(2).collect::<Vec<_>>().join(":");
        Some(Found { seed, oracle: oracle.chars().take(110).collect() })
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
        let expected = Found { seed: 17, oracle: "O1 money: node 2 has lost 5 msat".to_owned() };
        assert_eq!(found(text), Some(expected));
        assert_eq!(found("100 seeds in 1.0 s\n"), None);
    }
}
