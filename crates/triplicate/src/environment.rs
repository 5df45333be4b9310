//! Every environment variable that the command reads, in one place.
//!
//! A variable that is set to nothing counts as not set, as in restic.

use std::path::PathBuf;

/// Text of a variable.
pub(crate) fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A variable that holds a path.
pub(crate) fn path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

pub(crate) const REPOSITORY: &str = "RESTIC_REPOSITORY";
pub(crate) const REPOSITORY_FILE: &str = "RESTIC_REPOSITORY_FILE";
pub(crate) const PASSWORD: &str = "RESTIC_PASSWORD";
pub(crate) const PASSWORD_FILE: &str = "RESTIC_PASSWORD_FILE";
pub(crate) const PASSWORD_COMMAND: &str = "RESTIC_PASSWORD_COMMAND";
pub(crate) const REST_USERNAME: &str = "RESTIC_REST_USERNAME";
pub(crate) const REST_PASSWORD: &str = "RESTIC_REST_PASSWORD";
pub(crate) const CERTIFICATE: &str = "RESTIC_CACERT";
pub(crate) const AWS_KEY_NAME: &str = "AWS_ACCESS_KEY_ID";
pub(crate) const AWS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
pub(crate) const AWS_TOKEN: &str = "AWS_SESSION_TOKEN";
pub(crate) const AWS_REGION: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];
pub(crate) const AZURE_NAME: &str = "AZURE_ACCOUNT_NAME";
pub(crate) const AZURE_KEY: &str = "AZURE_ACCOUNT_KEY";
pub(crate) const AZURE_SAS: &str = "AZURE_ACCOUNT_SAS";
pub(crate) const AZURE_SUFFIX: &str = "AZURE_ENDPOINT_SUFFIX";
pub(crate) const B2_KEY_NAME: &str = "B2_ACCOUNT_ID";
pub(crate) const B2_KEY: &str = "B2_ACCOUNT_KEY";
pub(crate) const GOOGLE_CREDENTIALS: &str = "GOOGLE_APPLICATION_CREDENTIALS";
pub(crate) const GOOGLE_TOKEN: &str = "GOOGLE_ACCESS_TOKEN";
pub(crate) const GOOGLE_PROJECT: &str = "GOOGLE_PROJECT_ID";
pub(crate) const DROPBOX_APP_KEY: &str = "TRIPLICATE_DROPBOX_APP_KEY";
pub(crate) const DROPBOX_APP_SECRET: &str = "TRIPLICATE_DROPBOX_APP_SECRET";
pub(crate) const DROPBOX_REFRESH_TOKEN: &str = "TRIPLICATE_DROPBOX_REFRESH_TOKEN";
pub(crate) const WEBDAV_USERNAME: &str = "TRIPLICATE_WEBDAV_USERNAME";
pub(crate) const WEBDAV_PASSWORD: &str = "TRIPLICATE_WEBDAV_PASSWORD";
pub(crate) const WEBDAV_TOKEN: &str = "TRIPLICATE_WEBDAV_TOKEN";
pub(crate) const CLIENT_CERTIFICATE: &str = "RESTIC_TLS_CLIENT_CERT";
pub(crate) const PINNED_CERTIFICATE: &str = "TRIPLICATE_PINNED_CERTIFICATE";
pub(crate) const PROXY: &str = "TRIPLICATE_PROXY";
/// The file that `--config` names.
pub(crate) const CONFIG: &str = "TRIPLICATE_CONFIG";
pub(crate) const FTPS_PASSWORD: &str = "TRIPLICATE_FTPS_PASSWORD";
pub(crate) const SSH_KEY: &str = "TRIPLICATE_SFTP_KEY_FILE";
pub(crate) const SSH_KEY_PASSPHRASE: &str = "TRIPLICATE_SFTP_KEY_PASSPHRASE";
pub(crate) const SSH_PASSWORD: &str = "TRIPLICATE_SFTP_PASSWORD";
pub(crate) const SSH_KNOWN_HOSTS: &str = "TRIPLICATE_SFTP_KNOWN_HOSTS";
pub(crate) const SSH_FINGERPRINT: &str = "TRIPLICATE_SFTP_HOST_FINGERPRINT";
pub(crate) const SSH_PROGRAM: &str = "TRIPLICATE_SFTP_SSH";
pub(crate) const SFTP_COMMAND: &str = "TRIPLICATE_SFTP_COMMAND";
pub(crate) const SSH_AGENT: &str = "SSH_AUTH_SOCK";
/// The password of the database that `restore --into` names.
pub(crate) const TARGET_PASSWORD: &str = "TRIPLICATE_TARGET_PASSWORD";
pub(crate) const STORE: &str = "TRIPLICATE_STORE";
pub(crate) const CACHE_FOLDER: &str = "RESTIC_CACHE_DIR";
pub(crate) const XDG_CACHES: &str = "XDG_CACHE_HOME";
pub(crate) const XDG_CONFIG: &str = "XDG_CONFIG_HOME";
pub(crate) const XDG_STATE: &str = "XDG_STATE_HOME";
pub(crate) const HOME: &str = "HOME";
pub(crate) const NO_COLOR: &str = "NO_COLOR";
pub(crate) const PROGRESS_FPS: &str = "RESTIC_PROGRESS_FPS";
