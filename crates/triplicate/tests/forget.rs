//! `forget` on the command line: what it shows, what it says when it refuses, and restic's JSON.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod program;

use program::{Ground, PASSWORD};
use serde_json::Value;
use testkit::Oracle;
use testkit::process::Ended;

/// Two copies with a snapshot at each of these times; the source grows from one to the next.
fn ground(times: &[&str]) -> Ground {
    let ground = Ground::with_copies(2);
    for (number, time) in times.iter().enumerate() {
        std::fs::write(ground.path(&format!("source/{number}")), "more").unwrap();
        ground.on(2, &["backup", "source", "--host", "h", "--tag", "a,b", "--time", time]).expect_code(0);
    }
    ground
}

const TIMES: [&str; 5] =
    ["2026-01-01 10:00:00", "2026-01-01 11:00:00", "2026-01-02 10:00:00", "2026-01-02 12:00:00", "2026-02-03 10:00:00"];

/// Without what differs from run to run: ids, the scratch folder, and the widths that follow from it.
fn plain(ground: &Ground, text: &str) -> String {
    let text = text.replace(ground.scratch.path().to_str().unwrap(), "GROUND");
    let is_id = |word: &str| word.len() == 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let line = |line: &str| {
        let words = line.split_whitespace().map(|word| if is_id(word) { "ID" } else { word });
        let words = words.map(|word| if word.starts_with("----") { "----" } else { word });
        let words = words.map(|word| word.split(",run:").next().unwrap_or(word));
        words.collect::<Vec<_>>().join(" ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn snapshots(ground: &Ground, copy: usize) -> usize {
    std::fs::read_dir(ground.path(&format!("{copy}/snapshots"))).unwrap().count()
}

#[track_caller]
fn assert_refused(ground: &Ground, words: &[&str], code: i32, message: &str, hint: &str) -> Ended {
    let before = (snapshots(ground, 1), snapshots(ground, 2));
    let ended = ground.on(2, words).expect_code(code);
    let line = |mark: &str| ended.errors.lines().find(|line| line.starts_with(mark)).unwrap_or_default();
    assert!(line("error: ").contains(message), "`{message}` is not in:\n{}", ended.errors);
    assert!(line("hint: ").contains(hint), "`{hint}` is not in:\n{}", ended.errors);
    assert_eq!(before, (snapshots(ground, 1), snapshots(ground, 2)));
    ended
}

#[test]
fn the_plan_is_shown_and_then_carried_out() {
    let ground = ground(&TIMES);
    let words = ["forget", "--keep-daily", "2", "--keep-last", "1"];
    let dry = ground.on(2, &[&words[..], &["--dry-run"]].concat()).expect_code(0).text();
    let table = "\
Applying Policy: keep 1 latest, 2 daily snapshots
snapshots for (host [h], paths [GROUND/source]):
keep 2 snapshots:
ID Time Host Tags Reasons Paths Size
----
ID 2026-01-02 12:00:00 h a,b daily snapshot GROUND/source 35 B
ID 2026-02-03 10:00:00 h a,b last snapshot GROUND/source 39 B
daily snapshot
----
2 snapshots

remove 3 snapshots:
ID Time Host Tags Paths Size
----
ID 2026-01-01 10:00:00 h a,b GROUND/source 23 B
ID 2026-01-01 11:00:00 h a,b GROUND/source 27 B
ID 2026-01-02 10:00:00 h a,b GROUND/source 31 B
----
3 snapshots
";
    assert_eq!(plain(&ground, &dry), format!("{table}\nwould remove 3 snapshots"));
    assert_eq!((snapshots(&ground, 1), snapshots(&ground, 2)), (5, 5));
    let done = ground.on(2, &words).expect_code(0).text();
    assert_eq!(plain(&ground, &done), format!("{table}\nremoved 3 snapshots"));
    assert_eq!((snapshots(&ground, 1), snapshots(&ground, 2)), (2, 2));
    let again = ground.on(2, &words).expect_code(0).text();
    assert!(again.ends_with("no snapshots were removed\n"), "{again}");
    if let Some(restic) = Oracle::restic("0.19", ground.path("2").to_str().unwrap(), PASSWORD) {
        restic.check(true);
    }
    ground.on(2, &["check", "--read-data"]).expect_code(0);
    // Both are verified now; the newest of them is the one that stays.
    assert_refused(&ground, &["forget", "latest"], 1, "is the last verified one of host `h`", "check --read-data");
}

#[test]
fn json_is_restics() {
    let ground = ground(&TIMES);
    let Some(restic) = Oracle::restic("0.19", ground.path("1").to_str().unwrap(), PASSWORD) else { return };
    for rules in [
        &["--keep-daily", "2"][..],
        &["--keep-last", "9"],
        &["--keep-within", "3d", "-g", "host"],
        &["-l", "1", "-g", ""],
    ] {
        let words = [&["forget", "--dry-run", "--no-lock", "--json"][..], rules].concat();
        let theirs: Value = serde_json::from_str(&restic.ok(&words).text()).unwrap();
        let ended = ground.on(2, &words).expect_code(0);
        let mut ours: Value = serde_json::from_str(&ended.text()).unwrap();
        for reason in ours.as_array_mut().unwrap().iter_mut().flat_map(|group| group["reasons"].as_array_mut().unwrap())
        {
            // Older versions of restic have them.
            assert!(reason.as_object_mut().unwrap().remove("counters").unwrap().is_object());
        }
        assert_eq!(ours, theirs, "{rules:?}");
    }
    // The tags of the run, which no two snapshots share, are none to group by.
    let by_tags = ground.on(2, &["forget", "-n", "--json", "--keep-last", "1", "-g", "tags"]).expect_code(0);
    let by_tags: Value = serde_json::from_str(&by_tags.text()).unwrap();
    assert_eq!((by_tags.as_array().unwrap().len(), &by_tags[0]["tags"]), (1, &serde_json::json!(["a", "b"])));
    let ended = ground.on(2, &["forget", "--json", "--keep-last", "1"]).expect_code(0);
    let groups: Value = serde_json::from_str(&ended.text()).unwrap();
    assert_eq!(groups[0]["remove"].as_array().unwrap().len(), 4);
    let summary: Value = serde_json::from_str(ended.errors.lines().last().unwrap()).unwrap();
    assert_eq!((&summary["message_type"], &summary["verdict"]), (&"summary".into(), &"ok".into()));
    assert_eq!(summary["copies"][1]["removed"], 4);
}

#[test]
fn mistakes_remove_nothing() {
    let ground = ground(&TIMES[..2]);
    let keep = ["forget", "--keep-last", "1"];
    assert_refused(&ground, &["forget"], 1, "no policy was specified, no snapshots will be removed", "--keep-last");
    let group = "refusing to delete last snapshot of snapshot group \"host h, path [";
    assert_refused(&ground, &["forget", "--keep-tag", "typo"], 1, group, "check the tags");
    let all = ["forget", "--unsafe-allow-remove-all"];
    assert_refused(&ground, &all, 1, "--unsafe-allow-remove-all is not allowed unless", "--host");
    assert_refused(&ground, &[&keep[..], &["--no-lock"]].concat(), 2, "--no-lock is only applicable", "");
    assert_refused(&ground, &["forget", "0000000000"], 1, "no snapshot begins with `0000000000`", "snapshots");
    for wrong in [
        &["--keep-last", "-2"][..],
        &["--keep-last", "many"],
        &["--keep-within", "5"],
        &["--keep-within", "1w"],
        &["--group-by", "colour"],
        &["--shrink-limit", "101"],
    ] {
        ground.on(2, &[&["forget"][..], wrong].concat()).expect_code(2);
    }
    let last = ["forget", "latest", "--unsafe-remove-last-verified", "ab"];
    assert_refused(&ground, &last, 2, "needs 8 digits", "");
    // A copy that is behind.
    let lost = std::fs::read_dir(ground.path("2/snapshots")).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_file(lost).unwrap();
    assert_refused(&ground, &keep, 1, "the copies disagree", "copies sync");
    let away = ["-r", "nowhere", "forget", "--keep-last", "1"];
    assert_refused(&ground, &away, 1, "copy nowhere cannot be used", "every copy that is named");
    ground.on(2, &["copies", "sync"]).expect_code(0);
    ground.on(2, &keep).expect_code(0);
    assert_eq!((snapshots(&ground, 1), snapshots(&ground, 2)), (1, 1));
}

#[test]
fn the_last_of_a_source_goes_by_its_word_only() {
    let ground = ground(&TIMES[..2]);
    let all: Vec<String> = std::fs::read_dir(ground.path("1/snapshots"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let words: Vec<&str> = ["forget"].into_iter().chain(all.iter().map(|id| &id[..12])).collect();
    assert_refused(&ground, &words, 1, "would be left of host `h`", "--unsafe-allow-remove-all");
    let other = ["forget", "--unsafe-allow-remove-all", "--host", "somebody"];
    ground.on(2, &other).expect_code(0);
    assert_eq!(snapshots(&ground, 1), 2);
    ground.on(2, &["forget", "--unsafe-allow-remove-all", "--host", "h"]).expect_code(0);
    assert_eq!((snapshots(&ground, 1), snapshots(&ground, 2)), (0, 0));
}

#[test]
fn what_looks_wrong_is_kept_and_named() {
    let ground = ground(&TIMES[..3]);
    std::fs::remove_dir_all(ground.path("source")).unwrap();
    std::fs::create_dir(ground.path("source")).unwrap();
    std::fs::write(ground.path("source/file"), "1").unwrap();
    ground.on(2, &["backup", "source", "--host", "h", "--time", "2026-01-05 10:00:00"]).expect_code(0);
    ground.on(2, &["backup", "source", "--host", "h", "--time", "2099-01-05 10:00:00"]).expect_code(0);
    let keep = ["forget", "--keep-last", "1"];
    let ended = ground.on(2, &keep).expect_code(0);
    assert!(ended.errors.contains("warning: nothing is removed of host `h`"), "{}", ended.errors);
    assert!(ended.errors.contains("--accept-shrink"), "{}", ended.errors);
    assert!(ended.errors.contains("is dated in the future"), "{}", ended.errors);
    assert!(ended.text().contains("its source has shrunk"), "{}", ended.text());
    assert_eq!(snapshots(&ground, 1), 5);
    ground.on(2, &[&keep[..], &["--accept-shrink"]].concat()).expect_code(0);
    assert_eq!((snapshots(&ground, 1), snapshots(&ground, 2)), (2, 2));
}
