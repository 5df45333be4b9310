//! Programs of this machine that read a source for us, or write one back: how they are started, watched and ended.
//!
//! No shell is involved: words go to the program as they are. A program gets no secret of ours but those that were
//! meant for it, and those neither as words nor as files on disk: through a descriptor that it inherits, or, where it
//! knows no other way, through its environment. It runs in a process group of its own, which is killed whole when we
//! let go of it or when its time is up. What it says is kept to a limit, for the message when it fails.
//!
//! A dump that ends early must not look like one that ended: [`Running::finish`] is what tells them apart, and nobody
//! calls a program's output whole before.

mod environment;
mod running;
mod search;
mod secret_file;

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use command_fds::{CommandFdExt as _, FdMapping};
use model::{ExposeSecret as _, Secret};
use repository::Cancel;

pub use running::Running;
pub(crate) use search::{find, version};
use secret_file::SecretFile;

/// Standard input, output and error are 0 to 2.
const FIRST_FREE_DESCRIPTOR: i32 = 3;

/// A dump tool that writes nothing for so long waits for a server that has stopped.
pub(crate) const SILENCE_LIMIT: Duration = Duration::from_secs(60 * 60);

/// A program that is to be started, and all that it gets.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    unset_prefixes: Vec<&'static str>,
    secret_files: Vec<SecretFile>,
    secret_variables: Vec<(OsString, Secret)>,
    secrets: Vec<Secret>,
    folder: Option<PathBuf>,
    bounds: Bounds,
    has_input: bool,
    has_output: bool,
}

/// When a program is not waited for any more.
#[derive(Debug, Clone, Default)]
struct Bounds {
    /// It is killed when it has not ended by then.
    deadline: Option<Duration>,
    /// It is killed when it has written nothing for so long while somebody was waiting.
    silence_limit: Option<Duration>,
    /// Nobody waits for its output any more when this is set.
    stop: Option<Cancel>,
}

/// How a program failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{program}` {how}{}", behind_colon(.said))]
pub struct ProgramError {
    /// Its name, without the folder.
    pub program: String,
    /// What happened: `ended with code 2`.
    pub how: String,
    /// The end of what it said, as one line, without secrets.
    pub said: String,
}

fn behind_colon(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

impl Program {
    /// A program by its path, or by its name where the search path knows it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            arguments: Vec::new(),
            variables: Vec::new(),
            unset_prefixes: Vec::new(),
            secret_files: Vec::new(),
            secret_variables: Vec::new(),
            secrets: Vec::new(),
            folder: None,
            bounds: Bounds::default(),
            has_input: false,
            has_output: true,
        }
    }

    /// One more argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn arguments<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// A variable of its environment, beside those that it inherits.
    #[must_use]
    pub fn variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// A variable that is secret, for programs that take a secret in no better way.
    #[must_use]
    pub fn secret_variable(mut self, name: impl Into<OsString>, secret: &Secret) -> Self {
        self.secrets.push(secret.clone());
        self.secret_variables.push((name.into(), secret.clone()));
        self
    }

    /// Variables whose names begin so are not inherited.
    #[must_use]
    pub fn without_variables(mut self, prefix: &'static str) -> Self {
        self.unset_prefixes.push(prefix);
        self
    }

    /// Hands a secret text over as a file that is in memory alone; gives the path by which the program opens it.
    ///
    /// # Errors
    /// When the system has no room for it.
    pub fn secret_file(&mut self, text: &Secret) -> io::Result<PathBuf> {
        let number = FIRST_FREE_DESCRIPTOR + i32::try_from(self.secret_files.len()).unwrap_or_default();
        self.secret_files.push(SecretFile::new(text)?);
        Ok(PathBuf::from(format!("/dev/fd/{number}")))
    }

    /// A secret that must not show in what the program says.
    #[must_use]
    pub fn hiding(mut self, secret: &Secret) -> Self {
        self.secrets.push(secret.clone());
        self
    }

    /// The folder that it starts in.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// It is killed when it has not ended by then.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.bounds.deadline = Some(deadline);
        self
    }

    /// It is killed when it writes nothing for so long while somebody waits.
    #[must_use]
    pub fn silence_limit(mut self, limit: Duration) -> Self {
        self.bounds.silence_limit = Some(limit);
        self
    }

    /// Its output is not waited for any more when somebody wants to stop.
    #[must_use]
    pub fn heeding(mut self, stop: &Cancel) -> Self {
        self.bounds.stop = Some(stop.clone());
        self
    }

    /// It reads what we write to it; otherwise its input is empty.
    #[must_use]
    pub fn with_input(mut self) -> Self {
        self.has_input = true;
        self
    }

    /// What it writes to its standard output is of no use to anybody.
    #[must_use]
    pub fn without_output(mut self) -> Self {
        self.has_output = false;
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(self) -> Result<Running, ProgramError> {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy().into_owned();
        let failed = |error: &dyn std::fmt::Display| ProgramError {
            program: name.clone(),
            how: format!("cannot be started: {error}"),
            said: String::new(),
        };
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).stderr(Stdio::piped());
        command.stdout(if self.has_output { Stdio::piped() } else { Stdio::null() });
        command.stdin(if self.has_input { Stdio::piped() } else { Stdio::null() });
        // Ctrl-C at the terminal is for us, and who belongs to the program can be ended together.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        environment::scrub(&mut command, &self.unset_prefixes);
        command.envs(self.variables);
        command.envs(self.secret_variables.iter().map(|(name, secret)| (name, secret.expose_secret())));
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        let numbered = self.secret_files.into_iter().zip(FIRST_FREE_DESCRIPTOR..);
        let mappings = numbered.map(|(file, child_fd)| FdMapping { parent_fd: file.into_descriptor(), child_fd });
        command.fd_mappings(mappings.collect()).map_err(|error| failed(&error))?;
        let child = command.spawn().map_err(|error| failed(&error))?;
        Ok(Running::new(name, child, self.bounds, self.secrets))
    }

    /// Runs it to its end and gives what it wrote.
    ///
    /// # Errors
    /// When it fails, or writes more than `limit_bytes`.
    pub fn run(self, limit_bytes: u64) -> Result<Vec<u8>, ProgramError> {
        let mut running = self.start()?;
        let mut output = Vec::new();
        let read = running.by_ref().take(limit_bytes + 1).read_to_end(&mut output);
        read.map_err(|error| running.failed(format!("cannot be heard: {error}")))?;
        if limit_bytes < output.len() as u64 {
            running.kill();
            return Err(running.failed(format!("wrote more than {limit_bytes} bytes")));
        }
        running.finish()?;
        Ok(output)
    }
}
