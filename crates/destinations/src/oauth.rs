//! Access tokens (OAuth 2): good for some hours, kept in memory alone, and fetched when one is missing, about to end, or
//! refused. What they are fetched with is the matter of whoever asks.

use std::time::Duration;

use bytes::Bytes;
use model::{ExposeSecret as _, Fault, FaultKind, Secret};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request, Response, StatusCode, Url};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::form_urlencoded::Serializer;

use crate::http::{self, HttpClient, Matter, Refusal};

/// A token is renewed so long before its end that no request outlives it on its way.
const RENEW_BEFORE_END_SECONDS: u64 = 300;
const ANSWER_LIMIT_BYTES: u64 = 64 << 10;

/// Makes the form that a token is asked for with, or says why there is none.
type Grant = Box<dyn Fn() -> Result<String, String> + Send + Sync>;

/// Where tokens come from.
pub(crate) enum Tokens {
    /// The user has one, and nobody renews it.
    Given(HeaderValue),
    /// They are fetched.
    Fetched {
        /// From here.
        url: Url,
        /// With this.
        grant: Grant,
        /// The one in use.
        current: Mutex<Option<Current>>,
    },
}

/// A token and when it is to be renewed.
pub(crate) struct Current {
    header: HeaderValue,
    renew_at: Instant,
}

/// A fresh token.
#[derive(Deserialize)]
struct Token {
    access_token: String,
    /// For how long it is good.
    expires_in: u64,
}

/// Why there is none (RFC 6749, 5.2).
#[derive(Deserialize)]
struct NoToken {
    error: String,
    #[serde(default)]
    error_description: String,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

impl Tokens {
    /// One that the user has.
    pub(crate) fn given(token: &Secret) -> Result<Self, String> {
        bearer(token.expose_secret().trim()).map(Tokens::Given).ok_or_else(|| "the token cannot be sent".to_owned())
    }

    /// Those that `url` gives for what `grant` says.
    pub(crate) fn fetched(url: Url, grant: impl Fn() -> Result<String, String> + Send + Sync + 'static) -> Self {
        Tokens::Fetched { url, grant: Box::new(grant), current: Mutex::default() }
    }

    /// Asks with a token, and once more with a new one when that is what was wrong.
    pub(crate) async fn ask(
        &self,
        http: &HttpClient,
        matter: &Matter,
        request: impl Fn() -> Request,
    ) -> Result<Result<Response, Refusal>, Fault> {
        let mut is_second = matches!(self, Tokens::Given(_));
        loop {
            let token = self.header(http, matter).await?;
            let mut request = request();
            request.headers_mut().insert(AUTHORIZATION, token.clone());
            match http.ask(matter, request).await? {
                Err(refusal) if refusal.status == StatusCode::UNAUTHORIZED && !is_second => {
                    self.forget(&token).await;
                    is_second = true;
                }
                answer => return Ok(answer),
            }
        }
    }

    /// The header that lets a request in.
    async fn header(&self, http: &HttpClient, matter: &Matter) -> Result<HeaderValue, Fault> {
        let (url, grant, current) = match self {
            Tokens::Given(header) => return Ok(header.clone()),
            Tokens::Fetched { url, grant, current } => (url, grant, current),
        };
        // Held while a token is fetched: one fetch is enough for all who wait.
        let mut current = current.lock().await;
        let now = tokio::time::sleep(Duration::ZERO).deadline();
        if let Some(current) = current.as_ref().filter(|current| now < current.renew_at) {
            return Ok(current.header.clone());
        }
        let form = grant().map_err(|cause| http.fault(FaultKind::Misconfigured, matter, cause))?;
        let token = fetch(http, matter, url, form).await?;
        let unusable = || http.fault(FaultKind::Damaged, matter, "the access token cannot be sent");
        let header = bearer(&token.access_token).ok_or_else(unusable)?;
        let seconds = token.expires_in.saturating_sub(RENEW_BEFORE_END_SECONDS);
        let renew_at = tokio::time::sleep(Duration::from_secs(seconds)).deadline();
        *current = Some(Current { header: header.clone(), renew_at });
        Ok(header)
    }

    /// Forgets a token that was refused, unless somebody has a newer one already.
    async fn forget(&self, refused: &HeaderValue) {
        let Tokens::Fetched { current, .. } = self else { return };
        let mut current = current.lock().await;
        if current.as_ref().is_some_and(|current| current.header == *refused) {
            *current = None;
        }
    }
}

/// The form that asks for a new token with one that renews.
pub(crate) fn renewal(client_id: &str, client_secret: Option<&Secret>, refresh_token: &Secret) -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token").append_pair("client_id", client_id);
    form.append_pair("refresh_token", refresh_token.expose_secret());
    if let Some(secret) = client_secret {
        form.append_pair("client_secret", secret.expose_secret());
    }
    form.finish()
}

fn bearer(token: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

async fn fetch(http: &HttpClient, matter: &Matter, url: &Url, form: String) -> Result<Token, Fault> {
    let mut request = http::request(Method::POST, url.clone());
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    request.headers_mut().insert(CONTENT_TYPE, kind);
    http::upload(&mut request, Bytes::from(form));
    let response = http.ask(matter, request).await?.map_err(|refusal| no_token(http, matter, &refusal))?;
    let body = http.body(matter, response, ANSWER_LIMIT_BYTES).await?;
    // The text of the parser's error may hold a piece of what was parsed.
    serde_json::from_slice(&body)
        .map_err(|_| http.fault(FaultKind::Damaged, matter, "the answer holds no access token"))
}

fn no_token(http: &HttpClient, matter: &Matter, refusal: &Refusal) -> Fault {
    let mut fault = http.refused(matter, refusal);
    if let Ok(NoToken { error, error_description }) = serde_json::from_str(&refusal.body) {
        if matches!(refusal.status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED) {
            fault.kind = FaultKind::Denied;
        }
        let words = http::words_of(&error, &error_description);
        fault.cause = format!("no access is given for these credentials: {words}");
    }
    match fault.kind {
        // It is the door that is missing, and not what was asked for behind it.
        FaultKind::NotFound => Fault { kind: FaultKind::Misconfigured, ..fault },
        _ => fault,
    }
}
