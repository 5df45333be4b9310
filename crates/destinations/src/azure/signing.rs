//! How Azure is told who asks: a signature with the account's key over what matters of a request ("Shared Key"), or a
//! token that somebody with the key signed ("shared access signature"), which goes into the query.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use model::{ExposeSecret as _, Secret};
use percent_encoding::percent_decode_str;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Request, Url};
use sha2::Sha256;

const DATE: HeaderName = HeaderName::from_static("x-ms-date");
/// What stands for itself in a signature, in this order, after the verb.
const SIGNED_HEADERS: [&str; 11] = [
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

/// What lets us in.
#[derive(Debug)]
pub(super) enum Credential {
    /// The account's key, as bytes in base 64 again.
    Key(Secret),
    /// A query that was signed by somebody else.
    Token(Secret),
}

impl Credential {
    /// A key as the portal shows it; what is no key is told without showing it.
    pub(super) fn key(text: &Secret) -> Result<Self, String> {
        match BASE64.decode(text.expose_secret().trim()) {
            Ok(bytes) if !bytes.is_empty() => Ok(Credential::Key(Secret::from(BASE64.encode(bytes)))),
            _ => Err("the account's key is not in base 64".to_owned()),
        }
    }

    /// A token, with or without the question mark that it is often shown with.
    pub(super) fn token(text: &Secret) -> Self {
        Credential::Token(Secret::from(text.expose_secret().trim().trim_start_matches('?')))
    }

    /// Lets a finished request in.
    pub(super) fn admit(&self, request: &mut Request, account: &str, now: Timestamp) -> Result<(), String> {
        match self {
            Credential::Token(token) => {
                let mut query = request.url().query().map_or(String::new(), |query| format!("{query}&"));
                query.push_str(token.expose_secret());
                request.url_mut().set_query(Some(&query));
            }
            Credential::Key(key) => {
                let unfit = |_| "the request cannot be signed".to_owned();
                let now = HeaderValue::from_str(&now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
                request.headers_mut().insert(DATE, now.map_err(unfit)?);
                let text = string_to_sign(request.method().as_str(), request.url(), request.headers(), account);
                let key = BASE64.decode(key.expose_secret()).map_err(|_| "the key cannot be used".to_owned())?;
                let mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| "the key cannot be used".to_owned())?;
                let signature = BASE64.encode(mac.chain_update(text).finalize().into_bytes());
                let mut value = HeaderValue::from_str(&format!("SharedKey {account}:{signature}"))
                    .map_err(|_| "the name of the account cannot be sent".to_owned())?;
                value.set_sensitive(true);
                request.headers_mut().insert(AUTHORIZATION, value);
            }
        }
        Ok(())
    }
}

/// What is signed: the verb, the headers that count, and what is asked for.
fn string_to_sign(verb: &str, url: &Url, headers: &HeaderMap, account: &str) -> String {
    let told = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut text = format!("{verb}\n");
    for name in SIGNED_HEADERS {
        let value = told(name);
        // No length and a length of nothing are the same there.
        text.push_str(if name == "content-length" && value == "0" { "" } else { value });
        text.push('\n');
    }
    let mut own: Vec<&str> = headers.keys().map(HeaderName::as_str).filter(|name| name.starts_with("x-ms-")).collect();
    own.sort_unstable();
    for name in own {
        text.push_str(&format!("{name}:{}\n", told(name).trim()));
    }
    text.push_str(&format!("/{account}{}", url.path()));
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut words: Vec<(String, String)> = url
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decoded(name).to_lowercase(), decoded(value)))
        .collect();
    words.sort();
    for (name, value) in words {
        text.push_str(&format!("\n{name}:{value}"));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use reqwest::Method;

    #[test]
    fn what_is_signed_is_what_the_documentation_says() {
        let url = "https://acc.blob.core.windows.net/c?restype=container&comp=list&prefix=a%2Fb%20c&marker=";
        let mut request = Request::new(Method::GET, url.parse().unwrap());
        request.headers_mut().insert("x-ms-version", "2021-12-02".parse().unwrap());
        request.headers_mut().insert("range", "bytes=0-1".parse().unwrap());
        request.headers_mut().insert("content-length", "0".parse().unwrap());
        request.headers_mut().insert("x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT".parse().unwrap());
        let text = string_to_sign("GET", request.url(), request.headers(), "acc");
        let expected = "GET\n\n\n\n\n\n\n\n\n\n\nbytes=0-1\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2021-12-02\n\
                        /acc/c\ncomp:list\nmarker:\nprefix:a/b c\nrestype:container";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_token_joins_the_query_and_nothing_shows_it() {
        let credential = Credential::token(&Secret::from("?sv=2021&sig=hush%2B"));
        let mut request = Request::new(Method::GET, "https://host/c?comp=list".parse().unwrap());
        credential.admit(&mut request, "acc", Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(request.url().query(), Some("comp=list&sv=2021&sig=hush%2B"));
        assert!(!format!("{credential:?}").contains("hush"));
        assert!(!request.headers().contains_key(AUTHORIZATION));
        let refused = Credential::key(&Secret::from("hush!")).expect_err("no base 64");
        assert!(!refused.contains("hush"), "{refused}");
    }
}
