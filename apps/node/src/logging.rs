//! The log: what the components and the program say, on standard error.
//!
//! # Invariants
//! - no secret is logged: secret types print as `..`, and requests are logged by their method only
use std::io;

use lightning_traits::interface::{Level, LogRecord, Logger};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::LogConfig;
use crate::error::{ApiError, Code};

/// Starts logging, once in a process.
///
/// # Errors
/// [`Code::BadConfig`] when the filter is none, or when the process logs already.
pub fn start(config: &LogConfig) -> Result<(), ApiError> {
    let wrong =
        |error: &dyn std::fmt::Display| ApiError::new(Code::BadConfig, format!("log.filter: {error}"));
    let filter = EnvFilter::try_new(&config.filter).map_err(|error| wrong(&error))?;
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = if config.json {
        builder.json().try_init()
    } else {
        builder.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init()
    };
    started.map_err(|error| ApiError::new(Code::Internal, format!("the log cannot start: {error}")))
}

/// Hands the records of the components to `tracing`.
///
/// Their target is `component`, and the module that speaks is a field: targets of `tracing` are fixed when a program
/// is compiled. Filter them with `component=debug`, or `component[{module=lightning_channel}]=debug`.
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingLogger;

macro_rules! forward {
    ($level:ident, $record:expr) => {{
        let record = $record;
        let peer = record.peer.map(tracing::field::display);
        let channel = record.channel.map(tracing::field::display);
        tracing::$level!(target: "component", module = record.module, peer, channel, "{}", record.message)
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use lightning_traits::id::{ChannelId, NodeId};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn records_keep_level_module_peer_and_channel() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = fmt()
            .with_env_filter(EnvFilter::new("component=info"))
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            for (level, text) in [(Level::Debug, "hidden"), (Level::Info, "seen"), (Level::Error, "loud")] {
                TracingLogger.log(&LogRecord {
                    level,
                    module: "lightning_channel::open",
                    peer: Some(NodeId([2; 33])),
                    channel: (level == Level::Info).then_some(ChannelId([7; 32])),
                    message: format_args!("{text}"),
                });
            }
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let (info, error) = text.trim_end().split_once('\n').unwrap();
        assert!(info.contains("INFO component: seen") && info.contains("lightning_channel::open"), "{info}");
        assert!(info.contains(&format!("peer={}", NodeId([2; 33]))), "{info}");
        assert!(info.contains(&format!("channel={}", ChannelId([7; 32]))), "{info}");
        assert!(error.contains("ERROR component: loud") && !error.contains("channel="), "{error}");
    }
}
