//! Where settings come from, and which of them counts: flags before environment before file before defaults.
//!
//! # Invariants
//! - a key of the file that no setting has is an error, with its line: it may be a limit that was misspelt
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{self, KEYS, Key, KeyKind};
use crate::error::{ApiError, Code};

/// Who set a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody.
    Default,
    /// A line of a file.
    File(PathBuf, usize),
    /// An environment variable.
    Environment(String),
    /// A flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{} line {line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(flag) => write!(f, "flag --{flag}"),
        }
    }
}

/// A setting's value and who set it. A list is separated by commas.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// As it was written.
    pub value: String,
    /// By whom.
    pub origin: Origin,
}

impl Setting {
    /// The value for people: secrets are not shown.
    #[must_use]
    pub fn shown(&self) -> &str {
        let secret = keys::find(self.name).is_some_and(|key| key.kind == KeyKind::Secret);
        if secret && !self.value.is_empty() { "(secret)" } else { &self.value }
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {:?} ({})", self.name, self.shown(), self.origin)
    }
}

/// Given values by the name of their setting.
pub type Given = BTreeMap<&'static str, String>;

/// All settings, in the order of the table.
pub(super) fn merge(flags: &Given, env: &Given, mut file: BTreeMap<&'static str, Setting>) -> Vec<Setting> {
    let one = |key: &'static Key| {
        let name = key.name;
        if let Some(value) = flags.get(name) {
            return Setting { name, value: value.clone(), origin: Origin::Flag(key.flag()) };
        }
        if let Some(value) = env.get(name) {
            return Setting { name, value: value.clone(), origin: Origin::Environment(key.env()) };
        }
        file.remove(name).unwrap_or_else(|| Setting {
            name,
            value: key.default.to_owned(),
            origin: Origin::Default,
        })
    };
    KEYS.iter().map(one).collect()
}

/// The settings of the environment.
pub(super) fn from_env(read: impl Fn(&str) -> Option<String>) -> Given {
    KEYS.iter().filter_map(|key| Some((key.name, read(&key.env())?))).collect()
}

/// The settings of the file `text`.
///
/// # Errors
/// [`Code::BadConfig`] with file and line.
pub(super) fn from_file(path: &Path, text: &str) -> Result<BTreeMap<&'static str, Setting>, ApiError> {
    let reader = Reader { path, text };
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        reader.error(at, &format!("this is not TOML: {}", one_line(error.message())))
    })?;
    let mut settings = BTreeMap::new();
    reader.table("", table.get_ref(), &mut settings)?;
    Ok(settings)
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    fn table(
        &self,
        section: &str,
        table: &DeTable<'_>,
        settings: &mut BTreeMap<&'static str, Setting>,
    ) -> Result<(), ApiError> {
        for (key, value) in table {
            let name = if section.is_empty() {
                key.get_ref().to_string()
            } else {
                format!("{section}.{}", key.get_ref())
            };
            let at = key.span().start;
            let Some(known) = keys::find(&name) else {
                match value.get_ref() {
                    DeValue::Table(inner) if is_section(&name) => {
                        self.table(&name, inner, settings)?;
                        continue;
                    }
                    _ => return Err(self.unknown(at, &name)),
                }
            };
            let value = self.value(known, value)?;
            let origin = Origin::File(self.path.to_path_buf(), self.line(at));
            settings.insert(known.name, Setting { name: known.name, value, origin });
        }
        Ok(())
    }

    fn value(&self, key: &Key, value: &Spanned<DeValue<'_>>) -> Result<String, ApiError> {
        let listed = matches!(key.kind, KeyKind::Sockets | KeyKind::Addresses | KeyKind::Nodes);
        if let DeValue::Array(items) = value.get_ref()
            && listed
        {
            if items.is_empty() {
                return Ok("none".into());
            }
            let items: Result<Vec<_>, _> = items.iter().map(|item| self.scalar(key, item)).collect();
            return Ok(items?.join(","));
        }
        self.scalar(key, value)
    }

    fn scalar(&self, key: &Key, value: &Spanned<DeValue<'_>>) -> Result<String, ApiError> {
        let found = value.get_ref();
        match (key.kind, found) {
            (KeyKind::Number(..), DeValue::Integer(number)) => Ok(number.to_string()),
            (KeyKind::Bool, DeValue::Boolean(truth)) => Ok(truth.to_string()),
            (KeyKind::Number(..), _) => Err(self.wrong(value, key, "a number without quotes")),
            (KeyKind::Bool, _) => Err(self.wrong(value, key, "true or false")),
            (_, DeValue::String(text)) => Ok(text.to_string()),
            _ => Err(self.wrong(value, key, "a text in quotes")),
        }
    }

    fn wrong(&self, value: &Spanned<DeValue<'_>>, key: &Key, expected: &str) -> ApiError {
        let found = value.get_ref().type_str();
        self.error(value.span().start, &format!("{} must be {expected}, not {found}", key.name))
    }

    fn unknown(&self, at: usize, name: &str) -> ApiError {
        let error = self.error(at, &format!("there is no setting {name:?}"));
        let names = KEYS.iter().map(|key| key.name);
        // A key in the wrong section: the last part is right.
        let last = name.rsplit('.').next().unwrap_or(name);
        let moved = KEYS.iter().find(|key| key.name.rsplit('.').next() == Some(last)).map(|key| key.name);
        match crate::output::nearest(name, names).or(moved) {
            Some(near) => error.hint(format!("did you mean {near}?")),
            None => error.hint("`lnode config show` lists all settings"),
        }
    }

    fn error(&self, at: usize, what: &str) -> ApiError {
        let message = format!("{} line {}: {what}", self.path.display(), self.line(at));
        ApiError::new(Code::BadConfig, message)
    }

    fn line(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or(self.text);
        before.matches('\n').count().saturating_add(1)
    }
}

fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

/// Messages of the parser have several lines.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
