//! Runs a program stop by stop: counts what counts, fails what is to fail, kills when it is time.
//!
//! All calls of `ptrace` for a process come from one thread, so each run has a thread of its own; it is the parent of
//! what it runs, and waits for nobody else's children. When that thread ends, the kernel kills what is left.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};

use nix::errno::Errno;
use nix::libc::{self, user_regs_struct};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::calls::{Call, CallKind, Shape, shapes_of};
use super::injection::Deed;
use super::journal::Journal;
use super::recorder::{Done, record};
use super::{Outcome, Traced, filter};
use crate::process::{Ended, collect};

/// Waits until it is let go, and becomes the program then: so it is ours before its first instruction.
const GATE: &str = "read -r go && exec \"$@\" </dev/null";

/// Runs the program on a thread of its own; past the limit everything is killed.
pub(super) fn run(traced: Traced, journal: Option<&mut Journal>) -> io::Result<Outcome> {
    let limit = traced.limit;
    let (started, pid) = channel();
    let (finished, outcome) = channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let outcome = trace(traced, journal, &started);
            // The receiver may have given up.
            let _ = finished.send(outcome);
        });
        match outcome.recv_timeout(limit) {
            Ok(outcome) => outcome,
            Err(_) => {
                if let Ok(pid) = pid.try_recv() {
                    let _ = kill(pid, Signal::SIGKILL);
                }
                let why = format!("a traced program did not end in {} s", limit.as_secs());
                Err(io::Error::new(io::ErrorKind::TimedOut, why))
            }
        }
    })
}

fn trace(mut traced: Traced, journal: Option<&mut Journal>, started: &Sender<Pid>) -> io::Result<Outcome> {
    let mut child = gated(&traced.command)?;
    let leader = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    let _ = started.send(leader);
    let watch = traced.watch.clone();
    if let Some(watch) = &watch {
        watch.started(leader);
    }
    let options = Options::PTRACE_O_EXITKILL
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACESECCOMP
        | Options::PTRACE_O_TRACESYSGOOD;
    if let Err(error) = ptrace::seize(leader, options) {
        let _ = child.kill();
        let _ = child.wait();
        let why = format!("this machine does not let us trace our own child ({error}): see `kernel.yama.ptrace_scope`");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    let output = child.stdout.take().map(collect);
    let errors = child.stderr.take().map(collect);
    if let Some(mut gate) = child.stdin.take() {
        gate.write_all(b"go\n")?;
    }
    let kinds = if journal.is_some() { CallKind::CHANGES.to_vec() } else { Vec::new() };
    let shapes = shapes_of(&[kinds.as_slice(), traced.scope.kinds()].concat());
    traced.below.sort();
    let mut tracer = Tracer {
        traced: &traced,
        journal,
        shapes,
        leader,
        tracees: BTreeSet::from([leader]),
        has_filter: false,
        writes: 0,
        calls: 0,
        strikes: 0,
        struck: None,
        code: None,
    };
    let followed = tracer.follow();
    if followed.is_err() {
        tracer.kill_all();
    }
    if let Some(watch) = &watch {
        watch.ended();
    }
    let Tracer { calls, strikes, struck, code, .. } = tracer;
    followed?;
    let output = output.and_then(|thread| thread.join().ok()).unwrap_or_default();
    let errors = errors.and_then(|thread| thread.join().ok()).unwrap_or_default();
    let errors = String::from_utf8_lossy(&errors).into_owned();
    Ok(Outcome { ended: Ended { code, output, errors }, calls, struck, strikes })
}

/// The command behind a gate.
fn gated(command: &Command) -> io::Result<Child> {
    let mut gated = Command::new("/bin/sh");
    gated.arg("-c").arg(GATE).arg("gate").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => gated.env(name, value),
            None => gated.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        gated.current_dir(folder);
    }
    gated.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

struct Tracer<'a> {
    traced: &'a Traced,
    journal: Option<&'a mut Journal>,
    shapes: Vec<Shape>,
    leader: Pid,
    tracees: BTreeSet<Pid>,
    has_filter: bool,
    /// Writes seen so far, for a scope that takes only some of them.
    writes: u64,
    calls: u64,
    strikes: u64,
    struck: Option<Call>,
    code: Option<i32>,
}

/// What is left of a thread at a stop: nothing, when it died meanwhile.
type Stop<T> = Result<T, Errno>;

impl Tracer<'_> {
    /// Until the last process has ended.
    fn follow(&mut self) -> io::Result<()> {
        loop {
            match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
                Ok(status) => self.stopped(status)?,
                Err(Errno::ECHILD) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn stopped(&mut self, status: WaitStatus) -> io::Result<()> {
        if let Some(pid) = status.pid() {
            self.tracees.insert(pid);
        }
        let gone = match status {
            WaitStatus::PtraceEvent(pid, _, libc::PTRACE_EVENT_SECCOMP) => self.called(pid)?,
            WaitStatus::PtraceEvent(pid, _, libc::PTRACE_EVENT_EXEC) if !self.has_filter => {
                let numbers: Vec<i64> = self.shapes.iter().map(|shape| shape.number).collect();
                filter::install(pid, &numbers)
                    .map_err(|error| io::Error::new(error.kind(), format!("cannot filter system calls: {error}")))?;
                self.has_filter = true;
                ptrace::cont(pid, None)
            }
            WaitStatus::PtraceEvent(pid, _, _) | WaitStatus::PtraceSyscall(pid) => ptrace::cont(pid, None),
            WaitStatus::Stopped(pid, signal) => ptrace::cont(pid, signal),
            WaitStatus::Exited(pid, code) => {
                self.ended(pid, Some(code));
                Ok(())
            }
            WaitStatus::Signaled(pid, ..) => {
                self.ended(pid, None);
                Ok(())
            }
            _ => Ok(()),
        };
        match gone {
            // It was killed in this moment; its end comes next.
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn ended(&mut self, pid: Pid, code: Option<i32>) {
        self.tracees.remove(&pid);
        if pid == self.leader {
            self.code = code;
        }
    }

    fn kill_all(&self) {
        for pid in &self.tracees {
            // A thread dies with its process; one that is gone is fine.
            let _ = kill(*pid, Signal::SIGKILL);
        }
    }

    /// A call is about to happen.
    fn called(&mut self, pid: Pid) -> io::Result<Stop<()>> {
        let registers = match ptrace::getregs(pid) {
            Ok(registers) => registers,
            Err(error) => return Ok(Err(error)),
        };
        let number = registers.orig_rax.cast_signed();
        let shape = self.shapes.iter().copied().find(|shape| shape.number == number);
        let arguments = arguments_of(&registers);
        let call = shape.and_then(|shape| Some((shape, shape.read(pid, arguments)?)));
        match call {
            Some((shape, call)) if self.is_looked_at(&call) => self.looked_at(pid, registers, shape, call),
            _ => Ok(ptrace::cont(pid, None)),
        }
    }

    fn is_looked_at(&self, call: &Call) -> bool {
        // No file system answers the closing of a folder with an error, and programs rely on that.
        if call.kind == CallKind::Close && call.path.is_dir() {
            return false;
        }
        let is_below = |path: &std::path::Path| self.traced.below.iter().any(|folder| path.starts_with(folder));
        is_below(&call.path) || call.onto.as_deref().is_some_and(is_below)
    }

    fn looked_at(
        &mut self,
        pid: Pid,
        mut registers: user_regs_struct,
        shape: Shape,
        call: Call,
    ) -> io::Result<Stop<()>> {
        let deed = self.deed(&call);
        match deed {
            Some(Deed::KillBefore) => {
                self.kill_all();
                return Ok(Ok(()));
            }
            Some(Deed::Fail(errno)) if call.kind != CallKind::Close => {
                registers.orig_rax = u64::MAX;
                registers.rax = answer(errno);
                return Ok(ptrace::setregs(pid, registers).and_then(|()| ptrace::cont(pid, None)));
            }
            Some(Deed::Short) => {
                if let Err(error) = shorten(pid, &mut registers, shape) {
                    return Ok(Err(error));
                }
            }
            Some(Deed::Fail(_) | Deed::KillAfter) => {}
            None if self.journal.is_none() => return Ok(ptrace::cont(pid, None)),
            None => {}
        }
        let Some(mut after) = self.finish(pid)? else { return Ok(Ok(())) };
        if let Some(journal) = &mut self.journal
            && after.rax.cast_signed() >= 0
        {
            let arguments = arguments_of(&registers);
            record(journal, &Done { call: &call, pid, number: shape.number, arguments, result: after.rax })?;
            if let Some(watch) = &self.traced.watch {
                watch.noted(journal.events().len());
            }
        }
        match deed {
            Some(Deed::KillAfter) => {
                self.kill_all();
                Ok(Ok(()))
            }
            Some(Deed::Fail(errno)) => {
                after.rax = answer(errno);
                Ok(ptrace::setregs(pid, after).and_then(|()| ptrace::cont(pid, None)))
            }
            _ => Ok(ptrace::cont(pid, None)),
        }
    }

    /// Counts the call, and says what is to be done to it.
    fn deed(&mut self, call: &Call) -> Option<Deed> {
        let watch = self.traced.watch.as_deref();
        if watch.is_some_and(|watch| !watch.is_counting()) {
            return None;
        }
        let counts = self.traced.scope.has(call, self.writes);
        if call.kind == CallKind::Write {
            self.writes += 1;
        }
        if !counts {
            return None;
        }
        self.calls += 1;
        if let Some(watch) = watch {
            watch.saw(call, self.calls);
        }
        let injection = self.traced.injection.filter(|injection| injection.strikes(self.calls))?;
        self.strikes += 1;
        if self.struck.is_none() {
            self.struck = Some(call.clone());
        }
        Some(injection.deed)
    }

    /// Lets one thread do its call, and nobody else's looked-at call meanwhile. None when it died in it.
    fn finish(&mut self, pid: Pid) -> io::Result<Option<user_regs_struct>> {
        let mut signal = None;
        loop {
            match ptrace::syscall(pid, signal).and_then(|()| next_stop(pid)) {
                Ok(WaitStatus::PtraceSyscall(_)) => return Ok(ptrace::getregs(pid).ok()),
                Ok(WaitStatus::Stopped(_, delivered)) => signal = Some(delivered),
                Ok(WaitStatus::Exited(_, code)) => {
                    self.ended(pid, Some(code));
                    return Ok(None);
                }
                Ok(WaitStatus::Signaled(..)) => {
                    self.ended(pid, None);
                    return Ok(None);
                }
                Ok(_) => signal = None,
                Err(Errno::ESRCH | Errno::ECHILD) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn next_stop(pid: Pid) -> Stop<WaitStatus> {
    loop {
        match waitpid(pid, Some(WaitPidFlag::__WALL)) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

fn arguments_of(registers: &user_regs_struct) -> [u64; 6] {
    [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9]
}

/// The register's value for an error.
fn answer(errno: Errno) -> u64 {
    i64::from(-(errno as i32)).cast_unsigned()
}

/// Half of the bytes, or of the buffers; at least one.
fn shorten(pid: Pid, registers: &mut user_regs_struct, shape: Shape) -> Stop<()> {
    let register = match shape.length {
        Some(2) => &mut registers.rdx,
        Some(3) => &mut registers.r10,
        Some(4) => &mut registers.r8,
        _ => return Ok(()),
    };
    *register = register.div_ceil(2);
    ptrace::setregs(pid, *registers)
}
