//! restic's lock files: written, refreshed, honoured.
//!
//! Source: restic design, "Locks". A shared lock says "I am reading or adding", an exclusive one "I may remove". Locks
//! are advice that every well-behaved program follows; what keeps data safe without them is the write order.
//!
//! A lock is written first and the others' locks are read after it: of two processes that lock at the same moment at
//! least one sees the other. A lock that was not refreshed for 30 minutes is stale. One that this host wrote in this
//! boot and this process namespace, by a process that is gone, is dead beyond doubt and is removed. Neither a host's
//! name nor a process id alone proves anything: containers take each other's names, and kernels give ids away again.
//!
//! A process that slept, or that was cut off, may find its own lock removed: then somebody may have removed data that
//! it counts on. So the one who wants to remove takes stale locks away first, and the one who adds writes an index or a
//! snapshot only behind the [`Fence`], which looks whether the lock is still there, without a gap since it was taken.
//! Whoever adds passes over a stale exclusive lock without a trace. So the one who removes also looks at the clock: when
//! its lock was not renewed for so long that others may have taken it for stale, it stops, even if the lock is there.
//!
//! | room | what it is for |
//! |---|---|
//! | `taking` | waiting, writing our lock to every copy, looking at the others' behind it |
//! | `heeding` | which of the others' locks keep us out, and what becomes of those that do not |
//! | `others` | reading the locks that are there, and judging whom they belong to |
//! | `process` | whether the process that wrote a lock is still there |
//! | `guard` | our locks while we work, and their removal at the end |
//! | `post` | our lock on one copy: renewed, looked for, given up |

mod guard;
mod heeding;
mod others;
mod post;
mod process;
mod taking;

pub use guard::{Fence, Guard};
pub use others::{FoundLock, LockState};

/// What a lock keeps others from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Nobody may remove; needed to read. Where the place does not let us write, reading goes on without.
    Reading,
    /// Nobody may remove; needed to add.
    Adding,
    /// Nobody else may do anything.
    Exclusive,
}
