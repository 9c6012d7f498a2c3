//! `Cargo.lock`: one version of what must be one, nothing that is banned, nothing from elsewhere.
//!
//! cargo-deny does the same with the same file (`deny.toml`); this check needs nothing installed.
use std::collections::BTreeMap;

use super::policy::Policy;
use super::rule;
use crate::report::Violation;

/// Without these the file is not the lock of this workspace, and the check would pass by seeing nothing.
const EXPECTED: [&str; 3] = ["bitcoin", "lightning-traits", "secp256k1"];

/// Checks the text of `Cargo.lock`.
pub(crate) fn check(text: &str, policy: &Policy) -> Vec<Violation> {
    let packages = packages(text);
    let mut messages = Vec::new();
    for name in EXPECTED.iter().filter(|name| !packages.contains_key(**name)) {
        messages.push(format!("`{name}` is not locked"));
    }
    for (name, locked) in &packages {
        if policy.banned.iter().any(|banned| banned == name) {
            messages.push(format!("`{name}` is banned: see deny.toml"));
        }
        if policy.single.iter().any(|single| single == name) && locked.len() > 1 {
            let versions: Vec<_> = locked.iter().map(|package| package.version).collect();
            messages.push(format!("`{name}` is locked {} times: {}", versions.len(), versions.join(", ")));
        }
        for source in locked.iter().filter_map(|package| package.source) {
            let registry = source.strip_prefix("registry+");
            if !registry.is_some_and(|url| policy.registries.iter().any(|allowed| allowed == url)) {
                messages.push(format!("`{name}` comes from {source}: see deny.toml"));
            }
        }
    }
    messages.into_iter().map(|message| Violation::new("Cargo.lock", 0, rule::ONE_VERSION, message)).collect()
}

/// One entry of the lock file.
struct Locked<'a> {
    version: &'a str,
    /// Absent for members of the workspace.
    source: Option<&'a str>,
}

fn packages(text: &str) -> BTreeMap<&str, Vec<Locked<'_>>> {
    let mut packages = BTreeMap::<_, Vec<_>>::new();
    for package in text.split("[[package]]").skip(1) {
        let field = |key: &str| {
            package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"'))
        };
        if let (Some(name), Some(version)) = (field("name"), field("version")) {
            packages.entry(name).or_default().push(Locked { version, source: field("source") });
        }
    }
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTRY: &str = "https://example.org/index";
    const GOOD: [(&str, &str); 5] = [
        ("bitcoin", "0.32.5"),
        ("lightning-traits", "0.1.0"),
        ("secp256k1", "0.29.1"),
        ("rand", "0.8.0"),
        ("rand", "0.9.0"),
    ];

    fn lock(packages: &[(&str, &str)]) -> String {
        let entry = |(name, version): &(&str, &str)| {
            format!(
                "\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"registry+{REGISTRY}\"\n"
            )
        };
        "version = 4\n".to_owned() + &packages.iter().map(entry).collect::<String>()
    }

    fn messages(text: &str) -> Vec<String> {
        let policy = Policy {
            banned: vec!["aws-lc-rs".to_owned()],
            single: vec!["secp256k1".to_owned()],
            licences: Vec::new(),
            registries: vec![REGISTRY.to_owned()],
        };
        check(text, &policy).into_iter().map(|violation| violation.message).collect()
    }

    #[test]
    fn a_good_lock_passes() {
        assert_eq!(messages(&lock(&GOOD)), [""; 0]);
    }

    #[test]
    fn a_second_curve_is_seen() {
        let text = lock(&[&GOOD[..], &[("secp256k1", "0.33.1")]].concat());
        assert_eq!(messages(&text), ["`secp256k1` is locked 2 times: 0.29.1, 0.33.1"]);
    }

    #[test]
    fn a_banned_crate_is_seen() {
        let text = lock(&[&GOOD[..], &[("aws-lc-rs", "1.0.0")]].concat());
        assert_eq!(messages(&text), ["`aws-lc-rs` is banned: see deny.toml"]);
    }

    #[test]
    fn a_crate_from_elsewhere_is_seen() {
        let git = lock(&GOOD).replace("registry+", "git+");
        assert_eq!(messages(&git).len(), GOOD.len());
        assert_eq!(messages(&lock(&GOOD).replace("example.org", "example.com")).len(), GOOD.len());
    }

    #[test]
    fn an_empty_lock_is_no_proof() {
        assert_eq!(messages("version = 4\n").len(), EXPECTED.len());
    }
}
