//! Calendar slots: which hour, day, week, month or year a snapshot belongs to, on the clock of the machine that wrote
//! it.

use format::Moment;
use jiff::civil::DateTime;

/// What one rule counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// Every snapshot is one of its own.
    Snapshot,
    Hour,
    Day,
    /// ISO 8601: from Monday, in the year that has its Thursday.
    Week,
    Month,
    Year,
}

/// The wall clock of the machine that wrote a snapshot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wall(DateTime);

impl Wall {
    pub(super) fn of(moment: &Moment) -> Self {
        Self(moment.to_zoned().datetime())
    }

    /// Names the slot; equal for all moments in it. `number` is the snapshot's place in its list.
    pub(super) fn slot(&self, slot: Slot, number: usize) -> i64 {
        let of_year = |year: i16, hundred: i8| i64::from(year) * 100 + i64::from(hundred);
        let month = of_year(self.0.year(), self.0.month());
        let day = month * 100 + i64::from(self.0.day());
        match slot {
            Slot::Snapshot => i64::try_from(number).unwrap_or(i64::MAX),
            Slot::Hour => day * 100 + i64::from(self.0.hour()),
            Slot::Day => day,
            Slot::Week => {
                let week = self.0.date().iso_week_date();
                of_year(week.year(), week.week())
            }
            Slot::Month => month,
            Slot::Year => i64::from(self.0.year()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn slot(moment: &str, slot: Slot) -> i64 {
        Wall::of(&moment.parse().unwrap()).slot(slot, 7)
    }

    #[test]
    fn slots_are_those_of_the_writers_clock() {
        let moment = "2021-01-03T23:59:59+02:00";
        assert_eq!(slot(moment, Slot::Snapshot), 7);
        assert_eq!(slot(moment, Slot::Hour), 2_021_010_323);
        assert_eq!(slot(moment, Slot::Day), 20_210_103);
        assert_eq!(slot(moment, Slot::Week), 202_053, "the first days of a year may be of the old year's last week");
        assert_eq!(slot("2021-01-03T23:59:59Z", Slot::Week), slot("2020-12-28T00:00:00Z", Slot::Week));
        assert_eq!(slot(moment, Slot::Month), 202_101);
        assert_eq!(slot(moment, Slot::Year), 2021);
        assert_ne!(slot("2021-01-01T00:30:00+01:00", Slot::Year), slot("2020-12-31T23:30:00Z", Slot::Year));
    }
}
