//! Bearer tokens: who administers the server, and who only observes it.
//!
//! A token is 256 random bits, so its SHA-256 is enough to recognize it: there is nothing to guess.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use model::Secret;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const TOKEN_BYTES: usize = 32;
/// How a token begins, so that one that lies about is recognized for what it is.
const TOKEN_MARK: &str = "trps_";
/// No token is longer.
const TOKEN_TEXT_BYTES_MAX: usize = 128;

/// What a token opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Reads the status of all repositories and the metrics.
    Observe,
    /// Changes accounts too.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Scope; 2] = [Scope::Observe, Scope::Admin];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Scope::Observe => "observe",
            Scope::Admin => "admin",
        }
    }
}

/// What is kept of a token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// What its owner calls it.
    pub name: String,
    /// What it opens.
    pub scope: Scope,
    pub(crate) sha256: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it opens nothing.
    pub expires_at: Option<Timestamp>,
}

impl Token {
    /// Whether this is the token, and still one.
    pub(crate) fn is(&self, sha256: &[u8; 32], now: Timestamp) -> bool {
        bool::from(self.sha256.ct_eq(sha256)) && self.expires_at.is_none_or(|end| now < end)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("name", &self.name).field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// A new token; nothing when the system has no random bytes.
pub(crate) fn generated() -> Option<Secret> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).ok()?;
    Some(Secret::from(format!("{TOKEN_MARK}{}", URL_SAFE_NO_PAD.encode(bytes))))
}

/// What a token is recognized by; nothing for what cannot be one.
pub(crate) fn recognizable(text: &str) -> Option<[u8; 32]> {
    let is_like_one = text.starts_with(TOKEN_MARK) && text.len() <= TOKEN_TEXT_BYTES_MAX;
    is_like_one.then(|| Sha256::digest(text.as_bytes()).into())
}
