//! What stays and what goes: the policy of each group, and the guards around it, which only ever keep more.

use std::collections::{BTreeMap, BTreeSet};

use format::Moment;
use model::Id;

use super::Entry;
use super::grouping::{GroupKey, Grouping, SourceKey};
use super::period::Instant;
use super::policy::{Counters, Policy};
use super::shrink::{Frozen, ShrinkLimit};
use crate::error::{Error, Result};

/// A snapshot dated this far ahead is taken for one with a wrong clock.
const SKEW_MAX_SECONDS: i64 = 5 * 60;

/// The first second that a clock may show which somebody has set: machines without one begin at 1970.
const CLOCKS_ARE_SET_SINCE: i64 = 365 * 24 * 3600;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// The rules; none when snapshots are named, or when all are to go.
    pub policy: Policy,
    /// What is judged together.
    pub grouping: Grouping,
    /// All of a group, or of a source, may go.
    pub allow_remove_all: bool,
    /// These may go although each is the last verified one of its source.
    pub last_verified: BTreeSet<Id>,
    /// When a source is taken for shrunk.
    pub shrink: ShrinkLimit,
    /// That sources shrank is all right.
    pub accept_shrink: bool,
    /// Up to when shrinking was accepted before.
    pub accepted: BTreeMap<SourceKey, Moment>,
}

/// Why a snapshot stays that no rule keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Its time lies ahead.
    FutureDated,
    /// Its time is that of a clock which was never set.
    ClockUnset,
    /// A rule would keep it if there were verified snapshots only.
    Verified,
    /// It is the last verified one of its source.
    LastVerified,
    /// None of its source is verified, and it is the newest that holds something.
    LastOfSource,
    /// Its source has shrunk.
    Frozen,
}

impl Guard {
    /// In words, as a reason beside restic's.
    pub fn words(self) -> &'static str {
        match self {
            Guard::FutureDated => "dated in the future",
            Guard::ClockUnset => "dated by a clock that was not set",
            Guard::Verified => "verified, newer ones are not",
            Guard::LastVerified => "last verified of its source",
            Guard::LastOfSource => "newest of its source",
            Guard::Frozen => "its source has shrunk",
        }
    }
}

/// A snapshot that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Which.
    pub id: Id,
    /// The rules that keep it, and the guard.
    pub matches: Vec<String>,
    /// What is left to the counting rules.
    pub counters: Counters,
    /// The guard, where no rule keeps it.
    pub guard: Option<Guard>,
}

/// One group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// What its snapshots share.
    pub key: GroupKey,
    /// What stays, newest first.
    pub keep: Vec<Kept>,
    /// What goes, newest first.
    pub remove: Vec<Id>,
}

/// What stays and what goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// By group.
    pub groups: Vec<Group>,
    /// Sources of which nothing goes.
    pub frozen: Vec<Frozen>,
    /// Sources that shrank, which was accepted with this wish.
    pub accepted: Vec<Frozen>,
}

impl Wish {
    /// Applies the policy to those of all snapshots that are `selected`. What lies outside the selection still counts
    /// for what is last or has shrunk.
    pub fn by_policy(&self, all: &[Entry], selected: impl Fn(&Entry) -> bool, now: &Moment) -> Result<Decision> {
        if self.policy.is_empty() && !self.allow_remove_all {
            return Err(Error::Refused {
                why: "no policy was specified, no snapshots will be removed".to_owned(),
                hint: "say what stays with --keep-last, --keep-daily and the like, or name snapshots by id".to_owned(),
            });
        }
        let sources = self.sources(all, now);
        let mut groups: BTreeMap<GroupKey, Vec<&Entry>> = BTreeMap::new();
        for entry in all.iter().filter(|entry| selected(entry)) {
            groups.entry(GroupKey::of(entry, self.grouping)).or_default().push(entry);
        }
        let mut decision = Decision::default();
        for (key, mut entries) in groups {
            entries.sort_by(|one, other| Entry::newest_first(one, other));
            decision.groups.push(self.judge_group(key, &entries, &sources, now)?);
        }
        let touched: BTreeSet<SourceKey> =
            all.iter().filter(|entry| selected(entry)).map(|entry| SourceKey::of(entry, self.grouping)).collect();
        let frozen = sources.into_iter().filter(|(key, _)| touched.contains(key));
        let frozen = frozen.filter_map(|(_, source)| source.frozen).collect();
        let into = if self.accept_shrink { &mut decision.accepted } else { &mut decision.frozen };
        *into = frozen;
        Ok(decision)
    }

    fn judge_group(
        &self,
        key: GroupKey,
        entries: &[&Entry],
        sources: &BTreeMap<SourceKey, Source>,
        now: &Moment,
    ) -> Result<Group> {
        let believed: Vec<&Entry> = entries.iter().filter(|entry| dating(entry, now).is_none()).copied().collect();
        let mut judgements = self.policy.judge(&believed, now).into_iter();
        let mut of_verified = self.verified_alone(&believed, now);
        let mut group = Group { key, ..Group::default() };
        let mut kept_by_rules = 0;
        for &entry in entries {
            let id = entry.id;
            if let Some(guard) = dating(entry, now) {
                let matches = vec![guard.words().to_owned()];
                group.keep.push(Kept { id, matches, counters: Counters::default(), guard: Some(guard) });
                continue;
            }
            let judgement = judgements.next().unwrap_or_default();
            let (mut matches, counters) = (judgement.matches, judgement.counters);
            kept_by_rules += usize::from(!matches.is_empty());
            let guard = if matches.is_empty() { self.guard_of(entry, &mut of_verified, sources) } else { None };
            matches.extend(guard.map(|guard| guard.words().to_owned()));
            if matches.is_empty() {
                group.remove.push(id);
            } else {
                group.keep.push(Kept { id, matches, counters, guard });
            }
        }
        if !self.policy.is_empty() && !believed.is_empty() && kept_by_rules == 0 {
            return Err(Error::Refused {
                why: format!("refusing to delete last snapshot of snapshot group \"{}\"", group.key),
                hint: "no rule keeps anything of it: check the tags and periods, nothing was removed".to_owned(),
            });
        }
        Ok(group)
    }

    /// What the policy keeps where nothing is there but what was verified.
    fn verified_alone(&self, believed: &[&Entry], now: &Moment) -> BTreeSet<Id> {
        let verified: Vec<&Entry> = believed.iter().filter(|entry| entry.is_verified).copied().collect();
        if verified.len() == believed.len() {
            return BTreeSet::new();
        }
        let judgements = self.policy.judge(&verified, now);
        let kept = verified.iter().zip(judgements).filter(|(_, judgement)| !judgement.matches.is_empty());
        kept.map(|(entry, _)| entry.id).collect()
    }

    /// The guard that keeps what no rule keeps.
    fn guard_of(
        &self,
        entry: &Entry,
        of_verified: &mut BTreeSet<Id>,
        sources: &BTreeMap<SourceKey, Source>,
    ) -> Option<Guard> {
        let source = sources.get(&SourceKey::of(entry, self.grouping))?;
        let is_last = source.last == Some(entry.id);
        let may_all_go = self.policy.is_empty() && self.allow_remove_all;
        if is_last && source.is_last_verified && !(may_all_go && self.last_verified.contains(&entry.id)) {
            return Some(Guard::LastVerified);
        }
        if is_last && !source.is_last_verified && !may_all_go {
            return Some(Guard::LastOfSource);
        }
        if of_verified.remove(&entry.id) {
            return Some(Guard::Verified);
        }
        (source.frozen.is_some() && !self.accept_shrink).then_some(Guard::Frozen)
    }

    /// Removes the snapshots that are named, or nothing at all where one of them has to stay.
    pub fn by_ids(&self, all: &[Entry], ids: &BTreeSet<Id>, now: &Moment) -> Result<Decision> {
        for (key, source) in self.sources(all, now) {
            if let Some(refusal) = self.refusal(&key, &source, ids, now) {
                return Err(refusal);
            }
        }
        let mut groups: BTreeMap<GroupKey, Vec<&Entry>> = BTreeMap::new();
        for entry in all.iter().filter(|entry| ids.contains(&entry.id)) {
            groups.entry(GroupKey::of(entry, self.grouping)).or_default().push(entry);
        }
        let group = |(key, mut entries): (GroupKey, Vec<&Entry>)| {
            entries.sort_by(|one, other| Entry::newest_first(one, other));
            Group { key, keep: Vec::new(), remove: entries.iter().map(|entry| entry.id).collect() }
        };
        Ok(Decision { groups: groups.into_iter().map(group).collect(), ..Decision::default() })
    }

    /// Of the named snapshots, those that may go: all of a source or none of it.
    pub(crate) fn permitted(&self, all: &[Entry], ids: &BTreeSet<Id>, now: &Moment) -> BTreeSet<Id> {
        let sources = self.sources(all, now).into_iter();
        let permitted = sources.filter(|(key, source)| self.refusal(key, source, ids, now).is_none());
        permitted.flat_map(|(_, source)| source.entries).map(|entry| entry.id).filter(|id| ids.contains(id)).collect()
    }

    fn refusal(&self, key: &SourceKey, source: &Source<'_>, ids: &BTreeSet<Id>, now: &Moment) -> Option<Error> {
        let (named, others): (Vec<&Entry>, Vec<&Entry>) =
            source.entries.iter().partition(|entry| ids.contains(&entry.id));
        if named.is_empty() {
            return None;
        }
        let last = source.last.filter(|id| source.is_last_verified && ids.contains(id));
        if let Some(last) = last.filter(|id| !self.last_verified.contains(id)) {
            return Some(Error::Refused {
                why: format!("snapshot {} is the last verified one of {key}; nothing was removed", last.short()),
                hint: format!(
                    "verify a newer one with `triplicate check --read-data`, or say --unsafe-remove-last-verified {}",
                    last.short()
                ),
            });
        }
        let has_content =
            |entries: &[&Entry]| entries.iter().any(|entry| !entry.is_empty() && dating(entry, now).is_none());
        let is_end = others.is_empty() || (has_content(&named) && !has_content(&others));
        (is_end && !self.allow_remove_all).then(|| Error::Refused {
            why: format!("no snapshot with content would be left of {key}; nothing was removed"),
            hint: "--unsafe-allow-remove-all removes the last one too".to_owned(),
        })
    }

    fn sources<'a>(&self, all: &'a [Entry], now: &Moment) -> BTreeMap<SourceKey, Source<'a>> {
        let mut sources: BTreeMap<SourceKey, Source<'a>> = BTreeMap::new();
        for entry in all {
            sources.entry(SourceKey::of(entry, self.grouping)).or_default().entries.push(entry);
        }
        for (key, source) in &mut sources {
            source.entries.sort_by(|one, other| Entry::newest_first(one, other));
            let believed: Vec<&Entry> =
                source.entries.iter().filter(|entry| dating(entry, now).is_none()).copied().collect();
            let verified = believed.iter().chain(&source.entries).find(|entry| entry.is_verified);
            let newest = believed.iter().find(|entry| !entry.is_empty()).or_else(|| believed.first());
            source.is_last_verified = verified.is_some();
            source.last = verified.or(newest).map(|entry| entry.id);
            source.frozen = Frozen::find(key, &believed, self.shrink, self.accepted.get(key));
        }
        sources
    }
}

/// The snapshots of one source, and what is to be guarded of it.
#[derive(Debug, Default)]
struct Source<'a> {
    /// Newest first.
    entries: Vec<&'a Entry>,
    /// The one that stays, whatever happens.
    last: Option<Id>,
    is_last_verified: bool,
    frozen: Option<Frozen>,
}

/// Why the time of a snapshot is not believed.
fn dating(entry: &Entry, now: &Moment) -> Option<Guard> {
    let latest = Instant(now.seconds.saturating_add(SKEW_MAX_SECONDS), now.nanoseconds);
    if Instant::from(&entry.time) > latest {
        Some(Guard::FutureDated)
    } else if entry.time.seconds < CLOCKS_ARE_SET_SINCE {
        Some(Guard::ClockUnset)
    } else {
        None
    }
}
