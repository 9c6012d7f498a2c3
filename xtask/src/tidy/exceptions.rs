//! The exceptions, each with its reason. One that is no longer needed is itself a violation, so the list only
//! holds what is true.
use super::rule;
use crate::report::Violation;

/// One item that may break one rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exception {
    /// The rule.
    pub(crate) rule: &'static str,
    /// The file.
    pub(crate) file: &'static str,
    /// The function, static or file part that the violation names in backticks.
    pub(crate) item: &'static str,
    /// Why it is better so.
    pub(crate) reason: &'static str,
}

/// All of them.
pub(crate) const EXCEPTIONS: &[Exception] = &[
    Exception {
        rule: rule::GLOBAL_STATE,
        file: "lightning-traits/src/sync/host.rs",
        item: "thread_local",
        reason: "the counter of held locks, in debug builds only: it can see what no argument could carry (I7)",
    },
    Exception {
        rule: rule::EMPTY_TEST,
        file: "lightning-offers/src/bolt11/parse.rs",
        item: "checksum_is_consistent",
        reason: "the library's own `sanity_check` panics, outside of what this check can see",
    },
    Exception {
        rule: rule::CRATE_GRAPH,
        file: "tests/interop-ldk/Cargo.toml",
        item: "lightning-node",
        reason: "its binary is the daemon itself, so that cargo never lets the tests run against an older one",
    },
];

/// Removes what is excepted; adds a violation for each exception that excepts nothing or gives no reason.
pub(crate) fn apply(violations: Vec<Violation>, exceptions: &[Exception]) -> Vec<Violation> {
    let covers = |exception: &Exception, violation: &Violation| {
        exception.rule == violation.rule
            && exception.file == violation.file
            && violation.message.contains(&format!("`{}`", exception.item))
    };
    let idle = exceptions.iter().filter(|exception| {
        exception.reason.is_empty() || !violations.iter().any(|violation| covers(exception, violation))
    });
    let complaints: Vec<_> = idle
        .map(|exception| {
            let message =
                format!("the exception of `{}` from {} is not needed", exception.item, exception.rule);
            Violation::new(exception.file, 0, rule::EXCEPTION, message)
        })
        .collect();
    let mut left = violations;
    left.retain(|violation| !exceptions.iter().any(|exception| covers(exception, violation)));
    left.extend(complaints);
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Exception =
        Exception { rule: rule::FUNCTION_SIZE, file: "a.rs", item: "long", reason: "a table" };

    fn violation(file: &str, item: &str) -> Violation {
        Violation::new(file, 1, rule::FUNCTION_SIZE, format!("`{item}` has 90 lines"))
    }

    #[test]
    fn an_exception_excepts_its_item_only() {
        let violations =
            vec![violation("a.rs", "long"), violation("a.rs", "longer"), violation("b.rs", "long")];
        assert_eq!(apply(violations.clone(), &[LONG]), violations[1..]);
    }

    #[test]
    fn an_exception_that_excepts_nothing_is_seen() {
        assert_eq!(apply(Vec::new(), &[LONG]).first().map(|violation| violation.rule), Some(rule::EXCEPTION));
    }
}
