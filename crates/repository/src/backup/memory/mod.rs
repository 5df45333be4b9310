//! What this machine remembers of the folders of the last backup, so that unchanged ones cost next to nothing.
//!
//! For each folder: the fingerprint of its entries' [`Facts`] as they were recorded, the id of the listing that was made
//! of them, and the listings of its subfolders. A folder whose entries have the same fingerprint again, and whose
//! subfolders come back with the same listings, has the same listing again: nothing is read from a copy, parsed,
//! written as JSON or hashed, and no attributes are listed.
//!
//! A backup makes the same snapshot with the memory as without it. That rests on this:
//!
//! - **What facts do not show.** Content, link targets, extended attributes and ACLs cannot change without a new ctime,
//!   which is one of the facts. Where the user says that ctimes mean nothing (`--ignore-ctime`) there is no memory. As
//!   in [`super::parent`], a ctime is believed when it lies well before the backup that recorded it: a folder with an
//!   entry that was touched shortly before or during the backup is not remembered.
//! - **What is no fact of an entry.** Names of users and groups, the offsets of the time zone, and the program's
//!   version shape a listing too. They are written down, and the memory is forgotten when any of them differs. Access
//!   times change all the time: with `--with-atime` there is no memory.
//! - **What went wrong is told each time.** A folder in which anything could not be read is not remembered.
//! - **What is left out** never enters a fingerprint, which covers the entries that remain.
//! - **What was stored is still there.** The memory names the index files that vouch for every chunk of the folders in
//!   it, and the chunks that were new and so in none of them yet. It is forgotten when one of these files is not used
//!   any more (a prune), when one of these chunks is not in the index, or when packs were lost.
//! - **What was compared with is the parent.** The memory belongs to one snapshot, and is used when that is the parent.
//!
//! The file is sealed with the repository's master key: who has no key cannot change what it says. One that does not
//! open, or that says anything unexpected, is absent, and so is a file that cannot be written.

mod circumstances;
mod file;
mod notes;

use std::sync::atomic::{AtomicBool, Ordering};

use format::Node;
use model::Id;

use super::accounts::Accounts;
use super::facts::Facts;
use crate::cache_folder::RepositoryCache;
use crate::repository::Indexed;
use circumstances::Circumstances;
use file::Remembered;
use notes::Notes;

/// The memory of one backup: what the last one left, and what this one will leave.
pub(super) struct Memory<'a> {
    indexed: &'a Indexed<'a>,
    cache: RepositoryCache,
    circumstances: Circumstances,
    last: Remembered,
    /// Which folders of `last` are as they were.
    kept: Vec<AtomicBool>,
    notes: Notes,
}

/// A folder of the last backup.
pub(super) struct Known<'m> {
    number: usize,
    pub(super) fingerprint: Id,
    pub(super) subfolders: file::Ids<'m>,
}

/// What a memory is bound to, but for what it can find out itself.
pub(super) struct Bond<'a> {
    pub(super) hostname: &'a str,
    /// The absolute paths of the sources, sorted.
    pub(super) paths: &'a [std::path::PathBuf],
    /// When the backup began, in seconds since 1970.
    pub(super) began: i64,
    /// The parent snapshot; none where nothing may be believed of the last backup.
    pub(super) parent: Option<Id>,
}

impl<'a> Memory<'a> {
    /// Recalls the last backup of these sources; nothing of it where anything does not fit. None where there is no
    /// cache.
    pub(super) fn recall(indexed: &'a Indexed<'a>, accounts: &Accounts, bond: &Bond<'_>) -> Option<Self> {
        let repository = indexed.repository;
        let cache = repository.cache()?;
        let circumstances = Circumstances::of(repository, bond);
        let recalled = bond.parent.and_then(|parent| {
            let mut sealed = cache.read(&circumstances.file_name)?;
            let plain = repository.master().open_in_place(&mut sealed).ok()?;
            let last = Remembered::parse(plain, &circumstances.digest, &parent)?;
            (last.has_same_names(accounts) && last.is_vouched_for(indexed)).then_some(last)
        });
        let last = recalled.unwrap_or_default();
        let kept = (0..last.folders()).map(|_| AtomicBool::new(false)).collect();
        let notes = Notes::new(bond.began);
        Some(Self { indexed, cache, circumstances, last, kept, notes })
    }

    /// The folder that had this listing, when it is remembered and the listing is still there.
    pub(super) fn folder(&self, listing: &Id) -> Option<Known<'_>> {
        let number = self.last.find(listing)?;
        if !self.indexed.index.contains(format::BlobKind::Tree, listing) {
            return None;
        }
        let fingerprint = self.last.fingerprint(number)?;
        Some(Known { number, fingerprint, subfolders: self.last.subfolders(number)? })
    }

    /// The folder has the listing that it had.
    pub(super) fn keep(&self, known: &Known<'_>) {
        if let Some(kept) = self.kept.get(known.number) {
            kept.store(true, Ordering::Relaxed);
        }
    }

    /// A folder was made into a listing from its entries' nodes.
    pub(super) fn note(&self, listing: Id, nodes: &[Node]) {
        self.notes.folder(&self.indexed.index, listing, nodes);
    }

    /// The folder's own entries are as they were; it has another listing because subfolders have.
    pub(super) fn note_subfolders(&self, known: &Known<'_>, listing: Id, subfolders: Vec<Id>) {
        self.notes.add(listing, known.fingerprint, subfolders);
    }

    /// Leaves the memory of this backup, which made `snapshot`. One that cannot be written will be missed by nobody.
    pub(super) fn leave(self, snapshot: Id, accounts: &Accounts) {
        let Some(noted) = self.notes.finish() else { return };
        let kept = self.kept.iter().enumerate().filter(|(_, kept)| kept.load(Ordering::Relaxed));
        let index_files = self.indexed.index_holdings.files.keys();
        let plain = file::Contents {
            digest: &self.circumstances.digest,
            snapshot: &snapshot,
            accounts,
            index_files: &index_files.copied().collect::<Vec<_>>(),
            noted,
            last: &self.last,
            kept: kept.map(|(number, _)| number),
        }
        .into_bytes();
        if let Some(plain) = plain {
            self.cache.write(&self.circumstances.file_name, &self.indexed.repository.master().seal(&plain));
        }
    }
}

/// The fingerprint of a folder's entries, given in order.
pub(super) fn fingerprint<'e>(entries: impl IntoIterator<Item = (&'e [u8], Facts)>, room: &mut Vec<u8>) -> Id {
    room.clear();
    for (name, facts) in entries {
        facts.append_to(name, room);
    }
    format::hash(room)
}
