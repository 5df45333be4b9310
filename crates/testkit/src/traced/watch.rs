//! A hand on a traced program while it runs: for servers, of which only what happens after their start counts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::calls::Call;

/// What the tracer and the test share.
#[derive(Debug, Default)]
pub struct Watch {
    counts: AtomicBool,
    pid: AtomicI32,
    calls: AtomicU64,
    events: AtomicUsize,
    seen: Option<Mutex<BTreeMap<PathBuf, &'static str>>>,
}

impl Watch {
    /// One that counts.
    pub fn counting() -> Arc<Self> {
        Arc::default()
    }

    /// One that also keeps every name that a call was about.
    pub fn naming() -> Arc<Self> {
        Arc::new(Self { seen: Some(Mutex::default()), ..Self::default() })
    }

    /// From now on calls count; before, none does.
    pub fn begin(&self) {
        self.counts.store(true, Ordering::SeqCst);
    }

    /// From now on no call counts.
    pub fn pause(&self) {
        self.counts.store(false, Ordering::SeqCst);
    }

    /// How many calls have counted.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// How many events the journal has, where there is one.
    pub fn events(&self) -> usize {
        self.events.load(Ordering::SeqCst)
    }

    /// Every name since [`Watch::begin`], with one call that was about it.
    pub fn seen(&self) -> BTreeMap<PathBuf, &'static str> {
        let seen = self.seen.as_ref().map(|seen| seen.lock().unwrap_or_else(PoisonError::into_inner).clone());
        seen.unwrap_or_default()
    }

    /// Asks the program to end.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Kills the program.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.pid.load(Ordering::SeqCst);
        if pid > 0 {
            // One that has ended is fine.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// The program's process id; none before it has started and after its end.
    pub fn pid(&self) -> Option<u32> {
        u32::try_from(self.pid.load(Ordering::SeqCst)).ok().filter(|pid| *pid > 0)
    }

    pub(super) fn started(&self, pid: Pid) {
        self.pid.store(pid.as_raw(), Ordering::SeqCst);
    }

    pub(super) fn noted(&self, events: usize) {
        self.events.store(events, Ordering::SeqCst);
    }

    pub(super) fn ended(&self) {
        self.pid.store(0, Ordering::SeqCst);
    }

    /// Whether a call counts now.
    pub(super) fn is_counting(&self) -> bool {
        self.counts.load(Ordering::SeqCst)
    }

    pub(super) fn saw(&self, call: &Call, calls: u64) {
        self.calls.store(calls, Ordering::SeqCst);
        let Some(seen) = &self.seen else { return };
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(call.path.clone(), call.name);
        if let Some(onto) = &call.onto {
            seen.insert(onto.clone(), call.name);
        }
    }
}
