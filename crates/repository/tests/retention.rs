//! Retention against a naive model, and what nobody may bring it to remove.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod retention_sets;

use std::collections::BTreeSet;

use model::Id;
use repository::Error;
use repository::retention::{Count, Decision, Entry, Guard, Policy, ShrinkLimit, Size, Wish};
use retention_sets::{DAY, HOUR, NOON, SetKind, at, entry, grouping, naive, policy, set};
use testkit::Random;

/// Random sets in an ordinary run; `TRIPLICATE_EXHAUSTIVE=1` asks for all.
fn rounds(usual: u64, exhaustive: u64) -> u64 {
    let is_exhaustive = std::env::var_os("TRIPLICATE_EXHAUSTIVE").is_some_and(|value| value == "1");
    if is_exhaustive { exhaustive } else { usual }
}

fn kept(decision: &Decision) -> BTreeSet<Id> {
    decision.groups.iter().flat_map(|group| &group.keep).map(|kept| kept.id).collect()
}

fn removed(decision: &Decision) -> BTreeSet<Id> {
    decision.groups.iter().flat_map(|group| group.remove.iter().copied()).collect()
}

fn decide(policy: &Policy, entries: &[Entry]) -> Decision {
    let wish = Wish { policy: policy.clone(), ..Wish::default() };
    wish.by_policy(entries, |_| true, &at(NOON)).unwrap()
}

/// Runs `check` on many seeds with a few threads; a failing seed is named.
fn on_many(what: &str, rounds: u64, check: impl Fn(&mut Random) + Sync) {
    let seed = testkit::seed(what);
    let crew = std::thread::available_parallelism().map_or(2, usize::from).min(8) as u64;
    std::thread::scope(|scope| {
        for thread in 0..crew {
            let check = &check;
            scope.spawn(move || {
                for round in (thread..rounds).step_by(crew as usize) {
                    check(&mut Random::new(seed.wrapping_add(round.wrapping_mul(0x9e37_79b9))));
                }
            });
        }
    });
}

#[test]
fn rules_keep_what_a_naive_model_keeps() {
    on_many("rules against a naive model", rounds(16_000, 600_000), |random| {
        let kind = SetKind { snapshots: 24, with_odd_dates: true, with_verified: false, with_groups: false };
        let (policy, mut entries) = (policy(random), set(random, NOON, &kind));
        entries.sort_by_key(|entry| std::cmp::Reverse((entry.time.seconds, entry.time.nanoseconds)));
        let judged = policy.judge(&entries.iter().collect::<Vec<_>>(), &at(NOON));
        let kept = entries.iter().zip(&judged).filter(|(_, judgement)| !judgement.matches.is_empty());
        let kept: BTreeSet<Id> = kept.map(|(entry, _)| entry.id).collect();
        assert_eq!(kept, naive::kept_by_rules(&policy, &entries, &at(NOON)), "{policy:?} {entries:#?}");
    });
}

#[test]
fn guards_keep_what_a_naive_model_keeps() {
    on_many("guards against a naive model", rounds(4_000, 400_000), |random| {
        let kind = SetKind { snapshots: 14, with_odd_dates: true, with_verified: true, with_groups: true };
        let (policy, entries, grouping) = (policy(random), set(random, NOON, &kind), grouping(random));
        if policy.is_empty() {
            return;
        }
        let wish = Wish { policy: policy.clone(), grouping, ..Wish::default() };
        let expected = naive::kept_with_guards(&policy, grouping, &entries, &at(NOON));
        match wish.by_policy(&entries, |_| true, &at(NOON)) {
            Ok(decision) => {
                assert_eq!(Some(kept(&decision)), expected, "{policy:?} {grouping:?} {entries:#?}");
                let all: BTreeSet<Id> = entries.iter().map(|entry| entry.id).collect();
                let both: BTreeSet<Id> = kept(&decision).union(&removed(&decision)).copied().collect();
                assert_eq!(both, all);
                assert!(kept(&decision).is_disjoint(&removed(&decision)));
            }
            Err(error) => assert!(expected.is_none(), "{error}: {policy:?} {entries:#?}"),
        }
    });
}

/// Whatever is added that nobody verified, and whatever its date: no verified snapshot goes that would have stayed. (On
/// one clock: where offsets differ, days can alternate, and a snapshot between two others decides whether they are of
/// one day or of two.)
#[test]
fn what_nobody_verified_evicts_nothing_that_was() {
    on_many("additions evict nobody", rounds(5_000, 100_000), |random| {
        let kind = SetKind { snapshots: 12, with_odd_dates: false, with_verified: true, with_groups: false };
        let (policy, mut entries) = (policy(random), set(random, NOON, &kind));
        let wish = Wish { policy, ..Wish::default() };
        let mut more = set(random, NOON, &SetKind { with_odd_dates: true, with_verified: false, ..kind });
        entries.iter_mut().chain(&mut more).for_each(|entry| entry.time.offset_seconds = 3600);
        let Ok(before) = wish.by_policy(&entries, |_| true, &at(NOON)) else { return };
        let all: Vec<Entry> = entries.iter().chain(&more).cloned().collect();
        let Ok(after) = wish.by_policy(&all, |_| true, &at(NOON)) else { return };
        let verified = entries.iter().filter(|entry| entry.is_verified).map(|entry| entry.id);
        let lost: Vec<Id> = verified.filter(|id| kept(&before).contains(id) && !kept(&after).contains(id)).collect();
        assert!(lost.is_empty(), "{lost:?} {wish:?} {all:#?}");
    });
}

#[test]
fn impossible_dates_change_nothing_for_the_others() {
    on_many("odd dates evict nobody", rounds(5_000, 100_000), |random| {
        let kind = SetKind { snapshots: 12, with_odd_dates: false, with_verified: true, with_groups: false };
        let (policy, entries) = (policy(random), set(random, NOON, &kind));
        let wish = Wish { policy, ..Wish::default() };
        let Ok(before) = wish.by_policy(&entries, |_| true, &at(NOON)) else { return };
        let mut all = entries;
        for _ in 0..=random.below(5) {
            let ahead = NOON + 301 + i64::try_from(random.below(1 << 36)).unwrap();
            let early = i64::try_from(random.below(364 * DAY as u64)).unwrap();
            let seconds = if random.chance(2) { ahead } else { early };
            all.push(entry(random, seconds));
        }
        let after = wish.by_policy(&all, |_| true, &at(NOON)).unwrap();
        assert_eq!(removed(&after), removed(&before), "{wish:?} {all:#?}");
    });
}

fn daily(days: i64, random: &mut Random) -> Vec<Entry> {
    (0..days).map(|day| Entry { is_verified: true, ..entry(random, NOON - HOUR - day * DAY) }).collect()
}

#[test]
fn garbage_made_later_on_the_same_days_does_not_take_the_place_of_what_was_verified() {
    let random = &mut Random::new(7);
    let good = daily(3, random);
    let garbage: Vec<Entry> = (0..3).map(|day| entry(random, NOON - day * DAY)).collect();
    let all: Vec<Entry> = good.iter().chain(&garbage).cloned().collect();
    let policy = Policy { daily: Count::Number(3), ..Policy::default() };
    let decision = decide(&policy, &all);
    assert!(removed(&decision).is_empty(), "{decision:#?}");
    let guards = decision.groups[0].keep.iter().filter(|kept| kept.guard.is_some());
    assert_eq!(guards.count(), 3);
    assert!(decision.groups[0].keep.iter().any(|kept| kept.guard == Some(Guard::Verified)));
}

#[test]
fn one_snapshot_of_2099_evicts_nobody() {
    let random = &mut Random::new(8);
    let mut all = daily(20, random);
    let far = entry(random, 4_070_908_800);
    all.push(far.clone());
    let policies = [
        Policy { within: "30d".parse().unwrap(), ..Policy::default() },
        Policy { last: Count::Number(1), ..Policy::default() },
        Policy { yearly: Count::Number(1), within_daily: "2d".parse().unwrap(), ..Policy::default() },
    ];
    for policy in policies {
        let with = decide(&policy, &all);
        let without = decide(&policy, &all[..20]);
        assert_eq!(removed(&with), removed(&without), "{policy}");
        let kept = with.groups[0].keep.iter().find(|kept| kept.id == far.id).unwrap();
        assert_eq!(kept.guard, Some(Guard::FutureDated));
    }
    // A clock that is a little fast is no lie.
    let mut slightly = daily(3, random);
    slightly.push(entry(random, NOON + 299));
    let decision = decide(&Policy { last: Count::Number(1), ..Policy::default() }, &slightly);
    assert_eq!(decision.groups[0].keep[0].guard, None);
}

#[test]
fn the_last_verified_one_of_a_source_stays() {
    let random = &mut Random::new(9);
    let old = Entry { is_verified: true, ..entry(random, NOON - 900 * DAY) };
    let mut all = vec![old.clone()];
    all.extend((0..30).map(|day| Entry { tags: vec!["keep".to_owned()], ..entry(random, NOON - HOUR - day * DAY) }));
    let policy = Policy { tags: vec![vec!["keep".to_owned()]], ..Policy::default() };
    let decision = decide(&policy, &all);
    let kept = decision.groups[0].keep.iter().find(|kept| kept.id == old.id).unwrap();
    assert_eq!(kept.guard, Some(Guard::LastVerified));

    let wish = Wish::default();
    let refusal = wish.by_ids(&all, &[old.id].into(), &at(NOON)).unwrap_err();
    assert!(refusal.to_string().contains("last verified"), "{refusal}");
    assert!(refusal.hint().unwrap().contains("--unsafe-remove-last-verified"));
    let all_of_it = Wish { allow_remove_all: true, ..Wish::default() };
    assert!(all_of_it.by_ids(&all, &all.iter().map(|entry| entry.id).collect(), &at(NOON)).is_err());
    let named_twice = Wish { last_verified: [old.id].into(), ..Wish::default() };
    assert_eq!(removed(&named_twice.by_ids(&all, &[old.id].into(), &at(NOON)).unwrap()), [old.id].into());
    // No rule makes use of that word.
    let by_rule = Wish { policy, ..named_twice };
    assert!(removed(&by_rule.by_policy(&all, |_| true, &at(NOON)).unwrap()).is_empty());
}

#[test]
fn where_nothing_is_verified_the_newest_with_content_stays() {
    let random = &mut Random::new(10);
    let sized = |files| Some(Size { files, bytes: files * 100 });
    let full = Entry { size: sized(10), ..entry(random, NOON - 3 * DAY) };
    let older = Entry { size: sized(10), ..entry(random, NOON - 9 * DAY) };
    let empty = Entry { size: sized(0), tags: vec!["t".to_owned()], ..entry(random, NOON - DAY) };
    let all = [full.clone(), older.clone(), empty.clone()];
    let policy = Policy { tags: vec![vec!["t".to_owned()]], ..Policy::default() };
    let wish = Wish { policy, accept_shrink: true, ..Wish::default() };
    let decision = wish.by_policy(&all, |_| true, &at(NOON)).unwrap();
    assert_eq!(removed(&decision), [older.id].into());
    assert_eq!(decision.accepted.len(), 1);

    // By id the newest may go while another one with content stays, and the last may not.
    let wish = Wish::default();
    assert!(wish.by_ids(&all, &[full.id].into(), &at(NOON)).is_ok());
    let refusal = wish.by_ids(&all, &[full.id, older.id].into(), &at(NOON)).unwrap_err();
    assert!(refusal.hint().unwrap().contains("--unsafe-allow-remove-all"), "{refusal}");
    assert!(wish.by_ids(&all, &[empty.id].into(), &at(NOON)).is_ok());
    let all_of_it = Wish { allow_remove_all: true, ..Wish::default() };
    assert!(all_of_it.by_ids(&all, &[full.id, older.id, empty.id].into(), &at(NOON)).is_ok());
    // What is dated in the future is nothing to fall back on.
    let future = [full.clone(), entry(random, NOON + 40 * DAY)];
    assert!(wish.by_ids(&future, &[full.id].into(), &at(NOON)).is_err());
}

#[test]
fn a_source_that_shrank_or_is_empty_loses_nothing_until_that_is_accepted() {
    let random = &mut Random::new(11);
    let sized = |files| Some(Size { files, bytes: files * 100 });
    for (files, is_frozen) in [(100, false), (50, false), (49, true), (0, true)] {
        let mut all: Vec<Entry> =
            (1..20).map(|day| Entry { size: sized(100), ..entry(random, NOON - day * DAY) }).collect();
        all.push(Entry { size: sized(files), ..entry(random, NOON - HOUR) });
        // Another source goes on.
        let other =
            |day: i64, random: &mut Random| Entry { host: "other".to_owned(), ..entry(random, NOON - day * DAY) };
        all.extend((1..5).map(|day| other(day, random)));
        let policy = Policy { last: Count::Number(2), ..Policy::default() };
        let decision = decide(&policy, &all);
        let of_host = |host: &str| {
            let group = decision.groups.iter().find(|group| group.key.host == host).unwrap();
            group.remove.len()
        };
        assert_eq!(of_host("other"), 2, "{files}");
        assert_eq!(of_host("host"), if is_frozen { 0 } else { 18 }, "{files}");
        assert_eq!(decision.frozen.len(), usize::from(is_frozen), "{files}");
        let accepting = Wish { policy: policy.clone(), accept_shrink: true, ..Wish::default() };
        let accepted = accepting.by_policy(&all, |_| true, &at(NOON)).unwrap();
        assert_eq!(removed(&accepted).len(), 18 + 2, "{files}");
        assert_eq!(accepted.accepted.len(), usize::from(is_frozen), "{files}");
        let limit = ShrinkLimit { percent: 10 };
        let lenient = Wish { policy, shrink: limit, ..Wish::default() };
        let lenient = lenient.by_policy(&all, |_| true, &at(NOON)).unwrap();
        assert_eq!(lenient.frozen.len(), usize::from(files == 0), "{files}");
    }
}

#[test]
fn mistakes_remove_nothing_in_restics_words() {
    let random = &mut Random::new(12);
    let all = daily(5, random);
    let wish = |policy: Policy| Wish { policy, ..Wish::default() };
    let error = wish(Policy::default()).by_policy(&all, |_| true, &at(NOON)).unwrap_err();
    assert_eq!(error.to_string(), "no policy was specified, no snapshots will be removed");
    let typo = Policy { tags: vec![vec!["typo".to_owned()]], ..Policy::default() };
    let error = wish(typo.clone()).by_policy(&all, |_| true, &at(NOON)).unwrap_err();
    let expected = "refusing to delete last snapshot of snapshot group \"host host, path [/data]\"";
    assert_eq!(error.to_string(), expected);
    // As in restic, the word for removing all is no word for a policy that keeps nothing.
    let all_of_it = Wish { policy: typo, allow_remove_all: true, ..Wish::default() };
    assert!(matches!(all_of_it.by_policy(&all, |_| true, &at(NOON)), Err(Error::Refused { .. })));
}

#[test]
fn all_of_a_group_goes_by_its_word_but_for_the_last_verified_one() {
    let random = &mut Random::new(13);
    let mut all: Vec<Entry> = (1..4).map(|day| entry(random, NOON - day * DAY)).collect();
    let future = entry(random, NOON + DAY);
    all.push(future.clone());
    let wish = Wish { allow_remove_all: true, ..Wish::default() };
    let decision = wish.by_policy(&all, |_| true, &at(NOON)).unwrap();
    assert_eq!(removed(&decision).len(), 3);
    assert_eq!(kept(&decision), [future.id].into());
    all[1].is_verified = true;
    let decision = wish.by_policy(&all, |_| true, &at(NOON)).unwrap();
    assert_eq!(kept(&decision), [future.id, all[1].id].into());
    let wish = Wish { last_verified: [all[1].id].into(), ..wish };
    let decision = wish.by_policy(&all, |_| true, &at(NOON)).unwrap();
    assert_eq!(removed(&decision).len(), 3);
}
