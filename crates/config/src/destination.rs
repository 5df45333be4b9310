//! `[destinations.NAME]`: an address and what is set for it.

use std::path::Path;

use destinations::settings::{self, Setting, SettingError, Slot, Value};
use destinations::{Location, Settings, Site};
use toml::Spanned;
use toml::de::DeValue;

use crate::table::{At, Table, form, number_of};
use crate::{SecretError, SecretReference};

/// A place that can hold a copy, as the file describes it.
#[derive(Debug, Clone)]
pub struct Destination {
    /// Its name in the file.
    pub name: String,
    /// The address.
    pub location: Location,
    /// What is set for it, without its secrets.
    settings: Settings,
    /// Where its secrets are.
    secrets: Vec<(&'static str, SecretReference)>,
    /// The destination that keeps everything but data a second time, where this one is cold, and where the file says so.
    pub(crate) hot: Option<(String, At)>,
}

impl Destination {
    /// The place with its secrets, fetched now, without its hot part.
    ///
    /// # Errors
    /// When a secret cannot be had.
    pub(crate) fn site(&self) -> Result<Site, SecretError> {
        let mut settings = self.settings.clone();
        for (name, reference) in &self.secrets {
            let value = Value::Secret(reference.resolve()?);
            let unfit = |error: SettingError| SecretError { from: reference.to_string(), why: error.to_string() };
            settings::find(self.location.kind(), name)
                .and_then(|setting| setting.set(&mut settings, value))
                .map_err(unfit)?;
        }
        Ok(Site { location: self.location.clone(), settings, hot: None })
    }

    /// Reads a table; every mistake is told, and none is made of what has one.
    pub(crate) fn check(name: &str, table: &mut Table<'_, '_>, folder: &Path) -> Option<Self> {
        if !is_name(name) {
            table.report_whole(table.at(), format!("`{name}` cannot be a name"), "use letters, digits, `-` and `_`");
        }
        let Some(location) = location(table) else {
            // What else is in the table means nothing without its kind.
            for key in table.left() {
                table.leave(&key);
            }
            return None;
        };
        let hot = table.text("hot");
        let (settings, secrets) = (Settings::default(), Vec::new());
        let mut destination = Self { name: name.to_owned(), location, settings, secrets, hot };
        for key in table.left() {
            destination.set(table, &key, folder);
        }
        Some(destination)
    }

    fn set(&mut self, table: &mut Table<'_, '_>, key: &str, folder: &Path) {
        let at_key = table.at_key(key);
        let Some(value) = table.take(key) else { return };
        let at = value.span();
        let setting = match settings::find(self.location.kind(), key) {
            Ok(setting) => setting,
            Err(error) => {
                let hint = hint_for(&error, self.location.kind());
                return table.report(at_key, key, error.to_string(), hint);
            }
        };
        if setting.is_secret() {
            if let Some(reference) = secret(table, key, value, folder) {
                self.secrets.push((setting.name, reference));
            }
            return;
        }
        if let Err((what, hint)) = take(setting, &mut self.settings, value, folder) {
            table.report(at, key, what, hint);
        }
    }
}

/// Names are written behind `@` on command lines and become part of files and metrics.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn location(table: &mut Table<'_, '_>) -> Option<Location> {
    let at = table.at();
    if !table.left().iter().any(|key| key == "url") {
        table.report(at, "url", "the address is missing", "write `url = \"rest:https://host/path/\"`, as for `-r`");
        return None;
    }
    let (text, at) = table.text("url")?;
    match text.parse::<Location>() {
        Ok(Location::Rest(rest)) if rest.password.is_some() => {
            let hint = "take it out of the address and write `password = { file = \"...\" }`";
            table.report(at, "url", "a password stands in the address", hint);
            None
        }
        Ok(location) => Some(location),
        Err(error) => {
            table.report(at, "url", error.to_string(), error.hint);
            None
        }
    }
}

fn take(
    setting: &Setting,
    settings: &mut Settings,
    value: Spanned<DeValue<'_>>,
    folder: &Path,
) -> Result<(), (String, String)> {
    let number = number_of(value.get_ref());
    let value = match (value.into_inner(), number) {
        (DeValue::String(text), _) if matches!(setting.slot, Slot::Path(_)) && !text.is_empty() => {
            Value::Text(folder.join(text.as_ref()).to_string_lossy().into_owned())
        }
        (DeValue::String(text), _) => Value::Text(text.into_owned()),
        (_, Some(number)) => Value::Number(number),
        (other, None) => return Err((format!("{} is needed, not {}", setting.wanted(), form(&other)), String::new())),
    };
    setting.set(settings, value).map_err(|error| (error.to_string(), String::new()))
}

fn hint_for(error: &SettingError, kind: &str) -> String {
    match error {
        SettingError::Unknown { nearest: Some(meant), .. } => format!("`{meant}` may be meant"),
        SettingError::Unknown { .. } => {
            let names: Vec<&str> = settings::of_kind(kind).map(|setting| setting.name).collect();
            format!("known here: `url`, `hot`, `{}`", names.join("`, `"))
        }
        SettingError::Unfit { .. } => String::new(),
    }
}

const HINT_SECRET: &str = "write `{ env = \"NAME\" }`, `{ file = \"PATH\" }`, `{ command = [\"PROGRAM\", \"ARGUMENT\"] }` or `{ credential = \"NAME\" }`";

/// A reference to a secret. One that stands there in clear is not repeated.
pub(crate) fn secret<'t>(
    table: &mut Table<'t, '_>,
    key: &str,
    value: Spanned<DeValue<'t>>,
    folder: &Path,
) -> Option<SecretReference> {
    let at = value.span();
    let DeValue::Table(entries) = value.into_inner() else {
        table.report(at, key, "a secret does not belong into this file", HINT_SECRET);
        return None;
    };
    table.within(key, at.clone(), entries, |inner| {
        let found = reference(inner, at, folder);
        inner.finish();
        found
    })
}

fn reference(table: &mut Table<'_, '_>, at: At, folder: &Path) -> Option<SecretReference> {
    let mistakes = table.mistakes();
    let environment = table.text("env").map(|(name, _)| SecretReference::Environment(name));
    let file = table.text("file").map(|(path, _)| SecretReference::File(folder.join(path)));
    let credential = table.text("credential").map(|(name, _)| SecretReference::Credential(name));
    let command = table.texts("command").map(SecretReference::Command);
    let mut given = [environment, file, credential, command].into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(reference), None) => Some(reference),
        (None, _) if mistakes < table.mistakes() => None,
        _ => {
            table.report_whole(at, "one place for the secret is needed", HINT_SECRET);
            None
        }
    }
}
