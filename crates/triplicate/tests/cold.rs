//! A cold copy with a hot part, as the program keeps it: beside rustic and restic, and with an archive in front of a real
//! S3 server; and a copy whose files the bucket locks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod program;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use format::FileKind;
use program::{CALL_LIMIT, Ground, PASSWORD, text};
use testkit::process::{run, wait_until};
use testkit::proxy::{HttpFault, Rule};
use testkit::{Aspect, CephServer, FaultProxy, Manifest, Oracle, Verb, manifest};

fn configure(ground: &Ground, tables: &str) {
    let folder = ground.path("home/.config/triplicate");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("triplicate.toml"), format!("version = 1\n{tables}")).unwrap();
}

/// The paths of all files below a folder.
fn paths(folder: &Path) -> BTreeSet<String> {
    let manifest = manifest(folder).unwrap();
    let files = manifest.entries.iter().filter(|(_, entry)| entry.kind == testkit::EntryKind::File);
    files.map(|(path, _)| String::from_utf8_lossy(path.as_ref()).into_owned()).collect()
}

/// rustic does not know the time of the folder that it was given.
#[track_caller]
fn assert_restored(ground: &Ground, target: &str, but: &[Aspect]) {
    let source = ground.path("source");
    let restored = ground.path(target).join(source.strip_prefix("/").unwrap());
    let difference = Manifest::difference_except(&manifest(&source).unwrap(), &manifest(restored).unwrap(), but);
    assert!(difference.is_empty(), "{difference:#?}");
}

#[test]
fn a_pair_of_folders_is_rustics_pair_and_a_lost_hot_part_comes_back() {
    let ground = Ground::new();
    let (cold, hot) = (text(&ground.path("cold")), text(&ground.path("hot")));
    configure(
        &ground,
        &format!("[destinations.cold]\nurl = \"{cold}\"\nhot = \"hot\"\n[destinations.hot]\nurl = \"{hot}\"\n"),
    );
    let source = ground.source();
    ground.call(&["-r", "@cold", "init"]).expect_code(0);
    ground.call(&["-r", "@cold", "backup", &source]).expect_code(0);
    let whole = paths(&ground.path("hot"));
    assert!(whole.len() >= 5 && whole.len() < paths(&ground.path("cold")).len(), "{whole:?}");

    // The hot part is not a copy, and not one that is named beside it.
    let alone = ground.call(&["-r", "hot", "snapshots"]);
    assert!(alone.code == Some(1) && alone.errors.contains("hot part"), "{}", alone.errors);
    ground.call(&["-r", "@cold", "-r", "@hot", "snapshots"]).expect_code(2);

    // Lost, and back after the next command that looks at listings.
    std::fs::remove_dir_all(&hot).unwrap();
    ground.call(&["-r", "@cold", "ls", "latest"]).expect_code(0);
    assert_eq!(paths(&ground.path("hot")), whole);
    ground.call(&["-r", "@cold", "check", "--read-data"]).expect_code(0);
    ground.call(&["-r", "@cold", "restore", "latest", "--target", "target"]).expect_code(0);
    assert_restored(&ground, "target", &[]);

    let Some(rustic) = Oracle::rustic(&cold, PASSWORD) else { return };
    let rustic = rustic.with("RUSTIC_REPO_HOT", &hot);
    rustic.ok(&["check", "--read-data"]);
    std::fs::write(ground.path("source/third"), testkit::Random::new(3).bytes(100_000)).unwrap();
    rustic.ok(&["backup", &source]);
    ground.call(&["-r", "@cold", "check", "--read-data"]).expect_code(0);
    ground.call(&["-r", "@cold", "restore", "latest", "--target", "of-rustic"]).expect_code(0);
    assert_restored(&ground, "of-rustic", &[Aspect::FolderTime]);
    ground.call(&["-r", "@cold", "backup", &source]).expect_code(0);
    rustic.ok(&["check", "--read-data"]);
    // The cold place alone is a whole repository.
    let Some(restic) = Oracle::restic("0.19", &cold, PASSWORD) else { return };
    restic.check(true);
}

/// What the archive says of a pack.
fn archive(restoration: &str) -> HttpFault {
    let headers = vec!["x-amz-storage-class: DEEP_ARCHIVE".to_owned(), format!("x-amz-restore: {restoration}")];
    HttpFault::Answer { status: 200, headers, body: String::new() }
}

const GONE: &str = "<Error><Code>InvalidObjectState</Code><Message>it lies in the archive</Message></Error>";

#[test]
fn a_restore_from_an_archive_asks_waits_is_interrupted_and_resumes() {
    let Some(server) = CephServer::shared() else { return };
    let bucket = server.new_bucket();
    let port = server.endpoint.rsplit(':').next().unwrap().parse().unwrap();
    let proxy = FaultProxy::start(port);
    let ground = Ground::new();
    let url = proxy.through(&bucket.repository("cold"));
    configure(
        &ground,
        &format!(
            "[destinations.cold]\nurl = \"{url}\"\nhot = \"hot\"\nrestore_days = 2\naccess_key_id = \"{}\"\n\
             secret_access_key = {{ env = \"THE_KEY\" }}\n[destinations.hot]\nurl = \"{}\"\n",
            bucket.access_key,
            text(&ground.path("hot"))
        ),
    );
    let command = |words: &[&str]| {
        let mut command = ground.command(&["-r", "@cold"]);
        command.args(words).env("THE_KEY", &bucket.secret_key);
        command
    };
    let call = |words: &[&str]| run(&mut command(words), CALL_LIMIT).unwrap();
    call(&["init"]).expect_code(0);
    call(&["backup", &ground.source()]).expect_code(0);
    let asked = || proxy.asked().iter().filter(|asked| asked.method == "POST").count();

    // Everything in the archive: metadata need nothing of it.
    let refusal = HttpFault::Answer { status: 403, headers: Vec::new(), body: GONE.to_owned() };
    let begun = HttpFault::Answer { status: 202, headers: Vec::new(), body: String::new() };
    let rules = |restoration: &str| {
        let stat = Rule::new(archive(restoration)).on(Verb::Stat).of(FileKind::Pack);
        let read = Rule::new(refusal.clone()).on(Verb::Read).of(FileKind::Pack);
        vec![stat, read, Rule::new(begun.clone()).on(Verb::Write).of(FileKind::Pack)]
    };
    proxy.follow(rules(""));
    for words in [&["snapshots"][..], &["ls", "latest"], &["check"], &["find", "file"], &["stats"]] {
        call(words).expect_code(0);
    }
    assert_eq!(proxy.fired(), 0, "the archive was not touched");
    let foretold = call(&["restore", "latest", "--target", "target", "--dry-run"]).expect_code(0).text();
    assert!(foretold.contains("1 pack ("), "{foretold}");
    assert_eq!(asked(), 0);
    let dumped = call(&["dump", "latest", &text(&ground.path("source/file"))]);
    assert!(dumped.errors.contains("archive"), "{}", dumped.errors);
    let ended = call(&["restore", "latest", "--target", "target", "--warm-up-wait", "0s"]);
    assert_eq!(ended.code, Some(1), "{}", ended.errors);
    assert!(
        ended.errors.contains("they were asked for") && ended.errors.contains("hint: run the same"),
        "{}",
        ended.errors
    );
    assert_eq!(asked(), 1);

    // It takes its time, and whoever waits can stop.
    proxy.follow(rules("ongoing-request=\"true\""));
    let errors = ground.path("errors");
    let mut waiting = command(&["restore", "latest", "--target", "target", "--warm-up-poll", "1s"]);
    waiting.stderr(std::fs::File::create(&errors).unwrap());
    let mut waiting = waiting.spawn().unwrap();
    let waits = || std::fs::read_to_string(&errors).unwrap().contains("waiting for 1 pack");
    assert!(wait_until(Duration::from_secs(60), waits), "{}", std::fs::read_to_string(&errors).unwrap());
    let pid = rustix::process::Pid::from_child(&waiting);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(waiting.wait().unwrap().code(), Some(130));
    assert_eq!(asked(), 1, "nothing is asked for twice");

    proxy.follow([Rule::new(archive("ongoing-request=\"false\"")).on(Verb::Stat).of(FileKind::Pack)]);
    call(&["restore", "latest", "--target", "target"]).expect_code(0);
    assert_restored(&ground, "target", &[]);
    assert_eq!(asked(), 1);
}

#[test]
fn what_snapshots_need_is_locked_and_what_is_locked_stays() {
    let Some(server) = CephServer::shared() else { return };
    let bucket = server.new_bucket_with_locks();
    let ground = Ground::new();
    configure(
        &ground,
        &format!(
            "[destinations.locked]\nurl = \"{}\"\nobject_lock_days = 3\naccess_key_id = \"{}\"\n\
             secret_access_key = {{ env = \"THE_KEY\" }}\n",
            bucket.repository("locked").trim_end_matches('/'),
            bucket.access_key,
        ),
    );
    let call = |words: &[&str]| {
        let mut command = ground.command(&["-r", "@locked", "-r", "usual"]);
        command.args(words).env("THE_KEY", &bucket.secret_key);
        run(&mut command, CALL_LIMIT).unwrap()
    };
    call(&["init"]).expect_code(0);
    call(&["backup", &ground.source()]).expect_code(0);
    std::fs::write(ground.path("source/later"), "to be forgotten after the first").unwrap();
    call(&["backup", &ground.source()]).expect_code(0);
    let told = call(&["copies", "extend"]).expect_code(0).text();
    assert!(told.contains(" files locked until ") && told.contains("copy usual: locks nothing"), "{told}");
    call(&["copies", "extend"]).expect_code(0);

    let keys = |folder: &str| bucket.list(&format!("locked/{folder}/")).unwrap();
    let (snapshots, packs) = (keys("snapshots"), keys("data"));
    assert_eq!(snapshots.len(), 2);
    assert!(keys("locks").is_empty(), "our own locks came and went");
    // Forgetting is refused there, and told.
    let ended = call(&["forget", "--keep-last", "1"]);
    assert!(ended.errors.contains("kept 1 file, append-only"), "{}", ended.errors);
    assert_eq!((keys("snapshots"), keys("data")), (snapshots, packs));
    let nothing = ground.call(&["-r", "usual", "copies", "extend"]);
    assert!(nothing.errors.contains("object_lock_days"), "{}", nothing.errors);
}
