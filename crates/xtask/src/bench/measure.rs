//! One command, measured: CPU seconds, wall seconds, peak memory.
//!
//! CPU is the kernel's own sum over all threads of a child that has ended (`/proc/self/stat`, in hundredths of a
//! second). Peak memory is the high-water mark in `/proc/<pid>/status`, looked at every few milliseconds, because it
//! is gone when the process is: what grows in the last moment may be missed.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clock::Clock;

const MEMORY_POLL: Duration = Duration::from_millis(4);
/// Linux tells user space hundredths of a second, whatever the kernel counts in.
const TICKS_PER_SECOND: f64 = 100.0;
/// How much of a failed command's output is shown.
const SHOWN_LINES: usize = 6;

/// What a command cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Cost {
    pub(super) cpu_seconds: f64,
    pub(super) wall_seconds: f64,
    pub(super) peak_mib: f64,
}

impl Cost {
    /// One command after the other.
    pub(super) fn then(self, next: Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds + next.cpu_seconds,
            wall_seconds: self.wall_seconds + next.wall_seconds,
            peak_mib: self.peak_mib.max(next.peak_mib),
        }
    }
}

/// Runs a command to its end; another exit code than 0 is an error with the end of its output.
pub(super) fn measure(mut command: Command, clock: &dyn Clock) -> Result<Cost, String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let cpu_before = children_cpu_seconds()?;
    let began = clock.monotonic();
    let child = command.spawn().map_err(|error| format!("cannot start {:?}: {error}", command.get_program()))?;
    let status_file = format!("/proc/{}/status", child.id());
    let ended = AtomicBool::new(false);
    let (output, peak_kib) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut peak_kib = 0;
            while !ended.load(Ordering::Relaxed) {
                peak_kib = peak_kib.max(peak_kib_in(&fs::read_to_string(&status_file).unwrap_or_default()));
                std::thread::sleep(MEMORY_POLL);
            }
            peak_kib
        });
        let output = child.wait_with_output();
        ended.store(true, Ordering::Relaxed);
        (output, watcher.join().unwrap_or(0))
    });
    let wall_seconds = (clock.monotonic() - began).as_secs_f64();
    let output = output.map_err(|error| format!("cannot wait for {:?}: {error}", command.get_program()))?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        return Err(format!("{:?} ended with {}: {}", command, output.status, last_lines(&text)));
    }
    let cpu_seconds = children_cpu_seconds()? - cpu_before;
    Ok(Cost { cpu_seconds, wall_seconds, peak_mib: peak_kib as f64 / 1024.0 })
}

fn last_lines(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join(" | ")
}

/// User and system time of all children that were waited for.
fn children_cpu_seconds() -> Result<f64, String> {
    let stat =
        fs::read_to_string("/proc/self/stat").map_err(|error| format!("cannot read `/proc/self/stat`: {error}"))?;
    children_ticks_in(&stat)
        .map(|ticks| ticks as f64 / TICKS_PER_SECOND)
        .ok_or("`/proc/self/stat` makes no sense".into())
}

/// Fields 16 and 17; the second field is a name in brackets that may hold blanks and brackets.
fn children_ticks_in(stat: &str) -> Option<u64> {
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_whitespace().skip(13);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn peak_kib_in(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clock::SystemClock;

    #[test]
    fn the_kernels_lines_are_understood() {
        let stat = "42 (a (b) c) R 1 2 3 4 5 6 7 8 9 10 11 12 300 45 20 0\n";
        assert_eq!(children_ticks_in(stat), Some(345));
        assert_eq!(children_ticks_in("nonsense"), None);
        assert_eq!(peak_kib_in("Name:\tx\nVmHWM:\t   2048 kB\n"), 2048);
    }

    #[test]
    fn work_costs_cpu_and_waiting_does_not() {
        let shell = |text: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", text]);
            measure(command, &SystemClock::new()).unwrap()
        };
        let busy = shell("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done");
        let idle = shell("sleep 0.3");
        assert!(busy.cpu_seconds > 0.03 && busy.peak_mib > 0.1, "{busy:?}");
        assert!(idle.wall_seconds >= 0.3 && idle.cpu_seconds < 0.1, "{idle:?}");
    }

    #[test]
    fn a_failed_command_is_no_figure() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo went wrong >&2; exit 3"]);
        let error = measure(command, &SystemClock::new()).unwrap_err();
        assert!(error.contains("went wrong") && error.contains('3'), "{error}");
    }
}
