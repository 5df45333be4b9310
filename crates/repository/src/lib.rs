//! The engine: one repository in several byte-identical copies.
//!
//! What comes in are destinations, a password and a request; what goes out are snapshots on every copy, restored
//! files, and a report of everything that did not go as asked. This crate never prints, never asks for the time (it is
//! handed a [`clock::Clock`]), and never touches a destination but through [`copies`].
//!
//! Write order, on each copy on its own: packs, then the index that lists them, then the snapshot. A crash at any
//! instruction leaves at worst packs that no index mentions; a later prune removes them.
//!
//! | operation | lock | reads from | writes to |
//! |---|---|---|---|
//! | backup, `copies sync`, `copies add` (as it fills the new copy) | shared | any sound copy | every live copy |
//! | `copies heal` | shared | each copy for itself | what is wrong or missing on a copy, from one that has it sound |
//! | forget, prune | exclusive, all copies must be there | any sound copy | every copy; removes old files last |
//! | `copies remove` | exclusive | listings of every copy | the copy that goes, when another has everything |
//! | repair index, packs, snapshots | exclusive, all copies must be there | any sound copy | every copy; removes old files last |
//! | key add | shared | any sound copy | every copy, all must be reachable |
//! | key remove, passwd | exclusive | any sound copy | every copy, all must be reachable |
//! | restore, ls, find, diff, dump, stats, cat | shared where the place lets us write one | any sound copy | - |
//! | check | shared | each copy for itself | - |
//!
//! # Operations matrix
//!
//! What happens when the operation of a row begins while the operation of a column runs. `key remove` is passwd as well,
//! `prune` is mark and sweep, and so is `copies remove`, and restore stands for everything that only reads. The tests read this table and hold every cell to it.
//!
//! - `safe`: both come to a good end. Whoever adds writes in write order and counts on nothing but what it listed behind
//!   its own lock; nobody who removes can be at work meanwhile.
//! - `lock`: the one who begins finds the other's lock, is refused and told who holds it; with `--retry-lock` it waits.
//!   Where the other's lock is not written yet, the one who begins comes first, and the other one begins behind it.
//!
//! | begins \ runs | backup | sync | copies add | heal | key add | key remove | forget | prune | repair | restore | check | restic backup | restic check | restic forget | restic prune |
//! |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
//! | backup | safe | safe | safe | safe | safe | lock | lock | lock | lock | safe | safe | safe | lock | lock | lock |
//! | sync | safe | safe | safe | safe | safe | lock | lock | lock | lock | safe | safe | safe | lock | lock | lock |
//! | copies add | safe | safe | safe | safe | safe | lock | lock | lock | lock | safe | safe | safe | lock | lock | lock |
//! | heal | safe | safe | safe | safe | safe | lock | lock | lock | lock | safe | safe | safe | lock | lock | lock |
//! | key add | safe | safe | safe | safe | safe | lock | lock | lock | lock | safe | safe | safe | lock | lock | lock |
//! | key remove | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock |
//! | forget | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock |
//! | prune | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock |
//! | repair | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock |
//! | restore | safe | safe | safe | safe | safe | lock | lock | lock | lock | safe | safe | safe | lock | lock | lock |
//! | check | safe | safe | safe | safe | safe | lock | lock | lock | lock | safe | safe | safe | lock | lock | lock |
//! | restic backup | safe | safe | safe | safe | safe | lock | lock | lock | lock | safe | safe | - | - | - | - |
//! | restic check | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock | - | - | - | - |
//! | restic forget | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock | - | - | - | - |
//! | restic prune | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock | lock | - | - | - | - |
//!
//! Beside these, forget, prune and repairs refuse where copies disagree, so what restic did on one copy alone is brought to
//! the others by `copies sync` first; and forget refuses when snapshots came between its plan and its lock.
//!
//! What restic's own operations do to each other is restic's to say. restic's `check` and everything of its that removes
//! hold exclusive locks; each copy is locked on its own, so a restic that works on one copy is found there. rustic writes
//! and heeds no locks: beside it nothing here is promised, except that what it removes from one copy the others still
//! have.
//!
//! A process that dies leaves its locks. On the same machine they are known to be dead and are removed; those of other
//! machines count until they were not renewed for 30 minutes. An exclusive lock that its own process could not renew in
//! time (a machine that slept) ends that process's work before its next destructive step.

pub mod backup;
mod bits;
pub mod browse;
mod buffers;
mod cache_folder;
pub mod check;
pub mod copies;
mod error;
pub mod filter;
pub mod forget;
pub mod index;
pub mod keys;
mod listings;
pub mod locks;
mod observer;
mod open;
mod opener;
mod pace;
mod packing;
pub mod prune;
pub mod records;
pub mod repair;
mod repository;
pub mod restore;
pub mod retention;
pub mod snapshots;
pub mod threads;
mod unfinished;

pub use cache_folder::{CacheFolder, CachedFile, CachedRepository, Draft, RepositoryCache};
pub use error::{Damage, Error, Result};
pub use observer::{Action, Cancel, Event, Observer, Progress, Silent, Trouble, TroubleKind};
pub use open::InitRequest;
pub use records::{Records, RecordsFolder};
pub use repository::{Indexed, Repository, Surroundings, Who};
