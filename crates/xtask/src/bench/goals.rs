//! What was promised, and whether it holds.

use super::places::Place;
use super::records::Records;
use super::stages::Stage;
use super::steps::{STORED, Step};
use super::summary::ratio;
use super::tools::ToolKind;

/// CPU seconds, ours by the better of restic and rustic: (corpus, step, no more than).
const CPU_GOALS: [(&str, Step, f64); 14] = [
    ("BIG", Step::First, 0.45),
    ("TEXT", Step::First, 0.75),
    ("TREE", Step::First, 0.45),
    ("MANY", Step::First, 0.45),
    ("TREE", Step::Unchanged, 0.25),
    ("BIG", Step::Changed, 0.35),
    ("TEXT", Step::Changed, 0.35),
    ("TREE", Step::Changed, 0.35),
    ("BIG", Step::Restore, 0.85),
    ("TEXT", Step::Restore, 0.80),
    ("TREE", Step::Restore, 0.60),
    ("BIG", Step::Check, 0.75),
    ("TEXT", Step::Check, 0.75),
    ("TREE", Step::Check, 0.75),
];
const FASTEST_TO_PEER: f64 = 0.40;
const FASTEST_TO_BORG: f64 = 1.0;
const RESTORE_PEAK_MIB: f64 = 256.0;
const BACKUP_PEAK_MIB: f64 = 300.0;
const THREE_TO_ONE_AND_BARE: f64 = 1.15;
const THREE_TO_RESTIC: f64 = 0.25;
const INDEX_PEAK_MIB: f64 = 12.0;
const INDEX_CPU_SECONDS: f64 = 0.1;
const TO_STAGES: f64 = 1.25;
const CORPORA: [&str; 3] = ["BIG", "TEXT", "TREE"];
const BACKUPS: [Step; 5] = [Step::First, Step::Unchanged, Step::Changed, Step::Three, Step::OpenCached];

/// One promise.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Goal {
    pub(super) case: String,
    /// No more than this.
    pub(super) limit: f64,
    /// What the figures of limit and measurement are.
    pub(super) unit: &'static str,
    /// None when something of it was not measured.
    pub(super) measured: Option<f64>,
    /// From what it was computed.
    pub(super) from: String,
}

impl Goal {
    /// Met, missed, or nothing to say.
    pub(super) fn verdict(&self) -> &'static str {
        match self.measured {
            None => "not measured",
            Some(measured) if measured <= self.limit => "met",
            Some(_) => "**missed**",
        }
    }
}

/// Every promise, in the order of the issue that made them.
pub(super) fn all(records: &Records) -> Vec<Goal> {
    let mut goals: Vec<Goal> =
        CPU_GOALS.iter().map(|(corpus, step, limit)| cpu(records, corpus, *step, *limit)).collect();
    goals.extend(sizes(records));
    goals.extend(CORPORA.map(|corpus| {
        let peak = records.ours(corpus, Step::Restore).map(|cost| cost.peak_mib);
        limit(format!("{corpus} restore, peak memory"), RESTORE_PEAK_MIB, "MiB", peak, String::new())
    }));
    goals.extend(CORPORA.iter().flat_map(|corpus| three(records, corpus)));
    goals.extend(index(records));
    goals.push(backup_peak(records));
    goals.extend(CORPORA.map(|corpus| stages(records, corpus)));
    goals
}

fn limit(case: String, limit: f64, unit: &'static str, measured: Option<f64>, from: String) -> Goal {
    Goal { case, limit, unit, measured, from }
}

fn cpu(records: &Records, corpus: &str, step: Step, most: f64) -> Goal {
    let ours = records.ours(corpus, step).map(|cost| cost.cpu_seconds);
    let peer = records.better_peer(Place::Local, corpus, step, |cost| cost.cpu_seconds);
    limit(format!("{corpus} {}", step.title()), most, "of the better peer's CPU", ratio(ours, peer), pair(ours, peer))
}

fn pair(ours: Option<f64>, theirs: Option<f64>) -> String {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => format!("{ours:.2} / {theirs:.2} s"),
        _ => String::new(),
    }
}

fn sizes(records: &Records) -> Vec<Goal> {
    let stored = |tool| records.amount_of("TEXT", tool, Step::First, STORED);
    let mib = |bytes: Option<f64>| bytes.map_or_else(String::new, |bytes| format!("{:.0}", bytes / 1_048_576.0));
    let part = |ours: Option<f64>, theirs: Option<f64>| Some(ours? / theirs?);
    let text = |tool| records.summary(Place::Local, "TEXT", tool, Step::First).map(|cost| cost.cpu_seconds);
    let (ours, fastest) = (stored(ToolKind::Triplicate), stored(ToolKind::Fastest));
    let (restic, borg) = (stored(ToolKind::Restic), stored(ToolKind::Borg));
    let peer = records.better_peer(Place::Local, "TEXT", Step::First, |cost| cost.cpu_seconds);
    let quick = text(ToolKind::Fastest);
    vec![
        limit("TEXT repository".into(), 1.0, "of restic's size", part(ours, restic), mibs(&mib(ours), &mib(restic))),
        limit(
            "TEXT first backup, `fastest`".into(),
            FASTEST_TO_PEER,
            "of the better peer's CPU",
            ratio(quick, peer),
            pair(quick, peer),
        ),
        limit(
            "TEXT first backup, `fastest`".into(),
            FASTEST_TO_BORG,
            "of borg's CPU",
            ratio(quick, text(ToolKind::Borg)),
            pair(quick, text(ToolKind::Borg)),
        ),
        limit(
            "TEXT repository, `fastest`".into(),
            1.0,
            "of borg's size",
            part(fastest, borg),
            mibs(&mib(fastest), &mib(borg)),
        ),
    ]
}

fn mibs(ours: &str, theirs: &str) -> String {
    if ours.is_empty() || theirs.is_empty() { String::new() } else { format!("{ours} / {theirs} MiB") }
}

fn three(records: &Records, corpus: &str) -> [Goal; 2] {
    let cpu = |step| records.ours(corpus, step).map(|cost| cost.cpu_seconds);
    let ours = cpu(Step::Three);
    let floor = cpu(Step::First).zip(cpu(Step::Bare)).map(|(first, bare)| first + bare);
    let restic = records.summary(Place::Local, corpus, ToolKind::Restic, Step::Three).map(|cost| cost.cpu_seconds);
    let case = format!("{corpus} three copies");
    [
        limit(
            case.clone(),
            THREE_TO_ONE_AND_BARE,
            "of our one copy and two bare writes",
            ratio(ours, floor),
            pair(ours, floor),
        ),
        limit(case, THREE_TO_RESTIC, "of restic's three", ratio(ours, restic), pair(ours, restic)),
    ]
}

fn index(records: &Records) -> [Goal; 2] {
    let cached = records.ours("BLOBS", Step::OpenCached).zip(records.ours("BLOBS", Step::OpenEmpty));
    let peak = cached.map(|(cached, empty)| cached.peak_mib - empty.peak_mib);
    let cpu = cached.map(|(cached, empty)| cached.cpu_seconds - empty.cpu_seconds);
    [
        limit("index of BLOBS, cached: memory over an empty one".into(), INDEX_PEAK_MIB, "MiB", peak, String::new()),
        limit("index of BLOBS, cached: CPU over an empty one".into(), INDEX_CPU_SECONDS, "s", cpu, String::new()),
    ]
}

fn backup_peak(records: &Records) -> Goal {
    let ours = records.figures.iter().filter(|figure| {
        figure.case.tool.is_ours() && BACKUPS.contains(&figure.case.step) && !figure.case.corpus.starts_with("GROWTH")
    });
    let highest = ours.max_by(|left, right| left.cost.peak_mib.total_cmp(&right.cost.peak_mib));
    let from = highest.map_or_else(String::new, |figure| {
        let case = &figure.case;
        format!("{} {} ({})", case.corpus, case.step.title(), case.place.name())
    });
    let peak = highest.map(|figure| figure.cost.peak_mib);
    limit("highest peak memory of any backup".into(), BACKUP_PEAK_MIB, "MiB", peak, from)
}

/// The sum of all stages of a corpus.
pub(super) fn stage_sum(records: &Records, corpus: &str) -> Option<f64> {
    let of = |stage: &Stage| records.amount_of(corpus, ToolKind::Triplicate, Step::Stages, stage.name());
    Stage::ALL.iter().map(of).sum()
}

fn stages(records: &Records, corpus: &str) -> Goal {
    let ours = records.ours(corpus, Step::First).map(|cost| cost.cpu_seconds);
    let sum = stage_sum(records, corpus);
    let case = format!("{corpus} first backup over its stages");
    limit(case, TO_STAGES, "of the sum of the stages", ratio(ours, sum), pair(ours, sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::records::Case;
    use crate::bench::summary::tests::records;

    fn goal<'a>(goals: &'a [Goal], case: &str, unit: &str) -> &'a Goal {
        goals.iter().find(|goal| goal.case == case && goal.unit.contains(unit)).unwrap()
    }

    #[test]
    fn verdicts_follow_from_figures() {
        let mut records = records(&[
            ("BIG", ToolKind::Triplicate, Step::First, 4.0, 310.0),
            ("BIG", ToolKind::Restic, Step::First, 20.0, 1.0),
            ("BIG", ToolKind::Rustic, Step::First, 10.0, 1.0),
            ("BIG", ToolKind::Triplicate, Step::Bare, 2.0, 0.0),
            ("BIG", ToolKind::Triplicate, Step::Three, 9.0, 200.0),
            ("BIG", ToolKind::Restic, Step::Three, 60.0, 1.0),
            ("BLOBS", ToolKind::Triplicate, Step::OpenCached, 0.30, 50.0),
            ("BLOBS", ToolKind::Triplicate, Step::OpenEmpty, 0.25, 45.0),
        ]);
        for stage in Stage::ALL {
            let case =
                Case { place: Place::Local, corpus: "BIG".into(), tool: ToolKind::Triplicate, step: Step::Stages };
            records.amount(case, stage.name(), 0.25);
        }
        let goals = all(&records);
        let first = goal(&goals, "BIG first backup", "peer");
        assert_eq!((first.measured, first.verdict(), first.from.as_str()), (Some(0.4), "met", "4.00 / 10.00 s"));
        assert_eq!(goal(&goals, "BIG three copies", "bare").verdict(), "**missed**");
        assert_eq!(goal(&goals, "BIG three copies", "restic").verdict(), "met");
        assert_eq!(goal(&goals, "index of BLOBS, cached: memory over an empty one", "MiB").measured, Some(5.0));
        assert_eq!(goal(&goals, "index of BLOBS, cached: CPU over an empty one", "s").verdict(), "met");
        let peak = goal(&goals, "highest peak memory of any backup", "MiB");
        assert_eq!((peak.verdict(), peak.from.as_str()), ("**missed**", "BIG first backup (local)"));
        // Twelve stages of a quarter of a second: 4 s over 3 s.
        assert_eq!(goal(&goals, "BIG first backup over its stages", "sum").verdict(), "**missed**");
        assert_eq!(goal(&goals, "TEXT first backup", "peer").verdict(), "not measured");
    }
}
