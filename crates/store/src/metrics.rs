//! The status as Prometheus reads it. Every figure is looked up when it is asked for, so none can be left behind by a
//! repository that is gone.

use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use crate::accounts::AccountError;
use crate::admin::Desk;
use crate::admin::answers::{Trouble, TroubleDocument};
use crate::admin::when::When;
use crate::status::{self, RepositoryDocument, StatusDocument};

const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Repository {
    account: String,
    repository: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    account: String,
    repository: String,
    kind: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refusal {
    account: String,
    repository: String,
    reason: String,
}

/// Figures of an account that differ from what it may hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfAccount {
    account: String,
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn seconds(moment: Option<When>) -> Option<i64> {
    moment.map(|moment| moment.0.as_second())
}

/// Metrics of all repositories
#[utoipa::path(get, path = "/metrics", tag = "status", security(("token" = [])), responses(
    (status = 200, body = String, content_type = "application/openmetrics-text"),
    (status = "4XX", body = TroubleDocument),
))]
pub(crate) async fn show(Shared(desk): Shared<Desk>, headers: HeaderMap) -> Result<Response, Trouble> {
    let scope = desk.steward.scope(headers.get(AUTHORIZATION)).map_err(AccountError::from)?;
    scope.ok_or_else(Trouble::unauthorized)?;
    let text = desk.away(|desk| {
        let status = status::of(desk, None)?;
        written(desk, &status).map_err(|error| AccountError::Disk(error.to_string()))
    });
    Ok(([(CONTENT_TYPE, TEXT)], text.await?).into_response())
}

fn written(desk: &Desk, status: &StatusDocument) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("triplicate_store");
    of_repositories(&mut registry, &status.repositories);
    of_kinds(&mut registry, &status.repositories);
    of_refusals(&mut registry, status);
    of_accounts(&mut registry, desk);
    let hashes = ConstCounter::new(desk.steward.hashes() as u64);
    registry.register("password_hashes", "Passwords hashed since the server started", hashes);
    registry.register("time_seconds", "The clock of the server", ConstGauge::new(status.now.0.as_second()));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

/// Fills one family from all repositories; a figure that is not known is absent.
fn each<'a>(
    registry: &mut Registry,
    (name, help): (&str, &str),
    repositories: &'a [RepositoryDocument],
    figure: impl Fn(&'a RepositoryDocument) -> Option<i64>,
) {
    let family = Family::<Repository, Gauge>::default();
    for document in repositories {
        if let Some(value) = figure(document) {
            let labels = Repository { account: document.account.clone(), repository: document.repository.clone() };
            family.get_or_create(&labels).set(value);
        }
    }
    registry.register(name, help, family);
}

fn of_repositories(registry: &mut Registry, repositories: &[RepositoryDocument]) {
    let last = ("last_snapshot_received_seconds", "When the last snapshot was received, by the server's clock");
    each(registry, last, repositories, |document| seconds(document.last_snapshot_received_at));
    let completed = ("verification_completed_seconds", "When names were last compared with contents, all of them");
    each(registry, completed, repositories, |document| seconds(document.verification.completed_at));
    let files = ("verification_files", "Files of the pass under way, or of the last one");
    each(registry, files, repositories, |document| Some(number(document.verification.files)));
    let damaged = ("damaged_files", "Files that are gone or whose content is not what their name says");
    each(registry, damaged, repositories, |document| Some(number(document.verification.damaged)));
}

fn of_kinds(registry: &mut Registry, repositories: &[RepositoryDocument]) {
    let (files, bytes) = (Family::<Kind, Gauge>::default(), Family::<Kind, Gauge>::default());
    for document in repositories {
        for (kind, figures) in &document.kinds {
            let (account, repository) = (document.account.clone(), document.repository.clone());
            let labels = Kind { account, repository, kind: kind.clone() };
            files.get_or_create(&labels).set(number(figures.files));
            bytes.get_or_create(&labels).set(number(figures.bytes));
        }
    }
    registry.register("files", "Files, by kind", files);
    registry.register("bytes", "Bytes of files, by kind", bytes);
}

fn of_refusals(registry: &mut Registry, status: &StatusDocument) {
    let family = Family::<Refusal, prometheus_client::metrics::counter::Counter>::default();
    let count = |account: &str, repository: &str, reason: &str, value: u64| {
        let labels =
            Refusal { account: account.to_owned(), repository: repository.to_owned(), reason: reason.to_owned() };
        family.get_or_create(&labels).inc_by(value);
    };
    for document in &status.repositories {
        for (reason, value) in &document.refused {
            count(&document.account, &document.repository, reason, *value);
        }
    }
    for (reason, value) in status.refused_elsewhere.iter().flatten() {
        count("", "", reason, *value);
    }
    let help = "Refused requests since the server started; without names where they belong to no repository";
    registry.register("refused_requests", help, family);
}

fn of_accounts(registry: &mut Registry, desk: &Desk) {
    let (held, quota) = (Family::<OfAccount, Gauge>::default(), Family::<OfAccount, Gauge>::default());
    // Who may not be looked at was told so before.
    let Ok(book) = desk.steward.state().book() else { return };
    for account in book.accounts() {
        let labels = OfAccount { account: account.name.to_string() };
        let holding = desk.steward.holdings().holding(&account.name);
        held.get_or_create(&labels).set(number(holding.bytes.saturating_add(holding.reserved_bytes)));
        if let Some(bytes) = account.limits.quota_bytes {
            quota.get_or_create(&labels).set(number(bytes));
        }
    }
    registry.register("account_bytes", "Bytes of an account, uploads under way included", held);
    registry.register("account_quota_bytes", "Bytes that an account may hold", quota);
}
