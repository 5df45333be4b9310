//! One command, measured: CPU seconds, wall seconds, peak memory, as the kernel counts them when it has ended (`wait4`).
//!
//! A process begins its life as a copy of its parent, and the kernel counts the parent's memory at that moment as the
//! child's peak. The benchmark holds lists of many files; so it starts itself once more, small, and that process
//! starts what is measured.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clock::{Clock, SystemClock};
use wait4::Wait4;

/// The word by which this program is told to be the small process.
pub(crate) const WORD: &str = "measured";
/// How much of a failed command's output is shown.
const SHOWN_LINES: usize = 6;
const MIB: f64 = 1_048_576.0;

/// A program with its arguments and its whole environment: nothing of ours leaks into it but `PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    program: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(String, OsString)>,
}

impl Call {
    pub(super) fn new(program: impl Into<PathBuf>) -> Self {
        let path = std::env::var_os("PATH").map(|path| ("PATH".to_owned(), path));
        Self { program: program.into(), arguments: Vec::new(), variables: path.into_iter().collect() }
    }

    pub(super) fn arg(&mut self, argument: impl Into<OsString>) -> &mut Self {
        self.arguments.push(argument.into());
        self
    }

    pub(super) fn args<A: Into<OsString>>(&mut self, arguments: impl IntoIterator<Item = A>) -> &mut Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    pub(super) fn env(&mut self, name: &str, value: impl Into<OsString>) -> &mut Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// For people: program and arguments, no environment, which may hold a password.
    pub(super) fn show(&self) -> String {
        let words = self.arguments.iter().map(|word| word.to_string_lossy().into_owned());
        [self.program.display().to_string()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
    }
}

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

    fn to_line(self) -> String {
        format!("{} {} {}", self.cpu_seconds, self.wall_seconds, self.peak_mib)
    }

    fn parse(line: &str) -> Option<Self> {
        let numbers: Vec<f64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let [cpu_seconds, wall_seconds, peak_mib] = numbers[..] else { return None };
        Some(Self { cpu_seconds, wall_seconds, peak_mib })
    }
}

/// Runs a command to its end in `folder`; another exit code than 0 is an error with the end of its output.
pub(super) fn measure(call: &Call, folder: &Path) -> Result<Cost, String> {
    let own = std::env::current_exe().map_err(|error| format!("cannot find this program itself: {error}"))?;
    let report = folder.join("cost");
    let mut command = Command::new(own);
    command.arg(WORD).arg(&report).arg(&call.program).args(&call.arguments);
    command.env_clear().envs(call.variables.iter().map(|(name, value)| (name, value)));
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start `{}`: {error}", call.program.display()))?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        return Err(format!("`{}` ended with {}: {}", call.show(), output.status, last_lines(&text)));
    }
    let line = fs::read_to_string(&report).map_err(|error| format!("no cost of `{}`: {error}", call.show()))?;
    Cost::parse(&line).ok_or_else(|| format!("`{line}` is no cost"))
}

/// The small process: runs the program that `words` name and writes what it cost into the file they begin with.
pub(crate) fn run_measured(words: &[&str]) -> Result<ExitCode, String> {
    let [report, program, arguments @ ..] = words else { return Err("a file and a program are needed".to_owned()) };
    let (cost, code) = wait_for(Command::new(program).args(arguments))?;
    fs::write(report, cost.to_line()).map_err(|error| format!("cannot write the cost: {error}"))?;
    Ok(ExitCode::from(code))
}

fn wait_for(command: &mut Command) -> Result<(Cost, u8), String> {
    let clock = SystemClock::new();
    let began = clock.monotonic();
    let child = command.spawn().map_err(|error| format!("cannot start {:?}: {error}", command.get_program()))?;
    let ended = child.wait4().map_err(|error| format!("cannot wait for {:?}: {error}", command.get_program()))?;
    let wall_seconds = (clock.monotonic() - began).as_secs_f64();
    let cpu_seconds = (ended.rusage.utime + ended.rusage.stime).as_secs_f64();
    // A signal is no exit code and no success either.
    let code = ended.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX);
    Ok((Cost { cpu_seconds, wall_seconds, peak_mib: ended.rusage.maxrss as f64 / MIB }, code))
}

fn last_lines(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(text: &str) -> (Cost, u8) {
        wait_for(Command::new("sh").args(["-c", text])).unwrap()
    }

    #[test]
    fn work_costs_cpu_and_waiting_does_not() {
        let (busy, code) = shell("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done");
        let (idle, _) = shell("sleep 0.3");
        assert_eq!(code, 0);
        assert!(busy.cpu_seconds > 0.03 && busy.peak_mib > 0.1, "{busy:?}");
        assert!(idle.wall_seconds >= 0.3 && idle.cpu_seconds < 0.1, "{idle:?}");
    }

    #[test]
    fn children_of_the_command_count_too() {
        let (cost, _) = shell("sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done'; true");
        assert!(cost.cpu_seconds > 0.03, "{cost:?}");
    }

    #[test]
    fn a_failure_is_told() {
        assert_eq!(shell("exit 3").1, 3);
        assert_eq!(shell("kill -9 $$").1, u8::MAX);
    }

    #[test]
    fn costs_travel_between_processes() {
        let cost = Cost { cpu_seconds: 1.25, wall_seconds: 0.5, peak_mib: 12.0 };
        assert_eq!(Cost::parse(&cost.to_line()), Some(cost));
        assert_eq!(Cost::parse("1 2"), None);
        assert_eq!(Cost::parse("1 2 x"), None);
        let sum = cost.then(Cost { cpu_seconds: 1.0, wall_seconds: 1.0, peak_mib: 20.0 });
        assert_eq!(sum, Cost { cpu_seconds: 2.25, wall_seconds: 1.5, peak_mib: 20.0 });
    }
}
