//! The house's own tools: `cargo xtask tidy`, `cargo xtask tally`, `cargo xtask bench`, `cargo xtask fuzz`.
//!
//! What a compiler cannot refuse, `tidy` refuses: an import in the wrong direction, a room named `utils`, a licence
//! that would bind our users. `tally` adds up what the test runners printed. `bench` runs us beside restic and
//! rustic. `fuzz` throws what no server should say at every parser. None of this is part of the product; nothing in the product may depend on it.
#![allow(clippy::print_stdout, clippy::print_stderr)] // a program for developers: printing is its job

mod bench;
mod finding;
mod fuzz;
mod tally;
mod tidy;
mod workspace;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <command>

  tidy                      check the house rules that no compiler checks
  tally SKIPPED LOG...      add up the results in test logs; SKIPPED lists the tests that skipped themselves
  bench [options]           measure us beside restic and rustic; `bench --help` lists the options
  fuzz [options]            look for input that breaks a parser; `fuzz --help` lists the options";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["tidy"] => tidy::run(),
        ["tally", skipped, logs @ ..] => tally::run(skipped, logs),
        ["bench", options @ ..] => bench::run(options),
        ["fuzz", options @ ..] => fuzz::run(options),
        [bench::MEASURED, words @ ..] => return measured(words),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

/// The small process between the benchmark and what it measures; its exit code is that of what was measured.
fn measured(words: &[&str]) -> ExitCode {
    bench::run_measured(words).unwrap_or_else(|text| {
        eprintln!("{text}");
        ExitCode::FAILURE
    })
}
