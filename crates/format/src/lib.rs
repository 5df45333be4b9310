//! restic's repository format, versions 1 and 2, as pure functions.

mod names;

pub use names::{FileKind, FileName};
