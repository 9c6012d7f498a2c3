//! The table of messages by phase, as `docs/channel-phases.md` prints it.
use std::fmt::Write as _;

use lightning_channel::channel::{PhaseName, phase_table};

const ALL: [PhaseName; 13] = [
    PhaseName::Offered,
    PhaseName::AwaitingTransaction,
    PhaseName::AwaitingSigned,
    PhaseName::Requested,
    PhaseName::AwaitingCreated,
    PhaseName::Offline,
    PhaseName::Syncing,
    PhaseName::AwaitingReady,
    PhaseName::Open,
    PhaseName::ShuttingDown,
    PhaseName::Negotiating,
    PhaseName::Resolving,
    PhaseName::Closed,
];

fn printed() -> String {
    let mut text = String::from(
        "# Messages that a channel takes, by phase\n\n\
         Printed from the table in `lightning-channel/src/channel/dispatch.rs`; a test compares. Every other message of\n\
         BOLT 2 is `Violation::Unexpected` there. `open_channel` makes a channel, `error` and `warning` concern every\n\
         phase, so none of them is in the table; `Resolving` answers `channel_reestablish` with an `error`.\n\n\
         | phase | message | method |\n| --- | --- | --- |\n",
    );
    for phase in ALL {
        let rows: Vec<_> = phase_table().iter().filter(|(of, ..)| *of == phase).collect();
        if rows.is_empty() {
            writeln!(text, "| {phase:?} | none | |").unwrap();
        }
        for (_, message, method) in rows {
            writeln!(text, "| {phase:?} | `{message}` | `{method}` |").unwrap();
        }
    }
    text
}

#[test]
fn docs_channel_phases_prints_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/channel-phases.md");
    #[allow(clippy::disallowed_methods, reason = "the test reads the repository's own page")]
    let page = std::fs::read_to_string(path).expect("docs/channel-phases.md");
    assert_eq!(page, printed(), "docs/channel-phases.md is not what the table prints:\n{}", printed());
}

#[test]
fn each_phase_takes_a_message_at_most_once() {
    let table = phase_table();
    for (index, (phase, message, _)) in table.iter().enumerate() {
        let again = table[index + 1..].iter().any(|(other, same, _)| other == phase && same == message);
        assert!(!again, "{phase:?} takes {message} twice");
    }
}
