//! What Google's tokens are fetched with: the key of a service account, which signs that it is who it is (RFC 7523), or
//! what `gcloud auth application-default login` leaves behind. Both come as Google's own JSON.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use clock::{Clock, SystemClock};
use jiff::Timestamp;
use model::{ExposeSecret as _, Secret};
use reqwest::Url;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::json;
use url::form_urlencoded::Serializer;

use crate::http;
use crate::oauth::{self, Tokens};

const USUAL_TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
/// Reading and writing objects, and making buckets.
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// For how long a signed statement is good; Google takes no more than an hour.
const STATEMENT_SECONDS: i64 = 600;

/// Google's file of credentials. It has no `Debug`: most of it is secret.
#[derive(Deserialize)]
struct CredentialsFile {
    #[serde(rename = "type")]
    kind: String,
    project_id: Option<String>,
    token_uri: Option<String>,
    client_email: Option<String>,
    private_key: Option<String>,
    private_key_id: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    refresh_token: Option<String>,
}

/// What the credentials are good for.
pub(super) struct Admission {
    pub(super) tokens: Tokens,
    /// The project that they belong to.
    pub(super) project: Option<String>,
}

/// Reads a file of credentials. What is wrong with it is told without showing any of it.
pub(super) fn read(text: &Secret) -> Result<Admission, String> {
    let file: CredentialsFile = serde_json::from_str(text.expose_secret())
        .map_err(|_| "the credentials are not the JSON file that Google gives out".to_owned())?;
    let url = http::endpoint(file.token_uri.as_deref().unwrap_or(USUAL_TOKEN_URL))?;
    let project = file.project_id.clone();
    let tokens = match file.kind.as_str() {
        "service_account" => service_account(file, url)?,
        "authorized_user" => authorized_user(file, url)?,
        _ => return Err("the credentials are neither of a service account nor of a user".to_owned()),
    };
    Ok(Admission { tokens, project })
}

fn missing(name: &str) -> String {
    format!("the credentials have no `{name}`")
}

fn authorized_user(file: CredentialsFile, url: Url) -> Result<Tokens, String> {
    let id = file.client_id.ok_or_else(|| missing("client_id"))?;
    let secret = Secret::from(file.client_secret.ok_or_else(|| missing("client_secret"))?);
    let token = Secret::from(file.refresh_token.ok_or_else(|| missing("refresh_token"))?);
    Ok(Tokens::fetched(url, move || Ok(oauth::renewal(&id, Some(&secret), &token))))
}

fn service_account(file: CredentialsFile, url: Url) -> Result<Tokens, String> {
    let email = file.client_email.ok_or_else(|| missing("client_email"))?;
    let pem = file.private_key.ok_or_else(|| missing("private_key"))?;
    let unusable = || "the key of the service account cannot be used".to_owned();
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| unusable())?;
    let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| unusable())?;
    let key_id = file.private_key_id.unwrap_or_default();
    let (clock, audience) = (SystemClock::new(), url.clone());
    Ok(Tokens::fetched(url, move || {
        let statement = signed_statement(&key, &key_id, &email, audience.as_str(), clock.now())?;
        let mut form = Serializer::new(String::new());
        Ok(form.append_pair("grant_type", GRANT).append_pair("assertion", &statement).finish())
    }))
}

/// "I am this account, and this is for you", signed.
fn signed_statement(
    key: &RsaKeyPair,
    key_id: &str,
    email: &str,
    audience: &str,
    now: Timestamp,
) -> Result<String, String> {
    let head = json!({ "alg": "RS256", "typ": "JWT", "kid": key_id });
    let begins = now.as_second();
    let ends = begins.saturating_add(STATEMENT_SECONDS);
    let claims = json!({ "iss": email, "scope": SCOPE, "aud": audience, "iat": begins, "exp": ends });
    let said = format!("{}.{}", BASE64.encode(head.to_string()), BASE64.encode(claims.to_string()));
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), said.as_bytes(), &mut signature)
        .map_err(|_| "the key of the service account cannot sign".to_owned())?;
    Ok(format!("{said}.{}", BASE64.encode(signature)))
}
