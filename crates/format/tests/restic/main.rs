//! restic as the oracle: what it writes we read and write again byte by byte, what we write it accepts.
//!
//! Needs restic's binaries, which `scripts/components` installs; without them each test prints that it was skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]

mod binary;
mod hostile;
mod opened;

mod they_write;
mod we_write;
