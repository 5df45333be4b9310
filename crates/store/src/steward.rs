//! Who answers the server's questions: the [`Gate`] that is made of the state, the logins, the quotas and the journal.
//!
//! A steward begins by saying so in the state. When the one before did not say that it ended, files and rows are
//! compared first ([`crate::journal`]); only then is anybody let in.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use format::{FileKind, FileName};
use http::HeaderValue;
use jiff::{SignedDuration, Timestamp};

use crate::accounts::{Account, Scope};
use crate::error::StoreError;
use crate::gate::{Admitted, Denied, Gate, RefusalKind, Refused, Reservation};
use crate::htpasswd::HtpasswdFile;
use crate::journal::{self, Arrival, Event, Journal, Reconciled, reconcile};
use crate::login::{LoginSettings, Logins, bearer};
use crate::names::RepositoryPlace;
use crate::quota::Holdings;
use crate::state::{State, StateError};

/// The gate of a serving store.
pub struct Steward {
    state: Arc<State>,
    logins: Logins,
    file: Option<HtpasswdFile>,
    holdings: Arc<Holdings>,
    journal: Journal,
    reconciled: Option<Reconciled>,
    /// Whether a row could not be written: then the end is not announced, and the next start compares.
    has_lost_rows: AtomicBool,
}

impl std::fmt::Debug for Steward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Steward").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Steward {
    /// Begins to serve: checks the whole state, and compares rows and files where the last end was not announced.
    /// Only one steward at a time may work on a store; the server's lock sees to it.
    ///
    /// # Errors
    /// When the state cannot be used, or files cannot be listed.
    pub fn begin(state: Arc<State>, settings: LoginSettings, file: Option<HtpasswdFile>) -> Result<Self, StoreError> {
        state.check_pages()?;
        let logins = Logins::new(settings).map_err(|error| StoreError::setting(error.to_string()))?;
        let reconciled = match state.begin_serving()? {
            true => Some(reconcile::reconcile(&state)?),
            false => None,
        };
        let book = state.book()?;
        let holdings = Arc::new(journal::holdings(&state, &book)?);
        let journal = Journal::start(state.clone(), holdings.clone())?;
        let has_lost_rows = AtomicBool::new(false);
        Ok(Self { state, logins, file, holdings, journal, reconciled, has_lost_rows })
    }

    /// What was put right at the beginning, if the last end was not announced.
    pub fn reconciled(&self) -> Option<Reconciled> {
        self.reconciled
    }

    /// Writes what is under way and announces the end. Nothing can be stored or removed any more.
    ///
    /// # Errors
    /// When that cannot be written; the next start compares rows and files then.
    pub fn end(&self) -> Result<(), StoreError> {
        self.journal.stop();
        if !self.has_lost_rows.load(Ordering::Relaxed) {
            self.state.end_serving()?;
        }
        Ok(())
    }

    /// The state.
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// What every account holds.
    pub fn holdings(&self) -> &Arc<Holdings> {
        &self.holdings
    }

    /// Forgets what was counted of accounts that were purged, also by another process.
    pub(crate) fn forget_purged(&self) -> Result<(), StateError> {
        self.holdings.keep_in_step(&*self.state.book()?);
        Ok(())
    }

    /// How many logins are remembered.
    pub fn remembered(&self) -> usize {
        self.logins.remembered()
    }

    /// How often a password was hashed.
    pub fn hashes(&self) -> usize {
        self.logins.hashes()
    }

    /// What a bearer token opens.
    pub(crate) fn scope(&self, authorization: Option<&HeaderValue>) -> Result<Option<Scope>, StateError> {
        let book = self.state.book()?;
        Ok(authorization.and_then(bearer).and_then(|token| book.scope_of(token, self.state.now())))
    }

    fn account(&self, place: &RepositoryPlace) -> Result<Arc<Account>, Denied> {
        let book = self.state.book().map_err(|_| Denied::Closed)?;
        // Whoever was let in a moment ago may be gone by now.
        book.account(&place.account).filter(|account| account.is_open()).cloned().ok_or(Denied::Closed)
    }

    async fn write(&self, place: &RepositoryPlace, event: Event) -> Result<(), StoreError> {
        let stopped = || StoreError::state(self.state.path(), "the server is about to end");
        let lost = |error: StoreError| {
            self.has_lost_rows.store(true, Ordering::Relaxed);
            error
        };
        let Some(written) = self.journal.write(place, event) else { return Err(lost(stopped())) };
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(lost(error.into())),
            Err(_) => Err(lost(stopped())),
        }
    }

    /// A file that is there and has no row: somebody put it there by hand, or its row was lost.
    async fn found(&self, place: &RepositoryPlace, name: FileName) -> Result<Option<Timestamp>, Denied> {
        let folder = self.state.folder().join(reconcile::REPOSITORIES).join(place.account.as_str());
        let path = folder.join(place.repository.as_str()).join(name.path());
        let looked = tokio::task::spawn_blocking(move || std::fs::symlink_metadata(path)).await;
        let facts = match looked.map_err(|_| Denied::Closed)? {
            Ok(facts) => facts,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            // Whether it is there cannot be known, so its age cannot either.
            Err(_) => return Err(Denied::Closed),
        };
        self.write(place, Event::Found(name, facts.len())).await.map_err(|_| Denied::Closed)?;
        Ok(Some(self.state.now()))
    }
}

#[async_trait]
impl Gate for Steward {
    async fn admit(&self, from: IpAddr, authorization: Option<&HeaderValue>) -> Result<Admitted, Refused> {
        self.logins.admit(&self.state, self.file.as_ref(), from, authorization).await
    }

    async fn may_create(&self, place: &RepositoryPlace) -> Result<(), Denied> {
        let account = self.account(place)?;
        self.holdings.may_create(&account, &place.repository).map_err(Denied::Exceeded)
    }

    async fn created(&self, place: &RepositoryPlace) -> Result<(), StoreError> {
        self.write(place, Event::Created).await
    }

    fn reserve(&self, place: &RepositoryPlace, bytes: u64) -> Result<Box<dyn Reservation>, Denied> {
        let account = self.account(place)?;
        let room = self.holdings.reserve(&account, bytes).map_err(Denied::Exceeded)?;
        Ok(Box::new(room))
    }

    async fn stored(
        &self,
        place: &RepositoryPlace,
        name: FileName,
        bytes: u64,
        reservation: Box<dyn Reservation>,
    ) -> Result<(), StoreError> {
        self.write(place, Event::Stored { name, bytes, room: reservation }).await
    }

    async fn may_remove(&self, place: &RepositoryPlace, name: FileName) -> Result<(), Denied> {
        let account = self.account(place)?;
        if name.kind() == FileKind::Lock || account.limits.minimum_age_seconds == 0 {
            return Ok(());
        }
        let (state, asked, number) = (self.state.clone(), place.clone(), account.id);
        let looked = tokio::task::spawn_blocking(move || {
            state.look_up(|connection| journal::received_at(connection, number, &asked, name))
        });
        let known = looked.await.map_err(|_| Denied::Closed)?.map_err(|error| {
            self.state.note_trouble(&error);
            Denied::Closed
        })?;
        let received_at = match known {
            Some(Arrival::At(milliseconds)) => {
                Timestamp::from_millisecond(milliseconds).map_err(|_| Denied::Unknown)?
            }
            Some(Arrival::Unknown) => return Err(Denied::Unknown),
            None => match self.found(place, name).await? {
                Some(now) => now,
                None => return Ok(()),
            },
        };
        let seconds = i64::try_from(account.limits.minimum_age_seconds).unwrap_or(i64::MAX);
        let free_at = received_at.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
        if self.state.believed_now() < free_at { Err(Denied::Floor { received_at, free_at }) } else { Ok(()) }
    }

    async fn removed(&self, place: &RepositoryPlace, name: FileName) -> Result<(), StoreError> {
        self.write(place, Event::Removed(name)).await
    }

    fn refused(&self, place: Option<&RepositoryPlace>, reason: RefusalKind) {
        self.holdings.refuse(place, reason);
    }
}
