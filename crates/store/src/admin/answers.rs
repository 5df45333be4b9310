//! Answers that say no: a status, and `{code, message, hint}`.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse, Response};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::accounts::{AccountError, Unsuitable};
use crate::gate::Refused;
use crate::names::NameError;

/// Why something was not done.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct TroubleDocument {
    /// A word for programs; it does not change.
    #[schema(example = "no_account")]
    pub code: String,
    /// A line for people.
    pub message: String,
    /// What can be done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// An answer that says no.
#[derive(Debug)]
pub(crate) struct Trouble {
    status: StatusCode,
    document: TroubleDocument,
    retry_after_seconds: Option<u64>,
}

impl Trouble {
    fn new(status: StatusCode, code: &str, message: impl ToString) -> Self {
        let document = TroubleDocument { code: code.to_owned(), message: message.to_string(), hint: None };
        Self { status, document, retry_after_seconds: None }
    }

    /// No token, or none that is good for anything.
    pub(crate) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "unauthorized")
    }

    /// A token of a scope that does not reach here.
    pub(crate) fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "this token may not do that")
    }

    /// Something that cannot be understood.
    pub(crate) fn invalid(message: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", message)
    }

    /// A fault of ours; what it was stands in the log.
    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "something went wrong on the server")
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.document)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<AccountError> for Trouble {
    fn from(error: AccountError) -> Self {
        let (status, code) = match &error {
            AccountError::NoAccount(_) => (StatusCode::NOT_FOUND, "no_account"),
            AccountError::NoCredential(_) => (StatusCode::NOT_FOUND, "no_credential"),
            AccountError::NoToken(_) => (StatusCode::NOT_FOUND, "no_token"),
            AccountError::AccountExists(_) => (StatusCode::CONFLICT, "account_exists"),
            AccountError::CredentialExists(_) => (StatusCode::CONFLICT, "credential_exists"),
            AccountError::TokenExists(_) => (StatusCode::CONFLICT, "token_exists"),
            AccountError::Removed(_) => (StatusCode::CONFLICT, "removed"),
            AccountError::NotRemoved(_) => (StatusCode::CONFLICT, "not_removed"),
            AccountError::Invalid(_) => return Self::invalid(error),
            AccountError::Disk(_) => return Self::internal(),
            // Where the file is, and what is wrong with it, is the operator's business.
            AccountError::State(_) => {
                return Self::new(StatusCode::SERVICE_UNAVAILABLE, "closed", "the server's state cannot be used");
            }
        };
        let hint = error.hint().map(str::to_owned);
        let trouble = Self::new(status, code, error);
        Self { document: TroubleDocument { hint, ..trouble.document }, ..trouble }
    }
}

impl From<NameError> for Trouble {
    fn from(error: NameError) -> Self {
        Self::invalid(error)
    }
}

impl From<Unsuitable> for AccountError {
    fn from(error: Unsuitable) -> Self {
        AccountError::Invalid(error.to_string())
    }
}

impl From<JsonRejection> for Trouble {
    fn from(rejection: JsonRejection) -> Self {
        Self { status: rejection.status(), ..Self::invalid(rejection.body_text()) }
    }
}

impl From<Refused> for Trouble {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unauthorized => Self::unauthorized(),
            Refused::Closed => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "closed", "the server's state cannot be used")
            }
            Refused::TooMany { retry_after } => Self {
                retry_after_seconds: Some(retry_after.as_secs().max(1)),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many", "too many failed logins")
            },
        }
    }
}

/// Every path below `/-/` that is none.
pub(super) async fn nothing_here() -> Trouble {
    Trouble::new(StatusCode::NOT_FOUND, "no_path", "there is nothing here")
}

/// A path that is one, asked with another method.
pub(super) async fn not_this_method() -> Trouble {
    Trouble::new(StatusCode::METHOD_NOT_ALLOWED, "no_method", "this method is not for this path")
}
