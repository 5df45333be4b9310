//! Credentials and trust for destinations, handed over by whoever has read the environment or a config.
//!
//! This room reads neither: a library that looks at `AWS_SECRET_ACCESS_KEY` by itself would use one key for every
//! copy. `Debug` shows names, never values.

use std::path::PathBuf;

use model::Secret;

/// What destinations may need to let us in, kind by kind. What is not set is not used.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// For folders.
    pub local: LocalAccess,
    /// For REST servers.
    pub rest: RestAccess,
    /// For buckets.
    pub s3: S3Access,
    /// For Azure's blob storage.
    pub azure: AzureAccess,
    /// For Backblaze B2.
    pub b2: B2Access,
    /// For Google Cloud Storage.
    pub google: GoogleAccess,
    /// For Dropbox.
    pub dropbox: DropboxAccess,
    /// For WebDAV servers.
    pub webdav: WebdavAccess,
    /// For everything that is reached over SSH.
    pub ssh: SshAccess,
    /// For FTP servers.
    pub ftps: FtpsAccess,
    /// For what the `rclone` program reaches.
    pub rclone: RcloneAccess,
    /// For everything that is reached over TLS.
    pub tls: TlsAccess,
}

/// What tells a mounted folder from the empty one below it.
#[derive(Debug, Clone, Default)]
pub struct LocalAccess {
    /// A file that is there when the disk is: absolute, or in the folder above the copy's.
    pub marker: Option<String>,
}

/// The user of REST servers.
#[derive(Debug, Clone, Default)]
pub struct RestAccess {
    /// The user; one in the URL wins.
    pub username: Option<String>,
    /// The password; one in the URL wins.
    pub password: Option<Secret>,
}

/// The key to buckets, and how to address them.
#[derive(Debug, Clone, Default)]
pub struct S3Access {
    /// The name of the key.
    pub key_id: Option<String>,
    /// The key.
    pub key: Option<Secret>,
    /// The token that goes with a temporary key.
    pub session_token: Option<Secret>,
    /// The region; without it, the one that the endpoint's name tells, or `us-east-1`.
    pub region: Option<String>,
    /// Whether the bucket is written into the path or the host name; without it, Amazon gets the host name and
    /// everybody else the path.
    pub bucket_in_path: Option<bool>,
    /// The class in which packs of data are stored; everything else is in the bucket's usual one.
    pub storage_class: Option<String>,
    /// For how many days a pack that was asked for from an archive stays readable; 0 for what is usual.
    pub restore_days: usize,
    /// How fast an archive is asked to be, in S3's word; `Standard` without it.
    pub restore_tier: Option<&'static str>,
    /// For how many days files are locked against removal; 0 for not at all.
    pub object_lock_days: usize,
    /// Whether nobody at all can take such a lock away before its time.
    pub object_lock_is_final: bool,
}

/// The account of containers, what lets us in, and where Azure is.
#[derive(Debug, Clone, Default)]
pub struct AzureAccess {
    /// The name of the account.
    pub account_name: Option<String>,
    /// The account's key.
    pub account_key: Option<Secret>,
    /// A shared access signature, used where there is no key.
    pub account_sas: Option<Secret>,
    /// What follows `ACCOUNT.blob.`; without it, `core.windows.net`.
    pub endpoint_suffix: Option<String>,
    /// The whole address of the account's blobs, instead of one made of account and suffix.
    pub endpoint: Option<String>,
}

/// The key to buckets of B2, and where B2 is.
#[derive(Debug, Clone, Default)]
pub struct B2Access {
    /// The id of the key.
    pub account_id: Option<String>,
    /// The key.
    pub account_key: Option<Secret>,
    /// Another server than Backblaze's own.
    pub endpoint: Option<String>,
}

/// Who we are for Google, and where its storage is.
#[derive(Debug, Clone, Default)]
pub struct GoogleAccess {
    /// The content of a file of credentials, of a service account or of a user.
    pub credentials: Option<Secret>,
    /// A token that somebody else fetched, used instead of credentials and never renewed.
    pub access_token: Option<Secret>,
    /// The project in which a missing bucket is made; without it, the one of the service account.
    pub project_id: Option<String>,
    /// Another server than Google's own.
    pub endpoint: Option<String>,
}

/// The application that a Dropbox let in, and where Dropbox is.
#[derive(Debug, Clone, Default)]
pub struct DropboxAccess {
    /// The key of the application.
    pub app_key: Option<String>,
    /// The secret of the application; one that was let in with PKCE has none.
    pub app_secret: Option<Secret>,
    /// The token that access tokens are fetched with.
    pub refresh_token: Option<Secret>,
    /// Another server than Dropbox's own for everything but bytes.
    pub api_url: Option<String>,
    /// Another server than Dropbox's own for bytes.
    pub content_url: Option<String>,
}

/// The user of WebDAV servers, or a token.
#[derive(Debug, Clone, Default)]
pub struct WebdavAccess {
    /// The user; one in the URL wins.
    pub username: Option<String>,
    /// The password, for Nextcloud best one made for this application alone; one in the URL wins.
    pub password: Option<Secret>,
    /// A token that is sent instead of user and password, unless the URL has some.
    pub bearer_token: Option<Secret>,
}

/// How to log in over SSH, and which servers to believe: for SFTP, and for rsync.
#[derive(Debug, Clone, Default)]
pub struct SshAccess {
    /// The account where the address names none.
    pub username: Option<String>,
    /// The account's password; own SFTP client only.
    pub password: Option<Secret>,
    /// The home of the user, for what is not named here: keys and known hosts in its `.ssh`.
    pub home: Option<PathBuf>,
    /// The file of a private key; without it, and without a password, the usual ones of the home are tried.
    pub key_file: Option<PathBuf>,
    /// The passphrase of key files that are encrypted, which are left out without it; own SFTP client only.
    pub key_passphrase: Option<Secret>,
    /// The socket of an agent that holds keys.
    pub agent_socket: Option<PathBuf>,
    /// The file of host keys that are believed; without it, those of the home and the system.
    pub known_hosts: Option<PathBuf>,
    /// The one host key that is believed, as `SHA256:...`; files do not count then. Own SFTP client only.
    pub host_fingerprint: Option<String>,
    /// ssh and its options, for what goes through the system's ssh: SFTP goes through it when this is set, rsync always.
    pub ssh_program: Option<Vec<String>>,
    /// A whole command that speaks SFTP on its standard input and output, instead of all the above.
    pub sftp_command: Option<Vec<String>>,
    /// The `rsync` program; without it, the one on the search path.
    pub rsync_program: Option<PathBuf>,
}

/// The account on FTP servers; its name is in the address.
#[derive(Debug, Clone, Default)]
pub struct FtpsAccess {
    /// The password.
    pub password: Option<Secret>,
}

/// The `rclone` program. What it may enter and where is a matter of its own configuration.
#[derive(Debug, Clone, Default)]
pub struct RcloneAccess {
    /// The program; without it, the one on the search path.
    pub program: Option<PathBuf>,
    /// Arguments instead of the usual ones, before the remote.
    pub arguments: Option<Vec<String>>,
}

/// Whom to believe that he is who he says, who we are, and the way there.
#[derive(Debug, Clone, Default)]
pub struct TlsAccess {
    /// A PEM file of certificates that are trusted besides the system's.
    pub ca_certificate: Option<PathBuf>,
    /// The SHA-256 of the one certificate that the server may show, in hexadecimal, with or without colons. With it
    /// nothing else counts: no authority, no name, no date.
    pub pinned_certificate: Option<String>,
    /// A PEM file of the certificate that we show, and of those between it and its authority.
    pub client_certificate: Option<PathBuf>,
    /// A PEM file of its key; without it, the key is looked for in the file of the certificate.
    pub client_key: Option<PathBuf>,
    /// The proxy for everything, as `http://user:password@host:port`. Without it, `HTTPS_PROXY`, `HTTP_PROXY`,
    /// `ALL_PROXY` and `NO_PROXY` of the environment count, as they do for restic; `none` is no proxy whatever they
    /// say.
    pub proxy: Option<Secret>,
}

impl From<LocalAccess> for Access {
    fn from(local: LocalAccess) -> Self {
        Self { local, ..Self::default() }
    }
}

impl From<RestAccess> for Access {
    fn from(rest: RestAccess) -> Self {
        Self { rest, ..Self::default() }
    }
}

impl From<S3Access> for Access {
    fn from(s3: S3Access) -> Self {
        Self { s3, ..Self::default() }
    }
}

impl From<AzureAccess> for Access {
    fn from(azure: AzureAccess) -> Self {
        Self { azure, ..Self::default() }
    }
}

impl From<GoogleAccess> for Access {
    fn from(google: GoogleAccess) -> Self {
        Self { google, ..Self::default() }
    }
}

impl From<B2Access> for Access {
    fn from(b2: B2Access) -> Self {
        Self { b2, ..Self::default() }
    }
}

impl From<DropboxAccess> for Access {
    fn from(dropbox: DropboxAccess) -> Self {
        Self { dropbox, ..Self::default() }
    }
}

impl From<WebdavAccess> for Access {
    fn from(webdav: WebdavAccess) -> Self {
        Self { webdav, ..Self::default() }
    }
}

impl From<SshAccess> for Access {
    fn from(ssh: SshAccess) -> Self {
        Self { ssh, ..Self::default() }
    }
}

impl From<FtpsAccess> for Access {
    fn from(ftps: FtpsAccess) -> Self {
        Self { ftps, ..Self::default() }
    }
}

impl From<RcloneAccess> for Access {
    fn from(rclone: RcloneAccess) -> Self {
        Self { rclone, ..Self::default() }
    }
}

impl From<TlsAccess> for Access {
    fn from(tls: TlsAccess) -> Self {
        Self { tls, ..Self::default() }
    }
}
