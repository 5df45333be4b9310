//! The journal: one row for every stored file, with the moment at which this server received it.
//!
//! A file is durable before its row is written, and its row is written before the client is answered. Rows are
//! committed in groups by one thread and need not be on the disk at once: after an end that was not announced the
//! server compares rows and files ([`reconcile`]), and a file without a row counts as received at that moment. So the
//! worst that a loss of power does is to keep a file longer.
//!
//! The first time at which a file was received stays; storing the same bytes again makes it neither older nor younger.

pub(crate) mod reconcile;
mod rows;

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use format::FileName;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use crate::gate::Reservation;
use crate::names::RepositoryPlace;
use crate::quota::{Effect, Holdings};
use crate::state::{Durability, State, StateError, connect, locked};

pub use reconcile::Reconciled;
pub(crate) use rows::{Arrival, holdings, received_at};

/// Events of one commit.
const GROUP_MAX: usize = 512;

/// What happened to a repository.
pub(crate) enum Event {
    /// Its folders are there.
    Created,
    /// A file of so many bytes is there. The room it had reserved is given back when the row counts.
    Stored { name: FileName, bytes: u64, room: Box<dyn Reservation> },
    /// A file is there that was found without a row.
    Found(FileName, u64),
    /// A file is gone.
    Removed(FileName),
}

/// What an event changed in which account; nothing when the account is gone.
type Outcome = Option<(i64, Option<Effect>)>;

struct Job {
    place: RepositoryPlace,
    event: Event,
    answer: oneshot::Sender<Result<(), StateError>>,
}

/// The thread that writes the rows, and the way to it.
pub(crate) struct Journal {
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Journal {
    /// Starts the thread.
    pub(crate) fn start(state: Arc<State>, holdings: Arc<Holdings>) -> Result<Self, StateError> {
        let connection = connect(state.path(), Durability::Ordered)?;
        let (jobs, received) = channel();
        let path = state.path().to_owned();
        let mut writer = Writer { state, holdings, connection, repositories: HashMap::new() };
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run(&received))
            .map_err(|error| StateError::Unwritable { path, why: error.to_string() })?;
        Ok(Self { jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)) })
    }

    /// Hands an event over at once; what is given back tells when its row is written.
    pub(crate) fn write(
        &self,
        place: &RepositoryPlace,
        event: Event,
    ) -> Option<oneshot::Receiver<Result<(), StateError>>> {
        let (answer, written) = oneshot::channel();
        let job = Job { place: place.clone(), event, answer };
        locked(&self.jobs).as_ref()?.send(job).ok()?;
        Some(written)
    }

    /// Writes what was handed over, and takes no more.
    pub(crate) fn stop(&self) {
        drop(locked(&self.jobs).take());
        if let Some(thread) = locked(&self.thread).take() {
            // A writer that panicked has answered nobody whose row it lost.
            let _ = thread.join();
        }
    }
}

struct Writer {
    state: Arc<State>,
    holdings: Arc<Holdings>,
    connection: Connection,
    /// Numbers of repositories, so that only the first event of each looks them up.
    repositories: HashMap<(i64, RepositoryPlace), i64>,
}

impl Writer {
    fn run(&mut self, received: &Receiver<Job>) {
        while let Ok(first) = received.recv() {
            let mut jobs = vec![first];
            jobs.extend(received.try_iter().take(GROUP_MAX - 1));
            self.write(jobs);
        }
    }

    /// One group: all of it, or none of it.
    fn write(&mut self, jobs: Vec<Job>) {
        let written = self.commit(&jobs);
        if let Err(error) = &written {
            self.state.note_trouble(error);
            // What is remembered may come from the group that was taken back.
            self.repositories.clear();
        }
        let outcomes = match written {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error); jobs.len()],
        };
        for (job, outcome) in jobs.into_iter().zip(outcomes) {
            let answer = outcome.and_then(|outcome| match outcome {
                Some((account, Some(effect))) => {
                    self.holdings.apply(account, &job.place, &effect);
                    Ok(())
                }
                Some((_, None)) => Ok(()),
                None => Err(StateError::Unwritable {
                    path: self.state.path().to_owned(),
                    why: format!("there is no account `{}` any more", job.place.account),
                }),
            });
            // The room goes back after the file counts.
            if let Event::Stored { room, .. } = job.event {
                drop(room);
            }
            // Whoever asked may be gone; the row is there all the same.
            let _ = job.answer.send(answer);
        }
    }

    /// What each job changed.
    fn commit(&mut self, jobs: &[Job]) -> Result<Vec<Outcome>, StateError> {
        let book = self.state.book()?;
        let now = self.state.now().as_millisecond();
        let failed = |error: rusqlite::Error| StateError::from_sqlite(self.state.path(), &error);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let mut outcomes = Vec::with_capacity(jobs.len());
        for job in jobs {
            let Some(account) = book.account(&job.place.account).map(|account| account.id) else {
                outcomes.push(None);
                continue;
            };
            let key = (account, job.place.clone());
            let repository = match self.repositories.get(&key) {
                Some(number) => *number,
                None => rows::repository(&transaction, account, &job.place.repository, now).map_err(failed)?,
            };
            self.repositories.insert(key, repository);
            let effect = match &job.event {
                Event::Created => Some(Effect::Repository),
                Event::Stored { name, bytes, .. } => {
                    Some(rows::store(&transaction, repository, *name, *bytes, now).map_err(failed)?)
                }
                Event::Found(name, bytes) => {
                    rows::find(&transaction, repository, *name, *bytes, now).map_err(failed)?
                }
                Event::Removed(name) => rows::remove(&transaction, repository, *name).map_err(failed)?,
            };
            outcomes.push(Some((account, effect)));
        }
        self.state.note_believed(&transaction).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(outcomes)
    }
}
