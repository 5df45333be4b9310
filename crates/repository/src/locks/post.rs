//! Our lock on one copy: renewed before others take it for stale, looked for before anything counts on it, and given up
//! for good once it is known to have been away.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use clock::Clock;
use destinations::Destination;
use format::{FileKind, FileName, Lock, Moment};
use jiff::Timestamp;
use model::{Fault, FaultKind};

use super::LockMode;
use crate::threads;

/// How often our own lock is renewed (restic's figure).
const REFRESH_EVERY: Duration = Duration::from_secs(5 * 60);

/// An exclusive lock that we could not renew for so long protects nothing any more: soon others take it for stale
/// (restic's figure).
const EXPIRES_AFTER: Duration = Duration::from_secs(30 * 60 - 5 * 60 * 3 / 2);

/// Our lock on one copy.
pub(super) struct Post {
    pub(super) number: usize,
    destination: Arc<dyn Destination>,
    mode: LockMode,
    clock: Arc<dyn Clock>,
    files: Mutex<LockFiles>,
    /// When the lock was renewed last, by the wall clock and by the monotonic one.
    renewed: Mutex<(Timestamp, Duration)>,
    /// Set once our lock is known to have been away.
    lapsed: OnceLock<Fault>,
}

struct LockFiles {
    /// The one that was there last.
    current: FileName,
    /// All that may be there, to be removed in the end.
    written: Vec<FileName>,
}

impl Post {
    pub(super) fn new(
        number: usize,
        destination: Arc<dyn Destination>,
        mode: LockMode,
        name: FileName,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let files = Mutex::new(LockFiles { current: name, written: vec![name] });
        let renewed = Mutex::new((clock.now(), clock.monotonic()));
        Self { number, destination, mode, clock, files, renewed, lapsed: OnceLock::new() }
    }

    fn current(&self) -> FileName {
        threads::lock(&self.files).current
    }

    /// How long ago the lock was renewed, by the clock that saw more time pass: the monotonic one may stand still while
    /// the machine sleeps, and the wall clock may be set back.
    fn age(&self) -> Duration {
        let (wall, monotonic) = *threads::lock(&self.renewed);
        let by_wall = Duration::try_from(self.clock.now().duration_since(wall)).unwrap_or_default();
        by_wall.max(self.clock.monotonic().saturating_sub(monotonic))
    }

    /// Gives up an exclusive lock that others may have taken for stale. True when that is so, now or before.
    fn expire(&self) -> bool {
        if self.lapsed.get().is_none() && self.mode == LockMode::Exclusive && self.age() > EXPIRES_AFTER {
            let minutes = self.age().as_secs() / 60;
            let cause = format!(
                "our lock could not be renewed for {minutes} minutes, and others may have passed over it; nothing more \
                 is written or removed here, and a new run begins afresh"
            );
            self.set_lapsed(self.current(), cause);
        }
        self.lapsed.get().is_some()
    }

    pub(super) async fn confirm(&self) -> Result<(), Fault> {
        loop {
            self.expire();
            if let Some(fault) = self.lapsed.get() {
                return Err(fault.clone());
            }
            let name = self.current();
            match self.destination.stat(name).await {
                // The sleep may have come while we asked.
                Ok(_) if self.expire() => {}
                Ok(_) => return Ok(()),
                // It was renewed in this very moment.
                Err(fault) if fault.kind == FaultKind::NotFound && self.current() != name => {}
                Err(fault) if fault.kind == FaultKind::NotFound => self.lapse(name),
                Err(fault) => return Err(fault),
            }
        }
    }

    fn lapse(&self, name: FileName) {
        let cause = "our lock was removed while we worked, and data may have been removed since; \
                     nothing more is written here, and a new run begins afresh";
        self.set_lapsed(name, cause.to_owned());
    }

    fn set_lapsed(&self, name: FileName, cause: String) {
        let fault = Fault::new(FaultKind::Interrupted, "keep", name.path(), self.destination.place(), cause);
        let _ = self.lapsed.set(fault);
    }

    /// Puts a new lock beside the old one, so that there is one at every moment; then the old one goes.
    async fn renew(&self, name: FileName, bytes: Bytes) {
        // A fresh lock must not hide that the old one had been stale.
        if self.expire() {
            return;
        }
        let now = (self.clock.now(), self.clock.monotonic());
        let old = self.current();
        threads::lock(&self.files).written.push(name);
        // A copy that does not take the new lock keeps the old one; the next round tries again.
        if self.destination.write(name, bytes).await.is_err() {
            return;
        }
        match self.destination.stat(old).await {
            Ok(_) => {
                threads::lock(&self.files).current = name;
                *threads::lock(&self.renewed) = now;
            }
            // The new lock must not hide that the old one was gone before it came.
            Err(fault) if fault.kind == FaultKind::NotFound => return self.lapse(old),
            Err(_) => return,
        }
        if self.destination.remove(old).await.is_ok() {
            threads::lock(&self.files).written.retain(|written| *written != old);
        }
    }

    /// The removal of everything that may be there.
    pub(super) fn removals(&self) -> impl Iterator<Item = impl Future<Output = Result<(), Fault>>> {
        let written = std::mem::take(&mut threads::lock(&self.files).written);
        written.into_iter().map(|name| self.destination.remove(name))
    }
}

/// What our lock says each time when it is renewed. Each copy is renewed by itself, so that one that does not answer
/// keeps no other's lock from being renewed.
#[derive(Clone)]
pub(super) struct Renewal {
    pub(super) lock: Lock,
    pub(super) master: format::MasterKey,
    pub(super) version: u32,
    pub(super) clock: Arc<dyn Clock>,
}

impl Renewal {
    pub(super) async fn run(self, post: Arc<Post>) {
        while post.lapsed.get().is_none() {
            tokio::time::sleep(REFRESH_EVERY).await;
            let lock = Lock { time: Moment::from(&self.clock.local()), ..self.lock.clone() };
            let sealed = format::seal_file(&self.master, self.version, format::Compression::Auto, &lock.to_bytes());
            let name = FileName::new(FileKind::Lock, format::hash(&sealed));
            post.renew(name, Bytes::from(sealed)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clock::FakeClock;
    use testkit::MemoryFolder;

    fn post(folder: &Arc<MemoryFolder>) -> Post {
        of_mode(folder, LockMode::Adding, Arc::new(clock::SystemClock::new()))
    }

    fn of_mode(folder: &Arc<MemoryFolder>, mode: LockMode, clock: Arc<dyn Clock>) -> Post {
        folder.put(name(0), Bytes::from_static(b"lock"));
        Post::new(0, folder.clone(), mode, name(0), clock)
    }

    fn name(number: u8) -> FileName {
        FileName::new(FileKind::Lock, format::hash(&[number]))
    }

    #[tokio::test]
    async fn a_renewed_lock_replaces_the_old_one() {
        let folder = Arc::new(MemoryFolder::new("copy"));
        let post = post(&folder);
        for number in 1..5 {
            post.renew(name(number), Bytes::from_static(b"lock")).await;
            assert_eq!(folder.names(FileKind::Lock), [name(number)]);
            post.confirm().await.unwrap();
        }
        assert_eq!(threads::lock(&post.files).written, [name(4)]);
    }

    #[tokio::test]
    async fn a_lock_that_was_away_for_a_while_does_not_count_again() {
        let folder = Arc::new(MemoryFolder::new("copy"));
        let post = post(&folder);
        folder.take(name(0)).unwrap();
        post.renew(name(1), Bytes::from_static(b"lock")).await;
        let fault = post.confirm().await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Interrupted, "{fault}");
        // What was written is known, and goes in the end.
        assert!(threads::lock(&post.files).written.contains(&name(1)));
    }

    #[tokio::test]
    async fn an_exclusive_lock_that_was_not_renewed_in_time_does_not_count_again() {
        let jumps: [fn(&FakeClock); 2] = [
            |clock| clock.advance(Duration::from_secs(9 * 3600)),
            // The monotonic clock stands still while a machine sleeps.
            |clock| clock.jump_to(Timestamp::UNIX_EPOCH + Duration::from_secs(9 * 3600)),
        ];
        for jump in jumps {
            let folder = Arc::new(MemoryFolder::new("copy"));
            let clock = Arc::new(FakeClock::new(Timestamp::UNIX_EPOCH, jiff::tz::TimeZone::UTC));
            let [exclusive, shared] =
                [LockMode::Exclusive, LockMode::Adding].map(|mode| of_mode(&folder, mode, clock.clone()));
            for _ in 0..3 {
                clock.advance(EXPIRES_AFTER);
                exclusive.confirm().await.unwrap();
                exclusive.renew(name(0), Bytes::from_static(b"lock")).await;
                folder.put(name(0), Bytes::from_static(b"lock"));
            }
            jump(&clock);
            shared.confirm().await.unwrap();
            // Neither is it found out by looking, nor can it be healed by renewing.
            exclusive.renew(name(1), Bytes::from_static(b"lock")).await;
            assert_eq!(folder.names(FileKind::Lock), [name(0)]);
            let fault = exclusive.confirm().await.unwrap_err();
            assert!(fault.to_string().contains("could not be renewed"), "{fault}");
        }
    }
}
