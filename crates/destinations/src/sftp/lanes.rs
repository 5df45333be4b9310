//! Several connections to one server, made as they are needed.
//!
//! A server works at the requests of one connection one after the other and encrypts on one processor, so that several
//! do more than one; each costs a login. So the first is waited for, a further one is made in the background while
//! all are busy, and nobody waits for it. A login that was refused is not repeated: servers lock out whoever tries
//! too often, and nothing would have changed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::FaultKind;

use super::session::Session;
use super::through_program;
use super::through_ssh::Door;
use super::trouble::{Result, Trouble};
use crate::{AccountPlace, SshAccess};

/// More connections than this are not made, however many requests are allowed: many servers count them.
const LANES_MOST: usize = 4;

/// The connections to one server.
#[derive(Debug)]
pub(super) struct Lanes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    way: Way,
    most: AtomicUsize,
    lanes: Mutex<Vec<Arc<Lane>>>,
    /// Held by whoever waits for the first connection; holds why there will be none.
    first: tokio::sync::Mutex<Option<Trouble>>,
    is_growing: AtomicBool,
}

#[derive(Debug)]
enum Way {
    Ssh(Box<Door>),
    Program(Vec<String>),
}

#[derive(Debug)]
struct Lane {
    session: Arc<Session>,
    users: AtomicUsize,
    /// A request on it was given up: whoever still works on it may end, nobody else enters.
    is_condemned: AtomicBool,
}

impl Lanes {
    pub(super) fn new(
        place: &AccountPlace,
        access: &SshAccess,
        connections: usize,
    ) -> std::result::Result<Self, String> {
        let way = match through_program::words(place, access)? {
            Some(words) => Way::Program(words),
            None => Way::Ssh(Box::new(Door::new(place, access)?)),
        };
        Ok(Self(Arc::new(Inner {
            way,
            most: AtomicUsize::new(connections.clamp(1, LANES_MOST)),
            lanes: Mutex::default(),
            first: tokio::sync::Mutex::default(),
            is_growing: AtomicBool::new(false),
        })))
    }

    /// The connection that is least in use.
    pub(super) async fn enter(&self) -> Result<Entered> {
        if let Some(entered) = self.0.least_used() {
            return Ok(self.grown(entered));
        }
        let mut refused = self.0.first.lock().await;
        if let Some(trouble) = refused.as_ref() {
            return Err(trouble.clone());
        }
        // Somebody else may have waited for it before us.
        if let Some(entered) = self.0.least_used() {
            return Ok(self.grown(entered));
        }
        match self.0.connect().await {
            Ok(session) => Ok(Entered::on(self.0.add(session))),
            Err(trouble) => {
                if matches!(trouble.kind, FaultKind::Denied | FaultKind::Misconfigured | FaultKind::Refused) {
                    *refused = Some(trouble.clone());
                }
                Err(trouble)
            }
        }
    }

    /// Has one more connection made when this one is shared.
    fn grown(&self, entered: Entered) -> Entered {
        let inner = &self.0;
        let is_shared = 1 < entered.lane.users.load(Ordering::Relaxed);
        let has_room = inner.lock().len() < inner.most.load(Ordering::Relaxed);
        if is_shared && has_room && !inner.is_growing.swap(true, Ordering::Relaxed) {
            let inner = Arc::clone(inner);
            tokio::spawn(async move {
                match inner.connect().await {
                    Ok(session) => {
                        inner.add(session);
                    }
                    // The server has enough of us; with fewer connections it works as well.
                    Err(_) => inner.most.store(inner.lock().len().max(1), Ordering::Relaxed),
                }
                inner.is_growing.store(false, Ordering::Relaxed);
            });
        }
        entered
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Lane>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn least_used(&self) -> Option<Entered> {
        let mut lanes = self.lock();
        lanes.retain(|lane| !lane.is_condemned.load(Ordering::Relaxed) && !lane.session.is_over());
        let lane = lanes.iter().min_by_key(|lane| lane.users.load(Ordering::Relaxed))?;
        Some(Entered::on(Arc::clone(lane)))
    }

    fn add(&self, session: Session) -> Arc<Lane> {
        let lane =
            Lane { session: Arc::new(session), users: AtomicUsize::new(0), is_condemned: AtomicBool::new(false) };
        let lane = Arc::new(lane);
        self.lock().push(Arc::clone(&lane));
        lane
    }

    async fn connect(&self) -> Result<Session> {
        let pipe = match &self.way {
            Way::Ssh(door) => door.open().await?,
            Way::Program(words) => through_program::start(words)?,
        };
        Session::start(pipe).await
    }
}

/// The right to use a connection. Dropped without [`Entered::leave`], because a request was given up in the middle,
/// it keeps others from entering: such a connection may be dead without knowing it.
#[derive(Debug)]
pub(super) struct Entered {
    lane: Arc<Lane>,
    has_left: bool,
}

impl Entered {
    fn on(lane: Arc<Lane>) -> Self {
        lane.users.fetch_add(1, Ordering::Relaxed);
        Self { lane, has_left: false }
    }

    pub(super) fn session(&self) -> Arc<Session> {
        Arc::clone(&self.lane.session)
    }

    /// The work is done, well or badly.
    pub(super) fn leave(mut self) {
        self.has_left = true;
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.lane.users.fetch_sub(1, Ordering::Relaxed);
        if !self.has_left {
            self.lane.is_condemned.store(true, Ordering::Relaxed);
        }
    }
}
