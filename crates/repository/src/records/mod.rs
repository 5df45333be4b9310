//! What this machine has seen of a repository with its own eyes, and when: how much each copy listed, which snapshots
//! were verified, which packs were read.
//!
//! This is no cache: nobody can make it again. Yet nothing is lost with it. Who knows less refuses less and reads more;
//! what cannot be read here is not known. Nothing in it is secret, and nothing in it opens anything: it is believed as
//! far as the user's own files are.
//!
//! | room | what it remembers |
//! |---|---|
//! | [`listed`] | how many files of each kind a copy listed last, so that a listing that lost some is noticed |
//! | [`places`] | what a probe found that may be done at a place |
//! | [`read`] | when the packs of a copy were last read and found sound |
//! | `aside` | wrong bytes that were replaced on a copy, and files that a repair replaced |
//! | [`verified`] | snapshots that were found whole, byte by byte |

pub(crate) mod aside;
pub mod listed;
pub mod places;
pub mod read;
pub mod verified;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use model::Id;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::repository::Repository;

/// Larger files are not ours.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Held while a file is read, changed and written.
const LOCK_NAME: &str = ".lock";

/// The root of all records of this user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordsFolder {
    root: PathBuf,
}

impl RecordsFolder {
    /// The root at `root`; nothing is looked at or made yet.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What is known of one repository.
    pub fn of(&self, repository: &Id) -> Records {
        Records { folder: self.root.join(repository.to_hex()) }
    }
}

/// What this machine knows of one repository: a folder with a few small files, for its owner only.
#[derive(Debug, Clone)]
pub struct Records {
    folder: PathBuf,
}

impl Records {
    /// The folder, which may not be there.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What a file says; what is not there, or is not ours, says nothing.
    pub(crate) fn read<T: DeserializeOwned + Default>(&self, name: &str) -> T {
        let bytes = self.read_bytes(name).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Changes what a file says. Others who change it wait, so that no change is lost.
    pub(crate) fn change<T: Serialize + DeserializeOwned + Default>(
        &self,
        name: &str,
        change: impl FnOnce(&mut T),
    ) -> io::Result<()> {
        let _locked = self.lock()?;
        let mut content = self.read(name);
        change(&mut content);
        self.write_bytes(name, &serde_json::to_vec(&content)?)
    }

    /// The whole file.
    pub(crate) fn read_bytes(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.folder.join(name);
        let length = fs::metadata(&path).ok()?.len();
        (length <= FILE_BYTES_MAX).then(|| fs::read(path).ok()).flatten()
    }

    /// Puts a whole file in the place of any that is there: whoever reads it sees the old one or the new one.
    pub(crate) fn write_bytes(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.prepare()?;
        let draft = self.folder.join(format!(".draft-{name}"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, self.folder.join(name))?;
        File::open(&self.folder)?.sync_all()
    }

    /// Waits until nobody else changes anything here; holds as long as the file is open.
    pub(crate) fn lock(&self) -> io::Result<File> {
        self.prepare()?;
        let path = self.folder.join(LOCK_NAME);
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.lock()?;
        Ok(file)
    }

    fn prepare(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)
    }
}

impl Repository {
    /// What this machine knows of the repository; nothing where the surroundings have no records.
    pub fn records(&self) -> Option<Records> {
        self.surroundings.records.as_ref().map(|records| records.of(&self.config.id))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn room() -> (tempfile::TempDir, Records) {
        let scratch = tempfile::tempdir().unwrap();
        let records = RecordsFolder::new(scratch.path().join("above/root")).of(&Id::default());
        (scratch, records)
    }

    #[test]
    fn what_was_changed_is_read_and_only_its_owner_may() {
        let (_scratch, records) = room();
        assert!(records.read::<Vec<u32>>("numbers").is_empty());
        assert!(!records.folder().exists(), "looking makes nothing");
        for number in 1..4 {
            records.change("numbers", |numbers: &mut Vec<u32>| numbers.push(number)).unwrap();
        }
        assert_eq!(records.read::<Vec<u32>>("numbers"), [1, 2, 3]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(records.folder()), mode(&records.folder().join("numbers"))), (0o700, 0o600));
    }

    #[test]
    fn what_is_not_ours_says_nothing_and_can_be_written_over() {
        let (_scratch, records) = room();
        records.write_bytes("numbers", b"{\"of\": \"somebody else\"").unwrap();
        assert!(records.read::<Vec<u32>>("numbers").is_empty());
        records.change("numbers", |numbers: &mut Vec<u32>| numbers.push(7)).unwrap();
        assert_eq!(records.read::<Vec<u32>>("numbers"), [7]);
    }

    #[test]
    fn changes_at_the_same_time_are_all_kept() {
        let (_scratch, records) = room();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let records = &records;
                scope.spawn(move || {
                    for step in 0..20 {
                        records.change("numbers", |numbers: &mut Vec<u32>| numbers.push(number * 100 + step)).unwrap();
                    }
                });
            }
        });
        assert_eq!(records.read::<Vec<u32>>("numbers").len(), 160);
    }
}
