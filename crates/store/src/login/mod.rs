//! Who is it? A user name and a password become an account and a role, or the same refusal for every reason.
//!
//! A password that was right once is remembered as a keyed hash, bound to the very credential: the costly hash is
//! worked out once for each credential and process, and a changed or revoked credential fits nothing remembered.
//! Everything else is treated alike, so that an answer tells nothing about which accounts exist: an unknown name costs
//! the same hash as a wrong password, both are answered after the same time, and both count against the address and
//! the name. A remembered password is never limited, so that nobody is locked out by others' guesses.
//!
//! | room | what it is for |
//! |---|---|
//! | [`header`] | the `Authorization` header as words |
//! | [`pace`] | how many wrong passwords there may be |
//! | [`LoginSettings`] | the bounds |

mod header;
mod pace;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderValue;
use model::{ExposeSecret, Secret};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

pub(crate) use header::bearer;
pub use pace::Pace;

use crate::accounts::{Credential, PasswordHash, Unsuitable};
use crate::gate::{Admitted, Refused};
use crate::htpasswd::HtpasswdFile;
use crate::names::Login;
use crate::role::Role;
use crate::state::{Book, State, locked};

/// Hashes at one time: each takes 19 MiB and a processor.
const HASHES_MAX: usize = 2;
/// Logins that wait for one of them; more are sent away.
const WAITING_MAX: usize = 256;
/// When somebody who was sent away may come back.
const CROWDED_RETRY_SECONDS: u64 = 2;

/// The bounds of logins.
#[derive(Debug, Clone, Copy)]
pub struct LoginSettings {
    /// Wrong passwords from one address.
    pub address: Pace,
    /// Wrong passwords for one account, from anywhere.
    pub account: Pace,
    /// No refusal of a password is answered sooner: longer than any hash takes.
    pub refusal_milliseconds: u64,
}

impl Default for LoginSettings {
    fn default() -> Self {
        Self {
            address: Pace { burst: 10, interval_milliseconds: 6_000 },
            account: Pace { burst: 60, interval_milliseconds: 2_000 },
            refusal_milliseconds: 400,
        }
    }
}

/// The door, with what it remembers.
pub struct Logins {
    settings: LoginSettings,
    /// What remembered passwords are mixed with; known to this process only.
    key: [u8; 32],
    remembered: Mutex<HashMap<Login, [u8; 32]>>,
    addresses: pace::Paces,
    accounts: pace::Paces,
    hashing: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// How often a password was really hashed.
    hashes: AtomicUsize,
    nobody: PasswordHash,
}

impl std::fmt::Debug for Logins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logins").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Somebody's place among those who wait for a hash.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a login would be checked against, and what it would get.
#[derive(Clone)]
struct Candidate {
    hash: PasswordHash,
    role: Role,
    /// Which credential this is: another one, or the same with another password, has another mark.
    mark: (i64, i64),
}

impl Logins {
    /// A door that remembers nobody yet.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn new(settings: LoginSettings) -> Result<Self, Unsuitable> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|_| Unsuitable::Failed)?;
        Ok(Self {
            settings,
            key,
            remembered: Mutex::default(),
            addresses: pace::Paces::new(settings.address),
            accounts: pace::Paces::new(settings.account),
            hashing: Arc::new(Semaphore::new(HASHES_MAX)),
            waiting: AtomicUsize::new(0),
            hashes: AtomicUsize::new(0),
            nobody: PasswordHash::of_nobody()?,
        })
    }

    /// How many logins are remembered.
    pub fn remembered(&self) -> usize {
        locked(&self.remembered).len()
    }

    /// How often a password was hashed so far: what a login costs.
    pub fn hashes(&self) -> usize {
        self.hashes.load(Ordering::Relaxed)
    }

    /// Lets somebody in, or not.
    ///
    /// # Errors
    /// When it is nobody, when there were too many wrong passwords, or when the state cannot be used.
    pub async fn admit(
        &self,
        state: &State,
        file: Option<&HtpasswdFile>,
        from: IpAddr,
        authorization: Option<&HeaderValue>,
    ) -> Result<Admitted, Refused> {
        // Begun here, so that the time of the work below is part of it.
        let patience = tokio::time::sleep(Duration::from_millis(self.settings.refusal_milliseconds));
        let book = state.book().map_err(|_| Refused::Closed)?;
        let Some((user, password)) = authorization.and_then(header::basic) else { return Err(Refused::Unauthorized) };
        let login: Option<Login> = user.parse().ok();
        let candidate = match &login {
            Some(login) => candidate(state, &book, file, login)?,
            None => None,
        };
        if let (Some(login), Some(candidate)) = (&login, &candidate)
            && self.remembers(login, candidate, &password)
        {
            return Ok(admitted(login, candidate));
        }
        let account = user.split('+').next().unwrap_or_default().to_owned();
        let let_in = self.examine(state, file, from, &account, login.as_ref(), candidate, password).await;
        if let_in == Err(Refused::Unauthorized) {
            patience.await;
        }
        let_in
    }

    /// The costly way.
    #[allow(clippy::too_many_arguments)] // each is another thing that a login consists of
    async fn examine(
        &self,
        state: &State,
        file: Option<&HtpasswdFile>,
        from: IpAddr,
        account: &str,
        login: Option<&Login>,
        candidate: Option<Candidate>,
        password: Secret,
    ) -> Result<Admitted, Refused> {
        let address = pace::address(from);
        let now = || state.clock().monotonic();
        self.look(address.as_deref(), account, now())?;
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Refused::TooMany { retry_after: Duration::from_secs(CROWDED_RETRY_SECONDS) });
        }
        let waiting = Waiting(&self.waiting);
        let permit = self.hashing.clone().acquire_owned().await.map_err(|_| Refused::Closed)?;
        drop(waiting);
        // Many connections of one client begin with the same password: the first of them worked it out for all.
        if let (Some(login), Some(candidate)) = (login, &candidate)
            && self.remembers(login, candidate, &password)
        {
            return self.still(state, file, login, candidate);
        }
        // Counted before the work and given back after it, so that guesses side by side count as well.
        self.take(address.as_deref(), account, now())?;
        let hash = candidate.as_ref().map_or_else(|| self.nobody.clone(), |candidate| candidate.hash.clone());
        self.hashes.fetch_add(1, Ordering::Relaxed);
        let work = tokio::task::spawn_blocking(move || {
            let is_right = hash.is_of(password.expose_secret().as_bytes());
            (is_right, password, permit)
        });
        // The permit is kept until the password is remembered, for those who wait for it with the same one.
        let (is_right, password, _permit) = work.await.map_err(|_| Refused::Closed)?;
        let (Some(login), Some(candidate), true) = (login, &candidate, is_right) else {
            return Err(Refused::Unauthorized);
        };
        let let_in = self.still(state, file, login, candidate)?;
        self.give_back(address.as_deref(), account);
        self.remember(&*state.book().map_err(|_| Refused::Closed)?, file, login, candidate, &password);
        Ok(let_in)
    }

    /// Lets in, unless the credential was changed or revoked while its password was worked on.
    fn still(
        &self,
        state: &State,
        file: Option<&HtpasswdFile>,
        login: &Login,
        known: &Candidate,
    ) -> Result<Admitted, Refused> {
        let book = state.book().map_err(|_| Refused::Closed)?;
        match candidate(state, &book, file, login)? {
            Some(now) if now.mark == known.mark && now.hash == known.hash => Ok(admitted(login, &now)),
            _ => Err(Refused::Unauthorized),
        }
    }

    fn look(&self, address: Option<&str>, account: &str, now: Duration) -> Result<(), Refused> {
        let waits = [address.and_then(|address| self.addresses.wait(address, now)), self.accounts.wait(account, now)];
        match waits.into_iter().flatten().max() {
            Some(retry_after) => Err(Refused::TooMany { retry_after }),
            None => Ok(()),
        }
    }

    fn take(&self, address: Option<&str>, account: &str, now: Duration) -> Result<(), Refused> {
        self.look(address, account, now)?;
        if let Some(address) = address {
            self.addresses.take(address, now);
        }
        self.accounts.take(account, now);
        Ok(())
    }

    fn give_back(&self, address: Option<&str>, account: &str) {
        if let Some(address) = address {
            self.addresses.give_back(address);
        }
        self.accounts.give_back(account);
    }

    fn remembers(&self, login: &Login, candidate: &Candidate, password: &Secret) -> bool {
        let known = locked(&self.remembered).get(login).copied();
        known.is_some_and(|known| bool::from(known.ct_eq(&self.recognizable(candidate, password))))
    }

    fn remember(
        &self,
        book: &Book,
        file: Option<&HtpasswdFile>,
        login: &Login,
        candidate: &Candidate,
        password: &Secret,
    ) {
        let value = self.recognizable(candidate, password);
        let mut remembered = locked(&self.remembered);
        let known = book.credentials().count() + file.map_or(0, HtpasswdFile::len);
        if remembered.len() > known {
            let is_in_file =
                |login: &Login| login.label.is_none() && file.is_some_and(|file| file.knows(&login.account));
            remembered.retain(|login, _| book.credential(login).is_some() || is_in_file(login));
        }
        remembered.insert(login.clone(), value);
    }

    fn recognizable(&self, candidate: &Candidate, password: &Secret) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(self.key);
        hasher.update(candidate.mark.0.to_le_bytes());
        hasher.update(candidate.mark.1.to_le_bytes());
        hasher.update((candidate.hash.text().len() as u64).to_le_bytes());
        hasher.update(candidate.hash.text());
        hasher.update(password.expose_secret());
        hasher.finalize().into()
    }
}

fn admitted(login: &Login, candidate: &Candidate) -> Admitted {
    Admitted { account: login.account.clone(), login: login.clone(), role: candidate.role }
}

/// The credential of this login that is valid now: the one in the htpasswd file, where it has one of this name.
fn candidate(
    state: &State,
    book: &Book,
    file: Option<&HtpasswdFile>,
    login: &Login,
) -> Result<Option<Candidate>, Refused> {
    if let Some(file) = file {
        let hashes = file.current(state).map_err(|_| Refused::Closed)?;
        if let Some(hash) = hashes.get(&login.account).filter(|_| login.label.is_none()) {
            // The file may just have brought the account; then the book is older than it.
            let book = state.book().map_err(|_| Refused::Closed)?;
            let account = book.account(&login.account).filter(|account| account.is_open());
            return Ok(account.map(|account| Candidate {
                hash: hash.clone(),
                role: file.role(),
                mark: (-account.id, 0),
            }));
        }
    }
    let valid = |credential: &&Arc<Credential>| credential.is_valid(state.now());
    let of = |credential: &Arc<Credential>| Candidate {
        hash: credential.hash.clone(),
        role: credential.role,
        mark: (credential.id, credential.generation),
    };
    Ok(book.credential(login).filter(valid).map(of))
}
