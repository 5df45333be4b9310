//! What is found out about a place before it is trusted: a disk that is not mounted, permissions, speed.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod program;

use program::Ground;
use serde_json::Value;
use testkit::{RestServer, RestServerOptions};

fn probe_lines(text: &str) -> Vec<Value> {
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["message_type"] == "probe").collect()
}

#[test]
fn a_disk_that_is_not_mounted_is_away_and_never_taken_for_an_empty_folder() {
    let ground = Ground::new();
    let disk = ground.path("disk");
    std::fs::create_dir(&disk).unwrap();
    std::fs::write(disk.join(".this-is-the-disk"), "").unwrap();
    let copies = ["-r", "1", "-r", "disk/copy", "-o", "local.marker=.this-is-the-disk"];
    // The first copy has the same marker, by the same option: it stands in the folder above.
    std::fs::write(ground.path(".this-is-the-disk"), "").unwrap();
    let call = |words: &[&str]| ground.call(&[&copies[..], words].concat());
    let source = ground.source();
    call(&["init"]).expect_code(0);
    call(&["backup", &source]).expect_code(0);

    // The disk goes; below its mount point is an empty folder.
    std::fs::rename(&disk, ground.path("disk-in-the-drawer")).unwrap();
    std::fs::create_dir(&disk).unwrap();
    std::fs::write(ground.path("source/file"), "changed").unwrap();
    let ended = call(&["backup", &source]).expect_code(3);
    assert!(ended.errors.contains("its marker `") && ended.errors.contains("not mounted"), "{}", ended.errors);
    let alone = ["-r", "disk/copy", "-o", "local.marker=.this-is-the-disk"];
    for words in [&["init"][..], &["snapshots"], &["backup", &source]] {
        let ended = ground.call(&[&alone[..], words].concat());
        assert_eq!(ended.code, Some(1), "{words:?}: {}", ended.errors);
        assert!(ended.errors.contains("hint: plug in or mount the disk"), "{words:?}: {}", ended.errors);
    }
    assert_eq!(std::fs::read_dir(&disk).unwrap().count(), 0, "something was made below the mount point");

    // It comes back, and the next run brings it up to date.
    std::fs::remove_dir(&disk).unwrap();
    std::fs::rename(ground.path("disk-in-the-drawer"), &disk).unwrap();
    call(&["copies", "sync"]).expect_code(0);
    call(&["copies", "status"]).expect_code(0);
}

#[test]
fn a_probe_tells_what_each_place_permits_and_leaves_nothing_where_it_may_remove() {
    let ground = Ground::with_copies(1);
    let free = RestServer::start(&RestServerOptions::open());
    let append_only = RestServer::start(&RestServerOptions { append_only: true, ..RestServerOptions::open() });
    let (Some(free), Some(append_only)) = (free, append_only) else { return };
    let packs = |server: &RestServer| {
        let entries = testkit::manifest(server.folder("repo").join("data")).unwrap().entries;
        // Packs are named by 64 hexadecimal digits, the folders above them by two.
        entries.keys().filter(|path| 64 <= path.len()).count()
    };
    let (free_address, append_address) = (free.repository("repo"), append_only.repository("repo"));
    for address in [&free_address, &append_address] {
        ground.call(&["-r", "1", "copies", "add", address]).expect_code(0);
    }
    let left_by_addition = packs(&append_only);
    assert_eq!(left_by_addition, 1, "an append-only place keeps the sample");
    let ended = ground.call(&["-r", "1", "-r", &free_address, "-r", &append_address, "copies", "probe", "--json"]);
    let lines = probe_lines(&ended.expect_code(0).text());
    let append: Vec<&Value> = lines.iter().map(|line| &line["append_only"]).collect();
    assert_eq!(append, [&Value::Bool(false), &Value::Bool(false), &Value::Bool(true)], "{lines:#?}");
    assert_eq!(lines[2]["code"], "no_delete_permission");
    for line in &lines {
        assert_eq!(line["usable"], true);
        for figure in ["latency_seconds", "upload_bytes_per_second", "download_bytes_per_second"] {
            assert!(0.0 < line[figure].as_f64().unwrap(), "{figure}: {line}");
        }
    }
    assert_eq!((packs(&free), packs(&append_only)), (0, 2));
    // It is remembered: the table of copies says so, and nobody is refused for it.
    ground.call(&["-r", "1", "-r", &free_address, "-r", &append_address, "copies", "sync"]).expect_code(0);
    let status = |more: &[&str]| {
        let words = ["-r", "1", "-r", &free_address, "-r", &append_address, "copies", "status"];
        ground.call(&[&words[..], more].concat()).expect_code(0).text()
    };
    let told: Value = serde_json::from_str(status(&["--json"]).lines().next().unwrap()).unwrap();
    let append: Vec<&Value> = told["copies"].as_array().unwrap().iter().map(|copy| &copy["append_only"]).collect();
    assert_eq!(append, [&Value::Bool(false), &Value::Bool(false), &Value::Bool(true)], "{told:#}");
    let table = status(&[]);
    let line = table.lines().find(|line| line.contains(&append_address)).unwrap();
    assert!(line.contains("append-only") && table.matches("append-only").count() == 1, "{table}");
    // What the samples left is no damage to anybody.
    ground.call(&["-r", &append_address, "check", "--read-data"]).expect_code(0);
}

#[test]
fn a_place_that_cannot_be_used_is_named_with_its_reason() {
    let ground = Ground::with_copies(1);
    let Some(server) = RestServer::start(&RestServerOptions::default()) else { return };
    let address = server.repository("repo").replacen("://", "://alice:wrong@", 1);
    let ca = server.ca_file.as_ref().unwrap().to_str().unwrap();
    let ended = ground.call(&["--cacert", ca, "-r", "1", "-r", &address, "copies", "probe", "--json"]);
    let lines = probe_lines(&ended.expect_code(3).text());
    assert_eq!((&lines[0]["usable"], &lines[1]["usable"]), (&Value::Bool(true), &Value::Bool(false)));
    assert_eq!(lines[1]["code"], "no_read_permission");
    let text = ground.call(&["-r", "nothing-here", "copies", "probe"]).expect_code(1).text();
    assert!(text.starts_with("copy nothing-here: probe_failed: cannot stat `config`"), "{text}");
    assert!(!ground.path("nothing-here").exists());
}
