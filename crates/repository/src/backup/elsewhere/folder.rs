//! One folder of an origin: its entries become nodes at once, or further work.

use std::ffi::CString;

use format::{Node, NodeKind};

use super::super::file::{File, Past};
use super::super::folder::{Folder, Place};
use super::super::ingest::Bench;
use super::super::origin::{Entry, EntryKind, OriginError};
use super::super::walk::Walk;
use super::{Elsewhere, FileWork, FolderWork, Work, entry};
use crate::error::Result;
use crate::observer::{Action, TroubleKind};

/// Levels of folders before the walk gives up: a server can invent as many as it likes.
const DEPTH_MAX: usize = 1024;

impl Walk<'_> {
    pub(super) fn origin_folder(&self, bench: &mut Bench, elsewhere: &Elsewhere<'_>, work: FolderWork) -> Result<()> {
        let FolderWork { place, path, node, parent_listing, depth } = work;
        if depth > DEPTH_MAX {
            let cause = format!("it lies more than {DEPTH_MAX} folders deep");
            return Err(elsewhere.error(OriginError::new("list", String::from_utf8_lossy(&path), cause)));
        }
        let listed = elsewhere.given.origin.list(&path, self.indexed.repository.cancel());
        self.check_cancel()?;
        let mut entries = listed.map_err(|error| elsewhere.error(error))?;
        entries.sort_unstable_by(|left, right| left.name.cmp(&right.name));
        entry::check(&path, &entries).map_err(|error| elsewhere.error(error))?;
        entries.retain(|entry| !self.is_excluded_elsewhere(elsewhere, &path, entry));

        let mut past = self.parent_tree(parent_listing).unwrap_or_default().nodes.into_iter().peekable();
        let shown = elsewhere.path_in_snapshot(&path);
        let folder = Folder::new(None, shown, node, place, parent_listing, entries.len());
        let mut work = Vec::new();
        for (number, entry) in entries.into_iter().enumerate() {
            let place = Place { folder: folder.clone(), number };
            while past.next_if(|node| node.name < entry.name).is_some() {}
            let before = past.next_if(|node| node.name == entry.name);
            work.extend(self.origin_entry(bench, elsewhere, place, &path, entry, before, depth)?);
        }
        // What is let in last begins first: files before folders, each in the order of their names.
        work.reverse();
        work.sort_by_key(|work| matches!(work, Work::File(_)));
        self.let_in(elsewhere, work);
        self.settle_one(bench, folder)
    }

    /// Settles an entry at once, or gives the work that will.
    #[allow(clippy::too_many_arguments)] // everything that is known of one entry
    fn origin_entry(
        &self,
        bench: &mut Bench,
        elsewhere: &Elsewhere<'_>,
        place: Place,
        folder: &[u8],
        entry: Entry,
        before: Option<Node>,
        depth: usize,
    ) -> Result<Option<Work>> {
        let path = inside(folder, &entry.name);
        let shown = || elsewhere.path_in_snapshot(&path);
        let Some(mut node) = self.origin_node(elsewhere, &entry, before.as_ref()) else {
            let cause = if let EntryKind::Other(words) = entry.kind { words } else { "it has no kind" };
            self.trouble(shown(), TroubleKind::Unsupported, cause);
            return self.settle(bench, place, None).map(|()| None);
        };
        if node.kind == NodeKind::Dir {
            let parent_listing = before.filter(|node| node.kind == NodeKind::Dir).and_then(|node| node.subtree);
            let work = FolderWork { place: Some(place), path, node: Some(node), parent_listing, depth: depth + 1 };
            return Ok(Some(Work::Folder(work)));
        }
        elsewhere.source.count_entries(1);
        if node.kind != NodeKind::File {
            return self.settle(bench, place, Some(node)).map(|()| None);
        }
        self.observer().progress().found(1, node.size);
        match self.origin_past(elsewhere, &entry, &node, before.as_ref()) {
            Past::Same(content) => {
                node.content = content;
                self.tally.file(Action::Unchanged, node.size);
                self.observer().progress().done(1, node.size);
                self.tell_unchanged(shown, node.size);
                self.settle(bench, place, Some(node)).map(|()| None)
            }
            past => {
                let made = entry.modified.is_none().then(|| self.metadata.time(elsewhere.now));
                let file = File { place, name: CString::default(), path: shown(), node, past, made };
                Ok(Some(Work::File(FileWork { file, path, entry })))
            }
        }
    }

    fn is_excluded_elsewhere(&self, elsewhere: &Elsewhere<'_>, folder: &[u8], entry: &Entry) -> bool {
        use std::os::unix::ffi::OsStrExt;
        let path = elsewhere.path_in_snapshot(&inside(folder, &entry.name));
        self.excludes.excludes_path(path.as_os_str().as_bytes(), entry.kind == EntryKind::Folder)
            || (entry.kind == EntryKind::File && self.excludes.excludes_size(entry.size.unwrap_or(0)))
    }
}

/// The path inside the origin of an entry of a folder.
fn inside(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, name].join(&b'/') }
}
