//! Databases in snapshots: what the engine keeps of them, what a second run costs, and what is left when one breaks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../repository/tests/room/mod.rs"]
mod room;
mod suite;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::Secret;
use repository::Cancel;
use repository::Repository;
use repository::backup::{BackupReport, BackupRequest, Given, Origin, backup};
use room::{Room, files_in};
use sources::manifest::Manifest;
use sources::{Mysql, MysqlLogin, MysqlOptions, Sqlite};
use testkit::process::{is_running, wait_until};
use testkit::{MariaDbServer, components};

const FOLDER: &str = "/db";

fn back_up(room: &Room, repository: &Repository, origin: impl Origin + 'static) -> repository::Result<BackupReport> {
    let folder = PathBuf::from(FOLDER);
    let given = Given { origin: Arc::new(origin), paths: vec![folder.clone()], folder };
    backup(repository, &BackupRequest { origin: Some(given), ..room.request(&[]) })
}

fn mysql(server: &MariaDbServer, by_table: bool) -> Mysql {
    let login = MysqlLogin {
        host: Some("127.0.0.1".to_owned()),
        port: Some(server.server.port()),
        user: Some(MariaDbServer::USER.to_owned()),
        password: Some(Secret::from(MariaDbServer::PASSWORD)),
        programs: Some(server.programs.clone()),
        ..MysqlLogin::default()
    };
    Mysql::new(MysqlOptions { login, by_table, ..MysqlOptions::default() })
}

/// Databases with tables in an order that is not that of their making, and some megabytes.
fn filled() -> Option<MariaDbServer> {
    let server = MariaDbServer::start()?;
    server.sql("CREATE DATABASE b; CREATE DATABASE a; CREATE DATABASE `a-1`; CREATE TABLE `a-1`.x (i int)");
    for table in ["b.z", "b.many", "b.`many-1`", "b.Upper", "b.many_2", "a.one"] {
        server.sql(&format!("CREATE TABLE {table} (id int PRIMARY KEY, t text)"));
        let fill = "SELECT seq, SHA2(seq, 512) FROM seq_1_to_30000";
        server.sql(&format!("USE b; INSERT INTO {table} {fill}"));
    }
    server.sql("CREATE VIEW b.a_view AS SELECT * FROM b.z");
    Some(server)
}

#[test]
fn a_second_run_adds_nothing_and_a_changed_table_costs_itself() {
    let Some(server) = filled() else { return };
    let room = Room::new();
    let repository = room.init(&["copy"]);
    let first = back_up(&room, &repository, mysql(&server, true)).unwrap();
    let second = back_up(&room, &repository, mysql(&server, true)).unwrap();
    assert!(second.is_unchanged && second.summary.data_added == 0, "{:?}", second.summary);
    // Before all other rows.
    server.sql("INSERT INTO a.one VALUES (-1, 'new')");
    let third = back_up(&room, &repository, mysql(&server, true)).unwrap();
    println!("bytes added: {}, {}, {}", first.summary.data_added, second.summary.data_added, third.summary.data_added);
    assert!(third.summary.data_added < first.summary.data_added / 4, "{:?}", third.summary);

    let Some(restic) = components::restic("0.18") else { return };
    let back = room.path("back");
    room.restic(&restic, "copy", &["restore", "latest", "--target", back.to_str().unwrap()]);
    let mut files = files_in(&back);
    let manifest = files.remove(Path::new(".triplicate/source.json")).unwrap();
    let manifest = Manifest::parse(std::str::from_utf8(&manifest).unwrap()).unwrap();
    assert_eq!(
        (manifest.counts["b"]["many"], manifest.counts["a"]["one"], manifest.counts["a-1"]["x"]),
        (30_000, 30_001, 0)
    );
    // What restic gives back, put together in the order of names, is what the tool writes in one piece.
    let joined: Vec<u8> = files.into_values().flatten().collect();
    let whole = suite::backup(&mysql(&server, false)).unwrap();
    assert!(joined == whole.files["databases.sql"]);
}

/// Processes of ours that run a program of this name with this word.
fn children(name: &str, word: &str) -> Vec<u32> {
    let own = format!("PPid:\t{}\n", std::process::id());
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_it = |pid: &u32| {
        let text = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let words = String::from_utf8_lossy(&text("cmdline")).into_owned();
        String::from_utf8_lossy(&text("status")).contains(&own) && words.contains(name) && words.contains(word)
    };
    pids.filter(is_it).collect()
}

#[test]
fn a_dump_that_breaks_gives_no_snapshot_and_leaves_nothing() {
    let Some(mut server) = filled() else { return };
    let room = Room::new();
    let repository = room.init(&["copy"]);
    for by_table in [false, true] {
        for ends_server in [false, true] {
            let port = server.server.port();
            let ended = std::thread::scope(|scope| {
                let running = scope.spawn(|| back_up(&room, &repository, mysql(&server, by_table)));
                let mut found = Vec::new();
                let begun = wait_until(Duration::from_secs(60), || {
                    found = children("mariadb-dump", "--single-transaction");
                    !found.is_empty()
                });
                assert!(begun && found.len() == 1, "{found:?}");
                assert!(!std::fs::read_to_string(format!("/proc/{}/cmdline", found[0])).unwrap().contains("sesame"));
                let victim = if ends_server { server.server.pid() } else { found[0] };
                testkit::process::signal(victim, rustix::process::Signal::KILL);
                let ended = running.join().unwrap();
                assert!(wait_until(Duration::from_secs(10), || !is_running(found[0])));
                ended
            });
            let error = ended.unwrap_err().to_string();
            assert!(error.starts_with(&format!("source mysql://backup@127.0.0.1:{port}: cannot dump `")), "{error}");
            assert!(error.ends_with("no snapshot was made") && !error.contains("sesame"), "{error}");
            if ends_server {
                server.server.start_again().unwrap();
            }
        }
    }
    assert!(repository.snapshots().unwrap().snapshots.is_empty());
    assert!(back_up(&room, &repository, mysql(&server, true)).is_ok(), "and the next one works");
}

#[test]
fn a_database_file_leaves_no_copy_of_itself() {
    let room = Room::new();
    let repository = room.init(&["copy"]);
    let path = room.path("app.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t (x); INSERT INTO t VALUES ('secret')").unwrap();
    let scratch = room.path("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let source = || Sqlite::new(&path).scratch(&scratch);
    assert!(back_up(&room, &repository, source()).unwrap().id.is_some());
    assert!(back_up(&room, &repository, source()).unwrap().is_unchanged);
    // While the copy is being read it has no name.
    let entry = source().list(b"", &Cancel::new()).unwrap().remove(0);
    let reader = source().open(&entry.name, &entry, &Cancel::new()).unwrap();
    assert_eq!(files_in(&scratch).len(), 0);
    drop(reader);
    assert!(std::fs::read_dir(&scratch).unwrap().next().is_none());
}
