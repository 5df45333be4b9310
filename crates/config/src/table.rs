//! A strict reader of tables: it takes keys out one by one, and what nobody took is a mistake.

use std::ops::Range;
use std::time::Duration;

use destinations::settings::{distance, parse_duration};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::Finding;

/// Where something stands, in bytes of the text.
pub(crate) type At = Range<usize>;

/// One table of the file.
pub(crate) struct Table<'t, 'f> {
    /// Its path: `destinations.nas`; empty for the file itself.
    path: String,
    at: At,
    entries: DeTable<'t>,
    /// The keys that were asked for, for a word about what may have been meant.
    known: Vec<String>,
    findings: &'f mut Vec<Finding>,
}

impl<'t, 'f> Table<'t, 'f> {
    /// The file itself; none when there is nothing to go on with.
    pub(crate) fn root(text: &'t str, findings: &'f mut Vec<Finding>) -> Option<Self> {
        let (parsed, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            findings.push(Finding {
                at: error.span().unwrap_or_default(),
                key: String::new(),
                what: error.message().to_owned(),
                hint: "the form is TOML, see https://toml.io".to_owned(),
            });
        }
        // What was recovered from broken text would only add mistakes that are none.
        errors.is_empty().then(|| {
            let at = parsed.span();
            Self { path: String::new(), at, entries: parsed.into_inner(), known: Vec::new(), findings }
        })
    }

    /// Where the table stands.
    pub(crate) fn at(&self) -> At {
        self.at.clone()
    }

    fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Tells a mistake at `at`, about the key `name` of this table.
    pub(crate) fn report(&mut self, at: At, name: &str, what: impl Into<String>, hint: impl Into<String>) {
        let key = self.key(name);
        self.findings.push(Finding { at, key, what: what.into(), hint: hint.into() });
    }

    /// Tells a mistake of the whole table.
    pub(crate) fn report_whole(&mut self, at: At, what: impl Into<String>, hint: impl Into<String>) {
        self.findings.push(Finding { at, key: self.path.clone(), what: what.into(), hint: hint.into() });
    }

    /// How many mistakes were told so far.
    pub(crate) fn mistakes(&self) -> usize {
        self.findings.len()
    }

    /// The value of a key, when it is there.
    pub(crate) fn take(&mut self, name: &str) -> Option<Spanned<DeValue<'t>>> {
        self.known.push(name.to_owned());
        self.entries.remove(name)
    }

    /// A key that is read elsewhere.
    pub(crate) fn leave(&mut self, name: &str) {
        let _ = self.take(name);
    }

    /// The words of a key; a value of another form is told.
    pub(crate) fn text(&mut self, name: &str) -> Option<(String, At)> {
        let value = self.take(name)?;
        let at = value.span();
        match value.into_inner() {
            DeValue::String(text) => Some((text.into_owned(), at)),
            other => {
                self.report(at, name, format!("a text is needed, not {}", form(&other)), "put it into quotes");
                None
            }
        }
    }

    /// The list of words of a key; a value of another form is told.
    pub(crate) fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        let value = self.take(name)?;
        let at = value.span();
        let texts = match value.into_inner() {
            DeValue::Array(items) => items.into_iter().map(|item| match item.into_inner() {
                DeValue::String(text) => Some(text.into_owned()),
                _ => None,
            }),
            _ => return self.refuse_list(at, name),
        };
        match texts.collect::<Option<Vec<String>>>().filter(|texts| !texts.is_empty()) {
            None => self.refuse_list(at, name),
            texts => texts,
        }
    }

    fn refuse_list(&mut self, at: At, name: &str) -> Option<Vec<String>> {
        self.report(at, name, "a list of texts is needed", "write `[\"PROGRAM\", \"ARGUMENT\"]`");
        None
    }

    /// The number of a key; a value of another form is told.
    pub(crate) fn integer(&mut self, name: &str) -> Option<(i64, At)> {
        let value = self.take(name)?;
        let at = value.span();
        match number_of(value.get_ref()) {
            Some(number) => Some((number, at)),
            None => {
                let what = format!("a whole number is needed, not {}", form(value.get_ref()));
                self.report(at, name, what, "");
                None
            }
        }
    }

    /// The yes or no of a key; a value of another form is told.
    pub(crate) fn boolean(&mut self, name: &str) -> Option<bool> {
        let value = self.take(name)?;
        let at = value.span();
        match value.into_inner() {
            DeValue::Boolean(yes) => Some(yes),
            other => {
                self.report(
                    at,
                    name,
                    format!("a yes or no is needed, not {}", form(&other)),
                    "write `true` or `false`",
                );
                None
            }
        }
    }

    /// The duration of a key, as in `deadline = "10m"`.
    pub(crate) fn duration(&mut self, name: &str) -> Option<Duration> {
        let (text, at) = self.text(name)?;
        match parse_duration(&text) {
            Ok(duration) => Some(duration),
            Err(why) => {
                self.report(at, name, format!("`{text}` is no duration"), why);
                None
            }
        }
    }

    /// The lists of words of a key, as in `before = [["systemctl", "stop", "app"]]`.
    pub(crate) fn text_lists(&mut self, name: &str) -> Option<Vec<Vec<String>>> {
        let value = self.take(name)?;
        let at = value.span();
        let words = |item: Spanned<DeValue<'t>>| match item.into_inner() {
            DeValue::String(text) => Some(text.into_owned()),
            _ => None,
        };
        let list = |item: Spanned<DeValue<'t>>| match item.into_inner() {
            DeValue::Array(items) if !items.is_empty() => items.into_iter().map(words).collect::<Option<Vec<_>>>(),
            _ => None,
        };
        let lists = match value.into_inner() {
            DeValue::Array(items) => items.into_iter().map(list).collect::<Option<Vec<_>>>(),
            _ => None,
        };
        if lists.is_none() {
            self.report(
                at,
                name,
                "a list of commands is needed",
                "write `[[\"PROGRAM\", \"ARGUMENT\"], [\"PROGRAM\"]]`",
            );
        }
        lists
    }

    /// The one table of the key `name`, where it is there.
    pub(crate) fn table(&mut self, name: &str, read: impl FnOnce(&mut Table<'t, '_>)) {
        let Some(value) = self.take(name) else { return };
        let at = value.span();
        match value.into_inner() {
            DeValue::Table(entries) => self.within(name, at, entries, read),
            other => self.report(at, name, format!("a table is needed, not {}", form(&other)), ""),
        }
    }

    /// Every table below the key `name`, as in `[destinations.NAME]`, each with its own name.
    pub(crate) fn tables(&mut self, name: &str, mut each: impl FnMut(&str, &mut Table<'t, '_>)) {
        let Some(value) = self.take(name) else { return };
        let at = value.span();
        let DeValue::Table(entries) = value.into_inner() else {
            return self.report(at, name, "tables are needed here", format!("write `[{name}.NAME]`"));
        };
        let path = self.key(name);
        for (key, value) in entries {
            let (below, at) = (key.into_inner(), value.span());
            match value.into_inner() {
                DeValue::Table(entries) => {
                    let path = format!("{path}.{below}");
                    let mut table = Table { path, at, entries, known: Vec::new(), findings: self.findings };
                    each(&below, &mut table);
                }
                other => {
                    let what = format!("a table is needed, not {}", form(&other));
                    self.report(at, &format!("{name}.{below}"), what, format!("write `[{name}.{below}]`"));
                }
            }
        }
    }

    /// The keys that nobody has taken so far.
    pub(crate) fn left(&self) -> Vec<String> {
        self.entries.keys().map(|key| key.get_ref().to_string()).collect()
    }

    /// Where the value of the key `name` stands; the table, where it is not there.
    pub(crate) fn at_value(&self, name: &str) -> At {
        self.entries.get(name).map_or_else(|| self.at.clone(), Spanned::span)
    }

    /// The words of a key, which stays to be taken.
    pub(crate) fn peek_text(&self, name: &str) -> Option<String> {
        match self.entries.get(name)?.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            _ => None,
        }
    }

    /// Where the key `name` stands.
    pub(crate) fn at_key(&self, name: &str) -> At {
        self.entries.get_key_value(name).map(|(key, _)| key.span()).unwrap_or_default()
    }

    /// A value as a table of its own, as in `password = { file = "..." }`.
    pub(crate) fn within<T>(
        &mut self,
        name: &str,
        at: At,
        entries: DeTable<'t>,
        read: impl FnOnce(&mut Table<'t, '_>) -> T,
    ) -> T {
        let path = self.key(name);
        read(&mut Table { path, at, entries, known: Vec::new(), findings: self.findings })
    }

    /// Tells every key that nobody took.
    pub(crate) fn finish(&mut self) {
        for (key, _) in std::mem::take(&mut self.entries) {
            let (at, name) = (key.span(), key.into_inner().into_owned());
            let near = self.known.iter().map(|known| (distance(known, &name), known)).min();
            let hint = match near.filter(|(distance, known)| *distance <= known.len() / 3) {
                Some((_, meant)) => format!("`{meant}` may be meant"),
                None => format!("known here: `{}`", self.known.join("`, `")),
            };
            self.report(at, &name, "nobody knows this key", hint);
        }
    }
}

/// A whole number that fits 64 bits.
pub(crate) fn number_of(value: &DeValue<'_>) -> Option<i64> {
    let DeValue::Integer(number) = value else { return None };
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// The form of a value, in words that continue "not".
pub(crate) fn form(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "a yes or no",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
