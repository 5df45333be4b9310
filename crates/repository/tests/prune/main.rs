//! Prune: what it removes and what it never does, on three copies; crashes at every step; marks and clocks; other
//! programs before, after and between.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub)]

mod crashes;
mod grace;
mod ground;
mod interop;
mod plain;
mod random;
mod refusals;
#[path = "../room/mod.rs"]
mod room;
