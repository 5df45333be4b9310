//! Walking a snapshot's tree in order, every entry once, however deep.
//!
//! The walk keeps its own stack and one path, so depth costs neither a thread's stack nor a copy of the path at each
//! level. Names were judged when the tree was parsed: each is one component. A folder that cannot be read is handed to
//! the visitor, and the walk goes on beside it.

use format::{Node, NodeKind, Tree};
use model::Id;

use super::ahead::{Ahead, Ending};
use super::source::Source;
use crate::error::{Error, Result};

/// How deeply folders may be nested; no file system gets near it, a forged tree could go on for ever.
pub(crate) const DEPTH_MAX: usize = 10_000;

/// Sub-folders of one folder that are read ahead.
const AHEAD: usize = 32;

/// An entry, as a walk comes by it.
pub(crate) struct At<'a> {
    /// Its absolute path inside the snapshot.
    pub(crate) path: &'a [u8],
    /// The entry.
    pub(crate) node: &'a Node,
    /// The tree that lists it.
    pub(crate) parent: &'a Id,
}

/// Where a walk goes from an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Into it, where it is a folder.
    Into,
    /// Past it.
    Past,
}

/// Who looks at the entries.
pub(crate) trait Visitor {
    /// An entry, before what is in it.
    fn entry(&mut self, at: &At<'_>) -> Result<Step>;

    /// A folder whose entries have all been seen; the root is the last.
    fn leave(&mut self, path: &[u8]) -> Result<()> {
        let _ = path;
        Ok(())
    }

    /// A folder whose listing cannot be read.
    fn lost(&mut self, path: &[u8], tree: &Id, error: Error) -> Result<()>;
}

struct Level {
    id: Id,
    tree: Tree,
    next: usize,
    folders_until_wish: usize,
    path_length: usize,
}

/// Walks everything below `root` with `readers` threads reading ahead; with none it reads only what it needs.
pub(crate) fn walk(source: &dyn Source, root: &Id, readers: usize, visitor: &mut dyn Visitor) -> Result<()> {
    let ahead = Ahead::default();
    std::thread::scope(|scope| {
        let _ending = Ending(&ahead);
        for _ in 0..readers {
            scope.spawn(|| ahead.serve(source));
        }
        let wishes = (readers > 0).then_some(&ahead);
        Walk { source, ahead: &ahead, wishes, path: Vec::new(), levels: Vec::new() }.run(root, visitor)
    })
}

struct Walk<'a> {
    source: &'a dyn Source,
    ahead: &'a Ahead,
    wishes: Option<&'a Ahead>,
    path: Vec<u8>,
    levels: Vec<Level>,
}

impl Walk<'_> {
    fn run(mut self, root: &Id, visitor: &mut dyn Visitor) -> Result<()> {
        self.enter(root, visitor)?;
        while let Some(level) = self.levels.last_mut() {
            self.source.cancel().check()?;
            self.path.truncate(level.path_length);
            let Some(node) = level.tree.nodes.get(level.next) else {
                visitor.leave(shown(&self.path))?;
                self.levels.pop();
                continue;
            };
            level.next += 1;
            self.path.push(b'/');
            self.path.extend_from_slice(&node.name);
            let step = visitor.entry(&At { path: &self.path, node, parent: &level.id })?;
            if node.kind != NodeKind::Dir {
                continue;
            }
            let subtree = node.subtree;
            if let Some(ahead) = self.wishes {
                wish(ahead, level, step);
            }
            match (step, subtree) {
                (Step::Past, _) => {}
                (Step::Into, Some(subtree)) => self.enter(&subtree, visitor)?,
                (Step::Into, None) => {
                    let error = Error::Request("this folder's entry names no tree".to_owned());
                    visitor.lost(&self.path, &Id::default(), error)?;
                }
            }
        }
        Ok(())
    }

    fn enter(&mut self, id: &Id, visitor: &mut dyn Visitor) -> Result<()> {
        if self.levels.len() >= DEPTH_MAX {
            let error = Error::Request(format!("folders are nested more deeply than {DEPTH_MAX} levels"));
            return visitor.lost(&self.path, id, error);
        }
        match self.ahead.take(self.source, id) {
            Ok(tree) => {
                let path_length = self.path.len();
                self.levels.push(Level { id: *id, tree, next: 0, folders_until_wish: 0, path_length });
                Ok(())
            }
            Err(error @ Error::Interrupted) => Err(error),
            Err(error) => visitor.lost(shown(&self.path), id, error),
        }
    }
}

/// Tells what the walk needs after the folder that it has just come to, some folders at a time.
fn wish(ahead: &Ahead, level: &mut Level, step: Step) {
    let passed = level.tree.nodes.get(level.next - 1).and_then(|node| node.subtree);
    if let (Step::Past, Some(subtree)) = (step, passed) {
        ahead.forget(&subtree);
    }
    if level.folders_until_wish > 0 {
        level.folders_until_wish -= 1;
        return;
    }
    let rest = level.tree.nodes.get(level.next..).unwrap_or_default().iter();
    let next: Vec<Id> =
        rest.filter(|node| node.kind == NodeKind::Dir).filter_map(|node| node.subtree).take(AHEAD).collect();
    level.folders_until_wish = next.len().saturating_sub(1);
    ahead.want(&next);
}

/// The root's path is empty inside, and `/` to everybody else.
fn shown(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"/" } else { path }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::source::table::Table;
    use super::*;

    #[derive(Default)]
    struct Diary {
        lines: Vec<String>,
        past: &'static [u8],
    }

    impl Visitor for Diary {
        fn entry(&mut self, at: &At<'_>) -> Result<Step> {
            self.lines.push(String::from_utf8_lossy(at.path).into_owned());
            Ok(if at.node.name == self.past { Step::Past } else { Step::Into })
        }

        fn leave(&mut self, path: &[u8]) -> Result<()> {
            self.lines.push(format!("leave {}", String::from_utf8_lossy(path)));
            Ok(())
        }

        fn lost(&mut self, path: &[u8], _: &Id, error: Error) -> Result<()> {
            self.lines.push(format!("lost {}: {error}", String::from_utf8_lossy(path)));
            Ok(())
        }
    }

    fn diary(table: &Table, root: &Id, readers: usize, past: &'static [u8]) -> Vec<String> {
        let mut diary = Diary { past, ..Diary::default() };
        walk(table, root, readers, &mut diary).unwrap();
        diary.lines
    }

    #[test]
    fn every_entry_comes_once_and_in_order() {
        let table = Table::default();
        let file = table.file("f", b"x");
        let inner = table.folder(vec![file.clone()]);
        let missing = Id::from_bytes([9; 32]);
        let root = table.folder(vec![
            Table::dir("a", inner),
            Table::dir("b", missing),
            Table::dir("c", inner),
            table.file("d", b""),
        ]);
        for readers in [0, 1, 4] {
            let lines = diary(&table, &root, readers, b"");
            assert_eq!(
                lines,
                [
                    "/a",
                    "/a/f",
                    "leave /a",
                    "/b",
                    &format!("lost /b: the tree blob {missing} is in no index of the repository"),
                    "/c",
                    "/c/f",
                    "leave /c",
                    "/d",
                    "leave /",
                ]
            );
            assert_eq!(diary(&table, &root, readers, b"a")[..2], ["/a", "/b"]);
        }
    }

    #[test]
    fn many_folders_are_read_ahead_without_a_change() {
        let table = Table::default();
        let mut level = Vec::new();
        for n in 0..300 {
            let file = table.file(&format!("f{n}"), b"x");
            let folder = table.folder(vec![file]);
            level.push(Table::dir(&format!("d{n:03}"), folder));
        }
        let inner = table.folder(level.clone());
        level.push(Table::dir("z", inner));
        let root = table.folder(level);
        assert_eq!(diary(&table, &root, 0, b""), diary(&table, &root, 8, b""));
        assert_eq!(diary(&table, &root, 0, b"d150"), diary(&table, &root, 8, b"d150"));
    }

    #[test]
    fn a_forged_depth_is_told_and_not_followed() {
        let table = Table::default();
        let mut id = table.folder(Vec::new());
        for _ in 0..DEPTH_MAX + 5 {
            id = table.folder(vec![Table::dir("d", id)]);
        }
        let lines = diary(&table, &id, 2, b"");
        let lost: Vec<_> = lines.iter().filter(|line| line.starts_with("lost")).collect();
        assert_eq!(lost.len(), 1);
        assert!(lost[0].contains("nested more deeply"));
    }
}
