//! Records into a page: promises first, then every table they come from.

mod tables;

use super::goals;
use super::places::Place;
use super::records::Records;

const INTRODUCTION: &str = "\
# Measured beside restic, rustic and borg

Made by `cargo xtask bench`; every figure of every round is in `results.tsv`, how to repeat it in
[docs/performance.md](../docs/performance.md), how it is measured in [README.md](README.md).

A cell is: median CPU seconds, user and system (median wall seconds) / highest peak memory in MiB. CPU is the figure to
compare; where a line is between us and the copy, wall time is. Ratios are ours by the better one of restic and rustic,
so less is better. A cell with ×1 is one run, no median. Every restore was compared with its corpus byte by byte.
";

/// The whole page.
pub(super) fn page(records: &Records) -> String {
    let mut page = INTRODUCTION.to_owned();
    page.push('\n');
    for (name, text) in records.about.iter().filter(|(name, _)| !name.starts_with("size of ")) {
        page += &format!("- {name}: {text}\n");
    }
    page += "\n## Goals\n\n| case | goal | measured | from | |\n|---|---|---|---|---|\n";
    for goal in goals::all(records) {
        let measured = goal.measured.map_or_else(|| "-".to_owned(), |measured| format!("{measured:.2}"));
        let (case, from, verdict) = (&goal.case, &goal.from, goal.verdict());
        page += &format!("| {case} | <= {} {} | {measured} | {from} | {verdict} |\n", goal.limit, goal.unit);
    }
    for place in Place::ALL {
        page += &tables::place(records, place);
    }
    page += &tables::stored(records);
    page += &tables::stages(records);
    page += &tables::growth(records);
    if !records.failures.is_empty() {
        page += "\n## Failed, and therefore without figures\n\n";
        page.extend(records.failures.iter().map(|failure| format!("- {failure}\n")));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::steps::Step;
    use crate::bench::summary::tests::records;
    use crate::bench::tools::ToolKind;

    #[test]
    fn the_page_tells_what_there_is() {
        let mut records = records(&[
            ("BIG", ToolKind::Triplicate, Step::First, 4.0, 100.0),
            ("BIG", ToolKind::Restic, Step::First, 20.0, 150.0),
            ("GROWTH-1M", ToolKind::Triplicate, Step::First, 8.0, 90.0),
        ]);
        records.tell("machine", "a small one");
        records.tell("size of BIG", "1 MiB");
        records.failures.push("rustic on BIG: no".into());
        let page = page(&records);
        assert!(page.contains("- machine: a small one\n") && !page.contains("size of"), "{page}");
        assert!(page.contains("| BIG first backup | <= 0.45 of the better peer's CPU | 0.20 | 4.00 / 20.00 s | met |"));
        assert!(page.contains("| BIG first backup | 4.00 (2.00) / 100 ×1 | 20.00 (10.00) / 150 ×1 | 0.20 |"), "{page}");
        assert!(page.contains("| 1 | triplicate | first backup | 8.00 | 90 |"), "{page}");
        assert!(page.contains("- rustic on BIG: no"));
        assert!(!page.contains("S3"), "nothing was measured there");
    }
}
