//! Retention: which snapshots stay, as pure functions of what the snapshots say, what was verified, and what time it is.
//!
//! Two layers. [`policy`] is restic's: given the same snapshots it keeps the same ones for the same reasons. Around it
//! stand the guards of [`decision`], which only ever keep more:
//!
//! | guard | what it keeps |
//! |---|---|
//! | dates | a snapshot dated more than five minutes ahead, or by a clock that was never set, fills no slot, evicts nobody, and stays until it is named |
//! | verification | the policy is applied a second time to verified snapshots alone: what was never verified evicts no verified one |
//! | the last one | of each source the newest verified snapshot; where none is verified, the newest that is not empty |
//! | shrinking | everything of a source whose newest snapshot is empty or has lost half of its files or bytes ([`shrink`]) |
//! | all of a group | a policy that keeps nothing of a group is a mistake: nothing is removed anywhere |
//!
//! Snapshots that are named by their ids go as asked, except the last verified one of a source and, without an explicit
//! word, all of a source.
//!
//! # What may be removed, and by which word
//!
//! | removed | by a policy | by id | needs besides |
//! |---|---|---|---|
//! | what no rule and no guard keeps | yes | yes | - |
//! | a snapshot with an impossible date | never | yes | - |
//! | the newest of a source where none is verified | never | yes, while another one with content stays | for the last one: `allow_remove_all` |
//! | all of a group or source | with filters and no rule | yes | `allow_remove_all` |
//! | the last verified one of a source | never by a rule | yes | its id a second time, in `last_verified` |
//! | anything of a source that shrank | never | yes | `accept_shrink` for the policy |
//!
//! # Where this differs from restic on purpose
//!
//! Periods are counted in the offset that the newest snapshot was written with, on every machine alike. restic counts
//! in the zone of the machine that it runs on where the offsets agree, so that across a change to summer time the edge
//! of a `keep-within` rule can be an hour off.
//!
//! Nothing here reads a clock, a repository or a record: the caller hands everything in.

pub mod decision;
pub mod grouping;
pub mod period;
pub mod policy;
pub mod shrink;
mod slots;

use format::{Moment, Snapshot};
use model::Id;

pub use decision::{Decision, Guard, Kept, Wish};
pub use grouping::{GroupKey, Grouping, SourceKey};
pub use period::Period;
pub use policy::{Count, Counters, Policy};
pub use shrink::{Frozen, ShrinkLimit, Size};

/// What retention has to know of one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: Id,
    /// When the backup started, as its writer says.
    pub time: Moment,
    /// The machine.
    pub host: String,
    /// What was backed up.
    pub paths: Vec<String>,
    /// Words of the user, and ours.
    pub tags: Vec<String>,
    /// How much was backed up; nobody knows of snapshots without a summary.
    pub size: Option<Size>,
    /// Whether it was found whole, byte by byte, on this machine.
    pub is_verified: bool,
}

impl Entry {
    /// The facts of one snapshot.
    pub fn new(id: Id, snapshot: &Snapshot, is_verified: bool) -> Self {
        let size = snapshot
            .summary
            .as_ref()
            .map(|summary| Size { files: summary.total_files_processed, bytes: summary.total_bytes_processed });
        Self {
            id,
            time: snapshot.time,
            host: snapshot.hostname.clone(),
            paths: snapshot.paths.clone(),
            tags: snapshot.tags.clone(),
            size,
            is_verified,
        }
    }

    /// Whether it is known to hold no files at all.
    pub fn is_empty(&self) -> bool {
        self.size.is_some_and(|size| size.files == 0)
    }

    /// Newest first; of one instant, in the order of ids.
    fn newest_first(one: &Self, other: &Self) -> std::cmp::Ordering {
        let instant = |entry: &Self| (entry.time.seconds, entry.time.nanoseconds);
        instant(other).cmp(&instant(one)).then_with(|| one.id.cmp(&other.id))
    }
}
