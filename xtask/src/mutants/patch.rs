//! A mutant: a patch with a few lines before it that say what it plants.
//!
//! ```text
//! id: D1
//! what: an HTLC that the confirmed commitment lacks fails back, though its preimage is known
//! profile: byzantine
//! oracle: O1 O2
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
    /// Changes with the patch.
    pub(super) digest: String,
    /// The profile of the simulator that finds it.
    pub(super) profile: String,
    /// The oracles of which one must find it.
    pub(super) oracles: Vec<String>,
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
    Ok(Mutant {
        what: field("what")?,
        digest: digest(text),
        id: field("id")?,
        profile: field("profile")?,
        oracles: field("oracle")?.split(' ').map(str::to_owned).collect(),
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
        digest: digest.to_owned(),
        profile: "chain".to_owned(),
        oracles: vec!["O1".to_owned()],
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
        assert_eq!(mutant.oracles, ["O1", "O2"]);
        assert_eq!(mutant.digest, parse(path, &text.replace("bad", "worse")).unwrap().digest);
        assert_ne!(mutant.digest, parse(path, &text.replace("b/x", "b/y")).unwrap().digest);
        for line in ["id: D1\n", "what: bad\n", "profile: chain\n", "oracle: O1 O2\n"] {
            assert!(parse(path, &text.replace(line, "")).is_err(), "{line}");
        }
    }
}
