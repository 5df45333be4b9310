//! `cargo xtask tally`: how many tests passed, failed, and skipped themselves, over several logs.
//!
//! A test that needs something the machine lacks returns early, and a test runner then counts it as passed. That
//! would be a lie, so such a test also adds a line to the file named by `TRIPLICATE_SKIPPED`, and this takes it out
//! of the passed ones and shows why it was skipped. This only counts: whoever ran the tests knows whether they failed.

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
    // A test may lack several things; it is one test all the same.
    let tests: std::collections::BTreeSet<&str> =
        reasons.iter().map(|reason| reason.split_once(": ").map_or(*reason, |(test, _)| test)).collect();
    total.passed = total.passed.checked_sub(tests.len()).ok_or("more tests skipped themselves than passed")?;
    total.skipped += tests.len();
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    Ok(())
}

/// Understands what `cargo test` and `cargo nextest run` say at the end; none when neither said anything.
///
/// nextest shows the whole output of a test that failed, and in it the closing line of that one test's own harness:
/// where there is a summary, the summary alone counts.
fn count_of(log: &str) -> Option<Count> {
    let summary =
        log.lines().filter_map(|line| line.trim_start().strip_prefix("Summary [")?.split_once("run: ")).next_back();
    if let Some((_, results)) = summary {
        return Some(count_in(results));
    }
    let closing = log.lines().filter_map(|line| line.strip_prefix("test result: ")?.split_once(". "));
    let counts: Vec<Count> = closing.map(|(_, results)| count_in(results)).collect();
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
    fn the_output_of_a_failed_test_is_not_counted_again() {
        let inner = "test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 34 filtered out\n";
        let log = format!("{inner}     Summary [   0.3s] 36 tests run: 35 passed, 1 failed, 0 skipped\n{inner}");
        check(&log, 35, 1, 0);
    }

    #[test]
    fn a_log_without_results_is_no_success() {
        assert_eq!(count_of("error: could not compile"), None);
    }
}
