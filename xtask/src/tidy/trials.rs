//! A test that cannot fail proves nothing: each must reach an assertion, its own or that of a function it calls.
//!
//! Functions are known by name alone and the search stays inside one package: a coarse net with few holes
//! for a test that merely runs something. An assertion in product code is no test of it, except in packages that
//! are trials as a whole.
use std::collections::BTreeSet;

use super::facts::Function;

/// The tests among `functions`, all of one package, that reach no assertion; `in_trial` says that the package is a
/// trial as a whole.
pub(crate) fn idle<'a>(functions: &[&'a Function], in_trial: bool) -> Vec<&'a Function> {
    let counts = |function: &Function| in_trial || function.in_test;
    let mut asserting: BTreeSet<&str> = functions
        .iter()
        .filter(|function| function.asserts && counts(function))
        .map(|f| f.name.as_str())
        .collect();
    loop {
        let before = asserting.len();
        for function in functions.iter().filter(|function| counts(function)) {
            if function.calls.iter().any(|call| asserting.contains(call.as_str())) {
                asserting.insert(&function.name);
            }
        }
        if asserting.len() == before {
            break;
        }
    }
    let reaches = |f: &Function| f.asserts || f.calls.iter().any(|call| asserting.contains(call.as_str()));
    functions.iter().copied().filter(|function| function.is_test && !reaches(function)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::facts::Facts;
    use crate::tree::SourceFile;

    fn idle_names(text: &str) -> Vec<String> {
        let source = SourceFile { path: "a/tests/b.rs".to_owned(), text: text.to_owned() };
        let facts = Facts::of(&source, true).unwrap();
        idle(&facts.functions.iter().collect::<Vec<_>>(), false).into_iter().map(|f| f.name.clone()).collect()
    }

    #[test]
    fn a_test_that_asserts_nothing_is_seen() {
        assert_eq!(idle_names("#[test] fn a() {} #[test] fn b() { run(); } fn run() { f(); }"), ["a", "b"]);
    }

    #[test]
    fn an_assertion_may_be_some_calls_away() {
        assert_eq!(
            idle_names(
                "#[test] fn a() { run(); } fn run() { cases().for_each(check); }
                 fn check() { assert!(true); } #[test] fn b() { check() }"
            ),
            [""; 0]
        );
    }
}
