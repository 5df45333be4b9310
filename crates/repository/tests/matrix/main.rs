//! Every operation at every moment: broken off, repeated, broken off again, and beside every other one.
//!
//! | room | what it tries |
//! |---|---|
//! | [`crash`] | the process dies before and after each operation on three copies; then one copy alone does |
//! | [`places`] | the same where one copy lies on a real server, of every kind |
//! | [`twice`] | the process that repeats a broken operation dies as well |
//! | [`pairs`] | each operation begun while another one stands still at some moment |
//! | [`beside_restic`] | the same with restic, in the middle of ours and ours in the middle of its |
//! | [`sleepers`] | locks of processes that slept, died or share a name with others |
//! | [`table`] | the table of the crate's documentation says what is tried here |
//!
//! What must hold afterwards is said by `testkit::oracles`. A part is tried in each run, chosen by a seed that is
//! printed; `TRIPLICATE_EXHAUSTIVE=1` tries all of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

#[path = "../room/mod.rs"]
mod room;

#[path = "../network/kinds.rs"]
mod kinds;
#[path = "../network/servers.rs"]
mod servers;

mod beside_restic;
mod crash;
mod engine;
mod operations;
mod outcomes;
mod pairs;
mod places;
mod sleepers;
mod stage;
mod table;
mod twice;

/// True when everything is to be tried.
fn is_exhaustive() -> bool {
    std::env::var_os("TRIPLICATE_EXHAUSTIVE").is_some_and(|value| value != "0")
}
