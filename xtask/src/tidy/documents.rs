//! The documents name what exists: paths in `ARCH.md`, every package, every rule, every record, no two of a number; and the
//! gate runs what the README tells users to run.
use super::rule;
use crate::report::{Failure, Violation};
use crate::tree::Tree;

/// A path in backticks that starts with one of these is a claim about the tree.
const ROOTS: [&str; 15] = [
    "lightning-traits/",
    "lightning-channel/",
    "lightning-monitor/",
    "lightning-router/",
    "lightning-peer/",
    "lightning-offers/",
    "adapters/",
    "apps/",
    "benches/",
    "fuzz/",
    "sim/",
    "tests/",
    "xtask/",
    "scripts/",
    "docs/",
];

/// The list of decision records, itself the first of them.
const INDEX: &str = "docs/adr/0000-how-we-record.md";

/// Checks `ARCH.md`, `CONTRIBUTING.md` and `README.md`.
pub(crate) fn check(tree: &Tree) -> Result<Vec<Violation>, Failure> {
    let exists = |path: &str| tree.root.join(path).exists();
    let map = tree.read("ARCH.md")?;
    let rules = tree.read("CONTRIBUTING.md")?;
    let mut violations = paths("ARCH.md", &map, exists);
    let folders = tree.packages.iter().map(|package| package.folder.as_str());
    violations.extend(unnamed("ARCH.md", &map, folders, |folder| format!("`{folder}/")));
    violations
        .extend(unnamed("CONTRIBUTING.md", &rules, rule::ALL.into_iter(), |rule| format!("**{rule}**")));
    let index = tree.read(INDEX)?;
    let records = tree.files("docs/adr")?;
    violations.extend(unnamed(
        INDEX,
        &index,
        records.iter().map(String::as_str).filter(|name| !INDEX.ends_with(name)),
        |record| format!("({record})"),
    ));
    violations.extend(numbers(&records));
    violations.extend(commands(&tree.read("README.md")?, &tree.read(".ci/run")?));
    Ok(violations)
}

/// Commands in the README's shell blocks that the gate does not run; one that is planned says so.
fn commands(readme: &str, gate: &str) -> Vec<Violation> {
    let gate: Vec<&str> = gate.lines().map(str::trim).filter(|line| !line.starts_with('#')).collect();
    let blocks = readme.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let claims = blocks.flat_map(str::lines).filter(|line| !line.contains("# planned"));
    let commands =
        claims.map(|line| line.split('#').next().unwrap_or_default().trim()).filter(|line| !line.is_empty());
    commands
        .filter(|command| !gate.iter().any(|line| line.contains(command)))
        .map(|command| {
            Violation::new("README.md", 0, rule::CODE_MAP, format!("`{command}` is not run by .ci/run"))
        })
        .collect()
}

/// Decision records that share a number: whoever cites it would mean either.
fn numbers(records: &[String]) -> Vec<Violation> {
    let mut names: Vec<&str> = records.iter().map(String::as_str).collect();
    names.sort_unstable();
    let number = |name: &str| name.split('-').next().unwrap_or_default().to_owned();
    let twice = names.windows(2).filter(|pair| matches!(pair, [a, b] if number(a) == number(b)));
    twice
        .map(|pair| {
            let message = format!("`{}` share a number", pair.join("` and `"));
            Violation::new("docs/adr", 0, rule::CODE_MAP, message)
        })
        .collect()
}

/// Paths that do not exist. A line that holds the word "planned" claims nothing.
fn paths(document: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.contains("planned")) {
        let quoted = line.split('`').skip(1).step_by(2);
        let claims = quoted.filter(|path| ROOTS.iter().any(|root| path.starts_with(root)));
        for path in claims.flat_map(expand).filter(|path| !exists(path)) {
            let message = format!("`{path}` does not exist; mark the line planned, or correct it");
            violations.push(Violation::new(document, index + 1, rule::CODE_MAP, message));
        }
    }
    violations
}

/// `a/{b,c}.rs` means `a/b.rs` and `a/c.rs`.
fn expand(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else { return vec![path.to_owned()] };
    let Some((choices, after)) = rest.split_once('}') else { return vec![path.to_owned()] };
    choices.split(',').map(|choice| format!("{before}{}{after}", choice.trim())).collect()
}

fn unnamed<'a>(
    document: &str,
    text: &str,
    names: impl Iterator<Item = &'a str>,
    mark: impl Fn(&str) -> String,
) -> Vec<Violation> {
    let missing = names.filter(|name| !text.contains(&mark(name)));
    missing
        .map(|name| Violation::new(document, 0, rule::CODE_MAP, format!("does not explain `{name}`")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_does_not_exist_is_seen() {
        let text =
            "see `lightning-peer/src/{frame,gone}.rs`\nplanned: `apps/watchtower/`\nand `not a path`\n";
        let violations = paths("ARCH.md", text, |path| path == "lightning-peer/src/frame.rs");
        assert_eq!(violations.len(), 1);
        assert!(violations[0].message.contains("`lightning-peer/src/gone.rs`"));
    }

    #[test]
    fn a_command_that_nobody_tries_is_seen() {
        let readme =
            "x\n```sh\ncargo demo    # planned\ncargo test --all   # try\n```\n```sh\ncargo run\n```\n";
        assert_eq!(commands(readme, "A=1 cargo test --all | tee log\ncargo run -p x\n"), []);
        assert_eq!(commands(readme, "# cargo test --all\ncargo run").len(), 1, "a comment runs nothing");
    }

    #[test]
    fn two_records_of_one_number_are_seen() {
        let records = ["0002-b.md", "0001-a.md", "0002-a.md"].map(str::to_owned);
        let violations = numbers(&records);
        assert_eq!(violations.len(), 1);
        assert!(violations[0].message.contains("0002-a.md` and `0002-b.md"));
        assert_eq!(numbers(&records[..2]), []);
    }

    #[test]
    fn a_name_that_is_not_explained_is_seen() {
        let violations =
            unnamed("C", "**header**: why", ["header", "lints"].into_iter(), |n| format!("**{n}**"));
        assert_eq!(violations, [Violation::new("C", 0, rule::CODE_MAP, "does not explain `lints`")]);
    }
}
