//! Accounts, credentials and tokens in memory: a picture of the state at one generation.
//!
//! Every row is checked against its checksum, and every word in it must be one. One row that makes no sense spoils
//! the whole: a credential that is silently left out is an outage nobody understands, a limit that is silently left
//! out is a door.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, Row, Transaction};
use serde::Serialize;

use super::error::StateError;
use super::schema::checksum;
use crate::accounts::{Account, Credential, Limits, PasswordHash, Scope, Token, token};
use crate::names::{AccountName, Login};
use crate::role::Role;

/// Who there is.
#[derive(Debug, Default)]
pub struct Book {
    generation: i64,
    accounts: BTreeMap<AccountName, Arc<Account>>,
    credentials: HashMap<Login, Arc<Credential>>,
    tokens: Vec<Token>,
}

impl Book {
    pub(super) fn generation(&self) -> i64 {
        self.generation
    }

    /// All accounts by name, removed ones too.
    pub fn accounts(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.accounts.values()
    }

    /// The account of this name, also a removed one.
    pub fn account(&self, name: &AccountName) -> Option<&Arc<Account>> {
        self.accounts.get(name)
    }

    /// The credential of this login, valid or not.
    pub fn credential(&self, login: &Login) -> Option<&Arc<Credential>> {
        self.credentials.get(login)
    }

    /// The credentials of an account, the one without a label first.
    pub fn credentials_of(&self, account: &AccountName) -> Vec<Arc<Credential>> {
        let of = self.credentials.values().filter(|credential| credential.account.name == *account);
        let mut credentials: Vec<_> = of.cloned().collect();
        credentials.sort_by(|one, other| one.label.cmp(&other.label));
        credentials
    }

    /// All credentials, in no order.
    pub(crate) fn credentials(&self) -> impl Iterator<Item = &Arc<Credential>> {
        self.credentials.values()
    }

    /// All tokens, by name.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// What a bearer token opens. Every token is compared, so the time tells nothing.
    pub(crate) fn scope_of(&self, text: &str, now: Timestamp) -> Option<Scope> {
        let sha256 = token::recognizable(text)?;
        self.tokens.iter().fold(None, |found, token| if token.is(&sha256, now) { Some(token.scope) } else { found })
    }
}

/// The generation that stands in the state.
pub(super) fn generation(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("SELECT value FROM facts WHERE name = 'generation'")?.query_row([], |row| row.get(0))
}

/// Says that something in the book has changed.
pub(super) fn count_generation(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute("UPDATE facts SET value = value + 1 WHERE name = 'generation'", []).map(|_| ())
}

/// Reads everything, at one moment.
pub(super) fn read(path: &Path, connection: &Connection) -> Result<Book, StateError> {
    let failed = |error: rusqlite::Error| StateError::from_sqlite(path, &error);
    let damaged = |why: &str| StateError::Damaged { path: path.to_owned(), why: why.to_owned() };
    let moment = connection.unchecked_transaction().map_err(failed)?;
    let mut book = Book { generation: generation(&moment).map_err(failed)?, ..Book::default() };
    let mut by_number = HashMap::new();
    for account in rows(&moment, ACCOUNTS, account).map_err(failed)? {
        let account = Arc::new(account.ok_or_else(|| damaged("a row of `accounts` makes no sense"))?);
        by_number.insert(account.id, account.clone());
        book.accounts.insert(account.name.clone(), account);
    }
    for credential in rows(&moment, CREDENTIALS, |row| credential(row, &by_number)).map_err(failed)? {
        let credential = credential.ok_or_else(|| damaged("a row of `credentials` makes no sense"))?;
        book.credentials.insert(credential.login(), Arc::new(credential));
    }
    for token in rows(&moment, TOKENS, token_of).map_err(failed)? {
        book.tokens.push(token.ok_or_else(|| damaged("a row of `tokens` makes no sense"))?);
    }
    Ok(book)
}

const ACCOUNTS: &str = "SELECT id, name, disabled, removed_at, quota_bytes, quota_files, quota_repositories,
    minimum_age_seconds, created_at, checksum FROM accounts ORDER BY id";
const CREDENTIALS: &str = "SELECT id, account, label, role, hash, generation, created_at, expires_at, checksum
    FROM credentials ORDER BY id";
const TOKENS: &str = "SELECT name, scope, sha256, created_at, expires_at, checksum FROM tokens ORDER BY name";

fn rows<T>(
    connection: &Connection,
    query: &str,
    of: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(query)?.query_map([], of)?.collect()
}

/// What a row of `accounts` holds, as its checksum sees it.
#[derive(Serialize)]
pub(crate) struct AccountRow {
    pub(crate) name: String,
    pub(crate) disabled: i64,
    pub(crate) removed_at: Option<i64>,
    pub(crate) quota_bytes: Option<i64>,
    pub(crate) quota_files: Option<i64>,
    pub(crate) quota_repositories: Option<i64>,
    pub(crate) minimum_age_seconds: i64,
    pub(crate) created_at: i64,
}

/// What a row of `credentials` holds.
#[derive(Serialize)]
pub(crate) struct CredentialRow {
    pub(crate) account: i64,
    pub(crate) label: String,
    pub(crate) role: String,
    pub(crate) hash: String,
    pub(crate) generation: i64,
    pub(crate) created_at: i64,
    pub(crate) expires_at: Option<i64>,
}

/// What a row of `tokens` holds.
#[derive(Serialize)]
pub(crate) struct TokenRow {
    pub(crate) name: String,
    pub(crate) scope: String,
    pub(crate) sha256: Vec<u8>,
    pub(crate) created_at: i64,
    pub(crate) expires_at: Option<i64>,
}

impl AccountRow {
    pub(crate) fn checksum(&self, id: i64) -> Vec<u8> {
        checksum(&("account", id, self))
    }
}

impl CredentialRow {
    pub(crate) fn checksum(&self, id: i64) -> Vec<u8> {
        checksum(&("credential", id, self))
    }
}

impl TokenRow {
    pub(crate) fn checksum(&self) -> Vec<u8> {
        checksum(&("token", self))
    }
}

fn account(row: &Row<'_>) -> rusqlite::Result<Option<Account>> {
    let id = row.get(0)?;
    let values = AccountRow {
        name: row.get(1)?,
        disabled: row.get(2)?,
        removed_at: row.get(3)?,
        quota_bytes: row.get(4)?,
        quota_files: row.get(5)?,
        quota_repositories: row.get(6)?,
        minimum_age_seconds: row.get(7)?,
        created_at: row.get(8)?,
    };
    let sum: Vec<u8> = row.get(9)?;
    Ok((sum == values.checksum(id)).then(|| understood_account(id, &values)).flatten())
}

fn understood_account(id: i64, row: &AccountRow) -> Option<Account> {
    let quota = |value: Option<i64>| value.map(u64::try_from).transpose().ok();
    Some(Account {
        id,
        name: row.name.parse().ok()?,
        disabled: row.disabled != 0,
        removed_at: moment(row.removed_at)?,
        limits: Limits {
            quota_bytes: quota(row.quota_bytes)?,
            quota_files: quota(row.quota_files)?,
            quota_repositories: quota(row.quota_repositories)?,
            minimum_age_seconds: u64::try_from(row.minimum_age_seconds).ok()?,
        },
        created_at: moment(Some(row.created_at))??,
    })
}

fn credential(row: &Row<'_>, accounts: &HashMap<i64, Arc<Account>>) -> rusqlite::Result<Option<Credential>> {
    let id = row.get(0)?;
    let values = CredentialRow {
        account: row.get(1)?,
        label: row.get(2)?,
        role: row.get(3)?,
        hash: row.get(4)?,
        generation: row.get(5)?,
        created_at: row.get(6)?,
        expires_at: row.get(7)?,
    };
    let sum: Vec<u8> = row.get(8)?;
    Ok((sum == values.checksum(id)).then(|| understood_credential(id, values, accounts)).flatten())
}

fn understood_credential(id: i64, row: CredentialRow, accounts: &HashMap<i64, Arc<Account>>) -> Option<Credential> {
    Some(Credential {
        id,
        account: accounts.get(&row.account)?.clone(),
        label: if row.label.is_empty() { None } else { Some(row.label.parse().ok()?) },
        role: Role::ALL.into_iter().find(|role| role.word() == row.role)?,
        hash: PasswordHash::kept(row.hash)?,
        generation: row.generation,
        created_at: moment(Some(row.created_at))??,
        expires_at: moment(row.expires_at)?,
    })
}

fn token_of(row: &Row<'_>) -> rusqlite::Result<Option<Token>> {
    let values = TokenRow {
        name: row.get(0)?,
        scope: row.get(1)?,
        sha256: row.get(2)?,
        created_at: row.get(3)?,
        expires_at: row.get(4)?,
    };
    let sum: Vec<u8> = row.get(5)?;
    Ok((sum == values.checksum()).then(|| understood_token(values)).flatten())
}

fn understood_token(row: TokenRow) -> Option<Token> {
    Some(Token {
        scope: Scope::ALL.into_iter().find(|scope| scope.word() == row.scope)?,
        sha256: row.sha256.try_into().ok()?,
        created_at: moment(Some(row.created_at))??,
        expires_at: moment(row.expires_at)?,
        name: row.name,
    })
}

/// Outside: whether the number is a time. Inside: whether there is one.
fn moment(milliseconds: Option<i64>) -> Option<Option<Timestamp>> {
    milliseconds.map(Timestamp::from_millisecond).transpose().ok()
}
