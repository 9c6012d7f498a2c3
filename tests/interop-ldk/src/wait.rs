//! Bounded waits: a condition is asked again until it holds, or the test fails with what was awaited.
use std::fmt::Display;
use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

/// Enough for anything that needs no block: two cores may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// How long between two looks.
const STEP: Duration = Duration::from_millis(20);

/// Asks `probe` until it answers; panics with `what` and `state()` after `limit`.
pub fn wait_within<T, D: Display>(
    limit: Duration,
    what: &str,
    state: impl Fn() -> D,
    mut probe: impl FnMut() -> Option<T>,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(start.elapsed() < limit, "after {limit:?} still waiting for {what}\n{}", state());
        thread::sleep(STEP);
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

/// Held by a test while it runs: each starts several nodes, so two at once would only slow each other down.
#[must_use]
pub fn turn() -> File {
    let exe = std::env::current_exe().expect("this test's own path");
    let file = File::create(exe.with_file_name("interop-ldk.lock")).expect("a lock file beside the tests");
    file.lock().expect("a turn");
    file
}

/// A folder that goes with its owner, unless `INTEROP_KEEP` is set: then what a failed test left can be looked at.
#[must_use]
pub fn folder() -> tempfile::TempDir {
    let keep = std::env::var_os("INTEROP_KEEP").is_some();
    tempfile::Builder::new().prefix("interop-").disable_cleanup(keep).tempdir().expect("a temporary folder")
}
