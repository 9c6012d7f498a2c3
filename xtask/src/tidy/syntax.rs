//! The rules that need each file parsed: sizes of functions, stubs, ignored and idle tests, global state,
//! and the lines that a crate or a module must carry.
use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Facts, Function};
use super::{rule, trials};
use crate::report::{Failure, Violation};
use crate::tree::{Place, SourceFile, Tree};

/// A function that does not fit a screen is read by nobody (I12).
const MAX_FUNCTION_LINES: usize = 80;

/// Checks every source of the tree.
pub(crate) fn check(tree: &Tree) -> Result<Vec<Violation>, Failure> {
    let facts = read_all(&tree.sources)?;
    let mut violations = Vec::new();
    for (source, facts) in &facts {
        let pure = Place::of(&source.path).is_some_and(Place::is_pure) && !is_test_path(&source.path);
        violations.extend(of_file(source, facts));
        if pure {
            violations.extend(of_pure_file(source, facts));
        }
    }
    violations.extend(idle_tests(tree, &facts));
    Ok(violations)
}

/// Parses every file, once it is known which files only exist under test.
fn read_all(sources: &[SourceFile]) -> Result<Vec<(&SourceFile, Facts)>, Failure> {
    let mut test_roots = BTreeSet::new();
    for source in sources {
        let declared = Facts::of(source, false)?.test_modules;
        test_roots.extend(declared.iter().map(|module| format!("{}/{module}", module_folder(&source.path))));
    }
    let under_test = |path: &str| {
        let module = path.trim_end_matches(".rs");
        let below = |root: &String| {
            module.strip_prefix(root.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        is_test_path(path) || test_roots.iter().any(below)
    };
    sources.iter().map(|source| Ok((source, Facts::of(source, under_test(&source.path))?))).collect()
}

/// The folder in which the modules declared by the file at `path` live.
fn module_folder(path: &str) -> &str {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    if matches!(name, "mod.rs" | "lib.rs" | "main.rs") { folder } else { path.trim_end_matches(".rs") }
}

fn is_test_path(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

fn of_file(source: &SourceFile, facts: &Facts) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut found = |line, rule, message| violations.push(Violation::new(&source.path, line, rule, message));
    for f in facts.functions.iter().filter(|f| !f.in_test && f.lines > MAX_FUNCTION_LINES) {
        found(
            f.line,
            rule::FUNCTION_SIZE,
            format!("`{}` has {} lines ({MAX_FUNCTION_LINES} at most)", f.name, f.lines),
        );
    }
    for (name, line) in &facts.macros {
        if matches!(name.as_str(), "todo" | "unimplemented") {
            found(*line, rule::NO_STUB, format!("`{name}!` is a stub"));
        }
    }
    for (name, line) in &facts.ignored {
        found(*line, rule::IGNORED_TEST, format!("`{name}` is ignored without a reason"));
    }
    violations
}

/// What holds in the vocabulary and in components only.
fn of_pure_file(source: &SourceFile, facts: &Facts) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut found =
        |line, rule, message: String| violations.push(Violation::new(&source.path, line, rule, message));
    for item in facts.statics.iter().filter(|item| item.mutable) {
        found(item.line, rule::GLOBAL_STATE, format!("`{}` is global state (I1)", item.name));
    }
    for (name, line) in facts.macros.iter().filter(|(name, _)| name == "thread_local") {
        found(*line, rule::GLOBAL_STATE, format!("`{name}` is global state (I1)"));
    }
    let text = &source.text;
    if source.path.ends_with("/src/lib.rs") && !text.contains("#![cfg_attr(not(feature = \"std\"), no_std)]")
    {
        found(
            1,
            rule::NO_STD,
            "the crate root must hold `#![cfg_attr(not(feature = \"std\"), no_std)]`".to_owned(),
        );
    }
    if source.path.ends_with("/tx/mod.rs") || source.path.ends_with("/commitments/mod.rs") {
        let lint = |line: &str| line.contains("deny(") || line.contains("warn(") || line.contains("forbid(");
        if !text.lines().any(|line| line.contains("clippy::arithmetic_side_effects") && lint(line)) {
            found(
                1,
                rule::MONEY_LINT,
                "must hold `#![deny(clippy::arithmetic_side_effects)]` (I8)".to_owned(),
            );
        }
    }
    let hash_map = text.lines().position(|line| line.contains("hashbrown::"));
    if let (Some(line), false) = (hash_map, text.contains("I10")) {
        let message = "a file that uses hashbrown says with `I10` why its order is never seen";
        found(line + 1, rule::HASH_ORDER, message.to_owned());
    }
    violations
}

fn idle_tests(tree: &Tree, facts: &[(&SourceFile, Facts)]) -> Vec<Violation> {
    let mut packages = BTreeMap::<&str, Vec<(&str, &Function)>>::new();
    for (source, facts) in facts {
        let package = tree.package_of(&source.path).map_or("", |package| package.name.as_str());
        packages
            .entry(package)
            .or_default()
            .extend(facts.functions.iter().map(|f| (source.path.as_str(), f)));
    }
    let mut violations = Vec::new();
    for functions in packages.values() {
        let in_trial = functions.iter().any(|(path, _)| Place::of(path) == Some(Place::Trial));
        let idle = trials::idle(&functions.iter().map(|(_, f)| *f).collect::<Vec<_>>(), in_trial);
        for (path, f) in functions.iter().filter(|(_, f)| idle.iter().any(|idle| core::ptr::eq(*idle, *f))) {
            let message = format!("`{}` reaches no assertion, so it cannot fail", f.name);
            violations.push(Violation::new(path, f.line, rule::EMPTY_TEST, message));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::breaks;
    use std::path::PathBuf;

    fn check_files(files: &[(&str, &str)]) -> Vec<Violation> {
        let source =
            |(path, text): &(&str, &str)| SourceFile { path: (*path).to_owned(), text: (*text).to_owned() };
        let sources = files.iter().map(source).collect();
        check(&Tree { root: PathBuf::new(), packages: Vec::new(), sources }).unwrap()
    }

    fn found(path: &str, text: &str, rule: &str) -> bool {
        breaks(&check_files(&[(path, text)]), rule)
    }

    fn long_function() -> String {
        format!("fn long() {{{}}}\n", "\n".repeat(MAX_FUNCTION_LINES))
    }

    #[test]
    fn a_long_function_is_seen() {
        assert!(found("sim/src/a.rs", &long_function(), rule::FUNCTION_SIZE));
        let in_impl = format!("impl A {{ {} }}", long_function());
        assert!(found("sim/src/a.rs", &in_impl, rule::FUNCTION_SIZE));
        let fits = format!("fn fits() {{{}}}\n", "\n".repeat(MAX_FUNCTION_LINES - 1));
        assert!(!found("sim/src/a.rs", &fits, rule::FUNCTION_SIZE));
    }

    #[test]
    fn a_long_test_is_allowed() {
        assert!(!found("sim/tests/a.rs", &long_function(), rule::FUNCTION_SIZE));
        assert!(!found(
            "a/src/b.rs",
            &format!("#[cfg(test)] mod t {{ {} }}", long_function()),
            rule::FUNCTION_SIZE
        ));
        let apart = [("a/src/b.rs", "#[cfg(test)]\nmod t;"), ("a/src/b/t.rs", &long_function())];
        assert_eq!(check_files(&apart), []);
        let product = [("a/src/b.rs", "mod t;"), ("a/src/b/t.rs", &long_function())];
        assert!(breaks(&check_files(&product), rule::FUNCTION_SIZE));
    }

    #[test]
    fn stubs_and_ignored_tests_are_seen() {
        assert!(found("sim/src/a.rs", "fn a() { todo!() }", rule::NO_STUB));
        assert!(found("sim/src/a.rs", "fn a() { unimplemented!() }", rule::NO_STUB));
        assert!(found("sim/src/a.rs", "#[test]\n#[ignore]\nfn a() { assert!(b) }", rule::IGNORED_TEST));
        assert!(!found(
            "sim/src/a.rs",
            "#[test]\n#[ignore = \"why\"]\nfn a() { assert!(b) }",
            rule::IGNORED_TEST
        ));
    }

    #[test]
    fn an_idle_test_is_seen() {
        assert!(found("sim/src/a.rs", "#[test]\nfn a() {}", rule::EMPTY_TEST));
        assert!(!found("sim/src/a.rs", "#[test]\nfn a() { assert!(b) }", rule::EMPTY_TEST));
    }

    #[test]
    fn the_code_of_a_trial_may_assert_for_its_tests() {
        let text = "#[test]\nfn a() { step(); }";
        let files = |place: &str| {
            let (code, test) = (format!("{place}/src/lib.rs"), format!("{place}/tests/a.rs"));
            breaks(&check_files(&[(&code, "fn step() { assert!(b) }"), (&test, text)]), rule::EMPTY_TEST)
        };
        assert_eq!((files("sim"), files("adapters/keys")), (false, true));
    }

    #[test]
    fn global_state_is_seen_in_components_only() {
        let text = "static A: Mutex<u8> = Mutex::new(0);";
        assert!(found("lightning-peer/src/a.rs", text, rule::GLOBAL_STATE));
        assert!(!found("adapters/keys/src/a.rs", text, rule::GLOBAL_STATE));
        assert!(found("lightning-peer/src/a.rs", "thread_local! { static B: u8 = 0; }", rule::GLOBAL_STATE));
    }

    #[test]
    fn a_crate_that_needs_std_is_seen() {
        assert!(found("lightning-peer/src/lib.rs", "#![no_std]", rule::NO_STD));
        assert!(!found(
            "lightning-peer/src/lib.rs",
            "#![cfg_attr(not(feature = \"std\"), no_std)]",
            rule::NO_STD
        ));
    }

    #[test]
    fn money_without_its_lint_is_seen() {
        let path = "lightning-traits/src/tx/mod.rs";
        assert!(found(path, "mod a;", rule::MONEY_LINT));
        assert!(found(path, "#![allow(clippy::arithmetic_side_effects)]", rule::MONEY_LINT));
        assert!(!found(path, "#![deny(clippy::arithmetic_side_effects)]", rule::MONEY_LINT));
    }

    #[test]
    fn an_unexplained_hash_map_is_seen() {
        let text = "use hashbrown::HashMap;";
        assert!(found("lightning-router/src/a.rs", text, rule::HASH_ORDER));
        assert!(!found(
            "lightning-router/src/a.rs",
            &format!("// I10: never iterated\n{text}"),
            rule::HASH_ORDER
        ));
    }
}
