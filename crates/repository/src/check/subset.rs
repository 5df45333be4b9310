//! Which packs a check reads: all, none, or a part of them, in restic's words.
//!
//! A random part is drawn from a seed that the report carries, so that a finding can be repeated.

use std::fmt;
use std::str::FromStr;

use model::Id;

use super::rolling::Rolling;
use crate::error::Error;
use crate::filter::parse_size;

/// restic counts groups by a pack id's first byte, so there can be no more of them.
const GROUPS_MAX: u32 = 256;

/// How much of the packs' content a check reads.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum ReadData {
    /// Only what the structure needs: tree packs.
    #[default]
    No,
    /// Every pack that an index names.
    All,
    /// Tree packs, and a part of the others.
    Subset(Subset),
    /// Tree packs, and those of the others whose turn it is.
    Rolling(Rolling),
}

/// A part of all packs: `n/t`, `x%`, or a size such as `50M`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Subset {
    /// Group `group` of `groups`; reading each group once reads everything once.
    Group {
        /// From 1.
        group: u32,
        /// At most 256.
        groups: u32,
    },
    /// This many packs of a hundred, drawn at random.
    Percent(f64),
    /// Packs drawn at random until they hold this many bytes.
    Bytes(u64),
}

impl FromStr for Subset {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = |why: &str| Error::Request(format!("`{text}` is no part of the packs: {why}"));
        if let Some((group, groups)) = text.split_once('/') {
            let number = |digits: &str| digits.parse::<u32>().map_err(|_| refused("`n/t` needs two whole numbers"));
            let (group, groups) = (number(group)?, number(groups)?);
            if group == 0 || group > groups {
                return Err(refused("in `n/t`, n runs from 1 to t"));
            }
            if groups > GROUPS_MAX {
                return Err(refused("in `n/t`, t is at most 256"));
            }
            return Ok(Subset::Group { group, groups });
        }
        if let Some(number) = text.strip_suffix('%') {
            let percent: f64 = number.parse().map_err(|_| refused("`x%` needs a number"))?;
            // Written so that NaN is refused too.
            if !(percent > 0.0 && percent <= 100.0) {
                return Err(refused("`x%` is above 0 and at most 100"));
            }
            return Ok(Subset::Percent(percent));
        }
        match parse_size(text) {
            Ok(0) => Err(refused("a size is above 0")),
            Ok(bytes) => Ok(Subset::Bytes(bytes)),
            Err(_) => Err(refused("use `n/t`, `x%`, or a size such as `50M`")),
        }
    }
}

impl fmt::Display for Subset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subset::Group { group, groups } => write!(f, "{group}/{groups}"),
            Subset::Percent(percent) => write!(f, "{percent}%"),
            Subset::Bytes(bytes) => write!(f, "{bytes}"),
        }
    }
}

impl Subset {
    /// For each of `packs` (id and size), whether it belongs to this part. At least one is chosen where there is any,
    /// except for a group, which may be empty.
    pub(crate) fn choose(self, packs: &[(Id, u64)], seed: u64) -> Vec<bool> {
        if let Subset::Group { group, groups } = self {
            return packs.iter().map(|(id, _)| u32::from(id.as_bytes()[0]) % groups.max(1) == group - 1).collect();
        }
        let mut chosen = vec![false; packs.len()];
        let mut left = Left::of(self, packs.len());
        for position in shuffled(packs.len(), seed) {
            if left.is_used_up() {
                break;
            }
            let (Some(mark), Some((_, size))) = (chosen.get_mut(position), packs.get(position)) else { continue };
            *mark = true;
            left.take(*size);
        }
        chosen
    }
}

/// What may still be drawn.
enum Left {
    Packs(usize),
    Bytes(u64),
}

impl Left {
    fn of(subset: Subset, packs: usize) -> Self {
        match subset {
            // Truncation is restic's rounding; one pack at least, or a small repository would never be read.
            Subset::Percent(percent) => Left::Packs(((packs as f64 * percent / 100.0) as usize).max(1)),
            Subset::Bytes(bytes) => Left::Bytes(bytes),
            Subset::Group { .. } => Left::Packs(0),
        }
    }

    fn is_used_up(&self) -> bool {
        matches!(self, Left::Packs(0) | Left::Bytes(0))
    }

    fn take(&mut self, size: u64) {
        match self {
            Left::Packs(packs) => *packs = packs.saturating_sub(1),
            Left::Bytes(bytes) => *bytes = bytes.saturating_sub(size),
        }
    }
}

/// The numbers below `count` in an order drawn from `seed` (Fisher-Yates over SplitMix64).
fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        // The modulo's bias is below 2^-30 for any number of packs that fits into memory.
        let other = (next() % (last as u64 + 1)) as usize;
        order.swap(last, other);
    }
    order
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn packs(count: u32) -> Vec<(Id, u64)> {
        (0..count)
            .map(|n| {
                let mut bytes = [0; 32];
                bytes[0] = n as u8;
                bytes[1..5].copy_from_slice(&n.to_be_bytes());
                (Id::from_bytes(bytes), 1000)
            })
            .collect()
    }

    fn count(chosen: &[bool]) -> usize {
        chosen.iter().filter(|c| **c).count()
    }

    #[test]
    fn restics_words_are_understood() {
        assert_eq!("2/5".parse::<Subset>().unwrap(), Subset::Group { group: 2, groups: 5 });
        assert_eq!("2.5%".parse::<Subset>().unwrap(), Subset::Percent(2.5));
        assert_eq!("100%".parse::<Subset>().unwrap(), Subset::Percent(100.0));
        for (text, bytes) in [("50M", 50 << 20), ("1k", 1024), ("7", 7), ("3GiB", 3 << 30), ("1T", 1 << 40)] {
            assert_eq!(text.parse::<Subset>().unwrap(), Subset::Bytes(bytes), "{text}");
        }
        for wrong in [
            "",
            "0/5",
            "6/5",
            "1/257",
            "1/2/3",
            "-1/2",
            "0%",
            "101%",
            "NaN%",
            "x%",
            "0",
            "0M",
            "50X",
            "M",
            "1.5M",
            "99999999999T",
        ] {
            let error = wrong.parse::<Subset>().unwrap_err();
            assert!(error.to_string().starts_with(&format!("`{wrong}` is no part")), "{error}");
        }
    }

    #[test]
    fn the_groups_together_are_everything_once() {
        let packs = packs(1000);
        let mut times = vec![0; packs.len()];
        for group in 1..=7 {
            for (n, chosen) in (Subset::Group { group, groups: 7 }).choose(&packs, 0).into_iter().enumerate() {
                times[n] += u32::from(chosen);
            }
        }
        assert!(times.iter().all(|t| *t == 1));
    }

    #[test]
    fn a_random_part_has_its_size_and_follows_its_seed() {
        let packs = packs(1000);
        let first = Subset::Percent(10.0).choose(&packs, 1);
        assert_eq!(count(&first), 100);
        assert_eq!(first, Subset::Percent(10.0).choose(&packs, 1));
        assert_ne!(first, Subset::Percent(10.0).choose(&packs, 2));
        assert_eq!(count(&Subset::Percent(0.001).choose(&packs, 1)), 1);
        assert_eq!(count(&Subset::Percent(100.0).choose(&packs, 1)), 1000);
        assert_eq!(count(&Subset::Bytes(5500).choose(&packs, 1)), 6);
        assert_eq!(count(&Subset::Bytes(u64::MAX).choose(&packs, 1)), 1000);
        assert!(Subset::Percent(50.0).choose(&[], 1).is_empty());
    }

    #[test]
    fn every_pack_is_drawn_sooner_or_later() {
        let packs = packs(50);
        let mut seen = [false; 50];
        for seed in 0..200 {
            for (n, chosen) in Subset::Percent(10.0).choose(&packs, seed).into_iter().enumerate() {
                seen[n] |= chosen;
            }
        }
        assert!(seen.iter().all(|s| *s));
    }
}
