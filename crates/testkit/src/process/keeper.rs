//! A shell script at work that ends, and cleans up, when its pipe closes.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use super::wait_until;

/// How long a keeper may take to kill and clean up.
const CLEANUP_LIMIT_SECONDS: u64 = 20;

/// A keeper script and the pipe that holds it.
#[derive(Debug)]
pub(crate) struct Keeper {
    child: Child,
    pipe: Option<ChildStdin>,
    // Behind a lock only because a receiver may not be shared, and servers are shared between tests.
    lines: Mutex<Receiver<String>>,
}

impl Keeper {
    /// Runs the shell script `script`, called `name`, with `arguments`.
    pub(crate) fn start(script: &str, name: &str, arguments: &[OsString]) -> io::Result<Self> {
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(script)
            .arg(name)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let pipe = child.stdin.take();
        let (sender, lines) = channel();
        if let Some(output) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        Ok(Self { child, pipe, lines: Mutex::new(lines) })
    }

    /// The next line that the script says.
    pub(crate) fn next_line(&self, limit: Duration) -> io::Result<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.recv_timeout(limit).map_err(|error| match error {
            RecvTimeoutError::Timeout => io::Error::new(io::ErrorKind::TimedOut, "the keeper said nothing in time"),
            RecvTimeoutError::Disconnected => io::Error::other("the keeper ended without a word"),
        })
    }

    /// Says a word to the script.
    pub(crate) fn say(&mut self, word: &str) -> io::Result<()> {
        self.pipe.as_mut().map_or(Ok(()), |pipe| writeln!(pipe, "{word}"))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let child = &mut self.child;
        if !wait_until(Duration::from_secs(CLEANUP_LIMIT_SECONDS), || !matches!(child.try_wait(), Ok(None))) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
