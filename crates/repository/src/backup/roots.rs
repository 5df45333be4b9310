//! Which trees a backup begins with.
//!
//! The snapshot's tree follows the paths as they were given: `/etc/ssh` lies at `etc/ssh`, `photos` at `photos`, and
//! `.` puts the folder's own entries at the top. Folders between are recorded with their own metadata. (restic's rules,
//! so that both tools make the same tree of the same folder.)

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result};

/// A node of the tree above what is backed up.
#[derive(Debug, Default)]
pub(super) struct Root {
    /// The folder or file on disk.
    pub(super) path: PathBuf,
    /// The source that begins here, as the user wrote it. It is backed up whole; `children` are then empty.
    pub(super) source: Option<PathBuf>,
    /// What lies below, by name.
    pub(super) children: BTreeMap<Vec<u8>, Root>,
}

/// The sources of one backup.
#[derive(Debug, Default)]
pub(super) struct Roots {
    /// The snapshot's top.
    pub(super) top: Root,
    /// Absolute paths for the snapshot's `paths`, sorted.
    pub(super) absolute: Vec<PathBuf>,
}

impl Roots {
    /// What is not on this machine's disks: nothing is arranged, only named.
    pub(super) fn elsewhere(named: &[PathBuf], sources: &[PathBuf]) -> Result<Self> {
        if !sources.is_empty() || named.is_empty() {
            let text = "files of this machine and what is elsewhere are backed up one after the other".to_owned();
            return Err(Error::Request(text));
        }
        Ok(Self { absolute: named.to_vec(), ..Self::default() })
    }

    /// Arranges `sources`; relative ones are seen from `current`. A source that is not there is an error.
    pub(super) fn new(sources: &[PathBuf], current: &Path) -> Result<Self> {
        if sources.is_empty() {
            return Err(Error::Request("nothing to back up: name at least one path".to_owned()));
        }
        let mut top = Root { path: current.to_owned(), ..Root::default() };
        let mut absolute = Vec::new();
        for source in sources {
            let on_disk = clean(&current.join(source));
            match std::fs::symlink_metadata(&on_disk) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Err(Error::SourceMissing(source.clone()));
                }
                Err(error) => return Err(Error::local("read source", source, error)),
            }
            let mut real = PathBuf::from(if source.is_absolute() { Path::new("/") } else { current });
            let mut root = &mut top;
            if source.is_absolute() {
                root.path = PathBuf::from("/");
            }
            for name in components(source, &mut real) {
                if root.source.is_some() {
                    break;
                }
                real.push(&name);
                root = root.children.entry(name.as_bytes().to_vec()).or_default();
                if root.path.as_os_str().is_empty() {
                    root.path = real.clone();
                } else if root.path != real {
                    let text = format!(
                        "`{}` and `{}` would have the same place in the snapshot",
                        root.path.display(),
                        real.display()
                    );
                    return Err(Error::Request(text));
                }
            }
            if root.source.is_none() {
                root.source = Some(source.clone());
                root.path = on_disk.clone();
                root.children.clear();
            }
            absolute.push(on_disk);
        }
        absolute.sort();
        absolute.dedup();
        Ok(Self { top, absolute })
    }
}

/// The names that lead to a source inside the snapshot. Leading `..` are left out of the snapshot, but not of `real`.
fn components(source: &Path, real: &mut PathBuf) -> Vec<OsString> {
    let mut names: Vec<OsString> = Vec::new();
    for component in clean(source).components() {
        match component {
            Component::Normal(name) => names.push(name.to_owned()),
            Component::ParentDir => {
                real.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    names
}

/// Takes `.` and inner `..` out of a path, by its text alone.
pub(super) fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                let can_go_up = matches!(cleaned.components().next_back(), Some(Component::Normal(_)));
                if can_go_up {
                    cleaned.pop();
                } else if !cleaned.has_root() {
                    cleaned.push("..");
                }
            }
            other => cleaned.push(other),
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(root: &Root, prefix: &str, found: &mut Vec<String>) {
        if root.source.is_some() {
            found.push(format!("{prefix} <- {}", root.path.display()));
        }
        for (name, child) in &root.children {
            names(child, &format!("{prefix}/{}", String::from_utf8_lossy(name)), found);
        }
    }

    fn arranged(sources: &[&str], current: &Path) -> Vec<String> {
        let sources: Vec<PathBuf> = sources.iter().map(PathBuf::from).collect();
        let roots = Roots::new(&sources, current).unwrap();
        let mut found = Vec::new();
        names(&roots.top, "", &mut found);
        found
    }

    #[test]
    fn a_source_lies_where_its_path_says() {
        let scratch = std::env::temp_dir().join(format!("roots-{}", std::process::id()));
        std::fs::create_dir_all(scratch.join("a/b")).unwrap();
        let at = scratch.display();
        assert_eq!(arranged(&["a/b"], &scratch), [format!("/a/b <- {at}/a/b")]);
        assert_eq!(arranged(&["./a/../a/b", "a/b"], &scratch), [format!("/a/b <- {at}/a/b")]);
        assert_eq!(arranged(&["../b"], &scratch.join("a/b")).len(), 1);
        assert_eq!(arranged(&["."], &scratch), [format!(" <- {at}")]);
        assert_eq!(arranged(&["a", "a/b"], &scratch), [format!("/a <- {at}/a")]);
        assert_eq!(arranged(&["a/b", "a"], &scratch), [format!("/a <- {at}/a")]);
        assert_eq!(arranged(&["/"], &scratch), [" <- /"]);
        let missing = Roots::new(&[PathBuf::from("nowhere")], &scratch);
        assert!(matches!(missing, Err(Error::SourceMissing(_))));
        std::fs::remove_dir_all(&scratch).unwrap();
    }
}
