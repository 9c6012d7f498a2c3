//! Bounded waits: a condition is asked again until it holds, or the test fails with what was awaited.
use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

/// Enough for anything that needs no block: all cores may be busy with other things. No test waits so long unless it fails.
pub const PATIENCE: Duration = Duration::from_secs(180);
/// How long between the first two looks; each pause is half as long again as the one before.
const FIRST_STEP: Duration = Duration::from_millis(1);
/// How long between two looks at most.
const LAST_STEP: Duration = Duration::from_millis(25);

/// Asks `probe` until it answers; panics with `what` and `state()` after `limit`.
pub fn wait_within<T, D: Display>(
    limit: Duration,
    what: &str,
    state: impl Fn() -> D,
    mut probe: impl FnMut() -> Option<T>,
) -> T {
    let start = Instant::now();
    let mut step = FIRST_STEP;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(start.elapsed() < limit, "after {limit:?} still waiting for {what}\n{}", state());
        thread::sleep(step);
        step = LAST_STEP.min(step * 3 / 2);
    }
}

/// Waits until `holds`, within [`PATIENCE`].
pub fn wait_until<D: Display>(what: &str, state: impl Fn() -> D, mut holds: impl FnMut() -> bool) {
    wait_within(PATIENCE, what, state, || holds().then_some(()));
}

/// The end of a file, for the message of a test that fails.
#[must_use]
pub fn tail(path: &std::path::Path, lines: usize) -> String {
    let Ok(bytes) = std::fs::read(path) else { return format!("({} cannot be read)", path.display()) };
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    let from = all.len().saturating_sub(lines);
    format!("--- the last lines of {} ---\n{}", path.display(), all[from..].join("\n"))
}

/// A folder that goes with its owner, unless `INTEROP_KEEP` is set: then what a failed test left can be looked at.
#[must_use]
pub fn folder() -> tempfile::TempDir {
    let keep = std::env::var_os("INTEROP_KEEP").is_some();
    tempfile::Builder::new().prefix("interop-").disable_cleanup(keep).tempdir().expect("a temporary folder")
}
