//! `Cargo.lock`: one version of what must be one, and nothing that is banned.
//!
//! `deny.toml` says the same to cargo-deny; this check needs nothing installed.
use std::collections::BTreeMap;

use super::rule;
use crate::report::Violation;

/// Two versions of these would be two incompatible sets of types, or two C libraries in one program.
const SINGLE: [&str; 8] = [
    "bitcoin",
    "bitcoin_hashes",
    "bitcoinconsensus",
    "libsqlite3-sys",
    "redb",
    "secp256k1",
    "secp256k1-sys",
    "tokio",
];

/// Slow to build, or a C library with a history that money need not share; rustls with ring is what we take.
const BANNED: [&str; 5] = ["aws-lc-rs", "aws-lc-sys", "native-tls", "openssl", "openssl-sys"];

/// Without these the file is not the lock of this workspace, and the check would pass by seeing nothing.
const EXPECTED: [&str; 3] = ["bitcoin", "lightning-traits", "secp256k1"];

/// Checks the text of `Cargo.lock`.
pub(crate) fn check(text: &str) -> Vec<Violation> {
    let versions = versions(text);
    let violation = |message| Violation::new("Cargo.lock", 0, rule::ONE_VERSION, message);
    let missing = EXPECTED.iter().filter(|name| !versions.contains_key(**name));
    let mut violations: Vec<_> = missing.map(|name| violation(format!("`{name}` is not locked"))).collect();
    for (name, versions) in &versions {
        if BANNED.contains(name) {
            violations.push(violation(format!("`{name}` is banned: see deny.toml")));
        }
        if SINGLE.contains(name) && versions.len() > 1 {
            violations.push(violation(format!(
                "`{name}` is locked {} times: {}",
                versions.len(),
                versions.join(", ")
            )));
        }
    }
    violations
}

fn versions(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut versions = BTreeMap::<_, Vec<_>>::new();
    for package in text.split("[[package]]").skip(1) {
        let field = |key: &str| {
            package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"'))
        };
        if let (Some(name), Some(version)) = (field("name"), field("version")) {
            versions.entry(name).or_default().push(version);
        }
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(packages: &[(&str, &str)]) -> String {
        let entry = |(name, version): &(&str, &str)| {
            format!(
                "\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\ndependencies = [\n \"x\",\n]\n"
            )
        };
        "version = 4\n".to_owned() + &packages.iter().map(entry).collect::<String>()
    }

    const GOOD: [(&str, &str); 4] =
        [("bitcoin", "0.32.5"), ("lightning-traits", "0.1.0"), ("secp256k1", "0.29.1"), ("rand", "0.8.0")];

    #[test]
    fn a_good_lock_passes() {
        assert_eq!(check(&lock(&[&GOOD[..], &[("rand", "0.9.0")]].concat())), []);
    }

    #[test]
    fn a_second_curve_is_seen() {
        let violations = check(&lock(&[&GOOD[..], &[("secp256k1", "0.33.1")]].concat()));
        assert_eq!(violations.len(), 1);
        assert!(violations[0].message.contains("0.29.1, 0.33.1"));
    }

    #[test]
    fn a_banned_crate_is_seen() {
        assert_eq!(check(&lock(&[&GOOD[..], &[("aws-lc-rs", "1.0.0")]].concat())).len(), 1);
    }

    #[test]
    fn an_empty_lock_is_no_proof() {
        assert_eq!(check("version = 4\n").len(), EXPECTED.len());
    }
}
