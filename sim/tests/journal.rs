//! A run goes again from its journal, byte for byte; and what differs is found.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
use std::collections::BTreeSet;

use sim::{Differs, Profile, Script, record, replay, run};

/// As they stand in a journal.
const BOUNDARIES: [&str; 9] =
    ["monitors<", "monitors>", "routes<", "routes>", "sends", "hears", "broadcasts", "follows", "tells"];

#[test]
fn a_run_goes_again_from_its_journal_byte_for_byte() {
    let mut seen = BTreeSet::new();
    for profile in Profile::ALL {
        let script = Script::of_seed(profile, 5, 150);
        let (result, text) = record(&script);
        assert_eq!(result, run(&script, false), "to write it down changes nothing");
        let lines: Vec<&str> = text.split_once("\n\n").unwrap().1.lines().collect();
        assert_eq!(replay(&text), Ok(lines.len()));
        assert!(lines.len() > 1_000, "{profile:?}: {}", lines.len());
        seen.extend(lines.iter().filter_map(|line| line.split(' ').nth(2).map(str::to_owned)));
    }
    for boundary in BOUNDARIES {
        assert!(seen.contains(boundary), "nothing of {boundary}");
    }
}

#[test]
fn a_byte_that_differs_is_found() {
    let (_, text) = record(&Script::of_seed(Profile::Honest, 6, 100));
    let (script, lines) = text.split_once("\n\n").unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    for at in [0, lines.len() / 2, lines.len() - 2] {
        let mut changed: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        let last = changed[at].pop().unwrap();
        changed[at].push(if last == '0' { '1' } else { '0' });
        let found = replay(&format!("{script}\n\n{}\n", changed.join("\n"))).unwrap_err();
        let (written, now) = (Some(changed[at].clone()), Some(lines[at].to_owned()));
        assert_eq!(found, Differs::At { crossing: at, written, now });
    }
    let short = format!("{script}\n\n{}\n", lines[..3].join("\n"));
    let now = Some(lines[3].to_owned());
    assert_eq!(replay(&short), Err(Differs::At { crossing: 3, written: None, now }));
    assert!(matches!(replay("fly 12"), Err(Differs::Unreadable(_))));
    assert!(matches!(replay("fly 12\n\n"), Err(Differs::Unreadable(_))));
}
