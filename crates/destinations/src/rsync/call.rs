//! One call of the `rsync` program: its arguments, its signs of life, and what its exit code means.
//!
//! Paths of the account pass through its shell, whatever rsync does about it in its many versions; so no path is taken
//! that a shell could understand as anything but itself.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use model::FaultKind;
use tokio::io::AsyncReadExt as _;

use crate::around::progress::Progress;
use crate::program::{self, Program};
use crate::{AccountPlace, Limits, SshAccess};

const USUAL_PROGRAM: &str = "rsync";
/// A listing of ten million names is about this long.
const OUTPUT_LIMIT_BYTES: usize = 1 << 30;
const PIECE_BYTES: usize = 64 << 10;

/// Why a call failed.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) kind: FaultKind,
    pub(super) cause: String,
}

impl Trouble {
    pub(super) fn new(kind: FaultKind, cause: impl Into<String>) -> Self {
        Self { kind, cause: cause.into() }
    }
}

impl From<io::Error> for Trouble {
    /// A failure of this machine: of the program's pipes, or of the private folder.
    fn from(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FaultKind::Failing,
            _ => FaultKind::Refused,
        };
        Self::new(kind, format!("on this machine: {error}"))
    }
}

/// Runs work on files of this machine.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|broken| Err(Trouble::new(FaultKind::Interrupted, broken.to_string())))
}

/// Calls the program for one account and folder.
#[derive(Debug)]
pub(super) struct Caller {
    program: std::ffi::OsString,
    shared_arguments: Vec<String>,
    /// `host:path/`, what names inside the copy are appended to.
    root: String,
    /// `host:` and the path up to the copy, to make the copy below it.
    path: String,
    host: String,
    /// Whether the account's rsync knows how to make files durable; until it says no, it does.
    makes_durable: AtomicBool,
}

impl Caller {
    pub(super) fn new(place: &AccountPlace, access: &SshAccess, limits: &Limits) -> Result<Self, String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=@%,".contains(c);
        if !place.path.chars().all(is_plain) || place.path.starts_with('-') {
            return Err(
                "rsync hands paths to the account's shell: only letters, digits and `/._-+=@%,` are taken".into()
            );
        }
        if place.path.split('/').any(|part| part == "..") {
            return Err("a path with `..` is not taken".into());
        }
        let shell: Vec<String> =
            program::ssh_words(place, access)?.iter().map(|word| quoted(word)).collect::<Result<_, _>>()?;
        let host = if place.host.contains(':') { format!("[{}]", place.host) } else { place.host.clone() };
        let mut shared_arguments: Vec<String> = vec![
            format!("--rsh={}", shell.join(" ")),
            // A connection that is silent for longer is dead; rsync's own signs of life pass through it.
            format!("--timeout={}", limits.stall_limit_seconds),
        ];
        shared_arguments.extend(["--whole-file", "--ignore-times", "--no-human-readable"].map(str::to_owned));
        Ok(Self {
            program: access
                .rsync_program
                .clone()
                .map_or_else(|| USUAL_PROGRAM.into(), |program| program.into_os_string()),
            shared_arguments,
            root: format!("{host}:{}/", place.path.trim_end_matches('/')),
            path: place.path.clone(),
            host,
            makes_durable: AtomicBool::new(true),
        })
    }

    /// Makes the folder of the copy, those above it, and `folders` inside.
    pub(super) async fn make_folders(&self, folders: &[String]) -> Result<(), Trouble> {
        let above = if self.path.starts_with('/') { "/" } else { "./" };
        // Joined below, it must not lead out of the private folder.
        let inside = self.path.trim_matches('/');
        let folders = folders.to_vec();
        let inside_owned = inside.to_owned();
        let scratch = blocking(move || {
            let scratch = tempfile::Builder::new().prefix("triplicate-rsync-").tempdir()?;
            for folder in &folders {
                std::fs::create_dir_all(scratch.path().join(&inside_owned).join(folder))?;
            }
            Ok(scratch)
        })
        .await?;
        // What stands behind `/./` is made at the account with all folders on the way, by every version.
        let source = format!("{}/./{inside}", scratch.path().display());
        let target = format!("{}:{above}", self.host);
        self.run(&["--recursive", "--relative"], &[&source, &target]).await.map(drop)
    }

    /// Gets a file.
    pub(super) async fn fetch(&self, inside: &str, target: &Path) -> Result<(), Trouble> {
        let target = target.display().to_string();
        self.run(&["--progress"], &[&format!("{}{inside}", self.root), &target]).await.map(drop)
    }

    /// Stores a file.
    pub(super) async fn store(&self, source: &Path, inside: &str, options: &[&str]) -> Result<(), Trouble> {
        let (source, target) = (source.display().to_string(), format!("{}{inside}", self.root));
        let mut options = [options, &["--progress"]].concat();
        if self.makes_durable.load(Ordering::Relaxed) {
            options.push("--fsync");
            match self.run(&options, &[&source, &target]).await {
                // Neither side's program may know the option, and `rrsync` may not permit it.
                Err(trouble) if trouble.cause.contains("fsync") => {
                    self.makes_durable.store(false, Ordering::Relaxed);
                    options.pop();
                }
                other => return other.map(drop),
            }
        }
        self.run(&options, &[&source, &target]).await.map(drop)
    }

    /// What rsync prints of a file, or of a folder (with a slash at the end) and what is in it.
    pub(super) async fn list(&self, inside: &str) -> Result<String, Trouble> {
        let output = self.run(&["--recursive", "--list-only"], &[&format!("{}{inside}", self.root)]).await?;
        String::from_utf8(output)
            .map_err(|_| Trouble::new(FaultKind::Damaged, "rsync printed names that are not UTF-8"))
    }

    /// Removes one file: an empty folder is what the file's folder becomes, as far as this one name goes.
    pub(super) async fn remove(&self, inside: &str) -> Result<(), Trouble> {
        let empty = blocking(|| Ok(tempfile::Builder::new().prefix("triplicate-rsync-").tempdir()?)).await?;
        let (folder, name) = inside.rsplit_once('/').map_or(("", inside), |(folder, name)| (folder, name));
        let include = format!("--include=/{name}");
        let source = format!("{}/", empty.path().display());
        let target = match folder {
            "" => self.root.clone(),
            folder => format!("{}{folder}/", self.root),
        };
        let options = ["--dirs", "--delete", &include, "--exclude=*"];
        self.run(&options, &[&source, &target]).await.map(drop)
    }

    async fn run(&self, options: &[&str], paths: &[&str]) -> Result<Vec<u8>, Trouble> {
        let options = options.iter().map(|option| (*option).to_owned());
        let mut arguments: Vec<String> = self.shared_arguments.iter().cloned().chain(options).collect();
        arguments.push("--".to_owned());
        arguments.extend(paths.iter().map(|path| (*path).to_owned()));
        let mut command = program::command(&self.program, &arguments);
        // Its words are read here, and must be those that we know.
        command.env("LC_ALL", "C").env_remove("RSYNC_RSH").env_remove("RSYNC_PARTIAL_DIR");
        let started = Program::start(command);
        let (program, stdin, mut stdout) = started.map_err(|cause| Trouble::new(FaultKind::Misconfigured, cause))?;
        drop(stdin);
        let progress = Progress::current();
        let (mut output, mut piece) = (Vec::new(), vec![0; PIECE_BYTES]);
        loop {
            let length = stdout.read(&mut piece).await?;
            progress.note();
            output.extend(piece.iter().take(length));
            if length == 0 || OUTPUT_LIMIT_BYTES < output.len() {
                break;
            }
        }
        if OUTPUT_LIMIT_BYTES < output.len() {
            return Err(Trouble::new(FaultKind::Damaged, "rsync printed more than any listing has"));
        }
        let code = program.end().await?;
        if code == Some(0) {
            return Ok(output);
        }
        Err(meaning(code, &program.last_words().await))
    }
}

/// A word of the remote shell's command line, as rsync splits it.
fn quoted(word: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=@%,:".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return Ok(word.to_owned());
    }
    match word.contains('\'') {
        true => Err(format!("rsync cannot hand `{word}` to ssh")),
        false => Ok(format!("'{word}'")),
    }
}

/// What a call that failed means (rsync(1), "EXIT VALUES").
fn meaning(code: Option<i32>, words: &str) -> Trouble {
    // System calls tell their number in parentheses, whatever the language.
    let number = words.rsplit("failed: ").next().filter(|rest| rest.len() < words.len()).and_then(|rest| {
        let (_, number) = rest.split_once('(')?;
        number.split_once(')')?.0.parse().ok()
    });
    let of_system = number.map(|number: i32| match rustix::io::Errno::from_raw_os_error(number) {
        rustix::io::Errno::NOENT => FaultKind::NotFound,
        rustix::io::Errno::ACCESS | rustix::io::Errno::PERM | rustix::io::Errno::ROFS => FaultKind::Denied,
        rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT | rustix::io::Errno::FBIG => FaultKind::Full,
        rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP => FaultKind::Misconfigured,
        _ => FaultKind::Failing,
    });
    let says_full = words.contains("No space left") || words.contains("quota exceeded");
    let kind = match code {
        _ if says_full => FaultKind::Full,
        Some(255 | 10 | 12 | 30 | 35) | None => {
            program::kind_of_ssh_words(words).or(of_system).unwrap_or(FaultKind::Unreachable)
        }
        Some(127 | 126) => FaultKind::Misconfigured,
        Some(1 | 2 | 4) => FaultKind::Refused,
        Some(5) => FaultKind::Denied,
        Some(3 | 11 | 23) => of_system.unwrap_or(FaultKind::Failing),
        Some(_) => of_system.unwrap_or(FaultKind::Failing),
    };
    let ended = code.map_or_else(|| "was killed".to_owned(), |code| format!("ended with {code}"));
    let said = if words.is_empty() { String::new() } else { format!(": {words}") };
    Trouble::new(kind, format!("rsync {ended}{said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_and_words_are_told_apart() {
        for (code, words, kind) in [
            (
                23,
                r#"rsync: [sender] link_stat "/x" failed: No such file or directory (2) rsync error: some"#,
                FaultKind::NotFound,
            ),
            (23, r#"rsync: [sender] change_dir "/x" failed: Aucun fichier (2) rsync error"#, FaultKind::NotFound),
            (23, r#"rsync: [receiver] mkstemp "/x" failed: Permission denied (13) rsync error"#, FaultKind::Denied),
            (11, r#"rsync: [receiver] write failed on "/x": No space left on device (28)"#, FaultKind::Full),
            (255, "alice@host: Permission denied (publickey).", FaultKind::Denied),
            (255, "Host key verification failed.", FaultKind::Misconfigured),
            (255, "ssh: connect to host h port 22: Connection refused", FaultKind::Unreachable),
            (12, "rsync: connection unexpectedly closed (0 bytes received so far)", FaultKind::Unreachable),
            (127, "sh: 1: rsync: not found", FaultKind::Misconfigured),
            (24, "some files vanished", FaultKind::Failing),
        ] {
            assert_eq!(meaning(Some(code), words).kind, kind, "{code} {words}");
        }
    }

    #[test]
    fn words_for_ssh_are_quoted_as_rsync_splits_them() {
        assert_eq!(quoted("-oPort=22").as_deref(), Ok("-oPort=22"));
        assert_eq!(quoted("a b").as_deref(), Ok("'a b'"));
        assert_eq!(quoted("UserKnownHostsFile=\"/a b\"").as_deref(), Ok("'UserKnownHostsFile=\"/a b\"'"));
        assert!(quoted("it's").is_err());
    }
}
