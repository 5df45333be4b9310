//! Processes that tests start: servers that never outlive their test, and programs that never run for ever.
//!
//! A server is started through a keeper, a small shell script that holds the server as its child and a pipe to us.
//! The pipe closes when a [`Server`] is dropped, and also when this process ends in any other way, a kill included;
//! then the keeper kills the server by its pid and removes its folder. A pipe is used and not the kernel's death
//! signal alone, because that one fires when the *thread* that started a server ends, which a test's thread does long
//! before a server shared between tests may stop.

mod keeper;
mod run;
mod server;

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use clock::{Clock, SystemClock};
use rustix::process::Pid;
pub use rustix::process::Signal;

pub(crate) use keeper::Keeper;
pub(crate) use run::collect;
pub use run::{Ended, run};
pub use server::{Server, ServerPlan};

/// How often a condition is looked at while it is waited for.
const POLL: Duration = Duration::from_millis(5);

/// A port of the loopback address that nothing listens on at this moment.
///
/// # Errors
/// When the loopback address cannot be used at all.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Looks at `condition` until it holds; false when `limit` passed without it.
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let clock = SystemClock::new();
    let end = clock.monotonic() + limit;
    loop {
        if condition() {
            return true;
        }
        if clock.monotonic() >= end {
            return false;
        }
        std::thread::sleep(POLL);
    }
}

/// True while the process exists and has not ended; a dead child that nobody reaped has ended.
pub fn is_running(pid: u32) -> bool {
    let Ok(status) = std::fs::read(format!("/proc/{pid}/stat")) else { return false };
    // The name in parentheses may hold anything, so the state is looked for behind the last one.
    let state = status.iter().rposition(|byte| *byte == b')').and_then(|at| status.get(at + 2));
    !matches!(state, None | Some(b'Z' | b'X'))
}

/// A process and all that it started and they started, the oldest first.
pub fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut at = 0;
    while let Some(pid) = all.get(at) {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        all.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        at += 1;
    }
    all
}

/// Sends a signal to one process by its pid; one that is gone is fine.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}
