//! `cargo xtask tally`: how many tests passed, failed, and skipped themselves, over several logs.
//!
//! A test that needs something the machine lacks returns early, and a test runner then counts it as passed. That
//! would be a lie, so such a test also adds a line to the file named by `TRIPLICATE_SKIPPED`, and this takes it out
//! of the passed ones and shows why it was skipped.

use std::fs;

/// What a log said.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count {
    passed: usize,
    failed: usize,
    skipped: usize,
}

/// Adds up `logs`, takes the tests listed in the file `skipped` out of the passed ones, prints the closing line.
pub(crate) fn run(skipped: &str, logs: &[&str]) -> Result<(), String> {
    let mut total = Count::default();
    for log in logs {
        let text = fs::read_to_string(log).map_err(|error| format!("cannot read `{log}`: {error}"))?;
        let count = count_of(&text).ok_or_else(|| format!("`{log}` holds no test results"))?;
        total.passed += count.passed;
        total.failed += count.failed;
        total.skipped += count.skipped;
    }
    // The file appears with the first skipped test.
    let reasons = fs::read_to_string(skipped).unwrap_or_default();
    let mut reasons: Vec<&str> = reasons.lines().filter(|line| !line.trim().is_empty()).collect();
    reasons.sort_unstable();
    for reason in &reasons {
        println!("skipped: {reason}");
    }
    total.passed = total.passed.checked_sub(reasons.len()).ok_or("more tests skipped themselves than passed")?;
    total.skipped += reasons.len();
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    if total.failed == 0 { Ok(()) } else { Err("some tests failed".to_owned()) }
}

/// Understands the closing lines of `cargo test` and of `cargo nextest run`; none when there is no such line.
fn count_of(log: &str) -> Option<Count> {
    let closing = log.lines().filter_map(|line| {
        let line = line.trim_start();
        let results = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")).map(|(_, rest)| rest);
        results
            .or_else(|| line.strip_prefix("Summary [").and_then(|rest| rest.split_once("run: ")).map(|(_, rest)| rest))
    });
    let counts: Vec<Count> = closing.map(count_in).collect();
    (!counts.is_empty()).then(|| {
        counts.into_iter().fold(Count::default(), |sum, count| Count {
            passed: sum.passed + count.passed,
            failed: sum.failed + count.failed,
            skipped: sum.skipped + count.skipped,
        })
    })
}

/// Reads `12 passed (1 slow), 2 failed, 1 timed out, 0 skipped`, with commas or semicolons.
fn count_in(results: &str) -> Count {
    let mut count = Count::default();
    for part in results.split([',', ';']) {
        let mut words = part.split_whitespace();
        let Some(number) = words.next().and_then(|word| word.parse::<usize>().ok()) else { continue };
        match words.next() {
            Some("passed") => count.passed += number,
            Some("failed" | "timed" | "exec") => count.failed += number,
            Some("ignored" | "skipped") => count.skipped += number,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(log: &str, passed: usize, failed: usize, skipped: usize) {
        assert_eq!(count_of(log), Some(Count { passed, failed, skipped }), "{log}");
    }

    #[test]
    fn both_runners_are_understood() {
        check("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.00s", 3, 0, 1);
        check("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out", 3, 2, 0);
        check("     Summary [   1.5s] 12 tests run: 9 passed (1 slow), 2 failed, 1 timed out, 3 skipped", 9, 3, 3);
    }

    #[test]
    fn several_results_in_one_log_are_added() {
        let line = "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
        check(&line.repeat(3), 6, 0, 0);
    }

    #[test]
    fn a_log_without_results_is_no_success() {
        assert_eq!(count_of("error: could not compile"), None);
    }
}
