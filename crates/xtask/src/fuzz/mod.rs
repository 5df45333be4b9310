//! `cargo xtask fuzz`: builds the fuzz targets on the compiler of this house, proves that they find anything at all, and
//! runs them.
//!
//! libFuzzer finds its way by counters that the compiler puts into the code, and asks for nothing that a stable compiler
//! does not have; a C++ compiler builds the fuzzer itself. What it learns is kept outside the checkout, in the user's
//! cache folder, so that each run begins where the last one ended. The canary comes first: a rig that does not find the
//! bug that was put there on purpose would say "no finding" about everything.

mod build;
mod options;
mod seeds;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clock::{Clock, SystemClock};

use options::{Budget, Options};

/// Every target but the canary.
const TARGETS: [&str; 17] = [
    "azure_listing",
    "b2_listing",
    "config",
    "ftps_listing",
    "gs_listing",
    "index",
    "key_file",
    "lock",
    "names",
    "pack_header",
    "patterns",
    "rest_listing",
    "s3_listing",
    "scrypt",
    "snapshot",
    "tree",
    "zstd_blob",
];
const CANARY: &str = "canary";
/// What the canary says when it is found.
const CANARY_WORDS: &str = "found: the rig works";
/// Many times what the canary takes.
const CANARY_SECONDS_MAX: u64 = 120;
/// One input that takes longer is a finding: a hostile file must not hold anybody up.
const INPUT_SECONDS_MAX: u64 = 20;
/// A target that takes more memory is a finding. scrypt's own limit is half of it.
const MEMORY_MIB_MAX: u64 = 2048;
/// How much of a log is shown for a finding.
const LOG_LINES_SHOWN: usize = 30;

/// How a target's run ended.
struct Outcome {
    target: &'static str,
    executions: u64,
    seconds: f64,
    /// Counters that were reached.
    covered: u64,
    /// The end of the log, when something was found.
    finding: Option<String>,
}

/// Builds, finds the canary, runs.
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    if words.contains(&"--help") {
        println!("{}", options::HELP);
        return Ok(());
    }
    let options = Options::parse(words, &TARGETS)?;
    let programs = build::build()?;
    let place = place()?;
    println!("what it learns is kept in {}", place.display());
    find_canary(&programs, options.seed)?;
    for target in &options.targets {
        seeds::plant(target, &folder(&place, target, "corpus")?)?;
    }
    let outcomes = run_all(&options, &programs, &place)?;
    let mut total = 0;
    println!("\n{:<14}{:>12}{:>10}{:>10}  ", "target", "executions", "seconds", "covered");
    for outcome in &outcomes {
        total += outcome.executions;
        let verdict = if outcome.finding.is_some() { "FOUND" } else { "ok" };
        let Outcome { target, executions, seconds, covered, .. } = outcome;
        println!("{target:<14}{executions:>12}{seconds:>10.1}{covered:>10}  {verdict}");
    }
    let findings = outcomes.iter().filter_map(|outcome| outcome.finding.as_ref().map(|log| (outcome.target, log)));
    let findings: Vec<_> = findings.collect();
    println!(
        "fuzzing: {total} executions of {} targets, {} findings; the canary was found",
        outcomes.len(),
        findings.len()
    );
    for (target, log) in &findings {
        println!("\n{target}:\n{log}");
    }
    match findings.len() {
        0 => Ok(()),
        number => Err(format!("{number} targets found something; the inputs are in {}", place.display())),
    }
}

/// Where corpora and findings are.
fn place() -> Result<PathBuf, String> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    cache.map(|cache| cache.join("triplicate/fuzz")).ok_or_else(|| "there is no `HOME` to keep corpora in".to_owned())
}

fn folder(place: &Path, target: &str, name: &str) -> Result<PathBuf, String> {
    let folder = place.join(target).join(name);
    fs::create_dir_all(&folder).map_err(|error| format!("cannot make `{}`: {error}", folder.display()))?;
    Ok(folder)
}

/// The canary must be found from nothing, each time.
fn find_canary(programs: &Path, seed: u64) -> Result<(), String> {
    let nest = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let log = nest.path().join("log");
    let limits = [format!("-max_total_time={CANARY_SECONDS_MAX}"), format!("-seed={}", libfuzzer_seed(seed))];
    let ended = fuzzer(programs, CANARY, nest.path(), &log)?.args(limits).status();
    let ended = ended.map_err(|error| format!("cannot start the canary: {error}"))?;
    let said = read_log(&log);
    if ended.success() || !said.contains(CANARY_WORDS) {
        return Err(format!("the canary was not found, so nothing else would be:\n{}", last_lines(&said)));
    }
    println!("the canary was found after {} executions", executions_in(&said));
    Ok(())
}

fn run_all(options: &Options, programs: &Path, place: &Path) -> Result<Vec<Outcome>, String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(options.targets.len());
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(target) = options.targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = run_one(options, target, threads, programs, place);
                    let mut outcomes = outcomes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    outcomes.push(outcome);
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut outcomes = outcomes.into_iter().collect::<Result<Vec<_>, _>>()?;
    outcomes.sort_by_key(|outcome| outcome.target);
    Ok(outcomes)
}

fn run_one(
    options: &Options,
    target: &'static str,
    threads: usize,
    programs: &Path,
    place: &Path,
) -> Result<Outcome, String> {
    let corpus = folder(place, target, "corpus")?;
    let artifacts = folder(place, target, "findings")?;
    let log = place.join(target).join("log");
    let clock = SystemClock::new();
    let begun = clock.monotonic();
    let mut command = fuzzer(programs, target, &artifacts, &log)?;
    command.arg(match options.budget {
        Budget::Executions(all) => format!("-runs={}", all.div_ceil(options.targets.len() as u64)),
        Budget::Seconds(all) => {
            let share = Duration::from_secs(all) * u32::try_from(threads).unwrap_or(1);
            format!("-max_total_time={}", (share.as_secs() / options.targets.len() as u64).max(1))
        }
    });
    command.arg(format!("-seed={}", libfuzzer_seed(options.seed))).arg(&corpus);
    let ended = command.status().map_err(|error| format!("cannot start `{target}`: {error}"))?;
    let said = read_log(&log);
    let executions = executions_in(&said);
    let finding = (!ended.success() || executions == 0).then(|| last_lines(&said));
    let seconds = (clock.monotonic() - begun).as_secs_f64();
    Ok(Outcome { target, executions, seconds, covered: covered_in(&said), finding })
}

fn fuzzer(programs: &Path, target: &str, artifacts: &Path, log: &Path) -> Result<Command, String> {
    let log = File::create(log).map_err(|error| format!("cannot write `{}`: {error}", log.display()))?;
    let mut command = Command::new(programs.join(target));
    command.arg("-print_final_stats=1").arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.arg(format!("-timeout={INPUT_SECONDS_MAX}")).arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    Ok(command)
}

/// 32 bits, and 0 would mean a seed of its own choice.
fn libfuzzer_seed(seed: u64) -> u64 {
    (seed & u64::from(u32::MAX)).max(1)
}

fn read_log(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines.get(lines.len().saturating_sub(LOG_LINES_SHOWN)..).unwrap_or_default().join("\n")
}

/// The sum at the end of a run that ended by itself; the number of the last line with one otherwise.
fn executions_in(log: &str) -> u64 {
    let sum = log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:")?.trim().parse().ok());
    let mut numbers =
        log.lines().filter_map(|line| line.strip_prefix('#')?.split_ascii_whitespace().next()?.parse().ok());
    sum.or_else(|| numbers.next_back()).unwrap_or(0)
}

fn covered_in(log: &str) -> u64 {
    let words = |line: &str| line.split_once("cov: ")?.1.split(' ').next()?.parse().ok();
    log.lines().filter_map(words).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_of_the_folder_is_run() {
        let root = crate::workspace::root().unwrap_or_default();
        let files = fs::read_dir(root.join("fuzz/fuzz_targets")).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            files.map(|file| file.file_name().to_string_lossy().trim_end_matches(".rs").to_owned()).collect();
        names.sort();
        names.retain(|name| name != CANARY);
        assert_eq!(names, TARGETS);
    }

    #[test]
    fn the_fuzzers_words_are_read() {
        let log =
            "#2\tINITED cov: 12 ft: 12\n#512\tNEW    cov: 40 ft: 50 corp: 3/9b\nstat::number_of_executed_units: 9000\n";
        assert_eq!((executions_in(log), covered_in(log)), (9000, 40));
        assert_eq!(executions_in("#2\tINITED cov: 1\n#77\tNEW cov: 2\npanicked"), 77);
        assert_eq!(executions_in("cannot start"), 0);
    }
}
