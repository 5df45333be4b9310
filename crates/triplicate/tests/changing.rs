//! Files that change while they are backed up: the program is stopped in the middle of reading one, the file is
//! changed, and the program goes on. Whatever it read then is a state, is named, and ends with 3.
//!
//! `TRIPLICATE_ROUNDS` says how often each change is tried at another place of the file. Writing through a memory map is
//! not among them: the system need not touch any time of the file then, and no reader can know.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod stage;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use stage::Stage;
use testkit::process::{is_running, signal, wait_until};
use testkit::{Random, corpus, seed};

/// Large enough that reading it takes several windows; small enough for many rounds.
const FILE_BYTES: u64 = 40 << 20;

/// How often each change is tried when nobody says otherwise.
const ROUNDS: u64 = 2;

const CALL_LIMIT: Duration = Duration::from_secs(120);

/// How often a backup is started again because it had read the file before it could be stopped.
const TRIES_MAX: u32 = 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Append,
    TruncateBefore,
    TruncateBehind,
    RewriteAll,
    RewriteSomeAndSetTimeBack,
    RenameOver,
    RenameAway,
    Delete,
    LoseRights,
    BecomeFolder,
}

const CHANGES: [Change; 10] = [
    Change::Append,
    Change::TruncateBefore,
    Change::TruncateBehind,
    Change::RewriteAll,
    Change::RewriteSomeAndSetTimeBack,
    Change::RenameOver,
    Change::RenameAway,
    Change::Delete,
    Change::LoseRights,
    Change::BecomeFolder,
];

/// A program that stands still in the middle of reading a file.
struct Stopped {
    child: Child,
    /// How many bytes of the file it has read.
    position: u64,
}

impl Stopped {
    /// Starts a backup and stops it when it has read `wanted` bytes of `file` and not all of it.
    fn reading(stage: &Stage, file: &Path, wanted: u64) -> Self {
        for _ in 0..TRIES_MAX {
            let mut command = stage.command();
            command.args(["backup", "--json", "--force", "--read-concurrency", "1", "source"]);
            let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let pid = child.id();
            let mut found = None;
            let size = fs::metadata(file).unwrap().len();
            let reached = wait_until_fast(|| {
                found = found.take().or_else(|| descriptor_of(pid, file));
                let position = found.as_ref().and_then(|number| position_of(pid, number));
                position.is_some_and(|position| position >= wanted) || child.try_wait().unwrap().is_some()
            });
            assert!(reached, "the backup reads nothing");
            signal(pid, Signal::STOP);
            let stands = wait_until(CALL_LIMIT, || !is_running(pid) || state_of(pid) == Some(b'T'));
            assert!(stands);
            let position = found.as_ref().and_then(|number| position_of(pid, number));
            match position.filter(|position| *position < size) {
                Some(position) => return Self { child, position },
                None => {
                    signal(pid, Signal::CONT);
                    child.wait_with_output().unwrap();
                }
            }
        }
        panic!("in {TRIES_MAX} tries the backup could not be stopped in the middle of {}", file.display());
    }

    /// Lets it go on to its end: exit code, what it named, and the summary.
    fn go_on(self) -> (Option<i32>, Vec<(String, String)>, Value) {
        signal(self.child.id(), Signal::CONT);
        let ended = self.child.wait_with_output().unwrap();
        let errors = String::from_utf8(ended.stderr).unwrap();
        let lines = errors.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let named = lines.filter(|line| line["message_type"] == "error");
        let named = named.map(|line| (text(&line["item"]), text(&line["kind"]))).collect();
        let output = String::from_utf8(ended.stdout).unwrap();
        let summary = output.lines().last().map(|line| serde_json::from_str(line).unwrap()).unwrap_or_default();
        (ended.status.code(), named, summary)
    }
}

/// As `wait_until`, without a pause between two looks: the moment to be caught is short.
fn wait_until_fast(mut condition: impl FnMut() -> bool) -> bool {
    (0..u32::MAX).any(|_| condition())
}

/// The number under which a process has a file open.
fn descriptor_of(pid: u32, file: &Path) -> Option<String> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let mut here = open.filter(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == file));
    here.next().map(|entry| entry.file_name().into_string().unwrap())
}

/// How far a process has read in an open file.
fn position_of(pid: u32, number: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("pos:"))?.trim().parse().ok()
}

fn state_of(pid: u32) -> Option<u8> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    text.iter().rposition(|byte| *byte == b')').and_then(|at| text.get(at + 2)).copied()
}

fn noise(bytes: u64, seed: u64) -> Vec<u8> {
    Random::new(seed).bytes(usize::try_from(bytes).unwrap())
}

/// Changes the file; gives the bytes that are under its name afterwards, if it is a file then.
fn apply(change: Change, file: &Path, old: &[u8], position: u64, random: &mut Random) -> Option<Vec<u8>> {
    let aside = file.with_file_name("aside");
    let cut = |length: u64| {
        OpenOptions::new().write(true).open(file).unwrap().set_len(length).unwrap();
        Some(old[..length as usize].to_vec())
    };
    match change {
        Change::Append => {
            let more = noise(1 + random.below(3 << 20), random.number());
            OpenOptions::new().append(true).open(file).unwrap().write_all(&more).unwrap();
            Some([old, &more].concat())
        }
        Change::TruncateBefore => cut(random.below(position)),
        Change::TruncateBehind => cut(position + random.below(old.len() as u64 - position)),
        Change::RewriteAll => {
            let new = noise(old.len() as u64, random.number());
            OpenOptions::new().write(true).open(file).unwrap().write_all_at(&new, 0).unwrap();
            Some(new)
        }
        Change::RewriteSomeAndSetTimeBack => {
            let mut new = old.to_vec();
            let modified = fs::metadata(file).unwrap().modified().unwrap();
            let open = OpenOptions::new().write(true).open(file).unwrap();
            // On both sides of where the reader is, so that what it reads was never in the file.
            for start in [random.below(position), position + random.below(old.len() as u64 - position)] {
                let piece = noise(4096.min(old.len() as u64 - start), random.number());
                open.write_all_at(&piece, start).unwrap();
                new[start as usize..start as usize + piece.len()].copy_from_slice(&piece);
            }
            open.set_modified(modified).unwrap();
            Some(new)
        }
        Change::RenameOver => {
            let new = noise(1 << 20, random.number());
            fs::write(&aside, &new).unwrap();
            fs::rename(&aside, file).unwrap();
            Some(new)
        }
        Change::RenameAway => {
            fs::rename(file, &aside).unwrap();
            None
        }
        Change::Delete => {
            fs::remove_file(file).unwrap();
            None
        }
        Change::LoseRights => {
            fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
            Some(old.to_vec())
        }
        Change::BecomeFolder => {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
            fs::write(file.join("inside"), "a file in what was a file").unwrap();
            None
        }
    }
}

/// What was stored must be the file as it was up to where the change came, and as it is now behind that.
#[track_caller]
fn assert_a_state(stored: &[u8], old: &[u8], new: &[u8], position: u64, what: &str) {
    let same = |left: &[u8], right: &[u8]| left.iter().zip(right).take_while(|(left, right)| left == right).count();
    let from_old = same(stored, old);
    assert!(from_old as u64 >= position.min(stored.len() as u64), "{what}: wrong byte {from_old} before the change");
    let rest = stored.get(position as usize..).unwrap_or_default();
    let is_new = new.get(position as usize..).unwrap_or_default() == rest;
    let is_old = old.get(position as usize..).unwrap_or_default() == rest;
    assert!(is_new || is_old, "{what}: {} bytes that are of no state", stored.len());
}

fn rounds() -> u64 {
    std::env::var("TRIPLICATE_ROUNDS").ok().map_or(ROUNDS, |text| text.parse().unwrap())
}

fn clear(folder: &Path) {
    if folder.exists() {
        fs::remove_dir_all(folder).unwrap();
    }
    fs::create_dir(folder).unwrap();
}

#[test]
fn a_file_that_changes_under_the_reader_is_a_state_and_is_named() {
    let mut random = Random::new(seed("files that change while they are read"));
    let stage = Stage::small();
    stage.init();
    let source = stage.path("source");
    let file = source.join("changing");
    let old = noise(FILE_BYTES, random.number());
    for round in 0..rounds() {
        for change in CHANGES {
            clear(&source);
            fs::write(source.join("still"), "always the same").unwrap();
            fs::write(&file, &old).unwrap();
            let wanted = 1 + random.below(FILE_BYTES / 2);
            let stopped = Stopped::reading(&stage, &file, wanted);
            let position = stopped.position;
            let new = apply(change, &file, &old, position, &mut random);
            let (code, named, summary) = stopped.go_on();
            let what = format!("{change:?} at {position} in round {round}");
            assert_eq!(code, Some(3), "{what}: {named:?} {summary:#}");
            let path = file.to_str().unwrap().to_owned();
            assert_eq!(named, [(path, "changed while it was read".to_owned())], "{what}");
            assert_eq!(summary["troubles"], 1, "{what}");

            let id = summary["snapshot_id"].as_str().unwrap();
            let target = stage.path("restored");
            stage.run(0, &["restore", id, "--verify", "--target", target.to_str().unwrap()]);
            let stored = fs::read(target.join("source/changing")).unwrap();
            // A reader that had the file open keeps what was in it, whatever its name leads to now.
            let behind = match change {
                Change::RenameOver | Change::RenameAway | Change::Delete | Change::BecomeFolder => &old,
                _ => new.as_ref().unwrap_or(&old),
            };
            assert_a_state(&stored, &old, behind, position, &what);
            assert_eq!(fs::read(target.join("source/still")).unwrap(), b"always the same");
            fs::remove_dir_all(&target).unwrap();

            // The next backup must not take the mixed state for the file.
            if let (0, Some(new)) = (round, &new) {
                stage.run(0, &["backup", "source"]);
                stage.run(0, &["restore", "latest", "--target", target.to_str().unwrap()]);
                let stored = fs::read(target.join("source/changing")).unwrap();
                assert!(stored == *new, "{what}: the next backup has other bytes than the file");
                fs::remove_dir_all(&target).unwrap();
            }
        }
    }
    stage.run(0, &["check", "--read-data"]);
    if let Some(restic) = stage.restic("0.19", stage::Place::Folder) {
        restic.check(true);
    }
}

/// Entries that were listed and not opened yet when they changed.
#[test]
fn entries_that_change_between_the_listing_and_the_opening_are_named() {
    let stage = Stage::small();
    stage.init();
    let source = stage.path("source");
    fs::create_dir(&source).unwrap();
    let path = |name: &str| -> PathBuf { source.join(name) };
    let names = ["1-gone", "2-folder", "3-link", "4-pipe", "5-replaced", "6-grown", "7-cut", "8-still"];
    for (number, name) in names.iter().enumerate() {
        corpus::random_file(&path(name), 1 << 20, number as u64).unwrap();
    }
    for name in ["0-folder-gone", "0-folder-file", "0-folder-link"] {
        fs::create_dir(path(name)).unwrap();
        fs::write(path(name).join("inside"), name).unwrap();
    }
    corpus::random_file(&path("9-read-first"), FILE_BYTES, 99).unwrap();
    // One worker takes what was listed last first, and stands still in it.
    let stopped = Stopped::reading(&stage, &path("9-read-first"), 1 << 20);
    for name in &names[..5] {
        fs::remove_file(path(name)).unwrap();
    }
    fs::create_dir(path("2-folder")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", path("3-link")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    rustix::fs::mknodat(rustix::fs::CWD, path("4-pipe"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    fs::write(path("5-replaced"), "another file").unwrap();
    OpenOptions::new().append(true).open(path("6-grown")).unwrap().write_all(b"more").unwrap();
    OpenOptions::new().write(true).open(path("7-cut")).unwrap().set_len(10).unwrap();
    for name in ["0-folder-gone", "0-folder-file", "0-folder-link"] {
        fs::remove_dir_all(path(name)).unwrap();
    }
    fs::write(path("0-folder-file"), "now a file").unwrap();
    std::os::unix::fs::symlink("/etc", path("0-folder-link")).unwrap();
    let (code, mut named, summary) = stopped.go_on();
    assert_eq!(code, Some(3), "{named:?} {summary:#}");
    named.sort();
    let expected = [
        ("0-folder-file", "unreadable"),
        ("0-folder-gone", "vanished"),
        ("0-folder-link", "unreadable"),
        ("1-gone", "vanished"),
        ("2-folder", "changed while it was read"),
        ("3-link", "unreadable"),
        ("4-pipe", "changed while it was read"),
    ];
    let expected = expected.map(|(name, kind)| (path(name).to_str().unwrap().to_owned(), kind.to_owned()));
    assert_eq!(named, expected);

    let target = stage.path("restored");
    stage.run(0, &["restore", "latest", "--target", target.to_str().unwrap()]);
    let restored = |name: &str| target.join("source").join(name);
    for name in &names[..4] {
        assert!(restored(name).symlink_metadata().is_err(), "{name}");
    }
    // What was opened is what was stored, even if the listing had shown another.
    for name in &names[4..] {
        assert!(fs::read(restored(name)).unwrap() == fs::read(path(name)).unwrap(), "{name}");
    }
    // Folders that could not be entered any more stay as empty ones, and nothing behind the link was read.
    for name in ["0-folder-gone", "0-folder-file", "0-folder-link"] {
        assert_eq!(fs::read_dir(restored(name)).unwrap().count(), 0, "{name}");
    }
}

/// Files that the storm goes over, and how large they are: some are read in one call, some in windows.
const STORM_FILES: [(usize, usize); 3] = [(40, 30_000), (12, 700_000), (6, 18 << 20)];

/// Writes files over and over until told to stop. Each version of a file has bytes of one value. Files of even numbers
/// are written in place, so that they have bytes of two versions now and then; those of odd numbers are replaced whole.
fn storm(files: &[(PathBuf, usize)], is_over: &AtomicBool, mut random: Random) {
    let mut version = 0u8;
    while !is_over.load(Ordering::Relaxed) {
        version = version.wrapping_add(1);
        let number = random.index(files.len());
        let (path, length) = &files[number];
        let bytes = vec![version; *length];
        if number % 2 == 1 {
            let aside = path.with_file_name("aside");
            fs::write(&aside, &bytes).unwrap();
            fs::rename(&aside, path).unwrap();
            continue;
        }
        let open = OpenOptions::new().write(true).open(path).unwrap();
        let modified = open.metadata().unwrap().modified().unwrap();
        if random.chance(4) {
            open.set_len(0).unwrap();
        }
        // One call, which sets the file's times when it begins and not again when it ends.
        open.write_all_at(&bytes, 0).unwrap();
        if random.chance(4) {
            // The modification time goes back to what it was, as a copying program does it.
            open.set_modified(modified).unwrap();
        }
    }
}

/// The latest snapshot's content of `path`.
fn stored(stage: &Stage, target: &Path, path: &Path) -> Vec<u8> {
    fs::read(target.join(path.strip_prefix(stage.scratch.path()).unwrap())).unwrap()
}

/// Nobody is stopped here. A file that is replaced whole is stored whole, or named; and whatever a backup caught in the
/// middle of a write, the next one has the file as it is, although its times may not tell that it changed.
#[test]
fn after_a_storm_the_next_backup_has_every_file_as_it_is() {
    let mut random = Random::new(seed("files written while they are read"));
    let stage = Stage::small();
    stage.init();
    let source = stage.path("source");
    fs::create_dir(&source).unwrap();
    let sizes = STORM_FILES.iter().flat_map(|&(count, length)| std::iter::repeat_n(length, count));
    let files: Vec<(PathBuf, usize)> =
        sizes.enumerate().map(|(number, length)| (source.join(format!("file-{number}")), length)).collect();
    files.iter().for_each(|(path, length)| fs::write(path, vec![0; *length]).unwrap());
    let target = stage.path("restored");
    let mut named_count = 0;
    for round in 0..3 * rounds() {
        let is_over = AtomicBool::new(false);
        let ended = std::thread::scope(|scope| {
            scope.spawn(|| storm(&files, &is_over, random.fork()));
            let mut command = stage.command();
            let ended = testkit::process::run(command.args(["backup", "--json", "source"]), CALL_LIMIT);
            is_over.store(true, Ordering::Relaxed);
            ended.unwrap()
        });
        let errors = ended.errors.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let named: Vec<PathBuf> = errors.filter_map(|line| line["item"].as_str().map(PathBuf::from)).collect();
        assert_eq!(ended.code, Some(if named.is_empty() { 0 } else { 3 }), "round {round}: {named:?}");
        named_count += named.len();
        stage.run(0, &["restore", "latest", "--target", target.to_str().unwrap()]);
        for (path, length) in files.iter().skip(1).step_by(2).filter(|(path, _)| !named.contains(path)) {
            let stored = stored(&stage, &target, path);
            let whole = stored.len() == *length && stored.iter().all(|byte| *byte == stored[0]);
            assert!(whole, "round {round}: {} was replaced whole and is stored in part", path.display());
        }
        fs::remove_dir_all(&target).unwrap();

        stage.run(0, &["backup", "source"]);
        stage.run(0, &["restore", "latest", "--target", target.to_str().unwrap()]);
        for (path, _) in &files {
            let same = stored(&stage, &target, path) == fs::read(path).unwrap();
            assert!(same, "round {round}: {} is not as it is in the quiet after the storm", path.display());
        }
        fs::remove_dir_all(&target).unwrap();
    }
    assert!(named_count > 0, "the storm hit nothing");
    stage.run(0, &["check", "--read-data"]);
}
