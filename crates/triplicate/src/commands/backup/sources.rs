//! Which files and folders of this machine: named, in lists, required or not, and what is left out of them.

use std::ffi::OsString;
use std::path::PathBuf;

use repository::backup::{BackupRequest, Guards};
use repository::filter::parse_size;

use super::lists;
use crate::arguments::ExcludeArguments;
use crate::failure::{self, Failure};
use crate::session::Session;

/// What to back up, and what to leave out.
#[derive(Debug, clap::Args)]
pub(crate) struct SourceArguments {
    /// What to back up
    paths: Vec<PathBuf>,
    /// Back this up too, if it is there
    #[arg(long, value_name = "PATH")]
    optional: Vec<PathBuf>,
    /// Read patterns of what to back up from a file; `-` is standard input
    #[arg(long, value_name = "FILE")]
    files_from: Vec<PathBuf>,
    /// Read what to back up from a file, one path in each line, as it stands
    #[arg(long, value_name = "FILE")]
    files_from_verbatim: Vec<PathBuf>,
    /// Read what to back up from a file, one path behind each NUL byte
    #[arg(long, value_name = "FILE")]
    files_from_raw: Vec<PathBuf>,
    #[command(flatten)]
    excludes: ExcludeArguments,
    /// Refuse when a folder that is to be backed up has no entry of this name: its disk is not mounted
    #[arg(long, value_name = "NAME", value_parser = name)]
    marker: Option<OsString>,
    /// Refuse when there are fewer files
    #[arg(long, value_name = "N", default_value_t = 0)]
    min_files: u64,
    /// Refuse when there are fewer bytes: digits and k, m, g or t
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "0")]
    min_bytes: u64,
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text).map_err(|error| error.to_string())
}

fn name(text: &str) -> Result<OsString, String> {
    match text {
        "" | "." | ".." => Err("this is no name of a file".to_owned()),
        _ if text.contains('/') => Err("a marker is named without a path".to_owned()),
        _ => Ok(text.into()),
    }
}

impl SourceArguments {
    /// The paths that are named, without those of lists.
    pub(super) fn named(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Whether anything says what to back up.
    pub(super) fn is_any(&self) -> bool {
        self.has_lists() || !self.paths.is_empty()
    }

    /// Whether anything but paths says what to back up.
    pub(super) fn has_lists(&self) -> bool {
        let lists = [&self.optional, &self.files_from, &self.files_from_verbatim, &self.files_from_raw];
        lists.iter().any(|list| !list.is_empty())
    }

    /// The request that backs them up.
    pub(crate) fn request(&self, session: &Session) -> Result<BackupRequest, Failure> {
        let paths = self.all_paths(session)?;
        let current = current_folder()?;
        let (excludes, exclude_texts) = self.excludes.excludes()?;
        let guards = Guards { marker: self.marker.clone(), files_min: self.min_files, bytes_min: self.min_bytes };
        Ok(BackupRequest {
            excludes,
            exclude_texts,
            guards,
            ..BackupRequest::new(paths, current, session.who.hostname.clone())
        })
    }

    fn all_paths(&self, session: &Session) -> Result<Vec<PathBuf>, Failure> {
        let mut paths = self.paths.clone();
        for (files, read) in [
            (&self.files_from, lists::patterns as fn(&std::path::Path) -> _),
            (&self.files_from_verbatim, lists::verbatim),
            (&self.files_from_raw, lists::raw),
        ] {
            for list in files {
                paths.extend(read(list)?);
            }
        }
        if paths.is_empty() && self.optional.is_empty() {
            let hint = "name files or folders, or a list with --files-from";
            return Err(Failure::usage("nothing to back up was named").hint(hint));
        }
        with_optional(session, paths, &self.optional)
    }
}

/// Adds those of the optional paths that are there.
pub(super) fn with_optional(
    session: &Session,
    mut paths: Vec<PathBuf>,
    optional: &[PathBuf],
) -> Result<Vec<PathBuf>, Failure> {
    for path in optional {
        match std::fs::symlink_metadata(path) {
            Ok(_) => paths.push(path.clone()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                session.screen.note(format!("`{}` is not there, and need not be", path.display()));
            }
            Err(error) => return Err(failure::local("read source", path, error)),
        }
    }
    if paths.is_empty() {
        return Err(Failure::failed("none of the sources is there; no snapshot was made"));
    }
    Ok(paths)
}

/// Where relative paths begin.
pub(super) fn current_folder() -> Result<PathBuf, Failure> {
    std::env::current_dir().map_err(|error| Failure::failed(format!("cannot find out the current folder: {error}")))
}
