//! restic's binaries and how they are called: with an empty environment, so that nothing of this machine leaks in.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(crate) const PASSWORD: &str = "pass word";

/// The versions that are tested against: the oldest supported, one in between, the newest.
pub(crate) const VERSIONS: [&str; 3] = ["0.14", "0.18", "0.19"];

fn components() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("TRIPLICATE_COMPONENTS").unwrap_or_else(|| {
        let cache = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
        cache.unwrap_or_default().join("triplicate/components")
    })
}

/// The binary of a version; none, with a line printed, when it is not installed.
pub(crate) fn restic(version: &str) -> Option<PathBuf> {
    let path = components().join("restic").join(version).join("restic");
    let is_there = path.is_file();
    if !is_there {
        eprintln!("skipped: restic {version} is not installed (scripts/components)");
    }
    is_there.then_some(path)
}

/// A repository in a local folder and the binary that works on it.
pub(crate) struct Restic {
    pub(crate) binary: PathBuf,
    pub(crate) repository: PathBuf,
    pub(crate) zone: &'static str,
}

impl Restic {
    pub(crate) fn run(&self, working_folder: &Path, arguments: &[&str]) -> Output {
        Command::new(&self.binary)
            .env_clear()
            .env("RESTIC_PASSWORD", PASSWORD)
            .env("TZ", self.zone)
            .env("HOME", &self.repository)
            .current_dir(working_folder)
            .args(["--no-cache", "--quiet", "-r"])
            .arg(&self.repository)
            .args(arguments)
            .output()
            .unwrap()
    }

    pub(crate) fn succeed(&self, working_folder: &Path, arguments: &[&str]) -> Vec<u8> {
        let output = self.run(working_folder, arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "restic {arguments:?} failed: {said}");
        output.stdout
    }
}
