//! A client was stolen: whoever has its machine has the append credential, the repository's password and all the time
//! that there is. What the owner has then to lose is nothing that was stored before.

use std::path::Path;

use format::FileKind;
use testkit::raw_http::Request;
use testkit::store_server::{Account, StoreServer};
use testkit::{Oracle, Random, manifest, seed};

use crate::clients::{PASSWORD, assert_append_takes_nothing, names_in, ourselves, repository_folder, source};
use crate::ground::{PRUNER, assert_no_panic, binary, files_below, options, unsound_files};
use crate::peer::{ALICE, address};

const NAME: &str = "drill";
const CALL_LIMIT: std::time::Duration = std::time::Duration::from_secs(120);

/// alice's account as an owner would make it: a day's floor under every removal.
fn served_with_floor() -> StoreServer {
    let accounts = vec![
        Account::append(ALICE.0, ALICE.1).with(&["--minimum-age", "24h"]),
        Account::credential(ALICE.0, "prune", PRUNER.1, "full"),
    ];
    StoreServer::start(binary(), &options(accounts, true, &[]))
}

fn ask(server: &StoreServer, login: (&str, &str), request: Request) -> u16 {
    server.door().ask(&request.login(login.0, login.1)).unwrap().status
}

/// Everything that is kept of before, with its bytes.
fn assert_nothing_lost(server: &StoreServer, before: &std::collections::BTreeMap<std::path::PathBuf, Vec<u8>>) {
    let now = files_below(&repository_folder(server, NAME));
    for (path, bytes) in before {
        if !path.starts_with("locks") {
            assert!(now.get(path) == Some(bytes), "{} is gone or changed", path.display());
        }
    }
}

#[test]
fn a_stolen_client_takes_nothing_that_recovery_needs() {
    let random = &mut Random::new(seed("a stolen client"));
    let server = served_with_floor();
    let scratch = tempfile::tempdir().unwrap();
    let source = source(scratch.path());
    let call = |login, words: &[&str]| ourselves(&server, scratch.path(), login, NAME, words);
    let source_word = source.to_str().unwrap();
    call(ALICE, &["init"]).expect_code(0);
    call(ALICE, &["backup", "--tag", "good", source_word]).expect_code(0);
    let good = manifest(&source).unwrap();
    let before = files_below(&repository_folder(&server, NAME));

    // The thief removes and overwrites by hand, with a lock or without.
    assert_append_takes_nothing(&server, NAME);
    // With the usual tools.
    for words in [
        &["forget", "--keep-last", "1"][..],
        &["forget", "--tag", "good", "--keep-last", "0"],
        &["prune", "--max-unused", "0", "--grace", "0s"],
        &["key", "passwd", "--new-password-file", "/dev/null"],
    ] {
        let _ = call(ALICE, words);
        assert_nothing_lost(&server, &before);
    }
    plant(&server, scratch.path());
    forge(&server, random);
    assert_nothing_lost(&server, &before);

    // The owner's own maintenance, misled by dates to forget what is good, is stopped by the floor: by the time at which
    // the server received a file, which no client tells it.
    for path in before.keys().filter(|path| !path.starts_with("locks")) {
        let file = path.file_name().unwrap().to_str().unwrap();
        let folder = path.components().next().unwrap().as_os_str().to_str().unwrap();
        let target = match folder {
            "config" => format!("/alice/{NAME}/config"),
            folder => format!("/alice/{NAME}/{folder}/{file}"),
        };
        assert_eq!(ask(&server, PRUNER, Request::new("DELETE", target.clone())), 403, "{target}");
    }
    if let Some(restic) = restic(&server, PRUNER) {
        let _ = restic.within(std::time::Duration::from_secs(20)).call(&["forget", "--keep-last", "1", "--prune"]);
    }
    assert_nothing_lost(&server, &before);

    // Recovery through the server, with all that the thief left lying in the way.
    let words = ["restore", "latest", "--tag", "good", "--target", "through the server"];
    call(ALICE, &words).expect_code(0);
    let restored = manifest(scratch.path().join("through the server")).unwrap().below(&source);
    let difference = testkit::Manifest::difference_except(&good, &restored, &[]);
    assert!(difference.is_empty(), "{difference:#?}");

    // And from the files alone, as they were before the theft: the journal has the moment of each; here the list of then
    // stands for it.
    let recovered = scratch.path().join("recovered");
    for path in before.keys().filter(|path| !path.starts_with("locks")) {
        let to = recovered.join(path);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(repository_folder(&server, NAME).join(path), to).unwrap();
    }
    let mut restore = std::process::Command::new(env!("CARGO_BIN_EXE_triplicate"));
    restore.args(["-r", "recovered", "restore", "latest", "--tag", "good", "--target", "restored"]);
    restore.current_dir(scratch.path()).env("HOME", scratch.path().join("home")).env("RESTIC_PASSWORD", PASSWORD);
    testkit::process::run(&mut restore, CALL_LIMIT).unwrap().expect_code(0);
    let restored = manifest(scratch.path().join("restored")).unwrap().below(&source);
    let difference = testkit::Manifest::difference_except(&good, &restored, &[]);
    assert!(difference.is_empty(), "{difference:#?}");
    let unsound = unsound_files(&server.ground.repositories());
    assert!(unsound.is_empty(), "{unsound:?}");
    assert_no_panic(&server);
}

fn restic(server: &StoreServer, login: (&str, &str)) -> Option<Oracle> {
    let address = server.repository(login.0, login.1, &format!("alice/{NAME}"));
    Some(Oracle::restic("0.19", &address, PASSWORD)?.trusting(server.ca_file.as_ref().unwrap()))
}

/// Snapshots of garbage, dated long ago and long from now.
fn plant(server: &StoreServer, scratch: &Path) {
    let garbage = scratch.join("garbage");
    std::fs::create_dir_all(&garbage).unwrap();
    std::fs::write(garbage.join("file"), "garbage").unwrap();
    let Some(restic) = restic(server, ALICE) else { return };
    for time in ["1970-01-01 00:00:01", "2099-12-31 23:59:59", "2099-12-30 23:59:59"] {
        restic.backup(&[&garbage], &["--time", time]);
    }
    let count = names_in(server, NAME).iter().filter(|path| path.starts_with("snapshots")).count();
    assert_eq!(count, 4);
}

/// A prune's files without its sense: indexes that know nothing, a snapshot and a lock that nobody can read.
fn forge(server: &StoreServer, random: &mut Random) {
    let root = format!("/alice/{NAME}/");
    for kind in [FileKind::Index, FileKind::Lock, FileKind::Key, FileKind::Pack] {
        let bytes = random.bytes(400);
        assert_eq!(ask(server, ALICE, Request::post(address(&root, kind, &bytes), bytes)), 200, "{kind:?}");
    }
    assert_eq!(ask(server, ALICE, Request::post(format!("{root}?create=true"), b"")), 200);
    assert_eq!(ask(server, ALICE, Request::post(format!("{root}config"), random.bytes(155))), 403);
}
