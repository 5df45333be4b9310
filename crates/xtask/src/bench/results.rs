//! Figures into a page: medians side by side, ratios, and on what machine and with which versions they were taken.

use super::corpora::{Corpus, CorpusKind};
use super::machine;
use super::measure::Cost;
use super::options::Options;
use super::steps::Step;
use super::tools::{Tool, ToolKind};

/// Everything that was measured.
#[derive(Debug, Default)]
pub(super) struct Results {
    corpora: Vec<(CorpusKind, String)>,
    costs: Vec<(CorpusKind, ToolKind, Step, Cost)>,
    stored: Vec<(CorpusKind, ToolKind, u64)>,
    failures: Vec<String>,
}

/// Below this many CPU seconds the clock's hundredths are coarser than the difference that a ratio would show.
const RATIO_CPU_SECONDS_MIN: f64 = 0.05;

impl Results {
    pub(super) fn corpus(&mut self, corpus: &Corpus) {
        self.corpora.push((corpus.kind, corpus.describe()));
    }

    pub(super) fn cost(&mut self, corpus: CorpusKind, tool: ToolKind, step: Step, cost: Cost) {
        self.costs.push((corpus, tool, step, cost));
    }

    pub(super) fn stored(&mut self, corpus: CorpusKind, tool: ToolKind, bytes: u64) {
        self.stored.push((corpus, tool, bytes));
    }

    pub(super) fn failed(&mut self, corpus: CorpusKind, tool: ToolKind, why: String) {
        self.failures.push(format!("{tool:?} on {}: {why}", corpus.name()));
    }

    pub(super) fn failures(&self) -> &[String] {
        &self.failures
    }

    /// Median CPU, best wall time, highest peak.
    fn summary(&self, corpus: CorpusKind, tool: ToolKind, step: Step) -> Option<Cost> {
        let of_cell = |entry: &&(CorpusKind, ToolKind, Step, Cost)| (entry.0, entry.1, entry.2) == (corpus, tool, step);
        let costs: Vec<Cost> = self.costs.iter().filter(of_cell).map(|entry| entry.3).collect();
        let cpu_seconds = median(costs.iter().map(|cost| cost.cpu_seconds).collect())?;
        let wall_seconds = costs.iter().map(|cost| cost.wall_seconds).fold(f64::INFINITY, f64::min);
        let peak_mib = costs.iter().map(|cost| cost.peak_mib).fold(0.0, f64::max);
        Some(Cost { cpu_seconds, wall_seconds, peak_mib })
    }

    /// The whole page.
    pub(super) fn report(&self, options: &Options, tools: &[Tool], now: &impl ToString) -> String {
        let mut page = String::from("# Measured beside restic and rustic\n\n");
        page += "Made by `cargo xtask bench`. Each cell: median CPU seconds, user and system (best wall seconds) / highest\n";
        page += "peak memory in MiB. CPU is the figure to compare; the columns with `/` say how many times our CPU the other\n";
        page += "tool took. Every restore was compared with its corpus byte by byte. *Three copies* is one run of ours into\n";
        page += "three folders, three backups of the others; its last row is restic's first backup and two `restic copy`.\n\n";
        page += &format!("- when: {}\n", now.to_string().split('T').next().unwrap_or_default());
        page += &format!("- machine: {}\n", machine::describe());
        page += &format!("- place: {}\n", machine::file_system(&options.folder));
        page += &format!("- rounds: {}, tools in turn, defaults of each tool\n", options.rounds);
        for tool in tools {
            page += &format!("- {}: {}\n", tool.name(), tool.version);
        }
        for (kind, description) in &self.corpora {
            page += &format!("- {}: {description}\n", kind.name());
        }
        page.push('\n');
        page += &self.table(tools);
        if !self.failures.is_empty() {
            page += "\nFailed, and therefore without figures:\n\n";
            page.extend(self.failures.iter().map(|failure| format!("- {failure}\n")));
        }
        page
    }

    fn table(&self, tools: &[Tool]) -> String {
        let others = || tools.iter().filter(|tool| tool.kind != ToolKind::Triplicate);
        let mut table = String::from("| corpus, step |");
        table.extend(tools.iter().map(|tool| format!(" {} |", tool.name())));
        table.extend(others().map(|tool| format!(" {} / ours |", tool.name())));
        table += "\n|---|";
        table.extend(tools.iter().chain(others()).map(|_| "---|"));
        table.push('\n');
        for (corpus, _) in &self.corpora {
            for step in Step::ALL {
                // We have no second way to three copies: it is compared with our only one.
                let our_step = if step == Step::ThreeByCopy { Step::ThreeCopies } else { step };
                let ours = self.summary(*corpus, ToolKind::Triplicate, our_step);
                let cells: Vec<Option<Cost>> =
                    tools.iter().map(|tool| self.summary(*corpus, tool.kind, step)).collect();
                if cells.iter().all(Option::is_none) {
                    continue;
                }
                table += &format!("| {} {} |", corpus.name(), step.name());
                table.extend(cells.iter().map(|cell| format!(" {} |", cell.map_or("-".to_owned(), show))));
                table.extend(others().map(|tool| {
                    let other = self.summary(*corpus, tool.kind, step);
                    format!(" {} |", ratio(other, ours))
                }));
                table.push('\n');
            }
            table += &format!("| {} stored, MiB |", corpus.name());
            table.extend(tools.iter().map(|tool| format!(" {} |", self.stored_mib(*corpus, tool.kind))));
            table.extend(others().map(|_| " |"));
            table.push('\n');
        }
        table
    }

    fn stored_mib(&self, corpus: CorpusKind, tool: ToolKind) -> String {
        let found = self.stored.iter().rfind(|entry| (entry.0, entry.1) == (corpus, tool));
        found.map_or("-".to_owned(), |entry| (entry.2 >> 20).to_string())
    }
}

fn show(cost: Cost) -> String {
    format!("{:.2} ({:.2}) / {:.0}", cost.cpu_seconds, cost.wall_seconds, cost.peak_mib)
}

fn ratio(other: Option<Cost>, ours: Option<Cost>) -> String {
    match (other, ours) {
        (Some(other), Some(ours)) if ours.cpu_seconds >= RATIO_CPU_SECONDS_MIN => {
            format!("{:.2}", other.cpu_seconds / ours.cpu_seconds)
        }
        _ => "-".to_owned(),
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(cpu_seconds: f64) -> Cost {
        Cost { cpu_seconds, wall_seconds: cpu_seconds / 2.0, peak_mib: cpu_seconds * 10.0 }
    }

    #[test]
    fn a_cell_is_median_best_and_highest() {
        let mut results = Results::default();
        for cpu in [4.0, 1.0, 2.0] {
            results.cost(CorpusKind::Big, ToolKind::Restic, Step::First, cost(cpu));
        }
        let cell = results.summary(CorpusKind::Big, ToolKind::Restic, Step::First).unwrap();
        assert_eq!(show(cell), "2.00 (0.50) / 40");
        assert_eq!(results.summary(CorpusKind::Big, ToolKind::Rustic, Step::First), None);
    }

    #[test]
    fn medians_of_even_and_odd_counts() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn ratios_need_figures_that_mean_something() {
        assert_eq!(ratio(Some(cost(3.0)), Some(cost(2.0))), "1.50");
        assert_eq!(ratio(Some(cost(3.0)), None), "-");
        assert_eq!(ratio(Some(cost(3.0)), Some(cost(0.01))), "-");
    }
}
