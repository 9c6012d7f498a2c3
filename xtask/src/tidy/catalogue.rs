//! Bugs that other Lightning software had, by the ids of the project's catalogue: each that concerns the channel is a test
//! here, whose name begins with the id (`b05_a_duplicate_...`; several may stand before the rest).
//!
//! A page beside the tests says what each is about.
use std::collections::BTreeSet;

use super::rule;
use crate::report::Violation;
use crate::tree::SourceFile;

/// Where the tests are looked for.
const PLACES: [&str; 3] = ["lightning-channel/", "lightning-monitor/", "lightning-offers/"];
/// Where those of towers are.
const TOWER_PLACES: [&str; 3] = ["apps/watchtower/", "adapters/remote/", "lightning-monitor/"];

/// The page on channels.
pub(crate) const CHANNELS: &str = "lightning-channel/tests/README.md";
/// The page on what happens on chain.
pub(crate) const ON_CHAIN: &str = "lightning-monitor/tests/README.md";
/// The page on watchtowers.
pub(crate) const TOWERS: &str = "apps/watchtower/tests/README.md";

/// Ids that must have a test: opening, dance of commitments, fees and dust, payments, durability, closing.
const CHANNEL_IDS: &[&str] = &[
    "a01", "a02", "a03", "a04", "a05", "a06", "a07", "a08", "a09", "a10", "a11", "a12", "a13", "a14", "a15",
    "a16", "a17", "a18", "b01", "b02", "b03", "b04", "b05", "b06", "b07", "b08", "b09", "b10", "b11", "b12",
    "b13", "b14", "b15", "b16", "b17", "b18", "b19", "b20", "c01", "c02", "c03", "c04", "c05", "c06", "c07",
    "c08", "c09", "c10", "c11", "c12", "c13", "f01", "f02", "f03", "f04", "f07", "f08", "f09", "f10", "f11",
    "f12", "f13", "f14", "f15", "f16", "f17", "j01", "j02", "j03", "j04", "j06", "j07", "j11", "j12", "j14",
    "j15", "k04", "k09", "k10", "k11",
];

/// Ids that must have a test: resolution on chain.
const ON_CHAIN_IDS: &[&str] = &[
    "d01", "d02", "d03", "d04", "d05", "d06", "d07", "d08", "d09", "d10", "d12", "d13", "d15", "d16", "d17",
    "d18", "d19", "d20", "d21", "d22", "d25", "d26", "d27", "d29",
];

/// Ids that must have a test: towers. Not l17, as there are no splices.
const TOWER_IDS: &[&str] = &[
    "l01", "l02", "l03", "l04", "l05", "l06", "l07", "l08", "l09", "l10", "l11", "l12", "l13", "l14", "l15",
    "l16", "l18", "l19", "l20", "l21", "l22", "l23",
];

/// The texts of the pages.
pub(crate) struct Pages<'a> {
    /// [`CHANNELS`].
    pub(crate) channels: &'a str,
    /// [`ON_CHAIN`].
    pub(crate) on_chain: &'a str,
    /// [`TOWERS`].
    pub(crate) towers: &'a str,
}

/// Ids without a test, and without a line on their page.
pub(crate) fn check(sources: &[SourceFile], pages: &Pages<'_>) -> Vec<Violation> {
    let mut violations = check_page(sources, &PLACES, (CHANNELS, pages.channels), CHANNEL_IDS);
    violations.extend(check_page(sources, &PLACES, (ON_CHAIN, pages.on_chain), ON_CHAIN_IDS));
    violations.extend(check_page(sources, &TOWER_PLACES, (TOWERS, pages.towers), TOWER_IDS));
    violations
}

fn check_page(
    sources: &[SourceFile],
    places: &[&str],
    (path, page): (&str, &str),
    all: &[&str],
) -> Vec<Violation> {
    let places = sources.iter().filter(|source| places.iter().any(|place| source.path.starts_with(place)));
    let proven: BTreeSet<&str> = places.flat_map(|source| names(&source.text)).flat_map(ids).collect();
    let unproven =
        all.iter().filter(|id| !proven.contains(**id)).map(|id| (id, "has no test whose name begins so"));
    let unlisted =
        all.iter().filter(|id| !page.contains(&format!("| {id} "))).map(|id| (id, "is not on the page"));
    unproven
        .chain(unlisted)
        .map(|(id, why)| Violation::new(path, 0, rule::CATALOGUE, format!("`{id}` {why}")))
        .collect()
}

/// Names of functions, those inside macros too.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter_map(|line| line.trim_start().strip_prefix("fn "))
        .filter_map(|rest| rest.split('(').next())
}

/// The ids that a name begins with.
fn ids(name: &str) -> impl Iterator<Item = &str> {
    let is_id = |part: &&str| {
        part.len() == 3
            && part.starts_with(|letter: char| letter.is_ascii_lowercase())
            && part.chars().skip(1).all(|digit| digit.is_ascii_digit())
    };
    name.split('_').take_while(is_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_without_a_test_is_seen() {
        let source = |path: &str, text: &str| SourceFile { path: path.to_owned(), text: text.to_owned() };
        let ids = || CHANNEL_IDS.iter().chain(ON_CHAIN_IDS);
        let towers: String =
            TOWER_IDS.iter().map(|id| format!("| {id} | what |\n    fn {id}_x() {{}}\n")).collect();
        let tower = source("apps/watchtower/src/a.rs", &towers);
        let check = |sources: &[SourceFile], channels: &str, on_chain: &str| {
            let sources = [sources, core::slice::from_ref(&tower)].concat();
            super::check(&sources, &Pages { channels, on_chain, towers: &towers })
        };
        let all: String = ids().map(|id| format!("    fn {id}_x() {{}}\n")).collect();
        let page: String = ids().map(|id| format!("| {id} | what |\n")).collect();
        assert_eq!(check(&[source("lightning-channel/src/a.rs", &all)], &page, &page), []);
        let lacking = all.replace("fn b07_x", "fn x_b07").replace("fn d12_x", "fn x_d12");
        assert_eq!(check(&[source("lightning-channel/src/a.rs", &lacking)], &page, &page).len(), 2);
        let elsewhere = check(&[source("sim/src/a.rs", &all)], &page, &page);
        assert_eq!(elsewhere.len(), ids().count(), "elsewhere is nowhere");
        let unlisted = check(&[source("lightning-channel/src/a.rs", &all)], "", &page);
        assert_eq!(unlisted.len(), CHANNEL_IDS.len());
        // What a tower must show a channel cannot.
        let channel = source("lightning-channel/src/a.rs", &towers);
        let pages = Pages { channels: &page, on_chain: &page, towers: &towers };
        let unproven = super::check(&[channel, source("lightning-offers/src/a.rs", &all)], &pages);
        assert_eq!(unproven.len(), TOWER_IDS.len());
    }

    #[test]
    fn a_name_may_begin_with_several() {
        assert_eq!(ids("b13_j04_fault_anywhere").collect::<Vec<_>>(), ["b13", "j04"]);
        assert_eq!(ids("fault_b13").count(), 0);
    }
}
