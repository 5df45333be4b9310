//! Copies on the command line: one that dies midway, catches up, is added; and what `copies status` says of each.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod stage;

use stage::{Place, Stage};
use testkit::process::run;

#[test]
fn a_server_that_dies_midway_leaves_the_others_whole() {
    let mut stage = Stage::full();
    if stage.rest.is_none() {
        return;
    }
    let source = stage.path("source");
    testkit::corpus::tree(&source, 200, 50_000, 5).unwrap();
    stage.init();
    stage.run(0, &["backup", "source"]);
    testkit::corpus::random_file(&source.join("large"), 160 << 20, 6).unwrap();
    let packs = |stage: &Stage| {
        let rest = stage.rest.as_ref().unwrap();
        stage::sums_in(&rest.folder(&format!("{}/repository/data", rest.user))).len()
    };
    let before = packs(&stage);
    let mut child = stage.spawn(&["backup", "source", "--retry-total", "2s"]);
    let arrived = || packs(&stage) > before;
    assert!(testkit::process::wait_until(std::time::Duration::from_secs(60), arrived));
    stage.rest.as_mut().unwrap().server.kill().unwrap();
    let code = child.wait().unwrap().code();
    assert_eq!(code, Some(3));
    let status =
        run(stage.command().args(["copies", "status", "--retry-total", "2s"]), std::time::Duration::from_secs(60));
    let status = status.unwrap();
    assert_eq!(status.code, Some(21), "{}{}", status.text(), status.errors);
    assert!(status.text().contains("not usable"), "{}{}", status.text(), status.errors);

    stage.rest.as_mut().unwrap().server.start_again().unwrap();
    let status = run(stage.command().args(["copies", "status"]), std::time::Duration::from_secs(60)).unwrap();
    assert_eq!(status.code, Some(21), "{}{}", status.text(), status.errors);
    assert!(status.text().contains("behind"), "{}", status.text());
    stage.run(0, &["copies", "sync"]);
    stage.run(0, &["copies", "status"]);
    for place in stage.places() {
        if let Some(restic) = stage.restic("0.19", place) {
            restic.check(true);
        }
    }
}

#[test]
fn an_empty_place_becomes_a_copy_and_nothing_else_does() {
    let stage = Stage::full();
    let source = stage.path("source");
    testkit::corpus::tree(&source, 100, 50_000, 5).unwrap();
    stage.run_on(&[Place::Folder], 0, &["init"]);
    stage.run_on(&[Place::Folder], 0, &["backup", "source"]);
    for &place in &stage.places()[1..] {
        // An empty place is no copy yet, and naming it does not make it one.
        let partial = stage.run_on(&[Place::Folder, place], 3, &["backup", "source"]);
        assert!(partial.errors.contains("copies add"), "{}", partial.errors);
        let address = stage.address(place);
        stage.run_on(&[Place::Folder], 0, &["copies", "add", &address]);
        stage.run_on(&[Place::Folder, place], 0, &["copies", "status"]);
        // Whoever repeats it, because it broke off or by mistake, harms nothing.
        stage.run_on(&[Place::Folder], 0, &["copies", "add", &address]);
    }
    stage.run(0, &["backup", "source"]);
    stage.assert_equal_copies();
    let strange = [stage.path("strange").to_str().unwrap().to_owned()];
    let limit = std::time::Duration::from_secs(60);
    testkit::process::run(stage.command_on(&strange).arg("init"), limit).unwrap().expect_code(0);
    let refused = stage.run_on(&[Place::Folder], 1, &["copies", "add", "strange"]);
    assert!(refused.errors.contains("there is a repository already"), "{}", refused.errors);
    std::fs::create_dir_all(stage.path("taken/data/00")).unwrap();
    std::fs::write(stage.path("taken/data/00").join("00".repeat(32)), b"mine").unwrap();
    let refused = stage.run_on(&[Place::Folder], 1, &["copies", "add", "taken"]);
    assert!(refused.errors.contains("it has no config"), "{}", refused.errors);
    assert_eq!(stage::sums_in(&stage.path("taken")).len(), 1);
}

#[test]
fn a_copy_is_removed_when_another_has_everything_and_not_before() {
    let stage = Stage::full();
    let source = stage.path("source");
    testkit::corpus::tree(&source, 100, 50_000, 5).unwrap();
    stage.init();
    stage.run(0, &["backup", "source"]);
    let folder = stage.address(Place::Folder);
    let others: Vec<Place> = stage.places().into_iter().filter(|place| *place != Place::Folder).collect();
    if others.is_empty() {
        return;
    }
    // What is there beside the repository is not ours.
    std::fs::write(std::path::Path::new(&folder).join("letter"), b"mine").unwrap();
    let held = stage::sums_in(folder.as_ref());

    // A copy that is to stay cannot go, and one with a snapshot that nobody else has must not.
    stage.run_on(&[Place::Folder, others[0]], 2, &["copies", "remove", &folder]);
    testkit::corpus::random_file(&source.join("new"), 1 << 20, 6).unwrap();
    stage.run_on(&[Place::Folder], 0, &["backup", "source"]);
    let refused = stage.run_on(&others, 1, &["copies", "remove", &folder]);
    assert!(refused.errors.contains("no other copy has all"), "{}", refused.errors);
    stage.run(0, &["copies", "sync"]);

    // A dry run tells and keeps.
    let told = stage.run_on(&others, 0, &["copies", "remove", "--dry-run", &folder]);
    assert!(told.text().contains("would be removed"), "{}", told.text());
    assert!(held.keys().all(|path| stage::sums_in(folder.as_ref()).contains_key(path)));

    stage.run_on(&others, 0, &["copies", "remove", &folder]);
    let left: Vec<String> = stage::sums_in(folder.as_ref()).into_keys().collect();
    assert_eq!(left, ["letter"]);
    stage.run_on(&others, 0, &["check", "--read-data"]);
    stage.run_on(&[Place::Folder], 10, &["snapshots"]);
}

/// Killed in the middle, the same call goes on; what is left until then is a copy that is behind.
#[test]
fn a_removal_that_broke_off_goes_on() {
    let stage = Stage::small();
    let source = stage.path("source");
    testkit::corpus::tree(&source, 50, 50_000, 5).unwrap();
    stage.run_on(&[Place::Folder], 0, &["init"]);
    stage.run_on(&[Place::Folder], 0, &["backup", "source"]);
    let second = stage.path("second").to_str().unwrap().to_owned();
    stage.run_on(&[Place::Folder], 0, &["copies", "add", &second]);
    // As a removal leaves it that died after its snapshots and indexes.
    for folder in ["snapshots", "index"] {
        for name in stage::sums_in(&stage.path("second").join(folder)).into_keys() {
            std::fs::remove_file(stage.path("second").join(folder).join(name)).unwrap();
        }
    }
    stage.run_on(&[Place::Folder], 0, &["copies", "remove", &second]);
    assert!(stage::sums_in(&stage.path("second")).is_empty());
    stage.run_on(&[Place::Folder], 0, &["check", "--read-data"]);
}

#[test]
fn a_backup_that_finds_older_packs_lost_everywhere_does_not_end_well() {
    let stage = Stage::small();
    let source = stage.path("source");
    testkit::corpus::tree(&source, 20, 50_000, 5).unwrap();
    stage.run_on(&[Place::Folder], 0, &["init"]);
    stage.run_on(&[Place::Folder], 0, &["backup", "source"]);
    let packs = std::path::PathBuf::from(stage.address(Place::Folder)).join("data");
    let lost = stage::sums_in(&packs).into_keys().next().unwrap();
    std::fs::remove_file(packs.join(&lost)).unwrap();
    let ended = stage.run_on(&[Place::Folder], 3, &["backup", "source", "--force"]);
    assert!(ended.errors.contains("what older snapshots need is damaged"), "{}", ended.errors);
    assert!(ended.errors.contains(lost.rsplit('/').next().unwrap()), "{}", ended.errors);
    assert!(ended.errors.contains("hint: `triplicate check --read-data`"), "{}", ended.errors);
    // What it stored again is there; the index still names the lost pack, so it is told until that is repaired.
    stage.run_on(&[Place::Folder], 0, &["restore", "latest", "--target", "target"]);
    stage.run_on(&[Place::Folder], 3, &["backup", "source"]);
}
