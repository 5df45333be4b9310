//! Several logins at one server, each used by one request at a time.
//!
//! A session that was idle may have been ended by the server in the meantime, which shows only when it is used: it is
//! asked first whether it still lives. A login that was refused is not repeated: servers lock out whoever tries too
//! often, and nothing would have changed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::FaultKind;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::session::{Door, Session};
use super::trouble::{Result, Trouble};

/// More logins than this are not made, however many requests are allowed: many servers count them.
const LANES_MOST: usize = 4;
/// A session that rested for less is not asked whether it lives: no server ends one so early.
const TRUSTED_REST: Duration = Duration::from_secs(10);

/// The logins at one server.
#[derive(Debug)]
pub(super) struct Lanes {
    door: Door,
    seats: Semaphore,
    resting: Mutex<Vec<(Session, Instant)>>,
    refused: Mutex<Option<Trouble>>,
}

impl Lanes {
    pub(super) fn new(door: Door, connections: usize) -> Self {
        let seats = Semaphore::new(connections.clamp(1, LANES_MOST));
        Self { door, seats, resting: Mutex::default(), refused: Mutex::default() }
    }

    /// A session for one request.
    pub(super) async fn enter(&self) -> Result<Lane<'_>> {
        let seat = self.seats.acquire().await.map_err(Trouble::broken)?;
        while let Some((mut session, since)) = self.taken() {
            if since.elapsed() < TRUSTED_REST || session.stream.noop().await.is_ok() {
                return Ok(Lane { lanes: self, session, _seat: seat });
            }
        }
        if let Some(trouble) = lock(&self.refused).as_ref() {
            return Err(trouble.clone());
        }
        let opened = self.door.open().await;
        if let Err(trouble) = &opened
            && matches!(trouble.kind, FaultKind::Denied | FaultKind::Misconfigured | FaultKind::Refused)
        {
            *lock(&self.refused) = Some(trouble.clone());
        }
        Ok(Lane { lanes: self, session: opened?, _seat: seat })
    }

    /// The session that rested least.
    fn taken(&self) -> Option<(Session, Instant)> {
        lock(&self.resting).pop()
    }
}

/// The right to use a session. When it is dropped without [`Lane::leave_with`], because a request was given up in the
/// middle, its session goes too: nobody knows which answer would come next.
#[derive(Debug)]
pub(super) struct Lane<'a> {
    lanes: &'a Lanes,
    session: Session,
    _seat: SemaphorePermit<'a>,
}

impl Lane<'_> {
    pub(super) fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// The work is done, well or badly; who comes next may have the session, if it is sound.
    pub(super) fn leave_with<T>(self, outcome: Result<T>) -> Result<T> {
        let is_over = outcome.as_ref().is_err_and(|trouble| trouble.ends_session);
        if !is_over && !self.session.is_spent {
            lock(&self.lanes.resting).push((self.session, Instant::now()));
        }
        outcome
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
