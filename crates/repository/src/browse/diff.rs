//! `diff`: what changed between two trees.
//!
//! Equal sub-folders have equal ids and are never compared. They are looked through for one thing only: a blob that
//! they use is neither added nor removed, whatever happened elsewhere; each of them is read at most once.

use std::collections::HashSet;

use format::{BlobKind, BlobName, Node, NodeKind};
use model::Id;

use super::source::Source;
use super::walk::{At, DEPTH_MAX, Step, Visitor, walk};
use super::{READERS, Unreadable};
use crate::error::{Error, Result};
use crate::repository::Indexed;

/// How to compare.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiffRequest {
    /// Tell changes of metadata too.
    pub metadata: bool,
}

/// One difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a> {
    /// The path inside the snapshots; a folder's ends with `/`.
    pub path: &'a [u8],
    /// restic's letters: `+` added, `-` removed, `T` another type, `M` other content, `U` other metadata, and `?`
    /// after `M` where nothing but the content changed: the disk may have done that.
    pub modifier: &'a str,
}

/// Counts of one side; names as in restic's JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiffCounts {
    /// Files.
    pub files: u64,
    /// Folders.
    pub dirs: u64,
    /// Everything else.
    pub others: u64,
    /// Data blobs that only this side uses.
    pub data_blobs: u64,
    /// Trees that only this side uses.
    pub tree_blobs: u64,
    /// Bytes of these blobs, without compression.
    pub bytes: u64,
}

/// What changed, in numbers.
#[derive(Debug, Default)]
pub struct DiffReport {
    /// Files that are on both sides with different content.
    pub changed_files: u64,
    /// What only the second side has.
    pub added: DiffCounts,
    /// What only the first side has.
    pub removed: DiffCounts,
    /// Folders that could not be read: what is in them was not compared.
    pub unreadable: Vec<Unreadable>,
    /// Blobs that are used and that no index has.
    pub unknown_blobs: u64,
}

/// Compares the trees `before` and `after`; each difference goes to `each`, in order of paths.
pub fn diff(
    indexed: &Indexed<'_>,
    before: &Id,
    after: &Id,
    request: DiffRequest,
    each: &mut dyn FnMut(Change<'_>) -> Result<()>,
) -> Result<DiffReport> {
    compare(indexed, before, after, request, each)
}

fn compare(
    source: &dyn Source,
    before: &Id,
    after: &Id,
    request: DiffRequest,
    each: &mut dyn FnMut(Change<'_>) -> Result<()>,
) -> Result<DiffReport> {
    let mut comparison = Comparison {
        source,
        request,
        each,
        report: DiffReport::default(),
        before: HashSet::from([BlobName { kind: BlobKind::Tree, id: *before }]),
        after: HashSet::from([BlobName { kind: BlobKind::Tree, id: *after }]),
        shared: HashSet::new(),
        levels: Vec::new(),
    };
    comparison.run(before, after)?;
    comparison.count_blobs()
}

/// What the two sides have under one name.
#[derive(Debug)]
enum Pair {
    Removed(Node),
    Added(Node),
    Both(Box<(Node, Node)>),
}

struct Level {
    prefix: Vec<u8>,
    pairs: std::vec::IntoIter<Pair>,
}

struct Comparison<'a> {
    source: &'a dyn Source,
    request: DiffRequest,
    each: &'a mut dyn FnMut(Change<'_>) -> Result<()>,
    report: DiffReport,
    before: HashSet<BlobName>,
    after: HashSet<BlobName>,
    /// Trees that both sides have in the same place.
    shared: HashSet<Id>,
    levels: Vec<Level>,
}

impl Comparison<'_> {
    fn run(&mut self, before: &Id, after: &Id) -> Result<()> {
        if before == after {
            self.shared.insert(*before);
        } else {
            self.enter(b"/".to_vec(), Some(before), Some(after))?;
        }
        while let Some(level) = self.levels.last_mut() {
            self.source.cancel().check()?;
            let Some(pair) = level.pairs.next() else {
                self.levels.pop();
                continue;
            };
            let prefix = level.prefix.clone();
            match pair {
                Pair::Removed(node) => self.one_side(&prefix, &node, "-")?,
                Pair::Added(node) => self.one_side(&prefix, &node, "+")?,
                Pair::Both(nodes) => self.both_sides(&prefix, &nodes.0, &nodes.1)?,
            }
        }
        Ok(())
    }

    /// Reads a folder of either side, or of both.
    fn enter(&mut self, prefix: Vec<u8>, before: Option<&Id>, after: Option<&Id>) -> Result<()> {
        if self.levels.len() >= DEPTH_MAX {
            let tree = *before.or(after).unwrap_or(&Id::default());
            let error = Error::Request(format!("folders are nested more deeply than {DEPTH_MAX} levels"));
            self.report.unreadable.push(Unreadable { path: prefix, tree, error });
            return Ok(());
        }
        let mut sides = [Vec::new(), Vec::new()];
        for (side, id) in sides.iter_mut().zip([before, after]) {
            let Some(id) = id else { continue };
            match self.source.tree(id) {
                Ok(tree) => *side = tree.nodes,
                Err(error @ Error::Interrupted) => return Err(error),
                Err(error) => {
                    // Half a comparison would call everything of the other side new.
                    self.report.unreadable.push(Unreadable { path: prefix, tree: *id, error });
                    return Ok(());
                }
            }
        }
        let [before, after] = sides;
        self.levels.push(Level { prefix, pairs: pair_up(before, after).into_iter() });
        Ok(())
    }

    fn one_side(&mut self, prefix: &[u8], node: &Node, modifier: &str) -> Result<()> {
        let is_added = modifier == "+";
        let path = path_of(prefix, node);
        (self.each)(Change { path: &path, modifier })?;
        let (counts, blobs) = match is_added {
            true => (&mut self.report.added, &mut self.after),
            false => (&mut self.report.removed, &mut self.before),
        };
        match node.kind {
            NodeKind::File => counts.files += 1,
            NodeKind::Dir => counts.dirs += 1,
            _ => counts.others += 1,
        }
        let subtree = node.subtree.filter(|_| node.kind == NodeKind::Dir);
        blobs.extend(blobs_of(node));
        match (subtree, is_added) {
            (Some(subtree), true) => self.enter(path, None, Some(&subtree)),
            (Some(subtree), false) => self.enter(path, Some(&subtree), None),
            (None, _) => Ok(()),
        }
    }

    fn both_sides(&mut self, prefix: &[u8], before: &Node, after: &Node) -> Result<()> {
        self.before.extend(blobs_of(before));
        self.after.extend(blobs_of(after));
        let path = path_of(prefix, after);
        let mut modifier = String::new();
        if before.kind != after.kind {
            modifier.push('T');
        }
        if before.kind == NodeKind::File && after.kind == NodeKind::File && before.content != after.content {
            modifier.push('M');
            self.report.changed_files += 1;
            if is_same_but_for_content(before, after) {
                modifier.push('?');
            }
        } else if self.request.metadata && !is_same(before, after) {
            modifier.push('U');
        }
        if !modifier.is_empty() {
            (self.each)(Change { path: &path, modifier: &modifier })?;
        }
        match (folder(before), folder(after)) {
            (Some(one), Some(other)) if one == other => {
                self.shared.insert(one);
                Ok(())
            }
            (Some(one), Some(other)) => self.enter(path, Some(&one), Some(&other)),
            _ => Ok(()),
        }
    }

    /// Counts the blobs that one side uses and the other does not, nor any folder that both share.
    fn count_blobs(mut self) -> Result<DiffReport> {
        let (before, after) = (std::mem::take(&mut self.before), std::mem::take(&mut self.after));
        let mut removed: HashSet<BlobName> = before.difference(&after).copied().collect();
        let mut added: HashSet<BlobName> = after.difference(&before).copied().collect();
        drop((before, after));
        let mut shared =
            Shared { removed: &mut removed, added: &mut added, seen: HashSet::new(), unreadable: Vec::new() };
        for tree in &self.shared {
            if shared.removed.is_empty() && shared.added.is_empty() {
                break;
            }
            if shared.seen.insert(*tree) {
                walk(self.source, tree, READERS, &mut shared)?;
            }
        }
        let unreadable = shared.unreadable;
        self.report.unreadable.extend(unreadable);
        let mut unknown = 0;
        for (names, counts) in [(&removed, &mut self.report.removed), (&added, &mut self.report.added)] {
            for name in names {
                match name.kind {
                    BlobKind::Data => counts.data_blobs += 1,
                    BlobKind::Tree => counts.tree_blobs += 1,
                }
                match self.source.lengths(name.kind, &name.id) {
                    Some(lengths) => counts.bytes += lengths.plain,
                    None => unknown += 1,
                }
            }
        }
        self.report.unknown_blobs = unknown;
        Ok(self.report)
    }
}

/// Takes what shared folders use off the lists of what was added and removed.
struct Shared<'a> {
    removed: &'a mut HashSet<BlobName>,
    added: &'a mut HashSet<BlobName>,
    seen: HashSet<Id>,
    unreadable: Vec<Unreadable>,
}

impl Visitor for Shared<'_> {
    fn entry(&mut self, at: &At<'_>) -> Result<Step> {
        for name in blobs_of(at.node) {
            self.removed.remove(&name);
            self.added.remove(&name);
        }
        Ok(match folder(at.node) {
            Some(subtree) if !self.seen.insert(subtree) => Step::Past,
            _ => Step::Into,
        })
    }

    fn lost(&mut self, path: &[u8], tree: &Id, error: Error) -> Result<()> {
        self.unreadable.push(Unreadable { path: path.to_vec(), tree: *tree, error });
        Ok(())
    }
}

fn folder(node: &Node) -> Option<Id> {
    node.subtree.filter(|_| node.kind == NodeKind::Dir)
}

fn blobs_of(node: &Node) -> impl Iterator<Item = BlobName> + '_ {
    let content = node.content.iter().flatten().filter(|_| node.kind == NodeKind::File);
    let data = content.map(|id| BlobName { kind: BlobKind::Data, id: *id });
    data.chain(folder(node).map(|id| BlobName { kind: BlobKind::Tree, id }))
}

fn path_of(prefix: &[u8], node: &Node) -> Vec<u8> {
    let end: &[u8] = if node.kind == NodeKind::Dir { b"/" } else { b"" };
    [prefix, &node.name, end].concat()
}

/// Puts the entries of two folders side by side, in order of names.
fn pair_up(mut before: Vec<Node>, mut after: Vec<Node>) -> Vec<Pair> {
    // Writers put them in order; what another order would do is call everything removed and added.
    before.sort_by(|a, b| a.name.cmp(&b.name));
    after.sort_by(|a, b| a.name.cmp(&b.name));
    let mut pairs = Vec::with_capacity(before.len().max(after.len()));
    let (mut before, mut after) = (before.into_iter().peekable(), after.into_iter().peekable());
    loop {
        let order = match (before.peek(), after.peek()) {
            (Some(one), Some(other)) => one.name.cmp(&other.name),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => return pairs,
        };
        match order {
            std::cmp::Ordering::Less => pairs.extend(before.next().map(Pair::Removed)),
            std::cmp::Ordering::Greater => pairs.extend(after.next().map(Pair::Added)),
            std::cmp::Ordering::Equal => {
                let both = before.next().zip(after.next());
                pairs.extend(both.map(|nodes| Pair::Both(Box::new(nodes))));
            }
        }
    }
}

/// Equal in everything that is recorded; times by instant, in whatever zone they were written.
fn is_same(one: &Node, other: &Node) -> bool {
    let mut other = other.clone();
    for (time, theirs) in
        [(&one.mtime, &mut other.mtime), (&one.atime, &mut other.atime), (&one.ctime, &mut other.ctime)]
    {
        if time.same_instant(theirs) {
            *theirs = *time;
        }
    }
    *one == other
}

fn is_same_but_for_content(one: &Node, other: &Node) -> bool {
    let mut other = other.clone();
    other.content.clone_from(&one.content);
    is_same(one, &other)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::source::table::Table;
    use super::*;

    fn compared(table: &Table, before: &Id, after: &Id, metadata: bool) -> (Vec<String>, DiffReport) {
        let mut lines = Vec::new();
        let report = compare(table, before, after, DiffRequest { metadata }, &mut |change| {
            lines.push(format!("{} {}", change.modifier, String::from_utf8_lossy(change.path)));
            Ok(())
        });
        (lines, report.unwrap())
    }

    #[test]
    fn every_letter() {
        let table = Table::default();
        let mut touched = table.file("touched", b"same");
        let rotten = table.file("rotten", b"good");
        let mut changed = table.file("changed", b"one1");
        let typed = table.file("typed", b"file");
        let gone_inner = table.file("inner", b"gone");
        let gone = table.folder(vec![gone_inner]);
        let before = table.folder(vec![
            touched.clone(),
            rotten.clone(),
            changed.clone(),
            typed,
            Table::dir("gone", gone),
            table.file("zgone", b"gon2"),
        ]);
        touched.mtime.seconds = 5;
        let rot = table.file("rotten", b"baad");
        let mut now_rotten = rotten;
        now_rotten.content = rot.content;
        let other = table.file("changed", b"two2");
        (changed.content, changed.mtime.seconds) = (other.content, 9);
        let empty = table.folder(Vec::new());
        let after =
            table.folder(vec![touched, now_rotten, changed, Table::dir("typed", empty), table.file("new", b"new!")]);
        let (lines, report) = compared(&table, &before, &after, false);
        assert_eq!(lines, ["M /changed", "- /gone/", "- /gone/inner", "+ /new", "M? /rotten", "T /typed/", "- /zgone"]);
        assert_eq!(report.changed_files, 2);
        assert_eq!(
            report.added,
            DiffCounts { files: 1, data_blobs: 3, tree_blobs: 2, bytes: report.added.bytes, ..DiffCounts::default() }
        );
        assert_eq!(report.removed.files, 2);
        assert_eq!(report.removed.dirs, 1);
        assert_eq!(report.removed.data_blobs, 5);
        let (lines, _) = compared(&table, &before, &after, true);
        assert!(lines.contains(&"U /touched".to_owned()), "{lines:?}");
        assert!(lines.contains(&"TU /typed/".to_owned()), "{lines:?}");
        assert_eq!(compared(&table, &before, &before, true).0, [""; 0]);
    }

    #[test]
    fn a_zone_is_no_change() {
        let table = Table::default();
        let mut file = table.file("f", b"1");
        let before = table.folder(vec![file.clone()]);
        file.mtime.offset_seconds = 3600;
        let after = table.folder(vec![file]);
        assert_ne!(before, after);
        assert_eq!(compared(&table, &before, &after, true).0, [""; 0]);
    }

    #[test]
    fn blobs_of_a_shared_folder_are_neither_added_nor_removed() {
        let table = Table::default();
        let inner = table.file("inner", b"both");
        let shared = table.folder(vec![inner]);
        let before = table.folder(vec![Table::dir("shared", shared)]);
        let twin = table.file("twin", b"both");
        let after = table.folder(vec![Table::dir("shared", shared), twin]);
        let (lines, report) = compared(&table, &before, &after, false);
        assert_eq!(lines, ["+ /twin"]);
        assert_eq!((report.added.files, report.added.data_blobs, report.added.tree_blobs), (1, 0, 1));
    }

    #[test]
    fn a_folder_that_cannot_be_read_is_told_and_the_rest_is_compared() {
        let table = Table::default();
        let missing = Id::from_bytes([9; 32]);
        let some = table.folder(Vec::new());
        let before = table.folder(vec![Table::dir("a", missing), table.file("b", b"1")]);
        let after = table.folder(vec![Table::dir("a", some), table.file("b", b"2")]);
        let (lines, report) = compared(&table, &before, &after, false);
        assert_eq!(lines, ["M? /b"]);
        assert_eq!(report.unreadable.len(), 1);
        assert_eq!(report.unreadable[0].path, b"/a/");
    }
}
