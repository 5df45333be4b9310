//! Medians, the better of the peers, ratios.

use super::measure::Cost;
use super::places::Place;
use super::records::Records;
use super::steps::Step;
use super::tools::ToolKind;

/// Those whose better one we are compared with; borg writes another format and has its own line.
pub(super) const PEERS: [ToolKind; 2] = [ToolKind::Restic, ToolKind::Rustic];

/// Below this many seconds a run is start-up and noise, and a ratio would say nothing.
const RATIO_SECONDS_MIN: f64 = 0.02;

impl Records {
    /// Median CPU, median wall time, highest peak; none when it was not measured.
    pub(super) fn summary(&self, place: Place, corpus: &str, tool: ToolKind, step: Step) -> Option<Cost> {
        let is_asked = |case: &super::records::Case| {
            (case.place, case.corpus.as_str(), case.tool, case.step) == (place, corpus, tool, step)
        };
        let costs: Vec<Cost> =
            self.figures.iter().filter(|figure| is_asked(&figure.case)).map(|figure| figure.cost).collect();
        Some(Cost {
            cpu_seconds: median(costs.iter().map(|cost| cost.cpu_seconds).collect())?,
            wall_seconds: median(costs.iter().map(|cost| cost.wall_seconds).collect())?,
            peak_mib: costs.iter().map(|cost| cost.peak_mib).fold(0.0, f64::max),
        })
    }

    pub(super) fn ours(&self, corpus: &str, step: Step) -> Option<Cost> {
        self.summary(Place::Local, corpus, ToolKind::Triplicate, step)
    }

    /// The smaller figure of restic and rustic, of those that were measured.
    pub(super) fn better_peer(
        &self,
        place: Place,
        corpus: &str,
        step: Step,
        figure: impl Fn(Cost) -> f64,
    ) -> Option<f64> {
        let measured = PEERS.into_iter().filter_map(|peer| self.summary(place, corpus, peer, step));
        measured.map(figure).min_by(f64::total_cmp)
    }

    /// The median of an amount over the rounds.
    pub(super) fn amount_of(&self, corpus: &str, tool: ToolKind, step: Step, name: &str) -> Option<f64> {
        let found = self.amounts.iter().filter(|amount| {
            let case = &amount.case;
            (case.place, case.corpus.as_str(), case.tool, case.step) == (Place::Local, corpus, tool, step)
                && amount.name == name
        });
        median(found.map(|amount| amount.value).collect())
    }

    /// How many rounds there are of a case.
    pub(super) fn rounds(&self, place: Place, corpus: &str, tool: ToolKind, step: Step) -> usize {
        let cases = self.figures.iter().map(|figure| &figure.case);
        cases
            .filter(|case| (case.place, case.corpus.as_str(), case.tool, case.step) == (place, corpus, tool, step))
            .count()
    }
}

pub(super) fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let (last, middle) = (numbers.len().checked_sub(1)?, numbers.len() / 2);
    Some(if last % 2 == 0 { numbers[middle] } else { (numbers[middle - 1] + numbers[middle]) / 2.0 })
}

/// Ours by theirs; none when either is missing or theirs is too short to divide by.
pub(super) fn ratio(ours: Option<f64>, theirs: Option<f64>) -> Option<f64> {
    let (ours, theirs) = (ours?, theirs?);
    (theirs >= RATIO_SECONDS_MIN).then(|| ours / theirs)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bench::records::Case;

    /// Records with one run for each line.
    pub(in crate::bench) fn records(runs: &[(&str, ToolKind, Step, f64, f64)]) -> Records {
        let mut records = Records::default();
        for (corpus, tool, step, cpu_seconds, peak_mib) in runs {
            let case = Case { place: Place::Local, corpus: (*corpus).to_owned(), tool: *tool, step: *step };
            let cost = Cost { cpu_seconds: *cpu_seconds, wall_seconds: cpu_seconds / 2.0, peak_mib: *peak_mib };
            records.figure(case, 0, cost);
        }
        records
    }

    #[test]
    fn a_summary_is_medians_and_the_highest_peak() {
        let run = |cpu: f64| ("BIG", ToolKind::Restic, Step::First, cpu, cpu * 10.0);
        let records = records(&[run(4.0), run(1.0), run(2.0)]);
        let summary = records.summary(Place::Local, "BIG", ToolKind::Restic, Step::First).unwrap();
        assert_eq!(summary, Cost { cpu_seconds: 2.0, wall_seconds: 1.0, peak_mib: 40.0 });
        assert_eq!(records.summary(Place::Rest, "BIG", ToolKind::Restic, Step::First), None);
        assert_eq!(records.rounds(Place::Local, "BIG", ToolKind::Restic, Step::First), 3);
    }

    #[test]
    fn the_better_peer_is_the_one_that_needs_less() {
        let records = records(&[
            ("BIG", ToolKind::Restic, Step::First, 4.0, 1.0),
            ("BIG", ToolKind::Rustic, Step::First, 3.0, 2.0),
            ("BIG", ToolKind::Borg, Step::First, 1.0, 1.0),
        ]);
        let best = |figure: fn(Cost) -> f64| records.better_peer(Place::Local, "BIG", Step::First, figure);
        assert_eq!((best(|cost| cost.cpu_seconds), best(|cost| cost.peak_mib)), (Some(3.0), Some(1.0)));
        assert_eq!(records.better_peer(Place::Local, "TEXT", Step::First, |cost| cost.cpu_seconds), None);
    }

    #[test]
    fn medians_of_even_and_odd_counts() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn ratios_need_figures_that_mean_something() {
        assert_eq!(ratio(Some(3.0), Some(2.0)), Some(1.5));
        assert_eq!(ratio(Some(3.0), None), None);
        assert_eq!(ratio(Some(3.0), Some(0.01)), None);
    }
}
