//! Snapshots that were found whole, byte by byte, and when: by `check` with every byte read, or by a restore that was
//! compared with what it should be. The newest of a source is one that retention never takes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::Id;

use crate::repository::Repository;

const NAME: &str = "verified.json";

/// Snapshot ids, and the second since 1970 at which each was last found whole.
type Seconds = BTreeMap<Id, i64>;

impl Repository {
    /// Remembers that these snapshots were found whole just now. Where nothing can be remembered nothing is.
    pub fn note_verified(&self, snapshots: impl IntoIterator<Item = Id>) {
        let Some(records) = self.records() else { return };
        let now = self.clock().now().as_second();
        let noted = records.change(NAME, |known: &mut Seconds| {
            known.extend(snapshots.into_iter().map(|id| (id, now)));
        });
        // A machine whose records cannot be written knows less, and retention then relies on what it checks itself.
        let _ = noted;
    }

    /// Forgets snapshots that are no longer there.
    pub fn note_forgotten(&self, snapshots: &[Id]) {
        let Some(records) = self.records() else { return };
        // As above.
        let _ = records.change(NAME, |known: &mut Seconds| known.retain(|id, _| !snapshots.contains(id)));
    }

    /// The snapshots that this machine found whole, and when.
    pub fn verified(&self) -> BTreeMap<Id, Timestamp> {
        let known: Seconds = self.records().map(|records| records.read(NAME)).unwrap_or_default();
        known.into_iter().filter_map(|(id, second)| Some((id, Timestamp::from_second(second).ok()?))).collect()
    }
}
