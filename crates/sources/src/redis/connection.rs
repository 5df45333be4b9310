//! A connection to a Redis server: its protocol, over TCP, TLS or a socket of the file system.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::{ExposeSecret as _, Secret};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_platform_verifier::Verifier;

const USUAL_PORT: u16 = 6379;
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// A server that says nothing for so long has stopped.
const SILENCE_LIMIT: Duration = Duration::from_secs(300);
/// What an answer may be: a value of Redis has 512 MiB at most, and a dump of a large set more.
const BULK_LIMIT_BYTES: u64 = 4 << 30;
const LINE_LIMIT_BYTES: u64 = 64 << 10;
const ARRAY_LIMIT: usize = 16 << 20;
const DEPTH_LIMIT: usize = 8;

/// A server, and who we are there.
#[derive(Debug, Clone, Default)]
pub struct RedisLogin {
    /// Name or address.
    pub host: String,
    /// Port, when it is not the usual one.
    pub port: Option<u16>,
    /// A socket in the file system, instead of host and port.
    pub socket: Option<PathBuf>,
    /// Account, where the server has more than one.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// TLS; the certificate has to be for `host`.
    pub tls: bool,
    /// A certificate authority that is believed beside those of the system.
    pub ca_certificate: Option<PathBuf>,
}

impl RedisLogin {
    /// Where it is, without secrets.
    pub fn place(&self) -> String {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        match &self.socket {
            Some(socket) => format!("{scheme}://{user}{}", socket.display()),
            None => format!("{scheme}://{user}{}:{}", self.host, self.port.unwrap_or(USUAL_PORT)),
        }
    }

    /// Connects and logs in.
    pub(super) fn connect(&self) -> Result<Connection, String> {
        let mut connection = Connection { stream: BufReader::with_capacity(256 << 10, self.open()?) };
        if let Some(password) = &self.password {
            let user = self.user.as_ref().map(String::as_bytes);
            let words = [Some(&b"AUTH"[..]), user, Some(password.expose_secret().as_bytes())];
            let words: Vec<&[u8]> = words.into_iter().flatten().collect();
            connection.ask(&words).map_err(|error| format!("the login failed: {error}"))?;
        }
        Ok(connection)
    }

    fn open(&self) -> Result<Box<dyn Stream>, String> {
        if let Some(path) = &self.socket {
            let failed = |error: io::Error| format!("cannot connect to `{}`: {error}", path.display());
            let stream = UnixStream::connect(path).map_err(failed)?;
            stream.set_read_timeout(Some(SILENCE_LIMIT)).map_err(failed)?;
            stream.set_write_timeout(Some(SILENCE_LIMIT)).map_err(failed)?;
            return Ok(Box::new(stream));
        }
        let port = self.port.unwrap_or(USUAL_PORT);
        let failed = |error: io::Error| format!("cannot connect to `{}:{port}`: {error}", self.host);
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in (self.host.as_str(), port).to_socket_addrs().map_err(failed)? {
            match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(SILENCE_LIMIT)).map_err(failed)?;
                    stream.set_write_timeout(Some(SILENCE_LIMIT)).map_err(failed)?;
                    stream.set_nodelay(true).map_err(failed)?;
                    return if self.tls { self.secured(stream) } else { Ok(Box::new(stream)) };
                }
                Err(error) => last = error,
            }
        }
        Err(failed(last))
    }

    fn secured(&self, stream: TcpStream) -> Result<Box<dyn Stream>, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let unusable = |error: rustls::Error| format!("TLS cannot be set up: {error}");
        let more = self.ca_certificate.as_deref().map(certificates_of).transpose()?.unwrap_or_default();
        let verifier = Verifier::new_with_extra_roots(more, Arc::clone(&provider)).map_err(unusable)?;
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(unusable)?.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        let name = ServerName::try_from(self.host.clone());
        let name = name.map_err(|_| format!("`{}` is no name that a certificate could have", self.host))?;
        let client = ClientConnection::new(Arc::new(config.with_no_client_auth()), name).map_err(unusable)?;
        Ok(Box::new(StreamOwned::new(client, stream)))
    }
}

fn certificates_of(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unusable = |why: String| format!("the certificate file `{}` {why}", path.display());
    let pem = std::fs::read(path).map_err(|error| unusable(format!("cannot be read: {error}")))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    found.map_err(|error| unusable(format!("is not PEM: {error}")))
}

/// Bytes both ways.
trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Text(String),
    Refusal(String),
    Number(i64),
    Bytes(Option<Vec<u8>>),
    List(Vec<Answer>),
}

impl Answer {
    pub(super) fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Answer::Bytes(bytes) => bytes,
            Answer::Text(text) => Some(text.into_bytes()),
            _ => None,
        }
    }

    pub(super) fn number(&self) -> Option<i64> {
        match self {
            Answer::Number(number) => Some(*number),
            Answer::Bytes(Some(bytes)) => std::str::from_utf8(bytes).ok()?.parse().ok(),
            _ => None,
        }
    }

    pub(super) fn list(self) -> Option<Vec<Answer>> {
        match self {
            Answer::List(list) => Some(list),
            _ => None,
        }
    }
}

/// A connection that is logged in.
pub(super) struct Connection {
    stream: BufReader<Box<dyn Stream>>,
}

impl Connection {
    /// Sends a command and waits for its answer; a refusal is an error.
    pub(super) fn ask(&mut self, words: &[&[u8]]) -> Result<Answer, String> {
        self.send(words)?;
        self.flush()?;
        match self.answer()? {
            Answer::Refusal(why) => Err(why),
            answer => Ok(answer),
        }
    }

    /// Sends a command; [`Connection::flush`] and as many [`Connection::answer`] have to follow.
    pub(super) fn send(&mut self, words: &[&[u8]]) -> Result<(), String> {
        let mut command = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            command.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            command.extend_from_slice(word);
            command.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&command).map_err(|error| lost(&error))
    }

    pub(super) fn flush(&mut self) -> Result<(), String> {
        self.stream.get_mut().flush().map_err(|error| lost(&error))
    }

    pub(super) fn answer(&mut self) -> Result<Answer, String> {
        self.nested(0)
    }

    fn nested(&mut self, depth: usize) -> Result<Answer, String> {
        let line = self.line()?;
        let (kind, rest) = line.split_at_checked(1).unwrap_or_default();
        let odd = || format!("the server answered something that is not Redis: `{}`", line.escape_debug());
        match kind {
            "+" => Ok(Answer::Text(rest.to_owned())),
            "-" => Ok(Answer::Refusal(rest.to_owned())),
            ":" => rest.parse().map(Answer::Number).map_err(|_| odd()),
            "$" if rest == "-1" => Ok(Answer::Bytes(None)),
            "$" => {
                let length = rest.parse().ok().filter(|length| *length <= BULK_LIMIT_BYTES).ok_or_else(odd)?;
                let mut bytes = Vec::new();
                let read = (&mut self.stream).take(length).read_to_end(&mut bytes).map_err(|error| lost(&error))?;
                let mut end = [0; 2];
                self.stream.read_exact(&mut end).map_err(|error| lost(&error))?;
                if read as u64 == length && &end == b"\r\n" { Ok(Answer::Bytes(Some(bytes))) } else { Err(odd()) }
            }
            "*" if rest == "-1" => Ok(Answer::Bytes(None)),
            "*" if depth < DEPTH_LIMIT => {
                let length = rest.parse().ok().filter(|length| *length <= ARRAY_LIMIT).ok_or_else(odd)?;
                (0..length).map(|_| self.nested(depth + 1)).collect::<Result<_, _>>().map(Answer::List)
            }
            _ => Err(odd()),
        }
    }

    /// A line without its end.
    pub(super) fn line(&mut self) -> Result<String, String> {
        let mut line = Vec::new();
        let read = (&mut self.stream).take(LINE_LIMIT_BYTES).read_until(b'\n', &mut line);
        read.map_err(|error| lost(&error))?;
        if line.last() != Some(&b'\n') {
            return Err("the connection was closed in the middle of an answer".to_owned());
        }
        Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
    }
}

impl Read for Connection {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.read(bytes)
    }
}

fn lost(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("the server said nothing for {} s", SILENCE_LIMIT.as_secs())
        }
        _ => format!("the connection was lost: {error}"),
    }
}
