//! A program at work: its output, its last words, and its end.

use std::io::{self, Read};
use std::process::{Child, ChildStdin, ChildStdout, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{ExposeSecret as _, Secret};
use repository::Cancel;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use super::{Bounds, ProgramError};

/// As much of what a program said is kept.
const TAIL_BYTES: usize = 16 << 10;
/// No more of it than this in a message of ours.
const WORDS_LIMIT_CHARS: usize = 600;
/// How long to wait for the last words of a program that has ended.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(2);
/// How often somebody who wants to stop is heeded while nothing comes.
const LOOK_UP: Duration = Duration::from_millis(200);
const HIDDEN: &str = "[hidden]";

/// A program at work. Reading gives its standard output; letting go kills it, and all that it started.
#[derive(Debug)]
pub struct Running {
    name: String,
    group: Arc<Group>,
    input: Option<ChildStdin>,
    output: Option<ChildStdout>,
    tail: Arc<Mutex<Vec<u8>>>,
    /// Closes when the program's standard error has ended.
    said_all: Receiver<()>,
    /// Holds the watch; none without a deadline.
    watch: Option<Sender<()>>,
    bounds: Bounds,
    /// It was killed because it said nothing.
    was_silent: bool,
    secrets: Vec<Secret>,
    end: Option<Result<(), ProgramError>>,
}

/// The process and all those that it started, until it was waited for. Only until then its number is its own.
#[derive(Debug)]
struct Group {
    leader: Mutex<Leader>,
}

#[derive(Debug)]
struct Leader {
    child: Child,
    status: Option<ExitStatus>,
    is_late: bool,
}

impl Group {
    fn leader(&self) -> MutexGuard<'_, Leader> {
        self.leader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.leader().child.id()).ok().and_then(Pid::from_raw)
    }

    fn kill(leader: &Leader) {
        let pid = i32::try_from(leader.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| leader.status.is_none()) {
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
    }

    /// Waits for the end without holding the lock, so that a watch can end what we wait for.
    fn wait(&self) -> io::Result<(ExitStatus, bool)> {
        if let Some(pid) = self.pid().filter(|_| self.leader().status.is_none()) {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while let Err(error) = rustix::process::waitid(WaitId::Pid(pid), options) {
                if error != rustix::io::Errno::INTR {
                    break;
                }
            }
        }
        let mut leader = self.leader();
        let status = leader.child.wait()?;
        leader.status = Some(status);
        Ok((status, leader.is_late))
    }
}

impl Running {
    pub(super) fn new(name: String, mut child: Child, bounds: Bounds, secrets: Vec<Secret>) -> Self {
        let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let tail: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (said, said_all) = channel();
        let kept = Arc::clone(&tail);
        std::thread::spawn(move || {
            let _said = said;
            errors.map(|pipe| keep_end(pipe, &kept))
        });
        let group = Arc::new(Group { leader: Mutex::new(Leader { child, status: None, is_late: false }) });
        let watch = bounds.deadline.map(|limit| watch_over(Arc::clone(&group), limit));
        let was_silent = false;
        Self { name, group, input, output, tail, said_all, watch, bounds, was_silent, secrets, end: None }
    }

    /// Its standard input, once; it is closed by letting go of it.
    pub fn take_input(&mut self) -> Option<ChildStdin> {
        self.input.take()
    }

    /// The number of the process, which is also that of its group.
    pub fn id(&self) -> u32 {
        self.group.leader().child.id()
    }

    /// Ends it, and all that it started.
    pub fn kill(&self) {
        Group::kill(&self.group.leader());
    }

    /// Waits for its end, and says how that was.
    ///
    /// # Errors
    /// When it ended with anything but 0, or was ended.
    pub fn finish(&mut self) -> Result<(), ProgramError> {
        if let Some(end) = &self.end {
            return end.clone();
        }
        drop(self.input.take());
        let waited = self.group.wait();
        drop(self.watch.take());
        let end = match waited {
            Err(error) => Err(self.failed(format!("cannot be waited for: {error}"))),
            Ok((_, true)) => {
                let seconds = self.bounds.deadline.unwrap_or_default().as_secs();
                Err(self.failed(format!("did not end within {seconds} s and was killed")))
            }
            Ok(_) if self.was_silent => {
                let seconds = self.bounds.silence_limit.unwrap_or_default().as_secs();
                Err(self.failed(format!("wrote nothing for {seconds} s and was killed")))
            }
            Ok((status, false)) if status.success() => Ok(()),
            Ok((status, false)) => Err(self.failed(how(status))),
        };
        self.end = Some(end.clone());
        end
    }

    /// An error about it, with its last words.
    pub fn failed(&self, how: String) -> ProgramError {
        // Something that it started may hold its standard error open for ever.
        let _ = self.said_all.recv_timeout(LAST_WORDS_LIMIT);
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let mut words = String::from_utf8_lossy(&tail).into_owned();
        for secret in self.secrets.iter().map(|secret| secret.expose_secret()).filter(|secret| !secret.is_empty()) {
            words = words.replace(secret, HIDDEN);
        }
        ProgramError { program: self.name.clone(), how, said: one_line(&words) }
    }

    /// What it said on its standard error, the end of it at least.
    pub fn words(&self) -> String {
        self.failed(String::new()).said
    }
}

impl Read for Running {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let Some(output) = &mut self.output else { return Ok(0) };
        let pause = Timespec::try_from(LOOK_UP).map_err(io::Error::other)?;
        let mut waited = Duration::ZERO;
        loop {
            if self.bounds.stop.as_ref().is_some_and(Cancel::is_set) {
                return Err(io::Error::other("interrupted"));
            }
            match poll(&mut [PollFd::new(&*output, PollFlags::IN)], Some(&pause)) {
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(0) if !self.was_silent => {
                    waited += LOOK_UP;
                    if self.bounds.silence_limit.is_some_and(|limit| limit <= waited) {
                        // Then its pipe closes, and how it ended is asked.
                        Group::kill(&self.group.leader());
                        self.was_silent = true;
                    }
                }
                Ok(0) => {}
                Ok(_) => return output.read(bytes),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.end.is_none() {
            Group::kill(&self.group.leader());
            let _ = self.group.wait();
        }
    }
}

/// Ends the group when nobody has let go of the watch in time.
fn watch_over(group: Arc<Group>, limit: Duration) -> Sender<()> {
    let (held, watched) = channel();
    std::thread::spawn(move || {
        if watched.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            let mut leader = group.leader();
            leader.is_late = leader.status.is_none();
            Group::kill(&leader);
        }
    });
    held
}

fn keep_end(mut pipe: impl Read, kept: &Mutex<Vec<u8>>) {
    let mut piece = [0; 4 << 10];
    while let Ok(length @ 1..) = pipe.read(&mut piece) {
        let mut tail = kept.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend(piece.iter().take(length));
        let excess = tail.len().saturating_sub(TAIL_BYTES);
        tail.drain(..excess);
    }
}

fn how(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

/// The end of a text as one line.
fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let characters: Vec<char> = line.chars().filter(|c| !c.is_control()).collect();
    let start = characters.len().saturating_sub(WORDS_LIMIT_CHARS);
    characters.get(start..).unwrap_or_default().iter().collect()
}
