//! A program that must end: run to its end or to a deadline, with everything that it said.

use std::io::{self, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use super::wait_until;

/// How a program ended and what it said.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub output: Vec<u8>,
    /// Standard error, as text.
    pub errors: String,
}

impl Ended {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// Checks the exit code.
    ///
    /// # Panics
    /// When it is another one, with everything that the program said.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "output:\n{}\nerrors:\n{}", self.text(), self.errors);
        self
    }
}

/// Runs `command` and waits for its end; past `limit` it is killed, which is an error.
///
/// # Errors
/// When it cannot be started, or did not end in time.
pub fn run(command: &mut Command, limit: Duration) -> io::Result<Ended> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let output = child.stdout.take().map(collect);
    let errors = child.stderr.take().map(collect);
    let mut status: Option<ExitStatus> = None;
    let ended = wait_until(limit, || {
        status = child.try_wait().ok().flatten();
        status.is_some()
    });
    if !ended {
        child.kill()?;
        child.wait()?;
    }
    let output = output.and_then(|thread| thread.join().ok()).unwrap_or_default();
    let errors = errors.and_then(|thread| thread.join().ok()).unwrap_or_default();
    let errors = String::from_utf8_lossy(&errors).into_owned();
    if !ended {
        let program = command.get_program().to_string_lossy().into_owned();
        let said = String::from_utf8_lossy(&output).into_owned();
        let why = format!("`{program}` did not end in {} s; it said:\n{said}\n{errors}", limit.as_secs());
        return Err(io::Error::new(io::ErrorKind::TimedOut, why));
    }
    Ok(Ended { code: status.and_then(|status| status.code()), output, errors })
}

/// Reads a pipe to its end on a thread of its own, because a program that fills one pipe while we read the other hangs.
pub(crate) fn collect(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}
