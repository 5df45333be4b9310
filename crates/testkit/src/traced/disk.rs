//! What a disk could hold after the power went.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

use super::journal::Journal;
use super::tree::{Content, FileChange, FileState, FolderState, Node, ROOT, Tree, overwrite};
use crate::random::Random;

/// Which part of what was not durable has reached the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Nothing.
    Nothing,
    /// Everything: the program was killed, and the disk had power on.
    Everything,
    /// Names without their bytes: files are empty, or as long as they should be and full of zeros.
    NamesOnly,
    /// Bytes without names.
    BytesOnly,
    /// Names up to some moment, as a journalling file system does it, and any part of the bytes.
    UpToAMoment,
    /// Any part of anything.
    Any,
}

impl Manner {
    /// All of them.
    pub const ALL: [Manner; 6] =
        [Manner::Nothing, Manner::Everything, Manner::NamesOnly, Manner::BytesOnly, Manner::UpToAMoment, Manner::Any];
}

/// A disk at the moment when the power goes.
#[derive(Debug)]
pub struct Disk {
    tree: Tree,
}

impl Disk {
    /// The disk when so many of the journal's events had happened.
    pub fn after(journal: &Journal, events: usize) -> Self {
        Self { tree: journal.tree_after(events) }
    }

    /// How many changes are not durable yet.
    pub fn pending(&self) -> usize {
        self.tree.pending()
    }

    /// Writes what the disk holds after the loss into the folder `root`, which must be empty or not there.
    ///
    /// # Errors
    /// When something cannot be written.
    pub fn write_image(&self, root: &Path, manner: Manner, random: &mut Random) -> io::Result<()> {
        let moment = random.below(self.tree.newest() + 1);
        let mut image = Image { tree: &self.tree, manner, moment, random, kept: BTreeMap::new() };
        fs::create_dir_all(root)?;
        let Content::Folder(folder) = self.tree.content(ROOT) else { return Ok(()) };
        image.folder(folder, root)
    }
}

struct Image<'a> {
    tree: &'a Tree,
    manner: Manner,
    moment: u64,
    random: &'a mut Random,
    /// What was decided of a step that touches two folders.
    kept: BTreeMap<u64, bool>,
}

impl Image<'_> {
    fn folder(&mut self, folder: &FolderState, path: &Path) -> io::Result<()> {
        for (name, node) in self.names(folder) {
            let path = path.join(name);
            match self.tree.content(node) {
                Content::File(file) => fs::write(&path, self.bytes(file))?,
                Content::Folder(below) => {
                    fs::create_dir(&path)?;
                    self.folder(below, &path)?;
                }
            }
        }
        Ok(())
    }

    fn names(&mut self, folder: &FolderState) -> BTreeMap<OsString, Node> {
        let mut names = folder.durable.clone();
        for change in &folder.pending {
            if self.tree.is_settled(change) || self.keeps_name(change.number) {
                change.apply(&mut names);
            }
        }
        names
    }

    fn keeps_name(&mut self, number: u64) -> bool {
        match self.manner {
            Manner::Nothing | Manner::BytesOnly => false,
            Manner::Everything | Manner::NamesOnly => true,
            Manner::UpToAMoment => number <= self.moment,
            Manner::Any => {
                let coin = self.random.chance(2);
                *self.kept.entry(number).or_insert(coin)
            }
        }
    }

    fn bytes(&mut self, file: &FileState) -> Vec<u8> {
        let mut content = file.durable.clone();
        let as_zeros = self.random.chance(2);
        for change in &file.pending {
            match self.manner {
                Manner::Nothing => {}
                Manner::Everything | Manner::BytesOnly => change.apply(&mut content),
                Manner::NamesOnly if as_zeros => zeros(change, &mut content),
                Manner::NamesOnly => {}
                Manner::UpToAMoment | Manner::Any => self.some(change, &mut content),
            }
        }
        content
    }

    fn some(&mut self, change: &FileChange, content: &mut Vec<u8>) {
        match self.random.below(4) {
            0 => {}
            1 => change.apply(content),
            2 => zeros(change, content),
            _ => match change {
                FileChange::Wrote { offset, bytes } => {
                    let some = self.random.index(bytes.len() + 1);
                    overwrite(content, *offset, &bytes[..some]);
                }
                FileChange::Cut { .. } => change.apply(content),
            },
        }
    }
}

/// The length is there and the bytes are not.
fn zeros(change: &FileChange, content: &mut Vec<u8>) {
    match change {
        FileChange::Wrote { offset, bytes } => overwrite(content, *offset, &vec![0; bytes.len()]),
        FileChange::Cut { .. } => change.apply(content),
    }
}
