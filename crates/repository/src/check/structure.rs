//! The small files of one copy: config, keys, index files and snapshots, and whether its packs are those that the
//! index files name.
//!
//! Listings are taken in the opposite order of writing (snapshots, index, packs), so that a backup that runs at the
//! same moment is never mistaken for damage: whatever a listed snapshot needs was there before it.

use std::collections::HashMap;

use destinations::{Listed, Span};
use format::{Config, FileKind, FileName, IndexFile, KeyFile, Snapshot};
use model::Id;

use super::bits::Bits;
use super::catalog::{Catalog, CatalogBuilder, fit};
use super::crew;
use super::place::{Place, Read, Trouble, damaged};
use super::session::Session;
use crate::error::Result;

/// Small files read at the same time.
const READERS: usize = 8;

/// What the listings of a copy showed.
#[derive(Debug, Default, Clone)]
pub(super) struct Listings {
    pub(super) keys: Vec<Listed>,
    pub(super) snapshots: Vec<Listed>,
    pub(super) index: Vec<Listed>,
    pub(super) packs: Vec<Listed>,
}

impl Listings {
    pub(super) fn gather(place: &Place<'_>) -> Read<Self> {
        Ok(Self {
            snapshots: place.list(FileKind::Snapshot)?,
            index: place.list(FileKind::Index)?,
            packs: place.list(FileKind::Pack)?,
            keys: place.list(FileKind::Key)?,
        })
    }
}

/// The snapshots that can be read, the index, and which of its blobs cannot be where it says.
pub(super) struct Structure {
    /// Id of the snapshot, id of its tree.
    pub(super) snapshots: Vec<(Id, Id)>,
    pub(super) catalog: Catalog,
    pub(super) bad: Bits,
}

/// Checks everything but the contents of packs.
pub(super) fn check(session: &mut Session<'_>, listings: &Listings, expected: &Config) -> Result<Structure> {
    config(session, expected);
    keys(session, &listings.keys)?;
    let snapshots = snapshots(session, &listings.snapshots)?;
    let catalog = index(session, listings)?;
    let bad = packs(session, &catalog, &listings.packs);
    Ok(Structure { snapshots, catalog, bad })
}

fn config(session: &mut Session<'_>, expected: &Config) {
    let place = session.place;
    let read = place.read_twice(|| {
        let sealed = place.read(FileName::CONFIG, Span::Whole)?;
        let plain = place.master.open(&sealed).map_err(damaged)?;
        let config = Config::parse(&plain).map_err(damaged)?;
        if config.id == expected.id && config.chunker_polynomial == expected.chunker_polynomial {
            Ok(())
        } else {
            Err(Trouble::Damaged("it is the config of another repository".to_owned()))
        }
    });
    if let Err(trouble) = read {
        session.damage(FileName::CONFIG, trouble, "copy `config` from a sound copy; it is the same on all of them");
    }
}

fn keys(session: &mut Session<'_>, listed: &[Listed]) -> Result<()> {
    let names = names(FileKind::Key, listed);
    session.progress().found(names.len() as u64, 0);
    let place = session.place;
    let read = |name: &FileName| {
        let checked = place.read_named(*name).and_then(|bytes| KeyFile::parse(&bytes).map(drop).map_err(damaged));
        (*name, checked)
    };
    crew::run(READERS, &names, session.cancel, read, |(name, checked)| match checked {
        Ok(()) => session.report.counts.keys += 1,
        Err(trouble) => session.damage(name, trouble, "copy it from a sound copy, or remove it and add the key again"),
    })?;
    if listed.is_empty() && session.place.lost().is_none() {
        let none = Trouble::Damaged("there is no key: nothing of this copy can be opened without another copy".into());
        session.damage_of("keys", none, "copy the folder `keys` from a sound copy");
    }
    Ok(())
}

fn snapshots(session: &mut Session<'_>, listed: &[Listed]) -> Result<Vec<(Id, Id)>> {
    let names = names(FileKind::Snapshot, listed);
    session.progress().found(names.len() as u64, 0);
    let place = session.place;
    let read = |name: &FileName| {
        let tree = place.read_sealed(*name).and_then(|plain| Snapshot::parse(&plain).map_err(damaged));
        (*name, tree.map(|snapshot| snapshot.tree))
    };
    let mut sound = Vec::with_capacity(names.len());
    crew::run(READERS, &names, session.cancel, read, |(name, tree)| match tree {
        Ok(tree) => sound.push((name.id().unwrap_or_default(), tree)),
        Err(trouble) => {
            session.affected_snapshot(name, &trouble);
            session.damage(name, trouble, "`triplicate copies sync` fetches it from a sound copy after it was removed");
        }
    })?;
    sound.sort_unstable();
    session.report.counts.snapshots = sound.len() as u64;
    Ok(sound)
}

fn index(session: &mut Session<'_>, listings: &Listings) -> Result<Catalog> {
    let names = names(FileKind::Index, &listings.index);
    session.progress().found(names.len() as u64, listings.index.iter().map(|file| file.size).sum());
    let place = session.place;
    let read = |name: &FileName| {
        let file = place.read_sealed(*name).and_then(|plain| IndexFile::parse(&plain).map_err(damaged));
        (*name, file)
    };
    let mut builder = CatalogBuilder::default();
    crew::run(READERS, &names, session.cancel, read, |(name, file)| match file {
        Ok(file) => {
            session.report.counts.index_files += 1;
            file.packs.iter().for_each(|pack| builder.add(pack));
        }
        Err(trouble) => {
            session.report.suggest_repair_index = true;
            session.damage(name, trouble, "copy it from a sound copy, or rebuild it with `restic repair index`");
        }
    })?;
    let sizes: HashMap<Id, u64> = listings.packs.iter().map(|pack| (pack.id, pack.size)).collect();
    let catalog = builder.build(|pack| sizes.get(pack).copied());
    session.report.counts.blobs = catalog.names() as u64;
    session.report.counts.blobs_duplicate = (catalog.len() - catalog.names()) as u64;
    Ok(catalog)
}

/// Every pack of the index is there with the right size; what no index names is counted.
fn packs(session: &mut Session<'_>, catalog: &Catalog, listed: &[Listed]) -> Bits {
    let mut bad = Bits::new(catalog.len());
    for pack in catalog.packs() {
        let misfit = fit(catalog, pack);
        misfit.impossible.iter().for_each(|number| {
            bad.insert(*number);
        });
        session.report.counts.packs_mixed += u64::from(pack.has_data && pack.has_trees);
        if let Some(why) = misfit.why {
            session.report.broken_packs.push(pack.id);
            let hint = match pack.size {
                None => "`triplicate copies sync` fetches it from a copy that has it",
                Some(_) => "remove it, then `triplicate copies sync` fetches it from a sound copy",
            };
            session.damage(FileName::pack(pack.id), Trouble::Damaged(why), hint);
        }
    }
    let counts = &mut session.report.counts;
    counts.packs = listed.len() as u64;
    counts.pack_bytes = listed.iter().map(|pack| pack.size).sum();
    for pack in listed.iter().filter(|pack| catalog.pack(&pack.id).is_none()) {
        counts.packs_unindexed += 1;
        counts.bytes_unindexed += pack.size;
    }
    bad
}

fn names(kind: FileKind, listed: &[Listed]) -> Vec<FileName> {
    listed.iter().map(|file| FileName::new(kind, file.id)).collect()
}
