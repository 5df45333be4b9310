//! The same rules on the same snapshots: restic's answer and ours.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod retention_sets;
mod room;

use std::collections::{BTreeMap, BTreeSet};

use clock::{Clock, SystemClock};
use format::{FileKind, Moment, Snapshot};
use model::Id;
use repository::Repository;
use repository::retention::{Count, Entry, Grouping, Period, Policy, Wish};
use retention_sets::{SetKind, naive, policy, set};
use room::{PASSWORD, Room};
use serde_json::Value;
use testkit::{Oracle, Random};

/// How many sets are in one repository, each of a host of its own.
const SETS_AT_A_TIME: usize = 20;

fn is_exhaustive() -> bool {
    std::env::var_os("TRIPLICATE_EXHAUSTIVE").is_some_and(|value| value == "1")
}

/// Writes a snapshot file for each entry; gives the entries with the ids that they got.
fn write_all(repository: &Repository, entries: Vec<Entry>) -> Vec<Entry> {
    let store = |mut entry: Entry| {
        let mut snapshot = Snapshot::new(entry.time, Id::from_bytes([7; 32]));
        snapshot.hostname.clone_from(&entry.host);
        snapshot.paths.clone_from(&entry.paths);
        snapshot.tags.clone_from(&entry.tags);
        let (name, bytes) = repository.seal_file(FileKind::Snapshot, &snapshot.to_bytes());
        repository.copies().write_each(name, &bytes).unwrap();
        entry.id = name.id().unwrap();
        entry
    };
    entries.into_iter().map(store).collect()
}

fn options(policy: &Policy) -> Vec<String> {
    let mut words = Vec::new();
    let counts = [
        ("last", policy.last),
        ("hourly", policy.hourly),
        ("daily", policy.daily),
        ("weekly", policy.weekly),
        ("monthly", policy.monthly),
        ("yearly", policy.yearly),
    ];
    for (word, count) in counts {
        match count {
            Count::Number(0) => {}
            Count::Number(number) => words.extend([format!("--keep-{word}"), number.to_string()]),
            Count::Unlimited => words.extend([format!("--keep-{word}"), "unlimited".to_owned()]),
        }
    }
    let periods = [
        ("", policy.within),
        ("-hourly", policy.within_hourly),
        ("-daily", policy.within_daily),
        ("-weekly", policy.within_weekly),
        ("-monthly", policy.within_monthly),
        ("-yearly", policy.within_yearly),
    ];
    for (word, period) in periods {
        if period != Period::default() {
            words.extend([format!("--keep-within{word}"), period.to_string()]);
        }
    }
    words.extend(policy.tags.iter().map(|list| format!("--keep-tag={}", list.join(","))));
    words
}

fn grouping_words(grouping: Grouping) -> String {
    let words = [(grouping.host, "host"), (grouping.paths, "paths"), (grouping.tags, "tags")];
    words.into_iter().filter(|(asked, _)| *asked).map(|(_, word)| word).collect::<Vec<_>>().join(",")
}

/// For each snapshot that restic keeps, its reasons; nothing when restic refuses the policy.
fn restic_keeps(restic: &Oracle, policy: &Policy, grouping: Grouping) -> Option<BTreeMap<Id, Vec<String>>> {
    let mut words = ["forget", "--dry-run", "--no-lock", "--json", "--group-by"].map(str::to_owned).to_vec();
    words.push(grouping_words(grouping));
    words.extend(options(policy));
    let ended = restic.call(&words).unwrap();
    if ended.code != Some(0) {
        assert!(ended.errors.contains("refusing to delete last snapshot"), "{}", ended.errors);
        return None;
    }
    let groups: Vec<Value> = serde_json::from_str(&ended.text()).unwrap();
    let reasons = groups.iter().flat_map(|group| group["reasons"].as_array().into_iter().flatten());
    let kept = reasons.map(|reason| {
        let matches = reason["matches"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned());
        (reason["snapshot"]["id"].as_str().unwrap().parse().unwrap(), matches.collect())
    });
    Some(kept.collect())
}

/// The same of our rules alone, group by group; nothing when a group would lose everything.
fn rules_keep(policy: &Policy, entries: &[Entry], grouping: Grouping) -> Option<BTreeMap<Id, Vec<String>>> {
    let mut groups: BTreeMap<String, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        groups.entry(naive::group_text(entry, grouping)).or_default().push(entry);
    }
    let mut kept = BTreeMap::new();
    for group in groups.values_mut() {
        group.sort_by_key(|entry| std::cmp::Reverse((entry.time.seconds, entry.time.nanoseconds)));
        let judged = policy.judge(group, &now());
        let of_group = group.iter().zip(judged).filter(|(_, judgement)| !judgement.matches.is_empty());
        let of_group: BTreeMap<Id, Vec<String>> =
            of_group.map(|(entry, judgement)| (entry.id, judgement.matches)).collect();
        if of_group.is_empty() {
            return None;
        }
        kept.extend(of_group);
    }
    Some(kept)
}

fn now() -> Moment {
    Moment::from(&SystemClock::new().local())
}

#[test]
fn rules_keep_what_restic_keeps_for_the_same_reasons() {
    let sets = if is_exhaustive() { 500 } else { 40 };
    let mut random = Random::new(testkit::seed("rules against restic"));
    for round in 0..sets / SETS_AT_A_TIME {
        let room = Room::new();
        let repository = room.init(&["copy"]);
        let path = room.path("copy");
        let Some(restic) = Oracle::restic("0.19", path.to_str().unwrap(), PASSWORD) else { return };
        let restic = restic.with("TZ", "UTC");
        // Odd dates are left to the guards, which restic has not; the rules themselves treat them alike.
        let with_odd_dates = round % 2 == 0;
        let kind = SetKind { snapshots: 25, with_odd_dates, with_verified: false, with_groups: false };
        let host = |(number, mut entries): (usize, Vec<Entry>)| {
            entries.iter_mut().for_each(|entry| entry.host = format!("host{number}"));
            entries
        };
        let started = now().seconds;
        let entries: Vec<Vec<Entry>> = (0..SETS_AT_A_TIME).map(|_| set(&mut random, started, &kind)).collect();
        let entries = write_all(&repository, entries.into_iter().enumerate().flat_map(host).collect());
        for number in 0..if is_exhaustive() { 30 } else { 10 } {
            let policy = policy(&mut random);
            if policy.is_empty() {
                continue;
            }
            let tags = number % 5 == 4;
            let grouping = Grouping { host: number % 7 != 6, tags, ..Grouping::default() };
            let theirs = restic_keeps(&restic, &policy, grouping);
            assert_eq!(rules_keep(&policy, &entries, grouping), theirs, "{policy}");
            if with_odd_dates {
                continue;
            }
            let wish = Wish { policy: policy.clone(), grouping, ..Wish::default() };
            let decision = wish.by_policy(&entries, |_| true, &now());
            let Some(theirs) = theirs else {
                assert!(decision.is_err(), "{policy}");
                continue;
            };
            let decision = decision.unwrap();
            let kept = decision.groups.iter().flat_map(|group| &group.keep).filter(|kept| kept.guard.is_none());
            let kept: BTreeSet<Id> = kept.map(|kept| kept.id).collect();
            assert_eq!(kept, theirs.into_keys().collect(), "{policy}");
        }
    }
}
