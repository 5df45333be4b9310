//! An open repository: its copies, its master key, and how its files are read.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use clock::Clock;
use destinations::{Destination, Listed, Span};
use format::{BlobKind, Chunker, Config, Decompressor, FileName, MasterKey, Tree};
use model::Id;
use tokio::runtime::Handle;

use crate::cache_folder::CacheFolder;
use crate::copies::{Answers, CopySet, Holders, hot};
use crate::error::{Error, Result};
use crate::index::load::LoadedIndex;
use crate::index::{Index, load};
use crate::listings::Listings;
use crate::observer::{Cancel, Observer};
use crate::records::RecordsFolder;

/// What every operation needs from its surroundings.
#[derive(Clone)]
pub struct Surroundings {
    /// Where destinations run.
    pub runtime: Handle,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Stops the operation.
    pub cancel: Cancel,
    /// Whoever watches.
    pub observer: Arc<dyn Observer>,
    /// Who we are, for locks, keys and snapshots.
    pub who: Who,
    /// Write no locks and heed none (for read-only places).
    pub no_lock: bool,
    /// How long to wait for somebody else's lock.
    pub retry_lock: Duration,
    /// Bytes that may wait in memory for each copy; what is beyond, a slow copy fetches from a fast one later.
    pub queue_bytes: usize,
    /// Where this machine keeps what makes the next operation faster; nowhere when there is none.
    pub cache: Option<CacheFolder>,
    /// Where this machine keeps what it has seen; nowhere when there is none.
    pub records: Option<RecordsFolder>,
}

/// The process that works on a repository.
#[derive(Debug, Clone)]
pub struct Who {
    /// Host name.
    pub hostname: String,
    /// User name.
    pub username: String,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Process id.
    pub pid: u32,
}

/// A repository that was opened with its password.
pub struct Repository {
    pub(crate) copies: CopySet,
    pub(crate) config: Config,
    pub(crate) master: MasterKey,
    pub(crate) key_id: Id,
    pub(crate) chunker: Chunker,
    pub(crate) surroundings: Surroundings,
    /// What the first look at the copies saw of locks; whoever locks first takes it instead of asking again.
    pub(crate) locks_at_opening: Mutex<Option<Answers<Vec<Listed>>>>,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository").field("id", &self.config.id).field("copies", &self.copies).finish_non_exhaustive()
    }
}

impl Repository {
    /// The copies that were named.
    pub fn copies(&self) -> &CopySet {
        &self.copies
    }

    /// Which repository this is.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The key that opens everything in it.
    pub fn master(&self) -> &MasterKey {
        &self.master
    }

    /// The key file whose password was given.
    pub fn key_id(&self) -> Id {
        self.key_id
    }

    /// The chunker with this repository's polynomial.
    pub fn chunker(&self) -> &Chunker {
        &self.chunker
    }

    /// The clock.
    pub fn clock(&self) -> &dyn Clock {
        self.surroundings.clock.as_ref()
    }

    /// The flag that stops operations.
    pub fn cancel(&self) -> &Cancel {
        &self.surroundings.cancel
    }

    /// Whoever watches.
    pub fn observer(&self) -> &dyn Observer {
        self.surroundings.observer.as_ref()
    }

    /// Host, user and process.
    pub fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    /// Reads a snapshot, index or lock file: checked against its name, opened, and unpacked.
    pub fn read_file(&self, name: FileName, holders: Holders) -> Result<Vec<u8>> {
        let sealed = self.copies.read_whole(name, holders)?;
        self.open_file(name, &sealed)
    }

    /// Opens and unpacks the bytes of a snapshot, index or lock file.
    pub fn open_file(&self, name: FileName, sealed: &[u8]) -> Result<Vec<u8>> {
        format::open_file(&self.master, sealed)
            .map_err(|source| Error::Format { what: format!("file `{}`", name.path()), source })
    }

    /// Packs and seals a snapshot, index or lock file; gives its name too.
    pub fn seal_file(&self, kind: format::FileKind, plain: &[u8]) -> (FileName, Bytes) {
        let sealed = format::seal_file(&self.master, self.config.version, format::Compression::Auto, plain);
        (FileName::new(kind, format::hash(&sealed)), Bytes::from(sealed))
    }

    /// Loads the merged index of all live copies, and makes hot parts whole.
    pub fn indexed(&self) -> Result<Indexed<'_>> {
        let LoadedIndex { index, holdings, has_unsound, has_lost } = load::load(self)?;
        let indexed = Indexed {
            repository: self,
            index,
            index_holdings: holdings,
            has_unsound_index: has_unsound,
            has_lost_index: has_lost,
            listings: Listings::default(),
        };
        hot::complete(&indexed)?;
        Ok(indexed)
    }
}

/// A repository whose index is in memory: what reads blobs needs this, so that no one can forget to load it.
#[derive(Debug)]
pub struct Indexed<'a> {
    /// The repository.
    pub repository: &'a Repository,
    /// The merged index.
    pub index: Index,
    pub(crate) index_holdings: crate::copies::status::Holdings,
    /// True when an index file was left out because no copy has it sound.
    pub(crate) has_unsound_index: bool,
    /// True when every copy lists one of those: what the index does not know may be there all the same.
    pub(crate) has_lost_index: bool,
    listings: Listings,
}

impl Indexed<'_> {
    /// The plain text of a blob, from the first place on the first copy where it is sound.
    pub fn blob(&self, kind: BlobKind, id: &Id) -> Result<Vec<u8>> {
        let mut first_error = None;
        for location in self.index.all(kind, id) {
            let entry = location.entry(kind, *id);
            let (offset, length) = (u64::from(location.offset), u64::from(location.length));
            let opened = self.pack_range(&location.pack, offset, length, &mut Vec::new(), |sealed| {
                format::open_blob(&self.repository.master, &entry, sealed, &mut Decompressor::new())
                    .map_err(|error| format!("blob {} at {offset}: {error}", id.short()))
            });
            match opened {
                Ok(plain) => return Ok(plain),
                Err(error @ Error::Interrupted) => return Err(error),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or(Error::BlobUnknown { kind: kind.word(), id: *id }))
    }

    /// A tree, read and checked.
    pub fn tree(&self, id: &Id) -> Result<Tree> {
        let plain = match self.listing(id) {
            Some(plain) => plain,
            None => {
                let clock = self.repository.clock();
                let began = clock.monotonic();
                let plain = self.blob(BlobKind::Tree, id)?;
                self.listings.read_alone(clock.monotonic().saturating_sub(began));
                plain
            }
        };
        Tree::parse(&plain).map_err(|source| Error::Format { what: format!("tree {id}"), source })
    }

    /// A listing that was read together with others.
    fn listing(&self, id: &Id) -> Option<Vec<u8>> {
        let location = self.index.get(BlobKind::Tree, id)?;
        let entry = location.entry(BlobKind::Tree, *id);
        self.listings.text(&self.index, &self.repository.master, &location.pack, &entry, |range| {
            let mut window = Vec::new();
            let length = range.end - range.start;
            self.pack_range(&location.pack, range.start, length, &mut window, |_| Ok(())).ok()?;
            Some(window)
        })
    }

    /// Reads part of a pack from the preferred copy into `buffer`, whatever is in it. When `accept` refuses the bytes,
    /// the next copy is asked. `accept` may change the bytes in place (decryption does).
    pub fn pack_range<T>(
        &self,
        pack: &Id,
        offset: u64,
        length: u64,
        buffer: &mut Vec<u8>,
        accept: impl FnMut(&mut [u8]) -> Result<T, String>,
    ) -> Result<T> {
        self.repository.cancel().check()?;
        let span = Span::Range { offset, length };
        self.repository.copies.read_into(FileName::pack(*pack), span, Holders::ALL, buffer, accept)
    }
}

/// Connects a list of destinations into a copy set, refusing none and too many.
pub(crate) fn copy_set(destinations: Vec<Arc<dyn Destination>>, surroundings: &Surroundings) -> Result<CopySet> {
    match destinations.len() {
        0 => Err(Error::Request("no repository was named: use -r or RESTIC_REPOSITORY".to_owned())),
        1..=64 => {
            let Surroundings { runtime, observer, clock, queue_bytes, .. } = surroundings.clone();
            Ok(CopySet::new(destinations, runtime, observer, clock).with_queue_bytes(queue_bytes))
        }
        _ => Err(Error::Request("a repository can have 64 copies at most".to_owned())),
    }
}
