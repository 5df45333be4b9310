//! The real rclone behind its pipes: its own settings decide where files go, and what is wrong with them is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use destinations::{Access, Destination, Limits, Location, RcloneAccess, RetryListener, Span, open_heard};
use format::{FileKind, FileName};
use model::{FaultKind, Id};
use sha2::{Digest as _, Sha256};
use testkit::process::run;
use testkit::{components, skip};

const LIMIT: Duration = Duration::from_secs(120);

/// rclone with a configuration of its own: the remote `there` is a folder of this machine.
fn access(program: &Path, folder: &Path) -> Access {
    let configuration = folder.join("rclone.conf");
    std::fs::write(&configuration, format!("[there]\ntype = alias\nremote = {}\n", folder.join("there").display()))
        .unwrap();
    let mut arguments = ["serve", "restic", "--stdio", "--config"].map(str::to_owned).to_vec();
    arguments.push(configuration.display().to_string());
    RcloneAccess { program: Some(program.to_owned()), arguments: Some(arguments) }.into()
}

fn opened(location: &str, access: &Access, retries: &Arc<AtomicUsize>) -> Arc<dyn Destination> {
    let counter = Arc::clone(retries);
    let listener: RetryListener = Arc::new(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    open_heard(&location.parse::<Location>().unwrap(), access, &Limits::default(), Some(listener)).unwrap()
}

fn named(bytes: Vec<u8>) -> (FileName, Bytes) {
    (FileName::pack(Id::from_bytes(Sha256::digest(&bytes).into())), Bytes::from(bytes))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_rclone_is_told_at_once() {
    let Some(program) = components::rclone() else { return };
    let folder = tempfile::tempdir().unwrap();
    let good = access(&program, folder.path());
    let mut missing = good.clone();
    missing.rclone.program = Some(folder.path().join("no-rclone"));
    let mut unknown_flag = good.clone();
    unknown_flag.rclone.arguments = Some(["serve", "restic", "--no-such-flag"].map(str::to_owned).to_vec());
    for (location, access, word) in [
        ("rclone:elsewhere:repo", &good, "didn't find section in config file"),
        ("rclone:there:repo", &missing, "cannot start"),
        ("rclone:there:repo", &unknown_flag, "no-such-flag"),
    ] {
        let retries = Arc::default();
        let fault = opened(location, access, &retries).stat(FileName::CONFIG).await.expect_err("a size");
        assert_eq!((fault.kind, retries.load(Ordering::Relaxed)), (FaultKind::Misconfigured, 0), "{fault}");
        assert!(fault.cause.contains(word), "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_rclone_is_started_again_and_none_stays_behind() {
    let Some(program) = components::rclone() else { return };
    let folder = tempfile::tempdir().unwrap();
    let pids = || -> Vec<u32> {
        let marker = folder.path().to_string_lossy().into_owned();
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_ours = |pid: &u32| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
                String::from_utf8_lossy(&line).contains(&marker) && testkit::process::is_running(*pid)
            })
        };
        numbers.filter(is_ours).collect()
    };
    let retries = Arc::default();
    let place = opened("rclone:there:repo", &access(&program, folder.path()), &retries);
    place.create().await.unwrap();
    let packs: Vec<_> = (0..4_u8).map(|number| named(vec![number; 8 << 20])).collect();
    for (name, bytes) in &packs {
        place.write(*name, bytes.clone()).await.unwrap();
    }
    let before = pids();
    assert_eq!(before.len(), 1, "one program serves all");
    testkit::process::signal(before[0], rustix::process::Signal::KILL);
    for (name, bytes) in &packs {
        assert!(place.read(*name, Span::Whole).await.unwrap() == *bytes, "{name} came back changed");
    }
    assert_ne!(pids(), before, "another one");
    drop(place);
    assert!(testkit::process::wait_until(LIMIT, || pids().is_empty()), "rclone outlived us");
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_reads_through_rclone_what_we_wrote_and_the_other_way_round() {
    let Some(program) = components::rclone() else { return };
    let Some(restic) = components::restic("0.19") else { return };
    let folder = tempfile::tempdir().unwrap();
    let access = access(&program, folder.path());
    let source = folder.path().join("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), vec![7; 3_000_000]).unwrap();
    let restic = |repository: &str, arguments: &[&str]| {
        let mut command = Command::new(&restic);
        command.args(["--no-cache", "-r", repository, "-o"]).arg(format!("rclone.program={}", program.display()));
        command.env("RCLONE_CONFIG", folder.path().join("rclone.conf")).env("RESTIC_PASSWORD", "open sesame");
        run(command.args(arguments), LIMIT).unwrap().expect_code(0);
    };
    restic("rclone:there:theirs", &["init"]);
    restic("rclone:there:theirs", &["backup", source.to_str().unwrap()]);
    let theirs = opened("rclone:there:theirs", &access, &Arc::default());
    let ours = opened("rclone:there:ours", &access, &Arc::default());
    ours.create().await.unwrap();
    let mut files = vec![FileName::CONFIG];
    for (kind, count) in [(FileKind::Key, 1), (FileKind::Snapshot, 1), (FileKind::Index, 1), (FileKind::Pack, 2)] {
        let listed = theirs.list(kind).await.unwrap();
        assert_eq!(listed.len(), count, "{kind:?}");
        files.extend(listed.iter().map(|found| FileName::new(kind, found.id)));
    }
    for name in files {
        ours.write(name, theirs.read(name, Span::Whole).await.unwrap()).await.unwrap();
    }
    restic("rclone:there:ours", &["check", "--read-data"]);
}

#[tokio::test]
async fn a_missing_program_is_no_reason_to_try_again() {
    let access = RcloneAccess { program: Some("/not/there/rclone".into()), arguments: None }.into();
    let retries = Arc::default();
    let fault = opened("rclone:remote:path", &access, &retries).create().await.expect_err("no program");
    assert_eq!((fault.kind, retries.load(Ordering::Relaxed)), (FaultKind::Misconfigured, 0), "{fault}");
    if components::rclone().is_none() {
        skip("the other rows need rclone");
    }
}
