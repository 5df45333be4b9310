//! What a login is used for: folders, files from any byte on, sizes and times.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use destinations::reach;
use model::FaultKind;
use repository::backup::{Entry, EntryKind};
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::tree::State;
use super::control::Control;
use super::listing::{self, Line};
use super::trouble::{Result, Trouble};

/// No listing of one folder is longer: two million entries.
const LISTING_LIMIT_BYTES: usize = 512 << 20;
const STEP_BYTES: usize = 64 << 10;
/// How long a server may take to say why it closed a data connection.
const REASON_LIMIT: Duration = Duration::from_secs(3);

/// A data connection.
pub(super) type DataStream = TlsStream<TcpStream>;

/// A login.
pub(super) struct Session {
    control: Control<TlsStream<TcpStream>>,
    connector: TlsConnector,
    server: ServerName<'static>,
    /// Data connections go to the host that we speak to: no server may send us elsewhere.
    peer: IpAddr,
    root: Vec<u8>,
    has_extended_passive: bool,
    has_exact_listings: bool,
    has_times: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Session {
    /// A session that was logged in; asks what the server can do.
    pub(super) async fn new(
        mut control: Control<TlsStream<TcpStream>>,
        connector: TlsConnector,
        server: ServerName<'static>,
        root: Vec<u8>,
    ) -> Result<Self> {
        let features = control.ask("FEAT", b"", &[211]).await?;
        let word = |line: &Vec<u8>| {
            let text = String::from_utf8_lossy(line).trim().to_ascii_uppercase();
            text.split([' ', ';']).next().unwrap_or_default().to_owned()
        };
        let words: Vec<String> = features.lines.iter().map(word).collect();
        let can = |name: &str| words.iter().any(|word| word == name);
        for needed in ["SIZE", "REST"] {
            if !can(needed) {
                let cause = format!("the server does not know the command `{needed}`, without which nothing is sure");
                return Err(Trouble::fatal(FaultKind::Misconfigured, cause));
            }
        }
        let (has_extended_passive, has_times) = (can("EPSV"), can("MDTM"));
        let has_exact_listings = can("MLST") || can("MLSD");
        let peer = control.peer()?;
        Ok(Self { control, connector, server, peer, root, has_extended_passive, has_exact_listings, has_times })
    }

    pub(super) async fn is_alive(&mut self) -> bool {
        self.control.ask("NOOP", b"", &[200]).await.is_ok()
    }

    /// The whole path of something inside the tree; of the tree itself for an empty one.
    fn path(&self, inside: &[u8]) -> Vec<u8> {
        let slash: &[u8] = if inside.is_empty() || self.root.ends_with(b"/") { b"" } else { b"/" };
        [&self.root, slash, inside].concat()
    }

    /// All that is in a folder.
    pub(super) async fn entries(&mut self, folder: &[u8]) -> Result<Vec<Entry>> {
        // Some servers list a folder that is not there, as an empty one; none enters it.
        let path = self.path(folder);
        self.control.ask("CWD", &path, &[250, 200]).await.map_err(|trouble| match trouble.is_vague {
            true => Trouble { kind: FaultKind::NotFound, ..trouble },
            false => trouble,
        })?;
        if self.has_exact_listings {
            let lines = self.lines("MLSD", b"", listing::exact).await?;
            return Ok(lines.into_iter().filter_map(Line::into_entry).collect());
        }
        // Without it some servers keep back what begins with a dot; and some take it for a name.
        let mut lines = self.lines("LIST", b"-a", listing::for_people).await?;
        if !lines.contains(&Line::Itself) {
            lines = self.lines("LIST", b"", listing::for_people).await?;
        }
        let mut entries: Vec<Entry> = lines.into_iter().filter_map(Line::into_entry).collect();
        if self.has_times {
            for entry in entries.iter_mut().filter(|entry| entry.kind == EntryKind::File) {
                let slash: &[u8] = if folder.is_empty() { b"" } else { b"/" };
                entry.modified = self.modified(&[folder, slash, &entry.name].concat()).await?;
            }
        }
        Ok(entries)
    }

    async fn lines(
        &mut self,
        verb: &str,
        argument: &[u8],
        read: fn(&[u8]) -> std::result::Result<Line, String>,
    ) -> Result<Vec<Line>> {
        let mut data = self.data(verb, argument, 0).await?;
        let mut text = Vec::new();
        loop {
            text.reserve(STEP_BYTES);
            match data.read_buf(&mut text).await {
                Ok(0) => break,
                Ok(_) if LISTING_LIMIT_BYTES < text.len() => {
                    let cause = format!("the listing has more than {LISTING_LIMIT_BYTES} bytes");
                    return Err(Trouble::fatal(FaultKind::Refused, cause));
                }
                Ok(_) => reach::moved(),
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Err(Trouble::broken("a listing ended without the end of TLS"));
                }
                Err(error) => return Err(Trouble::broken(error)),
            }
        }
        drop(data);
        self.transferred().await?;
        let last = text.strip_suffix(b"\n").unwrap_or(&text);
        if last.is_empty() {
            return Ok(Vec::new());
        }
        if last.len() == text.len() {
            return Err(Trouble::broken("a listing ended within a line"));
        }
        let lines = last.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let lines = lines.filter(|line| !line.is_empty()).map(read).collect::<std::result::Result<_, _>>();
        lines.map_err(|cause| Trouble::new(FaultKind::Damaged, cause))
    }

    /// Size and time of a file. What cannot be asked about is not there, unless the server says otherwise.
    pub(super) async fn state(&mut self, inside: &[u8]) -> Result<State> {
        let size = self.size(inside).await?;
        let modified = if self.has_times { self.modified(inside).await? } else { None };
        Ok(State { size: Some(size), modified, version: None })
    }

    async fn size(&mut self, inside: &[u8]) -> Result<u64> {
        let path = self.path(inside);
        let told = self.control.ask("SIZE", &path, &[213]).await.map_err(|trouble| match trouble.is_vague {
            true => Trouble { kind: FaultKind::NotFound, ..trouble },
            false => trouble,
        })?;
        let size = std::str::from_utf8(told.words()).ok().and_then(|text| text.trim().parse().ok());
        size.ok_or_else(|| Trouble::fatal(FaultKind::Failing, "the server answers with something that is no size"))
    }

    /// When a file was changed; none when the server does not tell.
    async fn modified(&mut self, inside: &[u8]) -> Result<Option<(i64, u32)>> {
        let path = self.path(inside);
        match self.control.ask("MDTM", &path, &[213]).await {
            Ok(told) => Ok(listing::moment(told.words().trim_ascii())),
            Err(trouble) if trouble.ends_session || trouble.kind == FaultKind::Refused => Err(trouble),
            Err(_) => Ok(None),
        }
    }

    /// Begins to receive a file, from a byte on.
    pub(super) async fn retrieve(&mut self, inside: &[u8], from: u64) -> Result<DataStream> {
        let path = self.path(inside);
        match self.data("RETR", &path, from).await {
            Err(trouble) if trouble.is_vague && !trouble.ends_session => match self.size(inside).await {
                Ok(_) => Err(Trouble { kind: FaultKind::Denied, ..trouble }),
                Err(other) => Err(other),
            },
            other => other,
        }
    }

    /// Hears how a transfer ended, when its data connection is closed.
    pub(super) async fn transferred(&mut self) -> Result<()> {
        let ended = self.control.expect(&[226, 250]).await;
        ended.map(drop).map_err(|trouble| Trouble { ends_session: true, ..trouble })
    }

    /// Says a command that is answered on a data connection, from a byte on.
    async fn data(&mut self, verb: &str, argument: &[u8], from: u64) -> Result<DataStream> {
        let port = self.passive().await?;
        let stream = TcpStream::connect((self.peer, port)).await.map_err(Trouble::broken)?;
        if from != 0 {
            self.control.ask("REST", from.to_string().as_bytes(), &[350]).await?;
        }
        self.control.ask(verb, argument, &[125, 150]).await?;
        match self.connector.connect(self.server.clone(), stream).await {
            Ok(stream) => Ok(stream),
            // What the server has against this connection, it says on the other one.
            Err(error) => match tokio::time::timeout(REASON_LIMIT, self.control.reply()).await {
                Ok(Ok(reply)) => Err(Trouble { ends_session: true, ..Trouble::refused(&reply) }),
                _ => Err(Trouble::insecure(&error)),
            },
        }
    }

    /// The port of a new data connection.
    async fn passive(&mut self) -> Result<u16> {
        let (verb, code) = if self.has_extended_passive { ("EPSV", 229) } else { ("PASV", 227) };
        let told = self.control.ask(verb, b"", &[code]).await?;
        let port = if self.has_extended_passive { extended_port(told.words()) } else { plain_port(told.words()) };
        port.ok_or_else(|| Trouble::fatal(FaultKind::Failing, format!("the server answers `{verb}` without a port")))
    }
}

/// The port in `Entering Extended Passive Mode (|||40001|)`.
fn extended_port(words: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(words).ok()?;
    let inside = text.split_once('(')?.1.split_once(')')?.0;
    let mut parts = inside.split(inside.chars().next()?);
    parts.nth(3)?.parse().ok()
}

/// The port in `Entering Passive Mode (127,0,0,1,156,65)`. Behind a router the address in it means nothing here.
fn plain_port(words: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(words).ok()?;
    let numbers = text.split(|c: char| !c.is_ascii_digit() && c != ',').find(|part| part.matches(',').count() == 5)?;
    let mut numbers = numbers.split(',').skip(4);
    let mut next = || numbers.next()?.parse::<u8>().ok();
    Some(u16::from_be_bytes([next()?, next()?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read() {
        assert_eq!(extended_port(b"Entering Extended Passive Mode (|||40001|)"), Some(40001));
        assert_eq!(extended_port(b"Extended (!!!21!)."), Some(21));
        assert_eq!(extended_port(b"no port"), None);
        assert_eq!(extended_port(b"(|||x|)"), None);
        assert_eq!(plain_port(b"Entering Passive Mode (127,0,0,1,156,65)."), Some(156 * 256 + 65));
        assert_eq!(plain_port(b"=127,0,0,1,1,2"), Some(258));
        assert_eq!(plain_port(b"Passive (127,0,0,1,256,2)"), None);
    }
}
