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

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use clock::Clock;
use destinations::{Destination, Listed};
use format::{FileKind, FileName, Lock, Moment};
use jiff::Timestamp;
use model::{Fault, FaultKind, Id, Retry};

use crate::copies::Answers;
use crate::copies::status::Holdings;
use crate::error::{Damage, Error, Result};
use crate::observer::Event;
use crate::repository::Repository;
use crate::threads;

/// A lock older than this belongs to nobody (restic's figure).
const STALE_AFTER: Duration = Duration::from_secs(30 * 60);

/// How often our own lock is renewed (restic's figure).
const REFRESH_EVERY: Duration = Duration::from_secs(5 * 60);

/// An exclusive lock that we could not renew for so long protects nothing any more: soon others take it for stale
/// (restic's figure).
const EXPIRES_AFTER: Duration = Duration::from_secs(30 * 60 - 5 * 60 * 3 / 2);

/// How often a held lock is looked at while waiting for it.
const RETRY_EVERY: Duration = Duration::from_secs(5);

/// How long we try to remove a lock at the end. A copy that has died must not keep a finished program from ending; the
/// lock that stays there turns stale.
const REMOVAL_LIMIT: Duration = Duration::from_secs(20);

/// Our field in a lock file: where its process id means something. restic passes over it.
const PROCESS_WORLD: &str = "process_world";

/// Our field in a lock file: when its process began, as the kernel counts. Another process with the same id is another.
const PROCESS_BEGAN: &str = "process_began";

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

/// Locks held on every live copy; removed when dropped.
pub struct Guard {
    posts: Vec<Arc<Post>>,
    refreshers: Vec<tokio::task::JoinHandle<()>>,
    runtime: tokio::runtime::Handle,
}

/// Our lock on one copy.
struct Post {
    number: usize,
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

/// What stands between a writer and the copies while our locks are held.
#[derive(Clone, Default)]
pub struct Fence(Vec<Arc<Post>>);

impl Fence {
    /// Whether our lock on copy `number` has been there all the time. Without locks there is nothing to confirm.
    pub(crate) async fn confirm(&self, number: usize) -> Result<(), Fault> {
        match self.0.iter().find(|post| post.number == number) {
            Some(post) => post.confirm().await,
            None => Ok(()),
        }
    }
}

impl Post {
    fn new(
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

    async fn confirm(&self) -> Result<(), Fault> {
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
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("locks", &self.posts.len()).finish()
    }
}

impl Guard {
    /// What writers have to pass before they write an index or a snapshot.
    pub fn fence(&self) -> Fence {
        Fence(self.posts.clone())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.refreshers.iter().for_each(tokio::task::JoinHandle::abort);
        let removals = self.posts.iter().flat_map(|post| {
            let written = std::mem::take(&mut threads::lock(&post.files).written);
            written.into_iter().map(|name| post.destination.remove(name))
        });
        let limited = async { tokio::time::timeout(REMOVAL_LIMIT, futures::future::join_all(removals)).await };
        // A lock that cannot be removed turns stale by itself; there is nobody left to tell.
        let _ = self.runtime.block_on(limited);
    }
}

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
        if self.copies.live().next().is_none() {
            return Err(self.copies.none_left());
        }
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
        lock.other.insert(PROCESS_WORLD.to_owned(), process_world().into());
        if let Some(began) = process_began(lock.pid) {
            lock.other.insert(PROCESS_BEGAN.to_owned(), began.into());
        }
        lock
    }

    fn guard(&self, posts: Vec<Arc<Post>>, mode: LockMode) -> Guard {
        let runtime = self.surroundings.runtime.clone();
        let lock = (!posts.is_empty()).then(|| self.own_lock(mode));
        let refresher = |(post, lock): (&Arc<Post>, &Lock)| {
            let refresh = Refresh {
                lock: lock.clone(),
                master: self.master.clone(),
                version: self.config.version,
                clock: self.surroundings.clock.clone(),
            };
            runtime.spawn(refresh.run(post.clone()))
        };
        let refreshers = posts.iter().zip(lock.iter().cycle()).map(refresher).collect();
        Guard { posts, refreshers, runtime }
    }

    /// Reads the locks of every live copy and refuses when one of them excludes `mode`.
    fn refuse_if_locked(&self, mode: LockMode, own: Option<Id>, listings: Answers<Vec<Listed>>) -> Result<()> {
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
        if self.copies.live().next().is_none() { Err(self.copies.none_left()) } else { Ok(()) }
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
        if self.copies.live().next().is_none() { Err(self.copies.none_left()) } else { Ok(()) }
    }

    /// Every lock of every live copy, once each. A lock that cannot be read is an error: nobody knows what it means; one
    /// that vanishes while it is read is gone.
    pub fn locks(&self) -> Result<Vec<FoundLock>> {
        let Locks { found, unread } = self.read_locks(None, self.list_locks())?;
        unread.into_iter().next().map_or(Ok(found), |(_, fault)| Err(fault.into()))
    }

    fn list_locks(&self) -> Answers<Vec<Listed>> {
        self.copies.ask_each(|destination| destination.list(FileKind::Lock))
    }

    /// All of `listings` but our `own`, which nobody has to read again.
    fn read_locks(&self, own: Option<Id>, listings: Answers<Vec<Listed>>) -> Result<Locks> {
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
        if self.copies.live().next().is_none() { Err(self.copies.none_left()) } else { Ok(locks) }
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
        let world = process_world();
        let is_of_this_world = lock.other.get(PROCESS_WORLD).and_then(|value| value.as_str()) == Some(world.as_str());
        if !world.is_empty() && is_of_this_world && !is_the_process(lock) {
            return LockState::Dead;
        }
        let age = self.clock().now().duration_since(lock.time.timestamp());
        let stale_after = jiff::SignedDuration::try_from(STALE_AFTER).unwrap_or(jiff::SignedDuration::MAX);
        if age > stale_after { LockState::Stale } else { LockState::Held }
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

async fn list_if_wanted(destination: &dyn Destination, kind: Option<FileKind>) -> Result<Vec<Listed>, Fault> {
    match kind {
        Some(kind) => destination.list(kind).await,
        None => Ok(Vec::new()),
    }
}

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
struct Locks {
    found: Vec<FoundLock>,
    /// The first lock that could not be read of each copy that has one.
    unread: Vec<(usize, Fault)>,
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

/// Renews our lock on one copy. Each copy has its own, so that one that does not answer keeps no other's from being renewed.
struct Refresh {
    lock: Lock,
    master: format::MasterKey,
    version: u32,
    clock: Arc<dyn Clock>,
}

impl Refresh {
    async fn run(self, post: Arc<Post>) {
        while post.lapsed.get().is_none() {
            tokio::time::sleep(REFRESH_EVERY).await;
            let lock = Lock { time: Moment::from(&self.clock.local()), ..self.lock.clone() };
            let sealed = format::seal_file(&self.master, self.version, format::Compression::Auto, &lock.to_bytes());
            let name = FileName::new(FileKind::Lock, format::hash(&sealed));
            post.renew(name, Bytes::from(sealed)).await;
        }
    }
}

/// Who holds a lock, in words.
fn holder(lock: &Lock) -> String {
    let kind = if lock.exclusive { "exclusively" } else { "together with others" };
    let since = lock.time.to_zoned().strftime("%Y-%m-%d %H:%M:%S %:z").to_string();
    format!("process {} of {} on host {} works on it {kind}, last seen {since}", lock.pid, lock.username, lock.hostname)
}

/// Names the boot of this kernel and the process namespace: only inside it does a process id mean anything.
fn process_world() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    match (boot.trim(), namespace.to_str()) {
        ("", _) | (_, None | Some("")) => String::new(),
        (boot, Some(namespace)) => format!("{boot}/{namespace}"),
    }
}

/// Whether the process that wrote this lock, in our world, may still be there. One that began at another time than the
/// lock says only has the same id.
fn is_the_process(lock: &Lock) -> bool {
    let told = lock.other.get(PROCESS_BEGAN).and_then(serde_json::Value::as_u64);
    let is_another = told.zip(process_began(lock.pid)).is_some_and(|(told, began)| told != began);
    process_exists(lock.pid) && !is_another
}

/// When a process began, in the kernel's ticks since its boot; none where that cannot be found out.
fn process_began(pid: i64) -> Option<u64> {
    /// Its place in `/proc/PID/stat`, counted from behind the name (proc(5), field 22).
    const FIELD: usize = 19;
    let status = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything, so it is passed over from behind.
    let behind_name = status.iter().rposition(|byte| *byte == b')')? + 1;
    let fields = std::str::from_utf8(status.get(behind_name..)?).ok()?;
    fields.split_whitespace().nth(FIELD)?.parse().ok()
}

/// Whether a process with this id is there. Where that cannot be found out, it is taken to be there.
fn process_exists(pid: i64) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else { return true };
    !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
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

    #[test]
    fn a_process_id_that_was_given_away_again_is_another_process() {
        let own = i64::from(std::process::id());
        let mut lock = Lock::new(Moment::from(&Timestamp::UNIX_EPOCH.to_zoned(jiff::tz::TimeZone::UTC)), true);
        lock.pid = own;
        assert!(is_the_process(&lock), "nothing is told of its beginning");
        let began = process_began(own).unwrap();
        lock.other.insert(PROCESS_BEGAN.to_owned(), began.into());
        assert!(is_the_process(&lock));
        lock.other.insert(PROCESS_BEGAN.to_owned(), (began + 1).into());
        assert!(!is_the_process(&lock));
    }
}
