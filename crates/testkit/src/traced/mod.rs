//! A program run under `ptrace`, so that its disk can fail, and it can be killed, at any chosen system call.
//!
//! Why not a preloaded library: the product makes system calls of its own, past the C library, and such a library sees
//! none of them. Why not a file system of our own: it needs privileges that a test may not have.
//!
//! What is looked at are the calls that change files below the given folders (and, where asked for, those that open,
//! read or close them), over all threads and child processes. A seccomp filter stops the program at no other call, so
//! that it runs nearly as fast as without. Looked-at calls run one after the other, each to its end before the next
//! begins, so that they have one order; which one that is between threads differs from run to run.
//!
//! | room | what it does |
//! |---|---|
//! | [`calls`](Call) | which system calls there are, what they change, and where |
//! | `filter` | puts the seccomp filter into the program before its first instruction |
//! | `tracer` | counts the calls, lets them through, fails them, or kills |
//! | [`Injection`] | what is to happen at which call |
//! | [`Watch`] | from when on calls count, and which names they were about |
//! | [`Journal`] | what the calls did, in order |
//! | [`Disk`] | what a disk could hold after the power went: what was made durable, and any part of the rest |

mod calls;
mod disk;
mod filter;
mod injection;
mod journal;
mod recorder;
mod tracer;
mod tree;
mod watch;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

pub use calls::{Call, CallKind};
pub use disk::{Disk, Manner};
pub use injection::{Deed, Injection, Scope};
pub use journal::{Event, Journal};
pub use nix::errno::Errno;
pub use watch::Watch;

use crate::process::Ended;

/// How a traced run ended.
#[derive(Debug)]
pub struct Outcome {
    /// Exit code and everything that was said.
    pub ended: Ended,
    /// How many calls were in the scope.
    pub calls: u64,
    /// The call at which something was done, for messages.
    pub struck: Option<Call>,
    /// How many calls something was done to.
    pub strikes: u64,
}

/// A run that is to be traced.
#[derive(Debug)]
pub struct Traced {
    command: Command,
    below: Vec<PathBuf>,
    scope: Scope,
    injection: Option<Injection>,
    watch: Option<Arc<Watch>>,
    limit: Duration,
}

/// How long a traced run may take, unless said otherwise.
const RUN_LIMIT_SECONDS: u64 = 300;

impl Traced {
    /// Traces `command`; only what lies below these folders is looked at.
    ///
    /// # Panics
    /// When one of the folders is not there.
    pub fn new(command: Command, below: &[&Path]) -> Self {
        let place = |path: &&Path| match as_the_kernel_says(path) {
            Ok(path) => path,
            Err(error) => panic!("cannot look below `{}`: {error}", path.display()),
        };
        let below = below.iter().map(place).collect();
        let limit = Duration::from_secs(RUN_LIMIT_SECONDS);
        Self { command, below, scope: Scope::changes(), injection: None, watch: None, limit }
    }

    /// Which calls count.
    #[must_use]
    pub fn counting(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// What happens at which of the calls that count.
    #[must_use]
    pub fn with(mut self, injection: Injection) -> Self {
        self.injection = Some(injection);
        self
    }

    /// Calls count when this says so.
    #[must_use]
    pub fn watched(mut self, watch: &Arc<Watch>) -> Self {
        self.watch = Some(Arc::clone(watch));
        self
    }

    /// With another limit for the whole run.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it cannot be started or traced, or did not end in time.
    pub fn run(self) -> io::Result<Outcome> {
        tracer::run(self, None)
    }

    /// Runs it to its end and adds what it did to `journal`.
    ///
    /// # Errors
    /// As for [`Traced::run`].
    pub fn record(self, journal: &mut Journal) -> io::Result<Outcome> {
        tracer::run(self, Some(journal))
    }
}

/// The path without links: what the kernel tells of an open file has none.
#[allow(clippy::disallowed_methods)] // Nobody is shown this path as one that a user named.
fn as_the_kernel_says(path: &Path) -> io::Result<PathBuf> {
    path.canonicalize()
}
