//! Everything that the server knows beyond the files themselves: one SQLite file beside them.
//!
//! What decides who gets in is held in memory as a [`Book`] and looked up there. Before each request [`State::book`]
//! asks SQLite whether another connection has changed something (`PRAGMA data_version`, a look at shared memory), so a
//! credential that a command of another process took away is gone at the next request. When that cannot be asked, or
//! what is read makes no sense, there is no book, and so nobody gets in.
//!
//! | room | what it is for |
//! |---|---|
//! | [`file`](STATE_FILE) | made once, opened with suspicion |
//! | `schema` | the tables |
//! | `believed` | how much of the clock is believed |
//! | [`Book`] | accounts, credentials and tokens in memory |
//! | [`StateError`] | why it cannot be used |

mod believed;
pub(crate) mod book;
mod error;
mod file;
pub(crate) mod schema;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use clock::Clock;
use jiff::Timestamp;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use believed::Believed;
pub use book::Book;
pub use error::StateError;
pub use file::STATE_FILE;
pub(crate) use file::{Durability, connect, path_in};

use crate::error::StoreError;

/// An open state.
pub struct State {
    folder: PathBuf,
    path: PathBuf,
    identity: file::Identity,
    clock: Arc<dyn Clock>,
    /// Looks for changes, and for nothing else, so that no request waits here for a disk.
    watch: Mutex<Watch>,
    /// Makes changes of accounts, one at a time.
    changes: Mutex<Connection>,
    /// Looks up single files and lists.
    lookups: Mutex<Connection>,
    book: RwLock<Arc<Book>>,
    /// What is believed of the clock, while a server runs.
    believed: Mutex<Option<Believed>>,
    /// Set when something was found that no later request can mend.
    broken: Mutex<Option<StateError>>,
}

/// The connection that sees what others changed.
struct Watch {
    connection: Connection,
    data_version: i64,
    generation: i64,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("path", &self.path).finish_non_exhaustive()
    }
}

impl From<StateError> for StoreError {
    fn from(error: StateError) -> Self {
        if let StateError::Full(path) = error {
            return StoreError::disk("write", path, std::io::Error::from(std::io::ErrorKind::StorageFull));
        }
        let (StateError::Missing(path)
        | StateError::Exists(path)
        | StateError::Foreign(path)
        | StateError::Replaced(path)
        | StateError::Full(path)
        | StateError::Unreadable { path, .. }
        | StateError::Unwritable { path, .. }
        | StateError::Damaged { path, .. }
        | StateError::Newer { path, .. }) = &error;
        StoreError::state(path, &error).with_hint(error.hint())
    }
}

/// A lock that is held only for short, whole steps: what a thread that panicked left behind is in order.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Makes a new state in a store's folder, with nobody in it.
    ///
    /// # Errors
    /// When there is one, or it cannot be written.
    pub fn create(folder: &Path) -> Result<(), StateError> {
        file::create(folder)
    }

    /// Opens the state of a store's folder and checks what it decides by.
    ///
    /// # Errors
    /// When it is missing, unreadable, unwritable, damaged, foreign or newer. It is never made here.
    pub fn open(folder: &Path, clock: Arc<dyn Clock>) -> Result<Self, StateError> {
        let path = path_in(folder);
        let identity = file::examine(&path)?;
        let connection = connect(&path, Durability::Synced)?;
        let mut watch = Watch { connection, data_version: 0, generation: 0 };
        // The version first: what changes in between is read once more, not missed.
        watch.data_version = data_version(&watch.connection).map_err(|error| StateError::from_sqlite(&path, &error))?;
        let book = book::read(&path, &watch.connection)?;
        watch.generation = book.generation();
        Ok(Self {
            changes: Mutex::new(connect(&path, Durability::Synced)?),
            lookups: Mutex::new(connect(&path, Durability::Ordered)?),
            folder: folder.to_owned(),
            identity,
            clock,
            watch: Mutex::new(watch),
            book: RwLock::new(Arc::new(book)),
            believed: Mutex::new(None),
            broken: Mutex::new(None),
            path,
        })
    }

    /// Lets SQLite look through every page: for a server that starts. Reads the whole file.
    ///
    /// # Errors
    /// When something is out of order.
    pub fn check_pages(&self) -> Result<(), StateError> {
        file::check_pages(&self.path, &locked(&self.lookups))
    }

    /// The store's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The state's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The moment, by the clock that decides here.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The moment, as far as the clock is believed where age decides; see `believed`.
    pub(crate) fn believed_now(&self) -> Timestamp {
        let now = self.now();
        locked(&self.believed).map_or(now, |believed| believed.now(now, self.clock.monotonic()))
    }

    /// Notes what is believed now, with something else that is written.
    pub(crate) fn note_believed(&self, connection: &Connection) -> rusqlite::Result<()> {
        believed::note(connection, self.believed_now(), false)
    }

    /// Believes the clock as it is: an operator has looked at it.
    ///
    /// # Errors
    /// When that cannot be written.
    pub(crate) fn believe_clock(&self) -> Result<(), StateError> {
        self.write(|transaction| Ok::<_, Changing<StateError>>(believed::note(transaction, self.now(), true)?))
    }

    /// The clock.
    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Who there is at this moment, with all that any process has changed so far.
    ///
    /// # Errors
    /// When that cannot be known. Then nobody may be let in.
    pub fn book(&self) -> Result<Arc<Book>, StateError> {
        if let Some(error) = locked(&self.broken).clone() {
            return Err(error);
        }
        if !file::is_still(&self.path, self.identity) {
            return Err(StateError::Replaced(self.path.clone()));
        }
        let mut watch = locked(&self.watch);
        let failed = |error: rusqlite::Error| StateError::from_sqlite(&self.path, &error);
        let data_version = data_version(&watch.connection).map_err(failed)?;
        if data_version != watch.data_version {
            let generation = book::generation(&watch.connection).map_err(failed)?;
            if generation != watch.generation {
                let book = book::read(&self.path, &watch.connection)?;
                watch.generation = book.generation();
                *self.book.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(book);
            }
            watch.data_version = data_version;
        }
        Ok(self.book.read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Closes the server for good, if the trouble is one that stays.
    pub(crate) fn note_trouble(&self, error: &StateError) {
        if matches!(error, StateError::Damaged { .. } | StateError::Unreadable { .. }) {
            locked(&self.broken).get_or_insert_with(|| error.clone());
        }
    }

    /// Makes a change of accounts, credentials or tokens: whole and on the disk, or not at all.
    pub(crate) fn change<T, E: From<StateError>>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, Changing<E>>,
    ) -> Result<T, E> {
        self.write(|transaction| {
            let value = change(transaction)?;
            book::count_generation(transaction)?;
            Ok(value)
        })
    }

    /// Changes something that is not in the book.
    pub(crate) fn write<T, E: From<StateError>>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, Changing<E>>,
    ) -> Result<T, E> {
        let mut connection = locked(&self.changes);
        let failed = |error: rusqlite::Error| E::from(StateError::from_sqlite(&self.path, &error));
        // Begun as a writer, so that what the change reads is what it changes.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let value = change(&transaction).map_err(|error| match error {
            Changing::Refused(error) => error,
            Changing::Failed(error) => failed(error),
        })?;
        transaction.commit().map_err(failed)?;
        Ok(value)
    }

    /// Notes that a server works on the store, durably. True when the one before did not say that it ended.
    pub(crate) fn begin_serving(&self) -> Result<bool, StateError> {
        self.change(|transaction| {
            let begun = Believed::begin(believed::lived(transaction)?, self.now(), self.clock.monotonic());
            *locked(&self.believed) = Some(begun);
            self.note_believed(transaction)?;
            let query = "SELECT value FROM facts WHERE name = 'serving'";
            let serving: i64 = transaction.query_row(query, [], |row| row.get(0))?;
            transaction.execute("UPDATE facts SET value = 1 WHERE name = 'serving'", [])?;
            Ok::<_, Changing<StateError>>(serving != 0)
        })
    }

    /// Notes that no server works on the store any more, and that every file has its row.
    pub(crate) fn end_serving(&self) -> Result<(), StateError> {
        self.change(|transaction| {
            self.note_believed(transaction)?;
            transaction.execute("UPDATE facts SET value = 0 WHERE name = 'serving'", [])?;
            Ok::<_, Changing<StateError>>(())
        })
    }

    /// Asks something of the state that is not in memory. Waits for a disk.
    pub(crate) fn look_up<T>(&self, ask: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StateError> {
        ask(&locked(&self.lookups)).map_err(|error| StateError::from_sqlite(&self.path, &error))
    }
}

/// Why a change is not made: it makes no sense, or it cannot be written.
pub(crate) enum Changing<E> {
    Refused(E),
    Failed(rusqlite::Error),
}

impl<E> From<rusqlite::Error> for Changing<E> {
    fn from(error: rusqlite::Error) -> Self {
        Changing::Failed(error)
    }
}

fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}
