//! Routes of tokens.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State as Shared};
use http::StatusCode;
use model::ExposeSecret;

use super::Desk;
use super::answers::{Trouble, TroubleDocument};
use super::documents::{GrantedTokenDocument, NewTokenDocument, TokenDocument};
use crate::accounts::AccountError;

/// List tokens
#[utoipa::path(get, path = "/-/admin/v1/tokens", tag = "tokens", security(("token" = [])), responses(
    (status = 200, body = Vec<TokenDocument>),
    (status = "4XX", body = TroubleDocument),
))]
pub(super) async fn list(Shared(desk): Shared<Desk>) -> Result<Json<Vec<TokenDocument>>, Trouble> {
    let book = desk.steward.state().book().map_err(AccountError::from)?;
    Ok(Json(book.tokens().iter().map(TokenDocument::of).collect()))
}

/// Make a token
#[utoipa::path(post, path = "/-/admin/v1/tokens", tag = "tokens", security(("token" = [])),
    request_body = NewTokenDocument, responses(
    (status = 201, body = GrantedTokenDocument),
    (status = "4XX", body = TroubleDocument),
))]
pub(super) async fn add(
    Shared(desk): Shared<Desk>,
    body: Result<Json<NewTokenDocument>, JsonRejection>,
) -> Result<(StatusCode, Json<GrantedTokenDocument>), Trouble> {
    let Json(new) = body?;
    let granted = desk.away(move |desk| {
        let token = desk.steward.state().add_token(&new.name, new.scope.into(), new.expires_at.map(|end| end.0))?;
        Ok(GrantedTokenDocument { name: new.name, token: token.expose_secret().to_owned() })
    });
    Ok((StatusCode::CREATED, Json(granted.await?)))
}

/// Revoke a token
#[utoipa::path(delete, path = "/-/admin/v1/tokens/{name}", tag = "tokens", security(("token" = [])),
    params(("name" = String, Path, description = "the token's name")), responses(
    (status = 204),
    (status = "4XX", body = TroubleDocument),
))]
pub(super) async fn remove(Shared(desk): Shared<Desk>, Path(name): Path<String>) -> Result<StatusCode, Trouble> {
    desk.away(move |desk| desk.steward.state().remove_token(&name)).await?;
    Ok(StatusCode::NO_CONTENT)
}
