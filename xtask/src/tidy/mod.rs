//! `cargo xtask tidy`: what can be seen without compiling.
//!
//! Every check takes plain values and returns violations, so its tests feed it a violating sample.
mod catalogue;
mod documents;
mod exceptions;
mod facts;
mod graph;
mod licence;
mod lock;
mod manifest;
mod policy;
mod syntax;
mod text;
mod trials;

use crate::report::Failure;
#[cfg(test)]
use crate::report::Violation;
use crate::tree::Tree;

/// The rules by the names under which `CONTRIBUTING.md` explains them and reviews cite them.
pub(crate) mod rule {
    /// Who may depend on whom (I2).
    pub(crate) const CRATE_GRAPH: &str = "crate-graph";
    /// Every file says what it is (I12).
    pub(crate) const HEADER: &str = "header";
    /// No file over 800 lines (I12).
    pub(crate) const FILE_SIZE: &str = "file-size";
    /// No function over 80 lines (I12).
    pub(crate) const FUNCTION_SIZE: &str = "function-size";
    /// No file named after nothing.
    pub(crate) const NAMED_FILE: &str = "named-file";
    /// Nothing is left to do in what is called done.
    pub(crate) const NO_STUB: &str = "no-stub";
    /// A test that does not run says why.
    pub(crate) const IGNORED_TEST: &str = "ignored-test";
    /// A test can fail.
    pub(crate) const EMPTY_TEST: &str = "empty-test";
    /// No state outside the structures (I1).
    pub(crate) const GLOBAL_STATE: &str = "global-state";
    /// Components compile without std (I1).
    pub(crate) const NO_STD: &str = "no-std";
    /// Money never wraps (I8).
    pub(crate) const MONEY_LINT: &str = "money-lint";
    /// Nothing depends on the order of a hash map (I10).
    pub(crate) const HASH_ORDER: &str = "hash-order";
    /// Every package takes the lints of the workspace.
    pub(crate) const LINTS: &str = "lints";
    /// What users get has a changelog with its version.
    pub(crate) const CHANGELOG: &str = "changelog";
    /// One version of what must be one, and nothing that is banned.
    pub(crate) const ONE_VERSION: &str = "one-version";
    /// Every licence in the tree is on the list.
    pub(crate) const LICENCE: &str = "licence";
    /// The documents name what exists.
    pub(crate) const CODE_MAP: &str = "code-map";
    /// What broke in other software has a test here.
    pub(crate) const CATALOGUE: &str = "catalogue";
    /// An exception is needed as long as it is listed.
    pub(crate) const EXCEPTION: &str = "exception";

    /// All of them.
    pub(crate) const ALL: [&str; 19] = [
        CRATE_GRAPH,
        HEADER,
        FILE_SIZE,
        FUNCTION_SIZE,
        NAMED_FILE,
        NO_STUB,
        IGNORED_TEST,
        EMPTY_TEST,
        GLOBAL_STATE,
        NO_STD,
        MONEY_LINT,
        HASH_ORDER,
        LINTS,
        CHANGELOG,
        ONE_VERSION,
        LICENCE,
        CODE_MAP,
        CATALOGUE,
        EXCEPTION,
    ];
}

/// Runs every check, prints what it finds, and fails if that is anything.
pub(crate) fn run(tree: &Tree) -> Result<(), Failure> {
    let mut violations = graph::check(&tree.packages);
    violations.extend(manifest::check(tree)?);
    let policy = policy::Policy::parse(&tree.read("deny.toml")?)?;
    violations.extend(lock::check(&tree.read("Cargo.lock")?, &policy));
    violations.extend(licence::check(&tree.licences()?, &policy));
    violations.extend(documents::check(tree)?);
    let (channels, on_chain) = (tree.read(catalogue::CHANNELS)?, tree.read(catalogue::ON_CHAIN)?);
    let towers = tree.read(catalogue::TOWERS)?;
    let pages = catalogue::Pages { channels: &channels, on_chain: &on_chain, towers: &towers };
    violations.extend(catalogue::check(&tree.sources, &pages));
    violations.extend(tree.sources.iter().flat_map(text::check));
    violations.extend(syntax::check(tree)?);
    let mut violations = exceptions::apply(violations, exceptions::EXCEPTIONS);
    violations.sort();
    for violation in &violations {
        println!("{violation}");
    }
    if !violations.is_empty() {
        return Err(Failure::Violations { check: "tidy", count: violations.len() });
    }
    let lines: usize = tree.sources.iter().map(|source| source.text.lines().count()).sum();
    println!("tidy: {} packages, {} files, {lines} lines", tree.packages.len(), tree.sources.len());
    Ok(())
}

/// Whether a violation of `rule` is among `violations`: the tests of the checks ask it.
#[cfg(test)]
fn breaks(violations: &[Violation], rule: &str) -> bool {
    violations.iter().any(|violation| violation.rule == rule)
}
