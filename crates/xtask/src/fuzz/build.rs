//! The fuzz targets as programs: every crate in them with counters for libFuzzer.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::workspace;

/// What libFuzzer reads: a counter for each edge, where each is, and what is compared with what.
const FLAGS: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Builds all targets and gives the folder that they are in.
pub(super) fn build() -> Result<PathBuf, String> {
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let there = Command::new(&compiler).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        let compiler = compiler.to_string_lossy();
        return Err(format!("there is no C++ compiler `{compiler}`, which libFuzzer is built with\nhint: install g++"));
    }
    let root = workspace::root()?;
    let host = workspace::host_triple()?;
    let target_folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    // Beside the product's own: other flags, other objects.
    let target_folder = target_folder.join("fuzz");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--locked", "--bins", "--manifest-path"]).arg(root.join("fuzz/Cargo.toml"));
    // Naming the platform keeps the counters out of build scripts.
    command.args(["--target", &host, "--target-dir"]).arg(&target_folder);
    command.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}")).env_remove("RUSTFLAGS");
    let built = command.status().map_err(|error| format!("cannot run cargo: {error}"))?;
    if !built.success() {
        return Err("the fuzz targets cannot be built".to_owned());
    }
    Ok(target_folder.join(host).join("release"))
}
