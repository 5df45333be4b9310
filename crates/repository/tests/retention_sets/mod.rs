//! Random sets of snapshots and random policies, the same for every judge.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, missing_docs, unreachable_pub)]

pub mod naive;

use format::Moment;
use model::Id;
use repository::retention::{Count, Entry, Grouping, Period, Policy};
use testkit::Random;

pub const HOUR: i64 = 3600;
pub const DAY: i64 = 24 * HOUR;

/// 2026-11-21 12:00:00 UTC.
pub const NOON: i64 = 1_795_262_400;

pub fn at(seconds: i64) -> Moment {
    Moment { seconds, ..Moment::default() }
}

pub fn id(random: &mut Random) -> Id {
    let mut bytes = [0; 32];
    random.fill(&mut bytes);
    Id::from_bytes(bytes)
}

pub fn entry(random: &mut Random, seconds: i64) -> Entry {
    Entry {
        id: id(random),
        time: at(seconds),
        host: "host".to_owned(),
        paths: vec!["/data".to_owned()],
        tags: Vec::new(),
        size: None,
        is_verified: false,
    }
}

/// What times of a set look like.
pub struct SetKind {
    pub snapshots: u64,
    /// Also dates in the future and of clocks that were not set.
    pub with_odd_dates: bool,
    /// Some are verified.
    pub with_verified: bool,
    /// Groups that differ in host, paths and tags.
    pub with_groups: bool,
}

/// A set around `now`. No two snapshots have the same instant: which of them is newer is nobody's to say.
pub fn set(random: &mut Random, now: i64, kind: &SetKind) -> Vec<Entry> {
    let steps = [60, HOUR, 5 * HOUR, DAY, 3 * DAY, 20 * DAY, 200 * DAY];
    let step = steps[random.index(steps.len())];
    let offsets = [0, 3600, 7200, -18_000, 20_700, 50_400, -41_400];
    let usual_offset = offsets[random.index(offsets.len())];
    let verified_one_in = [1, 2, 5, 1000][random.index(4)];
    let mut seconds = now - i64::try_from(random.below(step as u64 * 2)).unwrap() - 1;
    (0..random.below(kind.snapshots + 1))
        .map(|_| {
            seconds -= i64::try_from(random.below(step as u64 * 2)).unwrap();
            if random.chance(40) {
                seconds -= 400 * DAY;
            }
            let mut entry = entry(random, seconds.max(2 * 366 * DAY));
            // Believed as long as it is less than five minutes ahead; longer than a test takes all the same.
            if kind.with_odd_dates && random.chance(8) {
                let ahead = i64::try_from(random.below(400 * DAY as u64)).unwrap();
                entry.time.seconds = if random.chance(3) { ahead % (300 * DAY) } else { now + 2 * HOUR + ahead };
            }
            entry.time.nanoseconds = u32::try_from(random.below(1_000_000_000)).unwrap();
            entry.time.offset_seconds = usual_offset;
            if random.chance(6) {
                entry.time.offset_seconds = offsets[random.index(offsets.len())];
            }
            for tag in ["a", "b", "plan:p", "plan:q", "source:s", "source:t"] {
                let is_ours = tag.contains(':');
                if random.chance(3) && (kind.with_groups || !is_ours) {
                    entry.tags.push(tag.to_owned());
                }
            }
            if kind.with_groups {
                entry.host = format!("host{}", random.below(2));
                entry.paths =
                    [&["/data"][..], &["/data", "/home"]][random.index(2)].iter().map(|&p| p.to_owned()).collect();
            }
            entry.is_verified = kind.with_verified && random.chance(verified_one_in);
            entry
        })
        .collect()
}

fn count(random: &mut Random) -> Count {
    match random.below(12) {
        0 => Count::Unlimited,
        1..=4 => Count::Number(u32::try_from(random.below(9)).unwrap()),
        _ => Count::Number(0),
    }
}

fn period(random: &mut Random) -> Period {
    let mut part = |most: u64| if random.chance(2) { u32::try_from(random.below(most)).unwrap() } else { 0 };
    let period = Period { years: part(3), months: part(14), days: part(50), hours: part(100) };
    if random.chance(3) { period } else { Period::default() }
}

/// A policy; with tags only now and then, since a policy of tags alone often keeps nothing.
pub fn policy(random: &mut Random) -> Policy {
    let mut policy = Policy {
        last: count(random),
        hourly: count(random),
        daily: count(random),
        weekly: count(random),
        monthly: count(random),
        yearly: count(random),
        ..Policy::default()
    };
    if random.chance(2) {
        policy.within = period(random);
        policy.within_hourly = period(random);
        policy.within_daily = period(random);
        policy.within_weekly = period(random);
        policy.within_monthly = period(random);
        policy.within_yearly = period(random);
    }
    if random.chance(4) {
        let lists = [&["a"][..], &["a", "b"], &["b"], &["nowhere"], &[""], &["", "a"], &["a", ""]];
        policy.tags = (0..=random.below(2))
            .map(|_| lists[random.index(lists.len())].iter().map(|&tag| tag.to_owned()).collect())
            .collect();
    }
    policy
}

pub fn grouping(random: &mut Random) -> Grouping {
    let mut asked = || random.chance(2);
    Grouping { host: asked(), paths: asked(), tags: asked(), plan: asked(), source: asked() }
}
