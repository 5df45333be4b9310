//! The server's own paths: administration of accounts, status for monitors, metrics, health.
//!
//! Each route stands once, in code, and the OpenAPI document is made from it (`docs/store-openapi.json`; a test holds
//! it current). Whoever may ask is decided for whole groups of routes and never by a handler, so that a new route
//! cannot forget it.
//!
//! | room | what it is for |
//! |---|---|
//! | `documents` | what is sent and answered, as types |
//! | `answers` | errors as `{code, message, hint}` |
//! | `accounts`, `credentials`, `tokens` | the routes of the administration |
//! | [`crate::status`], [`crate::metrics`] | what monitors read |

mod accounts;
pub(crate) mod answers;
mod credentials;
pub mod documents;
mod tokens;
pub(crate) mod when;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State as Shared};
use axum::middleware::{self, Next};
use axum::response::Response;
use http::header::AUTHORIZATION;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::accounts::{AccountError, Scope};
use crate::admin::answers::Trouble;
use crate::steward::Steward;
use crate::vault::Vault;
use crate::{metrics, status};

/// Requests of the administration are small.
const BODY_BYTES_MAX: usize = 64 << 10;

/// What the handlers work with.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    pub(crate) steward: Arc<Steward>,
    pub(crate) vault: Vault,
}

impl Desk {
    /// Runs something that waits for a disk, or hashes, where it holds up no other request.
    pub(crate) async fn away<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Desk) -> Result<T, AccountError> + Send + 'static,
    ) -> Result<T, Trouble> {
        let desk = self.clone();
        tokio::task::spawn_blocking(move || work(&desk)).await.map_err(|_| Trouble::internal())?.map_err(Trouble::from)
    }
}

/// The document's own facts.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Triplicate store",
        description = "Administration and status of a storage server. The storage itself speaks restic's REST protocol.",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT")
    ),
    tags(
        (name = "accounts", description = "Accounts and what they may hold; needs a token of scope `admin`"),
        (name = "credentials", description = "Passwords of an account and their roles; needs a token of scope `admin`"),
        (name = "tokens", description = "Bearer tokens; needs a token of scope `admin`"),
        (name = "status", description = "What monitors read; needs a token, or a credential for its own account")
    )
)]
struct Facts;

fn all() -> OpenApiRouter<Desk> {
    let administration = OpenApiRouter::new()
        .routes(routes!(accounts::list, accounts::add))
        .routes(routes!(accounts::show, accounts::change, accounts::remove))
        .routes(routes!(accounts::purge))
        .routes(routes!(credentials::list, credentials::add))
        .routes(routes!(credentials::change, credentials::remove))
        .routes(routes!(tokens::list, tokens::add))
        .routes(routes!(tokens::remove));
    OpenApiRouter::with_openapi(Facts::openapi())
        .merge(administration)
        .routes(routes!(status::repositories))
        .routes(routes!(metrics::show))
        .routes(routes!(status::health))
}

/// The routes, ready to answer.
pub fn router(steward: Arc<Steward>, vault: Vault) -> axum::Router {
    let desk = Desk { steward, vault };
    let (routes, _) = all().split_for_parts();
    routes
        .layer(middleware::from_fn_with_state(desk.clone(), admit))
        .fallback(answers::nothing_here)
        .method_not_allowed_fallback(answers::not_this_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(desk)
}

/// The OpenAPI document, as it is kept beside the code.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn document() -> Result<String, serde_json::Error> {
    let (_, mut document) = all().split_for_parts();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    components.add_security_scheme("login", SecurityScheme::Http(Http::new(HttpAuthScheme::Basic)));
    document.to_pretty_json().map(|text| text + "\n")
}

/// Below this path only administrators are let in, whatever is asked there.
const ADMINISTRATION: &str = "/-/admin/";

/// Lets administrators in where they alone belong. The paths beside are the monitors', and see to it themselves,
/// because a login of an account opens a part of what a token opens.
async fn admit(Shared(desk): Shared<Desk>, request: Request, next: Next) -> Result<Response, Trouble> {
    if request.uri().path().starts_with(ADMINISTRATION) {
        match desk.steward.scope(request.headers().get(AUTHORIZATION)).map_err(AccountError::from)? {
            Some(Scope::Admin) => {}
            Some(Scope::Observe) => return Err(Trouble::forbidden()),
            None => return Err(Trouble::unauthorized()),
        }
    }
    Ok(next.run(request).await)
}
