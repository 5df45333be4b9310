//! SQLite: a database that is being written to, as it was at one moment.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod suite;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rusqlite::Connection;
use sources::Sqlite;
use sources::into::{Target, Terms};
use suite::backup;

fn target(path: &Path) -> Target {
    Target::parse(&format!("sqlite:{}", path.display())).unwrap()
}

fn make(path: &Path, journal: &str) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
    connection.pragma_update(None, "journal_mode", journal).unwrap();
    let schema = "CREATE TABLE pairs (id INTEGER PRIMARY KEY, a INT, b INT, t TEXT); CREATE INDEX by_a ON pairs (a);
        CREATE TABLE types (i, r, t, b, n); INSERT INTO types VALUES (1, 1.5, 'emoji 😀', x'00ff', NULL);
        CREATE TABLE \"odd \"\"name\" (x); CREATE VIEW seen AS SELECT * FROM pairs;
        CREATE TRIGGER noted AFTER INSERT ON types BEGIN INSERT INTO \"odd \"\"name\" VALUES (new.i); END;
        CREATE VIRTUAL TABLE words USING fts5(text); INSERT INTO words VALUES ('hello world');";
    connection.execute_batch(schema).unwrap();
    connection
}

#[test]
fn a_database_comes_back_and_is_the_same_bytes_twice() {
    for journal in ["wal", "delete"] {
        let folder = tempfile::tempdir().unwrap();
        let (path, back) = (folder.path().join("app.db"), folder.path().join("back.db"));
        let connection = make(&path, journal);
        connection.execute("INSERT INTO types VALUES (2, 2, 2, 2, 2)", []).unwrap();
        let source = Sqlite::new(&path);
        let copy = backup(&source).unwrap();
        assert_eq!(copy.files.keys().collect::<Vec<_>>(), ["app.db"]);
        let counts = &copy.manifest.counts["main"];
        assert_eq!((counts["types"], counts["pairs"], counts["odd \"name"], counts["words"]), (2, 0, 1, 1));
        assert!(backup(&source).unwrap() == copy, "{journal}");

        target(&back).restore(&copy.manifest, &copy, &Terms::default()).unwrap();
        let restored = Connection::open(&back).unwrap();
        let sound: String = restored.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        let text: String = restored.query_row("SELECT t FROM types WHERE i = 1", [], |row| row.get(0)).unwrap();
        assert_eq!((sound.as_str(), text.as_str()), ("ok", "emoji 😀"));
        let error = target(&back).restore(&copy.manifest, &copy, &Terms::default()).unwrap_err();
        assert!(error.to_string().contains("it is not empty: the file is there"), "{error}");
        restored.execute("DELETE FROM types", []).unwrap();
        let over = Terms { into_non_empty: true, ..Terms::default() };
        target(&back).restore(&copy.manifest, &copy, &over).unwrap();
        let rows: i64 = restored.query_row("SELECT count(*) FROM types", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 2);
    }
}

#[test]
fn a_copy_of_a_database_under_writes_is_of_one_moment() {
    for journal in ["wal", "delete"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        let mut connection = make(&path, journal);
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&rounds));
        // Every transaction keeps the sum of each half the same, over more pages than a cache holds.
        let writer = std::thread::spawn(move || {
            let filler = "x".repeat(3000);
            while !stopped.load(Ordering::Relaxed) {
                let round = counted.fetch_add(1, Ordering::Relaxed) as i64;
                let transaction = connection.transaction().unwrap();
                for id in 0..60 {
                    let row = (round * 7 % 500 + id, round, -round, &filler);
                    transaction.execute("INSERT OR REPLACE INTO pairs VALUES (?1, ?2, ?3, ?4)", row).unwrap();
                }
                transaction.commit().unwrap();
            }
        });
        for _ in 0..8 {
            let before = rounds.load(Ordering::Relaxed);
            assert!(testkit::process::wait_until(std::time::Duration::from_secs(30), || rounds
                .load(Ordering::Relaxed)
                > before + 3));
            let copy = backup(&Sqlite::new(&path)).unwrap();
            let back = folder.path().join("back.db");
            target(&back).restore(&copy.manifest, &copy, &Terms::default()).unwrap();
            let restored = Connection::open(&back).unwrap();
            let sound: String = restored.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
            let (sum, rows): (i64, i64) = restored
                .query_row("SELECT sum(a + b), count(*) FROM pairs", [], |row| Ok((row.get(0)?, row.get(1)?)))
                .unwrap();
            assert_eq!((sound.as_str(), sum, rows as u64), ("ok", 0, copy.manifest.counts["main"]["pairs"]));
            drop(restored);
            std::fs::remove_file(&back).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    }
}

#[test]
fn what_is_missing_or_no_database_or_damaged_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let error = backup(&Sqlite::new(&path)).unwrap_err().to_string();
    assert!(error.starts_with(&format!("open `{}`: ", path.display())), "{error}");
    assert!(!path.exists(), "nothing was made");
    std::fs::write(&path, "this is no database, but long enough to be looked into, and then some more").unwrap();
    let error = backup(&Sqlite::new(&path)).unwrap_err().to_string();
    assert!(error.contains("file is not a database"), "{error}");

    std::fs::remove_file(&path).unwrap();
    let connection = make(&path, "delete");
    connection
        .execute("INSERT INTO pairs SELECT value, value, value, hex(randomblob(500)) FROM generate_series(1, 100)", [])
        .unwrap_or_default();
    for id in 0..200 {
        connection.execute("INSERT OR REPLACE INTO pairs VALUES (?1, ?1, ?1, hex(zeroblob(500)))", [id]).unwrap();
    }
    drop(connection);
    let mut bytes = std::fs::read(&path).unwrap();
    for page in bytes.chunks_mut(4096).skip(20).step_by(3) {
        page[..64].fill(0x5a);
    }
    std::fs::write(&path, bytes).unwrap();
    let error = backup(&Sqlite::new(&path)).unwrap_err().to_string();
    assert!(error.contains("damaged") || error.contains("malformed"), "{error}");
}
