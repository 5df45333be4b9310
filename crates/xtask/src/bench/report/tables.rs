//! The tables behind the promises.

use crate::bench::corpora::CorpusKind;
use crate::bench::goals::stage_sum;
use crate::bench::measure::Cost;
use crate::bench::places::Place;
use crate::bench::records::Records;
use crate::bench::stages::Stage;
use crate::bench::steps::{STORED, Step};
use crate::bench::summary::ratio;
use crate::bench::tools::ToolKind;

const MIB: f64 = 1_048_576.0;
const STAGED: [&str; 3] = ["BIG", "TEXT", "TREE"];

/// Everything that was measured at a place; wall time decides where the place is not this machine's memory.
pub(super) fn place(records: &Records, place: Place) -> String {
    let tools: Vec<ToolKind> = ToolKind::ALL
        .into_iter()
        .filter(|tool| records.figures.iter().any(|figure| (figure.case.tool, figure.case.place) == (*tool, place)))
        .collect();
    if tools.is_empty() {
        return String::new();
    }
    let is_local = place == Place::Local;
    let last = if is_local { "CPU ratio" } else { "wall ratio | |" };
    let mut page = format!("\n## {}\n\n| case |", place.title());
    page.extend(tools.iter().map(|tool| format!(" {} |", tool.name())));
    page += &format!(" {last}{}\n|---|", if is_local { " |" } else { "" });
    page.extend(tools.iter().map(|_| "---|"));
    page += if is_local { "---|\n" } else { "---|---|\n" };
    for corpus in CorpusKind::ALL.into_iter().filter(|kind| *kind != CorpusKind::Growth) {
        for step in Step::ALL {
            page += &row(records, place, corpus.name(), step, &tools);
        }
    }
    page
}

fn row(records: &Records, place: Place, corpus: &str, step: Step, tools: &[ToolKind]) -> String {
    let costs: Vec<Option<Cost>> = tools.iter().map(|tool| records.summary(place, corpus, *tool, step)).collect();
    if costs.iter().all(Option::is_none) {
        return String::new();
    }
    let figure = |cost: Cost| if place == Place::Local { cost.cpu_seconds } else { cost.wall_seconds };
    let ours = records.summary(place, corpus, ToolKind::Triplicate, step).map(figure);
    let part = ratio(ours, records.better_peer(place, corpus, step, figure));
    let mut row = format!("| {corpus} {} |", step.title());
    row.extend(tools.iter().zip(&costs).map(|(tool, cost)| {
        let once = if records.rounds(place, corpus, *tool, step) == 1 { " ×1" } else { "" };
        format!(" {}{once} |", cost.map_or_else(|| "-".to_owned(), show))
    }));
    row += &format!(" {} |", part.map_or_else(|| "-".to_owned(), |part| format!("{part:.2}")));
    if place != Place::Local {
        row += match part {
            Some(part) if part <= 1.0 => " met |",
            Some(_) => " **missed** |",
            None => " |",
        };
    }
    row + "\n"
}

fn show(cost: Cost) -> String {
    format!("{:.2} ({:.2}) / {:.0}", cost.cpu_seconds, cost.wall_seconds, cost.peak_mib)
}

/// How large the repositories became.
pub(super) fn stored(records: &Records) -> String {
    let stored = |corpus: &str, tool| records.amount_of(corpus, tool, Step::First, STORED);
    let mut rows = String::new();
    for corpus in CorpusKind::ALL.map(CorpusKind::name) {
        if ToolKind::ALL.iter().any(|tool| stored(corpus, *tool).is_some()) {
            rows += &format!("| {corpus} |");
            rows.extend(ToolKind::ALL.iter().map(|tool| {
                let mib = stored(corpus, *tool).map_or_else(|| "-".to_owned(), |bytes| format!("{:.1}", bytes / MIB));
                format!(" {mib} |")
            }));
            rows.push('\n');
        }
    }
    if rows.is_empty() {
        return rows;
    }
    let names: String = ToolKind::ALL.iter().map(|tool| format!(" {} |", tool.name())).collect();
    let line: String = ToolKind::ALL.iter().map(|_| "---|").collect();
    format!("\n## Repository after the first backup, MiB\n\n| corpus |{names}\n|---|{line}\n{rows}")
}

/// Seconds of each stage, their sum, and how far above it we are.
pub(super) fn stages(records: &Records) -> String {
    let corpora: Vec<&str> = STAGED.into_iter().filter(|corpus| stage_sum(records, corpus).is_some()).collect();
    if corpora.is_empty() {
        return String::new();
    }
    let cells = |of: &dyn Fn(&str) -> Option<f64>| -> String {
        let show =
            |seconds: Option<f64>| seconds.map_or_else(|| " - |".to_owned(), |seconds| format!(" {seconds:.2} |"));
        corpora.iter().map(|corpus| show(of(corpus))).collect()
    };
    let mut page = "\n## Stages one by one, CPU seconds of the whole corpus on one thread\n\n| stage |".to_owned();
    page.extend(corpora.iter().map(|corpus| format!(" {corpus} |")));
    page += "\n|---|";
    page.extend(corpora.iter().map(|_| "---|"));
    page.push('\n');
    for stage in Stage::ALL {
        let seconds = |corpus: &str| records.amount_of(corpus, ToolKind::Triplicate, Step::Stages, stage.name());
        page += &format!("| {} |{}\n", stage.name(), cells(&seconds));
    }
    let ours = |corpus: &str| records.ours(corpus, Step::First).map(|cost| cost.cpu_seconds);
    page += &format!("| **sum** |{}\n", cells(&|corpus| stage_sum(records, corpus)));
    page += &format!("| our first backup |{}\n", cells(&ours));
    page += &format!("| ratio |{}\n", cells(&|corpus| ratio(ours(corpus), stage_sum(records, corpus))));
    page
}

/// Costs per million files.
pub(super) fn growth(records: &Records) -> String {
    let mut rows = String::new();
    for tool in ToolKind::ALL {
        for step in [Step::First, Step::Unchanged] {
            for millions in growth_sizes(records) {
                let corpus = crate::bench::steps::growth_label(millions);
                if let Some(cost) = records.summary(Place::Local, &corpus, tool, step) {
                    let (cpu, peak) = (cost.cpu_seconds / millions as f64, cost.peak_mib / millions as f64);
                    rows += &format!("| {millions} | {} | {} | {cpu:.2} | {peak:.0} |\n", tool.name(), step.title());
                }
            }
        }
    }
    if rows.is_empty() {
        return rows;
    }
    format!(
        "\n## Growth: empty files\n\n| million files | tool | step | CPU s per million | peak MiB per million |\n\
         |---|---|---|---|---|\n{rows}"
    )
}

fn growth_sizes(records: &Records) -> Vec<u64> {
    let names = records.figures.iter().filter_map(|figure| figure.case.corpus.strip_prefix("GROWTH-"));
    let mut sizes: Vec<u64> = names.filter_map(|name| name.strip_suffix('M')?.parse().ok()).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}
