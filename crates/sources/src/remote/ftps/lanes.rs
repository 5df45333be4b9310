//! Several logins at one server, each used for one listing or one file at a time.
//!
//! A session that was idle may have been ended by the server in the meantime: it is asked first whether it still lives. A
//! login that was refused is not repeated: servers lock out whoever tries too often, and nothing would have changed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::FaultKind;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::door::Door;
use super::session::Session;
use super::trouble::{Result, Trouble};

/// A session that rested for less is not asked whether it lives: no server ends one so early.
const TRUSTED_REST: Duration = Duration::from_secs(10);

/// The logins at one server.
#[derive(Debug, Clone)]
pub(super) struct Lanes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    door: Door,
    seats: Arc<Semaphore>,
    resting: Mutex<Vec<(Session, Instant)>>,
    refused: Mutex<Option<Trouble>>,
}

impl Lanes {
    pub(super) fn new(door: Door, connections: usize) -> Self {
        let seats = Arc::new(Semaphore::new(connections.max(1)));
        Self(Arc::new(Inner { door, seats, resting: Mutex::default(), refused: Mutex::default() }))
    }

    /// A session for one piece of work.
    pub(super) async fn enter(&self) -> Result<Lane> {
        let inner = &self.0;
        let seat = Arc::clone(&inner.seats).acquire_owned().await.map_err(Trouble::broken)?;
        loop {
            let Some((mut session, since)) = lock(&inner.resting).pop() else { break };
            if since.elapsed() < TRUSTED_REST || session.is_alive().await {
                return Ok(Lane { inner: Arc::clone(inner), session, _seat: seat });
            }
        }
        if let Some(trouble) = lock(&inner.refused).as_ref() {
            return Err(trouble.clone());
        }
        let opened = inner.door.open().await;
        if let Err(trouble) = &opened
            && matches!(trouble.kind, FaultKind::Denied | FaultKind::Misconfigured | FaultKind::Refused)
        {
            *lock(&inner.refused) = Some(trouble.clone());
        }
        Ok(Lane { inner: Arc::clone(inner), session: opened?, _seat: seat })
    }
}

/// The right to use a session. When it is dropped without [`Lane::leave_with`], because its work was given up in the
/// middle, its session goes too: nobody knows which answer would come next.
#[derive(Debug)]
pub(super) struct Lane {
    inner: Arc<Inner>,
    session: Session,
    _seat: OwnedSemaphorePermit,
}

impl Lane {
    pub(super) fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// The work is done, well or badly; who comes next may have the session, if it is sound.
    pub(super) fn leave_with<T>(self, outcome: Result<T>) -> Result<T> {
        if !outcome.as_ref().is_err_and(|trouble| trouble.ends_session) {
            lock(&self.inner.resting).push((self.session, Instant::now()));
        }
        outcome
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
