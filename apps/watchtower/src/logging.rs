//! The log on standard error: what the tower and the library's structures say.
use std::io;

use lightning_traits::interface::{Level, LogRecord, Logger};
use tracing_subscriber::{EnvFilter, fmt};

/// Starts logging, once in a process, with a filter such as `info` or `component=debug`.
///
/// # Errors
/// When the filter is none, or when the process logs already.
pub fn start(filter: &str) -> Result<(), String> {
    let filter =
        EnvFilter::try_new(filter).map_err(|error| format!("{filter:?} is no log filter: {error}"))?;
    let is_terminal = io::IsTerminal::is_terminal(&io::stderr());
    let started = fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(is_terminal).try_init();
    started.map_err(|error| format!("the log cannot start: {error}"))
}

/// Hands the records of the structures to `tracing`, with the target `component`.
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingLogger;

macro_rules! forward {
    ($level:ident, $record:expr) => {{
        let record = $record;
        let channel = record.channel.map(tracing::field::display);
        tracing::$level!(target: "component", module = record.module, channel, "{}", record.message)
    }};
}

impl Logger for TracingLogger {
    fn log(&self, record: &LogRecord<'_>) {
        match record.level {
            Level::Trace => forward!(trace, record),
            Level::Debug => forward!(debug, record),
            Level::Info => forward!(info, record),
            Level::Warn => forward!(warn, record),
            Level::Error => forward!(error, record),
        }
    }
}
