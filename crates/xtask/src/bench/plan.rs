//! Which tool does what in which round, and about how long all of it takes.

use super::corpora::CorpusKind;
use super::options::Options;
use super::places::Place;
use super::steps::{Step, steps_of};
use super::tools::ToolKind;

/// What each command takes besides its work: to start, to derive a key, to be cleaned up after.
const FIXED_SECONDS: f64 = 1.5;
/// The sizes to which the seconds below belong.
const FULL_MIB: f64 = 2048.0;
const FULL_FILES: f64 = 110_000.0;
const FULL_MANY: f64 = 500_000.0;
const MILLION: f64 = 1e6;

/// What one tool is asked to do in one turn; empty when it has nothing to do.
pub(super) fn steps(options: &Options, place: Place, kind: CorpusKind, tool: ToolKind, round: usize) -> Vec<Step> {
    let is_named = options.tools.contains(&tool);
    let mut steps = match kind {
        CorpusKind::Big | CorpusKind::Text | CorpusKind::Tree => steps_of(tool, place, kind == CorpusKind::Text),
        // rustic takes minutes to build its tables for each file; who wants to see it names it.
        CorpusKind::Many | CorpusKind::Growth if tool == ToolKind::Rustic && !is_named => Vec::new(),
        _ if tool == ToolKind::Rclone => Vec::new(),
        CorpusKind::Many if !matches!(tool, ToolKind::Borg | ToolKind::Fastest) => vec![Step::First, Step::Unchanged],
        CorpusKind::Growth if place == Place::Local && !matches!(tool, ToolKind::Borg | ToolKind::Fastest) => {
            vec![Step::First, Step::Unchanged]
        }
        CorpusKind::Blobs if place == Place::Local && !matches!(tool, ToolKind::Borg | ToolKind::Fastest) => {
            vec![Step::OpenEmpty, Step::OpenFirst, Step::OpenCached, Step::Prune]
        }
        _ => Vec::new(),
    };
    steps.retain(|step| is_chosen(options, *step, tool, round));
    steps
}

fn is_chosen(options: &Options, step: Step, tool: ToolKind, round: usize) -> bool {
    // Bare writes are what three copies are compared with, so they go with them.
    let named = if step == Step::Bare { Step::Three } else { step };
    let is_open = matches!(step, Step::OpenEmpty | Step::OpenFirst | Step::OpenCached);
    let wanted =
        if options.steps.is_empty() { step != Step::ThreeByCopy } else { is_open || options.steps.contains(&named) };
    let skipped = options.skip.iter().any(|choice| choice.fits(named, tool));
    let once = options.once.iter().any(|choice| choice.fits(named, tool));
    wanted && !skipped && (round == 0 || !once)
}

/// Whether the stages of a corpus are measured too.
pub(super) fn wants_stages(options: &Options, kind: CorpusKind) -> bool {
    matches!(kind, CorpusKind::Big | CorpusKind::Text | CorpusKind::Tree)
        && options.places.contains(&Place::Local)
        && is_chosen(options, Step::Stages, ToolKind::Triplicate, 0)
}

/// The larger sizes of GROWTH are ours alone: a peer shows at one million what it costs.
pub(super) fn grows_with(tool: ToolKind, millions: u64, options: &Options) -> bool {
    tool.is_ours() || millions == 1 || options.tools.contains(&tool) && options.growth.len() == 1
}

/// About how many seconds the whole run takes, on a machine with two cores of 2023.
pub(super) fn estimate_seconds(options: &Options, tools: &[ToolKind]) -> f64 {
    let mut seconds = 0.0;
    for (kind, _) in &options.corpora {
        seconds += making_seconds(options, *kind);
        for place in &options.places {
            for round in 0..options.rounds_of(*kind) {
                for tool in tools {
                    let steps = steps(options, *place, *kind, *tool, round);
                    seconds += turn_seconds(options, *place, *kind, *tool, &steps);
                }
            }
        }
    }
    seconds
}

fn making_seconds(options: &Options, kind: CorpusKind) -> f64 {
    let mib = options.size_mib as f64;
    let stages = if wants_stages(options, kind) { mib.min(options.stage_mib as f64) / 100.0 } else { 0.0 };
    stages
        + match kind {
            CorpusKind::Big => mib / 700.0,
            CorpusKind::Text => mib / 150.0,
            CorpusKind::Tree => options.tree_files as f64 / 5000.0,
            CorpusKind::Many => options.many_files as f64 / 25_000.0,
            CorpusKind::Blobs => 0.0,
            CorpusKind::Growth => options.growth.iter().sum::<u64>() as f64 * 12.0,
        }
}

fn turn_seconds(options: &Options, place: Place, kind: CorpusKind, tool: ToolKind, steps: &[Step]) -> f64 {
    if steps.is_empty() {
        return 0.0;
    }
    let scale = match kind {
        CorpusKind::Big | CorpusKind::Text => options.size_mib as f64 / FULL_MIB,
        CorpusKind::Tree => options.tree_files as f64 / FULL_FILES,
        CorpusKind::Many => options.many_files as f64 / FULL_MANY,
        CorpusKind::Blobs => options.blobs as f64 / MILLION,
        CorpusKind::Growth => {
            options.growth.iter().filter(|millions| grows_with(tool, **millions, options)).sum::<u64>() as f64
        }
    };
    let place = match place {
        Place::Local => 1.0,
        Place::Rest => 1.2,
        Place::Far | Place::S3 | Place::Sftp => 2.0,
        Place::FarS3 | Place::FarSftp => 4.0,
    };
    let of_step = |step: Step| full_seconds(kind, tool, step);
    // The first backup is run whatever was chosen, because everything else needs its repository.
    let needed = if steps.contains(&Step::First) || kind == CorpusKind::Blobs { 0.0 } else { of_step(Step::First) };
    let work: f64 = needed + steps.iter().map(|step| of_step(*step)).sum::<f64>();
    // Two seconds and more are waited for files to settle, before the first backup and before the changed one.
    FIXED_SECONDS * (steps.len() as f64 + 1.0) + 3.0 + work * scale * place
}

/// Wall seconds at full size; bench/README.md says from where.
fn full_seconds(kind: CorpusKind, tool: ToolKind, step: Step) -> f64 {
    use CorpusKind::{Big, Blobs, Growth, Many, Text, Tree};
    use ToolKind::{Borg, Fastest, Rclone, Restic, Rustic, Triplicate};
    let first = match (kind, tool) {
        (Big, Triplicate | Fastest) => 4.0,
        (Big, Restic) => 11.5,
        (Big, Rustic) => 9.5,
        (Big, Borg) => 8.5,
        (Big | Text, Rclone) => 4.0,
        (_, Rclone) => 20.0,
        (Text, Triplicate) => 12.0,
        (Text, Fastest) => 6.0,
        (Text, Restic) => 20.0,
        (Text, Rustic) => 17.0,
        (Text, Borg) => 13.0,
        (Tree, Triplicate | Fastest) => 6.0,
        (Tree, Restic) => 13.5,
        (Tree, Rustic) => 33.0,
        (Tree, Borg) => 26.0,
        (Many, Triplicate | Fastest) => 17.0,
        (Many, Restic) => 43.0,
        (Many, Rustic | Borg) => 110.0,
        (Blobs, _) => 2.0,
        // For each million.
        (Growth, Triplicate | Fastest) => 15.0,
        (Growth, _) => 80.0,
    };
    let files = if kind == Tree || kind == Many { 5.0 } else { 1.0 };
    let is_peer = !tool.is_ours();
    match step {
        Step::First => first,
        Step::Unchanged if kind == Growth || kind == Many => first / 2.0,
        Step::Unchanged | Step::Changed if is_peer => files + 3.0,
        Step::Unchanged | Step::Changed => 1.0 + files / 5.0,
        // With a second or two for the comparison.
        Step::Restore if is_peer => 6.0 + files,
        Step::Restore => 5.0 + files / 2.0,
        Step::Check if is_peer => 6.0,
        Step::Check => 3.0,
        Step::Three if is_peer => 2.0 * first,
        Step::Three => first + 1.5,
        Step::ThreeByCopy => 2.0 * first,
        Step::Bare | Step::Stages => 2.5,
        Step::OpenEmpty => 1.0,
        Step::OpenFirst | Step::OpenCached => 3.0,
        Step::Prune => 6.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(words: &[&str]) -> Options {
        Options::parse(words).unwrap()
    }

    #[test]
    fn each_tool_has_its_steps() {
        let options = options(&["--once", "three:restic", "--skip", "check"]);
        let steps = |kind, tool, round| steps(&options, Place::Local, kind, tool, round);
        use Step::{Bare, Changed, First, OpenCached, OpenEmpty, OpenFirst, Prune, Restore, Three, Unchanged};
        let big = CorpusKind::Big;
        assert_eq!(steps(big, ToolKind::Triplicate, 1), [First, Unchanged, Restore, Changed, Three, Bare]);
        assert_eq!(steps(big, ToolKind::Restic, 0), [First, Unchanged, Restore, Changed, Three]);
        assert_eq!(steps(big, ToolKind::Restic, 1), [First, Unchanged, Restore, Changed]);
        assert_eq!(steps(big, ToolKind::Borg, 0), [First]);
        assert_eq!(steps(big, ToolKind::Fastest, 0), []);
        assert_eq!(steps(CorpusKind::Text, ToolKind::Fastest, 0), [First]);
        assert_eq!(steps(CorpusKind::Many, ToolKind::Rustic, 0), []);
        assert_eq!(steps(CorpusKind::Blobs, ToolKind::Rustic, 0), [OpenEmpty, OpenFirst, OpenCached, Prune]);
    }

    #[test]
    fn steps_that_were_chosen_are_all() {
        let options = options(&["--steps", "first,three-by-copy", "--tools", "restic,rustic"]);
        let steps = |place, kind, tool| steps(&options, place, kind, tool, 0);
        assert_eq!(steps(Place::Local, CorpusKind::Big, ToolKind::Restic), [Step::First, Step::ThreeByCopy]);
        assert_eq!(steps(Place::Rest, CorpusKind::Big, ToolKind::Restic), [Step::First]);
        assert_eq!(steps(Place::Local, CorpusKind::Many, ToolKind::Rustic), [Step::First]);
        assert!(!wants_stages(&options, CorpusKind::Big));
    }

    #[test]
    fn large_growth_is_ours_alone() {
        let options = options(&[]);
        assert!(grows_with(ToolKind::Restic, 1, &options) && !grows_with(ToolKind::Restic, 3, &options));
        assert!(grows_with(ToolKind::Triplicate, 10, &options));
    }

    #[test]
    fn less_work_is_estimated_shorter() {
        let tools = [ToolKind::Triplicate, ToolKind::Restic, ToolKind::Rustic];
        let seconds = |words: &[&str]| estimate_seconds(&options(words), &tools);
        assert!(seconds(&["--quick"]) < 300.0, "{}", seconds(&["--quick"]));
        assert!(seconds(&["--full"]) > 900.0, "{}", seconds(&["--full"]));
        assert!(seconds(&["--full", "--skip", "three:rustic"]) < seconds(&["--full"]));
        assert!(seconds(&["--full", "--once", "changed"]) > seconds(&["--full", "--once", "changed,three"]));
    }
}
