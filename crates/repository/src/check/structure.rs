//! The small files of one copy: config, keys, index files and snapshots, and whether its packs are those that the
//! index files name.
//!
//! Listings are taken in the opposite order of writing (snapshots, index, packs), so that a backup that runs at the
//! same moment is never mistaken for damage: whatever a listed snapshot needs was there before it.

use std::collections::HashMap;

use destinations::{Listed, Span};
use format::{Config, FileKind, FileName, IndexFile, KeyFile, Snapshot};
use model::Id;

use super::catalog::{Catalog, CatalogBuilder, fit};
use super::crew;
use super::place::{Place, Read, Trouble, damaged};
use super::session::Session;
use crate::bits::Bits;
use crate::error::Result;

/// Small files read at the same time.
const READERS: usize = 8;

/// The largest key, index or snapshot file that is read. Indexes are split long before.
const SMALL_FILE_BYTES_MAX: u64 = 512 << 20;

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
        session.damage(FileName::CONFIG, trouble, "`triplicate copies heal` brings it from a sound copy; with none, `triplicate repair config` from the recovery kit");
    }
}

/// Reads every file of a kind, several at a time, and hands each to `take`.
fn each_file<'a, T: Send>(
    session: &mut Session<'a>,
    kind: FileKind,
    listed: &[Listed],
    judge: impl Fn(&Place<'_>, FileName) -> Read<T> + Sync,
    mut take: impl FnMut(&mut Session<'a>, FileName, Read<T>),
) -> Result<()> {
    session.progress().found(listed.len() as u64, 0);
    let (place, cancel) = (session.place, session.cancel);
    let read = |file: &Listed| {
        let name = FileName::new(kind, file.id);
        if file.size > SMALL_FILE_BYTES_MAX {
            return (name, Err(Trouble::Damaged(format!("its size is {} bytes, which no program writes", file.size))));
        }
        (name, judge(place, name))
    };
    crew::run(READERS, listed, cancel, read, |(name, judged)| {
        session.progress().done(1, 0);
        take(session, name, judged);
    })
}

fn keys(session: &mut Session<'_>, listed: &[Listed]) -> Result<()> {
    let judge = |place: &Place<'_>, name| KeyFile::parse(&place.read_named(name)?).map(drop).map_err(damaged);
    each_file(session, FileKind::Key, listed, judge, |session, name, judged| {
        match judged {
        Ok(()) => session.report.counts.keys += 1,
        Err(trouble) => session.damage(name, trouble, "`triplicate copies heal` brings it from a sound copy; with none, `triplicate repair config` from the recovery kit"),
    }
    })?;
    if listed.is_empty() && session.place.lost().is_none() {
        let none = Trouble::Damaged("there is no key: nothing of this copy can be opened without another copy".into());
        session.damage_of("keys", none, "`triplicate copies heal` brings them from a sound copy; with none, `triplicate repair config` from the recovery kit");
    }
    Ok(())
}

fn snapshots(session: &mut Session<'_>, listed: &[Listed]) -> Result<Vec<(Id, Id)>> {
    let judge = |place: &Place<'_>, name| Snapshot::parse(&place.read_sealed(name)?).map_err(damaged);
    let mut sound = Vec::with_capacity(listed.len());
    each_file(session, FileKind::Snapshot, listed, judge, |session, name, judged| match judged {
        Ok(snapshot) => sound.push((name.id().unwrap_or_default(), snapshot.tree)),
        Err(trouble) => {
            session.affected_snapshot(name, &trouble);
            session.damage(name, trouble, "`triplicate copies heal` replaces it from a sound copy");
        }
    })?;
    sound.sort_unstable();
    session.report.counts.snapshots = sound.len() as u64;
    Ok(sound)
}

fn index(session: &mut Session<'_>, listings: &Listings) -> Result<Catalog> {
    let judge = |place: &Place<'_>, name| IndexFile::parse(&place.read_sealed(name)?).map_err(damaged);
    let mut builder = CatalogBuilder::default();
    each_file(session, FileKind::Index, &listings.index, judge, |session, name, judged| match judged {
        Ok(file) => {
            session.report.counts.index_files += 1;
            file.packs.iter().for_each(|pack| builder.add(pack));
        }
        Err(trouble) => {
            session.report.suggest_repair_index = true;
            session.damage(name, trouble, "`triplicate copies heal` replaces it from a sound copy; with none, `triplicate repair index` makes it anew");
        }
    })?;
    let sizes: HashMap<Id, u64> = listings.packs.iter().map(|pack| (pack.id, pack.size)).collect();
    let catalog = builder.build(|pack| sizes.get(pack).copied());
    let names = catalog.names();
    session.report.counts.blobs = names as u64;
    session.report.counts.blobs_duplicate = (catalog.len() - names) as u64;
    Ok(catalog)
}

/// Every pack of the index is there with the right size; what no index names is counted.
fn packs(session: &mut Session<'_>, catalog: &Catalog, listed: &[Listed]) -> Bits {
    let bad = Bits::new(catalog.len());
    for pack in catalog.packs() {
        let misfit = fit(catalog, pack);
        misfit.impossible.iter().for_each(|number| {
            bad.insert(*number);
        });
        session.report.counts.packs_mixed += u64::from(pack.has_data && pack.has_trees);
        if let Some(why) = misfit.why {
            session.report.broken_packs.push(pack.id);
            let hint = match pack.size {
                None => "`triplicate copies heal` fetches it from a copy that has it",
                Some(_) => "`triplicate copies heal` replaces it from a sound copy",
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
