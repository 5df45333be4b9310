//! Folders that are being worked on, and finishing them from the leaves up.
//!
//! A [`Folder`] stays open (by descriptor, never by path: paths can be longer than the system takes, and change under
//! us) until all its entries have settled. The worker that settles the last one makes the listing, stores it, and
//! settles the folder itself in its parent.
//!
//! A folder that the memory knows waits for its subfolders alone. When all of them come back with the listings they
//! had, it has the listing it had; otherwise the listing of the parent snapshot is read, and the subfolders' new
//! listings are put into it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use format::{BlobKind, Node, NodeKind, Tree};
use model::Id;

use super::descend::OpenFolder;
use super::ingest::Bench;
use super::source::Within;
use super::walk::Walk;
use crate::error::Result;
use crate::threads;

/// Bytes of small files that one worker takes on at a time.
pub(super) const BATCH_BYTES_MAX: u64 = 8 << 20;

/// A folder whose entries are being worked on.
pub(super) struct Folder {
    /// None above the sources, where entries are reached by their own paths.
    descriptor: Option<OwnedFd>,
    pub(super) path: PathBuf,
    /// Its own node, without the listing; none where its parent's entries are as they were.
    node: Mutex<Option<Node>>,
    /// Where its node goes; none for the top.
    place: Option<Place>,
    entries: Mutex<Settled>,
    unsettled: AtomicUsize,
    /// Its listing in the parent snapshot.
    parent_listing: Option<Id>,
    /// True when anything in it could not be read: it must be told again next time, so the folder is not remembered.
    has_trouble: AtomicBool,
}

/// What has settled of a folder.
enum Settled {
    /// The entries' nodes, in order; none for those that are left out.
    Nodes(Vec<Option<Node>>),
    /// Its entries are as they were: the listings of its subfolders, in order.
    Subfolders(Unchanged),
}

/// What is known of a folder whose entries are as they were.
pub(super) struct Unchanged {
    pub(super) listing: Id,
    pub(super) subfolders: Vec<Option<Id>>,
    /// What was counted of its entries.
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) source: Within,
    pub(super) depth: usize,
}

/// A place in a folder's listing, to be settled exactly once.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) folder: Arc<Folder>,
    pub(super) number: usize,
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
            entries: Mutex::new(Settled::Nodes((0..count).map(|_| None).collect())),
            unsettled: AtomicUsize::new(count + 1),
            parent_listing,
            has_trouble: AtomicBool::new(false),
        })
    }

    /// A folder whose entries are as they were.
    pub(super) fn unchanged(open: OpenFolder, unchanged: Unchanged) -> Arc<Self> {
        Arc::new(Self {
            descriptor: Some(open.descriptor),
            path: open.path,
            node: Mutex::new(open.node),
            place: open.place,
            unsettled: AtomicUsize::new(unchanged.subfolders.len() + 1),
            parent_listing: open.parent_listing,
            entries: Mutex::new(Settled::Subfolders(unchanged)),
            has_trouble: AtomicBool::new(false),
        })
    }

    /// Something in it could not be read.
    pub(super) fn mark_trouble(&self) {
        self.has_trouble.store(true, Ordering::Relaxed);
    }

    /// Puts a folder's node or listing in its place.
    pub(super) fn put_folder(&self, number: usize, node: Option<Node>, listing: Id) {
        match &mut *threads::lock(&self.entries) {
            Settled::Nodes(nodes) => {
                if let Some(place) = nodes.get_mut(number) {
                    *place = node.map(|node| Node { subtree: Some(listing), ..node });
                }
            }
            Settled::Subfolders(unchanged) => {
                if let Some(place) = unchanged.subfolders.get_mut(number) {
                    *place = Some(listing);
                }
            }
        }
    }
}

impl Walk<'_> {
    /// Settles an entry of a folder; the last one finishes the folder, and so on upwards. No node means that the entry
    /// could not be read, which was told.
    pub(super) fn settle(&self, bench: &mut Bench, place: Place, node: Option<Node>) -> Result<()> {
        if node.is_none() {
            place.folder.mark_trouble();
        }
        if let Settled::Nodes(nodes) = &mut *threads::lock(&place.folder.entries)
            && let Some(settled) = nodes.get_mut(place.number)
        {
            *settled = node;
        }
        self.settle_one(bench, place.folder)
    }

    /// Finishes the folder when nothing of it is unsettled any more, and so on upwards.
    pub(super) fn settle_one(&self, bench: &mut Bench, folder: Arc<Folder>) -> Result<()> {
        let mut folder = folder;
        while folder.unsettled.fetch_sub(1, Ordering::AcqRel) == 1 {
            let settled = std::mem::replace(&mut *threads::lock(&folder.entries), Settled::Nodes(Vec::new()));
            let listing = match settled {
                Settled::Nodes(nodes) => Some(self.finish_nodes(bench, &folder, nodes)?),
                Settled::Subfolders(unchanged) => self.finish_unchanged(bench, &folder, unchanged)?,
            };
            // Without a listing the folder is walked again, and will come back here.
            let Some(listing) = listing else { return Ok(()) };
            let node = threads::lock(&folder.node).take();
            let Some(place) = folder.place.clone() else {
                *threads::lock(&self.top) = Some(listing);
                return Ok(());
            };
            self.tally.folder(folder.parent_listing, listing);
            place.folder.put_folder(place.number, node, listing);
            folder = place.folder;
        }
        Ok(())
    }

    fn finish_nodes(&self, bench: &mut Bench, folder: &Folder, nodes: Vec<Option<Node>>) -> Result<Id> {
        let tree = Tree { nodes: nodes.into_iter().flatten().collect() };
        let listing = self.ingest.save(bench, BlobKind::Tree, &tree.to_bytes())?;
        if let Some(memory) = &self.memory
            && !folder.has_trouble.load(Ordering::Relaxed)
        {
            memory.note(listing, &tree.nodes);
        }
        Ok(listing)
    }

    /// The listing that the folder had, when its subfolders have the listings that they had; otherwise that one with
    /// theirs put into it. None when that one cannot be read, and the folder is walked again.
    fn finish_unchanged(&self, bench: &mut Bench, folder: &Arc<Folder>, unchanged: Unchanged) -> Result<Option<Id>> {
        let known = self.memory.as_ref().and_then(|memory| Some((memory, memory.folder(&unchanged.listing)?)));
        // invariant: a folder is taken as unchanged only when the memory knows it, and the memory does not change.
        let Some((memory, known)) = known else { return self.walk_again(bench, folder, unchanged) };
        let is_as_it_was = known.subfolders.iter().map(Some).eq(unchanged.subfolders.iter().copied());
        if is_as_it_was {
            memory.keep(&known);
            return Ok(Some(unchanged.listing));
        }
        let subfolders: Option<Vec<Id>> = unchanged.subfolders.iter().copied().collect();
        let Some((subfolders, mut tree)) = subfolders.zip(self.parent_tree(Some(unchanged.listing))) else {
            return self.walk_again(bench, folder, unchanged);
        };
        let folders = tree.nodes.iter_mut().filter(|node| node.kind == NodeKind::Dir);
        for (node, listing) in folders.zip(&subfolders) {
            node.subtree = Some(*listing);
        }
        let listing = self.ingest.save(bench, BlobKind::Tree, &tree.to_bytes())?;
        memory.note_subfolders(&known, listing, subfolders);
        Ok(Some(listing))
    }

    /// Walks a folder, whose listing turned out to be damaged on every copy, as one that was never seen.
    fn walk_again(&self, bench: &mut Bench, folder: &Arc<Folder>, unchanged: Unchanged) -> Result<Option<Id>> {
        self.tally.take_back_unchanged(unchanged.files, unchanged.bytes);
        let descriptor = folder.descriptor.as_ref().map(OwnedFd::try_clone).transpose();
        let failed = |error| crate::Error::local("read folder", &folder.path, error);
        let Some(descriptor) = descriptor.map_err(failed)? else { return Ok(None) };
        let open = OpenFolder {
            descriptor,
            path: folder.path.clone(),
            node: threads::lock(&folder.node).take(),
            place: folder.place.clone(),
            parent_listing: folder.parent_listing,
            source: unchanged.source.clone(),
            depth: unchanged.depth,
        };
        self.walk_anew(bench, open, unchanged)?;
        Ok(None)
    }
}
