//! What is to become of each pack. The rules of what is worth repacking are restic's.

use format::FileName;
use jiff::{SignedDuration, Timestamp};

use super::account::{Accounts, Sums};
use super::ledger::{Flaw, Ledger, Pack, Standing};
use super::reindex;
use super::report::Plan;
use super::request::PruneRequest;
use crate::error::{Error, Result};
use crate::repository::Repository;

/// Fewer small packs than this are not worth the trouble; a single one would be repacked for ever.
const SMALL_PACKS_MIN: usize = 10;

/// By how much clocks may differ before a mark counts as one of the future.
const CLOCKS_DIFFER_SECONDS: i64 = 5 * 60;

/// What becomes of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is in the index and stays there; or comes into it everywhere, where some copies have it there.
    Keep,
    /// What is needed of it is written anew; then as `Mark`.
    Repack,
    /// It leaves the index, and is marked.
    Mark,
    /// It stays marked.
    Wait,
    /// It was marked, and comes back into the index.
    TakeBack,
    /// It was marked, and is deleted.
    Sweep,
    /// Nothing mentions it any longer, and nobody does anything about it.
    Leave,
}

/// What is to be done.
pub(super) struct Decision {
    /// By pack number.
    pub(super) fates: Vec<Fate>,
    /// Index files that are written anew, by number.
    pub(super) rewrite: Vec<usize>,
    pub(super) plan: Plan,
}

/// Decides; refuses where what is needed cannot be relied on.
pub(super) fn decide(
    repository: &Repository,
    ledger: &Ledger,
    accounts: &Accounts,
    request: &PruneRequest,
    supersets: u64,
) -> Result<Decision> {
    refuse_unreliable(repository, ledger, accounts)?;
    let now = repository.clock().now();
    let mut planner = Planner {
        ledger,
        accounts,
        request,
        plan: Plan { used: accounts.used, duplicate: accounts.duplicate, unused: accounts.unused, ..Plan::default() },
        fates: vec![Fate::Leave; ledger.packs.len()],
        partly: Vec::new(),
        small: Vec::new(),
    };
    for number in 0..ledger.packs.len() {
        planner.place(number, now, supersets);
    }
    planner.choose_repacks(repository.config().version);
    let Planner { fates, mut plan, .. } = planner;
    let rewrite = reindex::affected(ledger, &fates, supersets);
    plan.index_files = ledger.files.len() as u64;
    plan.index_files_rewritten = rewrite.len() as u64;
    Ok(Decision { fates, rewrite, plan })
}

fn refuse_unreliable(repository: &Repository, ledger: &Ledger, accounts: &Accounts) -> Result<()> {
    let needed = ledger.packs.iter().zip(&accounts.packs).filter(|(_, sums)| sums.kept.blobs > 0);
    let unreliable = |pack: &Pack| match pack.standing {
        // What some copies lack of a marked pack is fetched before it counts again.
        Standing::Marked if pack.copies != 0 => ledger.flaw(pack).filter(|flaw| !matches!(flaw, Flaw::Lacking { .. })),
        Standing::Unindexed => Some(Flaw::NotAsIndexed),
        _ => ledger.flaw(pack),
    };
    let flawed: Vec<(&Pack, Flaw)> = needed.filter_map(|(pack, _)| Some((pack, unreliable(pack)?))).collect();
    let Some((pack, flaw)) = flawed.first() else { return Ok(()) };
    let place = |number: usize| repository.copies().place(number);
    let file = FileName::pack(pack.id).path();
    let (what, hint) = match flaw {
        Flaw::Lacking { copy } => (
            format!("copy {} lacks `{file}`, which snapshots need", place(*copy)),
            "`triplicate copies sync` brings copies up to date",
        ),
        Flaw::OtherSize { copy } => (
            format!("`{file}` has another size on {} than on the first copy, and snapshots need it", place(*copy)),
            "`triplicate copies heal` replaces what is damaged",
        ),
        Flaw::NotAsIndexed => (
            format!("`{file}`, which snapshots need, is not as the index says ({} bytes)", pack.size),
            "`triplicate check` says what is wrong; `copies heal` and `repair index` put it right",
        ),
    };
    let further = if flawed.len() > 1 { format!("; {} packs are like this", flawed.len()) } else { String::new() };
    let why = format!("nothing is pruned while copies disagree: {what}{further}");
    Err(Error::Refused { why, hint: hint.to_owned() })
}

struct Planner<'a> {
    ledger: &'a Ledger,
    accounts: &'a Accounts,
    request: &'a PruneRequest,
    plan: Plan,
    fates: Vec<Fate>,
    /// Packs whose needed content may be worth writing anew.
    partly: Vec<usize>,
    /// Packs that are needed wholly, and small.
    small: Vec<usize>,
}

impl Planner<'_> {
    fn place(&mut self, number: usize, now: Timestamp, supersets: u64) {
        let (Some(pack), Some(sums)) = (self.ledger.packs.get(number), self.accounts.packs.get(number)) else { return };
        let is_needed = sums.kept.blobs > 0;
        let fate = match pack.standing {
            Standing::Indexed if is_needed => return self.weigh(number, pack, sums),
            Standing::Surplus if is_needed => Fate::Keep,
            Standing::Marked if is_needed => Fate::TakeBack,
            _ if pack.copies == 0 => {
                self.plan.vanished += u64::from(pack.standing == Standing::Indexed);
                Fate::Leave
            }
            Standing::Indexed => Fate::Mark,
            Standing::Marked => self.ripen(pack, now),
            Standing::Surplus | Standing::Unindexed if pack.copies & !supersets == 0 => {
                self.plan.left.add(pack.size);
                Fate::Leave
            }
            Standing::Surplus | Standing::Unindexed => {
                self.plan.unindexed.add(pack.size);
                Fate::Mark
            }
        };
        match fate {
            Fate::Mark => self.plan.mark.add(pack.size),
            Fate::Wait => self.plan.wait.add(pack.size),
            Fate::TakeBack => self.plan.take_back.add(pack.size),
            Fate::Sweep => self.plan.sweep.add(pack.size),
            Fate::Keep | Fate::Repack | Fate::Leave => {}
        }
        if matches!(fate, Fate::Keep | Fate::TakeBack) {
            self.plan.remaining_bytes += sums.kept.bytes + sums.spare.bytes;
            self.plan.unused_after_bytes += sums.spare.bytes;
        }
        self.set(number, fate);
    }

    fn set(&mut self, number: usize, fate: Fate) {
        if let Some(own) = self.fates.get_mut(number) {
            *own = fate;
        }
    }

    /// Whether a marked pack's time has come.
    fn ripen(&mut self, pack: &Pack, now: Timestamp) -> Fate {
        let Some(marked_at) = pack.marked_at.map(|moment| moment.timestamp()) else { return Fate::Wait };
        let age = now.duration_since(marked_at);
        let grace = SignedDuration::try_from(self.request.grace).unwrap_or(SignedDuration::MAX);
        if age >= grace && !age.is_negative() {
            return Fate::Sweep;
        }
        if age < SignedDuration::from_secs(-CLOCKS_DIFFER_SECONDS) {
            self.plan.future_marks += 1;
        }
        let due = marked_at.checked_add(grace).unwrap_or(Timestamp::MAX);
        self.plan.wait_until = Some(self.plan.wait_until.map_or(due, |until| until.min(due)));
        Fate::Wait
    }

    /// A pack of the index that is needed: whether writing it anew may be worth it.
    fn weigh(&mut self, number: usize, pack: &Pack, sums: &Sums) {
        let is_mixed = sums.has_data && sums.has_trees;
        let is_small = self.request.repack_smaller_than.is_some_and(|limit| pack.size < limit);
        self.set(number, Fate::Keep);
        self.plan.remaining_bytes += sums.kept.bytes + sums.spare.bytes;
        self.plan.unused_after_bytes += sums.spare.bytes;
        if self.request.repack_cacheable_only && sums.has_data {
            return;
        }
        if sums.spare.blobs > 0 || is_mixed || (self.request.repack_uncompressed && sums.has_uncompressed) {
            self.partly.push(number);
        } else if is_small {
            self.small.push(number);
        }
    }

    /// Which of the candidates are written anew: trees and mixed packs first, then where the least is needed.
    fn choose_repacks(&mut self, version: u32) {
        let mut candidates = std::mem::take(&mut self.partly);
        if self.small.len() >= SMALL_PACKS_MIN {
            candidates.append(&mut self.small);
        }
        let must_compress = |sums: &Sums| self.request.repack_uncompressed && version > 1 && sums.has_uncompressed;
        let sums_of = |number: &usize| self.accounts.packs.get(*number).copied().unwrap_or_default();
        candidates.sort_by(|left, right| {
            let (a, b) = (sums_of(left), sums_of(right));
            let first = |sums: &Sums| (!(sums.has_data && sums.has_trees), !sums.has_trees);
            let share = |one: &Sums, other: &Sums| u128::from(one.spare.bytes) * u128::from(other.kept.bytes);
            first(&a).cmp(&first(&b)).then(share(&b, &a).cmp(&share(&a, &b))).then(left.cmp(right))
        });
        let max_unused = self.request.max_unused.bytes(self.accounts.used.bytes);
        let max_repack = self.request.max_repack_bytes.unwrap_or(u64::MAX);
        let mut repacked_bytes = 0;
        for number in candidates {
            let sums = sums_of(&number);
            let size = sums.kept.bytes + sums.spare.bytes;
            let is_enough = self.plan.unused_after_bytes <= max_unused;
            let only_spare = sums.spare.blobs > 0 && !sums.has_trees && !must_compress(&sums);
            if repacked_bytes + size > max_repack || (is_enough && only_spare) {
                continue;
            }
            // In a version 1 repository nothing can be compressed.
            if sums.spare.blobs == 0 && !sums.has_trees && self.request.repack_smaller_than.is_none() && version < 2 {
                continue;
            }
            repacked_bytes += size;
            self.set(number, Fate::Repack);
            self.plan.repack.add(self.ledger.packs.get(number).map_or(0, |pack| pack.size));
            self.plan.rewritten.add_all(sums.kept);
            self.plan.repack_removes.add_all(sums.spare);
            self.plan.remaining_bytes -= sums.spare.bytes;
            self.plan.unused_after_bytes -= sums.spare.bytes;
        }
    }
}
