//! Repairs: making the best of what no copy has sound any more.
//!
//! What another copy has is no matter of repair: each of these first heals the copies from each other, and works on
//! what is left. Each holds an exclusive lock on every copy, because old files are removed at the end; each makes its
//! plan before anything happens, keeps the old files on this machine, and keeps the order on every copy: new packs, new
//! indexes, new snapshots, and only then old snapshots, old indexes, old packs. So whoever breaks in the middle leaves
//! a repository that is no worse than before, and a second repair ends what the first began.
//!
//! | room | what it repairs |
//! |---|---|
//! | [`index`] | entries that are missing or wrong, made anew from the headers of packs |
//! | [`packs`] | packs that are damaged on every copy: what can be opened of them goes into new packs |
//! | [`snapshots`] | snapshots that need what is lost: they go on without it |
//! | [`config`] | lost `config` and keys, from the recovery kit |

pub mod config;
mod header;
pub mod index;
pub mod kit;
mod old_files;
pub mod packs;
pub mod snapshots;
mod work;

pub use old_files::Removed;
pub use work::HealedFirst;
