//! Answers for people: tables, amounts with thin groups, times as dates.
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use serde_json::{Map, Value};

use crate::api::methods::View;

/// The text of an answer for people.
#[must_use]
pub fn render(view: View, answer: &Value) -> String {
    match view {
        View::Sentence(sentence) => sentence.to_owned(),
        View::Bare(field) => answer.get(field).map(|value| shown(field, value)).unwrap_or_default(),
        View::Fields => fields(answer),
        View::List(field, columns) => list(answer.get(field), columns),
    }
}

fn fields(answer: &Value) -> String {
    let Some(answer) = answer.as_object() else { return answer.to_string() };
    let mut table = new_table();
    for (name, value) in answer {
        // What is not known yet, or does not apply, is left out.
        if value.is_null() || value.as_str() == Some("") {
            continue;
        }
        let (heading, _) = unit(name);
        table.add_row([heading.replace('_', " "), shown(name, value)]);
    }
    table.to_string()
}

fn list(entries: Option<&Value>, columns: &[(&str, &str)]) -> String {
    let empty = Vec::new();
    let entries = entries.and_then(Value::as_array).unwrap_or(&empty);
    if entries.is_empty() {
        return "There are none.".into();
    }
    let mut table = new_table();
    table.set_header(columns.iter().map(|(_, heading)| *heading));
    let nothing = Map::new();
    for entry in entries {
        let entry = entry.as_object().unwrap_or(&nothing);
        table.add_row(columns.iter().map(|(name, _)| {
            let value = entry.get(*name).unwrap_or(&Value::Null);
            let cell = Cell::new(shown(name, value));
            if value.is_number() { cell.set_alignment(CellAlignment::Right) } else { cell }
        }));
    }
    table.to_string()
}

fn new_table() -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    // Ids must be copied whole, so nothing is wrapped.
    table.set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// What the end of a field's name says of its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Msat,
    Sat,
    Seconds,
    Time,
    Plain,
}

/// A field's name without its unit.
fn unit(name: &str) -> (&str, Unit) {
    if let Some(name) = name.strip_suffix("_msat") {
        return (name, Unit::Msat);
    }
    if let Some(name) = name.strip_suffix("_sat") {
        return (name, Unit::Sat);
    }
    if let Some(name) = name.strip_suffix("_s") {
        return (name, Unit::Seconds);
    }
    let time = name == "at" || name.ends_with("_at");
    (name, if time { Unit::Time } else { Unit::Plain })
}

fn shown(name: &str, value: &Value) -> String {
    match (value, value.as_u64(), unit(name).1) {
        (_, Some(msat), Unit::Msat) => amount(msat),
        (_, Some(sat), Unit::Sat) => format!("{} sat", grouped(sat)),
        (_, Some(seconds), Unit::Seconds) => duration(seconds),
        (_, Some(at), Unit::Time) => date(at),
        (Value::Null, ..) => "-".into(),
        (Value::Bool(truth), ..) => if *truth { "yes" } else { "no" }.into(),
        (Value::String(text), ..) if name == "state" => text.replace('_', " "),
        // Descriptions and aliases are the text of others and may hold anything, sequences that move the cursor of a
        // terminal included (BOLT 11, "Security Considerations for Payment Descriptions").
        (Value::String(text), ..) => printable(text),
        (Value::Array(items), ..) => {
            items.iter().map(|item| shown(name, item)).collect::<Vec<_>>().join("\n")
        }
        _ => value.to_string(),
    }
}

/// `text` with control characters, and those that change the direction of reading, as escapes.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let turns =
            matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if turns || character.is_control() {
            out.extend(character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    out
}

/// Satoshi, and their fraction if there is one.
fn amount(msat: u64) -> String {
    let (sat, rest) = (msat / 1_000, msat % 1_000);
    if rest == 0 { format!("{} sat", grouped(sat)) } else { format!("{}.{rest:03} sat", grouped(sat)) }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        let left = digits.len().saturating_sub(index);
        if index > 0 && left.is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// `2026-11-22 06:01:51 UTC` of seconds since 1970.
fn date(at: u64) -> String {
    // Counting years from March puts the leap day at the end; 719,468 days lie between 0000-03-01 and 1970-01-01.
    let days = (at / 86_400).saturating_add(719_468);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (at / 3_600 % 24, at / 60 % 60, at % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_shown_in_their_unit() {
        assert_eq!(shown("amount_msat", &json!(1_234_567_890)), "1 234 567.890 sat");
        assert_eq!(shown("amount_msat", &json!(1_000)), "1 sat");
        assert_eq!(shown("capacity_sat", &json!(100_000)), "100 000 sat");
        assert_eq!(shown("uptime_s", &json!(3_700)), "1 h 1 min");
        assert_eq!(shown("created_at", &json!(1_795_327_311)), "2026-11-22 06:01:51 UTC");
        assert_eq!(shown("at", &json!(951_827_696)), "2000-02-29 12:34:56 UTC");
        assert_eq!(shown("state", &json!("awaiting_confirmations")), "awaiting confirmations");
        assert_eq!(shown("alias", &json!("a_b")), "a_b");
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(shown("description", &json!("a\u{1b}[2Jb\u{202e}c")), "a\\u{1b}[2Jb\\u{202e}c");
    }

    #[test]
    fn list_has_a_row_each_and_says_when_it_is_empty() {
        let columns: &[(&str, &str)] = &[("node_id", "node"), ("connected", "connected")];
        let view = View::List("peers", columns);
        let text = render(view, &json!({"peers": [{"node_id": "02ab", "connected": true}]}));
        assert!(text.contains("node") && text.contains("02ab") && text.contains("yes"), "{text}");
        assert_eq!(render(view, &json!({"peers": []})), "There are none.");
    }

    #[test]
    fn fields_without_value_are_left_out() {
        let text = render(View::Fields, &json!({"fee_msat": 5, "preimage": null, "failure": ""}));
        assert!(text.contains("fee") && text.contains("0.005 sat"), "{text}");
        assert!(!text.contains("preimage") && !text.contains("failure"), "{text}");
    }
}
