//! One login at an FTP server: TLS before anything else is said, binary files, passive and secured data connections.

use std::fmt;
use std::sync::Arc;

use destinations::{Access, AccountPlace, reach};
use model::{ExposeSecret as _, FaultKind, Secret};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::control::Control;
use super::session::Session;
use super::trouble::{Result, Trouble};

/// The port for FTP that begins in the clear and goes on in TLS (RFC 4217).
const PORT: u16 = 21;
/// The port for TLS from the first byte on.
const IMPLICIT_PORT: u16 = 990;
/// There is one.
const REMEMBERED_SERVERS: usize = 1;

/// What it takes to log in.
pub(super) struct Door {
    place: AccountPlace,
    username: String,
    password: Secret,
    is_implicit: bool,
    server: ServerName<'static>,
    /// The first version of TLS that the server speaks is taken. A session of 1.2 can be resumed as often as one likes; a
    /// ticket of 1.3 is good for one data connection, and not every server gives enough of them.
    tls: [ClientConfig; 2],
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Door {
    pub(super) fn new(place: &AccountPlace, access: &Access, is_implicit: bool) -> std::result::Result<Self, String> {
        let username = place.username.clone().ok_or("the address names no user")?;
        let password = access.ftps.password.clone().ok_or("no password was given")?;
        if password.expose_secret().contains(['\r', '\n', '\0']) {
            return Err("a password for FTP cannot have more than one line".to_owned());
        }
        let server = ServerName::try_from(place.host.clone()).map_err(|_| "the host is no name of one")?;
        let tls = reach::tls_by_version(&access.tls)?;
        Ok(Self { place: place.clone(), username, password, is_implicit, server, tls })
    }

    pub(super) async fn open(&self) -> Result<Session> {
        let [usual, newest] = &self.tls;
        let (control, connector) = match self.secured(usual).await? {
            Some(secured) => secured,
            None => self.secured(newest).await?.ok_or_else(|| {
                Trouble::fatal(
                    FaultKind::Misconfigured,
                    "TLS cannot be agreed on: the server speaks no version of ours",
                )
            })?,
        };
        self.logged_in(control, connector).await
    }

    /// A control connection in TLS; none when the server speaks another version of it.
    async fn secured(&self, config: &ClientConfig) -> Result<Option<(Control<TlsStream<TcpStream>>, TlsConnector)>> {
        let usual = if self.is_implicit { IMPLICIT_PORT } else { PORT };
        let address = (self.place.host.as_str(), self.place.port.unwrap_or(usual));
        let mut stream = TcpStream::connect(address).await.map_err(Trouble::broken)?;
        stream.set_nodelay(true).map_err(Trouble::broken)?;
        reach::moved();
        if !self.is_implicit {
            let mut plain = Control::new(stream);
            plain.expect(&[220]).await?;
            if let Err(trouble) = plain.ask("AUTH", b"TLS", &[234]).await {
                return Err(unsecured(trouble));
            }
            stream = plain.into_stream()?;
        }
        let mut config = config.clone();
        // Many servers want a data connection to resume the TLS session of its own control connection, as proof that
        // both are the same client's. So no login remembers another's.
        config.resumption = Resumption::in_memory_sessions(REMEMBERED_SERVERS);
        let connector = TlsConnector::from(Arc::new(config));
        match connector.connect(self.server.clone(), stream).await {
            Ok(stream) => Ok(Some((Control::new(stream), connector))),
            Err(error) if is_about_version(&error) => Ok(None),
            Err(error) => Err(Trouble::insecure(&error)),
        }
    }

    async fn logged_in(&self, mut control: Control<TlsStream<TcpStream>>, connector: TlsConnector) -> Result<Session> {
        if self.is_implicit {
            control.expect(&[220]).await?;
        }
        let user = control.ask("USER", self.username.as_bytes(), &[230, 331]).await?;
        if user.code == 331 {
            control.ask("PASS", self.password.expose_secret().as_bytes(), &[230, 202]).await?;
        }
        control.ask("PBSZ", b"0", &[200]).await.map_err(unsecured)?;
        control.ask("PROT", b"P", &[200]).await.map_err(unsecured)?;
        control.ask("TYPE", b"I", &[200]).await?;
        let path = self.place.path.as_bytes();
        let root = if path.starts_with(b"/") {
            path.to_vec()
        } else {
            let here = control.ask("PWD", b"", &[257]).await?;
            let here = quoted(here.words()).ok_or_else(|| {
                Trouble::fatal(FaultKind::Failing, "the server does not say in which folder the account starts")
            })?;
            let end = here.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
            [here.get(..end).unwrap_or_default(), b"/", path].concat()
        };
        Session::new(control, connector, self.server.clone(), root).await
    }
}

/// What it means that a connection could not be secured.
fn unsecured(trouble: Trouble) -> Trouble {
    if !matches!(trouble.kind, FaultKind::Refused | FaultKind::Denied | FaultKind::Failing) {
        return trouble;
    }
    let cause = format!("the server does not go on in TLS, and nothing is said in the clear: {}", trouble.cause);
    Trouble::fatal(FaultKind::Misconfigured, cause)
}

fn is_about_version(error: &std::io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)))
}

/// The path in an answer to `PWD`, in which a quote is written twice.
fn quoted(words: &[u8]) -> Option<Vec<u8>> {
    let mut rest = words.strip_prefix(b"\"")?;
    let mut path = Vec::new();
    loop {
        let (byte, after) = rest.split_first()?;
        rest = after;
        match (byte, rest.first()) {
            (b'"', Some(b'"')) => {
                path.push(b'"');
                rest = rest.get(1..)?;
            }
            (b'"', _) => return Some(path),
            _ => path.push(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_folder_is_read_with_its_quotes() {
        assert_eq!(quoted(b"\"/a \"\"b\"\"\" is the current directory").as_deref(), Some(&b"/a \"b\""[..]));
        assert_eq!(quoted(b"\"/\"").as_deref(), Some(&b"/"[..]));
        assert_eq!(quoted(b"/a"), None);
        assert_eq!(quoted(b"\"/a"), None);
    }
}
