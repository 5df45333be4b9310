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

/// Writes one line past the capture of the test harness: a seed or a skipped test must be seen in a passing run too.
pub(crate) fn say(line: &str) {
    // Nobody can be told when standard error itself is gone.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
