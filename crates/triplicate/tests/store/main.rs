//! The storage server as a program: what it says beside restic's own, what attackers get of it, what is left when it is
//! killed, and real clients at work with it.
//!
//! A part is tried in every run of the tests; with `TRIPLICATE_EXHAUSTIVE=1` all of it.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs, unreachable_pub)]

mod abuse;
mod clients;
mod coverage;
mod drill;
mod full;
mod ground;
mod hostile;
mod killed;
mod leases;
mod lost;
mod peer;
mod protocol;
