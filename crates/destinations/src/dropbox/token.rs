//! The access token: good for some hours, kept in memory alone, and fetched with the refresh token when it is missing,
//! about to end, or refused.

use std::time::Duration;

use bytes::Bytes;
use model::{ExposeSecret as _, Fault, FaultKind, Secret};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Url};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::answers;
use crate::http::{self, HttpClient, Matter};

/// A token is renewed so long before its end that no request outlives it on its way.
const RENEW_BEFORE_END_SECONDS: u64 = 300;
const ANSWER_LIMIT_BYTES: u64 = 64 << 10;

/// Where tokens come from.
#[derive(Debug)]
pub(super) struct Tokens {
    pub(super) url: Url,
    pub(super) app_key: String,
    pub(super) app_secret: Option<Secret>,
    pub(super) refresh_token: Secret,
    pub(super) current: Mutex<Option<Current>>,
}

/// A token and when it is to be renewed.
#[derive(Debug)]
pub(super) struct Current {
    header: HeaderValue,
    renew_at: Instant,
}

impl Tokens {
    /// The header that lets a request in.
    pub(super) async fn header(&self, http: &HttpClient, matter: &Matter) -> Result<HeaderValue, Fault> {
        // Held while a token is fetched: one fetch is enough for all who wait.
        let mut current = self.current.lock().await;
        let now = tokio::time::sleep(Duration::ZERO).deadline();
        if let Some(current) = current.as_ref().filter(|current| now < current.renew_at) {
            return Ok(current.header.clone());
        }
        let token = self.fetch(http, matter).await?;
        let unusable = |_| http.fault(FaultKind::Damaged, matter, "the access token cannot be sent");
        let mut header = HeaderValue::from_str(&format!("Bearer {}", token.access_token)).map_err(unusable)?;
        header.set_sensitive(true);
        let seconds = token.expires_in.saturating_sub(RENEW_BEFORE_END_SECONDS);
        let renew_at = tokio::time::sleep(Duration::from_secs(seconds)).deadline();
        *current = Some(Current { header: header.clone(), renew_at });
        Ok(header)
    }

    /// Forgets a token that was refused, unless somebody has a newer one already.
    pub(super) async fn forget(&self, refused: &HeaderValue) {
        let mut current = self.current.lock().await;
        if current.as_ref().is_some_and(|current| current.header == *refused) {
            *current = None;
        }
    }

    fn question(&self) -> String {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token");
        form.append_pair("refresh_token", self.refresh_token.expose_secret());
        form.append_pair("client_id", &self.app_key);
        if let Some(secret) = &self.app_secret {
            form.append_pair("client_secret", secret.expose_secret());
        }
        form.finish()
    }

    async fn fetch(&self, http: &HttpClient, matter: &Matter) -> Result<answers::Token, Fault> {
        let mut request = http::request(Method::POST, self.url.clone());
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(CONTENT_TYPE, kind);
        http::upload(&mut request, Bytes::from(self.question()));
        let response = http.ask(matter, request).await?.map_err(|refusal| {
            let error = answers::parse_error(&refusal.body);
            let mut fault = http.refused(matter, &refusal);
            if let Some(kind) = error.kind() {
                let words = error.words();
                fault.kind = kind;
                fault.cause = format!("Dropbox gives no access for this refresh token and application: `{words}`");
            }
            fault
        })?;
        let body = http.body(matter, response, ANSWER_LIMIT_BYTES).await?;
        // The text of the parser's error may hold a piece of what was parsed.
        serde_json::from_slice(&body)
            .map_err(|_| http.fault(FaultKind::Damaged, matter, "the answer holds no access token"))
    }
}
