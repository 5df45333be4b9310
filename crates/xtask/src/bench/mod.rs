//! `cargo xtask bench`: what we cost beside restic and rustic, on the same data, in the same minutes.
//!
//! Corpora, repositories, caches and temporary files are all below one folder (by default in memory, so that the disk
//! is not what is measured). Tools take turns and change places from round to round, so that a busy moment of the machine
//! meets all of them. CPU seconds are the figure to compare; wall time on a shared machine is only an indication. A
//! run whose exit code is not 0, or whose restore is not equal to the corpus, is a failure and never a figure.

mod corpora;
mod machine;
mod measure;
mod options;
mod results;
mod steps;
mod tools;

use std::fs;
use std::path::Path;

use clock::{Clock, SystemClock};

use options::Options;
use results::Results;
use tools::Tool;

/// Measures as the options say; fails when any run failed, after everything that could be measured was shown.
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    if words.contains(&"--help") {
        println!("{}", options::HELP);
        return Ok(());
    }
    let options = Options::parse(words)?;
    let tools = tools::available(&options)?;
    let folder = options.folder.join("triplicate-bench");
    // What an interrupted call left behind is ours, by its name.
    remove(&folder)?;
    let outcome = measure_all(&options, &tools, &folder);
    remove(&folder)?;
    let results = outcome?;

    let report = results.report(&options, &tools, &SystemClock::new().local());
    println!("{report}");
    if options.record {
        let path = crate::workspace::root()?.join("bench/RESULTS.md");
        fs::write(&path, &report).map_err(|error| format!("cannot write `{}`: {error}", path.display()))?;
    }
    if results.failures().is_empty() { Ok(()) } else { Err(format!("{} runs failed", results.failures().len())) }
}

fn measure_all(options: &Options, tools: &[Tool], folder: &Path) -> Result<Results, String> {
    let clock = SystemClock::new();
    let mut results = Results::default();
    for kind in &options.corpora {
        println!("making corpus {}", kind.name());
        let corpus = corpora::make(*kind, options, &folder.join("corpus"))?;
        println!("corpus {}: {}", kind.name(), corpus.describe());
        results.corpus(&corpus);
        for round in 0..options.rounds {
            for place in 0..tools.len() {
                let tool = &tools[(place + round) % tools.len()];
                let scratch = folder.join("scratch");
                steps::run_all(tool, &corpus, &scratch, &clock, &mut results);
                remove(&scratch)?;
                println!("round {} of {}: {} on {} done", round + 1, options.rounds, tool.name(), kind.name());
            }
        }
        remove(&folder.join("corpus"))?;
    }
    Ok(results)
}

fn remove(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove `{}`: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}
