//! Why a path is in a backup, or not: the rules of the walk, asked for one path alone. Nothing is backed up.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use format::NodeKind;
use rustix::fs::{Mode, OFlags};

use super::BackupRequest;
use super::facts::Facts;
use super::metadata;
use super::roots::{Root, Roots, clean};
use crate::error::{Error, Result};
use crate::filter::GitIgnores;

/// What becomes of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The path, absolute.
    pub path: PathBuf,
    /// The source that it belongs to, as the user wrote it.
    pub source: Option<PathBuf>,
    /// Why it is left out; none when it is backed up.
    pub reason: Option<Reason>,
}

/// Why a path is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It lies in none of the sources.
    NoSource,
    /// It does not exist.
    Missing,
    /// A rule leaves out the entry at this path, which is the path itself or a folder that it lies in.
    LeftOut {
        /// The entry.
        entry: PathBuf,
        /// The rule, in words.
        rule: String,
    },
}

/// Says what a backup by this request would do with `path`.
///
/// # Errors
/// When the sources make no sense, or a folder on the way cannot be looked at.
pub fn explain(request: &BackupRequest, path: &Path) -> Result<Explanation> {
    let roots = Roots::new(&request.paths, &request.current_folder)?;
    let path = clean(&request.current_folder.join(path));
    let Some((source, top)) = source_of(&roots.top, &path) else {
        return Ok(Explanation { path, source: None, reason: Some(Reason::NoSource) });
    };
    let reason = reason(request, &top, &path)?;
    Ok(Explanation { path, source: Some(source), reason })
}

/// The source that a path lies in, and where it is on disk.
fn source_of(root: &Root, path: &Path) -> Option<(PathBuf, PathBuf)> {
    if let Some(source) = root.source.as_ref().filter(|_| path.starts_with(&root.path)) {
        return Some((source.clone(), root.path.clone()));
    }
    root.children.values().find_map(|child| source_of(child, path))
}

fn reason(request: &BackupRequest, top: &Path, path: &Path) -> Result<Option<Reason>> {
    let failed = |action, path: &Path, error| Error::local(action, path, error);
    let device = rustix::fs::lstat(top).map_err(|error| failed("read source", top, error))?.st_dev;
    let mut entry = top.to_owned();
    let mut ignores = GitIgnores::default();
    for name in path.strip_prefix(top).unwrap_or(Path::new("")) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = match rustix::fs::open(&entry, flags, Mode::empty()) {
            Ok(folder) => folder,
            Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::NOENT) => return Ok(Some(Reason::Missing)),
            Err(error) => return Err(failed("look into", &entry, error)),
        };
        if request.excludes.git_ignore {
            (ignores, _) = ignores.with_those_in(&folder, &entry);
        }
        let tags = request.excludes.tags_in(&folder);
        let parent_device = rustix::fs::fstat(&folder).map_err(|error| failed("look into", &entry, error))?.st_dev;
        entry.push(name);
        let facts = match rustix::fs::lstat(&entry) {
            Ok(stat) => Facts::of_stat(&stat),
            Err(rustix::io::Errno::NOENT) => return Ok(Some(Reason::Missing)),
            Err(error) => return Err(failed("look at", &entry, error)),
        };
        let Some(facts) = facts else { return Ok(Some(left_out(&entry, "its type is unknown".to_owned()))) };
        let is_dir = facts.kind == NodeKind::Dir;
        let excludes = &request.excludes;
        let c_name = std::ffi::CString::new(name.as_bytes()).unwrap_or_default();
        let rule = if let Some(tag) = tags.reason(name.as_bytes()) {
            Some(format!("its folder has a `{}`", String::from_utf8_lossy(&tag.name)))
        } else if let Some(pattern) = excludes.patterns.reason(entry.as_os_str().as_bytes()) {
            Some(format!("it matches the pattern `{pattern}`"))
        } else if let Some((rule, folder)) = ignores.reason(&entry, is_dir) {
            Some(format!("the `.gitignore` of `{}` says `{rule}`", folder.display()))
        } else if facts.kind == NodeKind::File && excludes.excludes_size(facts.size) {
            Some(format!("it has {} bytes, more than are wanted", facts.size))
        } else if excludes.robots && metadata::says_no_backup(&folder, &c_name) {
            Some("it says so itself, in its extended attribute `user.xdg.robots.backup`".to_owned())
        } else if excludes.one_file_system && parent_device != device {
            Some("it lies on another file system than the source".to_owned())
        } else {
            None
        };
        if let Some(rule) = rule {
            return Ok(Some(left_out(&entry, rule)));
        }
    }
    Ok(None)
}

fn left_out(entry: &Path, rule: String) -> Reason {
    Reason::LeftOut { entry: entry.to_owned(), rule }
}
