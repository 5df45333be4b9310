//! Repositories of restic and rustic, and ours in their hands: who writes first makes no difference.
//!
//! Every backup here is of the relative path `source`: the folders above it, which others write to, are then no part of
//! the tree, and equal metadata must give equal tree ids.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub)]

#[path = "../stage/mod.rs"]
mod stage;
mod window;

use std::path::{Path, PathBuf};
use std::time::Duration;

use format::Polynomial;
use serde_json::Value;
use stage::{PASSWORD, Place, Stage};
use testkit::process::{Ended, run};
use testkit::{Aspect, Manifest, Oracle, corpus, manifest};

const CALL_LIMIT: Duration = Duration::from_secs(300);

/// A source and a folder for a repository.
struct Scene {
    stage: Stage,
    source: PathBuf,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let stage = Stage::small();
        let source = stage.path("source");
        corpus::tree(&source, 600, 50_000, seed).unwrap();
        corpus::random_file(&source.join("noise"), 20 << 20, seed + 1).unwrap();
        corpus::text_file(&source.join("prose"), 10 << 20, seed + 2).unwrap();
        std::fs::hard_link(source.join("prose"), source.join("prose-again")).unwrap();
        std::os::unix::fs::symlink("no/where", source.join("link")).unwrap();
        std::fs::create_dir(source.join("empty folder")).unwrap();
        std::fs::write(source.join("<name> & \"name\" \u{e4}\n"), "an odd name").unwrap();
        std::fs::write(source.join("secret"), "for the owner").unwrap();
        let attribute =
            rustix::fs::setxattr(source.join("secret"), "user.note", b"kept", rustix::fs::XattrFlags::empty());
        attribute.expect("the file system holds extended attributes");
        Self { stage, source }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.stage.path(name)
    }

    fn restic(&self, version: &str) -> Option<Oracle> {
        self.stage.restic(version, Place::Folder)
    }

    fn rustic(&self) -> Option<Oracle> {
        self.stage.rustic(Place::Folder)
    }

    /// A file more and a file changed, so that the next backup has something to store.
    fn change(&self, seed: u64) {
        change_in(&self.source, seed);
    }

    /// Makes a repository where rustic cuts as restic does: the large files as they are, and as `change` will leave them.
    fn where_rustic_cuts_as_restic(&self, judge: &Oracle, change: u64, make: impl Fn()) {
        let changed = self.path("changed");
        std::fs::create_dir(&changed).unwrap();
        change_in(&changed, change);
        let paths = ["noise", "prose"].map(|name| self.source.join(name)).into_iter();
        let paths = paths.chain(std::fs::read_dir(&changed).unwrap().map(|entry| entry.unwrap().path()));
        let files: Vec<Vec<u8>> = paths.map(|path| std::fs::read(path).unwrap()).collect();
        std::fs::remove_dir_all(changed).unwrap();
        // It matters to one repository in a few hundred.
        for _ in 0..5 {
            make();
            let polynomial = self.polynomial(judge);
            if !files.iter().any(|file| window::matters(polynomial, file)) {
                return;
            }
            std::fs::remove_dir_all(self.stage.address(Place::Folder)).unwrap();
        }
        panic!("rustic's window mattered to five repositories in turn");
    }

    fn polynomial(&self, judge: &Oracle) -> Polynomial {
        let config: Value = serde_json::from_slice(&self.call(judge, &["cat", "config"]).output).unwrap();
        Polynomial(u64::from_str_radix(config["chunker_polynomial"].as_str().unwrap(), 16).unwrap())
    }

    /// Another tool, called in the folder that holds `source`; it must succeed.
    #[track_caller]
    fn call(&self, judge: &Oracle, words: &[&str]) -> Ended {
        let mut command = judge.command();
        run(command.current_dir(self.stage.scratch.path()).args(words), CALL_LIMIT).unwrap().expect_code(0)
    }

    /// Backs `source` up with another tool; what it says of it.
    #[track_caller]
    fn they_back_up(&self, judge: &Oracle, options: &[&str]) -> Value {
        let words = [&["backup", "--json", "source"], options].concat();
        let said = self.call(judge, &words).text();
        match judge.name() {
            "rustic" => serde_json::from_str::<Value>(&said).unwrap()["summary"].clone(),
            _ => serde_json::from_str(said.lines().last().unwrap()).unwrap(),
        }
    }

    #[track_caller]
    fn we_back_up(&self, options: &[&str]) -> Value {
        let words = [&["backup", "--json", "source"], options].concat();
        let summary: Value = serde_json::from_str(self.stage.run(0, &words).text().lines().last().unwrap()).unwrap();
        assert_eq!(summary["message_type"], "summary");
        summary
    }

    /// The snapshots as restic shows them, oldest first.
    fn their_snapshots(&self, restic: &Oracle) -> Vec<Value> {
        serde_json::from_slice(&self.call(restic, &["snapshots", "--json"]).output).unwrap()
    }

    fn our_snapshots(&self) -> Vec<Value> {
        serde_json::from_slice(&self.stage.run(0, &["snapshots", "--json"]).output).unwrap()
    }

    /// We list, restore and check what is there; `except` is what its writer did not record.
    #[track_caller]
    fn we_read_all(&self, except: &[Aspect]) {
        let expected = manifest(&self.source).unwrap();
        let listed = self.stage.run(0, &["ls", "latest", "--json"]).text();
        let nodes = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let nodes = nodes.filter(|line| line["struct_type"] == "node").count();
        assert_eq!(nodes, expected.entries.len());
        let target = self.path("ours");
        self.stage.run(0, &["restore", "latest", "--verify", "--target", target.to_str().unwrap()]);
        assert_same(&expected, &target, except, "our restore");
        self.stage.run(0, &["check", "--read-data"]);
    }

    /// A judge checks every byte and restores the latest snapshot.
    #[track_caller]
    fn judge_reads_all(&self, judge: &Oracle) {
        judge.check(true);
        let target = self.path("theirs");
        judge.restore("latest", &target);
        assert_same(&manifest(&self.source).unwrap(), &target, &[], judge.name());
    }
}

fn change_in(folder: &Path, seed: u64) {
    corpus::random_file(&folder.join(format!("more-{seed}")), 3 << 20, seed).unwrap();
    corpus::text_file(&folder.join("prose"), 10 << 20, seed).unwrap();
}

/// What was restored of `source` into `target` must be as it was; then the target goes.
#[track_caller]
fn assert_same(expected: &Manifest, target: &Path, except: &[Aspect], who: &str) {
    let restored = manifest(target.join("source")).unwrap();
    let difference = Manifest::difference_except(expected, &restored, except);
    assert!(difference.is_empty(), "{who}: {:#?}", &difference[..difference.len().min(20)]);
    std::fs::remove_dir_all(target).unwrap();
}

#[track_caller]
fn assert_nothing_added(summary: &Value, trees_too: bool) {
    assert_eq!(summary["data_blobs"], 0, "{summary:#}");
    assert!(!trees_too || summary["tree_blobs"] == 0, "{summary:#}");
}

#[track_caller]
fn assert_one_tree(snapshots: &[Value]) {
    let trees: Vec<&str> = snapshots.iter().map(|snapshot| snapshot["tree"].as_str().unwrap()).collect();
    assert!(trees.len() >= 2 && trees.iter().all(|tree| *tree == trees[0]), "{trees:?}");
}

/// restic writes, we read and add to it, restic accepts that and has nothing to add to ours.
fn restic_then_us(version: &str, format: u32, compression: &str, second_judge: Option<&str>) {
    let scene = Scene::new(100 + u64::from(format));
    let Some(restic) = scene.restic(version) else { return };
    // Before version 2 there was nothing to choose.
    let mode: &[&str] = if format == 1 { &[] } else { &["--compression", compression] };
    restic.init(format);
    scene.they_back_up(&restic, mode);
    scene.we_read_all(&[]);

    // With the parent that restic made nothing is read; without it everything is, and the chunks are the same.
    let files = manifest(&scene.source).unwrap().count(testkit::EntryKind::File);
    let quick = scene.we_back_up(mode);
    assert_nothing_added(&quick, true);
    assert_eq!(quick["files_unmodified"], files, "{quick:#}");
    let slow = scene.we_back_up(&[mode, &["--force"]].concat());
    assert_nothing_added(&slow, true);
    assert_one_tree(&scene.their_snapshots(&restic));
    assert_eq!(scene.our_snapshots().len(), 3);

    scene.change(7);
    let ours = scene.we_back_up(mode);
    assert!(ours["data_blobs"].as_u64().unwrap() > 3, "{ours:#}");
    scene.judge_reads_all(&restic);
    let second = match second_judge {
        Some("rustic") => scene.rustic(),
        Some(version) => scene.restic(version),
        None => None,
    };
    second.iter().for_each(|judge| scene.judge_reads_all(judge));
    let again = scene.they_back_up(&restic, &[mode, &["--force"]].concat());
    assert_nothing_added(&again, true);
    assert_one_tree(&scene.their_snapshots(&restic)[3..]);
    scene.we_read_all(&[]);
}

#[test]
fn restic_0_14_version_1() {
    restic_then_us("0.14", 1, "auto", Some("0.19"));
}

#[test]
fn restic_0_14_version_2_auto() {
    restic_then_us("0.14", 2, "auto", Some("rustic"));
}

#[test]
fn restic_0_18_version_1() {
    restic_then_us("0.18", 1, "auto", Some("rustic"));
}

#[test]
fn restic_0_18_version_2_max() {
    restic_then_us("0.18", 2, "max", Some("0.14"));
}

#[test]
fn restic_0_19_version_1() {
    restic_then_us("0.19", 1, "auto", Some("0.14"));
}

#[test]
fn restic_0_19_version_2_off() {
    restic_then_us("0.19", 2, "off", Some("rustic"));
}

#[test]
fn restic_0_19_version_2_auto() {
    restic_then_us("0.19", 2, "auto", Some("0.18"));
}

/// rustic's listings have other fields than restic's, so that only the data are the same.
fn rustic_then_us(scene: &Scene, rustic: &Oracle, make: impl Fn()) {
    scene.where_rustic_cuts_as_restic(rustic, 8, make);
    // As a writer, rustic does not keep what it knows of the very folder that it is told to back up.
    let except = [Aspect::Root];
    scene.they_back_up(rustic, &[]);
    scene.we_read_all(&except);
    assert_nothing_added(&scene.we_back_up(&["--force"]), false);
    scene.we_read_all(&[]);
    scene.change(8);
    scene.we_back_up(&[]);
    scene.judge_reads_all(rustic);
    scene.restic("0.19").iter().for_each(|restic| scene.judge_reads_all(restic));
    assert_nothing_added(&scene.they_back_up(rustic, &["--force"]), false);
    scene.we_read_all(&except);
}

#[test]
fn rustic_version_2() {
    let scene = Scene::new(200);
    let Some(rustic) = scene.rustic() else { return };
    rustic_then_us(&scene, &rustic, || rustic.init(2));
}

#[test]
fn rustic_version_2_without_compression() {
    let scene = Scene::new(210);
    let Some(rustic) = scene.rustic() else { return };
    rustic_then_us(&scene, &rustic, || {
        scene.call(&rustic, &["init", "--set-compression", "0"]);
    });
}

#[test]
fn rustic_in_a_version_1_of_restic() {
    let scene = Scene::new(220);
    let (Some(rustic), Some(restic)) = (scene.rustic(), scene.restic("0.18")) else { return };
    rustic_then_us(&scene, &rustic, || {
        restic.init(1);
        scene.they_back_up(&restic, &[]);
    });
}

/// Just behind the least length of a chunk we cut with restic, where rustic does not.
#[test]
fn where_rustic_cuts_otherwise_we_are_with_restic() {
    let stage = Stage::small();
    let scene = Scene { source: stage.path("source"), stage };
    std::fs::create_dir(&scene.source).unwrap();
    let (Some(rustic), Some(restic)) = (scene.rustic(), scene.restic("0.19")) else { return };
    restic.init(2);
    let polynomial = scene.polynomial(&restic);
    let mut random = testkit::Random::new(230);
    for beyond in [1, 40, 63] {
        let file = window::cut_near_the_least(polynomial, beyond, &mut random);
        assert!(window::matters(polynomial, &file));
        std::fs::write(scene.source.join(format!("cut-{beyond}")), file).unwrap();
    }
    scene.they_back_up(&rustic, &[]);
    let theirs = scene.they_back_up(&restic, &["--force"]);
    assert!(theirs["data_blobs"].as_u64().unwrap() >= 3, "rustic is mended, and `window` can go: {theirs:#}");
    assert_nothing_added(&scene.we_back_up(&["--force"]), true);
    scene.we_read_all(&[]);
}

#[test]
fn we_write_first_and_everybody_adds() {
    let scene = Scene::new(300);
    match scene.rustic() {
        Some(rustic) => scene.where_rustic_cuts_as_restic(&rustic, 8, || scene.stage.init()),
        None => scene.stage.init(),
    }
    scene.we_back_up(&[]);
    for version in testkit::components::RESTIC_VERSIONS {
        let Some(restic) = scene.restic(version) else { continue };
        assert_nothing_added(&scene.they_back_up(&restic, &["--force"]), true);
        assert_one_tree(&scene.their_snapshots(&restic));
        scene.judge_reads_all(&restic);
    }
    if let Some(rustic) = scene.rustic() {
        assert_nothing_added(&scene.they_back_up(&rustic, &["--force"]), false);
        scene.we_read_all(&[Aspect::Root]);
    }
    assert_nothing_added(&scene.we_back_up(&["--force"]), true);
    scene.we_read_all(&[]);
}

#[test]
fn keys_tags_excludes_and_a_prune_of_restic() {
    let scene = Scene::new(400);
    let Some(restic) = scene.restic("0.19") else { return };
    restic.init(2);
    let second = scene.path("second-password");
    std::fs::write(&second, "another password\n").unwrap();
    scene.call(&restic, &["key", "add", "--new-password-file", second.to_str().unwrap()]);
    scene.they_back_up(&restic, &["--tag", "whole,first"]);
    scene.they_back_up(&restic, &["--tag", "part", "--exclude", "*.txt", "--exclude", "noise"]);

    let by_second = ["--password-file", second.to_str().unwrap(), "snapshots", "--json", "--tag", "part"];
    let mut command = scene.stage.command();
    let listed = run(command.env_remove("RESTIC_PASSWORD").args(by_second), CALL_LIMIT).unwrap().expect_code(0);
    let listed: Vec<Value> = serde_json::from_slice(&listed.output).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["excludes"], serde_json::json!(["*.txt", "noise"]));
    let keys = scene.stage.run(0, &["key", "list", "--json"]).text();
    assert_eq!(serde_json::from_str::<Vec<Value>>(&keys).unwrap().len(), 2, "{keys}");

    let target = scene.path("part");
    scene.stage.run(0, &["restore", "latest", "--tag", "part", "--target", target.to_str().unwrap()]);
    let without = |path: &[u8]| path.ends_with(b".txt") || path == b"noise";
    let expected = manifest(&scene.source).unwrap().without(|path, _| without(path));
    assert_same(&expected, &target, &[], "the part");
    // The same excludes of ours make the same tree.
    let ours = scene.we_back_up(&["--exclude", "*.txt", "--exclude", "noise", "--force"]);
    assert_nothing_added(&ours, true);
    assert_one_tree(&scene.their_snapshots(&restic)[1..]);

    // What only the first snapshot needs goes; what we back up next is whole, although its parent knew more.
    scene.call(&restic, &["forget", "--tag", "first", "--keep-last", "1", "--prune"]);
    let first = scene.their_snapshots(&restic)[0]["short_id"].as_str().unwrap().to_owned();
    scene.call(&restic, &["forget", &first, "--prune", "--max-unused", "0"]);
    assert_eq!(scene.our_snapshots().len(), 2);
    let whole = scene.we_back_up(&[]);
    assert!(whole["data_blobs"].as_u64().unwrap() > 10, "what was pruned is stored again: {whole:#}");
    scene.judge_reads_all(&restic);
    scene.we_read_all(&[]);
}

#[test]
fn a_prune_of_rustic_leaves_what_we_need() {
    let scene = Scene::new(450);
    let Some(rustic) = scene.rustic() else { return };
    scene.stage.init();
    scene.we_back_up(&[]);
    std::fs::remove_file(scene.source.join("noise")).unwrap();
    let before = scene.we_back_up(&[])["snapshot_id"].as_str().unwrap().to_owned();
    // rustic marks packs first and removes them in a later prune.
    scene.call(&rustic, &["forget", "--keep-last", "1", "--prune"]);
    let left: Vec<String> = scene.our_snapshots().iter().map(|left| left["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(left, [before.as_str()]);
    scene.we_read_all(&[]);
    scene.call(&rustic, &["prune", "--keep-delete", "0s", "--max-unused", "0"]);
    scene.we_read_all(&[]);
    // What was noise once is stored again, marked or gone as its packs may be.
    corpus::random_file(&scene.source.join("noise"), 20 << 20, 451).unwrap();
    scene.we_back_up(&[]);
    scene.judge_reads_all(&rustic);
    scene.restic("0.19").iter().for_each(|restic| scene.judge_reads_all(restic));
    scene.call(&rustic, &["prune", "--keep-delete", "0s", "--max-unused", "0"]);
    scene.we_read_all(&[]);
    scene.judge_reads_all(&rustic);
}

/// The files of each copy.
fn files_of(scene: &Scene, copies: &[String]) -> Vec<std::collections::BTreeMap<String, String>> {
    copies.iter().map(|copy| stage::sums_in(&scene.path(copy))).collect()
}

#[test]
fn a_prune_of_one_copy_is_seen_and_synced_by_adding() {
    let scene = Scene::new(500);
    let copies: Vec<String> = ["one", "two", "three"].map(str::to_owned).to_vec();
    let ours = |code: i32, words: &[&str]| {
        run(scene.stage.command_on(&copies).args(words), CALL_LIMIT).unwrap().expect_code(code)
    };
    ours(0, &["init"]);
    ours(0, &["backup", "source"]);
    let first = manifest(&scene.source).unwrap();
    std::fs::remove_file(scene.source.join("noise")).unwrap();
    ours(0, &["backup", "source"]);
    let second = manifest(&scene.source).unwrap();
    ours(0, &["copies", "status"]);

    let address = scene.path("two").to_str().unwrap().to_owned();
    let Some(restic) = Oracle::restic("0.19", &address, PASSWORD) else { return };
    let oldest = scene.their_snapshots(&restic)[0]["short_id"].as_str().unwrap().to_owned();
    scene.call(&restic, &["forget", &oldest, "--prune", "--max-unused", "0"]);
    restic.check(true);
    let before = files_of(&scene, &copies);

    // The pruned copy lacks the snapshot and its packs; the others lack what the prune packed anew.
    let status = ours(21, &["copies", "status", "--json"]).text();
    let status: Value = serde_json::from_str(status.lines().next().unwrap()).unwrap();
    let of = |number: usize, field: &str| status["copies"][number][field].as_u64().unwrap();
    assert_eq!([0, 1, 2].map(|number| of(number, "missing_snapshots")), [0, 1, 0], "{status:#}");
    assert!([0, 1, 2].iter().all(|&number| of(number, "missing_files") > 0), "{status:#}");
    ours(0, &["copies", "sync"]);
    ours(0, &["copies", "status"]);

    let after = files_of(&scene, &copies);
    for (before, after) in before.iter().zip(&after) {
        let lost = before.iter().find(|(name, sum)| !name.starts_with("locks/") && after.get(*name) != Some(*sum));
        assert_eq!(lost, None, "a sync took something away");
    }
    assert!(after[0] == after[1] && after[1] == after[2]);
    for copy in &copies {
        let address = scene.path(copy).to_str().unwrap().to_owned();
        let Some(restic) = Oracle::restic("0.18", &address, PASSWORD) else { continue };
        restic.check(true);
        for (snapshot, expected) in [(oldest.as_str(), &first), ("latest", &second)] {
            restic.restore(snapshot, &scene.path("theirs"));
            assert_same(expected, &scene.path("theirs"), &[], copy);
        }
    }
    ours(0, &["check", "--read-data"]);
}
