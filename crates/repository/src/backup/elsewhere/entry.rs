//! What an origin says of an entry, as the facts of a node, and whether it is what it was.

use format::{BlobKind, Node, NodeKind};

use super::super::file::Past;
use super::super::origin::{Entry, EntryKind, OriginError};
use super::super::walk::Walk;
use super::Elsewhere;

/// Permissions of what tells none.
const FILE_MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o755;
const LINK_MODE: u32 = 0o777;

/// What is wrong with a list of entries. Names come from a server, and lead to places on the disk of whoever restores.
pub(super) fn check(path: &[u8], entries: &[Entry]) -> Result<(), OriginError> {
    let refused = |name: &[u8], why: &str| {
        let cause = format!("the name `{}` {why}", name.escape_ascii());
        Err(OriginError::new("list", String::from_utf8_lossy(path), cause))
    };
    for pair in entries.windows(2) {
        if let [first, second] = pair
            && first.name == second.name
        {
            return refused(&first.name, "is there twice");
        }
    }
    for Entry { name, .. } in entries {
        if name.is_empty() || name == b"." || name == b".." || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
            return refused(name, "is none that an entry of a folder can have");
        }
    }
    Ok(())
}

impl Elsewhere<'_> {
    /// A number that stands for the origin and the version of a file. In a listing it has the place of the inode's
    /// number, which changes as versions do, when a name gets another file.
    fn inode(&self, entry: &Entry) -> u64 {
        let place = self.given.origin.place();
        let parts = [place.as_bytes(), entry.version.as_deref().unwrap_or_default()];
        let id = format::hash(&parts.join(&0));
        id.as_bytes().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

impl Walk<'_> {
    /// The node of an entry without its content; none for what is not stored.
    pub(super) fn origin_node(&self, elsewhere: &Elsewhere<'_>, entry: &Entry, before: Option<&Node>) -> Option<Node> {
        let (kind, mode) = match &entry.kind {
            EntryKind::File => (NodeKind::File, FILE_MODE),
            EntryKind::Folder => (NodeKind::Dir, FOLDER_MODE),
            EntryKind::Link(_) => (NodeKind::Symlink, LINK_MODE),
            EntryKind::Other(_) => return None,
        };
        let before = before.filter(|node| node.kind == kind);
        // What has no time of its own keeps the one that it got first, until its content is another.
        let known = entry.modified.or_else(|| before.map(|node| (node.mtime.seconds, node.mtime.nanoseconds)));
        let mtime = known.unwrap_or(elsewhere.now);
        let mut facts = self.facts_of_nothing(kind, entry.mode.map_or(mode, |mode| mode & 0o7777), mtime);
        if kind == NodeKind::File {
            (facts.size, facts.links, facts.inode) = (entry.size.unwrap_or(0), 1, elsewhere.inode(entry));
        }
        if let Some((uid, gid)) = entry.owner {
            (facts.uid, facts.gid) = (uid, gid);
        }
        let mut node = self.metadata.node_of(&entry.name, &facts, mtime);
        if entry.owner.is_some() {
            // These numbers are the server's, and not of our users.
            (node.user, node.group) = (String::new(), String::new());
        }
        if let EntryKind::Link(target) = &entry.kind {
            node.link_target = Some(target.clone());
        }
        Some(node)
    }

    /// What the parent snapshot tells of a file.
    pub(super) fn origin_past(
        &self,
        elsewhere: &Elsewhere<'_>,
        entry: &Entry,
        node: &Node,
        before: Option<&Node>,
    ) -> Past {
        let Some(before) = before else { return Past::None };
        let is_there = |id| self.indexed.index.contains(BlobKind::Data, id);
        if before.kind != NodeKind::File || !before.content.iter().flatten().all(is_there) {
            return Past::Changed;
        }
        let content = before.content.clone();
        let is_vouched_for = match (&entry.version, entry.modified) {
            (Some(_), _) => true,
            (None, Some((seconds, _))) => seconds < elsewhere.believed_before,
            (None, None) => false,
        };
        let (time, time_before) = (&node.mtime, &before.mtime);
        let has_same_time = (time.seconds, time.nanoseconds) == (time_before.seconds, time_before.nanoseconds);
        let is_same = entry.size == Some(before.size) && node.inode == before.inode && has_same_time;
        if is_same && is_vouched_for { Past::Same(content) } else { Past::Unsettled(content) }
    }
}
