//! Routes of accounts.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State as Shared};
use http::StatusCode;
use model::ExposeSecret;

use super::Desk;
use super::answers::{Trouble, TroubleDocument};
use super::credentials::to_be_made;
use super::documents::{
    AccountChangesDocument, AccountDocument, GrantedDocument, NewAccountDocument, PurgeDocument, PurgedDocument,
    UsageDocument,
};
use crate::accounts::{AccountError, purge};
use crate::names::{AccountName, Login};

/// One account as it is shown.
fn document(desk: &Desk, name: &AccountName) -> Result<AccountDocument, AccountError> {
    let book = desk.steward.state().book()?;
    let account = book.account(name).ok_or_else(|| AccountError::NoAccount(name.clone()))?;
    let usage = UsageDocument::from(&desk.steward.holdings().holding(name));
    Ok(AccountDocument::of(account, &book.credentials_of(name), Some(usage)))
}

/// List accounts, removed ones too
#[utoipa::path(get, path = "/-/admin/v1/accounts", tag = "accounts", security(("token" = [])), responses(
    (status = 200, body = Vec<AccountDocument>),
    (status = "4XX", body = TroubleDocument),
))]
pub(super) async fn list(Shared(desk): Shared<Desk>) -> Result<Json<Vec<AccountDocument>>, Trouble> {
    let documents = desk.away(|desk| {
        let book = desk.steward.state().book()?;
        book.accounts().map(|account| document(desk, &account.name)).collect()
    });
    documents.await.map(Json)
}

/// Add an account
#[utoipa::path(post, path = "/-/admin/v1/accounts", tag = "accounts", security(("token" = [])),
    request_body = NewAccountDocument, responses(
    (status = 201, body = GrantedDocument),
    (status = "4XX", body = TroubleDocument),
))]
pub(super) async fn add(
    Shared(desk): Shared<Desk>,
    body: Result<Json<NewAccountDocument>, JsonRejection>,
) -> Result<(StatusCode, Json<GrantedDocument>), Trouble> {
    let Json(new) = body?;
    let name: AccountName = new.name.parse()?;
    let granted = desk.away(move |desk| {
        let limits = new.limits();
        let (credential, password) = new.credential.map(to_be_made).transpose()?.unzip();
        desk.steward.state().add_account(&name, limits, credential.as_ref())?;
        let label = credential.and_then(|credential| credential.label);
        let login = Login { account: name, label }.to_string();
        Ok(GrantedDocument { login, password: password.flatten().map(|password| password.expose_secret().to_owned()) })
    });
    Ok((StatusCode::CREATED, Json(granted.await?)))
}

/// Show an account
#[utoipa::path(get, path = "/-/admin/v1/accounts/{account}", tag = "accounts", security(("token" = [])),
    params(("account" = String, Path, description = "the account's name")), responses(
    (status = 200, body = AccountDocument),
    (status = "4XX", body = TroubleDocument),
))]
pub(super) async fn show(
    Shared(desk): Shared<Desk>,
    Path(name): Path<String>,
) -> Result<Json<AccountDocument>, Trouble> {
    let name: AccountName = name.parse()?;
    desk.away(move |desk| document(desk, &name)).await.map(Json)
}

/// Change an account's quotas or minimum age, lock it, or let it in again
#[utoipa::path(patch, path = "/-/admin/v1/accounts/{account}", tag = "accounts", security(("token" = [])),
    params(("account" = String, Path, description = "the account's name")),
    request_body = AccountChangesDocument, responses(
    (status = 200, body = AccountDocument),
    (status = "4XX", body = TroubleDocument),
))]
pub(super) async fn change(
    Shared(desk): Shared<Desk>,
    Path(name): Path<String>,
    body: Result<Json<AccountChangesDocument>, JsonRejection>,
) -> Result<Json<AccountDocument>, Trouble> {
    let (name, Json(changes)): (AccountName, _) = (name.parse()?, body?);
    let changed = desk.away(move |desk| {
        let state = desk.steward.state();
        state.change_limits(&name, changes.limits())?;
        match changes.disabled {
            Some(true) => state.disable_account(&name)?,
            Some(false) => state.enable_account(&name)?,
            None => {}
        }
        document(desk, &name)
    });
    changed.await.map(Json)
}

/// Remove an account and its credentials; what it stored stays
#[utoipa::path(delete, path = "/-/admin/v1/accounts/{account}", tag = "accounts", security(("token" = [])),
    params(("account" = String, Path, description = "the account's name")), responses(
    (status = 200, body = AccountDocument),
    (status = "4XX", body = TroubleDocument),
))]
pub(super) async fn remove(
    Shared(desk): Shared<Desk>,
    Path(name): Path<String>,
) -> Result<Json<AccountDocument>, Trouble> {
    let name: AccountName = name.parse()?;
    let removed = desk.away(move |desk| {
        desk.steward.state().remove_account(&name)?;
        document(desk, &name)
    });
    removed.await.map(Json)
}

/// Remove for good what a removed account stored
#[utoipa::path(post, path = "/-/admin/v1/accounts/{account}/purge", tag = "accounts", security(("token" = [])),
    params(("account" = String, Path, description = "the account's name")),
    request_body = PurgeDocument, responses(
    (status = 200, body = PurgedDocument),
    (status = "4XX", body = TroubleDocument),
))]
pub(super) async fn purge(
    Shared(desk): Shared<Desk>,
    Path(name): Path<String>,
    body: Result<Json<PurgeDocument>, JsonRejection>,
) -> Result<Json<PurgedDocument>, Trouble> {
    let (name, Json(again)): (AccountName, _) = (name.parse()?, body?);
    if again.name != name.as_str() {
        return Err(Trouble::invalid("the name in the body is not the one in the path"));
    }
    let purged = desk.away(move |desk| {
        let purged = purge::purge(desk.steward.state(), &desk.vault, &name)?;
        desk.steward.forget_purged()?;
        Ok(PurgedDocument { repositories: purged.repositories, files: purged.files })
    });
    purged.await.map(Json)
}
