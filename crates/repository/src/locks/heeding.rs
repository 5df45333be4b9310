//! Which of the others' locks keep us out, and what becomes of those that bind nobody any more.

use destinations::Listed;
use format::{FileKind, FileName, Lock};
use model::{Fault, FaultKind, Id, Retry};

use super::others::Locks;
use super::{LockMode, LockState};
use crate::copies::Answers;
use crate::error::{Damage, Error, Result};
use crate::observer::Event;
use crate::repository::Repository;

impl Repository {
    /// Reads the locks of every live copy and refuses when one of them excludes `mode`.
    pub(super) fn refuse_if_locked(
        &self,
        mode: LockMode,
        own: Option<Id>,
        listings: Answers<Vec<Listed>>,
    ) -> Result<()> {
        let Locks { found, unread } = self.read_locks(own, listings)?;
        for (number, fault) in unread {
            self.pass_over_unread(mode, number, fault)?;
        }
        for lock in found {
            // Whoever wants to remove takes a stale lock away: should its owner wake up, it finds that out and stops.
            let is_in_the_way = lock.state == LockState::Stale && mode == LockMode::Exclusive;
            if lock.state == LockState::Dead || is_in_the_way {
                self.clear_away(mode, lock.id)?;
                continue;
            }
            if lock.state == LockState::Stale {
                continue;
            }
            if lock.lock.exclusive || mode == LockMode::Exclusive {
                return Err(Error::Locked { place: lock.copy, holder: holder(&lock.lock) });
            }
        }
        Ok(())
    }

    /// Removes a lock that binds nobody. A copy that does not let it go is lost for whoever wants to remove: its owner
    /// could not see that it was passed over. For everybody else a dead lock that stays is only untidy.
    fn clear_away(&self, mode: LockMode, id: Id) -> Result<()> {
        let name = FileName::new(FileKind::Lock, id);
        for (number, answer) in self.copies.ask_each(|destination| destination.remove(name)) {
            match answer {
                Err(fault) if mode == LockMode::Exclusive || fault.retry() == Retry::Now => {
                    self.copies.lose(number, fault)
                }
                _ => {}
            }
        }
        self.copies.at_least_one()
    }

    /// A lock that cannot be read may be one that excludes us. Who only reads risks an error later and no data; for
    /// everybody else this one copy is lost, and the others are not.
    fn pass_over_unread(&self, mode: LockMode, number: usize, fault: Fault) -> Result<()> {
        if mode == LockMode::Reading && fault.kind == FaultKind::Damaged {
            let (copy, file, why) = (fault.place, fault.object, fault.cause);
            self.observer().event(Event::Damage(Damage { copy, file, why }));
            return Ok(());
        }
        self.copies.lose(number, fault);
        self.copies.at_least_one()
    }

    /// Removes one lock from every live copy.
    pub fn remove_lock(&self, id: Id) -> Result<()> {
        let name = FileName::new(FileKind::Lock, id);
        for (_, answer) in self.copies.ask_each(|destination| destination.remove(name)) {
            answer?;
        }
        Ok(())
    }

    /// Removes stale and dead locks, or all of them; gives what was removed.
    pub fn unlock(&self, remove_all: bool) -> Result<usize> {
        let mut ids: Vec<Id> = Vec::new();
        if remove_all {
            for (_, answer) in self.list_locks() {
                ids.extend(answer?.into_iter().map(|file| file.id));
            }
            ids.sort_unstable();
            ids.dedup();
        } else {
            ids.extend(self.locks()?.into_iter().filter(|lock| lock.state != LockState::Held).map(|lock| lock.id));
        }
        ids.iter().try_for_each(|&id| self.remove_lock(id))?;
        Ok(ids.len())
    }
}

/// Who holds a lock, in words.
fn holder(lock: &Lock) -> String {
    let kind = if lock.exclusive { "exclusively" } else { "together with others" };
    let since = lock.time.to_zoned().strftime("%Y-%m-%d %H:%M:%S %:z").to_string();
    format!("process {} of {} on host {} works on it {kind}, last seen {since}", lock.pid, lock.username, lock.hostname)
}
