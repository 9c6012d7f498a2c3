//! `cargo xtask tested <log>`: what `cargo test --workspace` printed proves something.
//!
//! Cargo ends with success when nothing ran, and a test without its data ends with `ok`. So: tests of every package
//! that users get ran, no test was skipped for want of data or programs, and nothing failed.
use std::collections::BTreeMap;

use crate::report::Failure;
use crate::tree::{Package, Place, Tree};

/// What was counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    /// Tests that passed, by the name of the binary they are in.
    passed: BTreeMap<String, usize>,
    /// The sum of failures.
    failed: usize,
    /// The sum of ignored tests.
    ignored: usize,
    /// Lines in which a test says that it was skipped.
    skipped: Vec<String>,
}

/// Judges the log at `path`.
pub(crate) fn run(tree: &Tree, path: &str) -> Result<(), Failure> {
    let count = count(&tree.read(path)?);
    let shipped =
        tree.packages.iter().filter(|package| Place::of(&package.folder).is_some_and(Place::is_shipped));
    let complaints = complaints(&count, shipped);
    let passed: usize = count.passed.values().sum();
    println!("tested: {passed} passed, {} failed, {} ignored", count.failed, count.ignored);
    for complaint in &complaints {
        println!("{complaint}");
    }
    if complaints.is_empty() {
        Ok(())
    } else {
        Err(Failure::Violations { check: "tested", count: complaints.len() })
    }
}

fn complaints<'a>(count: &Count, required: impl Iterator<Item = &'a Package>) -> Vec<String> {
    let mut complaints = count.skipped.clone();
    if count.failed > 0 {
        complaints.push(format!("{} test(s) failed", count.failed));
    }
    let ran = |binary: &String| count.passed.get(binary).is_some_and(|&passed| passed > 0);
    let untested = required.filter(|package| !package.test_binaries.iter().any(ran));
    complaints.extend(untested.map(|package| format!("no test of {} ran", package.name)));
    complaints
}

/// Reads the log. A binary announces itself by `Running unittests src/lib.rs (target/debug/deps/NAME-HASH)`,
/// and ends with `test result: ok. 3 passed; 0 failed; 0 ignored; ...`.
fn count(log: &str) -> Count {
    let mut count = Count::default();
    let mut binary = String::new();
    for line in log.lines() {
        if let Some(name) = announced(line) {
            binary = name.to_owned();
        } else if let Some((_, numbers)) = line.split_once("test result: ") {
            *count.passed.entry(binary.clone()).or_default() += number_before(numbers, " passed");
            count.failed += number_before(numbers, " failed");
            count.ignored += number_before(numbers, " ignored");
        } else if line.to_lowercase().contains("skipped:") {
            count.skipped.push(line.trim().to_owned());
        }
    }
    count
}

fn announced(line: &str) -> Option<&str> {
    let line = line.trim_start();
    if line.starts_with("Doc-tests ") {
        return Some("doc-tests");
    }
    let file = line.strip_prefix("Running ")?.rsplit_once('/')?.1.strip_suffix(')')?;
    Some(file.rsplit_once('-')?.0)
}

fn number_before(text: &str, word: &str) -> usize {
    let before = text.split_once(word).map_or("", |(before, _)| before);
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "
     Running unittests src/lib.rs (target/debug/deps/lightning_peer-0123456789abcdef)
test frame::tests::unknown_odd_messages_are_skipped ... ok
test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
     Running tests/noise.rs (target/debug/deps/noise-0123456789abcdef)
test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
   Doc-tests lightning_peer
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    fn judge(log: &str, binaries: &[&str]) -> Vec<String> {
        let package = Package {
            name: "lightning-peer".to_owned(),
            version: String::new(),
            folder: String::new(),
            dependencies: Vec::new(),
            test_binaries: binaries.iter().map(|&name| name.to_owned()).collect(),
        };
        complaints(&count(log), [package].iter())
    }

    #[test]
    fn a_good_log_is_counted() {
        let count = count(LOG);
        assert_eq!(
            count.passed.iter().map(|(name, n)| (name.as_str(), *n)).collect::<Vec<_>>(),
            [("doc-tests", 1), ("lightning_peer", 3), ("noise", 4)]
        );
        assert_eq!(count.ignored, 1);
        assert_eq!(judge(LOG, &["lightning_peer"]), [""; 0]);
    }

    #[test]
    fn a_skipped_test_is_seen() {
        let log = LOG.to_owned() + "test vectors ... SKIPPED: no vectors\n";
        assert_eq!(judge(&log, &["lightning_peer"]), ["test vectors ... SKIPPED: no vectors"]);
    }

    #[test]
    fn a_package_without_tests_is_seen() {
        assert_eq!(judge(LOG, &["lightning_router"]), ["no test of lightning-peer ran"]);
        assert_eq!(judge(LOG, &["lightning_router", "noise"]), [""; 0], "tests in tests/ are tests as well");
        assert_eq!(judge(&LOG.replace("3 passed", "0 passed"), &["lightning_peer"]).len(), 1);
        assert_eq!(judge("", &["lightning_peer"]).len(), 1, "empty log");
    }

    #[test]
    fn a_failed_test_is_seen() {
        let log = LOG.replace("4 passed; 0 failed", "2 passed; 2 failed");
        assert_eq!(judge(&log, &["lightning_peer"]), ["2 test(s) failed"]);
    }
}
