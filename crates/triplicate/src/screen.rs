//! Everything that is printed. Results go to standard output, everything else to standard error.
//!
//! Lines for people are not printed in JSON mode; JSON lines are not printed otherwise. A reader that goes away
//! (`| head`) ends the command quietly.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::ProgressBar;
use serde::Serialize;

use crate::arguments::Global;
use crate::environment;
use crate::failure::{Failure, code};

/// What is written at once to standard output when nobody reads along.
const OUTPUT_BUFFER_BYTES: usize = 64 << 10;

/// The two streams, and how much is wanted on them.
pub(crate) struct Screen {
    json: bool,
    quiet: bool,
    verbosity: u8,
    colour: bool,
    output: Mutex<std::io::BufWriter<std::io::Stdout>>,
    output_is_terminal: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl Screen {
    pub(crate) fn new(global: &Global) -> Self {
        Self {
            json: global.json,
            quiet: global.quiet,
            verbosity: global.verbose,
            colour: std::io::stderr().is_terminal() && environment::text(environment::NO_COLOR).is_none(),
            output: Mutex::new(std::io::BufWriter::with_capacity(OUTPUT_BUFFER_BYTES, std::io::stdout())),
            output_is_terminal: std::io::stdout().is_terminal(),
            bar: Mutex::new(None),
        }
    }

    /// Whether JSON is wanted instead of text.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether nothing but results and errors is wanted.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// How often `-v` was given; 0 with `-q`.
    pub(crate) fn verbosity(&self) -> u8 {
        if self.quiet { 0 } else { self.verbosity }
    }

    /// A line of the result; not in JSON mode.
    pub(crate) fn line(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        self.write(text.as_ref().as_bytes())
    }

    /// A line that tells how it went, on standard output, which `-q` leaves out; not in JSON mode.
    pub(crate) fn remark(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        if self.quiet { Ok(()) } else { self.line(text) }
    }

    /// One JSON document in one line; only in JSON mode.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        if !self.json {
            return Ok(());
        }
        self.write(json_text(value).as_bytes())
    }

    /// The raw output stream, for contents of files.
    pub(crate) fn raw(&self) -> MutexGuard<'_, std::io::BufWriter<std::io::Stdout>> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether standard output is a terminal.
    pub(crate) fn output_is_terminal(&self) -> bool {
        self.output_is_terminal
    }

    fn write(&self, line: &[u8]) -> Result<(), Failure> {
        let mut output = self.raw();
        let mut written = output.write_all(line).and_then(|()| output.write_all(b"\n"));
        // Whoever reads JSON lines along waits for each of them.
        if written.is_ok() && (self.output_is_terminal || self.json) {
            written = output.flush();
        }
        drop(output);
        written.map_err(output_failed)
    }

    /// Hands over what is still buffered.
    pub(crate) fn flush(&self) -> Result<(), Failure> {
        self.raw().flush().map_err(output_failed)
    }

    /// Something to know, on standard error; not with `-q` or in JSON mode.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        if !self.quiet && !self.json {
            self.to_stderr(text.as_ref());
        }
    }

    /// Something that is not as it should be, on standard error, even with `-q`; not in JSON mode.
    pub(crate) fn warn(&self, text: impl AsRef<str>) {
        if !self.json {
            let mark = if self.colour { "\x1b[33mwarning:\x1b[0m" } else { "warning:" };
            self.to_stderr(&format!("{mark} {}", text.as_ref()));
        }
    }

    /// One JSON document on standard error, where restic has its errors; only in JSON mode.
    pub(crate) fn json_error(&self, value: &impl Serialize) {
        if self.json {
            self.to_stderr(&json_text(value));
        }
    }

    /// Shows a bar at the bottom; lines are printed above it.
    pub(crate) fn attach(&self, bar: Option<ProgressBar>) {
        *self.bar.lock().unwrap_or_else(PoisonError::into_inner) = bar;
    }

    /// Prints a line to standard error, in whichever mode.
    pub(crate) fn to_stderr(&self, text: &str) {
        let print = || {
            // Nobody is left to be told when standard error is closed.
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        };
        match &*self.bar.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Prints why the command failed, and gives its exit code.
    pub(crate) fn end_with(&self, failure: &Failure) -> ExitCode {
        // What was found before the failure belongs to the result; a reader that is gone misses nothing.
        let _ = self.flush();
        if failure.message.is_empty() {
            return ExitCode::from(failure.code);
        }
        if self.json {
            self.to_stderr(&exit_error(failure));
        } else {
            let mark = if self.colour { "\x1b[31merror:\x1b[0m" } else { "error:" };
            self.to_stderr(&format!("{mark} {}", one_line(&failure.message)));
            for hint in &failure.hints {
                self.to_stderr(&format!("hint: {}", one_line(hint)));
            }
        }
        ExitCode::from(failure.code)
    }
}

/// restic's last line in JSON mode, with our hints.
pub(crate) fn exit_error(failure: &Failure) -> String {
    #[derive(Serialize)]
    struct ExitError<'a> {
        message_type: &'a str,
        code: u8,
        message: &'a str,
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        hints: &'a [String],
    }
    let Failure { code, message, hints } = failure;
    json_text(&ExitError { message_type: "exit_error", code: *code, message, hints })
}

fn json_text(value: &impl Serialize) -> String {
    serde_json::to_string(value)
        .unwrap_or_else(|error| format!(r#"{{"message_type":"error","error":{{"message":"{error}"}}}}"#))
}

/// An error is one line, whatever a server wrote into it.
fn one_line(text: &str) -> String {
    text.split(['\n', '\r']).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

pub(crate) fn output_failed(error: std::io::Error) -> Failure {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        Failure::new(code::READER_GONE, "")
    } else {
        Failure::failed(format!("cannot write to standard output: {error}"))
    }
}
