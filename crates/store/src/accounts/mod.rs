//! Who there is: accounts, what each may hold, and the credentials and tokens that open them.
//!
//! No password and no token is kept, only what they can be recognized by; neither is shown by `Debug`. A number that
//! an account or a credential had is never given to another, so nothing remembered about one fits the next.
//!
//! | room | what it is for |
//! |---|---|
//! | [`password`] | passwords and their hashes |
//! | [`token`] | bearer tokens of the administration and of monitors |
//! | [`purge`] | the second step of removing an account |
//! | [`changes`] | everything that changes them, each change a transaction |

pub(crate) mod changes;
pub mod password;
pub mod purge;
pub mod token;

use std::sync::Arc;

use jiff::Timestamp;

use crate::names::{AccountName, Label, Login};
use crate::role::Role;
use crate::state::StateError;

pub use changes::{LimitChanges, NewCredential};
pub use password::{PasswordHash, Unsuitable, generated};
pub use token::{Scope, Token};

/// How old a file of a new account must be before anybody may remove it.
pub const MINIMUM_AGE_SECONDS: u64 = 24 * 60 * 60;
/// No account's minimum age is longer: ten years.
pub const MINIMUM_AGE_SECONDS_MAX: u64 = 10 * 366 * 24 * 60 * 60;

/// What an account may do beyond its credentials' roles; no quota stands for as much as there is room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all its files, those under way included.
    pub quota_bytes: Option<u64>,
    /// Files of all kinds, those under way included.
    pub quota_files: Option<u64>,
    /// Repositories.
    pub quota_repositories: Option<u64>,
    /// How long after it was received a file cannot be removed.
    pub minimum_age_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            quota_bytes: None,
            quota_files: None,
            quota_repositories: None,
            minimum_age_seconds: MINIMUM_AGE_SECONDS,
        }
    }
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub(crate) id: i64,
    /// Its name.
    pub name: AccountName,
    /// Nobody gets in while it is.
    pub disabled: bool,
    /// When it was removed; what it stored is still there.
    pub removed_at: Option<Timestamp>,
    /// What it may hold, and for how long it must.
    pub limits: Limits,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Account {
    /// Whether anybody can get in at all.
    pub fn is_open(&self) -> bool {
        !self.disabled && self.removed_at.is_none()
    }
}

/// A password of an account, and what it was given out for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    pub(crate) id: i64,
    /// Whose it is.
    pub account: Arc<Account>,
    /// Which one; the one without a label has none.
    pub label: Option<Label>,
    /// What it may do.
    pub role: Role,
    pub(crate) hash: PasswordHash,
    /// Grows with each new password.
    pub(crate) generation: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is none.
    pub expires_at: Option<Timestamp>,
}

impl Credential {
    /// What a client writes as its user name.
    pub fn login(&self) -> Login {
        Login { account: self.account.name.clone(), label: self.label.clone() }
    }

    /// Whether it opens anything at this moment.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.account.is_open() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// Why a change was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// Nobody of this name.
    #[error("there is no account `{0}`")]
    NoAccount(AccountName),
    /// Somebody of this name.
    #[error("there is an account `{0}` already")]
    AccountExists(AccountName),
    /// It was removed, and its data is still there.
    #[error("the account `{0}` was removed, and what it stored is still there")]
    Removed(AccountName),
    /// Only what is removed can be purged.
    #[error("the account `{0}` is not removed")]
    NotRemoved(AccountName),
    /// None of this login.
    #[error("there is no credential `{0}`")]
    NoCredential(Login),
    /// One of this login.
    #[error("there is a credential `{0}` already")]
    CredentialExists(Login),
    /// No token of this name.
    #[error("there is no token `{0}`")]
    NoToken(String),
    /// A token of this name.
    #[error("there is a token `{0}` already")]
    TokenExists(String),
    /// A figure that is none.
    #[error("{0}")]
    Invalid(String),
    /// Files cannot be removed.
    #[error("{0}")]
    Disk(String),
    /// The state cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
}

impl AccountError {
    /// What can be done about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            AccountError::Removed(_) => Some("`account enable` takes it back; `account purge` removes what it stored"),
            AccountError::NotRemoved(_) => Some("`account remove` comes first, and removes no data"),
            AccountError::CredentialExists(_) => Some("change its password or role, or choose another label"),
            AccountError::State(error) => Some(error.hint()),
            _ => None,
        }
    }
}
