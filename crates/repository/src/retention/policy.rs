//! restic's policy: rules that keep, and for each snapshot the rules that keep it.
//!
//! Rules look at the snapshots from the newest to the oldest. A counting rule keeps the newest snapshot of each slot
//! until it has kept as many as it may; while it may keep more, it keeps the oldest snapshot of all too. A rule with a
//! period keeps what is younger than that, seen from the newest snapshot that is not in the future. Source: restic's
//! manual, "Removing snapshots according to a policy", and what `restic forget --dry-run --json` answers.

use std::fmt;
use std::str::FromStr;

use format::Moment;

use super::Entry;
use super::period::{Instant, Period};
use super::slots::{Slot, Wall};

/// How many a rule keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// So many; none is no rule.
    Number(u32),
    /// All.
    Unlimited,
}

impl Default for Count {
    fn default() -> Self {
        Count::Number(0)
    }
}

impl Count {
    fn is_rule(self) -> bool {
        self != Count::Number(0)
    }

    /// One less; gives whether there was one.
    fn take(&mut self) -> bool {
        match self {
            Count::Unlimited => true,
            Count::Number(0) => false,
            Count::Number(left) => {
                *left -= 1;
                true
            }
        }
    }
}

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "unlimited" | "-1" => Ok(Count::Unlimited),
            number => {
                number.parse().map(Count::Number).map_err(|_| "use a number, or `unlimited` for all of them".to_owned())
            }
        }
    }
}

/// Rules; a snapshot that any of them keeps stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The last ones.
    pub last: Count,
    /// The newest of each of the last hours that have one.
    pub hourly: Count,
    /// The same for days.
    pub daily: Count,
    /// The same for weeks.
    pub weekly: Count,
    /// The same for months.
    pub monthly: Count,
    /// The same for years.
    pub yearly: Count,
    /// Everything within this time before the newest.
    pub within: Period,
    /// The newest of each hour within this time.
    pub within_hourly: Period,
    /// The same for days.
    pub within_daily: Period,
    /// The same for weeks.
    pub within_weekly: Period,
    /// The same for months.
    pub within_monthly: Period,
    /// The same for years.
    pub within_yearly: Period,
    /// What has all tags of any of these lists.
    pub tags: Vec<Vec<String>>,
}

/// How many the counting rules may still keep, after the snapshot that they stand beside; -1 is all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Of the last ones.
    pub last: i64,
    /// Of the hourly ones.
    pub hourly: i64,
    /// Of the daily ones.
    pub daily: i64,
    /// Of the weekly ones.
    pub weekly: i64,
    /// Of the monthly ones.
    pub monthly: i64,
    /// Of the yearly ones.
    pub yearly: i64,
}

/// What the policy says of one snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgement {
    /// The rules that keep it, in restic's words; none: it goes.
    pub matches: Vec<String>,
    /// What is left to the counting rules.
    pub counters: Counters,
}

struct Counting {
    left: Count,
    slot: Slot,
    last: Option<i64>,
    word: &'static str,
}

struct Within {
    cutoff: Instant,
    period: Period,
    slot: Slot,
    last: Option<i64>,
    word: &'static str,
}

impl Policy {
    /// Whether it has no rule at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Judges snapshots, which come newest first, at the time `now`.
    pub fn judge(&self, entries: &[&Entry], now: &Moment) -> Vec<Judgement> {
        let latest = latest_until(entries, now);
        let mut counting = self.counting();
        let mut within = self.within(&latest);
        let everything_after = (!self.within.is_zero()).then(|| self.within.before(&latest));
        let judge = |(number, entry): (usize, &&Entry)| {
            let (is_oldest, instant) = (number + 1 == entries.len(), Instant::from(&entry.time));
            let wall = Wall::of(&entry.time);
            let mut matches = Vec::new();
            for list in self.tags.iter().filter(|list| has_tags(entry, list)) {
                matches.push(format!("has tags [{}]", list.join(", ")));
            }
            if everything_after.is_some_and(|cutoff| instant > cutoff) {
                matches.push(format!("within {}", self.within));
            }
            for rule in &mut counting {
                let slot = wall.slot(rule.slot, number);
                let is_first = rule.last != Some(slot);
                if (is_first || is_oldest) && rule.left.take() {
                    rule.last = Some(slot);
                    matches.push(if is_first { rule.word.to_owned() } else { format!("oldest {}", rule.word) });
                }
            }
            for rule in within.iter_mut().filter(|rule| instant > rule.cutoff) {
                let slot = wall.slot(rule.slot, number);
                let is_first = rule.last != Some(slot);
                if is_first || is_oldest {
                    rule.last = Some(slot);
                    let oldest = if is_first { "" } else { "oldest " };
                    matches.push(format!("{oldest}{} {}", rule.word, rule.period));
                }
            }
            Judgement { matches, counters: counters(&counting) }
        };
        entries.iter().enumerate().map(judge).collect()
    }

    fn counting(&self) -> [Counting; 6] {
        [
            (self.last, Slot::Snapshot, "last snapshot"),
            (self.hourly, Slot::Hour, "hourly snapshot"),
            (self.daily, Slot::Day, "daily snapshot"),
            (self.weekly, Slot::Week, "weekly snapshot"),
            (self.monthly, Slot::Month, "monthly snapshot"),
            (self.yearly, Slot::Year, "yearly snapshot"),
        ]
        .map(|(left, slot, word)| Counting { left, slot, last: None, word })
    }

    fn within(&self, latest: &Moment) -> Vec<Within> {
        [
            (self.within_hourly, Slot::Hour, "hourly within"),
            (self.within_daily, Slot::Day, "daily within"),
            (self.within_weekly, Slot::Week, "weekly within"),
            (self.within_monthly, Slot::Month, "monthly within"),
            (self.within_yearly, Slot::Year, "yearly within"),
        ]
        .into_iter()
        .filter(|(period, ..)| !period.is_zero())
        .map(|(period, slot, word)| Within { cutoff: period.before(latest), period, slot, last: None, word })
        .collect()
    }
}

fn counters(counting: &[Counting; 6]) -> Counters {
    let [last, hourly, daily, weekly, monthly, yearly] = counting.each_ref().map(|rule| match rule.left {
        Count::Unlimited => -1,
        Count::Number(left) => i64::from(left),
    });
    Counters { last, hourly, daily, weekly, monthly, yearly }
}

/// The newest before `now`. Where all lie in the future it is the first day of the first year, as restic has it: then
/// everything is younger than any period.
fn latest_until(entries: &[&Entry], now: &Moment) -> Moment {
    const FIRST_DAY: Moment = Moment { seconds: -62_135_596_800, nanoseconds: 0, offset_seconds: 0 };
    let now = Instant::from(now);
    let past = entries.iter().find(|entry| Instant::from(&entry.time) < now);
    past.map_or(FIRST_DAY, |entry| entry.time)
}

/// Whether all tags of the list are there. The empty tag means: no tags at all; it settles the matter where it stands.
fn has_tags(entry: &Entry, list: &[String]) -> bool {
    for tag in list {
        if tag.is_empty() && entry.tags.is_empty() {
            return true;
        }
        if !entry.tags.contains(tag) {
            return false;
        }
    }
    true
}

impl fmt::Display for Policy {
    /// restic's sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.last, "latest"),
            (self.hourly, "hourly"),
            (self.daily, "daily"),
            (self.weekly, "weekly"),
            (self.monthly, "monthly"),
            (self.yearly, "yearly"),
        ];
        let counts = counts.into_iter().filter(|(count, _)| count.is_rule()).map(|(count, word)| match count {
            Count::Unlimited => format!("all {word}"),
            Count::Number(number) => format!("{number} {word}"),
        });
        let counts: Vec<String> = counts.collect();
        let mut parts: Vec<String> = Vec::new();
        if !counts.is_empty() {
            parts.push(format!("{} snapshots", counts.join(", ")));
        }
        let periods = [
            (self.within_hourly, "hourly"),
            (self.within_daily, "daily"),
            (self.within_weekly, "weekly"),
            (self.within_monthly, "monthly"),
            (self.within_yearly, "yearly"),
        ];
        let periods = periods.into_iter().filter(|(period, _)| !period.is_zero());
        parts.extend(periods.map(|(period, word)| format!("{word} snapshots within {period}")));
        let mut ands = vec![parts.join(", ")];
        if !self.tags.is_empty() {
            let lists: Vec<String> = self.tags.iter().map(|list| format!("[{}]", list.join(", "))).collect();
            ands.push(format!("all snapshots with tags [{}]", lists.join(" ")));
        }
        if !self.within.is_zero() {
            ands.push(format!("all snapshots within {} of the newest", self.within));
        }
        let ands: Vec<String> = ands.into_iter().filter(|part| !part.is_empty()).collect();
        if ands.is_empty() { f.write_str("remove") } else { write!(f, "keep {}", ands.join(" and ")) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_sentence_is_restics() {
        let policy = Policy {
            last: Count::Number(3),
            daily: Count::Unlimited,
            within_weekly: "2m".parse().unwrap(),
            within: "1y5m".parse().unwrap(),
            tags: vec![vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()]],
            ..Policy::default()
        };
        let expected = "keep 3 latest, all daily snapshots, weekly snapshots within 2m and all snapshots with tags \
                        [[a, b] [c]] and all snapshots within 1y5m of the newest";
        assert_eq!(policy.to_string(), expected);
        assert_eq!(Policy::default().to_string(), "remove");
    }

    #[test]
    fn counts_are_numbers_or_all() {
        assert_eq!("12".parse(), Ok(Count::Number(12)));
        assert_eq!("unlimited".parse(), Ok(Count::Unlimited));
        assert_eq!("-1".parse(), Ok(Count::Unlimited));
        for wrong in ["-2", "", "all", "1.5", "99999999999"] {
            assert!(wrong.parse::<Count>().is_err(), "{wrong}");
        }
    }
}
