//! Which paths are meant: the pattern language of restic's `--exclude`, `--include` and their kin.
//!
//! Patterns are compiled once ([`PatternList`]) and then asked about many paths, as raw bytes: a file name on Unix is
//! bytes, not text. [`Excludes`] bundles what a walk of a source leaves out, [`Selection`] what a restore, a listing or
//! a search takes from a snapshot.
//!
//! This room reads pattern files and tag files and otherwise touches no file system; it never decides what to do with
//! an entry that matches. Source for the language: restic manual, "Excluding Files" and "Restoring from backup".

mod component;
mod excludes;
mod git_ignore;
mod list;
mod pattern;
mod pattern_file;
mod selection;

pub use excludes::{DirectoryTags, ExcludeError, Excludes, TagFile, parse_size};
pub use git_ignore::GitIgnores;
pub use list::{Case, PatternList};
pub use pattern::PatternError;
pub use pattern_file::{PatternFileError, parse_pattern_file, read_pattern_file};
pub use selection::{Decision, Selection};

#[cfg(test)]
mod tests;
