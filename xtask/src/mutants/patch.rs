//! A mutant: a patch with a few lines before it that say what it plants.
//!
//! ```text
//! id: D1
//! what: an HTLC that the confirmed commitment lacks fails back, though its preimage is known
//! profile: byzantine
//! oracle: O1 O2
//! ```
//!
//! What lies where the simulator does not go names the test that must fail, instead of profile and oracles: package, target
//! and name.
//!
//! ```text
//! test: lightning-watchtower guard scan::l01_a_block_that_cannot_be_fetched_stops_the_scan_with_an_alarm
//! ```
use std::fs;
use std::path::{Path, PathBuf};

use crate::report::Failure;

/// A planted bug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mutant {
    /// The patch.
    pub(super) path: PathBuf,
    /// The name of its file.
    pub(super) name: String,
    /// The entry of RELIABILITY that it re-creates.
    pub(super) id: String,
    /// What it plants.
    pub(super) what: String,
    /// The first file that it changes.
    pub(super) touches: String,
    /// Changes with the patch.
    pub(super) digest: String,
    pub(super) catcher: Catcher,
}

/// Who must notice a planted bug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Catcher {
    /// The simulator with a profile, by one of these oracles.
    Simulator { profile: String, oracles: Vec<String> },
    /// A test of a package.
    Test(Test),
}

/// A test, as cargo names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Test {
    pub(super) package: String,
    pub(super) target: String,
    pub(super) name: String,
}

impl Mutant {
    /// Where it is looked for: a profile of the simulator, or the tests of a package.
    pub(super) fn place(&self) -> &str {
        match &self.catcher {
            Catcher::Simulator { profile, .. } => profile,
            Catcher::Test(test) => &test.package,
        }
    }

    /// The test that must fail with it, if no oracle must.
    pub(super) fn test(&self) -> Option<&Test> {
        match &self.catcher {
            Catcher::Simulator { .. } => None,
            Catcher::Test(test) => Some(test),
        }
    }
}

/// All mutants of a folder, by name.
pub(super) fn all(folder: &Path) -> Result<Vec<Mutant>, Failure> {
    let io = |error| Failure::Io { path: folder.to_owned(), error };
    let mut mutants = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|extension| extension == "patch") {
            let text =
                fs::read_to_string(&path).map_err(|error| Failure::Io { path: path.clone(), error })?;
            mutants.push(parse(&path, &text)?);
        }
    }
    mutants.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(mutants)
}

fn parse(path: &Path, text: &str) -> Result<Mutant, Failure> {
    let head: Vec<&str> = text.lines().take_while(|line| !line.starts_with("---")).collect();
    let field = |name: &str| {
        let found = head.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let found = found.map(str::trim).filter(|value| !value.is_empty());
        found.map(str::to_owned).ok_or_else(|| Failure::Parse {
            file: path.display().to_string(),
            message: format!("no line `{name}: ...` before the patch"),
        })
    };
    let words = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let catcher = match field("test") {
        Ok(test) => match words(test).as_slice() {
            [package, target, name] => {
                let (package, target, name) = (package.clone(), target.clone(), name.clone());
                Catcher::Test(Test { package, target, name })
            }
            _ => {
                let message = "a test is `test: package target name`".to_owned();
                return Err(Failure::Parse { file: path.display().to_string(), message });
            }
        },
        Err(_) => Catcher::Simulator { profile: field("profile")?, oracles: words(field("oracle")?) },
    };
    Ok(Mutant {
        what: field("what")?,
        touches: text.lines().find_map(|line| line.strip_prefix("+++ b/")).unwrap_or_default().to_owned(),
        digest: digest(text),
        id: field("id")?,
        catcher,
        name: path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default(),
        path: path.to_owned(),
    })
}

/// FNV-1a of the patch itself, without the lines before it: not against malice, against forgetting.
fn digest(text: &str) -> String {
    let patch = text.find("\n--- ").and_then(|start| text.get(start..)).unwrap_or(text);
    let mix = |sum: u32, byte: u8| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    format!("{:08x}", patch.bytes().fold(0x811c_9dc5, mix))
}

/// A mutant for tests.
#[cfg(test)]
pub(super) fn sample(id: &str, digest: &str) -> Mutant {
    Mutant {
        path: PathBuf::new(),
        name: id.to_owned(),
        id: id.to_owned(),
        what: "bad".to_owned(),
        touches: "x".to_owned(),
        digest: digest.to_owned(),
        catcher: Catcher::Simulator { profile: "chain".to_owned(), oracles: vec!["O1".to_owned()] },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutant_says_what_it_plants() {
        let path = Path::new("sim/mutants/D1-late.patch");
        let text = "id: D1\nwhat: bad\nprofile: chain\noracle: O1 O2\n\n--- a/x\n+++ b/x\n";
        let mutant = parse(path, text).unwrap();
        assert_eq!((mutant.id.as_str(), mutant.name.as_str()), ("D1", "D1-late"));
        let oracles = vec!["O1".to_owned(), "O2".to_owned()];
        assert_eq!(mutant.catcher, Catcher::Simulator { profile: "chain".to_owned(), oracles });
        let tested = text.replace("profile: chain\noracle: O1 O2", "test: tower guard scan::missing");
        let tested = parse(path, &tested).unwrap();
        let test = tested.test().unwrap();
        assert_eq!([&test.package, &test.target, &test.name], ["tower", "guard", "scan::missing"]);
        assert_eq!((tested.place(), mutant.place()), ("tower", "chain"));
        assert!(parse(path, &text.replace("profile: chain", "test: tower guard")).is_err());
        assert_eq!(mutant.touches, "x");
        assert_eq!(mutant.digest, parse(path, &text.replace("bad", "worse")).unwrap().digest);
        assert_ne!(mutant.digest, parse(path, &text.replace("b/x", "b/y")).unwrap().digest);
        for line in ["id: D1\n", "what: bad\n", "profile: chain\n", "oracle: O1 O2\n"] {
            assert!(parse(path, &text.replace(line, "")).is_err(), "{line}");
        }
    }
}
