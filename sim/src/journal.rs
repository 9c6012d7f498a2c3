//! What passed between the structures of all nodes in one run, in its order; and whether a run that goes again passes the same.
//!
//! A journal is a text: the script of the run, an empty line, a line for each crossing (step, node, boundary, hex), and how the run
//! ended. To replay it is to run its script again and to compare each crossing with the one written down, byte for byte, up to the
//! first that differs. So a run that failed elsewhere, or long ago, is shown to be the same run here; and a change that should
//! change nothing is shown to change nothing.
//!
//! # Invariants
//! - nothing is written down but what crosses a boundary, so a journal does not depend on where it was taken
use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::rc::Rc;

use crate::oracle::Broken;
use crate::run::{Outcome, run_with};
use crate::script::Script;

/// Where something crosses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// The manager calls its monitors.
    Monitors,
    /// What they answer.
    MonitorsSay,
    /// The manager calls its route finder.
    Routes,
    /// What that answers.
    RoutesSay,
    /// A message leaves for a peer: its number, then the bytes.
    Sends,
    /// A message of a peer arrives: its number, then the bytes.
    Hears,
    /// Transactions leave for the chain.
    Broadcasts,
    /// The node has heard of all blocks up to this one.
    Follows,
    /// The user is told.
    Tells,
}

impl Boundary {
    const fn word(self) -> &'static str {
        match self {
            Self::Monitors => "monitors<",
            Self::MonitorsSay => "monitors>",
            Self::Routes => "routes<",
            Self::RoutesSay => "routes>",
            Self::Sends => "sends",
            Self::Hears => "hears",
            Self::Broadcasts => "broadcasts",
            Self::Follows => "follows",
            Self::Tells => "tells",
        }
    }
}

#[derive(Debug, Default)]
struct Book {
    step: usize,
    lines: Vec<String>,
}

/// Where the parts of one run say what happens: aloud, into a book, or not at all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    loud: bool,
    book: Option<Rc<RefCell<Book>>>,
}

impl Journal {
    pub(crate) fn new(loud: bool) -> Self {
        Self { loud, book: None }
    }

    fn with_book() -> Self {
        Self { loud: false, book: Some(Rc::default()) }
    }

    pub(crate) fn say(&self, text: impl FnOnce() -> String) {
        if self.loud {
            println!("{}", text());
        }
    }

    /// The next step of the script begins.
    pub(crate) fn begin(&self, step: usize) {
        if let Some(book) = &self.book {
            book.borrow_mut().step = step;
        }
    }

    /// Something crosses a boundary of a node.
    pub(crate) fn note<B: AsRef<[u8]>>(&self, node: usize, boundary: Boundary, bytes: impl FnOnce() -> B) {
        if let Some(book) = &self.book {
            let book = &mut *book.borrow_mut();
            let mut line = format!("{} {node} {} ", book.step, boundary.word());
            for byte in bytes().as_ref() {
                let _infallible = write!(line, "{byte:02x}");
            }
            book.lines.push(line);
        }
    }
}

fn take(script: &Script) -> (Result<Outcome, Broken>, Vec<String>) {
    let journal = Journal::with_book();
    let result = run_with(script, &journal);
    let mut lines =
        journal.book.map(|book| core::mem::take(&mut book.borrow_mut().lines)).unwrap_or_default();
    lines.push(match &result {
        Ok(outcome) => format!("kept {outcome:?}"),
        Err(broken) => format!("broken {broken}").replace('\n', " "),
    });
    (result, lines)
}

/// Runs a script, and writes down what crossed.
pub fn record(script: &Script) -> (Result<Outcome, Broken>, String) {
    let (result, lines) = take(script);
    (result, format!("{script}\n{}\n", lines.join("\n")))
}

/// Why a journal cannot be replayed, or what went otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Differs {
    /// It is no journal.
    Unreadable(String),
    /// A crossing, counted from 0, is another one.
    At {
        /// Which.
        crossing: usize,
        /// What the journal has, if it has so many.
        written: Option<String>,
        /// What happened now, if so much did.
        now: Option<String>,
    },
}

impl fmt::Display for Differs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |line: &Option<String>| line.clone().unwrap_or_else(|| "(nothing more)".to_owned());
        match self {
            Self::Unreadable(why) => write!(f, "no journal: {why}"),
            Self::At { crossing, written, now } => {
                write!(f, "crossing {crossing} differs\nwritten: {}\nnow:     {}", shown(written), shown(now))
            }
        }
    }
}

/// Runs the script of a journal again; how many crossings were the same, which is all of them.
///
/// # Errors
/// The first that was not.
pub fn replay(text: &str) -> Result<usize, Differs> {
    let (script, written) = text
        .split_once("\n\n")
        .ok_or_else(|| Differs::Unreadable("an empty line ends the script".to_owned()))?;
    let script = Script::parse(script).map_err(|error| Differs::Unreadable(error.to_string()))?;
    let (_, now) = take(&script);
    let written: Vec<&str> = written.lines().collect();
    for crossing in 0..written.len().max(now.len()) {
        let (then, again) = (written.get(crossing).copied(), now.get(crossing));
        if then != again.map(String::as_str) {
            let (written, now) = (then.map(str::to_owned), again.cloned());
            return Err(Differs::At { crossing, written, now });
        }
    }
    Ok(now.len())
}
