//! The folders above the sources, and where the walk of each source begins.
//!
//! There are few of them, others write to them, and only those of their entries that lead to a source are looked at:
//! they are listed anew in every backup.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use format::{Node, Tree};
use model::Id;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::descend::{Earlier, OpenFolder};
use super::facts::Facts;
use super::folder::{Folder, Place};
use super::ingest::Bench;
use super::roots::Root;
use super::source::{Source, Within};
use super::walk::Walk;
use crate::error::Result;
use crate::observer::TroubleKind;

impl Walk<'_> {
    /// Walks the folders above the sources; the sources themselves become tasks.
    pub(super) fn begin(&self, bench: &mut Bench, root: &Root, place: Option<Place>, past: Before<'_>) -> Result<()> {
        if let Some(source) = &root.source {
            let source = Source::new(source.clone(), &root.path)?;
            self.sources().push(source.clone());
            return self.begin_source(bench, root, place, past, Within::top(source));
        }
        let listing = past.listing();
        let node = match &place {
            Some(place) => {
                let stat = rustix::fs::stat(&root.path);
                let stat = stat.map_err(|error| crate::Error::local("read source", &root.path, error))?;
                let mut node = self.metadata.node(&name_of(root), &stat);
                if let (Some(node), Some(full)) = (&mut node, c_path(&root.path)) {
                    self.read_attributes(node, place.folder.descriptor(), &full, || root.path.clone());
                }
                node
            }
            None => None,
        };
        let folder = Folder::new(None, root.path.clone(), node, place, listing, root.children.len());
        // Not all of its entries are in its listing: nothing of it is remembered.
        folder.mark_trouble();
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
        source: Within,
    ) -> Result<()> {
        let failed = |error| crate::Error::local("read source", &root.path, error);
        let Some(place) = place else {
            // The source is the top itself (`.` or `/`): its entries are the snapshot's.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let descriptor = rustix::fs::open(&root.path, flags, Mode::empty()).map_err(failed)?;
            let (path, parent_listing) = (root.path.clone(), past.listing());
            let open = OpenFolder { descriptor, path, node: None, place: None, parent_listing, source, depth: 0 };
            return self.walk_open(bench, open);
        };
        let full = c_path(&root.path).ok_or_else(|| failed(Errno::INVAL))?;
        let stat = rustix::fs::lstat(&root.path).map_err(failed)?;
        let Some(facts) = Facts::of_stat(&stat) else {
            self.trouble(root.path.clone(), TroubleKind::Unsupported, "its type is unknown");
            return self.settle(bench, place, None);
        };
        let atime = (stat.st_atime, stat.st_atime_nsec as u32);
        let node = self.new_node(&place.folder, &full, &name_of(root), &facts, atime);
        let earlier = Earlier { node: past.entry().cloned(), is_remembered: false };
        if let Some(task) = self.entry(bench, place, &full, Err(node), earlier, &source, 0)? {
            self.crew.push(task);
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
pub(super) fn find<'a>(tree: &'a Tree, name: &[u8]) -> Option<&'a Node> {
    let found = tree.nodes.binary_search_by(|node| node.name.as_slice().cmp(name));
    found.ok().and_then(|number| tree.nodes.get(number))
}

fn name_of(root: &Root) -> Vec<u8> {
    root.path.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default()
}

fn c_path(path: &Path) -> Option<CString> {
    CString::new(path.as_os_str().as_bytes()).ok()
}
