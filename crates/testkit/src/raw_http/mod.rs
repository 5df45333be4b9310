//! HTTP/1.1 byte by byte, for tests of servers: a client that sends what it is told to, true or not.
//!
//! It blocks, follows nothing, repeats nothing and believes no name. A [`Request`] is sound unless a test makes it
//! otherwise; what no request can say goes through [`Connection::send`].

mod answer;
mod request;

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::net;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

pub use answer::Answer;
pub use request::{Request, basic};

/// How long a server may be silent before a test gives up on it, unless the test says otherwise.
const SILENCE_LIMIT_SECONDS: u64 = 90;
/// A reply's head is never longer than this.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How much is read at a time.
const PIECE_BYTES: usize = 64 << 10;

/// Where a server listens.
#[derive(Clone)]
pub enum Door {
    /// Plain TCP.
    Plain(Way),
    /// TLS, trusting one authority.
    Tls(Way, Arc<ClientConfig>),
    /// A unix socket.
    Unix(PathBuf),
}

/// Where to, and where from.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    to: SocketAddr,
    from: Option<Ipv4Addr>,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Door::Plain(way) => write!(f, "http://{}", way.to),
            Door::Tls(way, _) => write!(f, "https://{}", way.to),
            Door::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

trait Stream: Read + Write + Send {
    /// No more will be said.
    fn finish(&mut self) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn finish(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Stream for UnixStream {
    fn finish(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Stream for StreamOwned<ClientConnection, TcpStream> {
    fn finish(&mut self) -> io::Result<()> {
        self.conn.send_close_notify();
        self.flush()?;
        self.sock.shutdown(Shutdown::Write)
    }
}

impl Door {
    /// Plain TCP on a port of the loopback address.
    pub fn plain(port: u16) -> Self {
        Self::Plain(Way { to: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), from: None })
    }

    /// TLS on a port of the loopback address, trusting the authority in this PEM file.
    ///
    /// # Panics
    /// When the file holds no certificate.
    pub fn tls(port: u16, authority: &Path) -> Self {
        match trusting(authority) {
            Ok(config) => {
                let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                Self::Tls(Way { to, from: None }, Arc::new(config))
            }
            Err(error) => panic!("cannot trust `{}`: {error}", authority.display()),
        }
    }

    /// The same way from another address of this machine: `127.0.0.2` is another client than `127.0.0.1`.
    #[must_use]
    pub fn from_address(&self, address: Ipv4Addr) -> Self {
        let from = Some(address);
        match self {
            Door::Plain(way) => Self::Plain(Way { from, ..*way }),
            Door::Tls(way, config) => Self::Tls(Way { from, ..*way }, Arc::clone(config)),
            Door::Unix(path) => Self::Unix(path.clone()),
        }
    }

    /// A connection; with TLS the handshake comes with the first byte.
    ///
    /// # Errors
    /// When nobody takes it.
    pub fn connect(&self) -> io::Result<Connection> {
        let limit = Some(Duration::from_secs(SILENCE_LIMIT_SECONDS));
        let stream: Box<dyn Stream> = match self {
            Door::Plain(way) => Box::new(tcp(*way, limit)?),
            Door::Tls(way, config) => {
                let name = ServerName::from(way.to.ip());
                let client = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
                Box::new(StreamOwned::new(client, tcp(*way, limit)?))
            }
            Door::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(limit)?;
                stream.set_write_timeout(limit)?;
                Box::new(stream)
            }
        };
        Ok(Connection { stream, ahead: Vec::new() })
    }

    /// One request on a connection of its own.
    ///
    /// # Errors
    /// When there is no whole answer.
    pub fn ask(&self, request: &Request) -> io::Result<Answer> {
        self.connect()?.ask(request)
    }
}

fn tcp(way: Way, limit: Option<Duration>) -> io::Result<TcpStream> {
    let stream = match way.from {
        None => TcpStream::connect(way.to)?,
        Some(from) => {
            let socket = net::socket(net::AddressFamily::INET, net::SocketType::STREAM, None)?;
            net::bind(&socket, &SocketAddr::from((from, 0)))?;
            net::connect(&socket, &way.to)?;
            TcpStream::from(socket)
        }
    };
    stream.set_nodelay(true)?;
    stream.set_read_timeout(limit)?;
    stream.set_write_timeout(limit)?;
    Ok(stream)
}

fn trusting(authority: &Path) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority).map_err(io::Error::other)? {
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(builder.map_err(io::Error::other)?.with_root_certificates(roots).with_no_client_auth())
}

/// A connection to a server.
pub struct Connection {
    stream: Box<dyn Stream>,
    /// What was read and not yet understood.
    ahead: Vec<u8>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("ahead", &self.ahead.len()).finish_non_exhaustive()
    }
}

impl Connection {
    /// Sends bytes, whatever they are.
    ///
    /// # Errors
    /// When the server does not take them.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Says that nothing more will come.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn finish(&mut self) -> io::Result<()> {
        self.stream.finish()
    }

    /// Sends a request and reads its answer; the connection can be used again after a whole one.
    ///
    /// # Errors
    /// When there is no answer, or none that is whole.
    pub fn ask(&mut self, request: &Request) -> io::Result<Answer> {
        let sent = self.send(&request.bytes());
        // A server may answer before it has taken everything, and take no more.
        match (self.answer(request.is_head()), sent) {
            (Ok(answer), _) => Ok(answer),
            (Err(_), Err(error)) | (Err(error), Ok(())) => Err(error),
        }
    }

    /// Reads the next answer; `to_head` when it is one to HEAD, which has a length and no body.
    ///
    /// # Errors
    /// When it is not HTTP, or ends early.
    pub fn answer(&mut self, to_head: bool) -> io::Result<Answer> {
        loop {
            let head = self.head()?;
            let mut answer = Answer::of_head(&head)?;
            if answer.status < 200 {
                continue;
            }
            if !(to_head || answer.status == 204 || answer.status == 304) {
                answer.body = self.body(&answer)?;
            }
            return Ok(answer);
        }
    }

    /// Whether the server has closed it: waits until it has, or until the limit of silence.
    pub fn is_closed(&mut self) -> bool {
        match self.more() {
            Ok(bytes) => bytes == 0,
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
        }
    }

    fn head(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = self.ahead.windows(4).position(|window| window == b"\r\n\r\n") {
                let rest = self.ahead.split_off(end + 4);
                return Ok(std::mem::replace(&mut self.ahead, rest));
            }
            if self.ahead.len() > HEAD_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a head without an end"));
            }
            if self.more()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn body(&mut self, answer: &Answer) -> io::Result<Vec<u8>> {
        if answer.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return self.chunks();
        }
        match answer.header("content-length") {
            Some(length) => {
                let length = length.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
                self.exactly(length)
            }
            None => {
                while self.more()? > 0 {}
                Ok(std::mem::take(&mut self.ahead))
            }
        }
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            if size == 0 {
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.exactly(size)?);
            self.line()?;
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.ahead.windows(2).position(|window| window == b"\r\n") {
                let rest = self.ahead.split_off(end + 2);
                let line = std::mem::replace(&mut self.ahead, rest);
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.more()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < length {
            if self.more()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let rest = self.ahead.split_off(length);
        Ok(std::mem::replace(&mut self.ahead, rest))
    }

    /// Reads on; 0 at the end.
    fn more(&mut self) -> io::Result<usize> {
        let mut piece = vec![0; PIECE_BYTES];
        let read = loop {
            match self.stream.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.ahead.extend_from_slice(&piece[..read]);
        Ok(read)
    }
}
