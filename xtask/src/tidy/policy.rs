//! What `deny.toml` says of crates, read so that it is said once: cargo-deny reads the same file.
use toml::{Table, Value};

use crate::report::Failure;

/// The part of `deny.toml` that needs no database of advisories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Crates that may not be in the tree.
    pub(crate) banned: Vec<String>,
    /// Crates of which there may be one version.
    pub(crate) single: Vec<String>,
    /// Licences, by their SPDX names.
    pub(crate) licences: Vec<String>,
    /// Registries, by their URL.
    pub(crate) registries: Vec<String>,
}

impl Policy {
    /// Reads the text of `deny.toml`. A list that is empty or absent is an error: it would check nothing.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let failure = |message: String| Failure::Parse { file: "deny.toml".to_owned(), message };
        let table: Table = text.parse().map_err(|error: toml::de::Error| failure(error.to_string()))?;
        let mut policy = Self {
            licences: strings(&table, "licenses", "allow"),
            registries: strings(&table, "sources", "allow-registry"),
            ..Self::default()
        };
        for entry in list(&table, "bans", "deny") {
            let name = entry.get("crate").and_then(Value::as_str);
            let name = name.ok_or_else(|| failure(format!("bans.deny: no crate in {entry}")))?.to_owned();
            let single = entry.get("deny-multiple-versions").and_then(Value::as_bool) == Some(true);
            if single { policy.single.push(name) } else { policy.banned.push(name) }
        }
        let lists = [&policy.banned, &policy.single, &policy.licences, &policy.registries];
        if lists.into_iter().any(Vec::is_empty) {
            return Err(failure(format!("a list is missing: {policy:?}")));
        }
        Ok(policy)
    }
}

fn list<'a>(table: &'a Table, section: &str, key: &str) -> &'a [Value] {
    table
        .get(section)
        .and_then(|section| section.get(key))
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn strings(table: &Table, section: &str, key: &str) -> Vec<String> {
    list(table, section, key).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [licenses]
        allow = ["MIT"]
        [bans]
        deny = [{ crate = "openssl", reason = "x" }, { crate = "redb", deny-multiple-versions = true }]
        [sources]
        allow-registry = ["https://example.org"]
    "#;

    #[test]
    fn the_lists_are_read() {
        let policy = Policy::parse(GOOD).unwrap();
        assert_eq!(policy.banned, ["openssl"]);
        assert_eq!(policy.single, ["redb"]);
        assert_eq!(policy.licences, ["MIT"]);
        assert_eq!(policy.registries, ["https://example.org"]);
    }

    #[test]
    fn a_missing_list_is_refused() {
        assert!(Policy::parse(&GOOD.replace("[licenses]", "[others]")).is_err());
        assert!(Policy::parse(&GOOD.replace("crate = \"openssl\"", "name = \"openssl\"")).is_err());
        assert!(Policy::parse("not toml").is_err());
    }
}
