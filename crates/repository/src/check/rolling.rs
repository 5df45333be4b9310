//! A check a little at a time: every pack is read again within so many days, and not more than so much a day.
//!
//! Each day at least its share of all bytes is read, so that the work is spread evenly, and whatever is due on top. What
//! is overdue comes first, then what was never read, then what was read longest ago. Trees are read in every check, as
//! they are without this, and do not count.

use model::Id;

use crate::records::read::{Day, LastRead, ReadLog};

/// How often every pack is to be read, and how much on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rolling {
    /// Days within which every pack is to be read; at least one.
    pub within_days: u32,
    /// Bytes read of one copy on one day, at the most.
    pub at_most_bytes: Option<u64>,
}

/// What a rolling check did on one copy, and what it owes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RollingCounts {
    /// Packs chosen today by this run.
    pub packs: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Packs that were not read within the days, and still are not.
    pub overdue_packs: u64,
    /// Bytes of these.
    pub overdue_bytes: u64,
    /// Packs that this machine never read on this copy.
    pub never_read_packs: u64,
}

impl Rolling {
    fn is_due(self, last: LastRead, today: Day) -> bool {
        last.day().saturating_add(self.within_days) <= today
    }

    /// For each of `packs` (id and size), whether it is to be read today.
    pub(super) fn choose(self, packs: &[(Id, u64)], log: &ReadLog, today: Day) -> Vec<bool> {
        let known = |id: &Id| log.get(id).unwrap_or(LastRead::OnlySeen(today));
        let mut order: Vec<usize> = (0..packs.len()).collect();
        order.sort_by_key(|at| {
            let Some((id, _)) = packs.get(*at) else { return (3, 0, Id::default()) };
            let last = known(id);
            let class = match last {
                _ if self.is_due(last, today) => 0,
                LastRead::OnlySeen(_) => 1,
                LastRead::Sound(_) => 2,
            };
            (class, last.day(), *id)
        });
        let total: u64 = packs.iter().map(|(_, size)| size).sum();
        let bytes_where = |wanted: &dyn Fn(LastRead) -> bool| -> u64 {
            packs.iter().filter(|(id, _)| wanted(known(id))).map(|(_, size)| size).sum()
        };
        let read_today = bytes_where(&|last| last == LastRead::Sound(today));
        let due = bytes_where(&|last| self.is_due(last, today));
        let share = total.div_ceil(u64::from(self.within_days.max(1))).saturating_sub(read_today);
        let wanted = share.max(due);
        let room = self.at_most_bytes.map_or(u64::MAX, |most| most.saturating_sub(read_today));
        let mut chosen = vec![false; packs.len()];
        let mut taken = 0u64;
        for at in order {
            let (Some((id, size)), Some(mark)) = (packs.get(at), chosen.get_mut(at)) else { continue };
            // A pack that alone is more than a day's room is read on a day of its own.
            let fits = taken + size <= room || (taken == 0 && read_today == 0);
            if taken >= wanted || !fits || known(id) == LastRead::Sound(today) {
                break;
            }
            *mark = true;
            taken += size;
        }
        chosen
    }

    /// What is owed after a check, by what is known then.
    pub(super) fn count(self, packs: &[(Id, u64)], log: &ReadLog, today: Day) -> RollingCounts {
        let mut counts = RollingCounts::default();
        for (id, size) in packs {
            let last = log.get(id).unwrap_or(LastRead::OnlySeen(today));
            if self.is_due(last, today) {
                counts.overdue_packs += 1;
                counts.overdue_bytes += size;
            }
            counts.never_read_packs += u64::from(matches!(last, LastRead::OnlySeen(_)));
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::records::read::PacksSeen;

    fn packs(count: u32) -> Vec<(Id, u64)> {
        (0..count).map(|number| (format::hash(&number.to_le_bytes()), 100)).collect()
    }

    /// Lives through `days`, with new packs on some of them; gives the longest time that any pack went unread.
    fn live(rolling: Rolling, days: u32, skip: impl Fn(u32) -> bool) -> (u32, u64) {
        let mut log = ReadLog::default();
        let mut read_on = std::collections::HashMap::new();
        let (mut longest, mut most) = (0, 0);
        for day in 1000..1000 + days {
            let there = packs(60 + (day - 1000) / 3);
            let ids: Vec<Id> = there.iter().map(|(id, _)| *id).collect();
            ids.iter().for_each(|id| {
                read_on.entry(*id).or_insert(day);
            });
            if skip(day - 1000) {
                continue;
            }
            let chosen = rolling.choose(&there, &log, day);
            let sound: Vec<Id> = ids.iter().zip(&chosen).filter(|(_, chosen)| **chosen).map(|(id, _)| *id).collect();
            most = most.max(sound.len() as u64 * 100);
            for id in &sound {
                longest = longest.max(day - read_on.insert(*id, day).unwrap());
            }
            log.update(&PacksSeen { there: &ids, sound: &sound, bad: &[] }, day);
        }
        let unread = read_on.values().map(|day| 1000 + days - 1 - day).max().unwrap();
        (longest.max(unread), most)
    }

    #[test]
    fn every_pack_is_read_within_its_days_and_no_day_is_overloaded() {
        let (longest, most) = live(Rolling { within_days: 30, at_most_bytes: None }, 400, |_| false);
        assert!(longest <= 30, "{longest}");
        assert!(most <= 1500, "{most}");
        let (longest, most) = live(Rolling { within_days: 7, at_most_bytes: None }, 200, |day| day % 5 == 4);
        assert!(longest <= 8, "{longest}");
        assert!(most <= 6000, "{most}");
    }

    #[test]
    fn a_day_never_reads_more_than_was_allowed_and_what_is_owed_is_told() {
        let rolling = Rolling { within_days: 10, at_most_bytes: Some(250) };
        let (_, most) = live(rolling, 100, |_| false);
        assert_eq!(most, 200);
        let there = packs(50);
        let mut log = ReadLog::default();
        let ids: Vec<Id> = there.iter().map(|(id, _)| *id).collect();
        log.update(&PacksSeen { there: &ids, sound: &ids[..20], bad: &[] }, 1000);
        let counts = rolling.count(&there, &log, 1010);
        assert_eq!((counts.overdue_packs, counts.overdue_bytes, counts.never_read_packs), (50, 5000, 30));
        assert_eq!(rolling.count(&there, &log, 1009).overdue_packs, 0);
    }

    #[test]
    fn a_second_run_on_the_same_day_reads_nothing_more_and_a_huge_pack_is_not_left_out_for_ever() {
        let rolling = Rolling { within_days: 10, at_most_bytes: Some(50) };
        let there = packs(3);
        let ids: Vec<Id> = there.iter().map(|(id, _)| *id).collect();
        let mut log = ReadLog::default();
        let chosen = rolling.choose(&there, &log, 5);
        assert_eq!(chosen.iter().filter(|chosen| **chosen).count(), 1);
        let sound: Vec<Id> = ids.iter().zip(&chosen).filter(|(_, chosen)| **chosen).map(|(id, _)| *id).collect();
        log.update(&PacksSeen { there: &ids, sound: &sound, bad: &[] }, 5);
        assert!(rolling.choose(&there, &log, 5).iter().all(|chosen| !chosen));
        assert!(rolling.choose(&there, &log, 6).iter().any(|chosen| *chosen));
        assert!(rolling.choose(&[], &log, 6).is_empty());
    }
}
