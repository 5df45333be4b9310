//! Walking one folder: its entries become nodes at once, or tasks, or are known to be as they were.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use format::{Node, NodeKind};
use model::Id;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::entries::Entries;
use super::facts::Facts;
use super::file::{File, Past};
use super::folder::{Folder, Place, Unchanged};
use super::ingest::Bench;
use super::memory::Known;
use super::metadata;
use super::source::Within;
use super::tasks::Tasks;
use super::walk::{Task, Walk};
use crate::error::Result;
use crate::observer::{Action, TroubleKind};

/// Levels of folders before the walk gives up; each open level costs a descriptor.
const DEPTH_MAX: usize = 4096;

/// A folder that waits to be walked.
pub(super) struct FolderTask {
    pub(super) place: Place,
    pub(super) name: CString,
    pub(super) path: PathBuf,
    /// None where the entries of the folder above are as they were.
    pub(super) node: Option<Node>,
    pub(super) parent_listing: Option<Id>,
    pub(super) source: Within,
    pub(super) depth: usize,
}

/// A folder that was opened to be walked.
pub(super) struct OpenFolder {
    pub(super) descriptor: OwnedFd,
    pub(super) path: PathBuf,
    pub(super) node: Option<Node>,
    /// None for the top.
    pub(super) place: Option<Place>,
    /// Its listing in the parent snapshot.
    pub(super) parent_listing: Option<Id>,
    pub(super) source: Within,
    pub(super) depth: usize,
}

/// What the parent snapshot has at the place of an entry.
#[derive(Default)]
pub(super) struct Earlier {
    pub(super) node: Option<Node>,
    /// True when the memory vouches for it: where the facts are the same, all the rest is.
    pub(super) is_remembered: bool,
}

impl Earlier {
    /// The node, where it is certain that the entry is as it was.
    fn same(&mut self, facts: &Facts) -> Option<Node> {
        self.node.take_if(|node| self.is_remembered && Facts::of_node(node) == *facts)
    }

    /// The folder's listing.
    fn listing(&self) -> Option<Id> {
        self.node.as_ref().filter(|node| node.kind == NodeKind::Dir).and_then(|node| node.subtree)
    }
}

impl Walk<'_> {
    /// Opens one folder and walks it.
    pub(super) fn folder(&self, bench: &mut Bench, task: FolderTask) -> Result<()> {
        self.check_cancel()?;
        let FolderTask { place, name, path, node, parent_listing, source, depth } = task;
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
                return self.walk_nothing(bench, node, place, true);
            }
        };
        let open = OpenFolder { descriptor, path, node, place: Some(place), parent_listing, source, depth };
        self.walk_open(bench, open)
    }

    fn walk_nothing(&self, bench: &mut Bench, node: Option<Node>, place: Place, has_trouble: bool) -> Result<()> {
        let folder = Folder::new(None, PathBuf::new(), node, Some(place), None, 0);
        if has_trouble {
            folder.mark_trouble();
        }
        self.settle_one(bench, folder)
    }

    /// Walks an open folder.
    pub(super) fn walk_open(&self, bench: &mut Bench, open: OpenFolder) -> Result<()> {
        let entries = self.entries_or_none(&open)?;
        let known = self.memory.as_ref().zip(open.parent_listing);
        let known = known.and_then(|(memory, listing)| memory.folder(&listing));
        match known {
            Some(known) if !entries.has_trouble && entries.fingerprint() == known.fingerprint => {
                self.walk_unchanged(bench, open, &entries, &known)
            }
            known => self.walk_entries(bench, open, &entries, known.is_some()),
        }
    }

    fn entries_or_none(&self, open: &OpenFolder) -> Result<Entries> {
        match self.entries_of(&open.descriptor, &open.path, &open.source) {
            Ok(entries) => Ok(entries),
            Err(error) if open.depth == 0 => Err(crate::Error::local("list source", &open.path, error)),
            Err(error) => {
                self.trouble(open.path.clone(), TroubleKind::Unreadable, error);
                Ok(Entries::unreadable())
            }
        }
    }

    /// The entries are as they were: only the subfolders are walked.
    fn walk_unchanged(&self, bench: &mut Bench, open: OpenFolder, entries: &Entries, known: &Known<'_>) -> Result<()> {
        let Some(listing) = open.parent_listing else { return self.walk_entries(bench, open, entries, false) };
        let (mut files, mut bytes, mut others) = (0, 0, 0);
        for (name, entry) in entries.iter() {
            match entry.facts.kind {
                NodeKind::File => {
                    files += 1;
                    bytes += entry.facts.size;
                    self.tell_unchanged(|| child(&open.path, name), entry.facts.size);
                }
                NodeKind::Dir => {}
                _ => others += 1,
            }
        }
        self.observer().progress().found(files, bytes);
        self.observer().progress().done(files, bytes);
        self.tally.unchanged_files(files, bytes);
        open.source.count_entries(files + others);
        let (source, depth) = (open.source.below(entries), open.depth);
        let subfolders = vec![None; known.subfolders.len()];
        let unchanged = Unchanged { listing, subfolders, files, bytes, source: open.source.clone(), depth };
        let folder = Folder::unchanged(open, unchanged);
        let mut tasks = Vec::new();
        for (number, ((name, entry), listing)) in entries.folders().zip(known.subfolders.iter()).enumerate() {
            let place = Place { folder: folder.clone(), number };
            if self.is_elsewhere(&entry.facts, &source) {
                self.walk_nothing(bench, None, place, false)?;
                continue;
            }
            let (path, name, source) = (child(&folder.path, name), name.to_owned(), source.clone());
            let parent_listing = Some(listing);
            let task = FolderTask { place, name, path, node: None, parent_listing, source, depth: depth + 1 };
            tasks.push(Task::Folder(Box::new(task)));
        }
        if !tasks.is_empty() {
            self.crew.push_all(tasks);
        }
        self.settle_one(bench, folder)
    }

    /// Every entry becomes a node at once, or a task.
    fn walk_entries(&self, bench: &mut Bench, open: OpenFolder, entries: &Entries, is_remembered: bool) -> Result<()> {
        // Both are in order, so that one pass through the parent's listing finds all that are in both.
        let mut past = self.parent_tree(open.parent_listing).unwrap_or_default().nodes.into_iter().peekable();
        let OpenFolder { descriptor, path, node, place, parent_listing, source, depth } = open;
        let source = source.below(entries);
        let folder = Folder::new(Some(descriptor), path, node, place, parent_listing, entries.len());
        if entries.has_trouble {
            folder.mark_trouble();
        }
        let mut tasks = Tasks::default();
        for (number, (name, entry)) in entries.iter().enumerate() {
            let place = Place { folder: folder.clone(), number };
            while past.next_if(|node| node.name.as_slice() < name.to_bytes()).is_some() {}
            let node = past.next_if(|node| node.name == name.to_bytes());
            let mut earlier = Earlier { node, is_remembered };
            let node = match earlier.same(&entry.facts) {
                Some(node) => Ok(node),
                None => Err(self.new_node(&folder, name, name.to_bytes(), &entry.facts, entry.atime)),
            };
            tasks.add(self.entry(bench, place, name, node, earlier, &source, depth + 1)?);
        }
        self.crew.push_all(tasks.in_order());
        self.settle_one(bench, folder)
    }

    /// Walks a folder as one that was never seen. Its subfolders have been walked; where its entries are still those
    /// that were found then, they are not walked again.
    pub(super) fn walk_anew(&self, bench: &mut Bench, open: OpenFolder, before: Unchanged) -> Result<()> {
        let entries = self.entries_or_none(&open)?;
        let known = self.memory.as_ref().and_then(|memory| memory.folder(&before.listing));
        let is_as_before = known.is_some_and(|known| known.fingerprint == entries.fingerprint());
        let mut walked = before.subfolders.into_iter();
        let OpenFolder { descriptor, path, node, place, parent_listing, source, depth } = open;
        let source = source.below(&entries);
        let folder = Folder::new(Some(descriptor), path, node, place, parent_listing, entries.len());
        if entries.has_trouble {
            folder.mark_trouble();
        }
        let mut tasks = Tasks::default();
        for (number, (name, entry)) in entries.iter().enumerate() {
            let place = Place { folder: folder.clone(), number };
            let node = self.new_node(&folder, name, name.to_bytes(), &entry.facts, entry.atime);
            let listing = if entry.facts.kind == NodeKind::Dir { walked.next().flatten() } else { None };
            if let Some(listing) = listing.filter(|_| is_as_before) {
                folder.put_folder(number, Some(node), listing);
                self.settle_one(bench, folder.clone())?;
            } else {
                tasks.add(self.entry(bench, place, name, Err(node), Earlier::default(), &source, depth + 1)?);
            }
        }
        self.crew.push_all(tasks.in_order());
        self.settle_one(bench, folder)
    }

    /// The node of an entry, with its attributes.
    pub(super) fn new_node(
        &self,
        folder: &Folder,
        name: &CStr,
        node_name: &[u8],
        facts: &Facts,
        atime: (i64, u32),
    ) -> Node {
        let mut node = self.metadata.node_of(node_name, facts, atime);
        let path = || child(&folder.path, name);
        if !self.read_attributes(&mut node, folder.descriptor(), name, path) {
            folder.mark_trouble();
        }
        node
    }

    /// Handles one entry: settles it at once, or gives the task that will. `node` is `Ok` when it is wholly known from
    /// the parent snapshot.
    #[allow(clippy::too_many_arguments)] // everything that is known of one entry
    pub(super) fn entry(
        &self,
        bench: &mut Bench,
        place: Place,
        name: &CStr,
        node: std::result::Result<Node, Node>,
        earlier: Earlier,
        source: &Within,
        depth: usize,
    ) -> Result<Option<Task>> {
        let (is_same, mut node) = match node {
            Ok(node) => (true, node),
            Err(node) => (false, node),
        };
        let path = |place: &Place| child(&place.folder.path, name);
        match node.kind {
            NodeKind::Dir if self.excludes.one_file_system && node.device_id != source.device => {
                self.walk_nothing(bench, Some(node), place, false)?;
                Ok(None)
            }
            NodeKind::Dir => {
                let parent_listing = if is_same { node.subtree.take() } else { earlier.listing() };
                let (name, path, source) = (name.to_owned(), path(&place), source.clone());
                let task = FolderTask { place, name, path, node: Some(node), parent_listing, source, depth };
                Ok(Some(Task::Folder(Box::new(task))))
            }
            NodeKind::File => {
                source.count_entries(1);
                self.observer().progress().found(1, node.size);
                if !is_same {
                    let past = self.past_of(earlier.node.as_ref(), &Facts::of_node(&node).stamp());
                    let Past::Same(content) = past else {
                        let (name, path) = (name.to_owned(), path(&place));
                        return Ok(Some(Task::File(Box::new(File { place, name, path, node, past, made: None }))));
                    };
                    node.content = content;
                }
                self.tally.file(Action::Unchanged, node.size);
                self.observer().progress().done(1, node.size);
                self.tell_unchanged(|| path(&place), node.size);
                self.settle(bench, place, Some(node))?;
                Ok(None)
            }
            NodeKind::Symlink if !is_same => {
                source.count_entries(1);
                match rustix::fs::readlinkat(place.folder.descriptor(), name, Vec::new()) {
                    Ok(target) => node.link_target = Some(target.into_bytes()),
                    Err(error) => {
                        self.trouble_opening(path(&place), error);
                        return self.settle(bench, place, None).map(|()| None);
                    }
                }
                self.settle(bench, place, Some(node)).map(|()| None)
            }
            _ => {
                source.count_entries(1);
                self.settle(bench, place, Some(node)).map(|()| None)
            }
        }
    }

    fn is_elsewhere(&self, folder: &Facts, source: &Within) -> bool {
        self.excludes.one_file_system && folder.device_id != source.device
    }

    /// Reads an entry's extended attributes into its node; false when not all of them could be.
    pub(super) fn read_attributes(
        &self,
        node: &mut Node,
        folder: BorrowedFd<'_>,
        name: &CStr,
        path: impl Fn() -> PathBuf,
    ) -> bool {
        match metadata::attributes(folder, name) {
            Ok(attributes) => {
                // In the format, names of attributes are text; other bytes would come back as something else.
                let (kept, lost): (Vec<_>, Vec<_>) =
                    attributes.into_iter().partition(|(name, _)| std::str::from_utf8(name).is_ok());
                node.extended_attributes = kept;
                for (name, _) in &lost {
                    let cause = format!("the extended attribute `{}` has a name that is not text", name.escape_ascii());
                    self.trouble(path(), TroubleKind::Metadata, cause);
                }
                lost.is_empty()
            }
            Err(Errno::NOENT) => false,
            Err(error) => {
                self.trouble(path(), TroubleKind::Metadata, format!("extended attributes: {error}"));
                false
            }
        }
    }
}

/// The path of an entry. One whose name is an absolute path has that path.
fn child(folder: &Path, name: &CStr) -> PathBuf {
    folder.join(OsStr::from_bytes(name.to_bytes()))
}
