//! The program on real folders whose disk fails, and that dies at any system call: killed, full, failing, without power.
//!
//! Every room has two copies and a home with cache and records. What was acknowledged before the fault is there after
//! it, `restic check` finds nothing wrong, and the next run needs no help.
//!
//! A few points are tried in every run of the tests; with `TRIPLICATE_EXHAUSTIVE=1` all of them.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub)]

mod errors;
mod full;
mod killed;
mod lost;
mod room;

/// As many as `few` in every run, and all `many` when that was asked for.
fn points(few: usize, many: usize) -> usize {
    let is_exhaustive = std::env::var_os("TRIPLICATE_EXHAUSTIVE").is_some_and(|value| value == "1");
    if is_exhaustive { many } else { few }
}
