//! Programs of this machine that carry our bytes: how they are started, what they said when they failed.
//!
//! No shell is involved: words go to the program as they are. What a program writes to its standard error is kept,
//! its end only, for the message of the fault; nothing of it is ever sent anywhere. A program is ended when we let go
//! of it, and one whose input closes, because we were killed, ends by itself.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::FaultKind;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use crate::{AccountPlace, SshAccess};

/// As much of what a program said is kept.
const TAIL_BYTES: usize = 4 << 10;
/// No more of it than this in a message of ours.
const WORDS_LIMIT_CHARS: usize = 400;
/// How long to wait for the last words of a program whose output ended.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(2);

/// A program at work, with its standard error being read.
#[derive(Debug)]
pub(crate) struct Program {
    name: String,
    /// Taken by whoever waits for the end.
    child: tokio::sync::Mutex<Child>,
    tail: Arc<Mutex<Vec<u8>>>,
    listener: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

/// A command that may be started: no shell, no terminal, ended with us.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>, arguments: &[String]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // Ctrl-C at the terminal is for us: we still have locks to remove through this program.
    command.process_group(0);
    command
}

impl Program {
    /// Starts it; gives its standard input and output too.
    pub(crate) fn start(mut command: Command) -> Result<(Self, ChildStdin, ChildStdout), String> {
        let name = command.as_std().get_program().to_string_lossy().into_owned();
        let mut child = command.spawn().map_err(|error| format!("cannot start `{name}`: {error}"))?;
        let (Some(stdin), Some(stdout), Some(mut stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(format!("cannot reach the pipes of `{name}`"));
        };
        let tail = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&tail);
        let listener = tokio::spawn(async move {
            let mut piece = vec![0; TAIL_BYTES];
            while let Ok(length @ 1..) = stderr.read(&mut piece).await {
                let mut tail = kept.lock().unwrap_or_else(PoisonError::into_inner);
                tail.extend(piece.iter().take(length));
                let excess = tail.len().saturating_sub(TAIL_BYTES);
                tail.drain(..excess);
            }
        });
        let program = Self {
            name,
            child: tokio::sync::Mutex::new(child),
            tail,
            listener: tokio::sync::Mutex::new(Some(listener)),
        };
        Ok((program, stdin, stdout))
    }

    /// Waits for its end; the exit code, none when a signal ended it.
    pub(crate) async fn end(&self) -> std::io::Result<Option<i32>> {
        Ok(self.child.lock().await.wait().await?.code())
    }

    /// What it said last, once its standard error has ended or a moment has passed.
    pub(crate) async fn last_words(&self) -> String {
        if let Some(listener) = self.listener.lock().await.take() {
            let _ = tokio::time::timeout(LAST_WORDS_LIMIT, listener).await;
        }
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        shown(&String::from_utf8_lossy(&tail))
    }

    /// Its name, as it was started.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// The end of a text as one line.
fn shown(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let characters: Vec<char> = line.chars().filter(|c| !c.is_control()).collect();
    let start = characters.len().saturating_sub(WORDS_LIMIT_CHARS);
    characters.get(start..).unwrap_or_default().iter().collect()
}

/// What ssh's last words mean, when they are known ones.
pub(crate) fn kind_of_ssh_words(words: &str) -> Option<FaultKind> {
    let says = |part: &str| words.contains(part);
    if says("Host key verification failed")
        || says("HOST IDENTIFICATION HAS CHANGED")
        || says("Bad owner or permissions")
    {
        Some(FaultKind::Misconfigured)
    } else if says("Permission denied (") || says("Too many authentication failures") {
        Some(FaultKind::Denied)
    } else if says("Could not resolve hostname") || says("Connection refused") || says("timed out") || says("closed by")
    {
        Some(FaultKind::Unreachable)
    } else {
        None
    }
}

/// ssh and its options for a host, without the host: nothing is asked at a terminal, an unknown host is refused, and
/// a dead connection is noticed.
pub(crate) fn ssh_words(place: &AccountPlace, access: &SshAccess) -> Result<Vec<String>, String> {
    for (given, what) in [
        (access.password.is_some(), "a password"),
        (access.key_passphrase.is_some(), "a passphrase"),
        (access.host_fingerprint.is_some(), "a pinned fingerprint"),
    ] {
        if given {
            return Err(format!("{what} cannot be given to the ssh program; use an agent, and a file of known hosts"));
        }
    }
    let usual = || vec!["ssh".to_owned()];
    let mut words = access.ssh_program.clone().filter(|words| !words.is_empty()).unwrap_or_else(usual);
    let option = |words: &mut Vec<String>, option: String| words.extend(["-o".to_owned(), option]);
    for fixed in ["BatchMode=yes", "StrictHostKeyChecking=yes", "ServerAliveInterval=15", "ServerAliveCountMax=3"] {
        option(&mut words, fixed.to_owned());
    }
    if let Some(file) = &access.known_hosts {
        option(&mut words, format!("UserKnownHostsFile=\"{}\"", file.display()));
        option(&mut words, "GlobalKnownHostsFile=/dev/null".to_owned());
    }
    if let Some(file) = &access.key_file {
        option(&mut words, "IdentitiesOnly=yes".to_owned());
        words.extend(["-i".to_owned(), file.display().to_string()]);
    }
    if let Some(port) = place.port {
        words.extend(["-p".to_owned(), port.to_string()]);
    }
    if let Some(username) = place.username.as_ref().or(access.username.as_ref()) {
        words.extend(["-l".to_owned(), username.clone()]);
    }
    Ok(words)
}
