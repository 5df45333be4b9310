//! The locks that are there, read and judged: whom they belong to, and whether that one may still be at work.

use std::time::Duration;

use bytes::Bytes;
use destinations::Listed;
use format::{FileKind, FileName, Lock};
use model::{Fault, FaultKind, Id};

use super::process;
use crate::copies::Answers;
use crate::error::Result;
use crate::repository::Repository;

/// A lock older than this belongs to nobody (restic's figure).
const STALE_AFTER: Duration = Duration::from_secs(30 * 60);

/// What is known of a lock's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockState {
    /// It must be heeded.
    Held,
    /// Not refreshed for 30 minutes.
    Stale,
    /// Its process ran here and is gone.
    Dead,
}

/// What looking for locks found.
pub(super) struct Locks {
    pub(super) found: Vec<FoundLock>,
    /// The first lock that could not be read of each copy that has one.
    pub(super) unread: Vec<(usize, Fault)>,
}

/// A lock that was found.
#[derive(Debug, Clone)]
pub struct FoundLock {
    /// Its id.
    pub id: Id,
    /// The copy on which it was found first.
    pub copy: String,
    /// What it says.
    pub lock: Lock,
    /// What is known of its owner.
    pub state: LockState,
}

impl Repository {
    /// Every lock of every live copy, once each. A lock that cannot be read is an error: nobody knows what it means; one
    /// that vanishes while it is read is gone.
    pub fn locks(&self) -> Result<Vec<FoundLock>> {
        let Locks { found, unread } = self.read_locks(None, self.list_locks())?;
        unread.into_iter().next().map_or(Ok(found), |(_, fault)| Err(fault.into()))
    }

    pub(super) fn list_locks(&self) -> Answers<Vec<Listed>> {
        self.copies.ask_each(|destination| destination.list(FileKind::Lock))
    }

    /// All of `listings` but our `own`, which nobody has to read again.
    pub(super) fn read_locks(&self, own: Option<Id>, listings: Answers<Vec<Listed>>) -> Result<Locks> {
        let mut locks = Locks { found: Vec::new(), unread: Vec::new() };
        for (number, answer) in listings {
            let copy = &self.copies.all()[number];
            let listed = match answer {
                _ if !copy.is_live() => continue,
                Ok(listed) => listed,
                // A place without a folder for locks has none.
                Err(fault) if fault.kind == FaultKind::NotFound => continue,
                Err(fault) => {
                    self.copies.lose(number, fault);
                    continue;
                }
            };
            for file in listed {
                if Some(file.id) == own || locks.found.iter().any(|lock| lock.id == file.id) {
                    continue;
                }
                let name = FileName::new(FileKind::Lock, file.id);
                let read = self.copies.wait(copy.destination().read(name, destinations::Span::Whole));
                match read.and_then(|bytes| self.judge(copy.place(), file.id, &bytes)) {
                    Ok(lock) => locks.found.push(lock),
                    Err(fault) if fault.kind == FaultKind::NotFound => {}
                    Err(fault) => {
                        locks.unread.push((number, fault));
                        break;
                    }
                }
            }
        }
        self.copies.at_least_one().map(|()| locks)
    }

    fn judge(&self, copy: &str, id: Id, bytes: &Bytes) -> Result<FoundLock, Fault> {
        let name = FileName::new(FileKind::Lock, id);
        let damaged = |why: &dyn std::fmt::Display| {
            let cause = format!("{why}; nobody knows what it means, `triplicate unlock --remove-all` removes it");
            Fault::new(FaultKind::Damaged, "read", name.path(), copy, cause)
        };
        if format::hash(bytes) != id {
            return Err(damaged(&"its bytes do not match its name"));
        }
        let plain = format::open_file(&self.master, bytes).map_err(|error| damaged(&error))?;
        let lock = Lock::parse(&plain).map_err(|error| damaged(&error))?;
        let state = self.state_of(&lock);
        Ok(FoundLock { id, copy: copy.to_owned(), lock, state })
    }

    fn state_of(&self, lock: &Lock) -> LockState {
        if process::is_gone(lock) {
            return LockState::Dead;
        }
        let age = self.clock().now().duration_since(lock.time.timestamp());
        let stale_after = jiff::SignedDuration::try_from(STALE_AFTER).unwrap_or(jiff::SignedDuration::MAX);
        if age > stale_after { LockState::Stale } else { LockState::Held }
    }
}
