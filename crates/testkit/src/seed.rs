//! The one seed of a test run: `TRIPLICATE_SEED`, or a fresh one. It is printed, so that a failure can be repeated.

use std::io::Write;

/// The name of the variable that fixes the seed.
pub const SEED_VARIABLE: &str = "TRIPLICATE_SEED";

/// The seed for the test called `what`: the variable's number, or a fresh one; printed as `seed: N (what)`.
///
/// # Panics
/// When the variable holds something that is not a number: a run that ignores the wish to repeat would mislead.
pub fn seed(what: &str) -> u64 {
    let seed = match std::env::var(SEED_VARIABLE) {
        Ok(text) => text.trim().parse().unwrap_or_else(|_| panic!("{SEED_VARIABLE}=`{text}` is not a number")),
        Err(_) => fresh(),
    };
    say(&format!("seed: {seed} ({what}; {SEED_VARIABLE}={seed} repeats it)"));
    seed
}

/// 32 bits are plenty and short to type.
fn fresh() -> u64 {
    let mut bytes = [0; 4];
    if getrandom::fill(&mut bytes).is_err() {
        bytes = std::process::id().to_le_bytes();
    }
    u64::from(u32::from_le_bytes(bytes))
}

/// Says that the running test, or a part of it, cannot run here, so that it is not counted as passed: the test command
/// takes the tests in the file that `TRIPLICATE_SKIPPED` names out of the passed ones.
pub fn skip(reason: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    say(&format!("skipped: {test}: {reason}"));
    let Some(path) = std::env::var_os("TRIPLICATE_SKIPPED") else { return };
    // One write of one line: tests of several processes add to the file at the same time.
    let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
    let _ = file.and_then(|mut file| file.write_all(format!("{test}: {reason}\n").as_bytes()));
}

/// Writes one line past the capture of the test harness: a seed or a skipped test must be seen in a passing run too.
pub(crate) fn say(line: &str) {
    // Nobody can be told when standard error itself is gone.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
