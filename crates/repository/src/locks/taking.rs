//! Taking our locks: written to every live copy first, then compared with the others', waiting as long as the user allows.

use std::sync::Arc;
use std::time::Duration;

use destinations::{Destination, Listed};
use format::{FileKind, Lock, Moment};
use model::{Fault, FaultKind};

use super::post::{Post, Renewal};
use super::{Guard, LockMode, process};
use crate::copies::Answers;
use crate::copies::status::Holdings;
use crate::error::{Error, Result};
use crate::repository::Repository;
use crate::threads;

/// How often a held lock is looked at while waiting for it.
const RETRY_EVERY: Duration = Duration::from_secs(5);

impl Repository {
    /// Locks every live copy, waiting as long as the user allows.
    pub fn lock(&self, mode: LockMode) -> Result<Guard> {
        self.lock_beside(mode, None).map(|(guard, _)| guard)
    }

    /// As [`Repository::lock`], and lists `kind` in the same round trip in which our lock, which is there by then, is
    /// compared with the others'.
    pub(crate) fn lock_and_list(&self, mode: LockMode, kind: FileKind) -> Result<(Guard, Holdings)> {
        let (guard, answers) = self.lock_beside(mode, Some(kind))?;
        Ok((guard, Holdings::of_listings(kind, self.copies.listings(answers)?)))
    }

    fn lock_beside(&self, mode: LockMode, kind: Option<FileKind>) -> Result<(Guard, Answers<Vec<Listed>>)> {
        if self.surroundings.no_lock {
            let answers = self.copies.ask_each(|destination| list_if_wanted(destination, kind));
            return Ok((self.guard(Vec::new(), mode), answers));
        }
        let started = self.clock().monotonic();
        loop {
            match self.try_lock(mode, kind) {
                Err(Error::Locked { .. }) if self.clock().monotonic() - started < self.surroundings.retry_lock => {
                    self.pause(RETRY_EVERY)?;
                }
                end => return end,
            }
        }
    }

    fn pause(&self, time: Duration) -> Result<()> {
        let step = Duration::from_millis(100);
        let mut left = time;
        while !left.is_zero() {
            self.cancel().check()?;
            std::thread::sleep(step.min(left));
            left = left.saturating_sub(step);
        }
        Ok(())
    }

    fn try_lock(&self, mode: LockMode, kind: Option<FileKind>) -> Result<(Guard, Answers<Vec<Listed>>)> {
        // This look only spares others the sight of a lock of ours that is taken back; so an old one does.
        let at_opening = threads::lock(&self.locks_at_opening).take();
        self.refuse_if_locked(mode, None, at_opening.unwrap_or_else(|| self.list_locks()))?;
        let lock = self.own_lock(mode);
        let (name, bytes) = self.seal_file(FileKind::Lock, &lock.to_bytes());
        let mut posts = Vec::new();
        for (number, answer) in self.copies.ask_each(|destination| destination.write(name, bytes.clone())) {
            match answer {
                Ok(()) => {
                    let destination = self.copies.all()[number].destination().clone();
                    let clock = self.surroundings.clock.clone();
                    posts.push(Arc::new(Post::new(number, destination, mode, name, clock)));
                }
                Err(fault) if mode == LockMode::Reading && fault.kind != FaultKind::Unreachable => {}
                Err(fault) => self.copies.lose(number, fault),
            }
        }
        let guard = self.guard(posts, mode);
        self.copies.at_least_one()?;
        let answers = self.copies.ask_each(|destination| async move {
            futures::join!(destination.list(FileKind::Lock), list_if_wanted(destination, kind))
        });
        let mut listings = Vec::new();
        let mut locks = Vec::new();
        for (number, (of_locks, of_kind)) in answers {
            locks.push((number, of_locks));
            listings.push((number, of_kind));
        }
        self.refuse_if_locked(mode, name.id(), locks)?;
        Ok((guard, listings))
    }

    fn own_lock(&self, mode: LockMode) -> Lock {
        let who = &self.surroundings.who;
        let mut lock = Lock::new(Moment::from(&self.clock().local()), mode == LockMode::Exclusive);
        lock.hostname.clone_from(&who.hostname);
        lock.username.clone_from(&who.username);
        (lock.pid, lock.uid, lock.gid) = (i64::from(who.pid), who.uid, who.gid);
        process::sign(&mut lock);
        lock
    }

    fn guard(&self, posts: Vec<Arc<Post>>, mode: LockMode) -> Guard {
        let renewal = Renewal {
            lock: self.own_lock(mode),
            master: self.master.clone(),
            version: self.config.version,
            clock: self.surroundings.clock.clone(),
        };
        Guard::keep(posts, &renewal, self.surroundings.runtime.clone())
    }
}

async fn list_if_wanted(destination: &dyn Destination, kind: Option<FileKind>) -> Result<Vec<Listed>, Fault> {
    match kind {
        Some(kind) => destination.list(kind).await,
        None => Ok(Vec::new()),
    }
}
