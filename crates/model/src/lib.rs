//! The words of Triplicate as types: what the other crates talk about.
//!
//! Nothing here does I/O and nothing asks for the time, so that every type can be made in a test by hand.
//! [`Id`] names files and blobs, [`Verdict`] says how a part of a run ended, [`Fault`] says what went wrong
//! at a place and whether trying again can help, [`Secret`] holds what must never be shown.

mod fault;
mod id;
mod secret;
mod verdict;

pub use fault::{Fault, FaultKind, Retry, Side};
pub use id::{Id, ParseIdError};
pub use secret::{ExposeSecret, Secret};
pub use verdict::Verdict;
