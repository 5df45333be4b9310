//! Routes of credentials. In a path `-` stands for the credential without a label, which is no label's spelling.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State as Shared};
use http::StatusCode;
use model::{ExposeSecret, Secret};

use super::Desk;
use super::answers::{Trouble, TroubleDocument};
use super::documents::{CredentialChangesDocument, CredentialDocument, GrantedDocument, NewCredentialDocument};
use crate::accounts::{AccountError, NewCredential, PasswordHash, generated};
use crate::names::{AccountName, Label, Login};

/// How a path names the credential without a label.
const NO_LABEL: &str = "-";

/// A credential to be made, and its password where the server thought of it.
pub(super) fn to_be_made(new: NewCredentialDocument) -> Result<(NewCredential, Option<Secret>), AccountError> {
    let label = new.label.map(|label| label.parse::<Label>()).transpose();
    let label = label.map_err(|error| AccountError::Invalid(error.to_string()))?;
    let thought_of = if new.password.is_none() { Some(generated()?) } else { None };
    let hash = match (&new.password, &thought_of) {
        (Some(password), _) | (None, Some(password)) => PasswordHash::of(password)?,
        (None, None) => return Err(AccountError::Invalid("there is no password".to_owned())),
    };
    Ok((NewCredential { label, role: new.role.into(), hash, expires_at: new.expires_at.map(|end| end.0) }, thought_of))
}

fn login(account: &str, label: &str) -> Result<Login, Trouble> {
    let label = if label == NO_LABEL { None } else { Some(label.parse()?) };
    Ok(Login { account: account.parse()?, label })
}

fn granted(login: &Login, password: Option<&Secret>) -> GrantedDocument {
    GrantedDocument { login: login.to_string(), password: password.map(|password| password.expose_secret().to_owned()) }
}

/// List an account's credentials
#[utoipa::path(get, path = "/-/admin/v1/accounts/{account}/credentials", tag = "credentials",
    security(("token" = [])), params(("account" = String, Path, description = "the account's name")), responses(
    (status = 200, body = Vec<CredentialDocument>),
    (status = "4XX", body = TroubleDocument),
))]
pub(super) async fn list(
    Shared(desk): Shared<Desk>,
    Path(account): Path<String>,
) -> Result<Json<Vec<CredentialDocument>>, Trouble> {
    let account: AccountName = account.parse()?;
    let book = desk.steward.state().book().map_err(AccountError::from)?;
    if book.account(&account).is_none() {
        return Err(AccountError::NoAccount(account).into());
    }
    let credentials = book.credentials_of(&account);
    Ok(Json(credentials.iter().map(|credential| CredentialDocument::of(credential)).collect()))
}

/// Add a credential to an account
#[utoipa::path(post, path = "/-/admin/v1/accounts/{account}/credentials", tag = "credentials",
    security(("token" = [])), params(("account" = String, Path, description = "the account's name")),
    request_body = NewCredentialDocument, responses(
    (status = 201, body = GrantedDocument),
    (status = "4XX", body = TroubleDocument),
))]
pub(super) async fn add(
    Shared(desk): Shared<Desk>,
    Path(account): Path<String>,
    body: Result<Json<NewCredentialDocument>, JsonRejection>,
) -> Result<(StatusCode, Json<GrantedDocument>), Trouble> {
    let (account, Json(new)): (AccountName, _) = (account.parse()?, body?);
    let added = desk.away(move |desk| {
        let (credential, password) = to_be_made(new)?;
        desk.steward.state().add_credential(&account, &credential)?;
        Ok(granted(&Login { account, label: credential.label }, password.as_ref()))
    });
    Ok((StatusCode::CREATED, Json(added.await?)))
}

/// Give a credential another role or password
#[utoipa::path(patch, path = "/-/admin/v1/accounts/{account}/credentials/{label}", tag = "credentials",
    security(("token" = [])), params(
        ("account" = String, Path, description = "the account's name"),
        ("label" = String, Path, description = "the credential's label; `-` for the one without"),
    ), request_body = CredentialChangesDocument, responses(
    (status = 200, body = GrantedDocument),
    (status = "4XX", body = TroubleDocument),
))]
pub(super) async fn change(
    Shared(desk): Shared<Desk>,
    Path((account, label)): Path<(String, String)>,
    body: Result<Json<CredentialChangesDocument>, JsonRejection>,
) -> Result<Json<GrantedDocument>, Trouble> {
    let (login, Json(changes)) = (login(&account, &label)?, body?);
    if changes.password.is_some() && changes.generate_password {
        return Err(Trouble::invalid("`password` and `generate_password` exclude each other"));
    }
    let changed = desk.away(move |desk| {
        let state = desk.steward.state();
        let thought_of = if changes.generate_password { Some(generated()?) } else { None };
        // Hashed first: what is not a password changes nothing.
        let hash = changes.password.as_ref().or(thought_of.as_ref()).map(PasswordHash::of).transpose()?;
        if let Some(role) = changes.role {
            state.change_role(&login, role.into())?;
        }
        if let Some(hash) = hash {
            state.change_password(&login, &hash)?;
        }
        Ok(granted(&login, thought_of.as_ref()))
    });
    changed.await.map(Json)
}

/// Revoke a credential
#[utoipa::path(delete, path = "/-/admin/v1/accounts/{account}/credentials/{label}", tag = "credentials",
    security(("token" = [])), params(
        ("account" = String, Path, description = "the account's name"),
        ("label" = String, Path, description = "the credential's label; `-` for the one without"),
    ), responses(
    (status = 204),
    (status = "4XX", body = TroubleDocument),
))]
pub(super) async fn remove(
    Shared(desk): Shared<Desk>,
    Path((account, label)): Path<(String, String)>,
) -> Result<StatusCode, Trouble> {
    let login = login(&account, &label)?;
    desk.away(move |desk| desk.steward.state().remove_credential(&login)).await?;
    Ok(StatusCode::NO_CONTENT)
}
