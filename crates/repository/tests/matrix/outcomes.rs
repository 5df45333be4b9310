//! What is expected after a fault, and the words when it is not so.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use format::{FileKind, FileName};
use model::Verdict;
use repository::{Error, Result};
use testkit::oracles::{Acknowledged, Expected, Judge, without_locks};
use testkit::{Lifeline, MemoryFolder};

use crate::operations::{Operation, Told};
use crate::stage::{Files, Stage};

/// Packs without an index that one broken operation may leave on one copy.
pub(crate) const SURPLUS_PACKS_MAX: u64 = 8;

/// How much a dead process may still ask before it has noticed: a handful for each copy, and its locks.
const ASKED_AFTER_DEATH_MAX: usize = 60;

/// How long any operation on this small ground may take, whatever happens to it.
pub(crate) const OPERATION_LIMIT: Duration = Duration::from_secs(60);

/// What every copy must still give after one operation, whatever became of it.
pub(crate) fn after_one(stage: &Stage, operation: &Operation, end: &Result<Told>, judge: &Judge<'_>) -> Vec<String> {
    let mut violations = Vec::new();
    for (number, copy) in stage.copies.iter().enumerate() {
        let mut acknowledged = held(stage, copy_before(stage, operation, number));
        if let Ok(Told { made: Some((snapshot, on)), .. }) = end
            && on.get(number) == Some(&true)
        {
            acknowledged.push(snapshot.clone());
        }
        if !is_a_copy(copy) {
            if copy_before(stage, operation, number).is_some_and(|before| before.contains_key(&FileName::CONFIG)) {
                violations.push(format!("O1: copy {number} has lost its config"));
            }
            continue;
        }
        if !stage.is_sound(number) {
            continue;
        }
        let expected = Expected {
            acknowledged: &acknowledged,
            grows_from: operation.only_adds.then(|| stage.before(number)),
            surplus_packs_max: SURPLUS_PACKS_MAX,
        };
        let found = judge.violations(copy, &expected);
        violations.extend(found.into_iter().map(|violation| format!("copy {number}: {violation}")));
    }
    violations
}

fn copy_before<'a>(stage: &'a Stage, _: &Operation, number: usize) -> Option<&'a Files> {
    Some(stage.before(number))
}

/// The acknowledged snapshots that a copy had before.
fn held(stage: &Stage, before: Option<&Files>) -> Vec<Acknowledged> {
    let was_there = |one: &&Acknowledged| {
        before.is_some_and(|files| files.contains_key(&FileName::new(FileKind::Snapshot, one.id)))
    };
    stage.acknowledged.iter().filter(was_there).cloned().collect()
}

/// A place without a `config` is no copy: an init or an addition broke off.
fn is_a_copy(copy: &MemoryFolder) -> bool {
    copy.get(FileName::CONFIG).is_some()
}

/// What must hold when the operation was repeated, or finished undisturbed: everything is well, and the copies are equal.
pub(crate) fn converged(stage: &Stage, operation: &Operation, end: &Result<Told>, judge: &Judge<'_>) -> Vec<String> {
    let told = match end {
        Ok(told) => told,
        Err(error) => return vec![format!("the repetition failed: {error}")],
    };
    let mut violations = Vec::new();
    if told.verdict != Verdict::Ok {
        violations.push(format!("the repetition ended with `{}`", told.verdict));
    }
    let mut acknowledged = stage.acknowledged.clone();
    acknowledged.extend(told.made.iter().map(|(snapshot, _)| snapshot.clone()));
    for (number, copy) in stage.copies.iter().enumerate() {
        let surplus = if number == 0 { "" } else { " (beside the first copy)" };
        violations.extend(
            differences(&stage.copies[0], copy).into_iter().map(|line| format!("copy {number}: {line}{surplus}")),
        );
        let locks = copy.names(FileKind::Lock).len();
        if locks > 0 {
            violations.push(format!("copy {number}: {locks} locks are left"));
        }
        let expected = Expected {
            acknowledged: &acknowledged,
            grows_from: operation.only_adds.then(|| stage.before(number)),
            surplus_packs_max: 2 * SURPLUS_PACKS_MAX,
        };
        let found = judge.violations(copy, &expected);
        violations.extend(found.into_iter().map(|violation| format!("copy {number}: {violation}")));
    }
    violations
}

/// Files in which two copies differ. Packs may be on one copy alone: what a broken run left is in no index, which the
/// check of each copy has counted, and a prune removes.
fn differences(first: &Arc<MemoryFolder>, other: &Arc<MemoryFolder>) -> Vec<String> {
    let (first, other) = (without_locks(first), without_locks(other));
    let names: std::collections::BTreeSet<&FileName> = first.keys().chain(other.keys()).collect();
    let differs = |name: &&&FileName| match (first.get(name), other.get(name)) {
        (Some(a), Some(b)) => a != b,
        _ => name.kind() != FileKind::Pack,
    };
    names.iter().filter(differs).map(|name| format!("`{name}` is not the same on all")).collect()
}

/// O8 of a process that died: it did not go on asking.
pub(crate) fn gave_up(lifeline: &Lifeline) -> Option<String> {
    let asked = lifeline.asked_after_death();
    (asked > ASKED_AFTER_DEATH_MAX).then(|| format!("O8: {asked} things were asked after the death"))
}

/// A failure is a typed error that names what failed; one that is empty says nothing.
pub(crate) fn is_named(error: &Error) -> bool {
    !error.to_string().trim().is_empty()
}

/// Packs without index on the worst copy of all that were judged.
pub(crate) fn worst_surplus(judge: &Judge<'_>) -> u64 {
    judge.surplus_packs_seen.load(Ordering::Relaxed)
}
