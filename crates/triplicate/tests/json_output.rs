//! `--json`: every line fits a strict schema, and every field that restic has is there with restic's name and type.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, dead_code)]

mod program;

use program::{CALL_LIMIT, Ground, deaf_address};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use testkit::components;
use testkit::process::{Ended, run};

/// Fields that restic measures and we do not; leaving them out is better than a made-up number.
const NOT_MEASURED: [&str; 5] =
    ["duration", "data_size_in_repo", "metadata_size", "metadata_size_in_repo", "total_files"];

/// RFC 3339.
struct Time(jiff::Timestamp);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Time).map_err(serde::de::Error::custom)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Initialized {
    message_type: String,
    id: String,
    repository: String,
    copies: Vec<String>,
}

#[derive(Deserialize)]
#[serde(tag = "message_type", rename_all = "snake_case", deny_unknown_fields)]
enum Backup {
    Status {
        percent_done: f64,
        seconds_elapsed: Option<u64>,
        seconds_remaining: Option<u64>,
        total_files: Option<u64>,
        files_done: Option<u64>,
        total_bytes: Option<u64>,
        bytes_done: Option<u64>,
        error_count: Option<u64>,
    },
    VerboseStatus {
        action: String,
        item: String,
        data_size: u64,
    },
    Summary {
        files_new: u64,
        files_changed: u64,
        files_unmodified: u64,
        dirs_new: u64,
        dirs_changed: u64,
        dirs_unmodified: u64,
        data_blobs: u64,
        tree_blobs: u64,
        data_added: u64,
        data_added_packed: u64,
        total_files_processed: u64,
        total_bytes_processed: u64,
        total_duration: f64,
        backup_start: Time,
        backup_end: Time,
        snapshot_id: Option<String>,
        dry_run: Option<bool>,
        unchanged: bool,
        verdict: String,
        troubles: u64,
        copies: Vec<CopyEnd>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CopyEnd {
    copy: String,
    verdict: String,
    files_written: u64,
    bytes_written: u64,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "message_type", rename_all = "snake_case", deny_unknown_fields)]
enum ErrorLine {
    Error { error: Message, during: String, item: String, kind: Option<String>, copy: Option<String> },
    ExitError { code: u8, message: String, hints: Option<Vec<String>> },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Snapshot {
    time: Time,
    tree: String,
    paths: Vec<String>,
    hostname: String,
    username: String,
    uid: Option<u32>,
    gid: Option<u32>,
    parent: Option<String>,
    excludes: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    program_version: String,
    summary: Value,
    id: String,
    short_id: String,
    message_type: Option<String>,
    struct_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Node {
    name: String,
    r#type: String,
    path: String,
    uid: u32,
    gid: u32,
    size: Option<u64>,
    mode: u32,
    permissions: String,
    mtime: Time,
    atime: Time,
    ctime: Time,
    inode: u64,
    link_target: Option<String>,
    message_type: String,
    struct_type: String,
}

#[derive(Deserialize)]
#[serde(tag = "message_type", rename_all = "snake_case", deny_unknown_fields)]
enum Restore {
    Status {
        percent_done: f64,
        seconds_elapsed: Option<u64>,
        total_files: Option<u64>,
        files_restored: Option<u64>,
        total_bytes: Option<u64>,
        bytes_restored: Option<u64>,
    },
    VerboseStatus {
        action: String,
        item: String,
        size: u64,
    },
    Summary {
        total_files: u64,
        files_restored: u64,
        files_skipped: Option<u64>,
        files_deleted: Option<u64>,
        total_bytes: u64,
        bytes_restored: u64,
        bytes_skipped: Option<u64>,
        verdict: String,
        troubles: u64,
        files_verified: u64,
        owners_not_set: u64,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    message_type: String,
    num_errors: u64,
    broken_packs: Option<Vec<String>>,
    suggest_repair_index: bool,
    suggest_prune: bool,
    verdict: String,
    seed: String,
    copies: Vec<CheckedCopy>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckedCopy {
    copy: String,
    verdict: String,
    num_errors: u64,
    broken_packs: Vec<String>,
    affected_snapshots: Vec<String>,
    error: Option<String>,
    snapshots: u64,
    index_files: u64,
    keys: u64,
    packs: u64,
    pack_bytes: u64,
    packs_unindexed: u64,
    packs_read: u64,
    bytes_read: u64,
    blobs_read: u64,
    rolling: Option<Rolled>,
}

/// What a part of a rolling check read of a copy, and what is left.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rolled {
    packs: u64,
    bytes: u64,
    overdue_packs: u64,
    overdue_bytes: u64,
    never_read_packs: u64,
}

/// Every line of standard output as one of these.
#[track_caller]
fn lines<T: DeserializeOwned>(ended: &Ended) -> Vec<T> {
    let text = ended.text();
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(parse).collect()
}

#[test]
fn init_backup_and_restore() {
    let ground = Ground::new();
    let made: Vec<Initialized> = lines(&ground.on(2, &["init", "--json"]).expect_code(0));
    assert_eq!((made[0].message_type.as_str(), made[0].copies.len()), ("initialized", 2));

    let backup: Vec<Backup> = lines(&ground.on(2, &["backup", "source", "--json", "-vv"]).expect_code(0));
    let Some(Backup::Summary { files_new: 2, verdict, copies, snapshot_id: Some(_), unchanged: false, .. }) =
        backup.last()
    else {
        panic!("no summary");
    };
    assert_eq!((verdict.as_str(), copies.len()), ("ok", 2));
    let news = backup.iter().filter(|line| matches!(line, Backup::VerboseStatus { action, .. } if action == "new"));
    assert!(news.count() >= 2);
    let dry: Vec<Backup> = lines(&ground.on(2, &["backup", "source", "--json", "-n"]).expect_code(0));
    assert!(matches!(
        dry.last(),
        Some(Backup::Summary { dry_run: Some(true), snapshot_id: None, unchanged: true, .. })
    ));

    let words = ["restore", "latest", "--target", "target", "--json", "-vv", "--verify"];
    let restored: Vec<Restore> = lines(&ground.on(2, &words).expect_code(0));
    assert!(matches!(restored.last(), Some(Restore::Summary { files_verified: 2, troubles: 0, .. })));
}

#[test]
fn snapshots_ls_and_check() {
    let ground = Ground::with_copies(2);
    ground.on(2, &["backup", "source", "--tag", "a,b", "--exclude", "nothing"]).expect_code(0);
    let snapshots: Vec<Vec<Snapshot>> = lines(&ground.on(2, &["snapshots", "--json"]).expect_code(0));
    let tags = snapshots[0][0].tags.clone().unwrap();
    assert_eq!(tags[..2], ["a".to_owned(), "b".to_owned()]);
    let run = tags[2].strip_prefix("run:").unwrap();
    assert!(run.len() == 16 && run.bytes().all(|byte| byte.is_ascii_hexdigit()), "{tags:?}");
    assert_eq!(tags[3].parse::<i64>().unwrap(), snapshots[0][0].time.0.as_second());
    assert_eq!(tags.len(), 4);

    let listed = ground.on(1, &["ls", "latest", "--json"]).expect_code(0);
    let (first, rest) =
        listed.text().split_once('\n').map(|(first, rest)| (first.to_owned(), rest.to_owned())).unwrap();
    serde_json::from_str::<Snapshot>(&first).unwrap();
    let nodes: Vec<Node> = rest.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(nodes.iter().filter(|node| node.r#type == "file").count(), 2);

    let check: Vec<Check> = lines(&ground.on(2, &["check", "--json", "--read-data"]).expect_code(0));
    assert_eq!((check[0].num_errors, check[0].copies.len(), check[0].verdict.as_str()), (0, 2, "ok"));
    assert!(check[0].copies.iter().all(|copy| copy.rolling.is_none()));
    let rolling = ["check", "--json", "--rolling", "--within", "1d"];
    let check: Vec<Check> = lines(&ground.on(2, &rolling).expect_code(0));
    for copy in &check[0].copies {
        let rolled = copy.rolling.as_ref().unwrap();
        assert!((rolled.packs == 0) == (rolled.bytes == 0) && rolled.packs <= copy.packs);
        assert_eq!((rolled.overdue_packs, rolled.overdue_bytes, rolled.never_read_packs), (0, 0, 0));
    }
}

#[test]
fn errors_are_json_on_standard_error() {
    let ground = Ground::with_copies(1);
    let parsed = |ended: &Ended| -> Vec<ErrorLine> {
        ended.errors.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    };
    for (words, expected) in [
        (vec!["-r", "1", "backup", "nowhere", "--json"], 1),
        (vec!["-r", "nowhere", "snapshots", "--json"], 10),
        (vec!["snapshots", "--json"], 2),
        (vec!["snapshots", "--nonsense", "--json"], 2),
    ] {
        let ended = ground.call(&words).expect_code(expected);
        let errors = parsed(&ended);
        let Some(ErrorLine::ExitError { code, .. }) = errors.last() else { panic!("{}", ended.errors) };
        assert_eq!(i32::from(*code), expected);
    }
    let ended = ground.call(&["-r", "1", "-r", &deaf_address(), "backup", "source", "--json"]).expect_code(3);
    assert!(parsed(&ended).iter().any(|line| matches!(line, ErrorLine::Error { copy: Some(_), .. })));
    let backup: Vec<Backup> = lines(&ended);
    let Some(Backup::Summary { copies, verdict, .. }) = backup.last() else { panic!("no summary") };
    assert_eq!((verdict.as_str(), copies[1].verdict.as_str()), ("partial", "failed"));
    assert!(copies[1].error.is_some());
}

/// Every field of `theirs` that is missing in `ours`, or of another type there.
fn missing(theirs: &Value, ours: &Value, path: &str) -> Vec<String> {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => theirs
            .iter()
            .filter(|(name, _)| !NOT_MEASURED.contains(&name.as_str()) || path.contains("summary"))
            .flat_map(|(name, value)| match ours.get(name) {
                Some(own) => missing(value, own, &format!("{path}.{name}")),
                None => vec![format!("{path}.{name} is missing")],
            })
            .collect(),
        // restic lists groups in no order of their own: its first is compared with the one of ours that is most like it.
        (Value::Array(theirs), Value::Array(ours)) => theirs.first().map_or_else(Vec::new, |theirs| {
            let each = ours.iter().map(|ours| missing(theirs, ours, &format!("{path}[]")));
            each.min_by_key(Vec::len).unwrap_or_default()
        }),
        (theirs, ours) if std::mem::discriminant(theirs) == std::mem::discriminant(ours) => Vec::new(),
        (theirs, ours) => vec![format!("{path} is {ours}, and {theirs} in restic")],
    }
}

#[test]
fn every_field_of_restic_is_there() {
    let Some(restic) = components::restic("0.19") else { return };
    let ground = Ground::with_copies(1);
    ground.on(1, &["backup", "source"]).expect_code(0);
    std::fs::write(ground.path("source/file"), "other content").unwrap();
    ground.on(1, &["backup", "source"]).expect_code(0);
    let snapshots: Vec<Vec<Snapshot>> = lines(&ground.on(1, &["snapshots", "--json"]).expect_code(0));
    let [first, second] = [&snapshots[0][0].id, &snapshots[0][1].id];
    let both = |words: &[&str]| -> [Vec<Value>; 2] {
        let words: Vec<&str> = ["-r", "1", "--json"].iter().chain(words).copied().collect();
        let theirs = run(&mut ground.command_of(&restic, &words), CALL_LIMIT).unwrap().expect_code(0);
        let ours = ground.call(&words).expect_code(0);
        [lines(&theirs), lines(&ours)]
    };
    let kind = |value: &Value| value["message_type"].as_str().unwrap_or_default().to_owned();
    let mut differences = Vec::new();
    let mut compared = 0;
    for words in [
        &["backup", "source", "--tag", "a", "--exclude", "x", "-vv", "--force"][..],
        &["snapshots"],
        &["snapshots", "--group-by", "host,paths,tags"],
        &["ls", "latest"],
        &["find", "second"],
        &["diff", first, second],
        &["restore", "latest", "--target", "target", "-vv"],
        &["restore", "latest", "--target", "target", "-vv"],
        &["stats"],
        &["stats", "--mode", "files-by-contents"],
        &["stats", "--mode", "blobs-per-file"],
        &["stats", "--mode", "raw-data"],
        &["key", "list"],
        &["check"],
    ] {
        let [theirs, ours] = both(words);
        for line in theirs.iter().filter(|line| kind(line) != "status") {
            // Of each kind of line, one of ours with the same kind of entry.
            let alike = |own: &&Value| kind(own) == kind(line) && own["type"] == line["type"];
            let path = format!("{} {}", words.join(" "), kind(line));
            // restic counts what it is going to read beforehand; we do not.
            if line["action"] == "scan_finished" {
                continue;
            }
            match ours.iter().find(alike) {
                Some(own) => differences.extend(missing(line, own, &path)),
                None => differences.push(format!("{path} has no line")),
            }
            compared += 1;
        }
    }
    differences.sort();
    differences.dedup();
    assert!(differences.is_empty(), "{differences:#?}");
    assert!(compared > 20, "{compared}");
}
