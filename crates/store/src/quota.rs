//! How much each account holds, counted in memory, and the room that uploads under way have taken.
//!
//! What is on the disk is counted when its row is; what is on its way is a [`Room`] that gives itself back when it is
//! dropped. For a moment a file may count twice, as on its way and as stored; it never counts not at all.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use format::FileKind;

use crate::accounts::Account;
use crate::gate::{Exceeded, Quota, RefusalKind, Reservation};
use crate::names::{AccountName, RepositoryName, RepositoryPlace};
use crate::state::schema::kind_number;
use crate::state::{Book, locked};

/// What a repository holds of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KindFigures {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the last one came, in milliseconds since 1970.
    pub last_received_at: Option<i64>,
}

/// What a repository holds, and what was refused there since the server started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    kinds: [KindFigures; FileKind::ALL.len()],
    refused: BTreeMap<RefusalKind, u64>,
}

impl Figures {
    /// What it holds of this kind.
    pub fn of(&self, kind: FileKind) -> KindFigures {
        usize::try_from(kind_number(kind)).ok().and_then(|at| self.kinds.get(at)).copied().unwrap_or_default()
    }

    fn of_mut(&mut self, kind: FileKind) -> Option<&mut KindFigures> {
        usize::try_from(kind_number(kind)).ok().and_then(|at| self.kinds.get_mut(at))
    }

    pub(crate) fn set(&mut self, kind: FileKind, files: u64, bytes: u64, last_received_at: i64) {
        if let Some(figures) = self.of_mut(kind) {
            *figures = KindFigures { files, bytes, last_received_at: Some(last_received_at) };
        }
    }

    /// Requests that were refused for this reason since the server started.
    pub fn refused(&self, reason: RefusalKind) -> u64 {
        self.refused.get(&reason).copied().unwrap_or(0)
    }

    /// Files of all kinds.
    pub fn files(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.files).sum()
    }

    /// Bytes of all kinds.
    pub fn bytes(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.bytes).sum()
    }
}

/// What an account holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holding {
    /// The account's number: one that was purged and made anew begins with nothing.
    pub(crate) account: i64,
    /// Bytes that are stored.
    pub bytes: u64,
    /// Files that are stored.
    pub files: u64,
    /// Bytes on their way.
    pub reserved_bytes: u64,
    /// Files on their way.
    pub reserved_files: u64,
    /// Its repositories.
    pub repositories: BTreeMap<RepositoryName, Figures>,
}

/// All accounts' holdings.
#[derive(Debug, Default)]
pub struct Holdings {
    of: Mutex<HashMap<AccountName, Holding>>,
    /// Refusals that belong to no repository that is there.
    elsewhere: Mutex<BTreeMap<RefusalKind, u64>>,
}

/// A change of what is stored, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// A repository is there.
    Repository,
    /// A file is there; with its bytes before, if it was there already.
    Stored { kind: FileKind, bytes: u64, before: Option<u64>, received_at: i64 },
    /// A file of so many bytes is gone.
    Removed { kind: FileKind, bytes: u64 },
}

impl Holdings {
    /// What is stored, as the state tells when a server starts.
    pub(crate) fn of(holdings: HashMap<AccountName, Holding>) -> Self {
        Self { of: Mutex::new(holdings), elsewhere: Mutex::default() }
    }

    /// What this account holds now.
    pub fn holding(&self, account: &AccountName) -> Holding {
        locked(&self.of).get(account).cloned().unwrap_or_default()
    }

    /// Refusals that belong to no repository that is there.
    pub fn refused_elsewhere(&self) -> BTreeMap<RefusalKind, u64> {
        locked(&self.elsewhere).clone()
    }

    /// Room for one file.
    pub(crate) fn reserve(self: &Arc<Self>, account: &Account, bytes: u64) -> Result<Room, Exceeded> {
        let mut all = locked(&self.of);
        let holding = all.entry(account.name.clone()).or_default();
        renew(holding, account.id);
        let files = holding.files.saturating_add(holding.reserved_files);
        room_for(1, files, account.limits.quota_files, Quota::Files)?;
        let held = holding.bytes.saturating_add(holding.reserved_bytes);
        room_for(bytes, held, account.limits.quota_bytes, Quota::Bytes)?;
        holding.reserved_bytes = holding.reserved_bytes.saturating_add(bytes);
        holding.reserved_files += 1;
        Ok(Room {
            holdings: self.clone(),
            account: account.name.clone(),
            number: account.id,
            quota_bytes: account.limits.quota_bytes,
            bytes,
        })
    }

    /// Whether the account may have this repository.
    pub(crate) fn may_create(&self, account: &Account, name: &RepositoryName) -> Result<(), Exceeded> {
        let all = locked(&self.of);
        let holding = all.get(&account.name).filter(|holding| holding.account == account.id);
        let count = holding.map_or(0, |holding| holding.repositories.len());
        if holding.is_some_and(|holding| holding.repositories.contains_key(name)) {
            return Ok(());
        }
        room_for(1, count as u64, account.limits.quota_repositories, Quota::Repositories)
    }

    /// Counts what was written.
    pub(crate) fn apply(&self, account: i64, place: &RepositoryPlace, effect: &Effect) {
        let mut all = locked(&self.of);
        let holding = all.entry(place.account.clone()).or_default();
        renew(holding, account);
        let figures = holding.repositories.entry(place.repository.clone()).or_default();
        let (kind, files, added, gone, received_at) = match *effect {
            Effect::Repository => return,
            Effect::Stored { kind, bytes, before, received_at } => {
                (kind, i64::from(before.is_none()), bytes, before.unwrap_or(0), Some(received_at))
            }
            Effect::Removed { kind, bytes } => (kind, -1, 0, bytes, None),
        };
        let change = |value: &mut u64| *value = value.saturating_add(added).saturating_sub(gone);
        change(&mut holding.bytes);
        holding.files = holding.files.saturating_add_signed(files);
        let Some(figures) = figures.of_mut(kind) else { return };
        change(&mut figures.bytes);
        figures.files = figures.files.saturating_add_signed(files);
        figures.last_received_at = figures.last_received_at.max(received_at);
    }

    /// Counts a refusal; at a repository only where there is one, or paths that a stranger makes up would fill memory.
    pub(crate) fn refuse(&self, place: Option<&RepositoryPlace>, reason: RefusalKind) {
        if let Some(place) = place
            && let Some(holding) = locked(&self.of).get_mut(&place.account)
            && let Some(figures) = holding.repositories.get_mut(&place.repository)
        {
            *figures.refused.entry(reason).or_default() += 1;
            return;
        }
        *locked(&self.elsewhere).entry(reason).or_default() += 1;
    }

    /// Forgets accounts that were purged.
    pub(crate) fn keep_in_step(&self, book: &Book) {
        locked(&self.of)
            .retain(|name, holding| book.account(name).is_some_and(|account| account.id == holding.account));
    }
}

/// Starts from nothing where the name belongs to another account than before.
fn renew(holding: &mut Holding, account: i64) {
    if holding.account != account {
        *holding = Holding { account, ..Holding::default() };
    }
}

fn room_for(wanted: u64, held: u64, quota: Option<u64>, which: Quota) -> Result<(), Exceeded> {
    let Some(quota) = quota else { return Ok(()) };
    let remaining = quota.saturating_sub(held);
    if wanted <= remaining { Ok(()) } else { Err(Exceeded { quota: which, remaining }) }
}

/// Room for one file that is on its way.
#[derive(Debug)]
pub struct Room {
    holdings: Arc<Holdings>,
    account: AccountName,
    number: i64,
    quota_bytes: Option<u64>,
    bytes: u64,
}

impl Reservation for Room {
    fn grow(&mut self, bytes: u64) -> Result<(), Exceeded> {
        let mut all = locked(&self.holdings.of);
        let Some(holding) = all.get_mut(&self.account).filter(|holding| holding.account == self.number) else {
            return Ok(());
        };
        let held = holding.bytes.saturating_add(holding.reserved_bytes);
        room_for(bytes, held, self.quota_bytes, Quota::Bytes)?;
        holding.reserved_bytes = holding.reserved_bytes.saturating_add(bytes);
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut all = locked(&self.holdings.of);
        if let Some(holding) = all.get_mut(&self.account).filter(|holding| holding.account == self.number) {
            holding.reserved_bytes = holding.reserved_bytes.saturating_sub(self.bytes);
            holding.reserved_files = holding.reserved_files.saturating_sub(1);
        }
    }
}
