//! When each pack of each copy was last read from end to end and found sound, by this machine: what a rolling check
//! goes on from.
//!
//! One file for each copy: the mark, then 36 bytes for each pack in order of ids (the id; the day, since 1970, with the
//! highest bit set while the pack was only seen and never read), then the SHA-256 of all that. A file that is not so in
//! every byte says nothing, and then every pack counts as never read.

use std::collections::HashMap;

use model::Id;

use crate::records::Records;
use crate::repository::Repository;

const MARK: &[u8; 8] = b"packread";
const ENTRY_BYTES: usize = Id::LENGTH + 4;
/// Set in the day of a pack that was only seen.
const ONLY_SEEN: u32 = 1 << 31;
const DAY_SECONDS: i64 = 24 * 3600;

/// A day by its number since 1970, in UTC.
pub type Day = u32;

/// What is known of one pack of one copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastRead {
    /// It was first seen on this day, and never read since.
    OnlySeen(Day),
    /// It was read on this day and sound.
    Sound(Day),
}

impl LastRead {
    /// The day from which its age counts.
    pub fn day(self) -> Day {
        match self {
            LastRead::OnlySeen(day) | LastRead::Sound(day) => day,
        }
    }

    fn to_number(self) -> u32 {
        match self {
            LastRead::OnlySeen(day) => day | ONLY_SEEN,
            LastRead::Sound(day) => day,
        }
    }

    fn from_number(number: u32) -> Self {
        match number & ONLY_SEEN {
            0 => LastRead::Sound(number),
            _ => LastRead::OnlySeen(number & !ONLY_SEEN),
        }
    }
}

/// How far some packs were read and found sound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Readings {
    /// The last day on which one of them was.
    pub newest: Option<Day>,
    /// The day since which each of them was that was at all.
    pub oldest: Option<Day>,
    /// How many never were.
    pub never: u64,
}

/// What is known of the packs of one copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadLog {
    packs: HashMap<Id, LastRead>,
}

impl ReadLog {
    /// What is known of a pack; none where it was not seen before.
    pub fn get(&self, pack: &Id) -> Option<LastRead> {
        self.packs.get(pack).copied()
    }

    /// How far these packs of the copy were read and found sound.
    pub fn readings<'a>(&self, packs: impl Iterator<Item = &'a Id>) -> Readings {
        let mut readings = Readings::default();
        for pack in packs {
            match self.get(pack) {
                Some(LastRead::Sound(day)) => {
                    readings.newest = Some(readings.newest.map_or(day, |newest| newest.max(day)));
                    readings.oldest = Some(readings.oldest.map_or(day, |oldest| oldest.min(day)));
                }
                _ => readings.never += 1,
            }
        }
        readings
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (content, hash) = bytes.split_last_chunk::<{ Id::LENGTH }>()?;
        let entries = content.strip_prefix(MARK)?;
        if format::hash(content).as_bytes() != hash || entries.len() % ENTRY_BYTES != 0 {
            return None;
        }
        let entry = |bytes: &[u8]| {
            let (id, day) = bytes.split_first_chunk::<{ Id::LENGTH }>()?;
            Some((Id::from_bytes(*id), LastRead::from_number(u32::from_le_bytes(*day.first_chunk()?))))
        };
        Some(Self { packs: entries.chunks_exact(ENTRY_BYTES).map(entry).collect::<Option<_>>()? })
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut entries: Vec<(&Id, &LastRead)> = self.packs.iter().collect();
        entries.sort_unstable_by_key(|(id, _)| **id);
        let mut bytes = Vec::with_capacity(MARK.len() + entries.len() * ENTRY_BYTES + Id::LENGTH);
        bytes.extend_from_slice(MARK);
        for (id, last) in entries {
            bytes.extend_from_slice(id.as_bytes());
            bytes.extend_from_slice(&last.to_number().to_le_bytes());
        }
        let hash = format::hash(&bytes);
        bytes.extend_from_slice(hash.as_bytes());
        bytes
    }

    /// Takes over what a check saw: packs that are gone are forgotten, new ones are seen, and what was read and is not
    /// sound was never read.
    pub(crate) fn update(&mut self, seen: &PacksSeen<'_>, today: Day) {
        let there: HashMap<&Id, ()> = seen.there.iter().map(|id| (id, ())).collect();
        self.packs.retain(|id, _| there.contains_key(id));
        for id in seen.there {
            self.packs.entry(*id).or_insert(LastRead::OnlySeen(today));
        }
        for id in seen.sound {
            self.packs.insert(*id, LastRead::Sound(today));
        }
        for id in seen.bad {
            // One that is not there has nothing to be read.
            if let Some(last) = self.packs.get_mut(id) {
                *last = LastRead::OnlySeen(0);
            }
        }
    }
}

/// What a check saw of the packs of one copy.
#[derive(Debug, Clone, Copy)]
pub struct PacksSeen<'a> {
    /// All that are there.
    pub there: &'a [Id],
    /// Of these, the ones that were read to the end and are sound.
    pub sound: &'a [Id],
    /// The ones that were read and are not.
    pub bad: &'a [Id],
}

impl Repository {
    /// Today, as the records count.
    pub fn today(&self) -> Day {
        let day = self.clock().now().as_second().div_euclid(DAY_SECONDS);
        Day::try_from(day).unwrap_or(0).min(ONLY_SEEN - 1)
    }

    /// What is known of the packs of a copy.
    pub fn read_log(&self, copy: &str) -> ReadLog {
        self.records().map(|records| read(&records, copy)).unwrap_or_default()
    }

    /// Remembers what a check saw. False where nothing can be remembered.
    pub fn note_read(&self, copy: &str, seen: &PacksSeen<'_>) -> bool {
        let Some(records) = self.records() else { return false };
        let Ok(_locked) = records.lock() else { return false };
        let mut log = read(&records, copy);
        log.update(seen, self.today());
        records.write_bytes(&name(copy), &log.to_bytes()).is_ok()
    }
}

fn read(records: &Records, copy: &str) -> ReadLog {
    records.read_bytes(&name(copy)).and_then(|bytes| ReadLog::parse(&bytes)).unwrap_or_default()
}

/// An address is no file name, so its hash is one.
fn name(copy: &str) -> String {
    let hash = format::hash(copy.as_bytes()).to_hex();
    format!("read-{}", &hash[..16])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn id(number: u8) -> Id {
        format::hash(&[number])
    }

    fn log() -> ReadLog {
        let mut log = ReadLog::default();
        log.update(&PacksSeen { there: &[id(1), id(2), id(3)], sound: &[id(1)], bad: &[id(3)] }, 20_000);
        log
    }

    #[test]
    fn what_was_seen_is_remembered_and_what_is_gone_is_forgotten() {
        let mut log = log();
        assert_eq!(log.get(&id(1)), Some(LastRead::Sound(20_000)));
        assert_eq!(log.get(&id(2)), Some(LastRead::OnlySeen(20_000)));
        assert_eq!(log.get(&id(3)), Some(LastRead::OnlySeen(0)));
        let readings = |log: &ReadLog| log.readings([id(1), id(2), id(9)].iter());
        assert_eq!(readings(&log), Readings { newest: Some(20_000), oldest: Some(20_000), never: 2 });
        log.update(&PacksSeen { there: &[id(1), id(2), id(3)], sound: &[id(2)], bad: &[id(3)] }, 20_003);
        assert_eq!(readings(&log), Readings { newest: Some(20_003), oldest: Some(20_000), never: 1 });
        log.update(&PacksSeen { there: &[id(2), id(4)], sound: &[id(2)], bad: &[] }, 20_001);
        assert_eq!((log.get(&id(1)), log.get(&id(2))), (None, Some(LastRead::Sound(20_001))));
        assert_eq!(log.get(&id(4)), Some(LastRead::OnlySeen(20_001)));
    }

    #[test]
    fn a_file_reads_back_and_any_flipped_bit_makes_it_say_nothing() {
        let bytes = log().to_bytes();
        assert_eq!(bytes.len(), 8 + 3 * 36 + 32);
        assert_eq!(ReadLog::parse(&bytes), Some(log()));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            assert_eq!(ReadLog::parse(&flipped), None, "{at}");
            assert_eq!(ReadLog::parse(&bytes[..at]), None, "{at}");
        }
    }
}
