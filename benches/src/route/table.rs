//! Times and answers, summed up.
use std::time::Duration;

use super::Answer;
use crate::cpu::spent;

/// What one pathfinder answered to one question, and how long it took.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// CPU time of the thread.
    pub time: Duration,
    /// The answer.
    pub answer: Option<Answer>,
}

impl Sample {
    /// Asks once.
    pub fn take(ask: impl FnOnce() -> Option<Answer>) -> Self {
        let mut answer = None;
        let time = spent(|| answer = ask());
        Self { time, answer }
    }
}

/// The time that so many of a hundred samples are within.
#[must_use]
pub fn percentile(samples: &[Sample], hundredths: usize) -> Duration {
    let mut times: Vec<Duration> = samples.iter().map(|sample| sample.time).collect();
    times.sort();
    let at = (times.len() * hundredths / 100).min(times.len().saturating_sub(1));
    times.get(at).copied().unwrap_or_default()
}

/// One row: name, how many were answered, times, fees in millionths of the amount at the median.
#[must_use]
pub fn row(name: &str, samples: &[Sample], amounts: &[u64]) -> String {
    let answers = samples.iter().filter(|sample| sample.answer.is_some()).count();
    let mut fees: Vec<f64> = samples
        .iter()
        .zip(amounts)
        .filter_map(|(sample, amount)| Some(sample.answer?.fee_msat as f64 * 1e6 / *amount as f64))
        .collect();
    fees.sort_by(f64::total_cmp);
    let parts: usize = samples.iter().filter_map(|sample| Some(sample.answer?.parts)).sum();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    format!(
        "| {name} | {:.1} % | {:.3} | {:.3} | {:.3} | {:.0} | {:.2} |",
        100.0 * answers as f64 / samples.len().max(1) as f64,
        ms(percentile(samples, 50)),
        ms(percentile(samples, 95)),
        ms(percentile(samples, 99)),
        fees.get(fees.len() / 2).copied().unwrap_or(0.0),
        parts as f64 / answers.max(1) as f64,
    )
}

/// The line above such rows.
pub const HEAD: &str = "| | answered | median ms | p95 ms | p99 ms | fee ppm, median | parts |\n| --- | --- | --- | --- | --- | --- | --- |";
