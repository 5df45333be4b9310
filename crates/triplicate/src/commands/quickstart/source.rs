//! The folder that a quickstart backs up, and what of it belongs to the backup itself.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use repository::filter::{Case, Excludes, PatternList};

use super::home::Home;
use super::proof;
use crate::failure::{Failure, local};

/// A source that was looked at.
#[derive(Debug)]
pub(super) struct Source {
    /// Absolute.
    pub(super) path: PathBuf,
    /// Copies and scratch folders below it.
    pub(super) copies_inside: Vec<PathBuf>,
}

impl Source {
    /// Looks before anything is made: a mistake here must leave nothing behind.
    pub(super) fn look_at(given: &Path, copies: &[PathBuf], home: &Home) -> Result<Self, Failure> {
        let absolute = std::path::absolute(given).map_err(|error| local("find out the path of", given, error))?;
        // Without a slash at the end, which would look through a link.
        let path: PathBuf = absolute.components().collect();
        let stat = match path.symlink_metadata() {
            Ok(stat) => stat,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let message = format!("source `{}` does not exist; nothing was made", given.display());
                return Err(Failure::failed(message).hint("check the path, and that the disk that holds it is mounted"));
            }
            Err(error) => return Err(local("read source", given, error)),
        };
        if stat.is_symlink() {
            let message = format!("source `{}` is a symbolic link; nothing was made", given.display());
            return Err(Failure::failed(message).hint("name the folder that it points to"));
        }
        if stat.is_dir() && !holds_a_file(&path)? {
            let message = format!("source `{}` holds no files; nothing was made", given.display());
            return Err(Failure::failed(message).hint("is its disk mounted?"));
        }
        let scratch = proof::scratch_folder(home);
        let mut copies_inside = Vec::new();
        for folder in copies.iter().chain(&scratch) {
            if below(folder, &path).is_some() {
                let message = format!("source `{}` lies in the copy `{}`", given.display(), folder.display());
                return Err(Failure::usage(message).hint("name the folder with your own files"));
            }
            copies_inside.extend(below(&path, folder));
        }
        Ok(Self { path, copies_inside })
    }

    /// What the backup leaves out.
    pub(super) fn excludes(&self) -> Result<Excludes, Failure> {
        let mut patterns = PatternList::default();
        for folder in &self.copies_inside {
            let refused = |error: repository::filter::PatternError| Failure::usage(error.to_string());
            patterns.add(&escaped(folder.as_os_str().as_bytes()), Case::Sensitive).map_err(refused)?;
        }
        Ok(Excludes { patterns, ..Excludes::default() })
    }

    /// The same for the snapshot.
    pub(super) fn exclude_texts(&self) -> Vec<String> {
        self.copies_inside.iter().map(|folder| folder.to_string_lossy().into_owned()).collect()
    }
}

/// A path as a pattern that means nothing but this path.
fn escaped(path: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(path.len());
    for byte in path {
        if b"*?[\\".contains(byte) {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern
}

/// `path` as a path below `folder`, when it lies in it or is it; links on the way are seen through, and folders that
/// are not there yet are judged by the nearest one that is.
fn below(folder: &Path, path: &Path) -> Option<PathBuf> {
    if path.starts_with(folder) {
        return Some(path.to_owned());
    }
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|stat| (stat.dev(), stat.ino()));
    let wanted = identity(folder)?;
    let ancestor = path.ancestors().find(|ancestor| identity(ancestor) == Some(wanted))?;
    Some(folder.join(path.strip_prefix(ancestor).ok()?))
}

/// Whether there is anything but folders.
fn holds_a_file(folder: &Path) -> Result<bool, Failure> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            // What cannot be read may hold anything; the backup will name it.
            Err(_) => return Ok(true),
        };
        for entry in entries {
            let entry = entry.map_err(|error| local("list", &folder, error))?;
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                _ => return Ok(true),
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_copy_behind_a_link_is_found_inside() {
        let scratch = tempfile::tempdir().unwrap();
        let source = scratch.path().join("source");
        std::fs::create_dir_all(source.join("real")).unwrap();
        std::os::unix::fs::symlink(&source, scratch.path().join("link")).unwrap();
        let copy = scratch.path().join("link/copies/1");
        assert_eq!(below(&source, &copy), Some(source.join("copies/1")));
        assert_eq!(below(&source, &scratch.path().join("source2")), None);
        assert_eq!(below(&source, &source), Some(source.clone()));
    }

    #[test]
    fn folders_alone_are_no_files() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(scratch.path().join("a/b/c")).unwrap();
        assert!(!holds_a_file(scratch.path()).unwrap());
        std::fs::write(scratch.path().join("a/b/file"), "").unwrap();
        assert!(holds_a_file(scratch.path()).unwrap());
    }

    #[test]
    fn a_path_means_itself_only() {
        assert_eq!(escaped(b"/a*b[c]\\?"), b"/a\\*b\\[c]\\\\\\?");
    }
}
