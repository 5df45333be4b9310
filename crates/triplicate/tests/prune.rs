//! `prune` on the command line: the plan, what it does, what it refuses, and how it says so.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod program;

use std::collections::BTreeSet;
use std::fs;

use program::{Ground, PASSWORD, text};
use serde_json::Value;
use testkit::proxy::{HttpFault, Lie, Rule};
use testkit::{FaultProxy, Oracle, RestServer, RestServerOptions, Verb};

/// Three copies with two snapshots, whose files differ in half.
fn ground() -> Ground {
    let ground = Ground::with_copies(3);
    let fill = |from: u64, to: u64, seed: u64| {
        for number in from..to {
            let path = ground.path("source").join(format!("file-{number}"));
            testkit::corpus::random_file(&path, 40_000, seed + number).unwrap();
        }
    };
    fill(0, 20, 1);
    ground.on(3, &["backup", "source"]).expect_code(0);
    fill(0, 10, 100);
    ground.on(3, &["backup", "source"]).expect_code(0);
    ground
}

fn packs(ground: &Ground, copy: &str) -> usize {
    let folders = fs::read_dir(ground.path(copy).join("data")).unwrap();
    folders.map(|folder| fs::read_dir(folder.unwrap().path()).unwrap().count()).sum()
}

/// The text with single spaces.
fn single_spaced(text: &str) -> String {
    text.split([' ', '\n']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn forget_and_prune_free_what_nobody_needs_and_restic_agrees() {
    let ground = ground();
    let before = packs(&ground, "1");
    let forgot = ground.on(3, &["forget", "--keep-last", "1", "--prune", "--max-unused", "0"]).expect_code(0).text();
    let forgot = single_spaced(&forgot);
    for words in ["removed 1 snapshot", "to repack:", "to mark:", "unused size after prune: 0 B (0.00%"] {
        assert!(forgot.contains(words), "{words}: {forgot}");
    }
    assert!(packs(&ground, "1") > before, "nothing is deleted at once");
    let waiting = ground.on(3, &["prune"]).expect_code(0).text();
    assert!(waiting.contains("marked, waiting:") && waiting.contains("copy 3: nothing to do"), "{waiting}");
    let swept = ground.on(3, &["prune", "--grace", "0s"]).expect_code(0).text();
    let swept = single_spaced(&swept);
    assert!(swept.contains("to delete: 2 packs"), "{swept}");
    for copy in ["1", "2", "3"] {
        assert!(packs(&ground, copy) < before + 2);
        if let Some(restic) = Oracle::restic("0.19", &text(&ground.path(copy)), PASSWORD) {
            restic.check(true);
        }
    }
    ground.on(3, &["copies", "status"]).expect_code(0);
    ground.on(3, &["restore", "latest", "--target", "back", "--verify"]).expect_code(0);
}

#[test]
fn a_dry_run_changes_nothing_and_json_says_it_all() {
    let ground = ground();
    ground.on(3, &["forget", "--keep-last", "1"]).expect_code(0);
    // The cache drops what it has of the forgotten snapshot.
    ground.on(3, &["snapshots"]).expect_code(0);
    let before = ground.everything();
    let dry = ground.on(3, &["prune", "--dry-run", "--max-unused", "0"]).expect_code(0).text();
    assert!(dry.contains("dry run: nothing was changed"), "{dry}");
    ground.assert_untouched(&before);
    let plan = lines(&ground.on(3, &["prune", "--max-unused", "0", "--dry-run", "--json"]).expect_code(0).text());
    let done = lines(&ground.on(3, &["prune", "--max-unused", "0", "--json"]).expect_code(0).text());
    assert_eq!((plan.len(), done.len()), (2, 2));
    assert_eq!((&plan[0]["message_type"], &done[1]["message_type"]), (&"plan".into(), &"summary".into()));
    for field in ["used", "unused", "repack", "rewritten", "mark", "remaining_bytes", "index_files_rewritten"] {
        assert_eq!(plan[0][field], done[0][field], "{field}");
    }
    assert_eq!(done[0]["rewritten"]["blobs"], 13, "ten files, and three small ones");
    assert_eq!(done[0]["mark"]["packs"].as_u64().unwrap() + done[0]["repack"]["packs"].as_u64().unwrap(), 2);
    assert_eq!((&done[1]["verdict"], done[1]["copies"].as_array().unwrap().len()), (&"ok".into(), 3));
}

#[test]
fn refusals_and_mistakes() {
    let ground = ground();
    for (words, told) in [
        (&["prune", "--max-unused", "100%"][..], "100%"),
        (&["prune", "--max-repack-size", "much"], "much"),
        (&["prune", "--grace", "soon"], "soon"),
        (&["prune", "--repack-small", "--repack-smaller-than", "1M"], "--repack-small"),
    ] {
        let refused = ground.on(3, words).expect_code(2);
        assert!(refused.errors.contains(told), "{}", refused.errors);
    }
    let refused = ground.on(3, &["prune", "--no-lock"]).expect_code(1);
    assert!(refused.errors.contains("without locks"), "{}", refused.errors);
    fs::rename(ground.path("2"), ground.path("away")).unwrap();
    let refused = ground.on(3, &["prune", "--retry-total", "1s"]).expect_code(1);
    assert!(refused.errors.contains("nothing is pruned while copy 2 cannot be used"), "{}", refused.errors);
    assert!(refused.errors.contains("hint: "), "{}", refused.errors);
    fs::rename(ground.path("away"), ground.path("2")).unwrap();
    ground.on(3, &["prune"]).expect_code(0);
    let snapshots = fs::read_dir(ground.path("3/snapshots")).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(&snapshots).unwrap();
    let refused = ground.on(3, &["prune", "--believe-listings"]).expect_code(1);
    assert!(refused.errors.contains("copies disagree: 3 lacks snapshot"), "{}", refused.errors);
    assert!(refused.errors.contains("copies sync"), "{}", refused.errors);
    ground.on(3, &["copies", "sync"]).expect_code(0);
    ground.on(3, &["prune", "--believe-listings"]).expect_code(0);
}

#[test]
fn a_server_that_lists_nothing_any_more_loses_nothing() {
    let Some(server) = RestServer::start(&RestServerOptions::open()) else { return };
    let proxy = FaultProxy::start(server.server.port());
    let ground = Ground::new();
    for others in [&[][..], &["-r", "1", "-r", "2"]] {
        let name = format!("beside-{}", others.len());
        let (address, folder) = (proxy.through(&server.repository(&name)), server.folder(&name));
        let on = |words: &[&str]| ground.call(&[&["-r", address.as_str()], others, words].concat());
        on(&["init"]).expect_code(0);
        for seed in 0..3 {
            let path = ground.path("source/file");
            testkit::corpus::random_file(&path, 40_000, seed).unwrap();
            on(&["backup", "source"]).expect_code(0);
        }
        // What only the first snapshot needs is marked and due; what only the second needs is not even marked.
        for keep in ["2", "1"] {
            on(&["forget", "--keep-last", keep]).expect_code(0);
            if keep == "2" {
                on(&["prune", "--max-unused", "0"]).expect_code(0);
            }
        }
        let prune = ["prune", "--max-unused", "0", "--grace", "0s"];
        let files = || {
            let entries = testkit::manifest(&folder).unwrap().entries.into_keys();
            entries.filter(|path| !path.starts_with(b"locks")).collect::<BTreeSet<_>>()
        };
        let before = files();
        for fault in [HttpFault::Listing(Lie::Empty), HttpFault::Listing(Lie::Cut), HttpFault::status(404)] {
            for kind in [format::FileKind::Snapshot, format::FileKind::Index, format::FileKind::Pack] {
                let what = format!("{fault:?} of {kind:?} beside {others:?}");
                proxy.follow([Rule::new(fault.clone()).on(Verb::List).of(kind)]);
                let refused = on(&prune).expect_code(1).errors;
                assert!(proxy.fired() > 0, "{what}");
                assert!(refused.contains(&address) || refused.contains("snapshot"), "{what}: {refused}");
                assert!(before.is_subset(&files()), "{what}: {refused}");
                proxy.heal();
            }
        }
        let done = lines(&on(&[&prune[..], &["--json"]].concat()).expect_code(0).text());
        assert!(done[1]["copies"][0]["files_removed"].as_u64().unwrap() > 0, "there was something to remove: {done:?}");
        if let Some(restic) = Oracle::restic("0.19", &text(&folder), PASSWORD) {
            restic.check(true);
        }
    }
}
