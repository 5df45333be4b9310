//! The second step of removing an account: what it stored goes, and then its name is free again.

use rusqlite::params;

use super::AccountError;
use crate::names::AccountName;
use crate::state::{Changing, State};
use crate::vault::Vault;

/// Rows that go in one transaction, so that a serving process is never kept waiting for long.
const ROWS_MAX: usize = 20_000;

/// What a purge removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    /// Repositories.
    pub repositories: u64,
    /// Files, as the journal knew them.
    pub files: u64,
}

/// Removes the files of a removed account, then its rows, then the account. Broken off, it can be done again.
///
/// # Errors
/// When the account is not removed, or something cannot be removed.
pub fn purge(state: &State, vault: &Vault, name: &AccountName) -> Result<Purged, AccountError> {
    let book = state.book()?;
    let account = book.account(name).ok_or_else(|| AccountError::NoAccount(name.clone()))?;
    if account.removed_at.is_none() {
        return Err(AccountError::NotRemoved(name.clone()));
    }
    let disk = |error: crate::error::StoreError| AccountError::Disk(error.to_string());
    let mut purged = Purged::default();
    for place in vault.repositories().map_err(disk)?.into_iter().filter(|place| place.account == *name) {
        purged.repositories += u64::from(vault.purge_repository(&place).map_err(disk)?);
    }
    loop {
        let gone = state.write(|transaction| {
            let gone = transaction.execute(
                "DELETE FROM files WHERE (repository, kind, id) IN (SELECT repository, kind, files.id FROM files
                    JOIN repositories ON repositories.id = repository WHERE account = ?1 LIMIT ?2)",
                params![account.id, ROWS_MAX as i64],
            )?;
            Ok::<_, Changing<AccountError>>(gone)
        })?;
        purged.files += gone as u64;
        if gone < ROWS_MAX {
            break;
        }
    }
    state.change(|transaction| {
        let verifications =
            "DELETE FROM verifications WHERE repository IN (SELECT id FROM repositories WHERE account = ?1)";
        transaction.execute(verifications, [account.id])?;
        transaction.execute("DELETE FROM repositories WHERE account = ?1", [account.id])?;
        transaction.execute("DELETE FROM accounts WHERE id = ?1 AND removed_at IS NOT NULL", [account.id])?;
        Ok::<_, Changing<AccountError>>(())
    })?;
    Ok(purged)
}
