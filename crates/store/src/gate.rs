//! What the server asks before it does anything, and tells after it did it: who is it, may it, is there room, is it old
//! enough.
//!
//! The server knows files and connections; whoever implements [`Gate`] knows accounts, quotas and times. In between is
//! this trait only, so that neither can be tested, or changed, by way of the other.
//!
//! The order of the questions is part of the promise. Before [`Gate::admit`] has let somebody in, no answer depends on
//! what is on the disk. A file is durable before [`Gate::stored`] hears of it, and the client is answered afterwards.
//! [`Gate::may_remove`] and [`Gate::removed`] are called under the same lock of the file's name as [`Gate::stored`].

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use format::FileName;
use http::HeaderValue;
use jiff::Timestamp;

use crate::error::StoreError;
use crate::names::{AccountName, Login, RepositoryPlace};
use crate::role::Role;

/// Somebody who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Whose repositories these are.
    pub account: AccountName,
    /// Which credential it was, for the log.
    pub login: Login,
    /// What it may do.
    pub role: Role,
}

/// Why somebody was not let in. Nothing here tells whether an account exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// No login, or none that is good for anything: 401, always the same bytes.
    Unauthorized,
    /// Too many failed logins from there or for that account: 429.
    TooMany {
        /// When to come back.
        retry_after: Duration,
    },
    /// The state cannot be used: 503 for everybody.
    Closed,
}

/// Why somebody who was let in may not do it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// No room under the account's quota: 507.
    Exceeded(Exceeded),
    /// The file is younger than the account's minimum age: 403.
    Floor {
        /// When the server received the file, by its own clock.
        received_at: Timestamp,
        /// When it may go.
        free_at: Timestamp,
    },
    /// When the server received the file is not known, because its row is damaged: 403.
    Unknown,
    /// The state cannot be used: 503.
    Closed,
}

/// A quota that something would exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// Which of the account's quotas.
    pub quota: Quota,
    /// How much of it is left.
    pub remaining: u64,
}

/// What an account has only so much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quota {
    /// Bytes of all files, with uploads under way.
    Bytes,
    /// Files, with uploads under way.
    Files,
    /// Repositories.
    Repositories,
}

impl Quota {
    /// The word for it in answers.
    pub const fn word(self) -> &'static str {
        match self {
            Quota::Bytes => "bytes",
            Quota::Files => "files",
            Quota::Repositories => "repositories",
        }
    }
}

/// Room for one file that is on its way. Dropping it gives the room back.
pub trait Reservation: Send {
    /// Asks for this many bytes more, for a body whose length was not told.
    ///
    /// # Errors
    /// When they exceed the quota; what was reserved before stays reserved.
    fn grow(&mut self, bytes: u64) -> Result<(), Exceeded>;
}

/// Why a request was refused, counted for each repository so that a monitor sees an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefusalKind {
    /// A path or method that the protocol does not have.
    Route,
    /// 401.
    Login,
    /// 429.
    TooMany,
    /// 403: the credential's role.
    Role,
    /// 403: younger than the minimum age.
    Floor,
    /// 403: other bytes under a name that is taken.
    Taken,
    /// 507: quota, or a full disk.
    Quota,
    /// 400 or 413: the body is not what was announced, or too large.
    Body,
}

impl RefusalKind {
    /// Every kind.
    pub const ALL: [RefusalKind; 8] = [
        RefusalKind::Route,
        RefusalKind::Login,
        RefusalKind::TooMany,
        RefusalKind::Role,
        RefusalKind::Floor,
        RefusalKind::Taken,
        RefusalKind::Quota,
        RefusalKind::Body,
    ];

    /// The word for it in metrics, status and log.
    pub const fn word(self) -> &'static str {
        match self {
            RefusalKind::Route => "route",
            RefusalKind::Login => "login",
            RefusalKind::TooMany => "too_many",
            RefusalKind::Role => "role",
            RefusalKind::Floor => "floor",
            RefusalKind::Taken => "taken",
            RefusalKind::Quota => "quota",
            RefusalKind::Body => "body",
        }
    }
}

/// Who decides.
#[async_trait]
pub trait Gate: Send + Sync + 'static {
    /// Who is it? `authorization` is the header as it came. `from` is unspecified (`::`) for a Unix socket.
    ///
    /// # Errors
    /// When it is nobody.
    async fn admit(&self, from: IpAddr, authorization: Option<&HeaderValue>) -> Result<Admitted, Refused>;

    /// May this repository come into being, or be made once more where it already is?
    ///
    /// # Errors
    /// When the account has as many as it may have.
    async fn may_create(&self, place: &RepositoryPlace) -> Result<(), Denied>;

    /// The repository's folders are durable. Called for one that was already there, too.
    ///
    /// # Errors
    /// When that cannot be recorded; the client is told to try again.
    async fn created(&self, place: &RepositoryPlace) -> Result<(), StoreError>;

    /// Room for one file of so many bytes, before the first byte is written.
    ///
    /// # Errors
    /// When a quota would be exceeded.
    fn reserve(&self, place: &RepositoryPlace, bytes: u64) -> Result<Box<dyn Reservation>, Denied>;

    /// The file is durable under its name. It may have been there before, with the same content.
    ///
    /// # Errors
    /// When that cannot be recorded; the file stays, and the client is told to try again.
    async fn stored(
        &self,
        place: &RepositoryPlace,
        name: FileName,
        bytes: u64,
        reservation: Box<dyn Reservation>,
    ) -> Result<(), StoreError>;

    /// Is the file old enough to go? Yes for a file that nobody knows.
    ///
    /// # Errors
    /// When it is not.
    async fn may_remove(&self, place: &RepositoryPlace, name: FileName) -> Result<(), Denied>;

    /// The file is gone, durably.
    ///
    /// # Errors
    /// When that cannot be recorded; the client is told to try again.
    async fn removed(&self, place: &RepositoryPlace, name: FileName) -> Result<(), StoreError>;

    /// Something was refused. The place is the one of the path where there is one, and nobody's word for it is known
    /// to be true when the kind is [`RefusalKind::Login`] or [`RefusalKind::TooMany`].
    fn refused(&self, place: Option<&RepositoryPlace>, reason: RefusalKind);
}
