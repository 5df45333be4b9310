//! Which of the tools are there: ours is built, the peers are those of `scripts/components`, borg is the system's.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{Tool, ToolKind};
use crate::bench::options::Options;

/// The tools that were asked for and are there. A tool that was named and is not there is an error; one that was
/// not named is left out with a line.
pub(in crate::bench) fn available(options: &Options) -> Result<Vec<Tool>, String> {
    let mut tools: Vec<Tool> = Vec::new();
    for kind in ToolKind::ALL {
        let wanted = options.tools.contains(&kind);
        if !wanted && !options.tools.is_empty() {
            continue;
        }
        match find(kind, &tools, options) {
            Ok(tool) => tools.push(tool),
            Err(why) if wanted || kind == ToolKind::Triplicate => return Err(why),
            Err(why) => println!("left out: {why}"),
        }
    }
    Ok(tools)
}

fn find(kind: ToolKind, found: &[Tool], options: &Options) -> Result<Tool, String> {
    let ours = || match (&options.binary, found.iter().find(|tool| tool.kind.is_ours())) {
        (_, Some(tool)) => Ok(tool.program.clone()),
        (Some(binary), None) => Ok(binary.clone()),
        (None, None) => release_build("triplicate"),
    };
    let program = match kind {
        ToolKind::Triplicate => ours()?,
        ToolKind::Fastest => {
            let program = ours()?;
            // A word that it does not know is refused before help is shown.
            if says(&program, &["backup", "--compression", "fastest", "--help"])?.is_empty() {
                return Err("fastest: this triplicate has no `--compression fastest`".to_owned());
            }
            program
        }
        ToolKind::Restic => component("RESTIC_BINARY", "restic/0.19/restic")?,
        ToolKind::Rustic => component("RUSTIC_BINARY", "rustic/bin/rustic")?,
        ToolKind::Rclone => {
            testkit::components::rclone().ok_or("rclone is not among the components; scripts/components installs it")?
        }
        ToolKind::Borg => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let mut candidates = std::env::split_paths(&path).map(|folder| folder.join("borg"));
            candidates.find(|program| program.is_file()).ok_or("borg is not installed (Debian: borgbackup)")?
        }
    };
    let word = if matches!(kind, ToolKind::Restic | ToolKind::Rclone) { "version" } else { "--version" };
    let version = says(&program, &[word])?.lines().next().unwrap_or_default().to_owned();
    if version.is_empty() {
        return Err(format!("`{} {word}` says nothing", kind.name()));
    }
    Ok(Tool { kind, program, version })
}

fn says(program: &PathBuf, words: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(words).output();
    let output = output.map_err(|error| format!("cannot run `{}`: {error}", program.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What `scripts/components` has installed, or what the environment names instead.
fn component(variable: &str, path: &str) -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os(variable) {
        return Ok(PathBuf::from(named));
    }
    let program = testkit::components::home().join(path);
    let hint = "scripts/components installs it";
    if program.exists() { Ok(program) } else { Err(format!("`{path}` is not among the components; {hint}")) }
}

/// Builds a program of this checkout for release and says where it is.
pub(in crate::bench) fn release_build(package: &str) -> Result<PathBuf, String> {
    println!("building `{package}` for release");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--package", package, "--message-format", "json-render-diagnostics"]);
    let root = crate::workspace::root()?;
    let output = command
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run `cargo build`: {error}"))?;
    if !output.status.success() {
        return Err(format!("the release build of `{package}` failed"));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut messages = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let program = messages.find_map(|message| {
        let is_ours = message["target"]["name"] == package;
        message["executable"].as_str().filter(|_| is_ours).map(PathBuf::from)
    });
    program.ok_or_else(|| format!("the release build made no `{package}`"))
}
