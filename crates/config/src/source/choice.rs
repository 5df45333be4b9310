//! What is left out of a source, and what it must have.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use repository::backup::Guards;
use repository::filter::{Case, Excludes, TagFile, parse_size, read_pattern_file};

use crate::table::{At, Table};

/// What is left out, and what has to be there.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    excludes: Excludes,
    texts: Vec<String>,
    files: Vec<(PathBuf, Case)>,
    /// What the source must have.
    pub guards: Guards,
    /// A source without files is no mistake.
    pub allow_empty: bool,
    /// The keys that make sense for files of this machine alone, where they stand.
    for_paths: Vec<(&'static str, At)>,
}

impl Choice {
    /// What is left out, and the patterns as texts. Files of patterns are read now.
    ///
    /// # Errors
    /// When such a file cannot be read, or a pattern in it makes no sense.
    pub fn excludes(&self) -> Result<(Excludes, Vec<String>), String> {
        let (mut excludes, mut texts) = (self.excludes.clone(), self.texts.clone());
        for (file, case) in &self.files {
            let patterns =
                read_pattern_file(file, |name| std::env::var(name).ok()).map_err(|error| error.to_string())?;
            for pattern in patterns {
                excludes.patterns.add(&pattern, *case).map_err(|error| error.to_string())?;
                texts.push(String::from_utf8_lossy(&pattern).into_owned());
            }
        }
        Ok((excludes, texts))
    }

    /// Takes the keys that it knows out of a source's table.
    pub(super) fn read(table: &mut Table<'_, '_>, folder: &Path) -> Self {
        let mut choice = Self::default();
        for (key, case) in [("exclude", Case::Sensitive), ("iexclude", Case::Insensitive)] {
            let at = table.at_value(key);
            for pattern in table.texts(key).unwrap_or_default() {
                if let Err(error) = choice.excludes.patterns.add(pattern.as_bytes(), case) {
                    table.report(at.clone(), key, error.to_string(), "");
                }
                choice.texts.push(pattern);
            }
        }
        for (key, case) in [("exclude_file", Case::Sensitive), ("iexclude_file", Case::Insensitive)] {
            let files = table.texts(key).unwrap_or_default();
            choice.files.extend(files.into_iter().map(|file| (folder.join(file), case)));
        }
        choice.guards.files_min = choice.number(table, "min_files");
        choice.guards.bytes_min = choice.size(table, "min_bytes").unwrap_or_default();
        choice.excludes.larger_than = choice.size(table, "exclude_larger_than");
        choice.allow_empty = table.boolean("allow_empty").unwrap_or_default();
        choice.read_what_is_for_paths(table);
        choice
    }

    fn read_what_is_for_paths(&mut self, table: &mut Table<'_, '_>) {
        for key in ["exclude_caches", "one_file_system", "git_ignore", "exclude_robots"] {
            let at = table.at_key(key);
            let Some(value) = table.boolean(key) else { continue };
            self.for_paths.push((key, at));
            *match key {
                "exclude_caches" => &mut self.excludes.caches,
                "one_file_system" => &mut self.excludes.one_file_system,
                "git_ignore" => &mut self.excludes.git_ignore,
                _ => &mut self.excludes.robots,
            } = value;
        }
        let at = table.at_value("exclude_if_present");
        for text in table.texts("exclude_if_present").unwrap_or_default() {
            match TagFile::parse(text.as_bytes()) {
                Ok(tag) => self.excludes.if_present.push(tag),
                Err(error) => table.report(at.clone(), "exclude_if_present", error.to_string(), ""),
            }
            self.for_paths.push(("exclude_if_present", at.clone()));
        }
        if let Some((marker, at)) = table.text("marker") {
            if marker.is_empty() || marker.contains('/') || marker == "." || marker == ".." {
                table.report(
                    at.clone(),
                    "marker",
                    format!("`{marker}` is no name of a file"),
                    "write a name without a path",
                );
            }
            self.guards.marker = Some(OsString::from(marker));
            self.for_paths.push(("marker", at));
        }
    }

    /// Tells what makes no sense for a source that is elsewhere.
    pub(super) fn refuse_what_is_for_paths(&self, table: &mut Table<'_, '_>) {
        for (key, at) in &self.for_paths {
            table.report(at.clone(), key, "this is for files of this machine", "use it with `paths`");
        }
    }

    fn number(&self, table: &mut Table<'_, '_>, key: &str) -> u64 {
        let Some((number, at)) = table.integer(key) else { return 0 };
        u64::try_from(number).unwrap_or_else(|_| {
            table.report(at, key, "a number below 0 makes no sense here", "");
            0
        })
    }

    fn size(&self, table: &mut Table<'_, '_>, key: &str) -> Option<u64> {
        let (text, at) = table.text(key)?;
        match parse_size(&text) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                table.report(at, key, error.to_string(), "");
                None
            }
        }
    }
}
