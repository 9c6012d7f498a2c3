//! What watching costs: the table of `benches/README.md`, ours and LDK's in turns, by CPU time of the thread.
//!
//! Without an argument all rows; with the name of one (`block`, `past`, `restore`, `breach`) that one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods, reason = "a bench")]

use std::time::Duration;

use bitcoin::Transaction;
use lightning_benches::cpu::{median, resident, spent};
use lightning_benches::watch::{Cheated, Copies, LdkWatch, Watch, unrelated};

const TRANSACTIONS: u32 = 3_000;

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Medians for one block, of sets of several sizes in turns.
fn blocks(sets: &mut [Watch], rounds: usize) -> Vec<Duration> {
    let mut transactions = unrelated(TRANSACTIONS);
    let mut times = vec![Vec::new(); sets.len()];
    for _ in 0..rounds {
        for (set, times) in sets.iter_mut().zip(&mut times) {
            let (took, back) = set.connect(transactions, |work| spent(work));
            times.push(took);
            transactions = back;
        }
    }
    times.into_iter().map(median).collect()
}

fn block() {
    let copies = Copies::of(10);
    let mut sets = Vec::new();
    for outputs in [1, 1_000, 100_000, 1_000_000] {
        let before = resident();
        let set = Watch::new(&copies, outputs, true);
        let bytes = resident().saturating_sub(before) as f64 / f64::from(outputs);
        println!("{outputs} watched, index only: {bytes:.0} bytes each");
        sets.push(set);
    }
    let times = blocks(&mut sets, 101);
    for (set, time) in sets.iter().zip(&times) {
        let ratio = time.as_secs_f64() / times[0].as_secs_f64();
        println!(
            "block of {TRANSACTIONS}, {} watched: {:.3} ms, {ratio:.2} times one",
            set.channels(),
            millis(*time)
        );
    }
    drop(sets);
    let mut ldk = LdkWatch::new();
    for channels in [1, 100, 1_000, 5_000] {
        ldk.grow_to(channels);
        let mut ours = Watch::new(&copies, u32::try_from(channels).unwrap(), false);
        let mut transactions = unrelated(TRANSACTIONS);
        let (mut of_ours, mut of_ldk) = (Vec::new(), Vec::new());
        for _ in 0..if channels > 1_000 { 5 } else { 11 } {
            let turn = |set: &mut LdkWatch, transactions: Vec<Transaction>| {
                set.connect(transactions, |work| spent(work))
            };
            let (took, back) = turn(&mut ldk, transactions);
            of_ldk.push(took);
            let (took, back) = ours.connect(back, |work| spent(work));
            of_ours.push(took);
            transactions = back;
        }
        let (ours, ldk) = (median(of_ours), median(of_ldk));
        let ratio = ldk.as_secs_f64() / ours.as_secs_f64();
        println!(
            "block of {TRANSACTIONS}, {channels} channels: ours {:.3} ms, LDK {:.3} ms, {ratio:.0} times as fast",
            millis(ours),
            millis(ldk)
        );
    }
}

/// Bytes of a monitor after so many payments, in the store and in memory.
fn past() {
    let mut before = 0;
    for payments in [0_usize, 1_000, 10_000] {
        let copies = Copies::of(payments);
        let stored = copies.stored().1;
        let sum = |all: &[Vec<u8>]| all.iter().map(Vec::len).sum::<usize>();
        let state = stored.monitor.as_ref().map_or(0, Vec::len);
        let bytes = stored.new.len() + state + sum(&stored.past) + sum(&stored.updates);
        let many = copies.many(if payments > 1_000 { 100 } else { 1_000 });
        let resident_before = resident();
        let watch = Watch::restore(&many, false);
        let memory = resident().saturating_sub(resident_before) / watch.channels();
        println!(
            "after {payments} payments: {bytes} bytes stored ({} new, {state} state, {} past, {} updates), {memory} in memory",
            stored.new.len(),
            sum(&stored.past),
            sum(&stored.updates)
        );
        if payments > 0 {
            println!("  {:.1} bytes a payment stored", (bytes as f64 - before as f64) / payments as f64);
        } else {
            before = bytes;
        }
    }
}

fn restore() {
    const CHANNELS: u32 = 100_000;
    let stored = Copies::of(20).many(CHANNELS);
    let before = resident();
    let mut set = None;
    let took = spent(|| set = Some(Watch::restore(&stored, true)));
    let bytes = resident().saturating_sub(before) / CHANNELS as usize;
    println!(
        "restoring {CHANNELS} monitors: {:.1} s of CPU; {bytes} bytes of memory each",
        took.as_secs_f64()
    );
}

fn breach() {
    const CHANNELS: u32 = 10_000;
    for htlcs in [0, 5] {
        let cheated = Cheated::new(CHANNELS, htlcs);
        let mut watch = cheated.watch();
        let (took, _) = watch.connect(cheated.block(), |work| spent(work));
        let claims = watch.broadcast();
        let inputs: usize = claims.iter().map(|claim| claim.input.len()).sum();
        println!(
            "{CHANNELS} breaches with {htlcs} HTLCs each in one block: {} claims of {inputs} outputs in {:.1} s of CPU",
            claims.len(),
            took.as_secs_f64()
        );
    }
}

fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    let wants = |row: &str| name.is_empty() || name == row;
    if wants("block") {
        block();
    }
    if wants("past") {
        past();
    }
    if wants("restore") {
        restore();
    }
    if wants("breach") {
        breach();
    }
}
