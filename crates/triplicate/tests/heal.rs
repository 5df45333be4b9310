//! `copies heal` and `check --rolling` on the command line: what they say, what they change, and how they end.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod program;
mod stage;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use program::{Ground, PASSWORD};
use stage::{Place, Stage};
use testkit::Oracle;

/// The files of one folder of a copy, the largest first.
fn files(ground: &Ground, folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![ground.path(folder)];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort_by_key(|path| (std::cmp::Reverse(std::fs::metadata(path).unwrap().len()), path.clone()));
    found
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn filled(copies: usize) -> Ground {
    let ground = Ground::with_copies(copies);
    testkit::corpus::tree(&ground.path("source/more"), 30, 20_000, 5).unwrap();
    ground.on(copies, &["backup", "source"]).expect_code(0);
    ground
}

fn contents(ground: &Ground, copy: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let root = ground.path(copy);
    let read = |path: PathBuf| (path.strip_prefix(&root).unwrap().to_owned(), std::fs::read(&path).unwrap());
    let mut all: Vec<_> = files(ground, copy).into_iter().map(read).collect();
    all.sort();
    all
}

#[test]
fn a_damaged_copy_is_equal_to_the_others_again() {
    let ground = filled(3);
    let before = contents(&ground, "1");
    flip(&files(&ground, "2/data")[0]);
    flip(&files(&ground, "2/index")[0]);
    flip(&ground.path("3/config"));
    std::fs::remove_file(&files(&ground, "3/snapshots")[0]).unwrap();
    ground.on(3, &["check", "--read-data"]).expect_code(1);

    let plan = ground.on(3, &["copies", "heal", "--read-data", "--dry-run"]).expect_code(0);
    assert_eq!(plan.text().matches("would be").count(), 4, "{}", plan.text());
    assert_ne!(contents(&ground, "2"), before);

    let healed = ground.on(3, &["copies", "heal", "--read-data", "--json"]).expect_code(0);
    let text = healed.text();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().filter(|line| line["message_type"] == "plan").count(), 4, "{lines:#?}");
    let summary = lines.last().unwrap();
    assert_eq!((&summary["message_type"], &summary["verdict"]), (&"summary".into(), &"ok".into()));
    assert_eq!((&summary["copies"][1]["replaced"], &summary["copies"][2]["brought"]), (&2.into(), &1.into()));
    for copy in ["1", "2", "3"] {
        assert!(contents(&ground, copy) == before, "copy {copy}");
        for restic in Oracle::every_restic(ground.path(copy).to_str().unwrap(), PASSWORD) {
            restic.check(true);
        }
    }
    let aside = PathBuf::from(summary["aside"].as_str().unwrap());
    assert!(aside.starts_with(ground.path("home")));
    ground.on(3, &["check", "--read-data"]).expect_code(0);
    let nothing = ground.on(3, &["copies", "heal"]).expect_code(0);
    assert!(nothing.text().contains("nothing to heal"), "{}", nothing.text());
}

#[test]
fn what_is_lost_on_every_copy_is_named_and_ends_with_1() {
    let ground = filled(2);
    for copy in ["1", "2"] {
        std::fs::remove_file(&files(&ground, &format!("{copy}/data"))[0]).unwrap();
    }
    let ended = ground.on(2, &["copies", "heal"]).expect_code(1);
    assert!(ended.errors.contains("no copy has a sound `data/"), "{}", ended.errors);
    assert!(
        ended.errors.contains("no copy can give back `/source") || ended.errors.contains("/source/"),
        "{}",
        ended.errors
    );
}

#[test]
fn a_rolling_check_says_what_it_read_and_what_is_overdue() {
    let ground = filled(2);
    let first = ground.on(2, &["check", "--rolling", "--within", "1d"]).expect_code(0);
    assert!(first.text().contains("nothing is overdue, 0 never read"), "{}", first.text());
    let again = ground.on(2, &["check", "--rolling", "--within", "1d", "--json"]).expect_code(0);
    let text = again.text();
    let summary: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(summary["copies"][0]["rolling"]["packs"], 0, "{summary:#}");
    flip(&files(&ground, "2/data")[0]);
    ground.on(2, &["check", "--rolling", "--within", "0d"]).expect_code(2);
    ground.on(2, &["check", "--within", "3d"]).expect_code(2);
    ground.on(2, &["check", "--rolling", "--read-data"]).expect_code(2);
    ground.on(2, &["check", "--rolling", "--at-most", "much"]).expect_code(2);
}

#[test]
fn a_damaged_copy_on_a_server_is_healed_through_the_server() {
    let stage = Stage::full();
    let Some(rest) = &stage.rest else { return };
    testkit::corpus::tree(&stage.path("source"), 30, 20_000, 5).unwrap();
    stage.init();
    stage.run(0, &["backup", "source"]);
    let root = rest.folder(&format!("{}/repository", rest.user));
    let largest = |folder: &str| {
        let mut found = Vec::new();
        let mut open = vec![root.join(folder)];
        while let Some(next) = open.pop() {
            for entry in std::fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { open.push(path) } else { found.push(path) }
            }
        }
        found.into_iter().max_by_key(|path| std::fs::metadata(path).unwrap().len()).unwrap()
    };
    flip(&largest("data"));
    flip(&largest("index"));
    flip(&largest("snapshots"));
    flip(&root.join("config"));
    stage.run(1, &["check", "--read-data"]);
    stage.run(0, &["copies", "heal", "--read-data"]);
    stage.assert_equal_copies();
    stage.run(0, &["check", "--read-data"]);
    if let Some(restic) = stage.restic("0.19", Place::Rest) {
        restic.check(true);
    }
}
