//! The tables of the state.
//!
//! Times are milliseconds since 1970, always of this machine's clock. Rows that decide who may do what carry a
//! checksum ([`checksum`]): SQLite sees when its own pages are out of order, not when a bit of a value has changed.

use rusqlite::Connection;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// `TrpS`, in the header of the file: no other program's database is taken for ours.
pub(super) const APPLICATION_ID: i64 = 0x5472_7053;
/// The version of these tables.
pub(super) const VERSION: i64 = 2;

/// Everything, from nothing.
const TABLES: &str = "
CREATE TABLE facts (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
-- `generation` grows with each change of accounts, credentials and tokens; `serving` is 1 while a server runs; `lived`
-- is the latest moment that a server believed, 0 before the first.
INSERT INTO facts (name, value) VALUES ('generation', 0), ('serving', 0), ('lived', 0);

-- AUTOINCREMENT here and below: a number that was somebody's never becomes somebody else's.
CREATE TABLE accounts (
    id                  INTEGER PRIMARY KEY AUTOINCREMENT,
    name                TEXT NOT NULL UNIQUE,
    disabled            INTEGER NOT NULL,
    removed_at          INTEGER,
    quota_bytes         INTEGER,
    quota_files         INTEGER,
    quota_repositories  INTEGER,
    minimum_age_seconds INTEGER NOT NULL,
    created_at          INTEGER NOT NULL,
    checksum            BLOB NOT NULL
) STRICT;

CREATE TABLE credentials (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    account    INTEGER NOT NULL REFERENCES accounts (id),
    label      TEXT NOT NULL,
    role       TEXT NOT NULL,
    hash       TEXT NOT NULL,
    generation INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    checksum   BLOB NOT NULL,
    UNIQUE (account, label)
) STRICT;

CREATE TABLE tokens (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT NOT NULL UNIQUE,
    scope      TEXT NOT NULL,
    sha256     BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    checksum   BLOB NOT NULL
) STRICT;

CREATE TABLE repositories (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    account    INTEGER NOT NULL REFERENCES accounts (id),
    name       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (account, name)
) STRICT;

CREATE TABLE files (
    repository  INTEGER NOT NULL REFERENCES repositories (id),
    kind        INTEGER NOT NULL,
    id          BLOB NOT NULL,
    bytes       INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    damaged_at  INTEGER,
    -- Of the name and `received_at`: what decides whether the file may go.
    checksum    INTEGER NOT NULL,
    PRIMARY KEY (repository, kind, id)
) STRICT, WITHOUT ROWID;
-- Only what is damaged is in it, so it costs nothing while all is well.
CREATE INDEX files_damaged ON files (repository, kind, id) WHERE damaged_at IS NOT NULL;

-- How far the comparison of names with contents came: the last file of the pass under way.
CREATE TABLE verifications (
    repository   INTEGER PRIMARY KEY REFERENCES repositories (id),
    begun_at     INTEGER,
    kind         INTEGER NOT NULL,
    id           BLOB NOT NULL,
    files        INTEGER NOT NULL,
    bytes        INTEGER NOT NULL,
    completed_at INTEGER
) STRICT;
";

/// Makes the tables in an empty database.
pub(super) fn make(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

/// What a row's values must add up to. The rows are not `Debug`, so that no hash in them is ever shown.
pub(crate) fn checksum(values: &impl Serialize) -> Vec<u8> {
    // invariant: the rows hold texts and numbers, which are always JSON; an empty sum would never be right.
    serde_json::to_vec(values).map(|text| Sha256::digest(text).to_vec()).unwrap_or_default()
}

/// A kind of file as the number that stands for it. These numbers never change.
pub(crate) const fn kind_number(kind: format::FileKind) -> i64 {
    match kind {
        format::FileKind::Config => 0,
        format::FileKind::Key => 1,
        format::FileKind::Pack => 2,
        format::FileKind::Index => 3,
        format::FileKind::Snapshot => 4,
        format::FileKind::Lock => 5,
    }
}

/// The kind that a number stands for.
pub(crate) fn kind_of(number: i64) -> Option<format::FileKind> {
    format::FileKind::ALL.into_iter().find(|kind| kind_number(*kind) == number)
}
