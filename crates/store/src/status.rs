//! What a monitor reads: for each repository when the last snapshot came, by this server's clock, what it holds, what
//! was refused there, and what verifying it has shown. None of it needs a key, and none is a client's word.

use std::collections::BTreeMap;

use axum::extract::State as Shared;
use axum::{Extension, Json};
use format::FileKind;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::accounts::AccountError;
use crate::admin::Desk;
use crate::admin::answers::{Trouble, TroubleDocument};
use crate::admin::when::When;
use crate::gate::{Gate, RefusalKind};
use crate::names::{AccountName, RepositoryPlace};
use crate::quota::Figures;
use crate::serve::PeerAddress;
use crate::verify::{self, Progress};

/// All repositories that the asker may know of.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatusDocument {
    /// The moment of this answer, by the clock that all other times here are of.
    #[schema(value_type = String, format = DateTime)]
    pub now: When,
    /// Each repository.
    pub repositories: Vec<RepositoryDocument>,
    /// Refusals that belong to none of them, since the server started; for tokens only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_elsewhere: Option<BTreeMap<String, u64>>,
}

/// A repository.
#[derive(Debug, Serialize, ToSchema)]
pub struct RepositoryDocument {
    /// Its account.
    pub account: String,
    /// Its name there.
    pub repository: String,
    /// When this server received the last snapshot.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_snapshot_received_at: Option<When>,
    /// Files of all kinds.
    pub files: u64,
    /// Bytes of all kinds.
    pub bytes: u64,
    /// By kind: `config`, `keys`, `data`, `index`, `snapshots`, `locks`. A new key that nobody knows of is an alarm.
    pub kinds: BTreeMap<String, KindDocument>,
    /// Requests refused here since the server started, by reason.
    pub refused: BTreeMap<String, u64>,
    /// What verifying names against content has shown.
    pub verification: VerificationDocument,
}

/// The files of a kind.
#[derive(Debug, Serialize, ToSchema)]
pub struct KindDocument {
    /// How many.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When this server received the last of them.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_received_at: Option<When>,
}

/// Names against content: how far, and what was found.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct VerificationDocument {
    /// When the pass under way began; null between passes.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub begun_at: Option<When>,
    /// Files of the pass under way, or of the last one.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the last whole pass ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub completed_at: Option<When>,
    /// Files that are gone or whose content is not what their name says.
    pub damaged: u64,
}

impl From<&Progress> for VerificationDocument {
    fn from(progress: &Progress) -> Self {
        Self {
            begun_at: progress.begun_at.map(When),
            files: progress.files,
            bytes: progress.bytes,
            completed_at: progress.completed_at.map(When),
            damaged: progress.damaged,
        }
    }
}

fn refused(count: impl Fn(RefusalKind) -> u64) -> BTreeMap<String, u64> {
    RefusalKind::ALL.into_iter().map(|kind| (kind.word().to_owned(), count(kind))).collect()
}

fn moment(milliseconds: Option<i64>) -> Option<When> {
    milliseconds.and_then(|milliseconds| Timestamp::from_millisecond(milliseconds).ok()).map(When)
}

impl RepositoryDocument {
    /// A repository as it is shown.
    pub fn of(place: &RepositoryPlace, figures: &Figures, progress: Option<&Progress>) -> Self {
        let kind = |kind: FileKind| {
            let of = figures.of(kind);
            let document =
                KindDocument { files: of.files, bytes: of.bytes, last_received_at: moment(of.last_received_at) };
            (kind.folder().to_owned(), document)
        };
        Self {
            account: place.account.to_string(),
            repository: place.repository.to_string(),
            last_snapshot_received_at: moment(figures.of(FileKind::Snapshot).last_received_at),
            files: figures.files(),
            bytes: figures.bytes(),
            kinds: FileKind::ALL.into_iter().map(kind).collect(),
            refused: refused(|reason| figures.refused(reason)),
            verification: progress.map(VerificationDocument::from).unwrap_or_default(),
        }
    }
}

/// The repositories of one account, or of all.
pub(crate) fn of(desk: &Desk, only: Option<&AccountName>) -> Result<StatusDocument, AccountError> {
    let state = desk.steward.state();
    let book = state.book()?;
    desk.steward.forget_purged()?;
    let progress = verify::progress(state)?;
    let mut repositories = Vec::new();
    for account in book.accounts().filter(|account| only.is_none_or(|only| *only == account.name)) {
        for (name, figures) in &desk.steward.holdings().holding(&account.name).repositories {
            let place = RepositoryPlace { account: account.name.clone(), repository: name.clone() };
            repositories.push(RepositoryDocument::of(&place, figures, progress.get(&place)));
        }
    }
    let elsewhere = desk.steward.holdings().refused_elsewhere();
    let count = |reason| elsewhere.get(&reason).copied().unwrap_or(0);
    let refused_elsewhere = only.is_none().then(|| refused(count));
    Ok(StatusDocument { now: state.now().into(), repositories, refused_elsewhere })
}

/// Status of all repositories for a token, of its own account's for a credential
#[utoipa::path(get, path = "/-/status/v1/repositories", tag = "status",
    security(("token" = []), ("login" = [])), responses(
    (status = 200, body = StatusDocument),
    (status = "4XX", body = TroubleDocument),
))]
pub(crate) async fn repositories(
    Shared(desk): Shared<Desk>,
    from: Option<Extension<PeerAddress>>,
    headers: HeaderMap,
) -> Result<Json<StatusDocument>, Trouble> {
    let authorization = headers.get(AUTHORIZATION);
    let only = match desk.steward.scope(authorization).map_err(AccountError::from)? {
        Some(_) => None,
        None => {
            let Some(Extension(PeerAddress(from))) = from else { return Err(Trouble::unauthorized()) };
            Some(desk.steward.admit(from, authorization).await?.account)
        }
    };
    desk.away(move |desk| of(desk, only.as_ref())).await.map(Json)
}

/// Whether the server can let anybody in; tells nothing else, to anybody
#[utoipa::path(get, path = "/-/health", tag = "status", responses(
    (status = 200, description = "it can"),
    (status = 503, description = "its state cannot be used"),
))]
pub(crate) async fn health(Shared(desk): Shared<Desk>) -> (StatusCode, &'static str) {
    match desk.steward.state().book() {
        Ok(_) => (StatusCode::OK, "ok\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "closed\n"),
    }
}
