//! The hot places of copies that are pairs: known to belong to this repository, and made whole where they lost something.
//!
//! A pair ([`HotAndCold`]) puts back by itself what is read and was missing. Two things it cannot do, because they take
//! the key: it does not know which packs hold listings, and it cannot write the `config` that rustic wants in a hot
//! place. Neither may ever keep an operation from going on: what the hot place lacks, the cold one has.

use std::collections::HashSet;

use bytes::Bytes;
use destinations::{Destination, HotAndCold, Span};
use format::{BlobKind, Config, FileKind, FileName, MasterKey};
use model::{Fault, FaultKind, Id};

use super::CopySet;
use super::status::Holdings;
use crate::error::{Error, Result};
use crate::observer::Event;
use crate::repository::Indexed;

/// In the order in which a copy is written.
const KINDS: [FileKind; 4] = [FileKind::Key, FileKind::Pack, FileKind::Index, FileKind::Snapshot];

/// Looks whose the hot places are; `configs` are the sealed configs of copies, `keys` who lists which key. A copy whose
/// hot place belongs to somebody else is lost, before anything is written or removed there.
pub(crate) fn claim(copies: &CopySet, master: &MasterKey, configs: &[(usize, Bytes)], keys: &Holdings) {
    for (number, sealed) in configs {
        let Some(copy) = copies.all().get(*number).filter(|copy| copy.is_live()) else { continue };
        // A config that does not open is told of elsewhere.
        let Ok(plain) = master.open(sealed) else { continue };
        if Config::is_hot(&plain) {
            let why = "it is the hot part of a copy; name the copy, and this place as its `hot` in `triplicate.toml`";
            copies.lose(*number, misconfigured(copy.place(), why));
            continue;
        }
        let Some(pair) = copy.destination().as_pair() else { continue };
        if let Err(fault) = copies.wait(claim_one(pair, master, &plain)) {
            copies.lose(*number, fault);
            continue;
        }
        pair.claim();
        // rustic wants the same keys in both, and they were read before this place was known to be ours.
        let own = keys.files.iter().filter(|(_, held)| held.copies & (1 << number) != 0);
        for id in copies.wait(pair.lacking(FileKind::Key, own.map(|(id, _)| *id))).unwrap_or_default() {
            let _ = copies.wait(bring(pair, FileName::new(FileKind::Key, id)));
        }
    }
}

async fn claim_one(pair: &HotAndCold, master: &MasterKey, plain: &[u8]) -> Result<(), Fault> {
    let refused = |why: &str| Err(misconfigured(pair.hot().place(), why));
    match pair.hot().read(FileName::CONFIG, Span::Whole).await {
        Ok(there) => match master.open(&there) {
            Ok(there) if Config::is_hot_twin(&there, plain) => Ok(()),
            Ok(_) => refused("this place is a copy by itself, not the hot part of one"),
            Err(_) => refused("this place is not the hot part of this repository, or its `config` is damaged"),
        },
        Err(fault) if fault.kind == FaultKind::NotFound => {
            if let Ok(twin) = Config::hot_twin(plain) {
                let _ = pair.put_back(FileName::CONFIG, Bytes::from(master.seal(&twin))).await;
            }
            Ok(())
        }
        Err(_) => Ok(()),
    }
}

fn misconfigured(place: &str, why: &str) -> Fault {
    Fault::new(FaultKind::Misconfigured, "use", FileName::CONFIG.path(), place, why)
}

/// Refuses a hot place that has a `config`: what is about to be made or added has none yet.
pub(crate) fn refuse_taken(copies: &CopySet) -> Result<()> {
    for copy in copies.all() {
        let Some(pair) = copy.destination().as_pair() else { continue };
        match copies.wait(pair.hot().stat(FileName::CONFIG)) {
            Err(fault) if fault.kind == FaultKind::NotFound => {}
            Err(fault) => return Err(fault.into()),
            Ok(_) => {
                let found = "it has a `config`, and a new hot part has none".to_owned();
                return Err(Error::AlreadyThere { place: pair.hot().place().to_owned(), found });
            }
        }
    }
    Ok(())
}

/// Brings what hot places lost: looks whether they have all indexes and all packs with listings, and when not, at
/// everything.
pub(crate) fn complete(indexed: &Indexed<'_>) -> Result<()> {
    for (number, copy) in indexed.repository.copies().live() {
        let Some(pair) = copy.destination().as_pair() else { continue };
        // What it does not tell cannot be brought to it; it is read from the cold place meanwhile.
        if let Err(Error::Interrupted) = complete_one(indexed, number, pair) {
            return Err(Error::Interrupted);
        }
    }
    Ok(())
}

fn complete_one(indexed: &Indexed<'_>, number: usize, pair: &HotAndCold) -> Result<()> {
    let copies = indexed.repository.copies();
    let own = indexed.index_holdings.files.iter().filter(|(_, held)| held.copies & (1 << number) != 0);
    let with_listings = indexed.index.packs_with(BlobKind::Tree);
    let indexes = copies.wait(pair.lacking(FileKind::Index, own.map(|(id, _)| *id)))?;
    let packs = copies.wait(pair.lacking(FileKind::Pack, with_listings.iter().copied()))?;
    if indexes.is_empty() && packs.is_empty() {
        return Ok(());
    }
    let mut names: Vec<FileName> = Vec::new();
    for kind in KINDS {
        let listed = copies.wait(pair.list(kind))?;
        let belongs = |id: &Id| kind != FileKind::Pack || with_listings.contains(id);
        let hot: HashSet<Id> = listed.into_iter().map(|file| file.id).filter(belongs).collect();
        let lacking = copies.wait(pair.lacking(kind, hot))?;
        names.extend(lacking.into_iter().map(|id| FileName::new(kind, id)));
    }
    if names.is_empty() {
        return Ok(());
    }
    let event = Event::CatchingUp { copy: pair.hot().place().to_owned(), files: names.len() as u64 };
    indexed.repository.observer().event(event);
    for name in names {
        indexed.repository.cancel().check()?;
        copies.wait(bring(pair, name))?;
    }
    Ok(())
}

/// Brings one file to the hot place. What is gone meanwhile, or damaged, or archived, is not the hot place's to tell.
async fn bring(pair: &HotAndCold, name: FileName) -> Result<(), Fault> {
    match pair.read(name, Span::Whole).await {
        Ok(bytes) if name.id().is_some_and(|id| format::hash(&bytes) == id) => pair.put_back(name, bytes).await,
        _ => Ok(()),
    }
}
