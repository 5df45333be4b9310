//! Walking an [`Origin`](super::Origin): the same folders, files, windows and settling as for the file system, with entries that
//! were asked for instead of looked up.
//!
//! An origin takes only so many questions at a time. Its folders and files wait at its [`Lanes`], and enter the crew's
//! pile one for each that leaves; so nobody of the crew waits for a turn while there are chunks to hash.

mod entry;
mod file;
mod folder;
mod lanes;
mod manifest;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};

use format::{Node, NodeKind};
use model::Id;

use super::above::find;
use super::facts::Facts;
use super::file::File;
use super::folder::{Folder, Place};
use super::ingest::Bench;
use super::origin::{Entry, Given, OriginError};
use super::source::Source;
use super::walk::{Task, Walk};
use crate::error::{Error, Result};
use lanes::Lanes;
use manifest::{MANIFEST_FOLDER, ManifestPlace};

/// An origin that is being walked.
pub(super) struct Elsewhere<'a> {
    given: &'a Given,
    /// When the backup began: the time of what has none of its own.
    now: (i64, u32),
    /// Files that were changed before this second are believed to be what they were.
    believed_before: i64,
    source: Arc<Source>,
    lanes: Lanes<Work>,
    manifest: Mutex<Option<ManifestPlace>>,
}

/// A folder or a file of an origin whose turn has come.
pub(super) enum Work {
    /// List a folder.
    Folder(FolderWork),
    /// Read a file.
    File(FileWork),
}

/// A folder that waits to be listed.
pub(super) struct FolderWork {
    /// None for the snapshot's top.
    place: Option<Place>,
    /// Inside the origin.
    path: Vec<u8>,
    node: Option<Node>,
    parent_listing: Option<Id>,
    depth: usize,
}

/// A file that waits to be read.
pub(super) struct FileWork {
    file: File,
    /// Inside the origin.
    path: Vec<u8>,
    entry: Entry,
}

impl<'a> Elsewhere<'a> {
    /// Nothing is asked yet. `parent_began` as in [`super::parent::began`].
    pub(super) fn new(given: &'a Given, now: (i64, u32), parent_began: i64) -> Self {
        Self {
            given,
            now,
            believed_before: parent_began - given.origin.settle_seconds(),
            source: Source::elsewhere(PathBuf::from(given.origin.place())),
            lanes: Lanes::new(given.origin.lanes()),
            manifest: Mutex::default(),
        }
    }

    fn error(&self, error: OriginError) -> Error {
        Error::Origin { place: self.given.origin.place(), source: error }
    }

    /// The path in the snapshot of a path inside the origin.
    fn path_in_snapshot(&self, path: &[u8]) -> PathBuf {
        match path {
            [] => self.given.folder.clone(),
            path => self.given.folder.join(OsStr::from_bytes(path)),
        }
    }
}

impl Walk<'_> {
    /// Makes the folders that lead to the origin, and lets its top in as the first piece of work.
    pub(super) fn begin_elsewhere(
        &self,
        bench: &mut Bench,
        elsewhere: &Elsewhere<'_>,
        parent: Option<Id>,
    ) -> Result<()> {
        self.sources().push(elsewhere.source.clone());
        let mut work = FolderWork { place: None, path: Vec::new(), node: None, parent_listing: parent, depth: 0 };
        let mut path = PathBuf::from("/");
        for name in names_of(&elsewhere.given.folder)? {
            let is_top = work.place.is_none();
            let before = self.parent_tree(work.parent_listing);
            let folder = Folder::new(
                None,
                path.clone(),
                work.node.take(),
                work.place.take(),
                work.parent_listing,
                1 + usize::from(is_top),
            );
            // The manifest lies beside the origin's folder, in the order of their names.
            let comes_second = is_top && MANIFEST_FOLDER.as_bytes() < name.as_slice();
            if is_top {
                let place = Place { folder: folder.clone(), number: usize::from(!comes_second) };
                let before = before.as_ref().and_then(|tree| find(tree, MANIFEST_FOLDER.as_bytes()));
                *crate::threads::lock(&elsewhere.manifest) = Some(ManifestPlace::new(place, before));
            }
            let before = before.as_ref().and_then(|tree| find(tree, &name));
            path.push(OsStr::from_bytes(&name));
            work = FolderWork {
                place: Some(Place { folder: folder.clone(), number: usize::from(comes_second) }),
                node: Some(self.folder_node(elsewhere, &name, before)),
                parent_listing: before.and_then(|node| node.subtree),
                ..work
            };
            self.settle_one(bench, folder)?;
        }
        self.let_in(elsewhere, vec![Work::Folder(work)]);
        Ok(())
    }

    /// Does a piece of work, and lets the next one in.
    pub(super) fn elsewhere(&self, bench: &mut Bench, work: Work) -> Result<()> {
        let Some(elsewhere) = &self.elsewhere else { return Ok(()) };
        self.check_cancel()?;
        match work {
            Work::Folder(work) => self.origin_folder(bench, elsewhere, work)?,
            Work::File(work) => self.origin_file(bench, elsewhere, work)?,
        }
        if let Some(next) = elsewhere.lanes.leave() {
            self.crew.push(Task::Elsewhere(Box::new(next)));
        }
        Ok(())
    }

    fn let_in(&self, elsewhere: &Elsewhere<'_>, work: Vec<Work>) {
        let entered = elsewhere.lanes.enter(work);
        if !entered.is_empty() {
            self.crew.push_all(entered.into_iter().map(|work| Task::Elsewhere(Box::new(work))));
        }
    }

    /// The node of a folder that nobody knows more of than its name.
    fn folder_node(&self, elsewhere: &Elsewhere<'_>, name: &[u8], before: Option<&Node>) -> Node {
        let before = before.filter(|node| node.kind == NodeKind::Dir);
        let mtime = before.map_or(elsewhere.now, |node| (node.mtime.seconds, node.mtime.nanoseconds));
        self.metadata.node_of(name, &self.facts_of_nothing(NodeKind::Dir, 0o755, mtime), mtime)
    }

    /// Facts of an entry of ours, of which no system knows any.
    fn facts_of_nothing(&self, kind: NodeKind, mode: u32, mtime: (i64, u32)) -> Facts {
        let who = &self.indexed.repository.surroundings().who;
        Facts { kind, mode, uid: who.uid, gid: who.gid, mtime, ctime: mtime, ..Facts::NONE }
    }
}

/// The names of an absolute path.
fn names_of(folder: &Path) -> Result<Vec<Vec<u8>>> {
    let is_odd = |component: &Component<'_>| matches!(component, Component::ParentDir | Component::CurDir);
    if !folder.is_absolute() || folder.components().any(|component| is_odd(&component)) {
        let text = format!("`{}` is no place in a snapshot: it has to be absolute, without `..`", folder.display());
        return Err(Error::Request(text));
    }
    let names = folder.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.as_bytes().to_vec()),
        _ => None,
    });
    let names: Vec<Vec<u8>> = names.collect();
    if names.first().is_some_and(|name| name == MANIFEST_FOLDER.as_bytes()) {
        let text = format!("`/{MANIFEST_FOLDER}` is the place of what is known of the source, not of the source");
        return Err(Error::Request(text));
    }
    Ok(names)
}
