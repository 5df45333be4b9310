//! Sources by name, streams, hooks, and the explanation of a path, as users call them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod program;

use std::io::Write;
use std::process::Stdio;

use program::Ground;
use rustix::process::Signal;
use testkit::process::{is_running, signal, wait_until};

fn configure(ground: &Ground, text: &str) {
    let folder = ground.path("home/.config/triplicate");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("triplicate.toml"), text).unwrap();
}

/// A ground with a repository of two copies and three sources: a wallet, a dump that fails, and notes.
fn three_sources() -> Ground {
    let ground = Ground::with_copies(2);
    std::fs::create_dir_all(ground.path("wallet/keys")).unwrap();
    std::fs::write(ground.path("wallet/keys/one"), "a key").unwrap();
    std::fs::write(ground.path("wallet/page.tmp"), "x").unwrap();
    let folder = ground.path("").display().to_string();
    let text = format!(
        r#"version = 1

[sources.wallet]
paths = ["{folder}wallet"]
optional = ["{folder}nowhere"]
exclude = ["*.tmp"]
min_files = 1

[sources.wallet.hooks]
before = [["sh", "-c", "echo before >> {folder}notes"]]
after = [["sh", "-c", "echo after >> {folder}notes"]]
on_success = [["sh", "-c", "echo $TRIPLICATE_VERDICT $TRIPLICATE_SNAPSHOT >> {folder}notes"]]
on_failure = [["sh", "-c", "echo failure >> {folder}notes"]]

[sources.dump]
command = ["sh", "-c", "echo half; echo no such table >&2; exit 3"]
file = "dump.sql"

[sources.dump.hooks]
on_failure = [["sh", "-c", "echo $TRIPLICATE_SOURCE: $TRIPLICATE_ERROR >> {folder}notes"]]

[sources.notes]
command = ["sh", "-c", "echo all is well"]
file = "notes.txt"
"#
    );
    configure(&ground, &text);
    ground
}

fn snapshots(ground: &Ground) -> Vec<serde_json::Value> {
    let listed = ground.on(1, &["snapshots", "--json"]).expect_code(0).text();
    serde_json::from_str(&listed).unwrap()
}

#[test]
fn each_source_gets_a_snapshot_of_its_own_and_one_that_fails_gets_none() {
    let ground = three_sources();
    let ended = ground.on(2, &["backup", "--source", "wallet", "--source", "dump", "--source", "notes"]);
    assert_eq!(ended.code, Some(3), "{}", ended.errors);
    assert!(ended.errors.contains("source `dump`: source command:sh: cannot dump `dump.sql`"), "{}", ended.errors);
    assert!(ended.errors.contains("no such table"), "{}", ended.errors);
    assert!(ended.errors.contains("1 of 3 sources not backed up: `dump`"), "{}", ended.errors);

    let made = snapshots(&ground);
    let tags = |snapshot: &serde_json::Value| snapshot["tags"][0].as_str().unwrap().to_owned();
    assert_eq!(made.iter().map(tags).collect::<Vec<_>>(), ["source:wallet", "source:notes"]);
    assert_eq!(made[1]["paths"][0], "/notes");
    let read = ground.on(1, &["dump", "latest", "/notes/notes.txt"]).expect_code(0).text();
    assert_eq!(read, "all is well\n");
    let listed = ground.on(1, &["ls", made[0]["short_id"].as_str().unwrap()]).expect_code(0).text();
    assert!(listed.contains("/wallet/keys/one") && !listed.contains("page.tmp"), "{listed}");

    let notes = std::fs::read_to_string(ground.path("notes")).unwrap();
    let id = made[0]["id"].as_str().unwrap();
    let wanted = format!("before\nafter\nok {id}\ndump: source command:sh: cannot dump `dump.sql`");
    assert!(notes.starts_with(&wanted), "{notes}");

    // Nothing but the failing one: nothing was done. And one that nobody knows: nothing is begun.
    assert_eq!(ground.on(2, &["backup", "--source", "dump"]).code, Some(1));
    let unknown = ground.on(2, &["backup", "--source", "notes", "--source", "photos"]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.errors.contains("has no source `photos`; it has `dump`, `notes`, `wallet`"), "{}", unknown.errors);
    assert_eq!(snapshots(&ground).len(), 2);
    let both = ground.on(2, &["backup", "--source", "notes", "wallet"]);
    assert_eq!(both.code, Some(2), "{}", both.errors);
}

#[test]
fn a_hook_that_fails_keeps_its_source_from_being_read() {
    let ground = Ground::with_copies(1);
    std::fs::create_dir(ground.path("data")).unwrap();
    std::fs::write(ground.path("data/file"), "x").unwrap();
    let folder = ground.path("").display().to_string();
    let text = format!(
        r#"[sources.data]
paths = ["{folder}data"]
[sources.data.hooks]
before = [["sh", "-c", "echo the service does not stop >&2; exit 1"]]
after = [["touch", "{folder}after"]]
always = [["touch", "{folder}always"]]
[sources.late]
paths = ["{folder}data"]
[sources.late.hooks]
after = [["false"]]
"#
    );
    configure(&ground, &text);
    let ended = ground.on(1, &["backup", "--source", "data"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.errors.contains("the hook `before` failed: `sh` ended with code 1"), "{}", ended.errors);
    assert!(snapshots(&ground).is_empty());
    assert!(!ground.path("after").exists() && ground.path("always").exists());
    // Behind a snapshot that is there, it is a backup in part.
    let ended = ground.on(1, &["backup", "--source", "late"]);
    assert_eq!((ended.code, snapshots(&ground).len()), (Some(3), 1), "{}", ended.errors);
}

#[test]
fn streams_are_snapshots_of_one_file() {
    let ground = Ground::with_copies(2);
    let mut command = ground.command(&["backup", "-r", "1", "-r", "2", "--stdin", "--stdin-filename", "dumps/all.sql"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let text = b"insert into things values (1);\n".repeat(100_000);
    child.stdin.take().unwrap().write_all(&text).unwrap();
    assert!(child.wait().unwrap().success());
    let made = snapshots(&ground);
    assert_eq!(made[0]["paths"][0], "/dumps/all.sql");
    let read = ground.on(2, &["dump", "latest", "/dumps/all.sql"]).expect_code(0);
    assert_eq!(read.output, text);

    let stream = ["backup", "--stdin-from-command", "--stdin-filename", "x", "--"];
    ground.on(1, &[&stream[..], &["printf", "%s", "$HOME; x"]].concat()).expect_code(0);
    assert_eq!(ground.on(1, &["dump", "latest", "/x"]).expect_code(0).text(), "$HOME; x");
    for words in
        [&["sh", "-c", "echo begun; exit 9"][..], &["sh", "-c", "echo begun; kill -9 $$"], &["no-such-program"], &[]]
    {
        let ended = ground.on(1, &[&stream[..], words].concat());
        assert!(matches!(ended.code, Some(1 | 2)), "{words:?}: {}", ended.errors);
    }
    assert_eq!(snapshots(&ground).len(), 2);
}

/// Starts a call that waits for a stream, stops it once it has begun, and sees that nothing is left of it.
fn stop_in_the_middle(ground: &Ground, words: &[&str], has_begun: impl Fn() -> bool) {
    let mut command = ground.command(&[&["backup", "-r", "1"], words].concat());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"begun").unwrap();
    let locks = ground.path("1/locks");
    let has_lock = || std::fs::read_dir(&locks).is_ok_and(|mut entries| entries.next().is_some());
    assert!(wait_until(program::CALL_LIMIT, || has_lock() && has_begun()));
    signal(child.id(), Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!has_lock() && snapshots(ground).is_empty());
}

#[test]
fn whoever_waits_for_a_stream_can_be_stopped() {
    let ground = Ground::with_copies(1);
    stop_in_the_middle(&ground, &["--stdin"], || true);
    // A program that says nothing is ended, too.
    let note = ground.path("pid").display().to_string();
    let script = format!("echo $$ > {note}; exec sleep 1000");
    let pid = || std::fs::read_to_string(&note).ok()?.trim().parse::<u32>().ok();
    stop_in_the_middle(&ground, &["--stdin-from-command", "--", "sh", "-c", &script], || pid().is_some());
    assert!(wait_until(program::CALL_LIMIT, || !is_running(pid().unwrap())));
}

#[test]
fn a_database_comes_back_with_as_many_rows() {
    let ground = Ground::with_copies(1);
    let live = rusqlite::Connection::open(ground.path("live.sqlite")).unwrap();
    live.pragma_update(None, "journal_mode", "wal").unwrap();
    live.execute_batch("create table things (name text, data blob); create index by_name on things (name)").unwrap();
    for number in 0..1000 {
        live.execute("insert into things values (?1, zeroblob(100))", [format!("thing {number} \u{1F600}")]).unwrap();
    }
    let path = ground.path("live.sqlite").display().to_string();
    configure(&ground, &format!("[sources.db]\nurl = \"sqlite:{path}\"\n[sources.other]\ncommand = [\"echo\"]\n"));
    // Its writer is at work, and has pages in its journal that a copy of the file would not have.
    ground.on(1, &["backup", "--source", "db"]).expect_code(0);
    live.execute("delete from things", []).unwrap();

    let back = ["restore", "latest", "--tag", "source:db", "--into"];
    let into = |address: &str| ground.on(1, &[&back[..], &[address]].concat());
    assert!(into("sqlite:back.sqlite").expect_code(0).text().contains("the source is restored"));
    let restored = rusqlite::Connection::open(ground.path("back.sqlite")).unwrap();
    let count = |words: &str| restored.query_row(words, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("select count(*) from things where name like 'thing % \u{1F600}'"), 1000);
    drop(restored);
    let refused = into("sqlite:back.sqlite");
    assert_eq!(refused.code, Some(1));
    assert!(refused.errors.contains("not empty"), "{}", refused.errors);
    let wrong = into("mysql://127.0.0.1/x");
    assert!(wrong.errors.contains("the snapshot is of the kind `sqlite`"), "{}", wrong.errors);
    let told = into("mysql://root:hush@127.0.0.1/x");
    assert_eq!(told.code, Some(2));
    assert!(!told.errors.contains("hush"), "{}", told.errors);
    ground.on(1, &["backup", "live.sqlite"]).expect_code(0);
    let files = ground.on(1, &["restore", "latest", "--into", "sqlite:x.sqlite"]);
    assert!(files.errors.contains("does not say what its source is"), "{}", files.errors);
}

#[test]
fn a_path_is_explained() {
    let ground = Ground::new();
    std::fs::create_dir_all(ground.path("data/.git")).unwrap();
    std::fs::write(ground.path("data/.gitignore"), "*.o\n").unwrap();
    std::fs::write(ground.path("data/a.o"), "x").unwrap();
    let explain = |words: &[&str]| ground.call(&[&["explain"], words].concat()).expect_code(0).text();
    assert!(explain(&["data/a.o", "data"]).contains("is backed up: it is in `data`"));
    assert!(explain(&["data/a.o", "data", "--git-ignore"]).contains("says `*.o`"));
    assert!(explain(&["elsewhere", "data"]).contains("it is in none of the sources"));
    let told: serde_json::Value = serde_json::from_str(&explain(&["data/a.o", "data", "-e", "*.o", "--json"])).unwrap();
    assert_eq!((&told["backed_up"], &told["source"]), (&false.into(), &"data".into()));
}

#[test]
fn what_is_wrong_with_a_source_is_told_with_its_place() {
    let ground = Ground::with_copies(1);
    let text = r#"[sources.a]
paths = ["/x"]
command = ["y"]
[sources.b]
url = "mysql://root:hush@localhost/"
[sources.c]
url = "ftps:alice@host:/photos"
git_ignore = true
pasword = "x"
[sources.d]
paths = ["$NO_SUCH_VARIABLE/x"]
[sources.e]
url = "b2:bucket:path"
[sources.f]
paths = ["/x"]
[sources.f.hooks]
befor = [["x"]]
before = ["x"]
[sources."g h"]
paths = []
"#;
    configure(&ground, text);
    let ended = ground.on(1, &["backup", "--source", "f"]);
    assert_eq!(ended.code, Some(2));
    for wanted in [
        ":1:",
        "one of `paths`, `url` and `command` is needed",
        "`sources.b.url`: a password stands in the address",
        "`sources.c.git_ignore`",
        "this is for files of this machine",
        "`password` may be meant",
        "the variable `NO_SUCH_VARIABLE` is not set",
        "nothing is read from `b2:`",
        "`before` may be meant",
        "`sources.f.hooks.before`",
        "`g h` cannot be a name",
    ] {
        assert!(ended.errors.contains(wanted), "{wanted} is not in: {}", ended.errors);
    }
    assert!(!ended.errors.contains("hush"), "{}", ended.errors);
}

/// Whoever backs up needs no more than the right to read everything.
#[test]
fn the_right_to_read_everything_is_enough() {
    use std::os::unix::fs::{PermissionsExt, chown};
    if !rustix::process::geteuid().is_root() {
        return testkit::skip("only root can give up all rights but one");
    }
    const NOBODY: u32 = 65534;
    let ground = Ground::new();
    std::fs::create_dir_all(ground.path("data/closed")).unwrap();
    std::fs::write(ground.path("data/closed/secret"), "for root alone").unwrap();
    for (path, mode) in [("data/closed/secret", 0o600), ("data/closed", 0o700)] {
        std::fs::set_permissions(ground.path(path), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    std::fs::create_dir_all(ground.path("home")).unwrap();
    for path in ["", "home"] {
        chown(ground.path(path), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let call = |rights: &[&str], words: &[&str]| {
        let mut line = vec!["--reuid=65534", "--regid=65534", "--clear-groups"];
        line.extend(rights);
        line.push(env!("CARGO_BIN_EXE_triplicate"));
        line.extend(words);
        let mut command = ground.command_of(std::path::Path::new("setpriv"), &line);
        testkit::process::run(&mut command, program::CALL_LIMIT).unwrap()
    };
    call(&[], &["init", "-r", "1"]).expect_code(0);
    assert_eq!(call(&[], &["backup", "-r", "1", "data"]).code, Some(1), "nobody can read nothing of it");
    let right = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"];
    call(&right, &["backup", "-r", "1", "data"]).expect_code(0);
    assert_eq!(call(&[], &["dump", "-r", "1", "latest", "data/closed/secret"]).expect_code(0).text(), "for root alone");
}
