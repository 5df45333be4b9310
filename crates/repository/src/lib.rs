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
//! | repair index, packs, snapshots | exclusive, all copies must be there | any sound copy | every copy; removes old files last |
//! | key add, remove, passwd | shared | any sound copy | every copy, all must be reachable |
//! | restore, ls, find, diff, dump, stats, cat | shared where the place lets us write one | any sound copy | - |
//! | check | shared | each copy for itself | - |
//!
//! But for repairs none of these deletes data, so any of them may run beside any other, and beside `restic backup`; a foreign
//! exclusive lock (`restic prune`, `restic check`) makes all of them wait or stop.

pub mod backup;
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
pub mod prune;
pub mod records;
pub mod repair;
mod repository;
pub mod restore;
pub mod retention;
pub mod snapshots;
pub mod threads;

pub use cache_folder::{CacheFolder, CachedFile, CachedRepository, Draft, RepositoryCache};
pub use error::{Damage, Error, Result};
pub use observer::{Action, Cancel, Event, Observer, Progress, Silent, Trouble, TroubleKind};
pub use open::InitRequest;
pub use records::{Records, RecordsFolder};
pub use repository::{Indexed, Repository, Surroundings, Who};
