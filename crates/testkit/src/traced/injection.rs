//! What is to happen, and at which of the calls.

use nix::errno::Errno;

use super::calls::{Call, CallKind};

/// What is done to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// The whole program dies in place of the call.
    KillBefore,
    /// The whole program dies as soon as the call is done.
    KillAfter,
    /// The call does nothing and answers so. A `close` closes nevertheless, as Linux does.
    Fail(Errno),
    /// The call moves half of the bytes that it was asked to move.
    Short,
}

/// A deed and its place.
#[derive(Debug, Clone, Copy)]
pub struct Injection {
    /// The number of the call, from 1, among those that count.
    pub at: u64,
    /// What is done to it.
    pub deed: Deed,
    /// Whether it is done to every later call too.
    pub stays: bool,
}

impl Injection {
    /// The deed at call number `at` and at no other.
    pub fn once(at: u64, deed: Deed) -> Self {
        Self { at, deed, stays: false }
    }

    /// The deed at call number `at` and at all that follow.
    pub fn from(at: u64, deed: Deed) -> Self {
        Self { at, deed, stays: true }
    }

    pub(super) fn strikes(&self, number: u64) -> bool {
        number == self.at || (self.stays && number > self.at)
    }
}

/// Which calls count.
#[derive(Debug, Clone)]
pub struct Scope {
    kinds: Vec<CallKind>,
    write_stride: u64,
}

impl Scope {
    /// These kinds.
    pub fn of(kinds: &[CallKind]) -> Self {
        Self { kinds: kinds.to_vec(), write_stride: 1 }
    }

    /// Everything that changes a file or a folder, or makes it durable.
    pub fn changes() -> Self {
        Self::of(&CallKind::CHANGES)
    }

    /// What needs room on the disk.
    pub fn allocations() -> Self {
        Self::of(&[CallKind::Create, CallKind::MakeFolder, CallKind::Write, CallKind::Truncate, CallKind::Link])
    }

    /// Of the writes only the first of so many.
    #[must_use]
    pub fn every_write(mut self, stride: u64) -> Self {
        self.write_stride = stride.max(1);
        self
    }

    pub(super) fn kinds(&self) -> &[CallKind] {
        &self.kinds
    }

    /// Whether the call counts; `writes` is how many writes were seen before it.
    pub(super) fn has(&self, call: &Call, writes: u64) -> bool {
        (self.kinds.contains(&call.kind) || (self.kinds.contains(&CallKind::Look) && call.is_look()))
            && (call.kind != CallKind::Write || writes.is_multiple_of(self.write_stride))
    }
}
