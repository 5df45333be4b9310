//! The command line as a whole: copies named anywhere, secrets, signals, keys, completions, manual pages.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod program;

use std::process::Stdio;
use std::time::Duration;

use clock::{Clock, SystemClock};
use program::{CALL_LIMIT, Ground, PASSWORD};
use testkit::process::{run, wait_until};
use testkit::{RestServer, RestServerOptions};

#[test]
fn one_init_makes_byte_identical_copies() {
    let ground = Ground::new();
    ground.call(&["-r", "1", "init", "-r", "2", "--repo", "3"]).expect_code(0);
    let copy = |name: &str| testkit::manifest(ground.path(name)).unwrap();
    for other in ["2", "3"] {
        let except = [testkit::Aspect::Time, testkit::Aspect::Root];
        let differences = testkit::Manifest::difference_except(&copy("1"), &copy(other), &except);
        assert!(differences.is_empty(), "{differences:#?}");
    }
}

#[test]
fn the_environment_and_files_name_the_copies_and_the_password() {
    let ground = Ground::with_copies(2);
    ground.on(2, &["backup", "source"]).expect_code(0);
    std::fs::write(ground.path("list"), "# the copies\n1\n\n2\n").unwrap();
    std::fs::write(ground.path("password"), format!("{PASSWORD}\n")).unwrap();
    type Way<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)]);
    let ways: [Way<'_>; 5] = [
        (&["snapshots"], &[("RESTIC_REPOSITORY", "1"), ("RESTIC_PASSWORD", PASSWORD)]),
        (&["snapshots"], &[("RESTIC_REPOSITORY_FILE", "list"), ("RESTIC_PASSWORD_FILE", "password")]),
        (&["snapshots", "--repository-file", "list", "-p", "password"], &[]),
        (&["-r", "2", "snapshots", "--password-command", "cat password"], &[("RESTIC_PASSWORD", "another")]),
        (&["-r", "2", "snapshots"], &[("RESTIC_PASSWORD_COMMAND", "cat 'password'")]),
    ];
    for (words, variables) in ways {
        let mut command = ground.command(words);
        command.env_remove("RESTIC_PASSWORD").envs(variables.iter().copied());
        let ended = run(&mut command, CALL_LIMIT).unwrap().expect_code(0);
        assert!(ended.text().contains("1 snapshot"), "{words:?}: {}", ended.text());
    }
}

#[test]
fn sources_come_from_lists_too() {
    let ground = Ground::with_copies(1);
    std::fs::write(ground.path("patterns"), "source/f*\n").unwrap();
    std::fs::write(ground.path("source/folder/third"), "3").unwrap();
    std::fs::write(ground.path("raw"), "source/link\0").unwrap();
    let words = ["backup", "--files-from", "patterns", "--files-from-raw", "raw", "--exclude", "second"];
    ground.on(1, &words).expect_code(0);
    let listed = ground.on(1, &["ls", "latest"]).expect_code(0).text();
    for path in ["/source/file", "/source/folder", "/source/link"] {
        assert!(listed.lines().any(|line| line == path), "{path}: {listed}");
    }
    assert!(!listed.contains("second"), "{listed}");
}

#[test]
fn an_interrupt_ends_with_130_and_leaves_no_lock() {
    let ground = Ground::with_copies(2);
    std::fs::File::create(ground.path("source/long")).unwrap().set_len(4 << 30).unwrap();
    let source = ground.source();
    let mut command = ground.command(&["-r", "1", "-r", "2", "backup", &source]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let locks = |copy: &str| std::fs::read_dir(ground.path(copy).join("locks")).unwrap().count();
    let descriptors = format!("/proc/{}/fd", child.id());
    let is_reading = || {
        let entries = std::fs::read_dir(&descriptors).into_iter().flatten().flatten();
        entries
            .map(|entry| std::fs::read_link(entry.path()))
            .any(|target| target.is_ok_and(|path| path.ends_with("long")))
    };
    assert!(wait_until(Duration::from_secs(60), is_reading), "the long file was never opened");
    assert_eq!((locks("1"), locks("2")), (1, 1), "a backup under way holds a lock on every copy");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{errors}");
    assert!(errors.contains("error: interrupted"), "{errors}");
    assert_eq!((locks("1"), locks("2")), (0, 0));
    assert_eq!(ground.snapshots(), 0);
    std::fs::remove_file(ground.path("source/long")).unwrap();
    ground.on(2, &["backup", "source"]).expect_code(0);
}

#[test]
fn keys_are_listed_added_changed_and_removed_on_every_copy() {
    let ground = Ground::with_copies(2);
    std::fs::write(ground.path("second"), "second password\n").unwrap();
    std::fs::write(ground.path("third"), "third password\n").unwrap();
    ground.on(2, &["key", "add", "--new-password-file", "second"]).expect_code(0);
    ground.on(2, &["key", "passwd", "--new-password-file", "third"]).expect_code(0);
    ground.on(2, &["snapshots"]).expect_code(12);
    for copy in ["1", "2"] {
        assert_eq!(std::fs::read_dir(ground.path(copy).join("keys")).unwrap().count(), 2);
        for password in ["second", "third"] {
            ground.call(&["-r", copy, "-p", password, "snapshots"]).expect_code(0);
        }
    }
    let listed = ground.call(&["-r", "1", "-p", "third", "key", "list"]).expect_code(0).text();
    let current = listed.lines().find_map(|line| line.strip_prefix('*')).unwrap()[..8].to_owned();
    let other = listed.lines().skip(2).find(|line| line.starts_with(' ')).unwrap()[1..9].to_owned();
    ground.on(2, &["-p", "third", "key", "remove", &current]).expect_code(1);
    ground.on(2, &["-p", "third", "key", "remove", &other]).expect_code(0);
    ground.on(2, &["-p", "second", "snapshots"]).expect_code(12);
}

#[test]
fn copies_that_are_behind_are_shown_and_brought_up_to_date() {
    let ground = Ground::with_copies(3);
    ground.on(3, &["backup", "source"]).expect_code(0);
    let status = ground.on(3, &["copies", "status"]).expect_code(0).text();
    let complete = status.lines().filter(|line| line.contains("  complete  ") && line.ends_with("  here"));
    assert_eq!(complete.count(), 3, "{status}");
    assert_eq!(status.matches("  never  ").count(), 3, "{status}");
    assert!(status.contains("under-replicated"), "{status}");
    std::fs::write(ground.path("source/file"), "other content").unwrap();
    ground.on(2, &["backup", "source"]).expect_code(0);
    let ended = ground.on(3, &["copies"]).expect_code(21);
    assert!(ended.text().contains("of these 1 snapshot"), "{}", ended.text());
    let listed = ground.on(3, &["snapshots"]).expect_code(0).text();
    assert!(listed.contains("is missing on 3"), "{listed}");
    ground.on(3, &["copies", "sync"]).expect_code(0);
    ground.on(3, &["copies"]).expect_code(0);
    let check = ground.call(&["-r", "3", "check", "--read-data"]).expect_code(0);
    assert!(check.text().contains("2 snapshots"), "{}", check.text());
    let status = ground.on(3, &["copies", "status", "--json"]).expect_code(0).text();
    let status: serde_json::Value = serde_json::from_str(status.lines().next().unwrap()).unwrap();
    let verified = |copy: usize| &status["copies"][copy]["last_verified"];
    assert!(verified(0).is_null() && verified(1).is_null(), "{status}");
    assert_eq!(verified(2).as_str().unwrap().len(), "2026-11-22".len(), "{status}");
    assert_eq!(
        (&status["copies"][2]["packs_never_verified"], &status["copies"][2]["off_site"]),
        (&0.into(), &false.into())
    );
}

#[test]
fn dump_restore_and_find_give_the_content_back() {
    let ground = Ground::with_copies(1);
    ground.on(1, &["backup", "source"]).expect_code(0);
    assert_eq!(ground.on(1, &["dump", "latest", "/source/file"]).expect_code(0).output, b"content");
    ground.on(1, &["dump", "latest", "/source", "--target", "archive.tar"]).expect_code(0);
    std::fs::create_dir(ground.path("unpacked")).unwrap();
    let mut tar = std::process::Command::new("tar");
    tar.args(["xf", "archive.tar", "-C", "unpacked"]).current_dir(ground.scratch.path());
    run(&mut tar, CALL_LIMIT).unwrap().expect_code(0);
    let second = find_file(&ground.path("unpacked"), "second").unwrap();
    assert_eq!(std::fs::read(second).unwrap(), b"more content");
    ground.on(1, &["dump", "latest", "/source", "--target", "archive.tar"]).expect_code(1);

    ground.on(1, &["restore", "latest:/source", "--target", "target"]).expect_code(0);
    let (before, after) =
        (testkit::manifest(ground.path("source")).unwrap(), testkit::manifest(ground.path("target")).unwrap());
    let differences = testkit::Manifest::difference_except(&before, &after, &[testkit::Aspect::Root]);
    assert!(differences.is_empty(), "{differences:#?}");
    ground.on(1, &["restore", "latest", "--target", "part", "--include", "second"]).expect_code(0);
    assert!(ground.path("part/source/folder/second").exists() && !ground.path("part/source/file").exists());
    let found = ground.on(1, &["find", "SEC*", "--ignore-case"]).expect_code(0).text();
    assert!(found.contains("/source/folder/second"), "{found}");
}

fn find_file(folder: &std::path::Path, name: &str) -> Option<std::path::PathBuf> {
    std::fs::read_dir(folder).unwrap().flatten().find_map(|entry| match entry.file_type().unwrap().is_dir() {
        true => find_file(&entry.path(), name),
        false => (entry.file_name() == name).then(|| entry.path()),
    })
}

#[test]
fn completions_and_manual_pages_come_from_the_same_description() {
    let ground = Ground::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = ground.call(&["completions", shell]).expect_code(0).text();
        for word in ["backup", "copies", "quickstart", "exclude-larger-than"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    ground.call(&["man", "pages/here"]).expect_code(0);
    for page in ["triplicate.1", "triplicate-backup.1", "triplicate-copies-sync.1", "triplicate-key-add.1"] {
        let text = std::fs::read_to_string(ground.path("pages/here").join(page)).unwrap();
        assert!(text.contains(".TH"), "{page}");
    }
}

#[test]
fn passwords_in_addresses_are_never_shown() {
    let ground = Ground::new();
    let address = "rest:http://alice:open-sesame@127.0.0.1:1/alice/";
    for words in [["backup", "source"], ["copies", "--json"]] {
        let ended = ground.call(&["-r", address, words[0], words[1]]);
        assert_ne!(ended.code, Some(0));
        assert!(!ended.errors.contains("sesame") && !ended.text().contains("sesame"), "{}", ended.errors);
        assert!(ended.errors.contains("alice"), "{}", ended.errors);
    }
}

#[test]
fn quiet_says_nothing_and_a_reader_that_goes_away_is_no_error() {
    let ground = Ground::with_copies(1);
    let ended = ground.on(1, &["backup", "source", "-q"]).expect_code(0);
    assert_eq!(ended.errors, "");
    let shell = format!("{} -r 1 ls latest --json | head -n 1", env!("CARGO_BIN_EXE_triplicate"));
    let mut command = ground.command_of("sh".as_ref(), &["-c", &shell]);
    let ended = run(&mut command, CALL_LIMIT).unwrap().expect_code(0);
    assert_eq!((ended.text().lines().count(), ended.errors.as_str()), (1, ""));
}

#[test]
fn caches_are_kept_where_it_is_asked_listed_and_removed() {
    let ground = Ground::with_copies(1);
    let usual = ground.path("home/.cache/triplicate");
    ground.on(1, &["backup", "source", "--no-cache"]).expect_code(0);
    assert!(!usual.exists());
    ground.on(1, &["backup", "source", "--cache-dir", "mine"]).expect_code(0);
    assert!(ground.path("mine/CACHEDIR.TAG").exists() && !usual.exists());
    let mut command = ground.command(&["-r", "1", "stats"]);
    run(command.env("RESTIC_CACHE_DIR", ground.path("other")), CALL_LIMIT).unwrap().expect_code(0);
    assert!(ground.path("other/CACHEDIR.TAG").exists() && !usual.exists());
    let mut command = ground.command(&["-r", "1", "stats"]);
    run(command.env("XDG_CACHE_HOME", ground.path("third")), CALL_LIMIT).unwrap().expect_code(0);
    assert!(ground.path("third/triplicate/CACHEDIR.TAG").exists() && !usual.exists());
    ground.on(1, &["backup", "source"]).expect_code(0);
    assert!(usual.join("CACHEDIR.TAG").exists());

    let count = |words: &[&str], text: &str| {
        let ended = ground.call(words).expect_code(0);
        assert!(ended.text().contains(text), "{words:?}: {}", ended.text());
    };
    count(&["cache"], "1 cache in ");
    count(&["cache", "--cleanup"], "0 caches removed");
    let folder = std::fs::read_dir(&usual).unwrap().flatten().find(|entry| entry.path().is_dir()).unwrap().path();
    let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for file in std::fs::read_dir(&folder).unwrap().flatten() {
        let times = std::fs::FileTimes::new().set_accessed(long_ago).set_modified(long_ago);
        std::fs::File::open(file.path()).unwrap().set_times(times).unwrap();
    }
    count(&["cache", "--json"], r#""last_used":"2001-09-09 01:46:40""#);
    count(&["cache", "--cleanup", "--json"], r#""removed":true"#);
    assert!(!folder.exists());
    count(&["cache"], "0 caches in ");
    ground.call(&["cache", "--no-cache"]).expect_code(2);
}

#[test]
fn a_limit_holds_back_what_goes_to_a_server_and_what_comes_from_it() {
    const BYTES: u64 = 3 << 20;
    let Some(server) = RestServer::start(&RestServerOptions::open()) else { return };
    let ground = Ground::new();
    let address = server.repository("limited");
    let clock = SystemClock::new();
    let seconds = |words: &[&str]| {
        let began = clock.monotonic();
        ground.call(&[&["-r", address.as_str()], words].concat()).expect_code(0);
        (clock.monotonic() - began).as_secs_f64()
    };
    seconds(&["init"]);
    testkit::corpus::random_file(&ground.path("source/large"), BYTES, 3).unwrap();
    // Three seconds each way; nobody measures how long the rest takes.
    for words in [
        &["backup", "source", "--limit-upload", "1024", "--limit-download", "unlimited", "--queue-size", "1M"][..],
        &["restore", "latest", "--target", "back", "--limit-download", "10M, 00:00-12:00 1M, 12:00-00:00 1M"],
    ] {
        let took = seconds(words);
        assert!((2.5..60.0).contains(&took), "{words:?} took {took} s");
    }
    for (option, value, told) in [
        ("--limit-upload", "fast", "`fast` is no rate"),
        ("--limit-download", "1M, 08:00-18:00", "08:00-18:00"),
        ("--limit-upload", "1M, zone Nowhere", "`Nowhere`"),
        ("--limit-requests", "0", "0"),
    ] {
        let refused = ground.on(1, &["backup", "source", option, value]).expect_code(2);
        assert!(refused.errors.contains(told), "{}", refused.errors);
    }
}
