//! The plan: which snapshots stay, which go, and why. Making it changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use format::{FileKind, FileName, Moment, Snapshot};
use model::Id;

use super::agreement::Agreement;
use crate::copies::status::Holdings;
use crate::error::{Error, Result};
use crate::repository::Repository;
use crate::retention::{Decision, Entry, Frozen, SourceKey, Wish, decision::Group};
use crate::snapshots::SnapshotFilter;

/// Which snapshots may go.
#[derive(Debug, Clone)]
pub enum Selection {
    /// Those that the wish's policy does not keep, of those that the filter lets through.
    Policy(SnapshotFilter),
    /// These.
    Ids(BTreeSet<Id>),
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct ForgetRequest {
    /// Which snapshots.
    pub selection: Selection,
    /// The rules, and what may be removed against the guards. What was accepted before is filled in here.
    pub wish: Wish,
    /// Go on although copies list far fewer snapshots than before.
    pub believe_listings: bool,
}

/// A snapshot that an earlier run was to remove and that is still on some copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Which.
    pub id: Id,
    /// The copies that have it.
    pub copies: String,
    /// Whether it goes now; one that is the last of its source stays where it is.
    pub goes: bool,
}

/// What is going to happen.
#[derive(Debug)]
pub struct ForgetPlan {
    /// What stays and what goes, by group.
    pub groups: Vec<Group>,
    /// Sources of which nothing goes because they shrank.
    pub frozen: Vec<Frozen>,
    /// What an earlier run left behind.
    pub leftovers: Vec<Leftover>,
    /// Every snapshot that the groups name.
    pub snapshots: BTreeMap<Id, Snapshot>,
    pub(super) accepted: Vec<Frozen>,
    /// What each copy listed when the plan was made.
    pub(super) listed: BTreeMap<Id, u64>,
    /// What goes, in order.
    pub(super) removals: Vec<Id>,
}

impl ForgetPlan {
    /// What goes, oldest first; with what earlier runs left behind.
    pub fn removals(&self) -> &[Id] {
        &self.removals
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.removals.is_empty() && self.accepted.is_empty()
    }
}

/// Judges what every copy lists.
///
/// # Errors
/// When the listings cannot be believed, when the copies disagree, or when what is asked for must not be done.
pub fn plan(repository: &Repository, request: &ForgetRequest) -> Result<ForgetPlan> {
    let holdings = Holdings::gather(repository.copies(), FileKind::Snapshot)?;
    let agreement = Agreement::reach(repository, holdings, request.believe_listings)?;
    let listing = repository.snapshots_of(agreement.holdings.clone())?;
    let leftovers: BTreeSet<Id> = agreement.leftovers.iter().copied().collect();
    let snapshots: BTreeMap<Id, Snapshot> = listing.snapshots.into_iter().collect();
    refuse_unread(request, &agreement.holdings, &snapshots, &leftovers)?;
    let verified = repository.verified();
    let entry = |(id, snapshot): (&Id, &Snapshot)| Entry::new(*id, snapshot, verified.contains_key(id));
    let (left, present): (Vec<Entry>, Vec<Entry>) =
        snapshots.iter().map(entry).partition(|entry| leftovers.contains(&entry.id));

    let keys: BTreeSet<SourceKey> = present.iter().map(|entry| SourceKey::of(entry, request.wish.grouping)).collect();
    let wish = Wish { accepted: repository.accepted(&keys), ..request.wish.clone() };
    let now = Moment::from(&repository.clock().local());
    let decision = match &request.selection {
        Selection::Policy(filter) => {
            refuse_all_of_everything(&wish, filter)?;
            let selected = |entry: &Entry| snapshots.get(&entry.id).is_some_and(|snapshot| filter.matches(snapshot));
            wish.by_policy(&present, selected, &now)?
        }
        Selection::Ids(ids) => wish.by_ids(&present, &ids.difference(&leftovers).copied().collect(), &now)?,
    };
    let Decision { groups, frozen, accepted } = decision;

    let going: BTreeSet<Id> = groups.iter().flat_map(|group| group.remove.iter().copied()).collect();
    let leaving = permitted_leftovers(&wish, present, left, &going, &now);
    let leftover = |id: &Id| {
        let held = agreement.holdings.files.get(id).map_or(0, |held| held.copies);
        Leftover { id: *id, copies: repository.copies().places_of(held), goes: leaving.contains(id) }
    };
    let leftovers = agreement.leftovers.iter().map(leftover).collect();
    let mut removals: Vec<Id> = going.into_iter().chain(leaving).collect();
    removals.sort_by_key(|id| (snapshots.get(id).map(|snapshot| snapshot.time), *id));
    let listed = Agreement::listed(&agreement.holdings);
    Ok(ForgetPlan { groups, frozen, leftovers, snapshots, accepted, listed, removals })
}

/// What an earlier run left goes, unless nothing good would be left of its source when the rest has gone.
fn permitted_leftovers(
    wish: &Wish,
    present: Vec<Entry>,
    left: Vec<Entry>,
    going: &BTreeSet<Id>,
    now: &Moment,
) -> BTreeSet<Id> {
    let ids: BTreeSet<Id> = left.iter().map(|entry| entry.id).collect();
    let staying = present.into_iter().filter(|entry| !going.contains(&entry.id));
    let all: Vec<Entry> = staying.chain(left).collect();
    wish.permitted(&all, &ids, now)
}

/// A snapshot that cannot be read may be any: the newest, or the only good one. Who names what goes needs no more.
fn refuse_unread(
    request: &ForgetRequest,
    holdings: &Holdings,
    read: &BTreeMap<Id, Snapshot>,
    leftovers: &BTreeSet<Id>,
) -> Result<()> {
    let is_needed = |id: &Id| match &request.selection {
        Selection::Policy(_) => !leftovers.contains(id),
        Selection::Ids(ids) => ids.contains(id),
    };
    let unread: Vec<&Id> = holdings.files.keys().filter(|id| !read.contains_key(id) && is_needed(id)).collect();
    let Some(&&first) = unread.first() else { return Ok(()) };
    let file = FileName::new(FileKind::Snapshot, first).path();
    let others = if unread.len() > 1 { format!(" and {} more", unread.len() - 1) } else { String::new() };
    Err(Error::Refused {
        why: format!("no copy has a sound `{file}`{others}, and nobody knows what it keeps; nothing was removed"),
        hint: "name a further copy with -r that has it; `triplicate check` tells what is damaged".to_owned(),
    })
}

/// restic's: all of a group may go, all of a repository may not.
fn refuse_all_of_everything(wish: &Wish, filter: &SnapshotFilter) -> Result<()> {
    let is_unfiltered = filter.hosts.is_empty() && filter.paths.is_empty() && filter.tags.is_empty();
    if !wish.policy.is_empty() || !wish.allow_remove_all || !is_unfiltered {
        return Ok(());
    }
    Err(Error::Refused {
        why: "--unsafe-allow-remove-all is not allowed unless a snapshot filter option is specified".to_owned(),
        hint: "say of what all snapshots are to go, with --host, --tag or --path".to_owned(),
    })
}
