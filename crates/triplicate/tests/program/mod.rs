//! The program under test, in an environment of its own, and what it said.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, missing_docs, unreachable_pub)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use testkit::process::{Ended, run};

pub const PASSWORD: &str = "correct horse battery staple";

/// No call of the program may take longer.
pub const CALL_LIMIT: Duration = Duration::from_secs(300);

/// A folder with a home, a source and room for copies.
pub struct Ground {
    pub scratch: TempDir,
}

impl Ground {
    pub fn new() -> Self {
        let scratch = tempfile::Builder::new().prefix("triplicate-cli-").tempdir().unwrap();
        std::fs::create_dir_all(scratch.path().join("home")).unwrap();
        let source = scratch.path().join("source");
        std::fs::create_dir_all(source.join("folder")).unwrap();
        std::fs::write(source.join("file"), "content").unwrap();
        std::fs::write(source.join("folder/second"), "more content").unwrap();
        std::os::unix::fs::symlink("file", source.join("link")).unwrap();
        Self { scratch }
    }

    /// The same with a repository of so many copies, named `1`, `2`, ...
    pub fn with_copies(copies: usize) -> Self {
        let ground = Self::new();
        ground.on(copies, &["init"]).expect_code(0);
        ground
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    pub fn source(&self) -> String {
        text(&self.path("source"))
    }

    /// The program, called with these words.
    pub fn command(&self, words: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_triplicate")), words)
    }

    /// Another program in the same environment.
    pub fn command_of(&self, program: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if ["RESTIC_", "AWS_", "XDG_"].iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command.args(words).current_dir(self.scratch.path());
        command.env("HOME", self.path("home")).env("RESTIC_PASSWORD", PASSWORD).env("TZ", "UTC");
        command
    }

    pub fn call(&self, words: &[&str]) -> Ended {
        run(&mut self.command(words), CALL_LIMIT).unwrap()
    }

    /// Calls it with `-r` for each of the first copies.
    pub fn on(&self, copies: usize, words: &[&str]) -> Ended {
        let names: Vec<String> = (1..=copies).map(|number| number.to_string()).collect();
        let mut all: Vec<&str> = names.iter().flat_map(|name| ["-r", name.as_str()]).collect();
        all.extend(words);
        self.call(&all)
    }

    /// How many snapshots the first copy has.
    pub fn snapshots(&self) -> usize {
        std::fs::read_dir(self.path("1/snapshots")).unwrap().count()
    }

    /// Everything below the scratch folder, with contents, to see that nothing was made or changed.
    pub fn everything(&self) -> testkit::Manifest {
        testkit::manifest(self.scratch.path()).unwrap()
    }

    /// Checks that nothing was made or changed since `before`; times of folders may, where a lock came and went.
    pub fn assert_untouched(&self, before: &testkit::Manifest) {
        let changes = testkit::Manifest::difference_except(before, &self.everything(), &[testkit::Aspect::FolderTime]);
        assert!(changes.is_empty(), "{changes:#?}");
    }
}

pub fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// An address of the REST kind at which nobody listens.
pub fn deaf_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("rest:http://127.0.0.1:{}/", listener.local_addr().unwrap().port())
}
