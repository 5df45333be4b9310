//! `cargo xtask bench`: what we cost beside restic, rustic and borg, on the same data, in the same minutes.
//!
//! Corpora, repositories, caches and temporary files are all below one folder (by default in memory, so that the disk
//! is not what is measured). Tools take turns and change places from round to round, so that a busy moment of the machine
//! meets all of them. CPU seconds are the figure to compare; wall time on a shared machine is only an indication. A
//! run whose exit code is not 0, or whose restore is not equal to the corpus, is a failure and never a figure.

mod compare;
mod corpora;
mod goals;
mod machine;
mod measure;
mod options;
mod places;
mod plan;
mod records;
mod report;
mod stages;
mod steps;
mod store;
mod summary;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clock::{Clock, SystemClock};

use corpora::{Corpus, CorpusKind};
pub(crate) use measure::{WORD as MEASURED, run_measured};
use options::Options;
use places::Place;
use records::{Case, Records, size_name};
use steps::{Settling, Step, Turn};
use tools::{Tool, ToolKind};

const FIGURES: &str = "bench/results.tsv";
const PAGE: &str = "bench/RESULTS.md";
const MIB: u64 = 1 << 20;

/// Measures as the options say; fails when any run failed, after everything that could be measured was shown.
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    if let ["store", words @ ..] = words {
        return store::run(words);
    }
    if words.contains(&"--help") {
        println!("{}", options::HELP);
        return Ok(());
    }
    let options = Options::parse(words)?;
    if options.render {
        return write(PAGE, &report::page(&recorded()?));
    }
    if options.estimate {
        let tools = if options.tools.is_empty() { ToolKind::ALL.to_vec() } else { options.tools.clone() };
        say_estimate(&options, &tools);
        return Ok(());
    }
    if cfg!(debug_assertions) {
        return run_released(words);
    }
    let tools = tools::available(&options)?;
    say_estimate(&options, &tools.iter().map(|tool| tool.kind).collect::<Vec<_>>());
    let folder = options.folder.join("triplicate-bench");
    // What an interrupted call left behind is ours, by its name.
    remove(&folder)?;
    fs::create_dir_all(&folder).map_err(|error| format!("cannot make `{}`: {error}", folder.display()))?;
    // Servers of other places keep their data here too.
    let _ = tempfile::env::override_temp_dir(&folder);
    let outcome = measure_all(&options, &tools, &folder);
    remove(&folder)?;
    finish(&options, outcome?)
}

/// Stages are measured in this program itself, so it has to be built as the product is.
fn run_released(words: &[&str]) -> Result<(), String> {
    let program = tools::release_build("xtask")?;
    let ended = Command::new(program).arg("bench").args(words).status();
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err("the benchmark did not end well".to_owned()),
        Err(error) => Err(format!("cannot start the benchmark: {error}")),
    }
}

fn finish(options: &Options, measured: Records) -> Result<(), String> {
    let failures = measured.failures.len();
    let records = match options.record {
        true if !options.fresh => measured.over(recorded()?),
        _ => measured,
    };
    let page = report::page(&records);
    println!("{page}");
    if options.record {
        write(FIGURES, &records.to_text())?;
        write(PAGE, &page)?;
    }
    if failures == 0 { Ok(()) } else { Err(format!("{failures} runs failed")) }
}

fn recorded() -> Result<Records, String> {
    match fs::read_to_string(crate::workspace::root()?.join(FIGURES)) {
        Ok(text) => Records::parse(&text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Records::default()),
        Err(error) => Err(format!("cannot read `{FIGURES}`: {error}")),
    }
}

fn write(name: &str, text: &str) -> Result<(), String> {
    let path = crate::workspace::root()?.join(name);
    fs::write(&path, text).map_err(|error| format!("cannot write `{}`: {error}", path.display()))
}

fn say_estimate(options: &Options, tools: &[ToolKind]) {
    let minutes = plan::estimate_seconds(options, tools) / 60.0;
    println!("this takes about {minutes:.0} minutes on two quiet cores");
}

fn measure_all(options: &Options, tools: &[Tool], folder: &Path) -> Result<Records, String> {
    let clock = SystemClock::new();
    let mut bench = Bench { options, tools, folder, clock: &clock, records: Records::default(), turns: 0 };
    bench.tell_circumstances();
    for (kind, _) in &options.corpora {
        bench.records.tell(&size_name(kind.name()), &options.size_of(*kind));
        match kind {
            CorpusKind::Blobs => bench.blobs()?,
            CorpusKind::Growth => bench.growth()?,
            _ => bench.files(*kind)?,
        }
    }
    Ok(bench.records)
}

struct Bench<'a> {
    options: &'a Options,
    tools: &'a [Tool],
    folder: &'a Path,
    clock: &'a dyn Clock,
    records: Records,
    /// How many turns there were.
    turns: u64,
}

impl Bench<'_> {
    fn tell_circumstances(&mut self) {
        let when = self.clock.local().to_string();
        self.records.tell("when", when.split('T').next().unwrap_or_default());
        self.records.tell("machine", &machine::describe());
        let kind = machine::file_system(&self.options.folder);
        self.records.tell("place", &format!("sources, repositories, caches and targets on {kind}"));
        self.records.tell(
            "rounds",
            &format!("{} where nothing else is said, tools in turn, defaults of each tool", self.options.rounds),
        );
        for tool in self.tools {
            let told = match tool.kind {
                ToolKind::Fastest => "triplicate with `--compression fastest`",
                _ => tool.version.as_str(),
            };
            self.records.tell(tool.name(), told);
        }
    }

    fn scratch(&self) -> PathBuf {
        self.folder.join("scratch")
    }

    /// Makes a corpus, lets every tool have its turns at every place, measures its stages, removes it.
    fn files(&mut self, kind: CorpusKind) -> Result<(), String> {
        println!("making corpus {}", kind.name());
        let corpus = corpora::make(kind, self.options, &self.folder.join("corpus"))?;
        let mut settling = Settling::from_now(self.clock);
        println!("corpus {}: {}", kind.name(), corpus.describe());
        self.records.tell(kind.name(), &format!("{}; {} rounds", corpus.describe(), self.options.rounds_of(kind)));
        if plan::wants_stages(self.options, kind) {
            self.stages(&corpus)?;
        }
        for place in &self.options.places {
            self.rounds(&corpus, *place, |turn, scratch, records| {
                steps::run_files(turn, scratch, &mut settling, records);
                Ok(())
            })?;
        }
        remove(&self.folder.join("corpus"))
    }

    /// Every tool's turns, each round beginning with another one.
    fn rounds(
        &mut self,
        corpus: &Corpus,
        place: Place,
        mut run: impl FnMut(&Turn<'_>, &Path, &mut Records) -> Result<(), String>,
    ) -> Result<(), String> {
        let rounds = self.options.rounds_of(corpus.kind);
        for round in 0..rounds {
            for seat in 0..self.tools.len() {
                let tool = &self.tools[(seat + round) % self.tools.len()];
                let steps = plan::steps(self.options, place, corpus.kind, tool.kind, round);
                let millions = corpus.files as u64 / 1_000_000;
                let is_left_out =
                    corpus.kind == CorpusKind::Growth && !plan::grows_with(tool.kind, millions, self.options);
                if steps.is_empty() || is_left_out {
                    continue;
                }
                self.turns += 1;
                let turn = Turn { tool, corpus, place, round, steps, number: self.turns };
                let scratch = self.scratch();
                let began = self.clock.monotonic();
                let outcome = run(&turn, &scratch, &mut self.records);
                remove(&scratch)?;
                let seconds = (self.clock.monotonic() - began).as_secs_f64();
                let (tool, corpus, place) = (tool.name(), corpus.kind.name(), place.name());
                println!("round {} of {rounds}: {tool} on {corpus} ({place}): {seconds:.0} s", round + 1);
                if let Err(why) = outcome {
                    println!("FAILED: {why}");
                    self.records.failures.push(format!("{tool} on {corpus} ({place}): {why}"));
                }
            }
        }
        Ok(())
    }

    fn stages(&mut self, corpus: &Corpus) -> Result<(), String> {
        println!("measuring the stages of {}", corpus.kind.name());
        // A tree is many different files: its first half says little about the other one.
        let sample = if corpus.kind == CorpusKind::Tree { u64::MAX } else { self.options.stage_mib * MIB };
        let name = corpus.kind.name().to_owned();
        let case = Case { place: Place::Local, corpus: name, tool: ToolKind::Triplicate, step: Step::Stages };
        stages::run(corpus, &case, &self.scratch(), sample, &mut self.records)
    }

    fn blobs(&mut self) -> Result<(), String> {
        let blobs = self.options.blobs;
        let packs = steps::BLOBS_PER_PACK;
        self.records.tell("BLOBS", &format!("{blobs} blobs in packs of {packs}, index files of 50000"));
        let corpus = Corpus { kind: CorpusKind::Blobs, folder: PathBuf::new(), files: 0, bytes: 0 };
        self.rounds(&corpus, Place::Local, |turn, scratch, records| {
            steps::run_index(turn, scratch, blobs, records)?;
            steps::run_prune(turn, scratch, blobs, records)
        })
    }

    fn growth(&mut self) -> Result<(), String> {
        let folder = self.options.growth_folder.as_deref().unwrap_or(self.folder).join("triplicate-bench-growth");
        remove(&folder)?;
        for millions in &self.options.growth {
            let beside = folder.parent().unwrap_or(self.folder);
            if let Some(why) = steps::does_not_fit(*millions, beside) {
                println!("left out: {why}");
                continue;
            }
            println!("making {millions} million files");
            let corpus = corpora::make_growth(&folder, millions * 1_000_000)?;
            let settling = Settling::from_now(self.clock);
            let outcome = self.rounds(&corpus, Place::Local, |turn, scratch, records| {
                steps::run_growth(turn, scratch, &settling, records)
            });
            remove(&folder)?;
            outcome?;
        }
        Ok(())
    }
}

fn remove(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove `{}`: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}
