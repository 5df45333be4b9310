//! A folder as the disk was told it: what is durable, and what is on its way.
//!
//! The rules are POSIX's and no file system's: bytes last from the fsync of their file on, names from the fsync of
//! their folder on. Before that, any part of it may have reached the disk, in any order; only a rename is one step.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::journal::Event;

/// A file or folder, by number.
pub(super) type Node = usize;

/// The folder that everything is in.
pub(super) const ROOT: Node = 0;

/// Everything that was in the folder at any time.
#[derive(Debug, Clone)]
pub struct Tree {
    nodes: Vec<Content>,
    /// The number of the newest change of names, in the order in which they were made.
    newest: u64,
    /// Changes of names that are durable because a folder that they touch was synced.
    settled: BTreeSet<u64>,
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    File(FileState),
    Folder(FolderState),
}

#[derive(Debug, Clone, Default)]
pub(super) struct FileState {
    pub(super) durable: Vec<u8>,
    pub(super) now: Vec<u8>,
    pub(super) pending: Vec<FileChange>,
}

#[derive(Debug, Clone)]
pub(super) enum FileChange {
    Wrote { offset: usize, bytes: Vec<u8> },
    Cut { length: usize },
}

#[derive(Debug, Clone, Default)]
pub(super) struct FolderState {
    pub(super) durable: BTreeMap<OsString, Node>,
    now: BTreeMap<OsString, Node>,
    pub(super) pending: Vec<NameChange>,
}

/// One step: a name goes, a name comes, or both.
#[derive(Debug, Clone)]
pub(super) struct NameChange {
    pub(super) number: u64,
    goes: Option<OsString>,
    comes: Option<(OsString, Node)>,
}

/// In which folder, which name goes, and which name comes.
type NamePart<'a> = (Node, Option<&'a OsStr>, Option<(&'a OsStr, Node)>);

impl NameChange {
    pub(super) fn apply(&self, names: &mut BTreeMap<OsString, Node>) {
        if let Some(name) = &self.goes {
            names.remove(name);
        }
        if let Some((name, node)) = &self.comes {
            names.insert(name.clone(), *node);
        }
    }
}

impl FileChange {
    pub(super) fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Wrote { offset, bytes } => overwrite(content, *offset, bytes),
            Self::Cut { length } => content.resize(*length, 0),
        }
    }
}

/// Puts bytes at a place; what lies before it and was never written is zeros.
pub(super) fn overwrite(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

impl Tree {
    /// What is in `root`, all of it durable. Symbolic links and devices are no files of ours.
    pub(super) fn read(root: &Path) -> io::Result<Self> {
        let mut tree = Self { nodes: Vec::new(), newest: 0, settled: BTreeSet::new() };
        tree.read_folder(root)?;
        Ok(tree)
    }

    fn read_folder(&mut self, path: &Path) -> io::Result<Node> {
        let node = self.add(Content::Folder(FolderState::default()));
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let child = if kind.is_dir() {
                self.read_folder(&entry.path())?
            } else if kind.is_file() {
                let durable = fs::read(entry.path())?;
                self.add(Content::File(FileState { now: durable.clone(), durable, pending: Vec::new() }))
            } else {
                continue;
            };
            if let Content::Folder(folder) = &mut self.nodes[node] {
                folder.durable.insert(entry.file_name(), child);
                folder.now.insert(entry.file_name(), child);
            }
        }
        Ok(node)
    }

    fn add(&mut self, content: Content) -> Node {
        self.nodes.push(content);
        self.nodes.len() - 1
    }

    pub(super) fn content(&self, node: Node) -> &Content {
        &self.nodes[node]
    }

    /// Whether a change of names is durable though its own folder was not synced.
    pub(super) fn is_settled(&self, change: &NameChange) -> bool {
        self.settled.contains(&change.number)
    }

    /// The number of the newest change.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// How many changes are not durable.
    pub(super) fn pending(&self) -> usize {
        let of = |content: &Content| match content {
            Content::File(file) => file.pending.len(),
            Content::Folder(folder) => folder.pending.iter().filter(|change| !self.is_settled(change)).count(),
        };
        self.nodes.iter().map(of).sum()
    }

    /// The length of a file as it is now.
    pub(super) fn length(&self, path: &Path) -> Option<u64> {
        match &self.nodes[self.find(path)?] {
            Content::File(file) => Some(file.now.len() as u64),
            Content::Folder(_) => None,
        }
    }

    /// Every path as it is now, with the content of files.
    pub(super) fn listing(&self) -> BTreeMap<PathBuf, Option<&[u8]>> {
        let mut listing = BTreeMap::new();
        let mut open = vec![(PathBuf::new(), ROOT)];
        while let Some((path, node)) = open.pop() {
            match &self.nodes[node] {
                Content::File(file) => {
                    listing.insert(path, Some(file.now.as_slice()));
                }
                Content::Folder(folder) => {
                    open.extend(folder.now.iter().map(|(name, child)| (path.join(name), *child)));
                    listing.insert(path, None);
                }
            }
        }
        listing
    }

    fn find(&self, path: &Path) -> Option<Node> {
        let mut node = ROOT;
        for part in path.components() {
            let Content::Folder(folder) = &self.nodes[node] else { return None };
            node = *folder.now.get(part.as_os_str())?;
        }
        Some(node)
    }

    /// The folder of a path, and the name in it.
    fn above<'a>(&self, path: &'a Path) -> Option<(Node, &'a OsStr)> {
        Some((self.find(path.parent()?)?, path.file_name()?))
    }

    /// Does what the event says. An event about something that is not there does nothing.
    pub(super) fn apply(&mut self, event: &Event) {
        // What is not there is a file that lost its name while a call on it was under way.
        let _ = self.try_apply(event);
    }

    fn try_apply(&mut self, event: &Event) -> Option<()> {
        match event {
            Event::Created(path) => {
                let node = self.add(Content::File(FileState::default()));
                self.name(path, node)
            }
            Event::MadeFolder(path) => {
                let node = self.add(Content::Folder(FolderState::default()));
                self.name(path, node)
            }
            Event::Linked { from, onto } => {
                let node = self.find(from)?;
                self.name(onto, node)
            }
            Event::Wrote { path, offset, bytes } => {
                let offset = usize::try_from(*offset).ok()?;
                self.change_file(path, FileChange::Wrote { offset, bytes: bytes.clone() })
            }
            Event::Cut { path, length } => {
                let length = usize::try_from(*length).ok()?;
                self.change_file(path, FileChange::Cut { length })
            }
            Event::Removed(path) => {
                let (folder, name) = self.above(path)?;
                self.change_names(&[(folder, Some(name), None)])
            }
            Event::Renamed { from, onto } => {
                let node = self.find(from)?;
                let (old_folder, old) = self.above(from)?;
                let (new_folder, new) = self.above(onto)?;
                if old_folder == new_folder {
                    self.change_names(&[(old_folder, Some(old), Some((new, node)))])
                } else {
                    self.change_names(&[(new_folder, None, Some((new, node))), (old_folder, Some(old), None)])
                }
            }
            Event::Synced(path) => self.sync(path),
            Event::Promised(_) => Some(()),
        }
    }

    fn number(&mut self) -> u64 {
        self.newest += 1;
        self.newest
    }

    fn name(&mut self, path: &Path, node: Node) -> Option<()> {
        let (folder, name) = self.above(path)?;
        self.change_names(&[(folder, None, Some((name, node)))])
    }

    /// Several parts of one step.
    fn change_names(&mut self, parts: &[NamePart<'_>]) -> Option<()> {
        let number = self.number();
        for (folder, goes, comes) in parts {
            let change = NameChange {
                number,
                goes: goes.map(OsStr::to_owned),
                comes: comes.map(|(name, node)| (name.to_owned(), node)),
            };
            let Content::Folder(folder) = &mut self.nodes[*folder] else { return None };
            change.apply(&mut folder.now);
            folder.pending.push(change);
        }
        Some(())
    }

    fn change_file(&mut self, path: &Path, change: FileChange) -> Option<()> {
        let node = self.find(path)?;
        let Content::File(file) = &mut self.nodes[node] else { return None };
        change.apply(&mut file.now);
        file.pending.push(change);
        Some(())
    }

    fn sync(&mut self, path: &Path) -> Option<()> {
        let node = self.find(path)?;
        match &mut self.nodes[node] {
            Content::File(file) => {
                file.pending.clear();
                file.durable.clone_from(&file.now);
            }
            Content::Folder(folder) => {
                self.settled.extend(folder.pending.drain(..).map(|change| change.number));
                folder.durable.clone_from(&folder.now);
            }
        }
        Some(())
    }
}
