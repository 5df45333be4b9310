//! The form of the memory on disk, inside its seal.
//!
//! Integers are little-endian. In order: [`MARK`]; the digest of the circumstances; the snapshot; user names and group
//! names (a count; number, length, bytes of each); index files; new chunks; folders in order of their listings (a
//! count; listing, fingerprint, and where the list of the subfolders ends); subfolders (a count; listings, folder after
//! folder). It is used as it lies, about 100 bytes for each folder.

use std::collections::BTreeMap;

use format::BlobKind;
use model::Id;

use super::notes::{Collected, Noted};
use crate::backup::accounts::Accounts;
use crate::repository::Indexed;

/// How the file begins.
const MARK: &[u8; 8] = b"folders1";

const ID_BYTES: usize = Id::LENGTH;
const FOLDER_BYTES: usize = 2 * ID_BYTES + 4;

/// The longest file that is written.
const FILE_BYTES_MAX: usize = 1 << 29;

/// Names of accounts are no longer than this.
const NAME_BYTES_MAX: usize = 4096;

/// The last backup's folders, as they were read.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    names: [BTreeMap<u32, String>; 2],
    index_files: Vec<Id>,
    new_chunks: Vec<Id>,
    folders: Vec<u8>,
    subfolders: Vec<u8>,
}

/// A list of ids in the file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backup) struct Ids<'m>(&'m [u8]);

impl<'m> Ids<'m> {
    pub(in crate::backup) fn len(self) -> usize {
        self.0.len() / ID_BYTES
    }

    pub(in crate::backup) fn iter(self) -> impl Iterator<Item = Id> + 'm {
        self.0.chunks_exact(ID_BYTES).filter_map(id)
    }
}

fn id(bytes: &[u8]) -> Option<Id> {
    bytes.first_chunk().map(|bytes| Id::from_bytes(*bytes))
}

impl Remembered {
    /// Reads a file that was opened with the master key; None when it was made under other circumstances, of another
    /// snapshot, or is not in this form.
    pub(super) fn parse(plain: &[u8], digest: &Id, snapshot: &Id) -> Option<Self> {
        let mut rest = Rest(plain);
        let fits = rest.take(MARK.len())? == MARK
            && rest.take(ID_BYTES)? == digest.as_bytes()
            && rest.take(ID_BYTES)? == snapshot.as_bytes();
        if !fits {
            return None;
        }
        let names = [rest.names()?, rest.names()?];
        let index_files = rest.ids()?;
        let new_chunks = rest.ids()?;
        let folders = rest.list(FOLDER_BYTES)?.to_vec();
        let subfolders = rest.list(ID_BYTES)?.to_vec();
        let all = Self { names, index_files, new_chunks, folders, subfolders };
        let is_sound = rest.0.is_empty() && all.ends_are_in_order();
        is_sound.then_some(all)
    }

    fn ends_are_in_order(&self) -> bool {
        let ends = (0..self.folders()).map(|number| self.end(number));
        ends.is_sorted() && self.folders().checked_sub(1).map_or(0, |last| self.end(last)) == self.subfolders.len()
    }

    /// How many folders there are.
    pub(super) fn folders(&self) -> usize {
        self.folders.len() / FOLDER_BYTES
    }

    fn folder(&self, number: usize) -> &[u8] {
        let start = number * FOLDER_BYTES;
        self.folders.get(start..start + FOLDER_BYTES).unwrap_or_default()
    }

    fn listing(&self, number: usize) -> Option<Id> {
        id(self.folder(number))
    }

    pub(super) fn fingerprint(&self, number: usize) -> Option<Id> {
        id(self.folder(number).get(ID_BYTES..)?)
    }

    /// Where the folder's subfolders end, in bytes.
    fn end(&self, number: usize) -> usize {
        let end = self.folder(number).last_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        (end as usize).saturating_mul(ID_BYTES)
    }

    pub(super) fn subfolders(&self, number: usize) -> Option<Ids<'_>> {
        let start = number.checked_sub(1).map_or(0, |before| self.end(before));
        self.subfolders.get(start..self.end(number)).map(Ids)
    }

    /// The number of the folder that had this listing.
    pub(super) fn find(&self, listing: &Id) -> Option<usize> {
        let (mut low, mut high) = (0, self.folders());
        while low < high {
            let middle = low.midpoint(high);
            match self.listing(middle)?.cmp(listing) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// True when every user and group that these folders name is still called so.
    pub(super) fn has_same_names(&self, accounts: &Accounts) -> bool {
        let [users, groups] = &self.names;
        users.iter().all(|(number, name)| accounts.user(*number) == *name)
            && groups.iter().all(|(number, name)| accounts.group(*number) == *name)
    }

    /// True when every chunk of these folders is in the index: what vouched for them still does.
    pub(super) fn is_vouched_for(&self, indexed: &Indexed<'_>) -> bool {
        self.index_files.iter().all(|file| indexed.index_holdings.files.contains_key(file))
            && self.new_chunks.iter().all(|chunk| indexed.index.contains(BlobKind::Data, chunk))
    }
}

/// What is written.
pub(super) struct Contents<'c, K> {
    pub(super) digest: &'c Id,
    pub(super) snapshot: &'c Id,
    pub(super) accounts: &'c Accounts,
    pub(super) index_files: &'c [Id],
    pub(super) noted: Collected,
    pub(super) last: &'c Remembered,
    /// Numbers of the folders of `last` that are as they were.
    pub(super) kept: K,
}

/// A folder on its way into the file.
enum Entry<'c> {
    Noted(Noted),
    Kept { listing: Id, fingerprint: Id, subfolders: Ids<'c> },
}

impl Entry<'_> {
    fn listing(&self) -> &Id {
        match self {
            Entry::Noted(Noted { listing, .. }) | Entry::Kept { listing, .. } => listing,
        }
    }
}

impl<K: Iterator<Item = usize>> Contents<'_, K> {
    /// The bytes to seal; None when there would be too many.
    pub(super) fn into_bytes(self) -> Option<Vec<u8>> {
        let Self { digest, snapshot, accounts, index_files, noted, last, kept } = self;
        let kept = kept.filter_map(|number| {
            let (listing, fingerprint) = (last.listing(number)?, last.fingerprint(number)?);
            Some(Entry::Kept { listing, fingerprint, subfolders: last.subfolders(number)? })
        });
        let mut entries: Vec<Entry<'_>> = kept.chain(noted.folders.into_iter().map(Entry::Noted)).collect();
        entries.sort_by(|left, right| left.listing().cmp(right.listing()));
        entries.dedup_by(|later, earlier| later.listing() == earlier.listing());

        let mut out = MARK.to_vec();
        out.extend_from_slice(digest.as_bytes());
        out.extend_from_slice(snapshot.as_bytes());
        for names in accounts.asked() {
            append_names(&mut out, &names)?;
        }
        append_ids(&mut out, index_files)?;
        append_ids(&mut out, &noted.new_chunks)?;
        append_folders(&mut out, &entries)?;
        (out.len() <= FILE_BYTES_MAX).then_some(out)
    }
}

fn append_folders(out: &mut Vec<u8>, entries: &[Entry<'_>]) -> Option<()> {
    append_count(out, entries.len())?;
    let mut subfolders = Vec::new();
    for entry in entries {
        let fingerprint = match entry {
            Entry::Noted(noted) => {
                noted.subfolders.iter().for_each(|id| subfolders.extend_from_slice(id.as_bytes()));
                &noted.fingerprint
            }
            Entry::Kept { fingerprint, subfolders: same, .. } => {
                subfolders.extend_from_slice(same.0);
                fingerprint
            }
        };
        out.extend_from_slice(entry.listing().as_bytes());
        out.extend_from_slice(fingerprint.as_bytes());
        append_count(out, subfolders.len() / ID_BYTES)?;
    }
    append_count(out, subfolders.len() / ID_BYTES)?;
    out.extend_from_slice(&subfolders);
    Some(())
}

fn append_count(out: &mut Vec<u8>, count: usize) -> Option<()> {
    out.extend_from_slice(&u32::try_from(count).ok()?.to_le_bytes());
    Some(())
}

fn append_ids(out: &mut Vec<u8>, ids: &[Id]) -> Option<()> {
    append_count(out, ids.len())?;
    ids.iter().for_each(|id| out.extend_from_slice(id.as_bytes()));
    Some(())
}

fn append_names(out: &mut Vec<u8>, names: &BTreeMap<u32, String>) -> Option<()> {
    append_count(out, names.len())?;
    for (number, name) in names {
        out.extend_from_slice(&number.to_le_bytes());
        append_count(out, name.len())?;
        out.extend_from_slice(name.as_bytes());
        if name.len() > NAME_BYTES_MAX {
            return None;
        }
    }
    Some(())
}

/// What has not been read yet.
struct Rest<'r>(&'r [u8]);

impl<'r> Rest<'r> {
    fn take(&mut self, length: usize) -> Option<&'r [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        self.take(4)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
    }

    /// A count and so many records of `each` bytes.
    fn list(&mut self, each: usize) -> Option<&'r [u8]> {
        let count = self.number()? as usize;
        self.take(count.checked_mul(each)?)
    }

    fn ids(&mut self) -> Option<Vec<Id>> {
        self.list(ID_BYTES).map(|bytes| Ids(bytes).iter().collect())
    }

    fn names(&mut self) -> Option<BTreeMap<u32, String>> {
        let count = self.number()?;
        let mut names = BTreeMap::new();
        for _ in 0..count {
            let number = self.number()?;
            let length = self.number()? as usize;
            let name = std::str::from_utf8(self.take(length)?).ok()?;
            names.insert(number, name.to_owned());
        }
        Some(names)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn number(n: u8) -> Id {
        Id::from_bytes([n; 32])
    }

    fn noted(listing: u8, subfolders: &[u8]) -> Noted {
        let subfolders = subfolders.iter().map(|n| number(*n)).collect();
        Noted { listing: number(listing), fingerprint: number(listing + 100), subfolders }
    }

    fn bytes(folders: Vec<Noted>, last: &Remembered, kept: &[usize]) -> Vec<u8> {
        let accounts = Accounts::default();
        let _ = (accounts.user(0), accounts.group(0));
        Contents {
            digest: &number(1),
            snapshot: &number(2),
            accounts: &accounts,
            index_files: &[number(3)],
            noted: Collected { folders, new_chunks: vec![number(4), number(5)] },
            last,
            kept: kept.iter().copied(),
        }
        .into_bytes()
        .unwrap()
    }

    fn told(read: &Remembered, listing: u8) -> Option<(Id, Vec<Id>)> {
        let found = read.find(&number(listing))?;
        Some((read.fingerprint(found).unwrap(), read.subfolders(found).unwrap().iter().collect()))
    }

    #[test]
    fn what_was_noted_or_kept_is_found_again() {
        let folders = vec![noted(30, &[10, 20]), noted(10, &[]), noted(20, &[21, 22, 23]), noted(10, &[])];
        let first = bytes(folders, &Remembered::default(), &[]);
        let read = Remembered::parse(&first, &number(1), &number(2)).unwrap();
        assert_eq!(read.folders(), 3);
        assert_eq!(told(&read, 20), Some((number(120), vec![number(21), number(22), number(23)])));
        assert_eq!(told(&read, 10), Some((number(110), vec![])));
        assert_eq!(told(&read, 11), None);
        let kept = [read.find(&number(20)).unwrap(), read.find(&number(10)).unwrap()];
        let second = bytes(vec![noted(31, &[10, 20])], &read, &kept);
        let again = Remembered::parse(&second, &number(1), &number(2)).unwrap();
        assert_eq!((told(&again, 20), told(&again, 10)), (told(&read, 20), told(&read, 10)));
        assert_eq!((told(&again, 30), told(&again, 31)), (None, Some((number(131), vec![number(10), number(20)]))));
        assert_eq!(again.new_chunks, [number(4), number(5)]);
        assert_eq!(again.index_files, [number(3)]);
        assert!(again.has_same_names(&Accounts::default()));
    }

    #[test]
    fn other_names_of_accounts_show() {
        let mut read = Remembered::parse(&bytes(vec![], &Remembered::default(), &[]), &number(1), &number(2)).unwrap();
        assert!(read.has_same_names(&Accounts::default()));
        for side in 0..2 {
            let before = read.names[side].insert(0, "somebody else".to_owned());
            assert!(!read.has_same_names(&Accounts::default()));
            read.names[side].insert(0, before.unwrap());
        }
    }

    #[test]
    fn other_circumstances_other_snapshots_and_other_lengths_are_refused() {
        let whole = bytes(vec![noted(30, &[10, 20]), noted(10, &[])], &Remembered::default(), &[]);
        let parse = |bytes: &[u8]| Remembered::parse(bytes, &number(1), &number(2));
        assert!(parse(&whole).is_some());
        assert!(Remembered::parse(&whole, &number(9), &number(2)).is_none());
        assert!(Remembered::parse(&whole, &number(1), &number(9)).is_none());
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_none(), "{length}");
        }
        assert!(parse(&[whole.as_slice(), &[0]].concat()).is_none());
        // Whatever else stands there, nothing panics.
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut other = whole.clone();
                other[at] ^= 1 << bit;
                if let Some(read) = parse(&other) {
                    let _ = (0..=255).filter_map(|n| told(&read, n)).count();
                }
            }
        }
    }
}
