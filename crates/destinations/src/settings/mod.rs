//! What can be set for one destination, by name: the one list behind `-o`, `triplicate.toml` and their documents.
//!
//! A setting is a line in [`list`]: its name, the kinds of destination that know it, what it holds and where that goes.
//! Whoever reads settings from somewhere (a command line, a file) hands over a [`Value`]; secrets come already resolved,
//! so that nothing here reads a file or a variable. What is set for another kind, or is unknown, is an error: a setting
//! that is silently ignored is found out on the worst day.

mod list;

use std::path::PathBuf;
use std::time::Duration;

use model::Secret;

use crate::{Access, Limits, Rates, Timetable};

pub use list::ALL;

/// Everything that is set for one destination.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// What lets us in.
    pub access: Access,
    /// How hard and how long it is tried.
    pub limits: Limits,
    /// How fast it may be used.
    pub rates: Rates,
}

/// One thing that can be set.
pub struct Setting {
    /// Its name: lower case, words joined by `_`.
    pub name: &'static str,
    /// The kinds that know it, as [`crate::Location::kind`] says them; none means all.
    pub kinds: &'static [&'static str],
    /// What it is for, as one sentence without its period.
    pub meaning: &'static str,
    /// What it holds, and where that goes.
    pub slot: Slot,
}

/// What a setting holds, and where in [`Settings`] that goes.
pub enum Slot {
    /// Words.
    Text(fn(&mut Settings) -> &mut Option<String>),
    /// A file or folder of this machine.
    Path(fn(&mut Settings) -> &mut Option<PathBuf>),
    /// A password, key or token: never written out, always by reference.
    Secret(fn(&mut Settings) -> &mut Option<Secret>),
    /// A number, at least 1.
    Count(fn(&mut Settings) -> &mut usize),
    /// A time in whole seconds, at least 1: `90s`, `15m`, `1h`.
    Seconds(fn(&mut Settings) -> &mut u64),
    /// So many bytes in a second, perhaps by the hour.
    Rate(fn(&mut Settings) -> &mut Timetable),
    /// One of these words; the function gets its number.
    Word(&'static [&'static str], fn(&mut Settings, usize)),
}

/// A value as it was found.
#[derive(Debug, Clone)]
pub enum Value {
    /// Words; numbers and times may be written as words.
    Text(String),
    /// A number.
    Number(i64),
    /// What a reference to a secret led to.
    Secret(Secret),
}

/// Why a setting was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// No kind knows this name, or not this one.
    #[error("`{name}` is not a setting of `{kind}:`")]
    Unknown {
        /// What was found.
        name: String,
        /// The kind of the destination.
        kind: String,
        /// What may have been meant.
        nearest: Option<&'static str>,
    },
    /// The value is not what the setting holds.
    #[error("`{name}` needs {wanted}")]
    Unfit {
        /// The setting.
        name: &'static str,
        /// What it holds.
        wanted: String,
    },
}

/// All that can be set for destinations of `kind`.
pub fn of_kind(kind: &str) -> impl Iterator<Item = &'static Setting> {
    ALL.iter().filter(move |setting| setting.kinds.is_empty() || setting.kinds.contains(&kind))
}

/// The setting of `kind` with this name; `-` counts as `_`, as in restic's options.
pub fn find(kind: &str, name: &str) -> Result<&'static Setting, SettingError> {
    let wanted = name.replace('-', "_");
    of_kind(kind).find(|setting| setting.name == wanted).ok_or_else(|| {
        let near = of_kind(kind).map(|setting| (distance(setting.name, &wanted), setting.name)).min();
        let nearest = near.filter(|(distance, found)| *distance <= found.len() / 3).map(|(_, found)| found);
        SettingError::Unknown { name: name.to_owned(), kind: kind.to_owned(), nearest }
    })
}

impl Setting {
    /// Whether the value must come by reference.
    pub fn is_secret(&self) -> bool {
        matches!(self.slot, Slot::Secret(_))
    }

    /// What it holds, in words that continue "needs".
    pub fn wanted(&self) -> String {
        match self.slot {
            Slot::Text(_) => "some text".to_owned(),
            Slot::Path(_) => "a path".to_owned(),
            Slot::Secret(_) => "a reference to a secret".to_owned(),
            Slot::Count(_) => "a whole number, at least 1".to_owned(),
            Slot::Seconds(_) => "a time such as `90s`, `15m` or `1h`".to_owned(),
            Slot::Rate(_) => "a rate such as `512` (KiB/s), `2M` or `10M, 08:00-18:00 2M`".to_owned(),
            Slot::Word(words, _) => format!("one of `{}`", words.join("`, `")),
        }
    }

    /// Puts `value` where it belongs.
    pub fn set(&self, settings: &mut Settings, value: Value) -> Result<(), SettingError> {
        let unfit = || SettingError::Unfit { name: self.name, wanted: self.wanted() };
        match (&self.slot, value) {
            (Slot::Text(slot), Value::Text(text)) if !text.is_empty() => *slot(settings) = Some(text),
            (Slot::Path(slot), Value::Text(text)) if !text.is_empty() => *slot(settings) = Some(PathBuf::from(text)),
            (Slot::Secret(slot), Value::Secret(secret)) => *slot(settings) = Some(secret),
            (Slot::Count(slot), value) => *slot(settings) = value.count().ok_or_else(unfit)?,
            (Slot::Seconds(slot), value) => *slot(settings) = value.seconds().ok_or_else(unfit)?,
            (Slot::Rate(slot), value) => *slot(settings) = value.rate().ok_or_else(unfit)?,
            (Slot::Word(words, take), Value::Text(text)) => {
                let number = words.iter().position(|word| *word == text).ok_or_else(unfit)?;
                take(settings, number);
            }
            _ => return Err(unfit()),
        }
        Ok(())
    }
}

impl Value {
    fn count(&self) -> Option<usize> {
        let number = match self {
            Value::Text(text) => text.parse().ok()?,
            Value::Number(number) => usize::try_from(*number).ok()?,
            Value::Secret(_) => return None,
        };
        (1 <= number).then_some(number)
    }

    fn rate(&self) -> Option<Timetable> {
        match self {
            Value::Text(text) => text.parse().ok(),
            Value::Number(_) => self.count()?.to_string().parse().ok(),
            Value::Secret(_) => None,
        }
    }

    fn seconds(&self) -> Option<u64> {
        let Value::Text(text) = self else { return None };
        parse_duration(text).ok().map(|duration| duration.as_secs()).filter(|seconds| 1 <= *seconds)
    }
}

/// A time as restic writes it: numbers with `s`, `m` or `h`, several of them one behind the other.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let refused = || "use a number with s, m or h, such as `5m`".to_owned();
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits =
            rest.find(|character: char| !character.is_ascii_digit()).filter(|end| *end > 0).ok_or_else(refused)?;
        let (number, after) = rest.split_at(digits);
        let seconds = match after.chars().next() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            _ => return Err(refused()),
        };
        let number: u64 = number.parse().map_err(|_| refused())?;
        total = number
            .checked_mul(seconds)
            .and_then(|seconds| total.checked_add(Duration::from_secs(seconds)))
            .ok_or_else(refused)?;
        rest = after.get(1..).unwrap_or_default();
    }
    if text.is_empty() { Err(refused()) } else { Ok(total) }
}

/// How many letters have to be put in, left out or changed to make one word of the other (Levenshtein, 1965).
pub fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (number, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], number + 1);
        for (column, other_letter) in other.iter().enumerate() {
            let change = diagonal + usize::from(letter != *other_letter);
            diagonal = row[column + 1];
            row[column + 1] = change.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use model::ExposeSecret as _;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn every_setting_takes_what_it_says_and_nothing_else() {
        for setting in ALL {
            let mut settings = Settings::default();
            let fitting = match setting.slot {
                Slot::Text(_) | Slot::Path(_) => text("/words"),
                Slot::Secret(_) => Value::Secret(Secret::from("hush")),
                Slot::Count(_) => Value::Number(3),
                Slot::Seconds(_) => text("1h30m"),
                Slot::Rate(_) => text("2M"),
                Slot::Word(words, _) => text(words[0]),
            };
            setting.set(&mut settings, fitting).unwrap_or_else(|error| panic!("{error}"));
            let unfit = match setting.slot {
                Slot::Secret(_) => text("hush"),
                Slot::Text(_) | Slot::Path(_) => text(""),
                _ => text("no-such-word"),
            };
            let error = setting.set(&mut settings, unfit).expect_err(setting.name);
            assert_eq!(error, SettingError::Unfit { name: setting.name, wanted: setting.wanted() });
            assert!(setting.set(&mut settings, Value::Number(0)).is_err(), "{}", setting.name);
            assert!(!format!("{settings:?}").contains("hush"), "{}", setting.name);
        }
    }

    #[test]
    fn names_are_found_by_kind_and_no_kind_has_one_twice() {
        assert_eq!(find("s3", "bucket-lookup").unwrap().name, find("s3", "bucket_lookup").unwrap().name);
        let SettingError::Unknown { nearest, .. } = find("s3", "bucket_lokup").err().unwrap() else { panic!() };
        assert_eq!(nearest, Some("bucket_lookup"));
        assert!(find("local", "bucket_lookup").is_err());
        assert!(find("local", "connections").is_ok());
        for setting in ALL {
            let kinds = if setting.kinds.is_empty() { &["local"] } else { setting.kinds };
            for kind in kinds {
                assert_eq!(of_kind(kind).filter(|other| other.name == setting.name).count(), 1, "{}", setting.name);
            }
        }
    }

    #[test]
    fn values_arrive_where_they_belong() {
        let mut settings = Settings::default();
        let mut set = |kind, name, value| find(kind, name).unwrap().set(&mut settings, value).unwrap();
        set("s3", "secret_access_key", Value::Secret(Secret::from("hush")));
        set("s3", "bucket_lookup", text("dns"));
        set("rest", "connections", text("12"));
        set("rest", "retry_total", text("2m"));
        set("local", "limit_upload", text("1M, 08:00-18:00 1"));
        set("rest", "limit-download", Value::Number(512));
        set("s3", "limit_requests", text("5"));
        assert_eq!(settings.access.s3.key.as_ref().unwrap().expose_secret(), "hush");
        assert_eq!(settings.access.s3.bucket_in_path, Some(false));
        assert_eq!((settings.limits.connections, settings.limits.retry_total_seconds), (12, 120));
        assert_eq!(settings.rates.upload, "1M, 08:00-18:00 1".parse().unwrap());
        assert_eq!(settings.rates.download, Timetable::constant(512 << 10));
        assert_eq!(settings.rates.requests_per_second, 5);
    }

    #[test]
    fn the_document_lists_what_can_be_set() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/destinations.md");
        let document = std::fs::read_to_string(path).unwrap();
        let rows: Vec<&str> = document.lines().filter(|line| line.starts_with("| ") && line.contains('`')).collect();
        let expected: Vec<String> = ALL
            .iter()
            .map(|setting| {
                let kinds = if setting.kinds.is_empty() { "all".to_owned() } else { setting.kinds.join(", ") };
                format!("| {kinds} | `{}` | {} |", setting.name, setting.meaning)
            })
            .collect();
        assert_eq!(rows, expected);
    }

    #[test]
    fn distances_are_those_of_the_definition() {
        for (one, other, expected) in [("", "abc", 3), ("abc", "abc", 0), ("kitten", "sitting", 3), ("ab", "ba", 2)] {
            assert_eq!((distance(one, other), distance(other, one)), (expected, expected), "{one} {other}");
        }
    }
}
