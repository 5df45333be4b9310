//! Bad input: every case has its own exit code and its own words, and leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod program;

use std::os::unix::fs::FileExt;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::Secret;
use program::{CALL_LIMIT, Ground, PASSWORD, deaf_address, text};
use repository::locks::LockMode;
use testkit::process::{run, wait_until};

/// One line `error: ...` with these words, and lines `hint: ...` behind it.
#[track_caller]
fn assert_error(errors: &str, words: &str) {
    let line = errors.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
    assert!(line.contains(words), "`{words}` is not in:\n{errors}");
    assert_eq!(errors.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{errors}");
    assert!(!errors.contains(PASSWORD) && !errors.contains("panicked"), "{errors}");
}

#[test]
fn a_missing_source_makes_no_snapshot() {
    let ground = Ground::with_copies(2);
    let before = ground.everything();
    let ended = ground.on(2, &["backup", &ground.source(), "nowhere"]).expect_code(1);
    assert_error(&ended.errors, "source `nowhere` does not exist");
    ground.assert_untouched(&before);
}

#[test]
fn an_empty_source_is_an_error_unless_it_is_allowed() {
    let ground = Ground::with_copies(2);
    std::fs::create_dir_all(ground.path("empty/of/files")).unwrap();
    let ended = ground.on(2, &["backup", "empty"]).expect_code(1);
    assert_error(&ended.errors, "source `empty` holds no files");
    assert!(ended.errors.contains("hint: ") && ended.errors.contains("--allow-empty"), "{}", ended.errors);
    assert_eq!(ground.snapshots(), 0);
    ground.on(2, &["backup", "empty", "--allow-empty"]).expect_code(0);
    assert_eq!(ground.snapshots(), 1);
}

#[test]
fn an_unreadable_file_is_named_and_the_snapshot_kept() {
    let ground = Ground::with_copies(2);
    // The first page of a process is never mapped, so reading this file fails for everybody, root included.
    let unreadable = format!("/proc/{}/mem", std::process::id());
    let ended = ground.on(2, &["backup", &ground.source(), &unreadable]).expect_code(3);
    assert_error(&ended.errors, "1 entry not saved as asked");
    assert!(ended.errors.contains(&unreadable) && ended.errors.contains("unreadable"), "{}", ended.errors);
    assert_eq!(ground.snapshots(), 1);
    let listed = ground.on(1, &["ls", "latest"]).expect_code(0);
    assert!(listed.text().contains("/source/folder/second"), "{}", listed.text());
}

#[test]
fn a_file_that_changes_while_it_is_read_is_named() {
    let ground = Ground::with_copies(1);
    let busy = std::fs::File::create(ground.path("source/busy")).unwrap();
    busy.set_len(400 << 20).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let stop = stop.clone();
        move || {
            while !stop.load(Ordering::Relaxed) {
                busy.write_at(b"x", 0).unwrap();
                std::thread::yield_now();
            }
        }
    });
    let ended = ground.on(1, &["backup", &ground.source()]);
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    let ended = ended.expect_code(3);
    assert!(ended.errors.contains("busy") && ended.errors.contains("changed while it was read"), "{}", ended.errors);
    assert_eq!(ground.snapshots(), 1);
}

#[test]
fn a_file_that_vanishes_is_named() {
    let ground = Ground::with_copies(1);
    // One thread reads one of two long files; the other one goes meanwhile.
    let long = ["a-long", "z-long"];
    for name in long {
        std::fs::File::create(ground.path("source").join(name)).unwrap().set_len(400 << 20).unwrap();
    }
    let source = ground.source();
    let mut command = ground.command(&["-r", "1", "backup", &source, "--read-concurrency", "1"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let descriptors = format!("/proc/{}/fd", child.id());
    let mut other = "";
    let is_reading = || {
        let open: Vec<_> = std::fs::read_dir(&descriptors).into_iter().flatten().flatten().collect();
        let is_open = |name: &str| {
            open.iter().any(|entry| std::fs::read_link(entry.path()).is_ok_and(|target| target.ends_with(name)))
        };
        other = match long.map(is_open) {
            [true, false] => long[1],
            [false, true] => long[0],
            _ => return false,
        };
        true
    };
    assert!(wait_until(Duration::from_secs(60), is_reading), "no long file was ever opened");
    std::fs::remove_file(ground.path("source").join(other)).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.contains(other) && errors.contains("vanished"), "{errors}");
    assert_eq!(ground.snapshots(), 1);
}

#[test]
fn a_wrong_password_is_12() {
    let ground = Ground::with_copies(2);
    let before = ground.everything();
    for words in [["snapshots", "--no-lock"], ["backup", "source"], ["unlock", "--remove-all"]] {
        let mut command = ground.command(&["-r", "1", "-r", "2", words[0], words[1]]);
        let ended = run(command.env("RESTIC_PASSWORD", "wrong"), CALL_LIMIT).unwrap().expect_code(12);
        assert_error(&ended.errors, "wrong password");
        ground.assert_untouched(&before);
    }
}

#[test]
fn no_repository_is_10() {
    let ground = Ground::new();
    std::fs::create_dir(ground.path("empty")).unwrap();
    let before = ground.everything();
    for place in ["nowhere", "empty"] {
        for words in [["snapshots", "--no-lock"], ["backup", "source"], ["copies", "sync"]] {
            let ended = ground.call(&["-r", place, words[0], words[1]]).expect_code(10);
            assert_error(&ended.errors, &format!("there is no repository at {place}"));
            ground.assert_untouched(&before);
        }
    }
}

#[test]
fn a_foreign_lock_is_11() {
    let ground = Ground::with_copies(2);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let surroundings = repository::Surroundings {
        runtime: runtime.handle().clone(),
        clock: Arc::new(clock::SystemClock::new()),
        cancel: repository::Cancel::new(),
        observer: Arc::new(repository::Silent::default()),
        who: repository::Who {
            hostname: "elsewhere".to_owned(),
            username: "somebody".to_owned(),
            uid: 1,
            gid: 1,
            pid: std::process::id(),
        },
        no_lock: false,
        retry_lock: Duration::ZERO,
        queue_bytes: repository::copies::QUEUE_BYTES,
        cache: None,
        records: None,
    };
    let location = text(&ground.path("2")).parse().unwrap();
    let destination = destinations::open(&location, &Default::default(), &Default::default()).unwrap();
    let other = repository::Repository::open(vec![destination], &Secret::from(PASSWORD), surroundings).unwrap();
    let guard = other.lock(LockMode::Exclusive).unwrap();
    let before = ground.everything();
    let ended = ground.on(2, &["backup", "source"]).expect_code(11);
    assert_error(&ended.errors, "is locked");
    assert!(ended.errors.contains("elsewhere") && ended.errors.contains("--retry-lock"), "{}", ended.errors);
    ground.assert_untouched(&before);
    ground.on(2, &["snapshots"]).expect_code(0);
    drop(guard);
    ground.on(2, &["backup", "source"]).expect_code(0);
}

#[test]
fn an_unreachable_repository_is_1() {
    let ground = Ground::new();
    let before = ground.everything();
    let address = deaf_address();
    for words in [["snapshots", "--no-lock"], ["backup", "source"]] {
        let ended = ground.call(&["-r", &address, words[0], words[1]]).expect_code(1);
        assert_error(&ended.errors, "refused");
        assert!(ended.errors.contains("hint: check that the destination is up"), "{}", ended.errors);
        ground.assert_untouched(&before);
    }
    ground.call(&["-r", "1", "-r", &address, "init"]).expect_code(1);
    ground.assert_untouched(&before);
}

#[test]
fn all_copies_dead_is_1() {
    let ground = Ground::new();
    let ended = ground.call(&["-r", &deaf_address(), "-r", &deaf_address(), "backup", "source"]).expect_code(1);
    assert_error(&ended.errors, "no copy is left");
}

#[test]
fn a_copy_that_is_away_is_named_behind_and_the_others_finish() {
    let ground = Ground::with_copies(2);
    let address = deaf_address();
    let words = ["-r", "1", "-r", &address, "-r", "2", "backup", "source"];
    let ended = ground.call(&words).expect_code(3);
    assert_error(&ended.errors, "1 of 3 copies is behind");
    assert!(ended.errors.contains(&format!("copy {address} is behind: ")), "{}", ended.errors);
    assert!(ended.errors.contains("hint: ") && ended.errors.contains("triplicate copies sync"), "{}", ended.errors);
    assert_eq!(ground.snapshots(), 1);
    assert_eq!(std::fs::read_dir(ground.path("2/snapshots")).unwrap().count(), 1);
    let ended = ground.call(&["-r", "1", "-r", &address, "-r", "2", "copies", "status"]).expect_code(21);
    assert!(ended.text().contains(&format!("copy {address}: not usable: ")), "{}", ended.text());
}

#[test]
fn copies_of_different_repositories_are_refused_before_a_byte_is_written() {
    let ground = Ground::with_copies(1);
    ground.call(&["-r", "2", "init"]).expect_code(0);
    let before = ground.everything();
    for words in [["backup", "source"], ["copies", "sync"], ["copies", "status"], ["snapshots", "--no-lock"]] {
        let ended = ground.on(2, &words).expect_code(1);
        assert_error(&ended.errors, "is not a copy of the repository at");
        ground.assert_untouched(&before);
    }
}

#[test]
fn a_repository_is_never_made_over_another() {
    let ground = Ground::with_copies(1);
    // One with nothing in it, and with the same password, would be an init that broke off, and would be finished.
    ground.on(1, &["backup", "source"]).expect_code(0);
    let before = ground.everything();
    let ended = ground.call(&["-r", "new", "-r", "1", "init"]).expect_code(1);
    assert_error(&ended.errors, "cannot create a repository at 1");
    ground.assert_untouched(&before);
}

#[test]
fn wrong_usage_is_2() {
    let ground = Ground::new();
    let before = ground.everything();
    let cases: [(&[&str], &str); 10] = [
        (&["snapshots"], "no repository was named"),
        (&["backup", "source"], "no repository was named"),
        (&["-r", "1", "backup"], "nothing to back up was named"),
        (&["-r", "1", "-r", "./1", "backup", "source"], "are the same place"),
        (&["-r", "ftp://host/", "snapshots"], "is not a location of a copy"),
        (&["-r", "1", "backup", "source", "--exclude-larger-than", "much"], "invalid value"),
        (&["-r", "1", "restore", "latest"], "required arguments were not provided"),
        (&["-r", "1", "check", "--read-data-subset", "5/3"], "invalid value"),
        (&["-r", "1", "backup", "source", "--compression", "most"], "invalid value"),
        (&["-r", "1", "--repository-file", "list", "snapshots"], "exclude each other"),
    ];
    for (words, message) in cases {
        let ended = ground.call(words).expect_code(2);
        assert_error(&ended.errors, message);
        ground.assert_untouched(&before);
    }
}

#[test]
fn without_a_password_and_a_terminal_nothing_waits() {
    let ground = Ground::with_copies(1);
    let mut command = ground.command(&["-r", "1", "snapshots"]);
    let ended = run(command.env_remove("RESTIC_PASSWORD"), CALL_LIMIT).unwrap().expect_code(2);
    assert_error(&ended.errors, "no password was given");
}

#[test]
fn damage_in_the_only_copy_is_named_and_gives_no_wrong_bytes() {
    for kind in ["config", "keys", "data", "index", "snapshots"] {
        let ground = Ground::with_copies(1);
        ground.on(1, &["backup", "source"]).expect_code(0);
        let mut files = Vec::new();
        collect(&ground.path("1").join(kind), &mut files);
        assert!(!files.is_empty(), "{kind}");
        for file in &files {
            let mut bytes = std::fs::read(file).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::remove_file(file).unwrap();
            std::fs::write(file, bytes).unwrap();
        }
        // What this machine remembers could spare it the look at a damaged file.
        let ended = ground.on(1, &["restore", "latest", "--target", "target", "--no-cache"]);
        assert!(matches!(ended.code, Some(1 | 3 | 12)), "{kind}: {ended:?}");
        assert!(!ended.errors.contains("panicked"), "{kind}: {}", ended.errors);
        let named = files.iter().any(|file| ended.errors.contains(file.file_name().unwrap().to_str().unwrap()));
        assert!(named, "{kind}: {}", ended.errors);
        let mut restored = Vec::new();
        collect(&ground.path("target"), &mut restored);
        for file in restored.iter().filter(|file| !file.is_symlink()) {
            let original = ground.path("source").join(file.strip_prefix(ground.path("target/source")).unwrap());
            assert_eq!(std::fs::read(file).unwrap(), std::fs::read(original).unwrap(), "{kind}");
        }
    }
}

fn collect(path: &std::path::Path, files: &mut Vec<std::path::PathBuf>) {
    if path.symlink_metadata().is_ok_and(|stat| stat.is_dir()) {
        for entry in std::fs::read_dir(path).unwrap() {
            collect(&entry.unwrap().path(), files);
        }
    } else if path.symlink_metadata().is_ok() {
        files.push(path.to_owned());
    }
}
