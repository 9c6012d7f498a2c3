//! Licences: what every crate in the tree says of itself must be met by the list in `deny.toml`.
use super::policy::Policy;
use super::rule;
use crate::report::Violation;

/// Checks pairs of crate and licence expression, as `cargo metadata` gives them.
pub(crate) fn check(crates: &[(String, Option<String>)], policy: &Policy) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (name, licence) in crates {
        let allowed = licence.as_deref().is_some_and(|licence| is_met(licence, &policy.licences));
        if !allowed {
            let licence = licence.as_deref().unwrap_or("none");
            let message = format!("the licence of `{name}` is {licence}: see deny.toml");
            violations.push(Violation::new("Cargo.lock", 0, rule::LICENCE, message));
        }
    }
    if crates.is_empty() {
        violations.push(Violation::new("Cargo.lock", 0, rule::LICENCE, "no crate was seen"));
    }
    violations
}

/// Whether an SPDX expression can be met with `allowed`. `/` is the old way to write OR.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    matches!(any_of(&words, allowed), Some((true, [])))
}

/// `term OR term ...`; AND binds more tightly. Answers with the words that are left.
fn any_of<'a, 'b>(words: &'a [&'b str], allowed: &[String]) -> Option<(bool, &'a [&'b str])> {
    let (mut met, mut rest) = all_of(words, allowed)?;
    while let Some((&"OR", after)) = rest.split_first() {
        let (right, after) = all_of(after, allowed)?;
        met |= right;
        rest = after;
    }
    Some((met, rest))
}

fn all_of<'a, 'b>(words: &'a [&'b str], allowed: &[String]) -> Option<(bool, &'a [&'b str])> {
    let (mut met, mut rest) = one(words, allowed)?;
    while let Some((&"AND", after)) = rest.split_first() {
        let (right, after) = one(after, allowed)?;
        met &= right;
        rest = after;
    }
    Some((met, rest))
}

/// A licence, one with an exception (which only ever permits more), or a group.
fn one<'a, 'b>(words: &'a [&'b str], allowed: &[String]) -> Option<(bool, &'a [&'b str])> {
    let (&word, rest) = words.split_first()?;
    if word == "(" {
        let (met, rest) = any_of(rest, allowed)?;
        return Some((met, rest.strip_prefix(&[")"])?));
    }
    let rest = rest.strip_prefix(&["WITH"]).map_or(Some(rest), |after| after.get(1..))?;
    Some((allowed.iter().any(|licence| licence == word), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(expression: &str) -> bool {
        is_met(expression, &["MIT".to_owned(), "ISC".to_owned()])
    }

    #[test]
    fn expressions_that_can_be_met() {
        for expression in [
            "MIT",
            "GPL-3.0 OR MIT",
            "MIT/Apache-2.0",
            "(MIT OR GPL-3.0) AND ISC",
            "MIT WITH x",
            "GPL-3.0 OR MIT AND ISC",
        ] {
            assert!(met(expression), "{expression}");
        }
    }

    #[test]
    fn expressions_that_cannot() {
        for expression in [
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "(MIT OR ISC) AND GPL-3.0",
            "MIT OR",
            "(MIT",
            "MIT ISC",
            "",
            "MIT WITH",
        ] {
            assert!(!met(expression), "{expression}");
        }
    }

    #[test]
    fn a_crate_without_licence_is_seen() {
        let policy = Policy { licences: vec!["MIT".to_owned()], ..Policy::default() };
        let licences =
            |licence: Option<&str>| check(&[("a".to_owned(), licence.map(str::to_owned))], &policy).len();
        assert_eq!((licences(Some("MIT")), licences(Some("GPL-3.0")), licences(None)), (0, 1, 1));
        assert_eq!(check(&[], &policy).len(), 1, "nothing seen is no proof");
    }
}
