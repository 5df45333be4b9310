//! A room with two copies of a repository, a home, and a source that has changed twice; what was acknowledged in it;
//! and its judges.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use tempfile::TempDir;
use testkit::process::{Ended, run};
use testkit::traced::Traced;
use testkit::{Manifest, Oracle, manifest};

pub const PASSWORD: &str = "correct horse battery staple";
pub const OTHER_PASSWORD: &str = "an other battery";
/// Both copies, for the command line.
pub const BOTH: [&str; 4] = ["-r", "1", "-r", "2"];

/// No call of the program may take longer.
const CALL_LIMIT: Duration = Duration::from_secs(300);
/// Past this a temporary file belongs to nobody: the product's own figure is a day.
const LEFTOVER_AGE_SECONDS: i64 = 2 * 24 * 3600;

pub struct Room {
    scratch: TempDir,
    /// What the source looked like at each backup.
    pub sources: Vec<(String, Manifest)>,
}

impl Room {
    /// An empty room, and a source.
    pub fn new() -> Self {
        let scratch = tempfile::Builder::new().prefix("triplicate-power-").tempdir().unwrap();
        let room = Self { scratch, sources: Vec::new() };
        fs::create_dir_all(room.path("home")).unwrap();
        fs::create_dir(room.beside("source")).unwrap();
        fs::write(room.beside("other-password"), OTHER_PASSWORD).unwrap();
        room
    }

    /// The folder that the program works in.
    pub fn folder(&self) -> PathBuf {
        self.scratch.path().join("room")
    }

    /// Something in the room.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Something that no fault touches.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    pub fn source(&self) -> String {
        text(&self.beside("source"))
    }

    /// Changes the source: some new files, one that grew, one that went.
    pub fn change_source(&self, seed: u64) {
        let source = self.beside("source");
        testkit::corpus::tree(&source.join(format!("tree-{seed}")), 12, 20_000, seed).unwrap();
        testkit::corpus::random_file(&source.join("large"), 300_000, seed).unwrap();
        let _ = fs::remove_dir_all(source.join(format!("tree-{}", seed.wrapping_sub(2))));
    }

    /// The program, in the room.
    pub fn command(&self, words: &[&str]) -> Command {
        self.command_with(PASSWORD, words)
    }

    pub fn command_with(&self, password: &str, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_triplicate"));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if ["RESTIC_", "AWS_", "XDG_"].iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command.args(words).current_dir(self.folder());
        command.env("HOME", self.path("home")).env("RESTIC_PASSWORD", password).env("TZ", "UTC");
        command
    }

    pub fn call(&self, words: &[&str]) -> Ended {
        run(&mut self.command(words), CALL_LIMIT).unwrap()
    }

    pub fn call_with(&self, password: &str, words: &[&str]) -> Ended {
        run(&mut self.command_with(password, words), CALL_LIMIT).unwrap()
    }

    /// The program on both copies.
    pub fn both<'a>(&self, words: &[&'a str]) -> Vec<&'a str> {
        BOTH.into_iter().chain(words.iter().copied()).collect()
    }

    #[track_caller]
    pub fn ok(&self, words: &[&str]) -> Ended {
        self.call(words).expect_code(0)
    }

    /// The program, traced; everything in the room is looked at.
    pub fn traced(&self, words: &[&str]) -> Traced {
        self.traced_below(words, &[""])
    }

    pub fn traced_below(&self, words: &[&str], below: &[&str]) -> Traced {
        let below: Vec<PathBuf> = below.iter().map(|name| self.path(name)).collect();
        let below: Vec<&Path> = below.iter().map(PathBuf::as_path).collect();
        Traced::new(self.command(words), &below)
    }

    /// A backup with a tag, on these copies, that must succeed; the source is remembered under the tag.
    pub fn backup(&mut self, copies: &[&str], tag: &str) {
        let mut words = copies.to_vec();
        let source = self.source();
        words.extend(["backup", "--tag", tag, &source]);
        self.ok(&words);
        self.remember(tag);
    }

    pub fn remember(&mut self, tag: &str) {
        self.sources.push((tag.to_owned(), manifest(self.beside("source")).unwrap()));
    }

    /// Turns one byte of a pack of the copy.
    pub fn damage(&self, copy: &str) {
        let ended = run(&mut self.damaging(copy), CALL_LIMIT).unwrap();
        assert_eq!(ended.code, Some(0), "{}", ended.errors);
    }

    /// The command that does it, so that it can be recorded.
    pub fn damaging(&self, copy: &str) -> Command {
        let mut command = Command::new("sh");
        let script = "set -- \"$1\"/data/*/*; chmod u+w \"$1\"; \
                      printf x | dd of=\"$1\" bs=1 seek=100 conv=notrunc,fsync status=none";
        command.arg("-c").arg(script).arg("damage").arg(copy).current_dir(self.folder());
        command
    }

    /// Keeps the room as it is, under a name.
    pub fn keep(&self, name: &str) {
        copy_folder(&self.folder(), &self.beside("kept").join(name));
    }

    /// Makes the room as it was kept.
    pub fn bring_back(&self, name: &str) {
        self.clear();
        copy_folder(&self.beside("kept").join(name), &self.folder());
    }

    pub fn clear(&self) {
        if self.folder().exists() {
            fs::remove_dir_all(self.folder()).unwrap();
        }
    }

    /// restic on one copy.
    pub fn restic(&self, copy: &str, password: &str) -> Option<Oracle> {
        Oracle::restic("0.19", &text(&self.path(copy)), password)
    }

    /// restic finds nothing wrong with the copy, past any lock of somebody who is dead.
    #[track_caller]
    pub fn assert_sound(&self, copy: &str, password: &str, when: &str) {
        let Some(restic) = self.restic(copy, password) else { return };
        let ended = restic.call(&["check", "--no-lock"]).unwrap();
        assert_eq!(ended.code, Some(0), "{when}: restic check of copy {copy}:\n{}\n{}", ended.text(), ended.errors);
    }

    /// The snapshot with this tag restores from one copy as it was.
    #[track_caller]
    pub fn assert_restores(&self, copy: &str, tag: &str, password: &str, when: &str) {
        let expected = &self.sources.iter().find(|(name, _)| name == tag).unwrap().1;
        let scratch = self.beside("restored");
        let words = ["-r", copy, "restore", "latest", "--tag", tag, "--target", scratch.to_str().unwrap()];
        let ended = self.call_with(password, &words);
        assert_eq!(ended.code, Some(0), "{when}: restore of `{tag}` from {copy}: {}", ended.errors);
        let restored = manifest(&scratch).unwrap().below(&self.beside("source"));
        let differences = Manifest::difference(expected, &restored);
        assert!(differences.is_empty(), "{when}: `{tag}` from copy {copy}: {differences:#?}");
        fs::remove_dir_all(&scratch).unwrap();
    }

    /// Temporary files, wherever they are in the room.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut open = vec![self.folder()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten() {
                let entry = entry.unwrap();
                let name = entry.file_name().to_string_lossy().into_owned();
                if entry.file_type().unwrap().is_dir() {
                    open.push(entry.path());
                } else if name.contains("-tmp-") || name.starts_with(".draft-") {
                    found.push(entry.path());
                }
            }
        }
        found
    }

    /// Makes temporary files look as if they had lain there for days.
    pub fn age(&self, leftovers: &[PathBuf]) {
        for path in leftovers {
            let modified = fs::metadata(path).unwrap().mtime() - LEFTOVER_AGE_SECONDS;
            let time = Timespec { tv_sec: modified, tv_nsec: 0 };
            let times = Timestamps { last_access: time, last_modification: time };
            utimensat(CWD, path, &times, AtFlags::empty()).unwrap();
        }
    }
}

pub fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Copies plain files and folders.
fn copy_folder(from: &Path, onto: &Path) {
    fs::create_dir_all(onto).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = onto.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}
