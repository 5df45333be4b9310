//! `find`: entries by pattern, and objects by id, in many snapshots.

use std::collections::HashSet;

use format::{BlobKind, Node, NodeKind, Snapshot};
use jiff::Timestamp;
use model::Id;

use super::source::Source;
use super::walk::{At, Step, Visitor, walk};
use super::{READERS, Unreadable};
use crate::error::{Error, Result};
use crate::filter::Selection;
use crate::repository::Indexed;

/// The shortest beginning of an id that is taken for one.
const PREFIX_DIGITS_MIN: usize = 4;

/// What is looked for.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// Entries whose path matches: give the patterns as [`Selection::include`].
    Entries {
        /// The patterns.
        selection: Selection,
        /// Not changed before.
        oldest: Option<Timestamp>,
        /// Not changed after.
        newest: Option<Timestamp>,
    },
    /// Data blobs, by id or the beginning of one.
    Blobs(Vec<String>),
    /// Trees, by id or the beginning of one.
    Trees(Vec<String>),
    /// Everything that lies in these packs, by id or the beginning of one.
    Packs(Vec<String>),
}

/// A search.
#[derive(Debug, Clone)]
pub struct FindRequest {
    /// What is looked for.
    pub wanted: Wanted,
}

/// A hit.
#[derive(Debug, Clone, Copy)]
pub enum Found<'a> {
    /// An entry that matches.
    Entry {
        /// The snapshot.
        snapshot: &'a Id,
        /// The entry's absolute path in it.
        path: &'a [u8],
        /// The entry.
        node: &'a Node,
    },
    /// A place where an object is used.
    Object {
        /// The snapshot.
        snapshot: &'a Id,
        /// Data blob or tree.
        kind: BlobKind,
        /// Its id.
        id: &'a Id,
        /// The file or folder that it belongs to.
        path: &'a [u8],
        /// The tree that lists the file; data blobs only.
        parent_tree: Option<&'a Id>,
    },
}

/// How a search went.
#[derive(Debug, Default)]
pub struct FindReport {
    /// Hits.
    pub hits: u64,
    /// Snapshots looked at.
    pub snapshots: u64,
    /// Folders that could not be read, with the snapshot.
    pub unreadable: Vec<(Id, Unreadable)>,
}

/// Looks through `snapshots` in the given order; each hit goes to `each`.
pub fn find(
    indexed: &Indexed<'_>,
    snapshots: &[(Id, Snapshot)],
    request: &FindRequest,
    each: &mut dyn FnMut(Found<'_>) -> Result<()>,
) -> Result<FindReport> {
    let goal = match &request.wanted {
        Wanted::Entries { selection, oldest, newest } => {
            if selection.include.is_empty() {
                return Err(Error::Request("nothing to find was named".to_owned()));
            }
            Goal::Entries { selection, oldest: *oldest, newest: *newest }
        }
        Wanted::Blobs(ids) => Goal::Objects(Objects { blobs: Prefixes::parse(ids)?, ..Objects::default() }),
        Wanted::Trees(ids) => Goal::Objects(Objects { trees: Prefixes::parse(ids)?, ..Objects::default() }),
        Wanted::Packs(ids) => Goal::Objects(contents(indexed, &Prefixes::parse(ids)?)?),
    };
    let roots = snapshots.iter().map(|(id, snapshot)| (*id, snapshot.tree));
    search(indexed, roots, &goal, each)
}

/// What packs hold, by the index.
fn contents(indexed: &Indexed<'_>, packs: &Prefixes) -> Result<Objects> {
    let mut objects = Objects::default();
    let mut known = HashSet::new();
    for (kind, id, location) in indexed.index.iter() {
        if packs.contain(&location.pack) {
            known.insert(location.pack);
            objects.of_mut(kind).whole.insert(id);
        }
    }
    let is_known = |digits: &&String| known.iter().any(|pack| pack.to_hex().starts_with(digits.as_str()));
    match packs.digits.iter().find(|digits| !is_known(digits)) {
        Some(unknown) => Err(Error::Request(format!("no index names a pack that begins with `{unknown}`"))),
        None => Ok(objects),
    }
}

enum Goal<'a> {
    Entries { selection: &'a Selection, oldest: Option<Timestamp>, newest: Option<Timestamp> },
    Objects(Objects),
}

#[derive(Default)]
struct Objects {
    blobs: Prefixes,
    trees: Prefixes,
}

impl Objects {
    fn of_mut(&mut self, kind: BlobKind) -> &mut Prefixes {
        match kind {
            BlobKind::Data => &mut self.blobs,
            BlobKind::Tree => &mut self.trees,
        }
    }
}

/// Ids, and beginnings of ids.
#[derive(Default)]
struct Prefixes {
    digits: Vec<String>,
    whole: HashSet<Id>,
}

impl Prefixes {
    fn parse(ids: &[String]) -> Result<Self> {
        if ids.is_empty() {
            return Err(Error::Request("no id was named".to_owned()));
        }
        let is_id = |text: &&String| {
            (PREFIX_DIGITS_MIN..=2 * Id::LENGTH).contains(&text.len())
                && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        match ids.iter().find(|text| !is_id(text)) {
            Some(wrong) => Err(Error::Request(format!(
                "`{wrong}` is no id: {PREFIX_DIGITS_MIN} to 64 lower-case hexadecimal digits are needed"
            ))),
            None => Ok(Self { digits: ids.to_vec(), whole: HashSet::new() }),
        }
    }

    fn is_empty(&self) -> bool {
        self.digits.is_empty() && self.whole.is_empty()
    }

    fn contain(&self, id: &Id) -> bool {
        if self.whole.contains(id) {
            return true;
        }
        if self.digits.is_empty() {
            return false;
        }
        let hex = id.to_hex();
        self.digits.iter().any(|digits| hex.starts_with(digits.as_str()))
    }
}

fn search(
    source: &dyn Source,
    roots: impl Iterator<Item = (Id, Id)>,
    goal: &Goal<'_>,
    each: &mut dyn FnMut(Found<'_>) -> Result<()>,
) -> Result<FindReport> {
    let mut report = FindReport::default();
    for (snapshot, root) in roots {
        report.snapshots += 1;
        if let Goal::Objects(objects) = goal
            && objects.trees.contain(&root)
        {
            report.hits += 1;
            let kind = BlobKind::Tree;
            each(Found::Object { snapshot: &snapshot, kind, id: &root, path: b"/", parent_tree: None })?;
        }
        walk(source, &root, READERS, &mut Searcher { snapshot, goal, each, report: &mut report })?;
    }
    Ok(report)
}

struct Searcher<'a> {
    snapshot: Id,
    goal: &'a Goal<'a>,
    each: &'a mut dyn FnMut(Found<'_>) -> Result<()>,
    report: &'a mut FindReport,
}

impl Searcher<'_> {
    fn hit(&mut self, found: Found<'_>) -> Result<()> {
        self.report.hits += 1;
        (self.each)(found)
    }

    fn objects(&mut self, objects: &Objects, at: &At<'_>) -> Result<()> {
        let snapshot = self.snapshot;
        match (at.node.kind, &at.node.subtree) {
            (NodeKind::Dir, Some(id)) if objects.trees.contain(id) => {
                let kind = BlobKind::Tree;
                self.hit(Found::Object { snapshot: &snapshot, kind, id, path: at.path, parent_tree: None })
            }
            (NodeKind::File, _) if !objects.blobs.is_empty() => {
                for id in at.node.content.iter().flatten().filter(|id| objects.blobs.contain(id)) {
                    let (kind, parent_tree) = (BlobKind::Data, Some(at.parent));
                    self.hit(Found::Object { snapshot: &snapshot, kind, id, path: at.path, parent_tree })?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Visitor for Searcher<'_> {
    fn entry(&mut self, at: &At<'_>) -> Result<Step> {
        match self.goal {
            Goal::Objects(objects) => self.objects(objects, at).map(|()| Step::Into),
            Goal::Entries { selection, oldest, newest } => {
                let decision = selection.selects(at.path, at.node.kind == NodeKind::Dir);
                let changed = at.node.mtime.timestamp();
                let is_in_time =
                    oldest.is_none_or(|oldest| changed >= oldest) && newest.is_none_or(|newest| changed <= newest);
                if decision.selected && is_in_time {
                    let snapshot = self.snapshot;
                    self.hit(Found::Entry { snapshot: &snapshot, path: at.path, node: at.node })?;
                }
                Ok(if decision.descend { Step::Into } else { Step::Past })
            }
        }
    }

    fn lost(&mut self, path: &[u8], tree: &Id, error: Error) -> Result<()> {
        self.report.unreadable.push((self.snapshot, Unreadable { path: path.to_vec(), tree: *tree, error }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::source::table::Table;
    use super::*;
    use crate::filter::PatternList;

    fn table() -> (Table, Id) {
        let table = Table::default();
        let old = table.file("Report.txt", b"1111");
        let mut young = table.file("notes.md", b"22223333");
        young.mtime.seconds = 1_000_000;
        let inner = table.folder(vec![old, young]);
        let root = table.folder(vec![Table::dir("docs", inner)]);
        (table, root)
    }

    fn found(goal: &Goal<'_>) -> Vec<String> {
        let (table, root) = table();
        let mut lines = Vec::new();
        search(&table, [(Id::from_bytes([1; 32]), root)].into_iter(), goal, &mut |found| {
            lines.push(match found {
                Found::Entry { path, .. } => String::from_utf8_lossy(path).into_owned(),
                Found::Object { kind, path, parent_tree, .. } => {
                    format!("{kind} {} {}", String::from_utf8_lossy(path), parent_tree.is_some())
                }
            });
            Ok(())
        })
        .unwrap();
        lines
    }

    fn entries(pattern: &str, oldest: Option<i64>) -> Vec<String> {
        let selection = Selection { include: PatternList::new([pattern]).unwrap(), ..Selection::default() };
        let oldest = oldest.map(|seconds| Timestamp::from_second(seconds).unwrap());
        found(&Goal::Entries { selection: &selection, oldest, newest: None })
    }

    #[test]
    fn entries_are_found_by_pattern_and_time() {
        assert_eq!(entries("*.txt", None), ["/docs/Report.txt"]);
        assert_eq!(entries("/docs/*", None), ["/docs/Report.txt", "/docs/notes.md"]);
        assert_eq!(entries("/docs/*", Some(5)), ["/docs/notes.md"]);
        assert_eq!(entries("nothing", None), [""; 0]);
    }

    #[test]
    fn objects_are_found_by_the_beginning_of_their_id() {
        let (_, root) = table();
        let blob = format::hash(b"3333").to_hex();
        let objects = |blobs: &[&str], trees: &[&str]| {
            let parse = |ids: &[&str]| Prefixes {
                digits: ids.iter().map(ToString::to_string).collect(),
                whole: HashSet::new(),
            };
            Goal::Objects(Objects { blobs: parse(blobs), trees: parse(trees) })
        };
        assert_eq!(found(&objects(&[&blob[..8]], &[])), ["data /docs/notes.md true"]);
        assert_eq!(found(&objects(&[], &[&root.to_hex()])), ["tree / false"]);
        assert_eq!(found(&objects(&["ffffffff"], &["ffffffff"])), [""; 0]);
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for wrong in ["", "abc", "ABCDEF12", "../../x1", &"a".repeat(65)] {
            assert!(Prefixes::parse(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
        assert!(Prefixes::parse(&[]).is_err());
    }
}
