//! Snapshots that this machine set out to remove, and when. Losing this loses nothing: a removal that broke off is then
//! taken for copies that disagree.

use std::collections::BTreeMap;

use model::Id;

use crate::repository::Repository;

const NAME: &str = "forgotten.json";

/// So many are remembered, the newest: years of hourly snapshots of several sources.
const REMEMBERED_MAX: usize = 20_000;

/// Snapshot ids, and the second since 1970 at which each was to be removed.
type Seconds = BTreeMap<Id, i64>;

impl Repository {
    /// Remembers that these snapshots are about to be removed.
    pub(super) fn note_intent(&self, snapshots: &[Id]) {
        let Some(records) = self.records() else { return };
        let now = self.clock().now().as_second();
        let noted = records.change(NAME, |known: &mut Seconds| {
            known.extend(snapshots.iter().map(|id| (*id, now)));
            drop_oldest(known, REMEMBERED_MAX);
        });
        // Without the note a removal that breaks off has to be undone by `copies sync`, and is not lost.
        let _ = noted;
    }

    /// Forgets the intent for snapshots that every copy has: they came back, or never went.
    pub(super) fn drop_intent(&self, snapshots: &[Id]) {
        let Some(records) = self.records().filter(|_| !snapshots.is_empty()) else { return };
        // As above.
        let _ = records.change(NAME, |known: &mut Seconds| known.retain(|id, _| !snapshots.contains(id)));
    }

    /// The snapshots that this machine set out to remove.
    pub(crate) fn intents(&self) -> BTreeMap<Id, i64> {
        self.records().map(|records| records.read(NAME)).unwrap_or_default()
    }
}

fn drop_oldest(known: &mut Seconds, most: usize) {
    let surplus = known.len().saturating_sub(most);
    let mut seconds: Vec<(i64, Id)> = known.iter().map(|(id, second)| (*second, *id)).collect();
    seconds.sort_unstable();
    for (_, id) in seconds.into_iter().take(surplus) {
        known.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_dropped_first() {
        let id = |number: u8| Id::from_bytes([number; 32]);
        let mut known: Seconds = [(id(1), 30), (id(2), 10), (id(3), 20)].into();
        drop_oldest(&mut known, 3);
        assert_eq!(known.len(), 3);
        drop_oldest(&mut known, 2);
        assert_eq!(known.into_keys().collect::<Vec<_>>(), [id(1), id(3)]);
    }
}
