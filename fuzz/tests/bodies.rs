//! Every fuzz target on stable: messages of all types and their mutations, official vectors, pseudo-random bytes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "tests"
)]
#[path = "../../lightning-traits/tests/wire_samples/mod.rs"]
mod wire_samples;

use lightning_fuzz::TARGETS;
use wire_samples::{Source, one_of_each};

/// Inputs that a target is known to do something with, for mutation.
fn corpus(seed: u64) -> Vec<Vec<u8>> {
    let mut corpus = vec![vec![]];
    for mut source in [Source::least(seed), Source::random(seed)] {
        for message in one_of_each(&mut source) {
            let bytes = message.to_wire().unwrap();
            // Without the type, and without the signatures of gossip: what the inner decoders expect.
            corpus.extend(
                [2, 2 + 64, 2 + 256].iter().filter_map(|skip| bytes.get(*skip..).map(<[u8]>::to_vec)),
            );
            corpus.push(bytes);
        }
    }
    corpus
}

/// One to four changes of the kinds that a fuzzer makes.
fn mutate(bytes: &mut Vec<u8>, source: &mut Source) {
    for _ in 0..=source.below(4) {
        let at = source.below(bytes.len() + 1);
        match source.below(6) {
            0 if at < bytes.len() => bytes[at] = source.word() as u8,
            1 if at < bytes.len() => bytes[at] ^= 1 << source.below(8),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => bytes.truncate(at),
            // Lengths and types that sit on an edge of their encoding.
            4 => drop(bytes.splice(
                at..at,
                [[0xfd, 0x00, 0xfc], [0xfe, 0x00, 0x00], [0xff; 3], [0; 3]][source.below(4)],
            )),
            _ => bytes.insert(at, source.word() as u8),
        }
    }
}

#[test]
fn corpus_and_its_mutations() {
    let mut source = Source::random(2);
    let mut runs = 0;
    for seed in 0..6 {
        for input in corpus(seed) {
            TARGETS.iter().for_each(|(_, body)| body(&input));
            for _ in 0..4 {
                let mut mutated = input.clone();
                mutate(&mut mutated, &mut source);
                TARGETS.iter().for_each(|(_, body)| body(&mutated));
                runs += 1;
            }
        }
    }
    assert!(runs > 4_000, "only {runs} runs");
}

#[test]
fn pseudo_random_bytes() {
    let mut source = Source::random(1);
    let mut decoded = 0;
    for run in 0..20_000 {
        // Mostly short: long random input fails at its first field.
        let length = source.below(if run % 100 == 0 { 70_000 } else { 80 });
        let mut input: Vec<u8> = (0..length).map(|_| source.word() as u8).collect();
        // Half of them begin like a message of a known type.
        if run % 2 == 0 && length >= 2 {
            let known = lightning_traits::wire::Message::KNOWN_TYPES;
            input[..2].copy_from_slice(&known[source.below(known.len())].to_be_bytes());
        }
        TARGETS.iter().for_each(|(_, body)| body(&input));
        decoded += usize::from(lightning_traits::wire::Message::decode(&input).is_ok());
    }
    // Unknown types always decode; of the known ones, the short ones sometimes do.
    assert!(decoded > 8_000, "only {decoded} decoded");
}

#[test]
fn every_target_has_its_wrapper() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("cargo-fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        let wrapper =
            std::fs::read_to_string(folder.join("fuzz_targets").join(format!("{name}.rs"))).unwrap();
        assert!(wrapper.contains(&format!("::{name}(data)")), "{name}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}
