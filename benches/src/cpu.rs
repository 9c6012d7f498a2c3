//! CPU time of the calling thread, and medians: on a machine that others use too, wall time says little.
use std::time::Duration;

/// How long this thread has run on a core.
#[must_use]
pub fn thread_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.try_into().unwrap(), now.tv_nsec.try_into().unwrap())
}

/// CPU time of one call.
pub fn spent(work: impl FnOnce()) -> Duration {
    let before = thread_time();
    work();
    thread_time().saturating_sub(before)
}

/// The middle one.
#[must_use]
pub fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// Bytes of memory that this process holds now. Zero where the kernel does not say.
#[must_use]
pub fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: Option<usize> = text.split_whitespace().nth(1).and_then(|field| field.parse().ok());
    pages.unwrap_or(0) * rustix::param::page_size()
}
