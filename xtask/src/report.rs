//! What a check says: a violation names the place, the rule and the remedy.
use std::fmt;
use std::path::PathBuf;

/// One breach of one rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    /// Path relative to the workspace root.
    pub(crate) file: String,
    /// Line, counted from 1; 0 where the whole file is meant.
    pub(crate) line: usize,
    /// The rule, by the short name that `CONTRIBUTING.md` gives it.
    pub(crate) rule: &'static str,
    /// What is wrong, and what would be right.
    pub(crate) message: String,
}

impl Violation {
    /// A violation of `rule` at `line` of `file`.
    pub(crate) fn new(file: &str, line: usize, rule: &'static str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, rule, message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: [{}] {}", self.file, self.line, self.rule, self.message)
    }
}

/// Why `cargo xtask` ends with an error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line was not understood.
    #[error("{0}")]
    Usage(&'static str),
    /// A file could not be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A file did not parse.
    #[error("{file}: does not parse: {message}")]
    Parse {
        /// The file.
        file: String,
        /// What the parser said.
        message: String,
    },
    /// A program that a check needs failed.
    #[error("{command}: {message}")]
    Command {
        /// The command line.
        command: String,
        /// Its end.
        message: String,
    },
    /// The check ran and found violations, which have been printed.
    #[error("{check}: {count} violation(s)")]
    Violations {
        /// The check.
        check: &'static str,
        /// How many.
        count: usize,
    },
    /// The check itself is broken: it did not notice what was planted for it.
    #[error("{check} proves nothing: {message}")]
    Blind {
        /// The check.
        check: &'static str,
        /// What it overlooked.
        message: String,
    },
}
