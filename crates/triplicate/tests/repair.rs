//! `repair` on the command line: the plan before anything happens, the copies equal and whole afterwards, and the way
//! back from a lost `config` with nothing but the recovery kit.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod program;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use program::{Ground, PASSWORD};
use testkit::Oracle;

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort_by_key(|path| (std::cmp::Reverse(std::fs::metadata(path).unwrap().len()), path.clone()));
    found
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn filled() -> Ground {
    let ground = Ground::with_copies(2);
    testkit::corpus::tree(&ground.path("source/more"), 30, 20_000, 5).unwrap();
    ground.on(2, &["backup", "source"]).expect_code(0);
    ground
}

fn assert_whole(ground: &Ground) {
    ground.on(2, &["check", "--read-data"]).expect_code(0);
    for copy in ["1", "2"] {
        for restic in Oracle::every_restic(ground.path(copy).to_str().unwrap(), PASSWORD) {
            restic.check(true);
        }
    }
}

#[test]
fn an_index_that_every_copy_lost_is_made_anew() {
    let ground = filled();
    for copy in ["1/index", "2/index"] {
        files(&ground.path(copy)).iter().for_each(|path| std::fs::remove_file(path).unwrap());
    }
    let plan = ground.on(2, &["repair", "index", "--dry-run"]).expect_code(0);
    assert!(plan.text().contains("it is indexed by its header"), "{}", plan.text());
    assert!(files(&ground.path("1/index")).is_empty());
    ground.on(2, &["repair", "index"]).expect_code(0);
    assert_whole(&ground);
    let right = ground.on(2, &["repair", "index", "--read-all-packs"]).expect_code(0);
    assert!(right.text().contains("the index is right"), "{}", right.text());
}

#[test]
fn damaged_packs_are_saved_as_far_as_they_open_and_snapshots_go_on_without_the_rest() {
    let ground = filled();
    let pack = files(&ground.path("1/data"))[0].clone();
    let id = pack.file_name().unwrap().to_str().unwrap().to_owned();
    flip(&pack, 300);
    flip(&ground.path("2/data").join(&id[..2]).join(&id), 300);
    let plan = ground.on(2, &["repair", "packs", &id, "--dry-run"]).expect_code(0);
    assert!(plan.text().contains("1 lost"), "{}", plan.text());
    ground.on(2, &["repair", "packs", &id]).expect_code(3);
    assert!(!pack.exists());
    ground.on(2, &["check", "--read-data"]).expect_code(1);
    let plan = ground.on(2, &["repair", "snapshots", "--dry-run"]).expect_code(0);
    assert!(plan.text().contains("are lost and left out"), "{}", plan.text());
    ground.on(2, &["repair", "snapshots", "--forget"]).expect_code(0);
    assert_eq!(ground.snapshots(), 1);
    assert_whole(&ground);
    let whole = ground.on(2, &["repair", "snapshots"]).expect_code(0);
    assert!(whole.text().contains("every snapshot is whole"), "{}", whole.text());
    ground.on(2, &["repair", "packs", "12"]).expect_code(2);
    ground.on(2, &["repair", "packs"]).expect_code(2);
}

#[test]
fn the_kit_of_a_quickstart_brings_config_and_key_back() {
    let ground = Ground::new();
    ground.call(&["quickstart", "source", "--copy", "1", "--copy", "2"]).expect_code(0);
    let kit = files(&ground.path("home"))
        .into_iter()
        .find(|path| std::fs::read_to_string(path).is_ok_and(|text| text.contains("BEGIN TRIPLICATE KIT")));
    let kit = kit.expect("a kit with lines for a machine");
    let text = std::fs::read_to_string(&kit).unwrap();
    let passphrase = text.lines().find_map(|line| line.strip_prefix("Passphrase:")).unwrap().trim().to_owned();
    let config = std::fs::read(ground.path("1/config")).unwrap();
    for copy in ["1", "2"] {
        std::fs::remove_file(ground.path(copy).join("config")).unwrap();
        files(&ground.path(copy).join("keys")).iter().for_each(|path| std::fs::remove_file(path).unwrap());
    }
    let call = |words: &[&str]| {
        let mut command = ground.command(words);
        command.env("RESTIC_PASSWORD", &passphrase);
        testkit::process::run(&mut command, program::CALL_LIMIT).unwrap()
    };
    let kit = kit.to_str().unwrap();
    call(&["-r", "1", "-r", "2", "snapshots"]).expect_code(10);
    ground.call(&["-r", "1", "-r", "2", "repair", "config", "--kit", kit]).expect_code(12);
    call(&["-r", "1", "-r", "2", "repair", "config", "--kit", kit, "--dry-run"]).expect_code(0);
    assert!(!ground.path("1/config").exists());
    call(&["-r", "1", "-r", "2", "repair", "config", "--kit", kit]).expect_code(0);
    assert_eq!(std::fs::read(ground.path("1/config")).unwrap(), config);
    call(&["-r", "1", "-r", "2", "check", "--read-data"]).expect_code(0);
    for copy in ["1", "2"] {
        for restic in Oracle::every_restic(ground.path(copy).to_str().unwrap(), &passphrase) {
            restic.check(true);
        }
    }
    std::fs::write(ground.path("no kit"), "nothing").unwrap();
    call(&["-r", "1", "repair", "config", "--kit", "no kit"]).expect_code(1);
}
