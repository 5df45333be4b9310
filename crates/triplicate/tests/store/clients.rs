//! Real clients at work through TLS: restic of every supported version, rustic, and ourselves.
//!
//! rclone is no client of this protocol: it can only serve it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testkit::process::{Ended, run};
use testkit::raw_http::Request;
use testkit::store_server::StoreServer;
use testkit::{Aspect, Manifest, Oracle, components, corpus, manifest};

use crate::ground::{PRUNER, assert_no_panic, served, unsound_files};
use crate::peer::ALICE;

pub const PASSWORD: &str = "correct horse battery staple";
const CALL_LIMIT: Duration = Duration::from_secs(300);
/// restic tries again for a quarter of an hour what it takes for a fault of the network.
const REFUSAL_LIMIT: Duration = Duration::from_secs(20);

/// Something to back up.
pub fn source(scratch: &Path) -> PathBuf {
    let source = scratch.join("source");
    std::fs::create_dir_all(source.join("folder")).unwrap();
    corpus::random_file(&source.join("noise"), 3 << 20, 1).unwrap();
    corpus::text_file(&source.join("folder/text"), 1 << 20, 2).unwrap();
    std::fs::write(source.join("small"), "content").unwrap();
    source
}

/// What the store holds of a repository.
pub fn repository_folder(server: &StoreServer, name: &str) -> PathBuf {
    server.ground.repositories().join(ALICE.0).join(name)
}

/// Every file of a repository but its locks.
pub fn names_in(server: &StoreServer, name: &str) -> Vec<PathBuf> {
    let files = crate::ground::files_below(&repository_folder(server, name));
    files.into_keys().filter(|path| !path.starts_with("locks")).collect()
}

/// With the append credential: everything that removes or overwrites is refused, and nothing has changed.
pub fn assert_append_takes_nothing(server: &StoreServer, name: &str) {
    let before = names_in(server, name);
    let root = format!("/{}/{name}/", ALICE.0);
    let door = server.door();
    for path in &before {
        let file = path.file_name().unwrap().to_str().unwrap();
        let folder = path.components().next().unwrap().as_os_str().to_str().unwrap();
        let target = if folder == "config" { format!("{root}config") } else { format!("{root}{folder}/{file}") };
        let ask = |request: Request| door.ask(&request.login(ALICE.0, ALICE.1)).unwrap().status;
        assert_eq!(ask(Request::new("DELETE", target.clone())), 403, "{target}");
        let other = ask(Request::post(target.clone(), b"other bytes"));
        assert_eq!(other, if folder == "config" { 403 } else { 400 }, "{target}");
    }
    assert_eq!(before, names_in(server, name));
    let unsound = unsound_files(&server.ground.repositories());
    assert!(unsound.is_empty(), "{unsound:?}");
}

fn whole_life(server: &StoreServer, name: &str, client: impl Fn(&str) -> Option<Oracle>, forget: &[&[&str]]) {
    let scratch = tempfile::tempdir().unwrap();
    let source = source(scratch.path());
    let before = manifest(&source).unwrap();
    let authority = server.ca_file.clone().unwrap();
    let as_login = |(login, password): (&str, &str)| {
        let address = server.repository(login, password, &format!("{}/{name}", ALICE.0));
        client(&address).map(|oracle| oracle.trusting(&authority))
    };
    let Some(append) = as_login(ALICE) else { return };
    append.init(2);
    append.backup(&[&source], &[]);
    std::fs::write(source.join("small"), "other content").unwrap();
    append.backup(&[&source], &[]);
    append.ok(&["snapshots"]);
    append.check(true);
    assert_append_takes_nothing(server, name);
    let _ = append.clone().within(REFUSAL_LIMIT).call(forget[0]);
    assert_eq!(names_in(server, name).iter().filter(|path| path.starts_with("snapshots")).count(), 2, "{name}");
    if append.call(&["unlock"]).is_ok() {
        append.check(true);
    }

    let maintenance = as_login(PRUNER).unwrap();
    for words in forget {
        maintenance.ok(words);
    }
    assert_eq!(names_in(server, name).iter().filter(|path| path.starts_with("snapshots")).count(), 1, "{name}");
    append.check(true);
    let except = [Aspect::FolderTime, Aspect::Time];
    let now = manifest(&source).unwrap();
    assert!(!Manifest::difference_except(&before, &now, &except).is_empty(), "the source has changed");
    // rustic leaves the time of the topmost folder as it is.
    let difference =
        append.restored_difference("latest", &source, &now, &scratch.path().join("restored"), &[Aspect::FolderTime]);
    assert!(difference.is_empty(), "{name}: {difference:#?}");
}

#[test]
fn restic_works_through_it() {
    let server = served();
    for version in components::RESTIC_VERSIONS {
        let name = format!("restic-{version}");
        let forget: [&[&str]; 1] = [&["forget", "--keep-last", "1", "--prune", "--max-unused", "0"]];
        whole_life(&server, &name, |address| Oracle::restic(version, address, PASSWORD), &forget);
    }
    assert_no_panic(&server);
}

#[test]
fn rustic_works_through_it() {
    let server = served();
    // Its own marks of packs are swept by the second prune.
    let prune: &[&str] = &["prune", "--max-unused", "0%", "--keep-delete", "0s", "--keep-pack", "0s"];
    let forget: [&[&str]; 3] = [&["forget", "--keep-last", "1"], prune, prune];
    whole_life(&server, "rustic", |address| Oracle::rustic(address, PASSWORD), &forget);
    assert_no_panic(&server);
}

/// Ourselves, with one login.
pub fn ourselves(server: &StoreServer, scratch: &Path, login: (&str, &str), name: &str, words: &[&str]) -> Ended {
    let home = scratch.join("home");
    std::fs::create_dir_all(&home).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_triplicate"));
    command.arg("-r").arg(format!("rest:{}{}/{name}/", server.url, ALICE.0)).args(words).current_dir(scratch);
    command.env("HOME", &home).env("RESTIC_PASSWORD", PASSWORD).env("TZ", "UTC").env_remove("XDG_CACHE_HOME");
    command.env("RESTIC_REST_USERNAME", login.0).env("RESTIC_REST_PASSWORD", login.1);
    command.env("RESTIC_CACERT", server.ca_file.as_ref().unwrap());
    run(&mut command, CALL_LIMIT).unwrap()
}

#[test]
fn we_work_through_it() {
    let server = served();
    let scratch = tempfile::tempdir().unwrap();
    let source = source(scratch.path());
    let call = |login, words: &[&str]| ourselves(&server, scratch.path(), login, "own", words);
    let source_word = source.to_str().unwrap();
    call(ALICE, &["init"]).expect_code(0);
    call(ALICE, &["backup", source_word]).expect_code(0);
    std::fs::write(source.join("small"), "other content").unwrap();
    call(ALICE, &["backup", source_word]).expect_code(0);
    call(ALICE, &["snapshots"]).expect_code(0);
    call(ALICE, &["check", "--read-data"]).expect_code(0);
    assert_append_takes_nothing(&server, "own");
    let before = names_in(&server, "own");
    let refused = call(ALICE, &["forget", "--keep-last", "1"]);
    assert_ne!(refused.code, Some(0), "{}", refused.text());
    assert_eq!(before, names_in(&server, "own"));
    call(ALICE, &["check", "--read-data"]).expect_code(0);

    call(PRUNER, &["forget", "--keep-last", "1"]).expect_code(0);
    for _ in 0..2 {
        call(PRUNER, &["prune", "--max-unused", "0", "--grace", "0s"]).expect_code(0);
    }
    call(ALICE, &["check", "--read-data"]).expect_code(0);
    call(ALICE, &["restore", "latest", "--target", "restored"]).expect_code(0);
    let restored = manifest(scratch.path().join("restored")).unwrap().below(&source);
    let difference = Manifest::difference_except(&manifest(&source).unwrap(), &restored, &[]);
    assert!(difference.is_empty(), "{difference:#?}");
    assert_no_panic(&server);
}
