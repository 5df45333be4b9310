//! What the administration is sent and what it answers. The commands of the same names write the same documents.

use model::Secret;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

pub use super::when::When;

use crate::accounts::{Account, Credential, LimitChanges, Limits, Scope, Token};
use crate::quota::Holding;
use crate::role::Role;

/// What a credential may do: `read` lists and reads, `append` adds too and removes locks only, `full` removes what is
/// old enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RoleWord {
    /// Lists and reads.
    Read,
    /// Adds too, and removes locks only.
    Append,
    /// Removes too what is old enough.
    Full,
}

impl From<Role> for RoleWord {
    fn from(role: Role) -> Self {
        match role {
            Role::Read => RoleWord::Read,
            Role::Append => RoleWord::Append,
            Role::Full => RoleWord::Full,
        }
    }
}

impl From<RoleWord> for Role {
    fn from(word: RoleWord) -> Self {
        match word {
            RoleWord::Read => Role::Read,
            RoleWord::Append => Role::Append,
            RoleWord::Full => Role::Full,
        }
    }
}

/// An account.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AccountDocument {
    /// Its name, the first part of its repositories' paths.
    pub name: String,
    /// Nobody gets in while it is.
    pub disabled: bool,
    /// When it was removed; what it stored is still there.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub removed_at: Option<When>,
    /// Bytes that it may hold; null for no quota.
    pub quota_bytes: Option<u64>,
    /// Files that it may hold.
    pub quota_files: Option<u64>,
    /// Repositories that it may have.
    pub quota_repositories: Option<u64>,
    /// How long after the server received a file nobody can remove it.
    pub minimum_age_seconds: u64,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: When,
    /// What it holds; absent where nobody has counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageDocument>,
    /// Its credentials.
    pub credentials: Vec<CredentialDocument>,
}

/// What an account holds.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UsageDocument {
    /// Bytes of its files.
    pub bytes: u64,
    /// Its files.
    pub files: u64,
    /// Its repositories.
    pub repositories: u64,
}

impl From<&Holding> for UsageDocument {
    fn from(holding: &Holding) -> Self {
        Self { bytes: holding.bytes, files: holding.files, repositories: holding.repositories.len() as u64 }
    }
}

impl AccountDocument {
    /// An account as it is shown.
    pub fn of(account: &Account, credentials: &[std::sync::Arc<Credential>], usage: Option<UsageDocument>) -> Self {
        Self {
            name: account.name.to_string(),
            disabled: account.disabled,
            removed_at: account.removed_at.map(When),
            quota_bytes: account.limits.quota_bytes,
            quota_files: account.limits.quota_files,
            quota_repositories: account.limits.quota_repositories,
            minimum_age_seconds: account.limits.minimum_age_seconds,
            created_at: account.created_at.into(),
            usage,
            credentials: credentials.iter().map(|credential| CredentialDocument::of(credential)).collect(),
        }
    }
}

/// A credential; its password is never shown.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CredentialDocument {
    /// What a client writes as its user name.
    pub login: String,
    /// Its label; null for the credential without one.
    pub label: Option<String>,
    /// What it may do.
    pub role: RoleWord,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: When,
    /// From when on it opens nothing.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<When>,
}

impl CredentialDocument {
    /// A credential as it is shown.
    pub fn of(credential: &Credential) -> Self {
        Self {
            login: credential.login().to_string(),
            label: credential.label.as_ref().map(ToString::to_string),
            role: credential.role.into(),
            created_at: credential.created_at.into(),
            expires_at: credential.expires_at.map(When),
        }
    }
}

/// A credential that was made or changed, with its password where the server thought of it. It is shown this once.
#[derive(Serialize, ToSchema)]
pub struct GrantedDocument {
    /// What a client writes as its user name.
    pub login: String,
    /// The password, if the server thought of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// A credential to be made. Without a password the server thinks of one, which is better than most.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCredentialDocument {
    /// Its label; the account's first credential needs none.
    #[serde(default)]
    pub label: Option<String>,
    /// What it may do.
    pub role: RoleWord,
    /// Its password.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub password: Option<Secret>,
    /// From when on it opens nothing: a lease.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<When>,
}

/// An account to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAccountDocument {
    /// Its name.
    pub name: String,
    /// Its first credential; none for an account that nobody gets into yet.
    #[serde(default)]
    pub credential: Option<NewCredentialDocument>,
    /// Bytes that it may hold.
    #[serde(default)]
    pub quota_bytes: Option<u64>,
    /// Files that it may hold.
    #[serde(default)]
    pub quota_files: Option<u64>,
    /// Repositories that it may have.
    #[serde(default)]
    pub quota_repositories: Option<u64>,
    /// How long after the server received a file nobody can remove it; a day when it is not given.
    #[serde(default)]
    pub minimum_age_seconds: Option<u64>,
}

impl NewAccountDocument {
    /// Its limits.
    pub(crate) fn limits(&self) -> Limits {
        let usual = Limits::default();
        Limits {
            quota_bytes: self.quota_bytes,
            quota_files: self.quota_files,
            quota_repositories: self.quota_repositories,
            minimum_age_seconds: self.minimum_age_seconds.unwrap_or(usual.minimum_age_seconds),
        }
    }
}

/// What changes of an account. What is absent stays; null takes a quota away.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountChangesDocument {
    /// True locks everybody out, false lets in again, and takes back a removal.
    #[serde(default)]
    pub disabled: Option<bool>,
    /// Bytes that it may hold.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<u64>)]
    pub quota_bytes: Option<Option<u64>>,
    /// Files that it may hold.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<u64>)]
    pub quota_files: Option<Option<u64>>,
    /// Repositories that it may have.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<u64>)]
    pub quota_repositories: Option<Option<u64>>,
    /// How long after the server received a file nobody can remove it.
    #[serde(default)]
    pub minimum_age_seconds: Option<u64>,
}

impl AccountChangesDocument {
    /// What changes of its limits.
    pub(crate) fn limits(&self) -> LimitChanges {
        LimitChanges {
            quota_bytes: self.quota_bytes,
            quota_files: self.quota_files,
            quota_repositories: self.quota_repositories,
            minimum_age_seconds: self.minimum_age_seconds,
        }
    }
}

/// Tells null from absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// What changes of a credential.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialChangesDocument {
    /// Another role.
    #[serde(default)]
    pub role: Option<RoleWord>,
    /// Another password.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub password: Option<Secret>,
    /// Another password, which the server thinks of.
    #[serde(default)]
    pub generate_password: bool,
}

/// The second step of removing an account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PurgeDocument {
    /// The account's name once more.
    pub name: String,
}

/// What a purge removed.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PurgedDocument {
    /// Repositories that are gone.
    pub repositories: u64,
    /// Files that are gone, as the journal knew them.
    pub files: u64,
}

/// What a token opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScopeWord {
    /// Reads status and metrics.
    Observe,
    /// Changes accounts too.
    Admin,
}

impl From<Scope> for ScopeWord {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Observe => ScopeWord::Observe,
            Scope::Admin => ScopeWord::Admin,
        }
    }
}

impl From<ScopeWord> for Scope {
    fn from(word: ScopeWord) -> Self {
        match word {
            ScopeWord::Observe => Scope::Observe,
            ScopeWord::Admin => Scope::Admin,
        }
    }
}

/// A token; the token itself is shown once, when it is made.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TokenDocument {
    /// What its owner calls it.
    pub name: String,
    /// What it opens.
    pub scope: ScopeWord,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: When,
    /// From when on it opens nothing.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<When>,
}

impl TokenDocument {
    /// A token as it is shown.
    pub fn of(token: &Token) -> Self {
        Self {
            name: token.name.clone(),
            scope: token.scope.into(),
            created_at: token.created_at.into(),
            expires_at: token.expires_at.map(When),
        }
    }
}

/// A token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTokenDocument {
    /// What its owner calls it.
    pub name: String,
    /// What it opens.
    pub scope: ScopeWord,
    /// From when on it opens nothing.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<When>,
}

/// A token that was made. It is shown this once.
#[derive(Serialize, ToSchema)]
pub struct GrantedTokenDocument {
    /// What its owner calls it.
    pub name: String,
    /// The token.
    pub token: String,
}
