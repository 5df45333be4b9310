//! `quickstart` from an empty home, again, after interruptions, and with what it must refuse.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod program;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use program::{CALL_LIMIT, Ground};
use testkit::components;
use testkit::process::{Ended, run};

fn quickstart(ground: &Ground, words: &[&str]) -> Ended {
    let mut command = ground.command(&["quickstart"]);
    run(command.args(words).env_remove("RESTIC_PASSWORD"), CALL_LIMIT).unwrap()
}

fn config(ground: &Ground, name: &str) -> PathBuf {
    ground.path("home/.config/triplicate").join(name)
}

fn copy(ground: &Ground, number: usize) -> PathBuf {
    ground.path(&format!("home/.local/share/triplicate/copies/{number}"))
}

#[test]
fn from_an_empty_home_to_three_proven_copies() {
    let ground = Ground::new();
    std::fs::hard_link(ground.path("source/file"), ground.path("source/further")).unwrap();
    let ended = quickstart(&ground, &["source"]).expect_code(0);
    for words in ["3 of 3 copies sound", "all equal", "3 folders on one disk are not 3 places", "Print "] {
        assert!(ended.text().contains(words), "`{words}` is not in:\n{}", ended.text());
    }
    let passphrase = std::fs::read_to_string(config(&ground, "passphrase")).unwrap();
    assert!(!ended.text().contains(passphrase.trim()) && !ended.errors.contains(passphrase.trim()));
    for name in ["passphrase", "triplicate.toml", "recovery-kit.txt"] {
        let mode = config(&ground, name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let manifests: Vec<_> = (1..=3).map(|number| testkit::manifest(copy(&ground, number)).unwrap()).collect();
    for other in &manifests[1..] {
        let differences =
            testkit::Manifest::difference_except(&manifests[0], other, &[testkit::Aspect::Time, testkit::Aspect::Root]);
        assert!(differences.is_empty(), "{differences:#?}");
    }
    assert!(!ground.path("home/.local/share/triplicate/proof-restore").exists());
    let toml: toml::Table =
        toml::from_str(&std::fs::read_to_string(config(&ground, "triplicate.toml")).unwrap()).unwrap();
    assert_eq!(toml["repository"]["copies"].as_array().unwrap().len(), 3);
}

#[test]
fn the_kit_is_enough_for_plain_restic() {
    let ground = Ground::new();
    quickstart(&ground, &["source"]).expect_code(0);
    let kit = std::fs::read_to_string(config(&ground, "recovery-kit.txt")).unwrap();
    let passphrase = kit.lines().find_map(|line| line.strip_prefix("Passphrase:")).unwrap().trim().to_owned();
    let mut commands: Vec<(PathBuf, String)> = Vec::new();
    for line in kit.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("triplicate ") {
            commands.push((env!("CARGO_BIN_EXE_triplicate").into(), words.to_owned()));
        }
        if let Some(words) = line.strip_prefix("restic ") {
            commands.extend(components::every_restic().into_iter().map(|(_, program)| (program, words.to_owned())));
        }
    }
    assert!(commands.len() >= 3, "{kit}");
    let before = testkit::manifest(ground.path("source")).unwrap();
    for (program, words) in commands {
        let words: Vec<&str> = words.split(' ').collect();
        let mut command = ground.command_of(&program, &words);
        run(command.env("RESTIC_PASSWORD", &passphrase), CALL_LIMIT).unwrap().expect_code(0);
        let restored = testkit::manifest(ground.path("restored")).unwrap().below(&ground.path("source"));
        let differences = testkit::Manifest::difference(&before, &restored);
        assert!(differences.is_empty(), "{}: {differences:#?}", program.display());
        std::fs::remove_dir_all(ground.path("restored")).unwrap();
    }
}

#[test]
fn a_second_call_goes_on_and_overwrites_nothing() {
    let ground = Ground::new();
    quickstart(&ground, &["source"]).expect_code(0);
    let names = ["passphrase", "triplicate.toml", "recovery-kit.txt"];
    let read = || names.map(|name| std::fs::read(config(&ground, name)).unwrap());
    let (before, keys) = (read(), listed(copy(&ground, 1).join("keys")));
    std::fs::write(ground.path("source/new"), "new").unwrap();
    let ended = quickstart(&ground, &["source"]).expect_code(0);
    assert_eq!(ended.text().matches("taken as it is").count(), 4, "{}", ended.text());
    assert_eq!(read(), before);
    assert_eq!(listed(copy(&ground, 1).join("keys")), keys);
    assert_eq!(listed(copy(&ground, 1).join("snapshots")).len(), 2);
}

fn listed(folder: PathBuf) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[test]
fn interrupted_halves_are_completed() {
    let ground = Ground::new();
    quickstart(&ground, &["source"]).expect_code(0);
    let passphrase = std::fs::read(config(&ground, "passphrase")).unwrap();
    // As after an interruption between the first and the second config: no backup yet, one copy without a config, one
    // with nothing, no kit, and what a proof restore left behind.
    for number in 1..=3 {
        for folder in ["data", "index", "snapshots"] {
            std::fs::remove_dir_all(copy(&ground, number).join(folder)).unwrap();
            std::fs::create_dir(copy(&ground, number).join(folder)).unwrap();
        }
    }
    std::fs::remove_file(copy(&ground, 2).join("config")).unwrap();
    std::fs::remove_dir_all(copy(&ground, 3)).unwrap();
    std::fs::remove_file(config(&ground, "recovery-kit.txt")).unwrap();
    let left = ground.path("home/.local/share/triplicate/proof-restore/left");
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("over"), "").unwrap();

    let ended = quickstart(&ground, &["source"]).expect_code(0);
    assert!(ended.text().contains("3 of 3 copies sound"), "{}", ended.text());
    assert_eq!(std::fs::read(config(&ground, "passphrase")).unwrap(), passphrase);
    assert!(config(&ground, "recovery-kit.txt").exists() && !left.exists());
    for number in 2..=3 {
        for name in ["config", "keys"] {
            let differences = testkit::Manifest::difference_except(
                &testkit::manifest(copy(&ground, 1).join(name)).unwrap(),
                &testkit::manifest(copy(&ground, number).join(name)).unwrap(),
                &[testkit::Aspect::Time, testkit::Aspect::Root],
            );
            assert!(differences.is_empty(), "{differences:#?}");
        }
    }
}

#[test]
fn a_copy_that_is_gone_after_a_backup_is_not_made_again() {
    let ground = Ground::new();
    quickstart(&ground, &["source"]).expect_code(0);
    std::fs::remove_dir_all(copy(&ground, 2)).unwrap();
    let ended = quickstart(&ground, &["source"]).expect_code(3);
    assert!(ended.errors.contains("1 of 3 copies is behind"), "{}", ended.errors);
    assert!(!copy(&ground, 2).exists(), "it may be a disk that is not mounted");
}

#[test]
fn a_lost_passphrase_is_told_and_not_replaced() {
    let ground = Ground::new();
    quickstart(&ground, &["source"]).expect_code(0);
    std::fs::remove_file(config(&ground, "passphrase")).unwrap();
    let before = ground.everything();
    let ended = quickstart(&ground, &["source"]).expect_code(1);
    assert!(ended.errors.contains("is missing, and there is a repository at"), "{}", ended.errors);
    assert!(ended.errors.contains("hint: write the passphrase from the recovery kit"), "{}", ended.errors);
    ground.assert_untouched(&before);
}

#[test]
fn what_cannot_be_backed_up_leaves_nothing_behind() {
    let ground = Ground::new();
    std::fs::create_dir_all(ground.path("empty/of/files")).unwrap();
    std::os::unix::fs::symlink("source", ground.path("link")).unwrap();
    let before = ground.everything();
    for (words, code, message) in [
        (&["nowhere"][..], 1, "does not exist"),
        (&["empty"], 1, "holds no files"),
        (&["link"], 1, "is a symbolic link"),
        (&["source/folder", "--copy", "source"], 2, "lies in the copy"),
    ] {
        let ended = quickstart(&ground, words).expect_code(code);
        assert!(ended.errors.contains(message), "{}", ended.errors);
        ground.assert_untouched(&before);
    }
}

#[test]
fn copies_inside_the_source_are_left_out_and_that_is_said() {
    let ground = Ground::new();
    let ended = quickstart(&ground, &["source", "--copy", "source/copies [1]", "--copy", "2"]).expect_code(0);
    assert!(ended.errors.contains("source/copies [1]` is inside the source and is left out"), "{}", ended.errors);
    let passphrase = std::fs::read_to_string(config(&ground, "passphrase")).unwrap();
    let mut command = ground.command(&["-r", "2", "ls", "latest"]);
    let listed = run(command.env("RESTIC_PASSWORD", passphrase.trim()), CALL_LIMIT).unwrap().expect_code(0);
    assert!(listed.text().contains("source/folder/second") && !listed.text().contains("copies"), "{}", listed.text());
}

#[test]
fn a_mistake_in_the_configuration_is_shown_with_its_line() {
    let ground = Ground::new();
    std::fs::create_dir_all(ground.path("home/.config/triplicate")).unwrap();
    std::fs::write(config(&ground, "triplicate.toml"), "version = 1\n[repository]\ncopis = []\n").unwrap();
    let before = ground.everything();
    let ended = quickstart(&ground, &["source"]).expect_code(2);
    assert!(ended.errors.contains("triplicate.toml`, line 3") && ended.errors.contains("copis"), "{}", ended.errors);
    ground.assert_untouched(&before);
}
