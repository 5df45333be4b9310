//! Walking folders and finishing them from the leaves up.
//!
//! A [`Folder`] stays open (by descriptor, never by path: paths can be longer than the system takes, and change under
//! us) until all its entries have settled. The worker that settles the last one makes the listing, stores it, and
//! settles the folder itself in its parent.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use format::{BlobKind, Node, NodeKind, Tree};
use model::Id;
use rustix::fs::{AtFlags, Dir, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::file::{File, Past, SMALL_BYTES_MAX};
use super::ingest::Bench;
use super::metadata::{self, Stamp};
use super::roots::Root;
use super::source::Source;
use super::walk::{Task, Walk};
use crate::error::Result;
use crate::observer::{Action, TroubleKind};
use crate::threads;

/// Levels of folders before the walk gives up; each open level costs a descriptor.
const DEPTH_MAX: usize = 4096;

/// Bytes of small files that one worker takes on at a time.
const BATCH_BYTES_MAX: u64 = 8 << 20;

/// Small files that one worker takes on at a time.
const BATCH_FILES_MAX: usize = 256;

/// A folder whose entries are being worked on.
pub(super) struct Folder {
    /// None above the sources, where entries are reached by their own paths.
    descriptor: Option<OwnedFd>,
    pub(super) path: PathBuf,
    /// Its own node, without the listing.
    node: Mutex<Option<Node>>,
    /// Where its node goes; none for the top.
    place: Option<Place>,
    entries: Mutex<Vec<Option<Node>>>,
    unsettled: AtomicUsize,
    /// Its listing in the parent snapshot.
    parent_listing: Option<Id>,
}

/// A place in a folder's listing, to be settled exactly once.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) folder: Arc<Folder>,
    pub(super) number: usize,
}

/// A folder that waits to be walked.
pub(super) struct FolderTask {
    pub(super) place: Place,
    pub(super) name: CString,
    pub(super) path: PathBuf,
    pub(super) node: Node,
    pub(super) parent_node: Option<Node>,
    pub(super) source: Arc<Source>,
    pub(super) depth: usize,
}

impl Folder {
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_ref().map_or(rustix::fs::CWD, AsFd::as_fd)
    }

    /// A folder with `count` entries; one more is unsettled until the walk of the folder itself is over.
    pub(super) fn new(
        descriptor: Option<OwnedFd>,
        path: PathBuf,
        node: Option<Node>,
        place: Option<Place>,
        parent_listing: Option<Id>,
        count: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            descriptor,
            path,
            node: Mutex::new(node),
            place,
            entries: Mutex::new((0..count).map(|_| None).collect()),
            unsettled: AtomicUsize::new(count + 1),
            parent_listing,
        })
    }
}

impl Walk<'_> {
    /// Walks the folders above the sources; the sources themselves become tasks.
    pub(super) fn begin(&self, bench: &mut Bench, root: &Root, place: Option<Place>, past: Before<'_>) -> Result<()> {
        if let Some(source) = &root.source {
            let source = Source::new(source.clone(), &root.path)?;
            self.sources().push(source.clone());
            return self.begin_source(bench, root, place, past, source);
        }
        let listing = past.listing();
        let node = match &place {
            Some(place) => {
                let name = root.path.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
                let stat = rustix::fs::stat(&root.path);
                let stat = stat.map_err(|error| crate::Error::local("read source", &root.path, error))?;
                let mut node = self.metadata.node(&name, &stat);
                if let (Some(node), Some(full)) = (&mut node, c_path(&root.path)) {
                    self.read_attributes(node, place.folder.descriptor(), &full, &root.path);
                }
                node
            }
            None => None,
        };
        let folder = Folder::new(None, root.path.clone(), node, place, listing, root.children.len());
        let parent = self.parent_tree(listing);
        for (number, (name, child)) in root.children.iter().enumerate() {
            let past = Before::Entry(parent.as_ref().and_then(|tree| find(tree, name)));
            let place = Place { folder: folder.clone(), number };
            self.begin(bench, child, Some(place), past)?;
        }
        self.settle_one(bench, folder)
    }

    fn begin_source(
        &self,
        bench: &mut Bench,
        root: &Root,
        place: Option<Place>,
        past: Before<'_>,
        source: Arc<Source>,
    ) -> Result<()> {
        let failed = |error| crate::Error::local("read source", &root.path, error);
        let Some(place) = place else {
            // The source is the top itself (`.` or `/`): its entries are the snapshot's.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let descriptor = rustix::fs::open(&root.path, flags, Mode::empty()).map_err(failed)?;
            return self.walk_open(bench, descriptor, root.path.clone(), None, None, past.listing(), &source, 0);
        };
        let full = c_path(&root.path).ok_or_else(|| failed(Errno::INVAL))?;
        let stat = rustix::fs::lstat(&root.path).map_err(failed)?;
        let name = root.path.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
        let parent_node = past.entry().cloned();
        if let Some(task) = self.entry(bench, place, &full, &name, &stat, root.path.clone(), parent_node, &source, 0)? {
            self.crew.push(task);
        }
        Ok(())
    }

    /// Walks one folder: every entry becomes a node at once, or a task.
    pub(super) fn folder(&self, bench: &mut Bench, task: FolderTask) -> Result<()> {
        self.check_cancel()?;
        let FolderTask { place, name, path, node, parent_node, source, depth } = task;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = if depth > DEPTH_MAX {
            Err(Errno::NAMETOOLONG)
        } else {
            rustix::fs::openat(place.folder.descriptor(), name.as_c_str(), flags, Mode::empty())
        };
        let descriptor = match opened {
            Ok(descriptor) => descriptor,
            Err(error) if depth == 0 => return Err(crate::Error::local("read source", path, error)),
            Err(error) => {
                self.trouble_opening(path, error);
                // The folder itself is known, only its entries are not: it stays in the listing, empty, as in restic.
                return self.walk_nothing(bench, node, place);
            }
        };
        let listing = parent_node.filter(|node| node.kind == NodeKind::Dir).and_then(|node| node.subtree);
        self.walk_open(bench, descriptor, path, Some(node), Some(place), listing, &source, depth)
    }

    fn walk_nothing(&self, bench: &mut Bench, node: Node, place: Place) -> Result<()> {
        let folder = Folder::new(None, PathBuf::new(), Some(node), Some(place), None, 0);
        self.settle_one(bench, folder)
    }

    #[allow(clippy::too_many_arguments)] // the parts of a task and of a source, unpacked
    fn walk_open(
        &self,
        bench: &mut Bench,
        descriptor: OwnedFd,
        path: PathBuf,
        node: Option<Node>,
        place: Option<Place>,
        listing: Option<Id>,
        source: &Arc<Source>,
        depth: usize,
    ) -> Result<()> {
        let names = match names_in(&descriptor) {
            Ok(names) => names,
            Err(error) if depth == 0 => return Err(crate::Error::local("list source", path, error)),
            Err(error) => {
                self.trouble(path.clone(), TroubleKind::Unreadable, error);
                Vec::new()
            }
        };
        let tags = if self.excludes.has_tags() { self.excludes.tags_in(&descriptor) } else { Default::default() };
        for trouble in &tags.troubles {
            self.trouble(path.clone(), TroubleKind::Metadata, trouble);
        }
        // Both are in order, so that one pass through the parent's listing finds all that are in both.
        let mut past = self.parent_tree(listing).unwrap_or_default().nodes.into_iter().peekable();
        let folder = Folder::new(Some(descriptor), path, node, place, listing, names.len());
        let mut tasks = Vec::new();
        let mut batch = Batch::default();
        for (number, name) in names.iter().enumerate() {
            let place = Place { folder: folder.clone(), number };
            let path = folder.path.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
            let stat = match rustix::fs::statat(folder.descriptor(), name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(error) => {
                    self.trouble_opening(path, error);
                    self.settle(bench, place, None)?;
                    continue;
                }
            };
            if tags.excludes(name.to_bytes()) || self.is_excluded(&path, &stat) {
                self.settle(bench, place, None)?;
                continue;
            }
            while past.next_if(|node| node.name.as_slice() < name.to_bytes()).is_some() {}
            let parent_node = past.next_if(|node| node.name == name.to_bytes());
            match self.entry(bench, place, name, name.to_bytes(), &stat, path, parent_node, source, depth + 1)? {
                Some(Task::File(file)) if file.size() < SMALL_BYTES_MAX => {
                    if let Some(full) = batch.add(*file) {
                        tasks.push(Task::Batch(full));
                    }
                }
                Some(task) => tasks.push(task),
                None => {}
            }
        }
        tasks.extend(batch.take());
        // Files are taken first: folders wait at the bottom of the pile, so that few are open.
        tasks.sort_by_key(|task| !matches!(task, Task::Folder(_)));
        self.crew.push_all(tasks);
        self.settle_one(bench, folder)
    }

    /// Handles one entry: settles it at once, or gives the task that will.
    #[allow(clippy::too_many_arguments)] // everything that is known of one entry
    fn entry(
        &self,
        bench: &mut Bench,
        place: Place,
        name: &CStr,
        node_name: &[u8],
        stat: &Stat,
        path: PathBuf,
        parent_node: Option<Node>,
        source: &Arc<Source>,
        depth: usize,
    ) -> Result<Option<Task>> {
        let Some(mut node) = self.metadata.node(node_name, stat) else {
            self.trouble(path, TroubleKind::Unsupported, "its type is unknown");
            return self.settle(bench, place, None).map(|()| None);
        };
        self.read_attributes(&mut node, place.folder.descriptor(), name, &path);
        match node.kind {
            NodeKind::Dir if self.excludes.one_file_system && stat.st_dev != source.device => {
                self.walk_nothing(bench, node, place)?;
                Ok(None)
            }
            NodeKind::Dir => {
                let (name, source) = (name.to_owned(), source.clone());
                let task = FolderTask { place, name, path, node, parent_node, source, depth };
                Ok(Some(Task::Folder(Box::new(task))))
            }
            NodeKind::File => {
                source.count_entry();
                self.observer().progress().found(1, node.size);
                let past = self.past_of(parent_node.as_ref(), &Stamp::of(stat));
                let Past::Same(content) = past else {
                    return Ok(Some(Task::File(Box::new(File { place, name: name.to_owned(), path, node, past }))));
                };
                node.content = content;
                self.tally.file(Action::Unchanged, node.size);
                self.observer().progress().done(1, node.size);
                self.tell_entry(&path, Action::Unchanged, node.size);
                self.settle(bench, place, Some(node))?;
                Ok(None)
            }
            NodeKind::Symlink => {
                source.count_entry();
                match rustix::fs::readlinkat(place.folder.descriptor(), name, Vec::new()) {
                    Ok(target) => node.link_target = Some(target.into_bytes()),
                    Err(error) => {
                        self.trouble_opening(path, error);
                        return self.settle(bench, place, None).map(|()| None);
                    }
                }
                self.settle(bench, place, Some(node)).map(|()| None)
            }
            _ => {
                source.count_entry();
                self.settle(bench, place, Some(node)).map(|()| None)
            }
        }
    }

    fn read_attributes(&self, node: &mut Node, folder: BorrowedFd<'_>, name: &CStr, path: &std::path::Path) {
        match metadata::attributes(folder, name) {
            Ok(attributes) => {
                // In the format, names of attributes are text; other bytes would come back as something else.
                let (kept, lost): (Vec<_>, Vec<_>) =
                    attributes.into_iter().partition(|(name, _)| std::str::from_utf8(name).is_ok());
                node.extended_attributes = kept;
                for (name, _) in lost {
                    let cause = format!("the extended attribute `{}` has a name that is not text", name.escape_ascii());
                    self.trouble(path.to_owned(), TroubleKind::Metadata, cause);
                }
            }
            Err(Errno::NOENT) => {}
            Err(error) => {
                self.trouble(path.to_owned(), TroubleKind::Metadata, format!("extended attributes: {error}"));
            }
        }
    }

    /// Settles an entry of a folder; the last one finishes the folder, and so on upwards.
    pub(super) fn settle(&self, bench: &mut Bench, place: Place, node: Option<Node>) -> Result<()> {
        threads::lock(&place.folder.entries)[place.number] = node;
        self.settle_one(bench, place.folder)
    }

    fn settle_one(&self, bench: &mut Bench, folder: Arc<Folder>) -> Result<()> {
        let mut folder = folder;
        while folder.unsettled.fetch_sub(1, Ordering::AcqRel) == 1 {
            let entries = std::mem::take(&mut *threads::lock(&folder.entries));
            let tree = Tree { nodes: entries.into_iter().flatten().collect() };
            let listing = self.ingest.save(bench, BlobKind::Tree, &tree.to_bytes())?;
            let node = threads::lock(&folder.node).take();
            let Some(place) = folder.place.clone() else {
                *threads::lock(&self.top) = Some(listing);
                return Ok(());
            };
            self.tally.folder(folder.parent_listing, listing);
            let node = node.map(|node| Node { subtree: Some(listing), ..node });
            threads::lock(&place.folder.entries)[place.number] = node;
            folder = place.folder;
        }
        Ok(())
    }
}

/// What the parent snapshot has at the place of a source or of a folder above one.
#[derive(Clone, Copy)]
pub(super) enum Before<'a> {
    /// The top's listing.
    Top(Option<Id>),
    /// An entry of the folder above.
    Entry(Option<&'a Node>),
}

impl<'a> Before<'a> {
    fn listing(self) -> Option<Id> {
        match self {
            Before::Top(listing) => listing,
            Before::Entry(node) => node.and_then(|node| node.subtree),
        }
    }

    fn entry(self) -> Option<&'a Node> {
        match self {
            Before::Top(_) => None,
            Before::Entry(node) => node,
        }
    }
}

/// The entry of this name in a listing that is in order.
fn find<'a>(tree: &'a Tree, name: &[u8]) -> Option<&'a Node> {
    let found = tree.nodes.binary_search_by(|node| node.name.as_slice().cmp(name));
    found.ok().and_then(|number| tree.nodes.get(number))
}

/// Gathers small files until there is enough for one worker.
#[derive(Default)]
struct Batch {
    files: Vec<File>,
    bytes: u64,
}

impl Batch {
    fn add(&mut self, file: File) -> Option<Vec<File>> {
        self.bytes += file.size();
        self.files.push(file);
        let is_full = self.bytes >= BATCH_BYTES_MAX || self.files.len() >= BATCH_FILES_MAX;
        is_full.then(|| std::mem::take(self).files)
    }

    fn take(self) -> Option<Task> {
        (!self.files.is_empty()).then_some(Task::Batch(self.files))
    }
}

/// The names in a folder, in the byte order that listings have.
fn names_in(folder: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn c_path(path: &std::path::Path) -> Option<CString> {
    CString::new(path.as_os_str().as_bytes()).ok()
}
