//! The same decisions, written down as literally as possible and as slowly as it takes: sentences about sets, and a
//! calendar of texts. It shares no line with what it is compared with.

use std::collections::BTreeSet;

use format::Moment;
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ToSpan};
use model::Id;
use repository::retention::{Count, Entry, Grouping, Period, Policy};

const AHEAD_SECONDS: i64 = 300;
const YEAR_SECONDS: i64 = 365 * 86_400;

/// The snapshots of `set` that some rule keeps.
pub fn kept_by_rules(policy: &Policy, set: &[Entry], now: &Moment) -> BTreeSet<Id> {
    let mut list: Vec<&Entry> = set.iter().collect();
    list.sort_by_key(|entry| (instant(&entry.time), std::cmp::Reverse(entry.id)));
    list.reverse();
    let newest = list.iter().find(|entry| instant(&entry.time) < instant(now)).map(|entry| entry.time);
    let mut kept = BTreeSet::new();
    let counted = [
        (policy.last, None),
        (policy.hourly, Some("%Y-%m-%d %H")),
        (policy.daily, Some("%Y-%m-%d")),
        (policy.weekly, Some("%G week %V")),
        (policy.monthly, Some("%Y-%m")),
        (policy.yearly, Some("%Y")),
    ];
    for (count, pattern) in counted {
        let most = match count {
            Count::Number(number) => number as usize,
            Count::Unlimited => usize::MAX,
        };
        if most > 0 {
            kept.extend(first_of_each_and_the_oldest(&list, pattern).into_iter().take(most));
        }
    }
    let within = [
        (policy.within, None),
        (policy.within_hourly, Some("%Y-%m-%d %H")),
        (policy.within_daily, Some("%Y-%m-%d")),
        (policy.within_weekly, Some("%G week %V")),
        (policy.within_monthly, Some("%Y-%m")),
        (policy.within_yearly, Some("%Y")),
    ];
    for (period, pattern) in within {
        if period != Period::default() {
            let is_young = |entry: &Entry| newest.is_none_or(|newest| instant(&entry.time) > before(&newest, &period));
            let young: BTreeSet<Id> = list.iter().filter(|entry| is_young(entry)).map(|entry| entry.id).collect();
            kept.extend(first_of_each_and_the_oldest(&list, pattern).into_iter().filter(|id| young.contains(id)));
        }
    }
    for tags in &policy.tags {
        let has = |entry: &&&Entry| match tags.iter().position(|tag| tag.is_empty()) {
            Some(place) if entry.tags.is_empty() => place == 0,
            _ => tags.iter().all(|tag| entry.tags.contains(tag)),
        };
        kept.extend(list.iter().filter(has).map(|entry| entry.id));
    }
    kept
}

/// Those that begin a run of equal texts, seen from the newest, and the last of all.
fn first_of_each_and_the_oldest(list: &[&Entry], pattern: Option<&str>) -> Vec<Id> {
    let text = |entry: &Entry| pattern.map(|pattern| entry.time.to_zoned().strftime(pattern).to_string());
    let mut first = Vec::new();
    for (place, entry) in list.iter().enumerate() {
        let is_first = place == 0 || pattern.is_none() || text(entry) != text(list[place - 1]);
        if is_first || place + 1 == list.len() {
            first.push(entry.id);
        }
    }
    first
}

fn instant(moment: &Moment) -> (i64, u32) {
    (moment.seconds, moment.nanoseconds)
}

fn before(moment: &Moment, period: &Period) -> (i64, u32) {
    let zone = TimeZone::fixed(Offset::from_seconds(moment.offset_seconds).unwrap());
    let civil = Timestamp::new(moment.seconds, moment.nanoseconds.try_into().unwrap())
        .unwrap()
        .to_zoned(zone.clone())
        .datetime();
    let (mut year, mut month) = (civil.year(), civil.month());
    year -= i16::try_from(period.years).unwrap();
    for _ in 0..period.months {
        (year, month) = if month == 1 { (year - 1, 12) } else { (year, month - 1) };
    }
    let first = Date::new(year, month, 1).unwrap();
    let day = first.checked_add((i32::from(civil.day()) - 1).days()).unwrap();
    let day = day.checked_sub(i32::try_from(period.days).unwrap().days()).unwrap();
    let zoned = day.to_datetime(civil.time()).to_zoned(zone).unwrap();
    let cutoff = zoned.timestamp().checked_sub(i64::from(period.hours).hours()).unwrap();
    let nanoseconds = cutoff.as_nanosecond();
    let (seconds, rest) = (nanoseconds.div_euclid(1_000_000_000), nanoseconds.rem_euclid(1_000_000_000));
    (i64::try_from(seconds).unwrap(), u32::try_from(rest).unwrap())
}

/// What has to stay with all guards but that of shrinking; nothing when the policy is to be refused.
pub fn kept_with_guards(policy: &Policy, grouping: Grouping, set: &[Entry], now: &Moment) -> Option<BTreeSet<Id>> {
    let is_odd = |entry: &Entry| {
        let latest = (now.seconds + AHEAD_SECONDS, now.nanoseconds);
        instant(&entry.time) > latest || entry.time.seconds < YEAR_SECONDS
    };
    let mut kept = BTreeSet::new();
    for entry in set {
        if is_odd(entry) {
            kept.insert(entry.id);
        }
        let group = |with: fn(&Entry) -> bool| -> Vec<Entry> {
            let same = |other: &&Entry| group_text(other, grouping) == group_text(entry, grouping);
            set.iter().filter(same).filter(|other| !is_odd(other) && with(other)).cloned().collect()
        };
        let all = group(|_| true);
        let by_rules = kept_by_rules(policy, &all, now);
        if !all.is_empty() && by_rules.is_empty() {
            return None;
        }
        kept.extend(by_rules);
        kept.extend(kept_by_rules(policy, &group(|other| other.is_verified), now));
        kept.extend(last_of_source(entry, grouping, set, is_odd));
    }
    Some(kept)
}

fn last_of_source(entry: &Entry, grouping: Grouping, set: &[Entry], is_odd: impl Fn(&Entry) -> bool) -> Option<Id> {
    let same = |other: &&Entry| source_text(other, grouping) == source_text(entry, grouping);
    let source: Vec<&Entry> = set.iter().filter(same).collect();
    let newest = |wanted: &dyn Fn(&Entry) -> bool| {
        source.iter().filter(|other| wanted(other)).max_by_key(|other| instant(&other.time)).map(|other| other.id)
    };
    newest(&|other| other.is_verified && !is_odd(other))
        .or_else(|| newest(&|other| other.is_verified))
        .or_else(|| newest(&|other| !is_odd(other)))
}

fn list(words: &[String], prefix: &str) -> String {
    let mut words: Vec<&str> = words.iter().filter_map(|word| word.strip_prefix(prefix)).collect();
    words.sort_unstable();
    words.join("\n")
}

pub fn group_text(entry: &Entry, grouping: Grouping) -> String {
    let parts = [
        (grouping.host, entry.host.clone()),
        (grouping.paths, list(&entry.paths, "")),
        (grouping.tags, list(&entry.tags, "")),
        (grouping.plan, list(&entry.tags, "plan:")),
        (grouping.source, list(&entry.tags, "source:")),
    ];
    parts.into_iter().map(|(asked, text)| if asked { text } else { String::new() }).collect::<Vec<_>>().join("\0")
}

fn source_text(entry: &Entry, grouping: Grouping) -> String {
    let sources = list(&entry.tags, "source:");
    if !sources.is_empty() {
        return format!("named {sources} {}", list(&entry.tags, "plan:"));
    }
    let (host, paths) = match (grouping.host, grouping.paths) {
        (false, false) => (true, true),
        asked => asked,
    };
    group_text(entry, Grouping { host, paths, ..Grouping::NONE })
}
