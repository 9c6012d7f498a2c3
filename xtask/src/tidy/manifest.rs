//! Manifests: the workspace's lints bind every package, and what users get has a changelog.
use super::rule;
use crate::report::{Failure, Violation};
use crate::tree::{Package, Place, Tree};

/// Checks the manifest and the changelog of every package.
pub(crate) fn check(tree: &Tree) -> Result<Vec<Violation>, Failure> {
    let mut violations = Vec::new();
    for package in &tree.packages {
        let path = format!("{}/Cargo.toml", package.folder);
        violations.extend(lints(&path, &tree.read(&path)?));
        if Place::of(&package.folder).is_some_and(Place::is_shipped) {
            let path = format!("{}/CHANGELOG.md", package.folder);
            violations.extend(changelog(package, &path, tree.read(&path).ok().as_deref()));
        }
    }
    Ok(violations)
}

fn lints(path: &str, manifest: &str) -> Option<Violation> {
    let mut lines = manifest.lines().map(str::trim);
    let inherits = lines.any(|line| line == "[lints]") && lines.next() == Some("workspace = true");
    let message = "the manifest must hold `[lints]` with `workspace = true`";
    (!inherits).then(|| Violation::new(path, 0, rule::LINTS, message))
}

fn changelog(package: &Package, path: &str, text: Option<&str>) -> Option<Violation> {
    let message = match text {
        None => format!("`{}` has no CHANGELOG.md", package.name),
        Some(text) => {
            let names_version = |line: &str| line.starts_with("## ") && has_word(line, &package.version);
            if text.lines().any(names_version) {
                return None;
            }
            format!("no `## ` heading names version {} of `{}`", package.version, package.name)
        }
    };
    Some(Violation::new(path, 0, rule::CHANGELOG, message))
}

/// Whether `line` has `word` between characters that versions do not hold, so that 0.1.0 is not found in 10.1.0.
fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_ascii_alphanumeric() && !".-+".contains(c)).any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_without_the_lints_is_seen() {
        assert_eq!(lints("a", "[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n"), None);
        assert!(lints("a", "[package]\nname = \"a\"\n").is_some());
        assert!(lints("a", "[lints]\nworkspace = false\n").is_some());
        assert!(
            lints("a", "[lints.clippy]\nunwrap_used = \"allow\"\n[dependencies]\nworkspace = true").is_some()
        );
    }

    #[test]
    fn a_changelog_names_the_version() {
        let package = Package {
            name: "a".to_owned(),
            version: "0.1.0".to_owned(),
            folder: "a".to_owned(),
            dependencies: Vec::new(),
            test_binaries: Vec::new(),
        };
        assert_eq!(changelog(&package, "a", Some("# Changelog\n\n## Unreleased (0.1.0)\n")), None);
        assert!(changelog(&package, "a", Some("## 0.10.0\n\n0.1.0 was better\n")).is_some());
        assert!(changelog(&package, "a", Some("## 10.1.0\n")).is_some());
        assert!(changelog(&package, "a", None).is_some());
    }
}
