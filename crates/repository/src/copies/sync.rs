//! Bringing copies up to date: what one copy lacks and another has is fetched, checked, and written, packs first,
//! then indexes, then snapshots.
//!
//! Syncing only adds. Files that one copy has and the others have lost, or have had removed, come back everywhere:
//! with copies that disagree, keeping is the answer that cannot lose anything.

use std::cell::OnceCell;

use format::{BlobKind, FileKind, FileName};
use model::{Id, Verdict};

use super::fan_out::{CopyOutcome, FanOut, Parcel};
use super::status::{Held, Holdings};
use crate::error::Result;
use crate::locks::LockMode;
use crate::observer::Event;
use crate::repository::{Indexed, Repository};

/// What syncing did.
#[derive(Debug)]
pub struct SyncReport {
    /// How each copy came out, lost ones too.
    pub copies: Vec<CopyOutcome>,
    /// Worst of these.
    pub verdict: Verdict,
    /// Files that were missing on some copy.
    pub missing_files: u64,
    /// Key files that not every copy has. They are left alone: adding one could bring a removed password back.
    pub keys_differ: bool,
}

/// Brings every live copy up to date with the union of all.
pub fn sync(repository: &Repository) -> Result<SyncReport> {
    // In this order, one after the other: a snapshot that is listed has its index in what is listed behind it, and an
    // index its packs. Somebody may back up meanwhile, and his snapshot must not go where its index does not.
    let (guard, snapshots) = repository.lock_and_list(LockMode::Adding, FileKind::Snapshot)?;
    let copies = repository.copies();
    let listing = repository.snapshots_of(snapshots)?;
    let keys_differ = !Holdings::gather(copies, FileKind::Key)?.agree();
    let indexed = repository.indexed()?;
    let packs = Holdings::gather(copies, FileKind::Pack)?;
    let snapshots = listing.sound_holdings();
    let holdings = Sources { packs: &packs, indexes: &indexed.index_holdings, snapshots: &snapshots };
    let fan_out = FanOut::start(copies, repository.cancel(), guard.fence())?;
    let missing_files = hand_over_lacking(&indexed, &fan_out, &holdings);
    repository.observer().progress().found(missing_files, 0);
    let outcomes = fan_out.finish();
    repository.cancel().check()?;
    repository.observer().progress().done(missing_files, 0);
    if outcomes.iter().all(|outcome| outcome.verdict == Verdict::Failed) {
        return Err(copies.none_left());
    }
    let unsound =
        if listing.troubles.is_empty() && !indexed.has_unsound_index { Verdict::Ok } else { Verdict::Warning };
    let verdict = Verdict::worst(outcomes.iter().map(|outcome| as_part(outcome.verdict)).chain([unsound]));
    Ok(SyncReport { copies: outcomes, verdict, missing_files, keys_differ })
}

/// One failed copy makes the whole partial; that all failed is an error long before.
pub(crate) fn as_part(verdict: Verdict) -> Verdict {
    if verdict == Verdict::Failed { Verdict::Partial } else { verdict }
}

/// Who has which files that somebody may lack. Files that nobody has sound are in none of these: one copy that lists
/// what does not exist must not keep the others from being complete.
pub(crate) struct Sources<'a> {
    pub(crate) packs: &'a Holdings,
    pub(crate) indexes: &'a Holdings,
    pub(crate) snapshots: &'a Holdings,
}

/// Puts what each live copy lacks of the union into its queue, in write order, to be fetched from those who have it.
/// Gives how many files that are.
pub(crate) fn hand_over_lacking(indexed: &Indexed<'_>, fan_out: &FanOut<'_>, sources: &Sources<'_>) -> u64 {
    let mut all = 0;
    let with_listings = OnceCell::new();
    for (number, copy) in indexed.repository.copies().live() {
        let lacks = |held: &Held| held.copies & (1 << number) == 0;
        // Packs that no index mentions are left-overs of broken runs, not worth a transfer.
        let indexed_packs = indexed.index.packs().iter();
        let held_packs = indexed_packs.filter_map(|id| sources.packs.files.get(id).map(|held| (*id, *held)));
        let parcel = |(id, held): (Id, Held)| {
            let with_listings = with_listings.get_or_init(|| indexed.index.packs_with(BlobKind::Tree));
            (Parcel { name: FileName::pack(id), is_data: !with_listings.contains(&id) }, held.copies)
        };
        let mut files: Vec<(Parcel, u64)> = Vec::new();
        files.extend(held_packs.filter(|(_, held)| lacks(held)).map(parcel));
        for holdings in [sources.indexes, sources.snapshots] {
            let named = |(id, held): (Id, Held)| (FileName::new(holdings.kind, id).into(), held.copies);
            files.extend(holdings.missing(number).map(named));
        }
        if files.is_empty() {
            continue;
        }
        all += files.len() as u64;
        let event = Event::CatchingUp { copy: copy.place().to_owned(), files: files.len() as u64 };
        indexed.repository.observer().event(event);
        files.into_iter().for_each(|(parcel, copies)| fan_out.fetch(number, parcel, copies));
    }
    all
}
