//! Sources that shrank: an empty folder where a disk was not mounted, a database of which half is gone. As long as the
//! newest snapshot is not what the ones before it were, the ones before it are what somebody will ask for, and nobody
//! removes any.
//!
//! A source that shrinks little by little is no such case: each snapshot is compared with the biggest of the few before
//! it. Once one has shrunk, the source is frozen until a snapshot reaches the old size again, or somebody says that it
//! is all right: that further small ones follow makes it no better, or time alone would have the garbage win.

use format::Moment;
use model::Id;

use super::Entry;
use super::grouping::SourceKey;

/// With how many snapshots before it each is compared.
const COMPARED_WITH: usize = 5;

/// How much a snapshot holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How small the newest snapshot of a source may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShrinkLimit {
    /// So many hundredths of the biggest one before it, in files and in bytes; 0 lets everything pass but an empty one.
    pub percent: u8,
}

impl Default for ShrinkLimit {
    fn default() -> Self {
        Self { percent: 50 }
    }
}

impl ShrinkLimit {
    fn has_shrunk(self, before: Size, now: Size) -> bool {
        let is_less = |before: u64, now: u64| {
            u128::from(now) * 100 < u128::from(before) * u128::from(self.percent) || (now == 0 && before > 0)
        };
        is_less(before.files, now.files) || (self.percent > 0 && is_less(before.bytes, now.bytes))
    }
}

/// A source of which nothing is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frozen {
    /// The source.
    pub source: SourceKey,
    /// Its newest snapshot that says how much it holds.
    pub newest: Id,
    /// When that was made.
    pub time: Moment,
    /// What it holds.
    pub now: Size,
    /// What it is compared with.
    pub before: Size,
}

impl Frozen {
    /// Whether the source of these snapshots, which come newest first, has shrunk since what was `accepted`.
    pub(super) fn find(
        source: &SourceKey,
        entries: &[&Entry],
        limit: ShrinkLimit,
        accepted: Option<&Moment>,
    ) -> Option<Self> {
        let is_accepted = |entry: &Entry| accepted.is_some_and(|accepted| entry.time <= *accepted);
        let mut window: Vec<Size> = Vec::new();
        let mut shrunk_from: Option<Size> = None;
        let mut newest = None;
        for (entry, size) in entries.iter().rev().filter_map(|entry| Some((entry, entry.size?))) {
            newest = Some((entry, size));
            if is_accepted(entry) {
                window = vec![size];
                continue;
            }
            // With nothing before it, an empty snapshot is compared with the least that it could hold.
            let before = if window.is_empty() { Size { files: 1, bytes: 0 } } else { biggest(&window) };
            match shrunk_from {
                Some(before) if limit.has_shrunk(before, size) => {}
                Some(_) => (shrunk_from, window) = (None, vec![size]),
                None if limit.has_shrunk(before, size) => shrunk_from = Some(before),
                None => {
                    window.push(size);
                    let surplus = window.len().saturating_sub(COMPARED_WITH);
                    window.drain(..surplus);
                }
            }
        }
        let ((newest, now), before) = newest.zip(shrunk_from)?;
        Some(Self { source: source.clone(), newest: newest.id, time: newest.time, now, before })
    }
}

fn biggest(sizes: &[Size]) -> Size {
    sizes.iter().fold(Size::default(), |biggest, size| Size {
        files: biggest.files.max(size.files),
        bytes: biggest.bytes.max(size.bytes),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Sizes in files, oldest first; -1 is a snapshot that does not say.
    fn frozen_with(files: &[i64], limit: ShrinkLimit, accepted: Option<i64>) -> Option<(u64, u64)> {
        let entry = |(number, files): (usize, &i64)| Entry {
            id: format::hash(&[u8::try_from(number).unwrap()]),
            time: Moment { seconds: i64::try_from(number).unwrap(), ..Moment::default() },
            host: String::new(),
            paths: Vec::new(),
            tags: Vec::new(),
            size: u64::try_from(*files).ok().map(|files| Size { files, bytes: files * 10 }),
            is_verified: false,
        };
        let entries: Vec<Entry> = files.iter().enumerate().map(entry).collect();
        let newest_first: Vec<&Entry> = entries.iter().rev().collect();
        let source = SourceKey::Named(Vec::new(), Vec::new());
        let accepted = accepted.map(|seconds| Moment { seconds, ..Moment::default() });
        let frozen = Frozen::find(&source, &newest_first, limit, accepted.as_ref())?;
        Some((frozen.before.files, frozen.now.files))
    }

    fn frozen(files: &[i64]) -> Option<(u64, u64)> {
        frozen_with(files, ShrinkLimit::default(), None)
    }

    #[test]
    fn less_than_half_or_nothing_freezes() {
        assert_eq!(frozen(&[100, 50]), None);
        assert_eq!(frozen(&[100, 49]), Some((100, 49)));
        assert_eq!(frozen(&[0]), Some((1, 0)));
        assert_eq!(frozen(&[1, 0]), Some((1, 0)));
        assert_eq!(frozen(&[]), None);
        assert_eq!(frozen(&[-1, -1]), None, "nobody knows");
        assert_eq!(frozen(&[100, -1, 40]), Some((100, 40)));
    }

    #[test]
    fn little_by_little_is_no_loss_and_more_garbage_is_no_gain() {
        assert_eq!(frozen(&[100, 90, 80, 70, 60, 50, 45, 40, 36, 32]), None);
        let mut files = vec![100, 100, 10];
        files.extend([10; 40]);
        assert_eq!(frozen(&files), Some((100, 10)));
        files.push(60);
        assert_eq!(frozen(&files), None, "it came back");
    }

    #[test]
    fn what_was_accepted_is_the_new_measure() {
        let limit = ShrinkLimit::default();
        assert_eq!(frozen_with(&[100, 10, 10], limit, Some(1)), None);
        assert_eq!(frozen_with(&[100, 10, 4], limit, Some(1)), Some((10, 4)));
        assert_eq!(frozen_with(&[100, 0, 0], limit, Some(1)), None);
        assert_eq!(frozen_with(&[100, 10], limit, Some(0)), Some((100, 10)));
    }

    #[test]
    fn the_limit_can_be_moved() {
        assert_eq!(frozen_with(&[100, 49], ShrinkLimit { percent: 40 }, None), None);
        assert_eq!(frozen_with(&[100, 99], ShrinkLimit { percent: 100 }, None), Some((100, 99)));
        assert_eq!(frozen_with(&[100, 1], ShrinkLimit { percent: 0 }, None), None);
        assert_eq!(frozen_with(&[100, 0], ShrinkLimit { percent: 0 }, None), Some((100, 0)));
    }
}
