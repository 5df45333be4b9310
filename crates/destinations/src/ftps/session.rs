//! One login at an FTP server: TLS before anything else is said, binary files, passive data connections.

use std::fmt;
use std::sync::Arc;

use model::{ExposeSecret as _, FaultKind, Secret};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::version::{TLS12, TLS13};
use suppaftp::tokio::{AsyncRustlsConnector, AsyncRustlsFtpStream};
use suppaftp::tokio_rustls::TlsConnector;
use suppaftp::types::{FileType, Mode};
use suppaftp::{FtpError, FtpResult};
use tokio::net::TcpStream;

use super::trouble::{self, Result, Trouble};
use crate::{AccountPlace, FtpsAccess, TlsAccess, tls};

/// The port for FTP that begins in the clear and goes on in TLS (RFC 4217).
const PORT: u16 = 21;
/// There is one.
const REMEMBERED_SERVERS: usize = 1;
/// How the alert of a server is called that speaks none of our versions of TLS.
const REFUSED_VERSION: &str = "ProtocolVersion";

/// What it takes to log in.
#[derive(Debug)]
pub(super) struct Door {
    host: String,
    port: u16,
    username: String,
    password: Secret,
    /// As the user wrote it: from the folder of the login, or from the top.
    root: String,
    /// With TLS 1.2, whose sessions can be resumed as often as one likes. A ticket of TLS 1.3 is good for one data
    /// connection, and not every server gives a new one with an upload.
    tls: ClientConfig,
    /// For servers that speak nothing older.
    newest_tls: ClientConfig,
}

impl Door {
    pub(super) fn new(place: &AccountPlace, access: &FtpsAccess, tls: &TlsAccess) -> std::result::Result<Self, String> {
        let username = place.username.clone().ok_or("the address names no user")?;
        let password = access.password.clone().ok_or("no password was given")?;
        if password.expose_secret().contains(['\r', '\n']) {
            return Err("a password for FTP cannot have more than one line".to_owned());
        }
        Ok(Self {
            host: place.host.clone(),
            port: place.port.unwrap_or(PORT),
            username,
            password,
            root: place.path.clone(),
            tls: tls::config(tls, &[&TLS12])?,
            newest_tls: tls::config(tls, &[&TLS13])?,
        })
    }

    pub(super) async fn open(&self) -> Result<Session> {
        let mut stream = match self.secured(&self.tls).await {
            Err(FtpError::SecureError(words)) if words.contains(REFUSED_VERSION) => {
                self.secured(&self.newest_tls).await
            }
            secured => secured,
        }
        .map_err(trouble::insecure)?;
        stream.login(self.username.as_str(), self.password.expose_secret()).await?;
        stream.transfer_type(FileType::Binary).await?;
        let abilities = stream.feat().await?;
        let can = |name: &str| abilities.keys().any(|known| known.eq_ignore_ascii_case(name));
        for needed in ["SIZE", "REST"] {
            if !can(needed) {
                let cause = format!("the server does not know the command `{needed}`, without which nothing is sure");
                return Err(Trouble { ends_session: true, ..Trouble::new(FaultKind::Misconfigured, cause) });
            }
        }
        if can("EPSV") {
            stream.set_mode(Mode::ExtendedPassive);
        } else {
            // Behind a router a server tells an address that means nothing here; and no server may send us elsewhere.
            stream.set_passive_nat_workaround(true);
        }
        let root = match self.root.starts_with('/') {
            true => self.root.clone(),
            false => format!("{}/{}", stream.pwd().await?.trim_end_matches('/'), self.root),
        };
        let has_exact_listings = can("MLST") || can("MLSD");
        Ok(Session { stream, root: root.trim_end_matches('/').to_owned(), has_exact_listings, is_spent: false })
    }

    async fn secured(&self, config: &ClientConfig) -> FtpResult<AsyncRustlsFtpStream> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(FtpError::ConnectionError)?;
        stream.set_nodelay(true).map_err(FtpError::ConnectionError)?;
        let plain = AsyncRustlsFtpStream::connect_with_stream(stream).await?;
        let mut config = config.clone();
        // Many servers want a data connection to resume the TLS session of its own control connection, as proof that
        // both are the same client's. So no login remembers another's.
        config.resumption = Resumption::in_memory_sessions(REMEMBERED_SERVERS);
        plain.into_secure(AsyncRustlsConnector::from(TlsConnector::from(Arc::new(config))), &self.host).await
    }
}

/// A login.
pub(super) struct Session {
    pub(super) stream: AsyncRustlsFtpStream,
    root: String,
    /// Whether listings are made for programs (RFC 3659, section 7) or for people.
    pub(super) has_exact_listings: bool,
    /// Its last request succeeded, and no other may follow.
    pub(super) is_spent: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Session {
    /// The whole path of something inside the copy; of the copy itself for an empty one.
    pub(super) fn path(&self, inside: &str) -> String {
        if inside.is_empty() { format!("{}/", self.root) } else { format!("{}/{inside}", self.root) }
    }

    /// The size of a file. What cannot be asked about is not there, unless the server says otherwise.
    pub(super) async fn size(&mut self, inside: &str) -> Result<u64> {
        let path = self.path(inside);
        let size = self.stream.size(&path).await.map_err(|error| Trouble::from(error).absent_if_vague())?;
        Ok(size as u64)
    }

    /// Goes into a folder: some servers list one that is not there, as an empty one; none enters it.
    pub(super) async fn enter(&mut self, inside: &str) -> Result<()> {
        let path = self.path(inside);
        self.stream.cwd(&path).await.map_err(|error| Trouble::from(error).absent_if_vague())
    }

    /// Removes a file; one that is gone is a success.
    pub(super) async fn remove(&mut self, inside: &str) -> Result<()> {
        let path = self.path(inside);
        let Err(trouble) = self.stream.rm(&path).await.map_err(Trouble::from) else { return Ok(()) };
        match trouble.kind {
            FaultKind::NotFound => Ok(()),
            _ if trouble.is_vague => match self.size(inside).await {
                Err(absent) if absent.kind == FaultKind::NotFound => Ok(()),
                Err(other) => Err(other),
                Ok(_) => Err(Trouble { kind: FaultKind::Denied, ..trouble }),
            },
            _ => Err(trouble),
        }
    }

    /// Makes a folder whose parent is there; one that is there is a success.
    pub(super) async fn make_folder(&mut self, path: &str) -> Result<()> {
        let Err(trouble) = self.stream.mkdir(path).await.map_err(Trouble::from) else { return Ok(()) };
        if trouble.ends_session {
            return Err(trouble);
        }
        match self.stream.cwd(path).await.map_err(Trouble::from) {
            Ok(()) => Ok(()),
            Err(broken) if broken.ends_session => Err(broken),
            Err(_) => Err(trouble),
        }
    }
}
