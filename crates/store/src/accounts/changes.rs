//! Everything that changes accounts, credentials and tokens. Each change is one transaction, on the disk when it is
//! answered, and seen by a serving process at its next request.

use jiff::Timestamp;
use model::Secret;
use rusqlite::{OptionalExtension, Transaction, params};

use super::{AccountError, Limits, MINIMUM_AGE_SECONDS_MAX, PasswordHash, Scope, token};
use crate::names::{AccountName, Label, Login};
use crate::role::Role;
use crate::state::book::{AccountRow, CredentialRow, TokenRow};
use crate::state::{Changing, State};

type Refusal = Changing<AccountError>;

/// A credential to be made.
#[derive(Debug, Clone)]
pub struct NewCredential {
    /// Which one of the account's.
    pub label: Option<Label>,
    /// What it may do.
    pub role: Role,
    /// What is kept of its password.
    pub hash: PasswordHash,
    /// From when on it is none: a lease.
    pub expires_at: Option<Timestamp>,
}

/// What changes of an account's limits; nothing stands for no change, `Some(None)` for no quota.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitChanges {
    /// Bytes of all its files.
    pub quota_bytes: Option<Option<u64>>,
    /// Files.
    pub quota_files: Option<Option<u64>>,
    /// Repositories.
    pub quota_repositories: Option<Option<u64>>,
    /// How old a file must be before it can be removed.
    pub minimum_age_seconds: Option<u64>,
}

impl LimitChanges {
    /// These limits with the changes made.
    pub fn applied_to(&self, limits: Limits) -> Limits {
        Limits {
            quota_bytes: self.quota_bytes.unwrap_or(limits.quota_bytes),
            quota_files: self.quota_files.unwrap_or(limits.quota_files),
            quota_repositories: self.quota_repositories.unwrap_or(limits.quota_repositories),
            minimum_age_seconds: self.minimum_age_seconds.unwrap_or(limits.minimum_age_seconds),
        }
    }
}

fn refused<T>(error: AccountError) -> Result<T, Refusal> {
    Err(Changing::Refused(error))
}

impl State {
    /// Adds an account, with its first credential if there is one.
    ///
    /// # Errors
    /// When there is one of this name, also a removed one, or the state cannot be written.
    pub fn add_account(
        &self,
        name: &AccountName,
        limits: Limits,
        credential: Option<&NewCredential>,
    ) -> Result<(), AccountError> {
        let now = self.now().as_millisecond();
        self.change(|transaction| {
            match find(transaction, name)? {
                Some((_, row)) if row.removed_at.is_some() => return refused(AccountError::Removed(name.clone())),
                Some(_) => return refused(AccountError::AccountExists(name.clone())),
                None => {}
            }
            let mut row = AccountRow {
                name: name.to_string(),
                disabled: 0,
                removed_at: None,
                quota_bytes: None,
                quota_files: None,
                quota_repositories: None,
                minimum_age_seconds: 0,
                created_at: now,
            };
            limit(&mut row, limits)?;
            let id = insert_account(transaction, &row)?;
            match credential {
                Some(new) => insert_credential(transaction, id, new, now),
                None => Ok(()),
            }
        })
    }

    /// Changes an account's limits, and gives them as they are now.
    ///
    /// # Errors
    /// When there is no such account, a figure is too large, or the state cannot be written.
    pub fn change_limits(&self, name: &AccountName, changes: LimitChanges) -> Result<Limits, AccountError> {
        self.change(|transaction| {
            let (id, mut row) = found(transaction, name)?;
            let stored = |value: Option<i64>| value.map(i64::unsigned_abs);
            let limits = changes.applied_to(Limits {
                quota_bytes: stored(row.quota_bytes),
                quota_files: stored(row.quota_files),
                quota_repositories: stored(row.quota_repositories),
                minimum_age_seconds: row.minimum_age_seconds.unsigned_abs(),
            });
            limit(&mut row, limits)?;
            update_account(transaction, id, &row)?;
            Ok(limits)
        })
    }

    /// Lets nobody in any more; everything else stays.
    ///
    /// # Errors
    /// When there is no such account, or the state cannot be written.
    pub fn disable_account(&self, name: &AccountName) -> Result<(), AccountError> {
        self.change(|transaction| {
            let (id, mut row) = found(transaction, name)?;
            row.disabled = 1;
            update_account(transaction, id, &row)
        })
    }

    /// Lets its credentials in again, and takes back a removal. The credentials that a removal took do not come back.
    ///
    /// # Errors
    /// When there is no such account, or the state cannot be written.
    pub fn enable_account(&self, name: &AccountName) -> Result<(), AccountError> {
        self.change(|transaction| {
            let (id, mut row) = found(transaction, name)?;
            (row.disabled, row.removed_at) = (0, None);
            update_account(transaction, id, &row)
        })
    }

    /// Removes an account and its credentials. What it stored stays until it is purged.
    ///
    /// # Errors
    /// When there is no such account, or the state cannot be written.
    pub fn remove_account(&self, name: &AccountName) -> Result<(), AccountError> {
        let now = self.now().as_millisecond();
        self.change(|transaction| {
            let (id, mut row) = found(transaction, name)?;
            row.removed_at.get_or_insert(now);
            transaction.execute("DELETE FROM credentials WHERE account = ?1", [id])?;
            update_account(transaction, id, &row)
        })
    }

    /// Adds a credential to an account.
    ///
    /// # Errors
    /// When there is no such account, or a credential of this label, or the state cannot be written.
    pub fn add_credential(&self, account: &AccountName, new: &NewCredential) -> Result<(), AccountError> {
        let now = self.now().as_millisecond();
        self.change(|transaction| {
            let (id, row) = found(transaction, account)?;
            if row.removed_at.is_some() {
                return refused(AccountError::Removed(account.clone()));
            }
            let login = Login { account: account.clone(), label: new.label.clone() };
            match credential(transaction, &login)? {
                Some(_) => refused(AccountError::CredentialExists(login)),
                None => insert_credential(transaction, id, new, now),
            }
        })
    }

    /// Gives a credential another password. The old one is refused from the next request on.
    ///
    /// # Errors
    /// When there is no such credential, or the state cannot be written.
    pub fn change_password(&self, login: &Login, hash: &PasswordHash) -> Result<(), AccountError> {
        self.change_credential(login, |row| {
            row.hash = hash.text().to_owned();
            row.generation += 1;
        })
    }

    /// Gives a credential another role.
    ///
    /// # Errors
    /// As [`Self::change_password`].
    pub fn change_role(&self, login: &Login, role: Role) -> Result<(), AccountError> {
        self.change_credential(login, |row| row.role = role.word().to_owned())
    }

    fn change_credential(&self, login: &Login, change: impl FnOnce(&mut CredentialRow)) -> Result<(), AccountError> {
        self.change(|transaction| {
            let Some((id, mut row)) = credential(transaction, login)? else {
                return refused(AccountError::NoCredential(login.clone()));
            };
            change(&mut row);
            transaction.execute(
                "UPDATE credentials SET role = ?2, hash = ?3, generation = ?4, checksum = ?5 WHERE id = ?1",
                params![id, row.role, row.hash, row.generation, row.checksum(id)],
            )?;
            Ok(())
        })
    }

    /// Revokes a credential.
    ///
    /// # Errors
    /// When there is no such credential, or the state cannot be written.
    pub fn remove_credential(&self, login: &Login) -> Result<(), AccountError> {
        self.change(|transaction| match credential(transaction, login)? {
            None => refused(AccountError::NoCredential(login.clone())),
            Some((id, _)) => {
                transaction.execute("DELETE FROM credentials WHERE id = ?1", [id])?;
                Ok(())
            }
        })
    }

    /// Makes a token and gives it, for the only time.
    ///
    /// # Errors
    /// When the name is none or taken, or the state cannot be written.
    pub fn add_token(&self, name: &str, scope: Scope, end: Option<Timestamp>) -> Result<Secret, AccountError> {
        // Like a label, so that it can stand in a path.
        name.parse::<Label>().map_err(|error| AccountError::Invalid(error.to_string()))?;
        let token =
            token::generated().ok_or_else(|| AccountError::Invalid("the system gave no random bytes".to_owned()))?;
        let sha256 = token::recognizable(model::ExposeSecret::expose_secret(&token)).unwrap_or_default();
        let row = TokenRow {
            name: name.to_owned(),
            scope: scope.word().to_owned(),
            sha256: sha256.to_vec(),
            created_at: self.now().as_millisecond(),
            expires_at: end.map(|end| end.as_millisecond()),
        };
        self.change(|transaction| {
            let taken: i64 = transaction.query_row("SELECT count(*) FROM tokens WHERE name = ?1", [name], |row| row.get(0))?;
            if taken > 0 {
                return refused(AccountError::TokenExists(name.to_owned()));
            }
            transaction.execute(
                "INSERT INTO tokens (name, scope, sha256, created_at, expires_at, checksum) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![row.name, row.scope, row.sha256, row.created_at, row.expires_at, row.checksum()],
            )?;
            Ok(())
        })?;
        Ok(token)
    }

    /// Revokes a token.
    ///
    /// # Errors
    /// When there is no such token, or the state cannot be written.
    pub fn remove_token(&self, name: &str) -> Result<(), AccountError> {
        self.change(|transaction| match transaction.execute("DELETE FROM tokens WHERE name = ?1", [name])? {
            0 => refused(AccountError::NoToken(name.to_owned())),
            _ => Ok(()),
        })
    }
}

fn find(transaction: &Transaction<'_>, name: &AccountName) -> Result<Option<(i64, AccountRow)>, Refusal> {
    let query = "SELECT id, disabled, removed_at, quota_bytes, quota_files, quota_repositories, minimum_age_seconds,
        created_at FROM accounts WHERE name = ?1";
    let found = transaction.query_row(query, [name.as_str()], |row| {
        let values = AccountRow {
            name: name.to_string(),
            disabled: row.get(1)?,
            removed_at: row.get(2)?,
            quota_bytes: row.get(3)?,
            quota_files: row.get(4)?,
            quota_repositories: row.get(5)?,
            minimum_age_seconds: row.get(6)?,
            created_at: row.get(7)?,
        };
        Ok((row.get(0)?, values))
    });
    Ok(found.optional()?)
}

fn found(transaction: &Transaction<'_>, name: &AccountName) -> Result<(i64, AccountRow), Refusal> {
    find(transaction, name)?.ok_or_else(|| Changing::Refused(AccountError::NoAccount(name.clone())))
}

fn limit(row: &mut AccountRow, limits: Limits) -> Result<(), Refusal> {
    let too_large = |what: &str| Changing::Refused(AccountError::Invalid(format!("{what} is too large")));
    let figure = |value: Option<u64>, what: &str| value.map(i64::try_from).transpose().map_err(|_| too_large(what));
    row.quota_bytes = figure(limits.quota_bytes, "the quota of bytes")?;
    row.quota_files = figure(limits.quota_files, "the quota of files")?;
    row.quota_repositories = figure(limits.quota_repositories, "the quota of repositories")?;
    let minimum_age_seconds = Some(limits.minimum_age_seconds).filter(|seconds| *seconds <= MINIMUM_AGE_SECONDS_MAX);
    row.minimum_age_seconds =
        minimum_age_seconds.and_then(|seconds| seconds.try_into().ok()).ok_or_else(|| too_large("the minimum age"))?;
    Ok(())
}

fn insert_account(transaction: &Transaction<'_>, row: &AccountRow) -> Result<i64, Refusal> {
    transaction.execute(
        "INSERT INTO accounts (name, disabled, minimum_age_seconds, created_at, checksum) VALUES (?1, 0, 0, ?2, x'')",
        params![row.name, row.created_at],
    )?;
    let id = transaction.last_insert_rowid();
    update_account(transaction, id, row)?;
    Ok(id)
}

fn update_account(transaction: &Transaction<'_>, id: i64, row: &AccountRow) -> Result<(), Refusal> {
    transaction.execute(
        "UPDATE accounts SET disabled = ?2, removed_at = ?3, quota_bytes = ?4, quota_files = ?5,
            quota_repositories = ?6, minimum_age_seconds = ?7, checksum = ?8 WHERE id = ?1",
        params![
            id,
            row.disabled,
            row.removed_at,
            row.quota_bytes,
            row.quota_files,
            row.quota_repositories,
            row.minimum_age_seconds,
            row.checksum(id)
        ],
    )?;
    Ok(())
}

fn credential(transaction: &Transaction<'_>, login: &Login) -> Result<Option<(i64, CredentialRow)>, Refusal> {
    let query = "SELECT credentials.id, account, role, hash, generation, credentials.created_at, expires_at
        FROM credentials JOIN accounts ON accounts.id = account WHERE accounts.name = ?1 AND label = ?2";
    let label = login.label.as_ref().map_or("", Label::as_str);
    let found = transaction.query_row(query, [login.account.as_str(), label], |row| {
        let values = CredentialRow {
            account: row.get(1)?,
            label: label.to_owned(),
            role: row.get(2)?,
            hash: row.get(3)?,
            generation: row.get(4)?,
            created_at: row.get(5)?,
            expires_at: row.get(6)?,
        };
        Ok((row.get(0)?, values))
    });
    Ok(found.optional()?)
}

fn insert_credential(
    transaction: &Transaction<'_>,
    account: i64,
    new: &NewCredential,
    now: i64,
) -> Result<(), Refusal> {
    let row = CredentialRow {
        account,
        label: new.label.as_ref().map_or_else(String::new, Label::to_string),
        role: new.role.word().to_owned(),
        hash: new.hash.text().to_owned(),
        generation: 1,
        created_at: now,
        expires_at: new.expires_at.map(|end| end.as_millisecond()),
    };
    transaction.execute(
        "INSERT INTO credentials (account, label, role, hash, generation, created_at, expires_at, checksum)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, x'')",
        params![row.account, row.label, row.role, row.hash, row.generation, row.created_at, row.expires_at],
    )?;
    let id = transaction.last_insert_rowid();
    transaction.execute("UPDATE credentials SET checksum = ?2 WHERE id = ?1", params![id, row.checksum(id)])?;
    Ok(())
}
