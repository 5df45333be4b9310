//! Commands of the user's around a source: before it is read, after that, and by how it came out.
//!
//! A hook is a program with its arguments; a shell is there only for whoever names one. It has a deadline, and is killed
//! with all that it started when that has passed. What it says is kept to a limit. It inherits no secret of ours, and
//! learns from its environment what it is there for:
//!
//! | variable | what it holds |
//! |---|---|
//! | `TRIPLICATE_HOOK` | the moment: `before`, `after`, `on_success`, `on_failure`, `always` |
//! | `TRIPLICATE_SOURCE` | the source's name |
//! | `TRIPLICATE_RUN` | the id of the run |
//! | `TRIPLICATE_VERDICT` | how the source came out: `ok`, `partial`, `failed`, ...; not before |
//! | `TRIPLICATE_SNAPSHOT` | the snapshot's id, where there is one |
//! | `TRIPLICATE_ERROR` | why there is none, in one line |
//!
//! | moment | when | when it fails |
//! |---|---|---|
//! | `before` | before the source is read, one after the other | the source is not read |
//! | `after` | when the source was read, or could not be, if all of `before` succeeded | the verdict is lowered |
//! | `on_success`, `on_failure` | then, by whether there is a snapshot | the verdict is lowered |
//! | `always` | at the very end, also where `before` failed | the verdict is lowered |

use std::ffi::OsString;
use std::io::Read;
use std::time::Duration;

use model::Verdict;
use repository::Cancel;

use crate::program::{Program, ProgramError};

/// As much of what a hook writes is kept: its end.
const OUTPUT_KEPT_BYTES: usize = 16 << 10;

/// How long a hook may take unless it is told otherwise.
pub const DEADLINE: Duration = Duration::from_secs(10 * 60);

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The program and its arguments.
    pub arguments: Vec<OsString>,
    /// How long it may take.
    pub deadline: Duration,
}

/// The hooks of a source, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Before the source is read.
    pub before: Vec<Hook>,
    /// When the source was read.
    pub after: Vec<Hook>,
    /// When there is a snapshot.
    pub on_success: Vec<Hook>,
    /// When there is none.
    pub on_failure: Vec<Hook>,
    /// At the very end.
    pub always: Vec<Hook>,
}

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookMoment {
    /// Before the source is read.
    Before,
    /// When the source was read.
    After,
    /// When there is a snapshot.
    OnSuccess,
    /// When there is none.
    OnFailure,
    /// At the very end.
    Always,
}

impl HookMoment {
    /// Its word in the configuration and in the environment.
    pub const fn word(self) -> &'static str {
        match self {
            HookMoment::Before => "before",
            HookMoment::After => "after",
            HookMoment::OnSuccess => "on_success",
            HookMoment::OnFailure => "on_failure",
            HookMoment::Always => "always",
        }
    }
}

/// What hooks are told.
#[derive(Debug, Clone, Default)]
pub struct Occasion {
    /// The source's name.
    pub source: String,
    /// The run's id.
    pub run: String,
    /// How the source came out; none before it was read.
    pub outcome: Option<Outcome>,
}

/// How a source came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// In one word.
    pub verdict: Verdict,
    /// The snapshot's id, in full.
    pub snapshot: Option<String>,
    /// Why there is none.
    pub error: Option<String>,
}

/// A hook that ran.
#[derive(Debug)]
pub struct HookReport {
    /// When.
    pub moment: HookMoment,
    /// The program, without its arguments.
    pub program: String,
    /// The end of what it wrote.
    pub output: String,
    /// How it failed.
    pub error: Option<ProgramError>,
}

impl Hooks {
    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Runs what comes first. When one fails, those behind it are left out, and the source must not be read. One that
    /// runs is ended when somebody wants to `stop`; what comes behind is not, because it undoes what was done.
    pub fn before(&self, occasion: &Occasion, stop: &Cancel) -> Vec<HookReport> {
        let mut reports = Vec::new();
        for hook in &self.before {
            let report = hook.run(HookMoment::Before, occasion, stop);
            let failed = report.error.is_some();
            reports.push(report);
            if failed {
                break;
            }
        }
        reports
    }

    /// Runs what comes behind, all of it, whatever fails. `was_begun` says that all of `before` succeeded.
    pub fn behind(&self, occasion: &Occasion, was_begun: bool) -> Vec<HookReport> {
        let has_snapshot = occasion.outcome.as_ref().is_some_and(|outcome| outcome.verdict != Verdict::Failed);
        let by_outcome = match has_snapshot {
            true => (HookMoment::OnSuccess, &self.on_success),
            false => (HookMoment::OnFailure, &self.on_failure),
        };
        let after = was_begun.then_some((HookMoment::After, &self.after));
        let groups = after.into_iter().chain([by_outcome, (HookMoment::Always, &self.always)]);
        let never = Cancel::new();
        let runs = groups.flat_map(|(moment, hooks)| hooks.iter().map(move |hook| (moment, hook)));
        runs.map(|(moment, hook)| hook.run(moment, occasion, &never)).collect()
    }
}

impl Hook {
    fn run(&self, moment: HookMoment, occasion: &Occasion, stop: &Cancel) -> HookReport {
        let (program, arguments) = self.arguments.split_first().unzip();
        let program = program.cloned().unwrap_or_default();
        let mut prepared = Program::new(&program)
            .arguments(arguments.unwrap_or_default())
            .deadline(self.deadline)
            .heeding(stop)
            .variable("TRIPLICATE_HOOK", moment.word())
            .variable("TRIPLICATE_SOURCE", &occasion.source)
            .variable("TRIPLICATE_RUN", &occasion.run);
        if let Some(outcome) = &occasion.outcome {
            prepared = prepared.variable("TRIPLICATE_VERDICT", outcome.verdict.word());
            for (name, value) in [("TRIPLICATE_SNAPSHOT", &outcome.snapshot), ("TRIPLICATE_ERROR", &outcome.error)] {
                if let Some(value) = value {
                    prepared = prepared.variable(name, value);
                }
            }
        }
        let mut output = String::new();
        let error = heard(prepared, &mut output).err();
        let program = std::path::Path::new(&program).file_name().unwrap_or(&program).to_string_lossy().into_owned();
        HookReport { moment, program, output, error }
    }
}

/// Runs a program to its end, and keeps the end of what it writes.
fn heard(program: Program, output: &mut String) -> Result<(), ProgramError> {
    let mut running = program.start()?;
    let mut kept = Vec::new();
    let mut piece = [0; 4 << 10];
    while let Ok(length @ 1..) = running.read(&mut piece) {
        kept.extend(piece.iter().take(length));
        let excess = kept.len().saturating_sub(OUTPUT_KEPT_BYTES);
        kept.drain(..excess);
    }
    let ended = running.finish();
    *output = String::from_utf8_lossy(&kept).into_owned();
    if ended.is_ok() {
        let words = running.words();
        output.push_str(&words);
    }
    ended
}
