//! Forgetting snapshots: a plan that is shown first, and then the removal of snapshot files from every copy.
//!
//! Only snapshot files go; the data that nobody needs any more is `prune`'s, later. What goes is decided by
//! [`crate::retention`]; this room makes sure that it is decided on what is really there, and that all copies follow.
//!
//! | room | what it is for |
//! |---|---|
//! | [`names`] | the snapshots that people name |
//! | [`mod@plan`] | what there is, judged; nothing is changed |
//! | [`agreement`] | refuses to judge copies that are away, that lost part of a listing, or that disagree |
//! | [`removal`] | removes under an exclusive lock what the plan says, if it is still what is there |
//! | [`intents`] | what this machine set out to remove, so that a broken-off run is completed and not undone |
//! | [`acceptance`] | sources that shrank, which was accepted |
//!
//! # A crash at any moment
//!
//! Before the first file goes, the ids are noted on this machine. Files go in the same order from every copy, a few at
//! a time. After a crash some of them are on some copies only. The next run finds them noted: they are no snapshots any
//! more, and no disagreement, but leftovers, and it removes them too. A machine that has no such note sees copies that
//! disagree and refuses; `copies sync` then brings the snapshots back to all copies, since keeping loses nothing, and
//! forgetting starts afresh. A snapshot that is on every copy again is an ordinary one, whatever was noted.
//!
//! # Copies that only grow
//!
//! A copy that refuses a removal (append-only servers do) keeps its files, and that is no failure: it holds more than
//! the others, which is said each time. It is not asked for every further file.

pub mod acceptance;
pub mod agreement;
pub mod intents;
pub mod names;
pub mod plan;
pub mod removal;

pub use names::named;
pub use plan::{ForgetPlan, ForgetRequest, Leftover, Selection, plan};
pub use removal::{CopyRemoval, ForgetReport, execute};
