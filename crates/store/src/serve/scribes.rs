//! Those who hash and write what uploads bring: a few threads that may block, for all uploads together.
//!
//! Each takes two windows of different uploads where two are waiting: two hashes side by side cost little more than one
//! ([`kernels::sha256`]). There are few of them, so that under load windows wait in a queue, first come first served,
//! and not on hundreds of threads that take the processors' caches from each other.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::budget::Portion;
use crate::error::StoreError;
use crate::names::RepositoryPlace;
use crate::vault::{Incoming, Vault, write_two};

/// How many write at once, even on a machine with one processor: some of them may be waiting for the disk.
const SCRIBES_MIN: usize = 4;
/// For each processor.
const SCRIBES_PER_PROCESSOR: usize = 2;

/// A temporary file that is removed on a thread that may block, wherever it is dropped.
#[derive(Debug)]
pub(super) struct Removed(Option<Incoming>);

impl Removed {
    /// The file, which is the caller's to remove now.
    pub(super) fn take(mut self) -> Option<Incoming> {
        self.0.take()
    }
}

impl Drop for Removed {
    fn drop(&mut self) {
        let Some(incoming) = self.0.take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn_blocking(move || drop(incoming)));
        }
    }
}

/// Bytes that came one after the other.
#[derive(Debug, Default)]
pub(super) struct Window {
    pub(super) pieces: Vec<Bytes>,
    pub(super) bytes: usize,
    /// The budget that it has; a window without one is written at once.
    pub(super) portion: Option<Portion>,
}

/// A window to write, and the file as it is so far; none before the first window.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) vault: Vault,
    pub(super) place: RepositoryPlace,
    pub(super) file: Option<Removed>,
    pub(super) window: Window,
}

impl Job {
    /// The file to write to: the one so far, or a new one if the repository is there.
    pub(super) fn file(&mut self) -> Result<Incoming, StoreError> {
        match self.file.take().and_then(Removed::take) {
            Some(incoming) => Ok(incoming),
            None if self.vault.has_repository(&self.place)? => self.vault.incoming(),
            None => {
                let absent = std::io::Error::from(std::io::ErrorKind::NotFound);
                Err(StoreError::disk("open", self.place.to_string(), absent))
            }
        }
    }
}

/// What became of a window.
pub(super) type Written = oneshot::Receiver<Result<Removed, StoreError>>;

/// A job on its way, and who waits for it.
#[derive(Debug)]
struct Task {
    job: Job,
    answer: oneshot::Sender<Result<Removed, StoreError>>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Scribes {
    desk: Mutex<Desk>,
    most: usize,
}

#[derive(Debug, Default)]
struct Desk {
    waiting: VecDeque<Task>,
    at_work: usize,
}

impl Scribes {
    pub(super) fn new() -> Arc<Self> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let most = (processors * SCRIBES_PER_PROCESSOR).max(SCRIBES_MIN);
        Arc::new(Self { desk: Mutex::default(), most })
    }

    /// Hands a window over. Needs a runtime around it.
    pub(super) fn write(self: &Arc<Self>, job: Job) -> Written {
        let (answer, written) = oneshot::channel();
        let mut desk = self.desk();
        desk.waiting.push_back(Task { job, answer });
        // One that waits alone is taken by the next scribe who is done: two are less work together.
        let is_awaited = desk.at_work == 0 || desk.waiting.len() > 1;
        if is_awaited && desk.at_work < self.most {
            desk.at_work += 1;
            let scribe = Scribe { scribes: Arc::clone(self), is_at_work: true };
            drop(desk);
            drop(tokio::task::spawn_blocking(move || scribe.work()));
        }
        written
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of them, at work until nothing is waiting.
struct Scribe {
    scribes: Arc<Scribes>,
    is_at_work: bool,
}

impl Scribe {
    fn work(mut self) {
        while let Some((one, other)) = self.next() {
            match other {
                Some(other) => work_on_two(one, other),
                None => work_on(one),
            }
        }
    }

    fn next(&mut self) -> Option<(Task, Option<Task>)> {
        let mut desk = self.scribes.desk();
        match desk.waiting.pop_front() {
            Some(one) => Some((one, desk.waiting.pop_front())),
            None => {
                // In the same breath: what is handed over from now on finds one scribe less.
                desk.at_work -= 1;
                self.is_at_work = false;
                None
            }
        }
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        if self.is_at_work {
            self.scribes.desk().at_work -= 1;
        }
    }
}

fn work_on(mut task: Task) {
    let written = task.job.file().and_then(|mut incoming| {
        incoming.write(&task.job.window.pieces)?;
        Ok(incoming)
    });
    answer(task, written);
}

fn work_on_two(mut one: Task, mut other: Task) {
    let (file_of_one, file_of_other) = match (one.job.file(), other.job.file()) {
        (Ok(file_of_one), Ok(file_of_other)) => (file_of_one, file_of_other),
        // What can be opened is the next one's to write; so one that fails holds nobody up.
        (file_of_one, file_of_other) => {
            for (mut task, file) in [(one, file_of_one), (other, file_of_other)] {
                match file {
                    Ok(file) => {
                        task.job.file = Some(Removed(Some(file)));
                        work_on(task);
                    }
                    Err(error) => answer(task, Err(error)),
                }
            }
            return;
        }
    };
    let (mut file_of_one, mut file_of_other) = (file_of_one, file_of_other);
    let [written, other_written] =
        write_two((&mut file_of_one, &one.job.window.pieces), (&mut file_of_other, &other.job.window.pieces));
    answer(one, written.map(|()| file_of_one));
    answer(other, other_written.map(|()| file_of_other));
}

fn answer(task: Task, written: Result<Incoming, StoreError>) {
    // The memory is given back before anybody counts on it.
    drop(task.job);
    // An upload that is gone lets its file go, which is removed here.
    let _ = task.answer.send(written.map(|incoming| Removed(Some(incoming))));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(number: usize, bytes: usize) -> Bytes {
        (0..bytes).map(|at| (at * 7 + number) as u8).collect::<Vec<u8>>().into()
    }

    fn window(pieces: Vec<Bytes>) -> Window {
        Window { bytes: pieces.iter().map(Bytes::len).sum(), pieces, portion: None }
    }

    #[tokio::test]
    async fn windows_of_many_uploads_are_written_two_by_two_and_none_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        Vault::create(folder.path()).unwrap();
        let vault = Vault::open(folder.path()).unwrap();
        let place =
            |name: &str| RepositoryPlace { account: "alice".parse().unwrap(), repository: name.parse().unwrap() };
        vault.create_repository(&place("main")).unwrap();
        let scribes = Arc::new(Scribes { desk: Mutex::default(), most: 1 });
        let job = |place, file, window| Job { vault: vault.clone(), place, file, window };
        let uploads = 23;
        let mut files: Vec<Option<Removed>> = (0..uploads).map(|_| None).collect();
        let mut sent = vec![Vec::new(); uploads];
        for turn in 0..4 {
            let written: Vec<Written> = files
                .iter_mut()
                .enumerate()
                .map(|(number, file)| {
                    let pieces = vec![piece(number, 100 * number), piece(turn, 7), piece(number + turn, 5000)];
                    sent[number].extend(pieces.concat());
                    scribes.write(job(place("main"), file.take(), window(pieces)))
                })
                .collect();
            // Whoever asks for what is not there holds up nobody.
            let absent = scribes.write(job(place("other"), None, window(vec![piece(1, 10)])));
            assert!(absent.await.unwrap().unwrap_err().is_absent());
            for (file, written) in files.iter_mut().zip(written) {
                *file = Some(written.await.unwrap().unwrap());
            }
        }
        for (file, sent) in files.into_iter().zip(&sent) {
            let incoming = file.and_then(Removed::take).unwrap();
            assert_eq!((incoming.id(), incoming.bytes()), (format::hash(sent), sent.len() as u64));
        }
        assert!(scribes.desk().waiting.is_empty());
    }
}
