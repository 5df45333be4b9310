//! What each tool is asked to do, and in which order.

mod files;
mod growth;
mod index;
mod prune;

use std::path::Path;
use std::time::Duration;

use clock::Clock;

use super::corpora::Corpus;
use super::places::Place;
use super::records::{Case, Records};
use super::tools::{Tool, ToolKind};

pub(super) use files::STORED;
pub(super) use growth::{does_not_fit, label as growth_label, run as run_growth};
pub(super) use index::{BLOBS_PER_PACK, run as run_index};
pub(super) use prune::run as run_prune;

/// Files that changed less than two seconds before a backup count as changing still; this is beyond it.
const SETTLING: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    First,
    Unchanged,
    Restore,
    Check,
    Changed,
    /// Three complete copies: ours in one pass, the others by three backups.
    Three,
    /// Three complete copies: restic by one backup and two `restic copy`.
    ThreeByCopy,
    /// What writing two more copies of the same bytes costs by itself.
    Bare,
    /// What the parts of a backup cost one by one.
    Stages,
    /// A backup of next to nothing into a repository that holds next to nothing.
    OpenEmpty,
    /// The same into one with a large index, for the first time.
    OpenFirst,
    /// And again.
    OpenCached,
    /// Half of a million blobs is unused.
    Prune,
}

impl Step {
    pub(super) const ALL: [Self; 13] = [
        Self::First,
        Self::Unchanged,
        Self::Restore,
        Self::Check,
        Self::Changed,
        Self::Three,
        Self::ThreeByCopy,
        Self::Bare,
        Self::Stages,
        Self::OpenEmpty,
        Self::OpenFirst,
        Self::OpenCached,
        Self::Prune,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Unchanged => "unchanged",
            Self::Restore => "restore",
            Self::Check => "check",
            Self::Changed => "changed",
            Self::Three => "three",
            Self::ThreeByCopy => "three-by-copy",
            Self::Bare => "bare",
            Self::Stages => "stages",
            Self::OpenEmpty => "open-empty",
            Self::OpenFirst => "open-first",
            Self::OpenCached => "open-cached",
            Self::Prune => "prune",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::First => "first backup",
            Self::Unchanged => "unchanged",
            Self::Restore => "restore",
            Self::Check => "check --read-data",
            Self::Changed => "1% changed",
            Self::Three => "three copies",
            Self::ThreeByCopy => "three copies (restic copy)",
            Self::Bare => "bare writes of two copies",
            Self::Stages => "stages",
            Self::OpenEmpty => "tiny backup, empty repository",
            Self::OpenFirst => "tiny backup, large index, no cache",
            Self::OpenCached => "tiny backup, large index, cached",
            Self::Prune => "prune, half unused",
        }
    }

    pub(super) fn parse(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|step| step.name() == word);
        found.ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|step| step.name()).collect();
            format!("`{word}` is no step: {}", names.join(", "))
        })
    }
}

/// One tool's turn on one corpus at one place.
pub(super) struct Turn<'a> {
    pub(super) tool: &'a Tool,
    pub(super) corpus: &'a Corpus,
    pub(super) place: Place,
    pub(super) round: usize,
    pub(super) steps: Vec<Step>,
    /// Another number for each turn of the whole run.
    pub(super) number: u64,
}

impl Turn<'_> {
    fn wants(&self, step: Step) -> bool {
        self.steps.contains(&step)
    }

    fn case(&self, corpus: &str, step: Step) -> Case {
        Case { place: self.place, corpus: corpus.to_owned(), tool: self.tool.kind, step }
    }
}

/// When the corpus was written to for the last time.
pub(super) struct Settling<'a> {
    clock: &'a dyn Clock,
    written: Duration,
}

impl<'a> Settling<'a> {
    /// It was written to just now.
    pub(super) fn from_now(clock: &'a dyn Clock) -> Self {
        Self { clock, written: clock.monotonic() }
    }

    fn written_now(&mut self) {
        self.written = self.clock.monotonic();
    }

    /// Waits until files count as settled.
    fn wait(&self) {
        if let Some(left) = (self.written + SETTLING).checked_sub(self.clock.monotonic()) {
            std::thread::sleep(left);
        }
    }
}

/// Runs a turn on files; the first failure ends it, because what follows would measure nothing.
pub(super) fn run_files(turn: &Turn<'_>, folder: &Path, settling: &mut Settling<'_>, records: &mut Records) {
    if let Err(why) = files::run(turn, folder, settling, records) {
        let (tool, place) = (turn.tool.name(), turn.place.name());
        records.failures.push(format!("{tool} on {} ({place}): {why}", turn.corpus.kind.name()));
        println!("FAILED: {tool} on {} ({place}): {why}", turn.corpus.kind.name());
    }
}

/// The folders that every turn needs.
fn make_scratch(folder: &Path) -> Result<(), String> {
    for name in ["home", "tmp", "cache"] {
        let made = std::fs::create_dir_all(folder.join(name));
        made.map_err(|error| format!("cannot make a scratch folder: {error}"))?;
    }
    Ok(())
}

/// Which steps a tool can take on files at a place, without anything being asked for.
pub(super) fn steps_of(tool: ToolKind, place: Place, is_text: bool) -> Vec<Step> {
    use Step::{Bare, Changed, Check, First, Restore, Three, ThreeByCopy, Unchanged};
    let mut steps = match tool {
        ToolKind::Borg if place == Place::Local => vec![First],
        ToolKind::Rclone if place.takes_plain_files() => vec![First],
        ToolKind::Fastest if place == Place::Local && is_text => vec![First],
        ToolKind::Borg | ToolKind::Rclone | ToolKind::Fastest => Vec::new(),
        _ => vec![First, Unchanged, Restore, Check, Changed, Three],
    };
    if place == Place::Local && tool == ToolKind::Triplicate {
        steps.push(Bare);
    }
    if place == Place::Local && tool == ToolKind::Restic {
        steps.push(ThreeByCopy);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use clock::{FakeClock, SystemClock};

    #[test]
    fn steps_have_names() {
        for step in Step::ALL {
            assert_eq!(Step::parse(step.name()), Ok(step));
        }
        assert!(Step::parse("second").unwrap_err().contains("unchanged"));
    }

    #[test]
    fn what_was_written_long_ago_has_settled() {
        let clock = FakeClock::new(SystemClock::new().now(), SystemClock::new().time_zone());
        let settling = Settling::from_now(&clock);
        clock.advance(SETTLING);
        // The clock stands still: a wait would sleep three real seconds.
        let real = SystemClock::new();
        settling.wait();
        assert!(real.monotonic() < SETTLING);
    }
}
