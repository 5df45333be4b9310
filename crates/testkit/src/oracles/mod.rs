//! What must hold after every fault, whatever it was: the oracles.
//!
//! | oracle | what it says |
//! |---|---|
//! | O1 | every snapshot that was acknowledged before the fault is on the copy and restores byte by byte |
//! | O2 | our check and `restic check` pass without repair; packs that no index mentions are counted and few |
//! | O3 | what was told to be on a copy is there, as the copy itself says |
//! | O4 | a restore leaves nothing outside its target |
//! | O6 | where nothing may be removed, the set of names and bytes only grows |
//! | O7 | nothing panics ([`Panics`]) |
//! | O8 | memory stays under a bound ([`peak_memory_bytes`]) |
//!
//! O5, that nobody sees another tenant's bytes, belongs to servers and is judged where they are tested.
//!
//! A [`Judge`] is handed copies and what is [`Expected`] of them, and gives what is violated in words. It restores with
//! the product's own hands ([`Product`]), compares with manifests that share no code with it, and asks restic where it
//! is told to. A state that it has judged before it does not judge again.

mod door;
mod image;
mod panics;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use format::{FileKind, FileName};
use model::Id;
use sha2::{Digest as _, Sha256};

use crate::manifest::{Manifest, manifest};
use crate::memory::MemoryFolder;
use crate::oracle::Oracle;

pub use door::Door;
pub use image::{from_folder, to_folder};
pub use panics::{Panics, peak_memory_bytes};

/// What the product can do with one copy. The tests of the engine and those of the program each say how.
pub trait Product: Sync {
    /// The snapshots that the copy says it has.
    ///
    /// # Errors
    /// What keeps them from being read.
    fn snapshots(&self, copy: &MemoryFolder) -> Result<Vec<Id>, String>;

    /// Reads every byte of the copy.
    fn check(&self, copy: &MemoryFolder) -> Checked;

    /// Restores a snapshot from this copy alone.
    ///
    /// # Errors
    /// Anything that is not as it was asked for.
    fn restore(&self, copy: &MemoryFolder, snapshot: Id, target: &Path) -> Result<(), String>;
}

/// What the product's own check says of a copy.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// What is wrong, in words.
    pub wrong: Vec<String>,
    /// Packs that no index mentions.
    pub surplus_packs: u64,
}

/// A snapshot that somebody was told is safe.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    /// Its id.
    pub id: Id,
    /// What its restore must give.
    pub tree: Arc<Manifest>,
}

/// What must be true of one copy.
#[derive(Debug, Clone, Default)]
pub struct Expected<'a> {
    /// Snapshots that must be there; others may be.
    pub acknowledged: &'a [Acknowledged],
    /// Where nothing may be removed: what was there before.
    pub grows_from: Option<&'a BTreeMap<FileName, Bytes>>,
    /// How many packs that no index mentions there may be.
    pub surplus_packs_max: u64,
}

/// Judges copies. One for each test: it keeps what it has judged.
pub struct Judge<'a> {
    product: &'a dyn Product,
    password: &'a str,
    scratch: PathBuf,
    judged: Mutex<HashSet<[u8; 32]>>,
    /// The most packs without an index that any copy had.
    pub surplus_packs_seen: std::sync::atomic::AtomicU64,
}

impl std::fmt::Debug for Judge<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judge").field("scratch", &self.scratch).finish_non_exhaustive()
    }
}

impl<'a> Judge<'a> {
    /// A judge who restores below `scratch`, a folder of its own.
    pub fn new(product: &'a dyn Product, password: &'a str, scratch: &Path) -> Self {
        let (judged, surplus_packs_seen) = (Mutex::default(), std::sync::atomic::AtomicU64::new(0));
        Self { product, password, scratch: scratch.to_owned(), judged, surplus_packs_seen }
    }

    /// What one copy violates; nothing when all is well.
    pub fn violations(&self, copy: &MemoryFolder, expected: &Expected<'_>) -> Vec<String> {
        let files = without_locks(copy);
        let mut violations = Vec::new();
        if let Some(before) = expected.grows_from {
            violations.extend(shrunk(before, &files));
        }
        let state = fingerprint(&files, expected);
        if self.judged.lock().unwrap_or_else(PoisonError::into_inner).contains(&state) {
            return violations;
        }
        // Locks are nobody's data, and one of a dead process must not change what is judged.
        let image = MemoryFolder::new("judged");
        image.reset(files);
        self.judge(&image, expected, &mut violations);
        if violations.is_empty() {
            self.judged.lock().unwrap_or_else(PoisonError::into_inner).insert(state);
        }
        violations
    }

    fn judge(&self, copy: &MemoryFolder, expected: &Expected<'_>, violations: &mut Vec<String>) {
        let checked = self.product.check(copy);
        violations.extend(checked.wrong.into_iter().map(|wrong| format!("O2: {wrong}")));
        self.surplus_packs_seen.fetch_max(checked.surplus_packs, std::sync::atomic::Ordering::Relaxed);
        if checked.surplus_packs > expected.surplus_packs_max {
            let (found, most) = (checked.surplus_packs, expected.surplus_packs_max);
            violations.push(format!("O2: {found} packs are in no index, at most {most} may be"));
        }
        let listed = match self.product.snapshots(copy) {
            Ok(listed) => listed,
            Err(why) => return violations.push(format!("O1: the snapshots cannot be listed: {why}")),
        };
        for acknowledged in expected.acknowledged {
            if !listed.contains(&acknowledged.id) {
                violations.push(format!("O1, O3: snapshot {} is not there", acknowledged.id.short()));
                continue;
            }
            violations.extend(self.restored(copy, acknowledged));
        }
    }

    /// Restores one snapshot and compares.
    fn restored(&self, copy: &MemoryFolder, acknowledged: &Acknowledged) -> Vec<String> {
        let id = acknowledged.id.short();
        let cell = self.scratch.join("cell");
        let target = cell.join("target");
        let outcome = std::fs::create_dir_all(&cell).map_err(|error| error.to_string());
        let outcome = outcome.and_then(|()| self.product.restore(copy, acknowledged.id, &target));
        let mut violations = Vec::new();
        if let Err(why) = outcome {
            violations.push(format!("O1: snapshot {id} does not restore: {why}"));
        } else {
            match manifest(&target) {
                Ok(mut restored) => {
                    // The target itself keeps its own metadata.
                    restored.entries.remove(b"".as_slice());
                    let difference = Manifest::difference(&acknowledged.tree, &restored);
                    violations.extend(difference.into_iter().map(|line| format!("O1: snapshot {id}: {line}")));
                }
                Err(error) => violations.push(format!("O1: snapshot {id}: what was restored cannot be read: {error}")),
            }
        }
        let beside = std::fs::read_dir(&cell).into_iter().flatten().flatten().filter(|entry| entry.path() != target);
        violations.extend(beside.map(|entry| format!("O4: a restore left `{}`", entry.path().display())));
        let _ = std::fs::remove_dir_all(&cell);
        violations
    }

    /// What restic of this version says against one copy, with every byte read; none where it is not installed.
    pub fn restic_violations(&self, version: &str, copy: &MemoryFolder) -> Option<Vec<String>> {
        let folder = self.scratch.join("image");
        let restic = Oracle::restic(version, &folder.to_string_lossy(), self.password)?;
        let files = without_locks(copy);
        let mut state = fingerprint(&files, &Expected::default());
        state.iter_mut().zip(version.bytes()).for_each(|(byte, of_version)| *byte ^= of_version);
        if self.judged.lock().unwrap_or_else(PoisonError::into_inner).contains(&state) {
            return Some(Vec::new());
        }
        let image = MemoryFolder::new("image");
        image.reset(files);
        if let Err(error) = to_folder(&image, &folder) {
            return Some(vec![format!("O2: no image could be made: {error}")]);
        }
        let violations = match restic.call(&["check", "--read-data"]) {
            Ok(ended) if ended.code == Some(0) => {
                self.judged.lock().unwrap_or_else(PoisonError::into_inner).insert(state);
                Vec::new()
            }
            Ok(ended) => vec![format!("O2: restic {version} check: {}\n{}", ended.text(), ended.errors)],
            Err(error) => vec![format!("O2: restic {version} check: {error}")],
        };
        let _ = std::fs::remove_dir_all(&folder);
        Some(violations)
    }
}

/// The files of a copy without its locks.
pub fn without_locks(copy: &MemoryFolder) -> BTreeMap<FileName, Bytes> {
    let mut files = copy.files();
    files.retain(|name, _| name.kind() != FileKind::Lock);
    files
}

/// O6: what was there and is not, or not with its bytes.
fn shrunk(before: &BTreeMap<FileName, Bytes>, now: &BTreeMap<FileName, Bytes>) -> Vec<String> {
    let data = before.iter().filter(|(name, _)| name.kind() != FileKind::Lock);
    let gone = data.filter(|(name, bytes)| now.get(name) != Some(bytes));
    gone.map(|(name, _)| format!("O6: `{name}` was there and is gone or other")).collect()
}

/// Names a state and what is expected of it.
fn fingerprint(files: &BTreeMap<FileName, Bytes>, expected: &Expected<'_>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for (name, bytes) in files {
        hash.update(name.path());
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    expected.acknowledged.iter().for_each(|acknowledged| hash.update(acknowledged.id.as_bytes()));
    hash.update(expected.surplus_packs_max.to_le_bytes());
    hash.finalize().into()
}
