//! Listing snapshots and finding the one that is meant.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use format::{FileKind, FileName, Snapshot};
use model::Id;

use crate::cache_folder::RepositoryCache;
use crate::copies::Holders;
use crate::copies::status::Holdings;
use crate::error::{Damage, Error, Result};
use crate::repository::Repository;
use crate::threads;

/// All snapshots of all live copies.
#[derive(Debug)]
pub struct SnapshotListing {
    /// Oldest first.
    pub snapshots: Vec<(Id, Snapshot)>,
    /// Snapshot files that no copy has sound. One bad file never hides the others.
    pub troubles: Vec<Damage>,
    /// Which copy has which snapshot.
    pub holdings: Holdings,
}

impl SnapshotListing {
    /// Which copy has which of the snapshots that could be read.
    pub(crate) fn sound_holdings(&self) -> Holdings {
        let sound: HashSet<Id> = self.snapshots.iter().map(|(id, _)| *id).collect();
        let mut holdings = self.holdings.clone();
        holdings.files.retain(|id, _| sound.contains(id));
        holdings
    }
}

/// Which snapshots are meant.
#[derive(Debug, Clone, Default)]
pub struct SnapshotFilter {
    /// Any of these hosts; empty: all.
    pub hosts: Vec<String>,
    /// All of these paths.
    pub paths: Vec<String>,
    /// Any of these lists; of a list, all tags (restic's `--tag a,b --tag c`).
    pub tags: Vec<Vec<String>>,
}

impl SnapshotFilter {
    /// Whether a snapshot is meant.
    pub fn matches(&self, snapshot: &Snapshot) -> bool {
        let has_tag = |tag: &String| match tag.as_str() {
            "" => snapshot.tags.is_empty(),
            tag => snapshot.tags.iter().any(|own| own == tag),
        };
        (self.hosts.is_empty() || self.hosts.contains(&snapshot.hostname))
            && self.paths.iter().all(|path| snapshot.paths.contains(path))
            && (self.tags.is_empty() || self.tags.iter().any(|all| all.iter().all(has_tag)))
    }

    /// The same, in words, for messages.
    fn words(&self) -> String {
        let mut words = String::new();
        let mut add = |what: &str, values: &[String]| {
            if !values.is_empty() {
                words.push_str(&format!(" {what} `{}`", values.join(", ")));
            }
        };
        add("of host", &self.hosts);
        add("of path", &self.paths);
        add("with tag", &self.tags.iter().map(|all| all.join(",")).collect::<Vec<_>>());
        words
    }
}

/// What `restore ID:folder` and `latest` mean.
#[derive(Debug, Clone)]
pub struct SnapshotChoice {
    /// The snapshot's id.
    pub id: Id,
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The folder in it, where one was named after `:`.
    pub subfolder: Option<String>,
}

impl Repository {
    /// Reads every snapshot of every live copy.
    pub fn snapshots(&self) -> Result<SnapshotListing> {
        self.snapshots_of(Holdings::gather(self.copies(), FileKind::Snapshot)?)
    }

    /// Reads the snapshots of `holdings`, those that this machine knows from its cache.
    pub(crate) fn snapshots_of(&self, holdings: Holdings) -> Result<SnapshotListing> {
        let ids: Vec<Id> = holdings.files.keys().copied().collect();
        let next = AtomicUsize::new(0);
        let found = Mutex::new((Vec::with_capacity(ids.len()), Vec::new()));
        let known = KnownSnapshots::of(self, &holdings);
        threads::run(threads::count().min(ids.len()).max(1) * 2, |_| {
            while let Some(&id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.cancel().check()?;
                let snapshot = match known.get(id) {
                    Some(snapshot) => Ok(snapshot),
                    None => self.snapshot_to_keep(id, Holders::of(&holdings, &id)),
                };
                match snapshot {
                    Ok(snapshot) => threads::lock(&found).0.push((id, snapshot)),
                    Err(Error::Interrupted) => return Err(Error::Interrupted),
                    Err(error) => threads::lock(&found).1.push(Damage {
                        copy: self.copies().places(),
                        file: FileName::new(FileKind::Snapshot, id).path(),
                        why: error.to_string(),
                    }),
                }
            }
            Ok(())
        })?;
        let (mut snapshots, troubles) = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        snapshots.sort_by(|(id_a, a), (id_b, b)| (a.time.timestamp(), id_a).cmp(&(b.time.timestamp(), id_b)));
        Ok(SnapshotListing { snapshots, troubles, holdings })
    }

    /// Reads one snapshot.
    pub fn snapshot(&self, id: Id) -> Result<Snapshot> {
        self.snapshot_from(id, Holders::ALL)
    }

    fn snapshot_from(&self, id: Id, holders: Holders) -> Result<Snapshot> {
        self.parse_snapshot(id, &self.copies().read_whole(FileName::new(FileKind::Snapshot, id), holders)?)
    }

    fn snapshot_to_keep(&self, id: Id, holders: Holders) -> Result<Snapshot> {
        let sealed = self.copies().read_whole(FileName::new(FileKind::Snapshot, id), holders)?;
        let snapshot = self.parse_snapshot(id, &sealed)?;
        self.keep_snapshot(id, &sealed);
        Ok(snapshot)
    }

    /// Lets this machine remember a snapshot file.
    pub(crate) fn keep_snapshot(&self, id: Id, sealed: &[u8]) {
        if let Some(cache) = self.cache() {
            cache.write(&format!("{KNOWN_PREFIX}{id}"), sealed);
        }
    }

    fn parse_snapshot(&self, id: Id, sealed: &[u8]) -> Result<Snapshot> {
        let name = FileName::new(FileKind::Snapshot, id);
        let plain = self.open_file(name, sealed)?;
        Snapshot::parse(&plain).map_err(|source| Error::Format { what: format!("snapshot `{}`", name.path()), source })
    }

    /// The snapshot that `text` names: an id or the beginning of one, or `latest`; `:folder` may follow.
    pub fn find_snapshot(&self, text: &str, filter: &SnapshotFilter) -> Result<SnapshotChoice> {
        let (name, subfolder) = match text.split_once(':') {
            Some((name, folder)) => {
                (name, Some(folder.to_owned()).filter(|folder| !folder.trim_matches('/').is_empty()))
            }
            None => (text, None),
        };
        let (id, snapshot) = if name == "latest" { self.latest(filter)? } else { self.by_prefix(name)? };
        Ok(SnapshotChoice { id, snapshot, subfolder })
    }

    /// The newest snapshot. While any snapshot cannot be read nobody knows which one that is, and an older state that
    /// passes for the newest is a silent loss: so that is an error, and a snapshot has to be named.
    fn latest(&self, filter: &SnapshotFilter) -> Result<(Id, Snapshot)> {
        let listing = self.snapshots()?;
        if let Some(damage) = listing.troubles.first() {
            let count = listing.troubles.len();
            let text = format!("cannot tell which snapshot is the latest, {count} cannot be read: {damage}");
            return Err(Error::Snapshot(text));
        }
        let latest = listing.snapshots.into_iter().rev().find(|(_, snapshot)| filter.matches(snapshot));
        latest.ok_or_else(|| Error::Snapshot(format!("there is no snapshot{}", filter.words())))
    }

    fn by_prefix(&self, prefix: &str) -> Result<(Id, Snapshot)> {
        let holdings = Holdings::gather(self.copies(), FileKind::Snapshot)?;
        let found: Vec<Id> = holdings.files.keys().filter(|id| id.to_hex().starts_with(prefix)).copied().collect();
        match found.as_slice() {
            [id] if !prefix.is_empty() => Ok((*id, self.snapshot_from(*id, Holders::of(&holdings, id))?)),
            [] => Err(Error::Snapshot(format!("no snapshot begins with `{prefix}`"))),
            several => {
                let ids = several.iter().take(5).map(Id::short).collect::<Vec<_>>().join(", ");
                Err(Error::Snapshot(format!("{} snapshots begin with `{prefix}`: {ids}", several.len())))
            }
        }
    }
}

/// Snapshot files that this machine keeps, sealed as they lie on the copies: their name is the hash of their bytes, so
/// that nothing has to be believed.
pub(crate) struct KnownSnapshots<'a> {
    repository: &'a Repository,
    cache: Option<RepositoryCache>,
    names: HashSet<String>,
}

/// Their names in the cache begin with this; the id follows.
const KNOWN_PREFIX: &str = "snapshot-";

impl<'a> KnownSnapshots<'a> {
    /// Those of `holdings`; others of which the copies know nothing any more are removed.
    fn of(repository: &'a Repository, holdings: &Holdings) -> Self {
        let cache = repository.cache();
        let names = cache.iter().flat_map(RepositoryCache::names);
        let of_snapshots = names.filter_map(|name| Some((name.strip_prefix(KNOWN_PREFIX)?.parse::<Id>().ok(), name)));
        let (listed, gone): (Vec<_>, Vec<_>) =
            of_snapshots.partition(|(id, _)| id.is_some_and(|id| holdings.files.contains_key(&id)));
        // A listing of some of the copies says nothing about what the others have.
        if holdings.asked.count_ones() as usize == repository.copies().all().len()
            && let Some(cache) = &cache
        {
            gone.iter().for_each(|(_, name)| cache.remove(name));
        }
        Self { repository, cache, names: listed.into_iter().map(|(_, name)| name).collect() }
    }

    fn get(&self, id: Id) -> Option<Snapshot> {
        let name = format!("{KNOWN_PREFIX}{id}");
        let sealed = self.names.contains(&name).then(|| self.cache.as_ref()?.read(&name)).flatten()?;
        let is_sound = format::hash(&sealed) == id;
        is_sound.then(|| self.repository.parse_snapshot(id, &sealed).ok()).flatten()
    }
}

/// Host, paths and tags that a group of snapshots has in common; empty where they were not asked for.
pub type GroupKey = (String, Vec<String>, Vec<String>);

/// Groups snapshots as restic's `--group-by` does; the parts of the key are sorted.
pub fn group_by(
    snapshots: Vec<(Id, Snapshot)>,
    host: bool,
    paths: bool,
    tags: bool,
) -> BTreeMap<GroupKey, Vec<(Id, Snapshot)>> {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for (id, snapshot) in snapshots {
        let sorted = |wanted: bool, values: &[String]| {
            let mut values = if wanted { values.to_vec() } else { Vec::new() };
            values.sort();
            values
        };
        let hostname = if host { snapshot.hostname.clone() } else { String::new() };
        let key = (hostname, sorted(paths, &snapshot.paths), sorted(tags, &snapshot.tags));
        groups.entry(key).or_default().push((id, snapshot));
    }
    groups
}
