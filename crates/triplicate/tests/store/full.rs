//! A disk that is really full, and a quota that many use up at once.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Barrier;

use format::FileKind;
use testkit::raw_http::Request;
use testkit::store_server::{Account, StoreGround, StoreServer};

use crate::ground::{assert_no_panic, binary, files_below, options, unsound_files, uploads};
use crate::peer::{ALICE, address};

const ROOT: &str = "/alice/main/";

/// A small file system in the place of a folder, with what was in it.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: PathBuf) -> Option<Self> {
        let aside = folder.with_extension("aside");
        std::fs::rename(&folder, &aside).unwrap();
        std::fs::create_dir(&folder).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=24m,mode=0700", "triplicate-test"]).arg(&folder);
        if !mount.output().is_ok_and(|output| output.status.success()) {
            testkit::skip("mounting a small disk is not permitted here");
            return None;
        }
        let disk = Self(folder);
        let copied = Command::new("cp").arg("-a").arg(aside.join(".")).arg(&disk.0).status().unwrap();
        assert!(copied.success());
        Some(disk)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whoever still has something open there keeps it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_507_and_keeps_what_it_has() {
    let ground =
        StoreGround::make(binary(), &options(vec![Account::new(ALICE.0, ALICE.1, "full")], true, &[])).unwrap();
    let folder = ground.folder.clone();
    let Some(disk) = SmallDisk::mount(ground.data()) else {
        let _ = std::fs::remove_dir_all(folder);
        return;
    };
    let server = StoreServer::serve(ground).unwrap();
    // Dropped before the server: what removes the folder must find it unmounted.
    let disk = disk;
    let door = server.door();
    let ask = |request: Request| door.ask(&request.login(ALICE.0, ALICE.1)).unwrap();
    assert_eq!(ask(Request::post(format!("{ROOT}?create=true"), b"")).status, 200);
    let mut stored = Vec::new();
    let mut refused = 0;
    // To the brim: large ones first, then whatever still fits.
    for (kind, bytes) in
        [(FileKind::Pack, 3 << 20), (FileKind::Pack, 300_000), (FileKind::Index, 5_000), (FileKind::Lock, 1)]
    {
        for number in 0_u32..2_000 {
            let mut content = vec![number as u8; bytes];
            content.extend(number.to_le_bytes());
            let path = address(ROOT, kind, &content);
            let answer = ask(Request::post(path.as_str(), content.as_slice()));
            if answer.status == 200 {
                stored.push((path, content));
                continue;
            }
            assert_eq!(answer.status, 507, "{path}: {}", answer.text());
            assert!(answer.text().contains("bytes left on the disk"), "{}", answer.text());
            refused += 1;
            // Where the journal was what had no room left, the file is there already, as after a lost answer; then whole.
            let found = ask(Request::get(path.as_str()));
            if found.status == 200 {
                assert!(found.body == content, "{path}: refused, and there in part");
                stored.push((path, content));
            } else {
                assert_eq!(found.status, 404, "{path}");
            }
            break;
        }
    }
    println!("{} stored, {refused} sizes refused", stored.len());
    assert!(refused >= 3 && stored.len() > 7, "{refused} sizes were refused, {} stored", stored.len());
    assert_eq!(uploads(&server.ground), 0);
    for (path, content) in &stored {
        let answer = ask(Request::get(path.as_str()));
        assert!(answer.status == 200 && answer.body == *content, "{path}: {}", answer.status);
    }
    // What is removed makes room again: for less than it, because the journal has grown meanwhile.
    let (path, _) = stored.first().unwrap();
    assert_eq!(ask(Request::new("DELETE", path.as_str())).status, 200);
    let content = vec![77; 1 << 20];
    let answer = ask(Request::post(address(ROOT, FileKind::Pack, &content), content.as_slice()));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sound = unsound_files(&server.ground.repositories());
    assert!(sound.is_empty(), "{sound:?}");
    assert_eq!(files_below(&server.ground.repositories()).len(), stored.len());
    assert_no_panic(&server);
    drop(disk);
}

#[test]
fn of_many_repositories_made_at_once_no_more_come_into_being_than_may() {
    const MAX: usize = 5;
    let limits = ["--minimum-age", "0", "--quota-repositories", "5"];
    let accounts = vec![Account::append(ALICE.0, ALICE.1).with(&limits)];
    let server = StoreServer::start(binary(), &options(accounts, false, &[]));
    let door = server.door();
    let create = |name: &str| {
        let request = Request::post(format!("/alice/{name}/?create=true"), b"").login(ALICE.0, ALICE.1);
        door.ask(&request).unwrap()
    };
    // The password is worked out before, so that all of them arrive together.
    assert_eq!(create("first").status, 200);
    let many = 24;
    let start = Barrier::new(many);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let askers: Vec<_> = (0..many)
            .map(|number| {
                let (start, create) = (&start, &create);
                scope.spawn(move || {
                    start.wait();
                    create(&format!("repository{number}")).status
                })
            })
            .collect();
        askers.into_iter().map(|asker| asker.join().unwrap()).collect()
    });
    let count = |wanted: u16| statuses.iter().filter(|&&status| status == wanted).count();
    assert_eq!((count(200), count(507)), (MAX - 1, many - MAX + 1), "{statuses:?}");
    let folders = std::fs::read_dir(server.ground.repositories().join("alice")).unwrap().count();
    assert_eq!(folders, MAX);
    assert_eq!(create("first").status, 200, "one that is there is free");
    assert_no_panic(&server);
}
