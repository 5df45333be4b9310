//! The log: a line of JSON for every request, and for what happens to the server itself.
//!
//! Who asked for what, what was answered, how much and how long it took; never a password, a token or a header. Writing
//! it must not hold up anybody: lines wait in a bounded queue for a thread of their own, and when the disk under the log
//! is too slow they are dropped, counted, and the count is written.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::time::Duration;

use clock::Clock;
use serde::Serialize;

use crate::error::StoreError;

/// Lines that wait for the disk; some megabytes at most.
const LINES_WAITING_MAX: usize = 8192;
/// How long an end waits for the log's last lines.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// Where the log goes. Clones write to the same place.
#[derive(Debug, Clone)]
pub struct AccessLog {
    lines: Option<SyncSender<Entry>>,
    dropped: Arc<AtomicU64>,
    is_to_be_reopened: Arc<AtomicBool>,
    clock: Arc<dyn Clock>,
}

/// A request that is over.
#[derive(Debug, Clone, Serialize)]
pub struct RequestLine {
    /// The number that the client was given as `X-Request-Id`.
    pub request: String,
    /// From where: an address, or `unix`.
    pub from: String,
    /// The credential that was let in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// As it was sent.
    pub method: String,
    /// As it was sent, cut to what a real path can have.
    pub path: String,
    /// What was answered.
    pub status: u16,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// From the request's head to the end of the answer.
    pub milliseconds: u64,
    /// The answer did not reach its end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub broken_off: bool,
    /// Why it was refused, in a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<&'static str>,
    /// What failed on the server's side; the client was not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Serialize)]
struct Stamped<'a, T> {
    time: String,
    #[serde(flatten)]
    line: &'a T,
}

#[derive(Serialize)]
struct EventLine<'a> {
    event: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
}

/// What the thread of the log is sent.
#[derive(Debug)]
enum Entry {
    Line(String),
    /// All before this is to be written; then somebody is told.
    Flush(Sender<()>),
}

impl AccessLog {
    /// Writes nothing.
    pub fn off(clock: Arc<dyn Clock>) -> Self {
        Self { lines: None, dropped: Arc::default(), is_to_be_reopened: Arc::default(), clock }
    }

    /// Writes to standard error, which systemd keeps.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn to_standard_error(clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        Self::start(None, Box::new(io::stderr()), clock)
    }

    /// Appends to a file, and makes it when there is none.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn to_file(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let file = append_to(path).map_err(|error| StoreError::disk("open", path, error))?;
        Self::start(Some(path.to_owned()), Box::new(file), clock)
    }

    fn start(path: Option<PathBuf>, out: Box<dyn Write + Send>, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let (sender, lines) = sync_channel(LINES_WAITING_MAX);
        let log = Self { lines: Some(sender), dropped: Arc::default(), is_to_be_reopened: Arc::default(), clock };
        let (dropped, is_to_be_reopened) = (Arc::clone(&log.dropped), Arc::clone(&log.is_to_be_reopened));
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_lines(&lines, path.as_deref(), out, &dropped, &is_to_be_reopened))
            .map_err(|error| StoreError::setting(format!("cannot start the log: {error}")))?;
        Ok(log)
    }

    /// A request is over.
    pub fn request(&self, line: &RequestLine) {
        self.send(line);
    }

    /// Something happened to the server.
    pub fn event(&self, event: &str, detail: &str) {
        self.send(&EventLine { event, detail });
    }

    /// Opens the file anew before the next line: what had its name was moved away.
    pub fn reopen(&self) {
        self.is_to_be_reopened.store(true, Ordering::Relaxed);
        self.event("log_reopened", "");
    }

    /// Waits until all that was said so far is written, or for a while.
    pub fn flush(&self) {
        let (written, told) = channel();
        if self.lines.as_ref().is_some_and(|lines| lines.send(Entry::Flush(written)).is_ok()) {
            let _ = told.recv_timeout(FLUSH_LIMIT);
        }
    }

    fn send(&self, line: &impl Serialize) {
        let Some(lines) = &self.lines else { return };
        let time = self.clock.now().to_string();
        let Ok(text) = serde_json::to_string(&Stamped { time, line }) else { return };
        if let Err(TrySendError::Full(_)) = lines.try_send(Entry::Line(text)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().append(true).create(true).mode(0o600).open(path)
}

/// The thread of the log. What cannot be written is lost: there is nowhere to say so.
fn write_lines(
    lines: &Receiver<Entry>,
    path: Option<&Path>,
    out: Box<dyn Write + Send>,
    dropped: &AtomicU64,
    is_to_be_reopened: &AtomicBool,
) {
    let mut out = BufWriter::new(out);
    while let Ok(first) = lines.recv() {
        if is_to_be_reopened.swap(false, Ordering::Relaxed)
            && let Some(Ok(file)) = path.map(append_to)
        {
            let _ = out.flush();
            out = BufWriter::new(Box::new(file));
        }
        let mut waiting = Vec::new();
        for entry in std::iter::once(first).chain(lines.try_iter()) {
            match entry {
                Entry::Line(line) => drop(writeln!(out, "{line}")),
                Entry::Flush(written) => waiting.push(written),
            }
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(out, r#"{{"event":"log_lines_lost","detail":"{lost}"}}"#);
        }
        let _ = out.flush();
        // Whoever waited may have given up.
        for written in waiting {
            let _ = written.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn line(path: &str) -> RequestLine {
        RequestLine {
            request: "r1".to_owned(),
            from: "unix".to_owned(),
            login: None,
            method: "GET".to_owned(),
            path: path.to_owned(),
            status: 401,
            bytes_in: 0,
            bytes_out: 13,
            milliseconds: 1,
            broken_off: false,
            refused: Some("login"),
            error: None,
        }
    }

    #[allow(clippy::disallowed_methods)]
    fn eventually(path: &Path, wanted: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            if text.contains(wanted) || Instant::now() > deadline {
                return text;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_line_is_one_line_whatever_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = AccessLog::to_file(&path, Arc::new(clock::SystemClock::new())).unwrap();
        log.request(&line("/a\n{\"status\":200}\u{1b}[2J"));
        log.event("stopped", "");
        let text = eventually(&path, "stopped");
        assert_eq!(text.lines().count(), 2, "{text}");
        let value: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!((value["status"].as_u64(), value["refused"].as_str()), (Some(401), Some("login")));
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn a_log_that_was_moved_away_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = AccessLog::to_file(&path, Arc::new(clock::SystemClock::new())).unwrap();
        log.event("before", "");
        assert!(eventually(&path, "before").contains("before"));
        std::fs::rename(&path, folder.path().join("old")).unwrap();
        log.reopen();
        log.event("after", "");
        let text = eventually(&path, "after");
        assert!(text.contains("after") && !text.contains("before"), "{text}");
    }
}
