//! The programs that are compared, and how each is asked for the same thing.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::options::Options;

const PASSWORD: &str = "bench";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ToolKind {
    Triplicate,
    Restic,
    Rustic,
}

/// A program that was found.
#[derive(Debug, Clone)]
pub(super) struct Tool {
    pub(super) kind: ToolKind,
    program: PathBuf,
    /// What it says about its version.
    pub(super) version: String,
}

/// Where one run keeps everything.
pub(super) struct Scratch<'a> {
    pub(super) folder: &'a Path,
}

impl Tool {
    pub(super) fn name(&self) -> &'static str {
        name(self.kind)
    }

    fn command(&self, scratch: &Scratch<'_>, repositories: &[PathBuf]) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().envs(std::env::vars_os().filter(|(name, _)| name == "PATH"));
        command.env("HOME", scratch.folder.join("home")).env("TMPDIR", scratch.folder.join("tmp"));
        command.env("XDG_CACHE_HOME", scratch.folder.join("cache"));
        command.env("RESTIC_PASSWORD", PASSWORD).env("RUSTIC_PASSWORD", PASSWORD);
        command.env("RESTIC_FROM_PASSWORD", PASSWORD);
        for repository in repositories {
            command.arg("-r").arg(repository);
        }
        match self.kind {
            ToolKind::Rustic => command.args(["--no-progress", "--log-level", "warn"]),
            ToolKind::Restic | ToolKind::Triplicate => command.arg("--quiet"),
        };
        command
    }

    pub(super) fn init(&self, scratch: &Scratch<'_>, repositories: &[PathBuf]) -> Command {
        let mut command = self.command(scratch, repositories);
        command.arg("init");
        command
    }

    pub(super) fn backup(&self, scratch: &Scratch<'_>, repositories: &[PathBuf], corpus: &Path) -> Command {
        let mut command = self.command(scratch, repositories);
        command.arg("backup").arg(corpus);
        command
    }

    pub(super) fn restore(&self, scratch: &Scratch<'_>, repository: &Path, target: &Path) -> Command {
        let mut command = self.command(scratch, &[repository.to_path_buf()]);
        command.args(["restore", "latest"]);
        match self.kind {
            ToolKind::Rustic => command.arg(target),
            ToolKind::Restic | ToolKind::Triplicate => command.arg("--target").arg(target),
        };
        command
    }

    pub(super) fn check(&self, scratch: &Scratch<'_>, repository: &Path) -> Command {
        let mut command = self.command(scratch, &[repository.to_path_buf()]);
        command.args(["check", "--read-data"]);
        command
    }

    /// `restic copy`, which decrypts and encrypts again: the other way to a second repository.
    pub(super) fn copy(&self, scratch: &Scratch<'_>, from: &Path, to: &Path) -> Option<[Command; 2]> {
        if self.kind != ToolKind::Restic {
            return None;
        }
        let mut init = self.command(scratch, &[to.to_path_buf()]);
        init.args(["init", "--copy-chunker-params", "--from-repo"]).arg(from);
        let mut copy = self.command(scratch, &[to.to_path_buf()]);
        copy.args(["copy", "--from-repo"]).arg(from);
        Some([init, copy])
    }
}

fn name(kind: ToolKind) -> &'static str {
    match kind {
        ToolKind::Triplicate => "triplicate",
        ToolKind::Restic => "restic",
        ToolKind::Rustic => "rustic",
    }
}

/// The tools that were asked for and are there. A tool that was named and is not there is an error; one that was
/// not named is left out with a line.
pub(super) fn available(options: &Options) -> Result<Vec<Tool>, String> {
    let mut tools = Vec::new();
    for kind in [ToolKind::Triplicate, ToolKind::Restic, ToolKind::Rustic] {
        let wanted = options.tools.iter().any(|tool| tool == name(kind));
        if !wanted && !options.tools.is_empty() {
            continue;
        }
        match find(kind, options) {
            Ok(tool) => tools.push(tool),
            Err(why) if wanted || kind == ToolKind::Triplicate => return Err(why),
            Err(why) => println!("left out: {why}"),
        }
    }
    let known = |tool: &String| tools.iter().any(|found| found.name() == tool);
    match options.tools.iter().find(|tool| !known(tool)) {
        Some(unknown) => Err(format!("`{unknown}` is no tool: triplicate, restic or rustic")),
        None => Ok(tools),
    }
}

fn find(kind: ToolKind, options: &Options) -> Result<Tool, String> {
    let program = match kind {
        ToolKind::Triplicate => match &options.binary {
            Some(binary) => binary.clone(),
            None => build()?,
        },
        ToolKind::Restic => component("RESTIC_BINARY", "restic/0.19/restic")?,
        ToolKind::Rustic => component("RUSTIC_BINARY", "rustic/bin/rustic")?,
    };
    let word = if kind == ToolKind::Restic { "version" } else { "--version" };
    let output = Command::new(&program)
        .arg(word)
        .output()
        .map_err(|error| format!("cannot run {} as `{}`: {error}", name(kind), program.display()))?;
    let version = String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned();
    if version.is_empty() {
        return Err(format!("`{} {word}` says nothing", name(kind)));
    }
    Ok(Tool { kind, program, version })
}

/// What `scripts/components` has installed, or what the environment names instead.
fn component(variable: &str, path: &str) -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os(variable) {
        return Ok(PathBuf::from(named));
    }
    let from = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let components = from("TRIPLICATE_COMPONENTS").or_else(|| {
        let cache = from("XDG_CACHE_HOME").or_else(|| from("HOME").map(|home| home.join(".cache")));
        cache.map(|cache| cache.join("triplicate/components"))
    });
    let program = components.ok_or("no cache folder is known")?.join(path);
    let hint = "scripts/components installs it";
    if program.exists() { Ok(program) } else { Err(format!("`{path}` is not among the components; {hint}")) }
}

/// Builds this checkout's release binary and says where it is.
fn build() -> Result<PathBuf, String> {
    println!("building the release binary");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--package", "triplicate", "--message-format", "json-render-diagnostics"]);
    let root = crate::workspace::root()?;
    let output = command
        .current_dir(root)
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run `cargo build`: {error}"))?;
    if !output.status.success() {
        return Err("the release build failed".to_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut messages = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let program = messages.find_map(|message| {
        let is_ours = message["target"]["name"] == "triplicate";
        message["executable"].as_str().filter(|_| is_ours).map(PathBuf::from)
    });
    program.ok_or_else(|| "the release build made no program".to_owned())
}
