//! What a restore should know of a source, in a small file beside it: `.triplicate/source.json` at the snapshot's top.

use std::sync::Arc;

use format::{BlobKind, Node, NodeKind};
use model::Id;

use super::super::folder::{Folder, Place};
use super::super::ingest::Bench;
use super::super::walk::Walk;
use super::Elsewhere;
use crate::error::Result;
use crate::threads;

/// The folder at the top of the snapshot.
pub(super) const MANIFEST_FOLDER: &str = ".triplicate";

/// The manifest's name in it.
const MANIFEST_NAME: &str = "source.json";

/// Where the manifest goes, and what is there in the parent snapshot.
pub(super) struct ManifestPlace {
    place: Place,
    before: Option<Node>,
}

impl ManifestPlace {
    pub(super) fn new(place: Place, before: Option<&Node>) -> Self {
        Self { place, before: before.cloned() }
    }
}

impl Walk<'_> {
    /// Asks for the manifest when everything was read; then the snapshot's top is complete.
    pub(in super::super) fn finish_elsewhere(&self, bench: &mut Bench, elsewhere: &Elsewhere<'_>) -> Result<()> {
        let Some(ManifestPlace { place, before }) = threads::lock(&elsewhere.manifest).take() else { return Ok(()) };
        let manifest = elsewhere.given.origin.manifest().map_err(|error| elsewhere.error(error))?;
        let Some(text) = manifest else { return self.settle(bench, place, None) };
        let id = self.ingest.save(bench, BlobKind::Data, text.as_bytes())?;
        let listing = before.as_ref().and_then(|folder| folder.subtree);
        let file_before = self.parent_tree(listing).and_then(|tree| tree.find(MANIFEST_NAME.as_bytes()).cloned());
        let file = self.manifest_node(elsewhere, id, text.len() as u64, file_before);
        let node = self.folder_node(elsewhere, MANIFEST_FOLDER.as_bytes(), before.as_ref());
        let path = std::path::Path::new("/").join(MANIFEST_FOLDER);
        let folder: Arc<Folder> = Folder::new(None, path, Some(node), Some(place), listing, 1);
        self.settle(bench, Place { folder: folder.clone(), number: 0 }, Some(file))?;
        self.settle_one(bench, folder)
    }

    /// The manifest's node; one that says what it said has the time that it had.
    fn manifest_node(&self, elsewhere: &Elsewhere<'_>, content: Id, size: u64, before: Option<Node>) -> Node {
        let content = Some(vec![content]);
        let same = before.filter(|node| node.kind == NodeKind::File && node.content == content);
        let mtime = same.map_or(elsewhere.now, |node| (node.mtime.seconds, node.mtime.nanoseconds));
        let facts = self.facts_of_nothing(NodeKind::File, 0o644, mtime);
        let node = self.metadata.node_of(MANIFEST_NAME.as_bytes(), &facts, mtime);
        Node { content, size, links: 1, ..node }
    }
}
