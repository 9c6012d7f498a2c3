//! Errors as users meet them: a code that does not change, one sentence, and what to do.
//!
//! `adapter.rs` gives the errors of the adapters their codes. [`Code`] is the table of all of them; it decides the HTTP status, the exit code, and what `lnode explain` says.
//!
//! # Invariants
//! - a code is never given another meaning; new ones are added at the end
mod adapter;

use std::fmt;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Refused, or failed.
    Error = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// The payment failed; nothing was paid.
    PaymentFailed = 3,
    /// The node does not answer.
    Unreachable = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $status:literal, $exit:ident;)+) => {
        /// What went wrong, as a program can match it. Written `LN0012`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The number behind `LN`.
            #[must_use]
            pub const fn number(self) -> u16 {
                match self { $(Self::$name => $number),+ }
            }

            /// The status of an HTTP answer with this error.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status),+ }
            }

            /// How a command ends that met it.
            #[must_use]
            pub const fn exit(self) -> Exit {
                match self { $(Self::$name => Exit::$exit),+ }
            }

            /// What it means and what to do, for `lnode explain`.
            #[must_use]
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc, "\n"),+)),+ }
            }
        }
    };
}

codes! {
    /// A parameter is missing, unknown, or no such value. The message names it; `lnode help <command>` and
    /// `GET /v1/help` list what there is.
    BadRequest = 1, 400, Usage;
    /// The node has no such method. `lnode help` lists them.
    UnknownMethod = 2, 404, Usage;
    /// The token is missing or not the node's. The client reads it from `admin.token` in the data directory;
    /// others send it as `Authorization: Bearer <token>`.
    Unauthorized = 3, 401, Error;
    /// GET is for methods that change nothing; call the others with POST.
    MethodNotAllowed = 4, 405, Error;
    /// The request is larger than the API takes.
    TooLarge = 5, 413, Error;
    /// The answer took too long. What was asked for may still happen: look with the commands that list things.
    Timeout = 6, 504, Error;
    /// A fault of this program. Nothing was changed by the request; please report it with the log.
    Internal = 7, 500, Error;
    /// The node is starting or stopping and answers nothing else yet. Try again in a moment.
    NotReady = 8, 503, Error;
    /// The configuration is wrong. The message names file, line and key.
    BadConfig = 9, 400, Usage;
    /// Another program listens on that address, perhaps another node. Stop it or choose another port.
    PortInUse = 10, 500, Error;
    /// The address to listen on is not one of this machine, or needs other rights.
    CannotListen = 11, 500, Error;
    /// There is not enough money for it: on chain when opening or sending, in the channels when paying. Some is kept
    /// back to pay the fees of unilateral closes, and each side of a channel keeps 1 % as its reserve.
    InsufficientFunds = 12, 409, Error;
    /// An address, an invoice, a bitcoind or a data directory belongs to another network than the node.
    WrongNetwork = 13, 400, Error;
    /// The invoice has expired. Ask the payee for a new one.
    InvoiceExpired = 14, 409, Error;
    /// The text is no invoice that can be paid: damaged when it was copied, or of a kind that is not supported.
    BadInvoice = 15, 400, Error;
    /// The node has no such channel. `lnode listchannels` shows them.
    NoSuchChannel = 16, 404, Error;
    /// The node has no connection with that peer. `lnode connect` makes one.
    NotConnected = 17, 409, Error;
    /// The peer cannot be reached, or is somebody else than expected.
    PeerUnreachable = 18, 502, Error;
    /// The peer refused. The message has its reason, as it gave it.
    PeerRefused = 19, 502, Error;
    /// The payment failed; nothing was paid.
    PaymentFailed = 20, 402, PaymentFailed;
    /// There is no way to the payee with enough capacity, or none within the limit for fees.
    NoRoute = 21, 402, PaymentFailed;
    /// The invoice is paid, or being paid. `lnode listpayments` shows it.
    AlreadyPaid = 22, 409, Error;
    /// The node has no such payment or invoice.
    NoSuchPayment = 23, 404, Error;
    /// The channel is not in a state in which this can be done.
    WrongChannelState = 24, 409, Error;
    /// bitcoind, or the embedded chain, does not answer or refuses the credentials.
    ChainUnreachable = 25, 502, Error;
    /// The chain refused a transaction.
    ChainRefused = 26, 502, Error;
    /// The database is damaged. Restore it from a backup, and never delete it: it holds your channels.
    DatabaseCorrupt = 27, 500, Error;
    /// Another process uses the data directory, probably another node.
    DatabaseInUse = 28, 500, Error;
    /// The disk is full, or it fails, or a file may not be read or written.
    Disk = 29, 500, Error;
    /// The node does not answer at the address of its API. Start it with `lnode run`, or name the right `--dir`,
    /// `--network` or `--api-listen`.
    DaemonUnreachable = 30, 502, Unreachable;
    /// There is no token for the API, or it cannot be read. The node writes it when it starts.
    NoToken = 31, 401, Error;
    /// What was asked for is not allowed by a limit of the node or of the protocol.
    LimitExceeded = 32, 409, Error;
    /// What answers at that address is not the API of a node.
    NotANode = 33, 502, Unreachable;
    /// The command was given up before what it waited for had happened. It may still happen.
    StillPending = 34, 504, Error;
    /// This node was restored elsewhere from its watchtowers, and the towers serve that life of it only. This instance is frozen for
    /// good: what it has of its channels is old, and to publish it would lose them. Use the restored node; this data directory is of
    /// no use any more.
    RestoredElsewhere = 35, 409, Error;
    /// None of the watchtowers that were named answers. Look at their addresses and whether they run; nothing was changed.
    NoTower = 36, 502, Error;
    /// The watchtowers answer and know no node of this seed. The words are another node's, or the towers are; nothing was changed.
    WrongSeed = 37, 409, Error;
    /// The data directory has a node already. A node is restored into an empty directory, so that nothing newer is overwritten.
    NotEmpty = 38, 409, Error;
    /// Two watchtowers have two different states of a channel by the same number. One of them is wrong, or two instances of the node
    /// ran at the same time; nothing was restored.
    TowersDisagree = 39, 409, Error;
    /// The watchtowers know the node and have no channel of it that could be restored.
    NothingToRestore = 40, 404, Error;
}

impl Code {
    /// Reads `LN0012`, `12` or `ln12`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.trim_start_matches(['L', 'l', 'N', 'n']);
        let number: u16 = digits.parse().ok()?;
        Self::ALL.iter().copied().find(|code| code.number() == number)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LN{:04}", self.number())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("unknown error code {text}")))
    }
}

/// An error as the API answers it and the commands print it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApiError {
    /// Which.
    pub code: Code,
    /// One sentence.
    pub message: String,
    /// What to do about it; empty when the message says it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
    /// Values for programs.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

impl ApiError {
    /// An error with a message that says everything.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: String::new(), details: Value::Null }
    }

    /// The same with another message.
    #[must_use]
    pub fn said(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Adds values for programs.
    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    /// A parameter that is wrong.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(Code::BadRequest, message)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for ApiError {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_are_unique_and_read_back() {
        let numbers: BTreeSet<u16> = Code::ALL.iter().map(|code| code.number()).collect();
        assert_eq!(numbers.len(), Code::ALL.len());
        for code in Code::ALL {
            assert_eq!(Code::parse(&code.to_string()), Some(*code));
            assert!(code.explanation().len() > 20, "{code} has no explanation");
        }
    }

    #[test]
    fn code_is_read_as_people_write_it() {
        assert_eq!(Code::parse("ln12"), Some(Code::InsufficientFunds));
        assert_eq!(Code::parse("12"), Some(Code::InsufficientFunds));
        assert_eq!(Code::parse("LN9999"), None);
        assert_eq!(Code::parse(""), None);
    }

    #[test]
    fn error_keeps_its_parts_in_json() {
        let error = ApiError::new(Code::NoRoute, "no route").hint("open a channel");
        let text = serde_json::to_string(&error).unwrap();
        assert_eq!(text, r#"{"code":"LN0021","message":"no route","hint":"open a channel"}"#);
        assert_eq!(serde_json::from_str::<ApiError>(&text).unwrap(), error);
        assert_eq!(error.to_string(), "no route; open a channel");
    }
}
