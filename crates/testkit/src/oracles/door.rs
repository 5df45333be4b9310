//! restic's way to any destination, one in memory too: its REST protocol, version 2, on a loopback port.
//!
//! With a destination that pauses or dies behind it, restic itself can be held or broken at any of its operations,
//! always at the same one. A server for tests only: no credentials, one thread for each connection, and whoever speaks
//! anything but restic's own requests is answered `400`.

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use destinations::{Destination, Span};
use format::{FileKind, FileName};
use model::{Fault, FaultKind, Id};
use tokio::runtime::Handle;

/// The media type of listings with sizes.
const LISTING: &str = "application/vnd.x.restic.rest.v2";

/// A larger body is not restic's.
const BODY_BYTES_MAX: u64 = 256 << 20;

/// An open door. It closes for newcomers when it is dropped.
#[derive(Debug)]
pub struct Door {
    address: SocketAddr,
    closed: Arc<AtomicBool>,
}

impl Door {
    /// Opens a door to `place`, whose work is done on `runtime`.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn open(place: Arc<dyn Destination>, runtime: &Handle) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let closed = Arc::new(AtomicBool::new(false));
        let (is_closed, runtime) = (closed.clone(), runtime.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if is_closed.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let visitor = Visitor { place: place.clone(), runtime: runtime.clone() };
                // A visitor who leaves in the middle of a word is nobody's trouble.
                std::thread::spawn(move || visitor.serve(stream));
            }
        });
        Ok(Self { address, closed })
    }

    /// What restic is told with `-r`.
    pub fn repository(&self) -> String {
        format!("rest:http://{}/", self.address)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for the next visitor.
        let _ = TcpStream::connect(self.address);
    }
}

/// Who came through the door.
struct Visitor {
    place: Arc<dyn Destination>,
    runtime: Handle,
}

/// What was asked.
struct Request {
    method: String,
    path: String,
    range: Option<(u64, u64)>,
    body: Bytes,
}

/// What is answered.
struct Answer {
    status: &'static str,
    media_type: &'static str,
    /// Told even where the body stays away.
    length: u64,
    body: Bytes,
}

impl Answer {
    fn empty(status: &'static str) -> Self {
        Self { status, media_type: "text/plain", length: 0, body: Bytes::new() }
    }

    fn with(status: &'static str, media_type: &'static str, body: Bytes) -> Self {
        Self { status, media_type, length: body.len() as u64, body }
    }
}

impl Visitor {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut out = stream.try_clone()?;
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader)? {
            let answer = self.answer(&request).unwrap_or_else(|fault| Answer::empty(status_of(&fault)));
            let head = format!(
                "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
                answer.status, answer.media_type, answer.length
            );
            out.write_all(head.as_bytes())?;
            if request.method != "HEAD" {
                out.write_all(&answer.body)?;
            }
        }
        Ok(())
    }

    fn answer(&self, request: &Request) -> Result<Answer, Fault> {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match (request.method.as_str(), parts.as_slice()) {
            ("POST", []) if query.contains("create=true") => {
                self.runtime.block_on(self.place.create()).map(|()| Answer::empty("200 OK"))
            }
            (_, ["config"]) => self.file(request, FileName::CONFIG),
            ("GET", [folder]) => match kind_of(folder) {
                Some(kind) => self.listing(kind),
                None => Ok(Answer::empty("400 Bad Request")),
            },
            (_, [folder, id]) => match kind_of(folder).zip(id.parse::<Id>().ok()) {
                Some((kind, id)) => self.file(request, FileName::new(kind, id)),
                None => Ok(Answer::empty("400 Bad Request")),
            },
            _ => Ok(Answer::empty("400 Bad Request")),
        }
    }

    fn listing(&self, kind: FileKind) -> Result<Answer, Fault> {
        let listed = self.runtime.block_on(self.place.list(kind))?;
        let files = listed.iter().map(|file| format!(r#"{{"name":"{}","size":{}}}"#, file.id, file.size));
        let body = format!("[{}]", files.collect::<Vec<_>>().join(","));
        Ok(Answer::with("200 OK", LISTING, body.into()))
    }

    fn file(&self, request: &Request, name: FileName) -> Result<Answer, Fault> {
        match (request.method.as_str(), request.range) {
            ("HEAD", _) => {
                let length = self.runtime.block_on(self.place.stat(name))?;
                Ok(Answer { length, ..Answer::empty("200 OK") })
            }
            ("GET", None) => {
                let body = self.runtime.block_on(self.place.read(name, Span::Whole))?;
                Ok(Answer::with("200 OK", "application/octet-stream", body))
            }
            ("GET", Some((offset, length))) => {
                let body = self.runtime.block_on(self.place.read(name, Span::Range { offset, length }))?;
                Ok(Answer::with("206 Partial Content", "application/octet-stream", body))
            }
            ("POST", _) => {
                self.runtime.block_on(self.place.write(name, request.body.clone()))?;
                Ok(Answer::empty("200 OK"))
            }
            ("DELETE", _) => {
                self.runtime.block_on(self.place.remove(name))?;
                Ok(Answer::empty("200 OK"))
            }
            _ => Ok(Answer::empty("400 Bad Request")),
        }
    }
}

fn kind_of(folder: &str) -> Option<FileKind> {
    FileKind::NAMED.into_iter().find(|kind| kind.folder() == folder)
}

fn status_of(fault: &Fault) -> &'static str {
    match fault.kind {
        FaultKind::NotFound => "404 Not Found",
        FaultKind::Denied | FaultKind::Exists => "403 Forbidden",
        FaultKind::Damaged => "416 Range Not Satisfiable",
        FaultKind::Full => "507 Insufficient Storage",
        _ => "500 Internal Server Error",
    }
}

/// The next request of a connection; none at its end.
fn read_request(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let (mut length, mut range) = (0, None);
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(u64::MAX),
            "range" => range = parse_range(value),
            _ => {}
        }
    }
    if length > BODY_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; usize::try_from(length).unwrap_or_default()];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { method, path, range, body: body.into() }))
}

/// `bytes=FIRST-LAST` as offset and length.
fn parse_range(value: &str) -> Option<(u64, u64)> {
    let (first, last) = value.trim().strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
    Some((first, last.checked_sub(first)? + 1))
}
