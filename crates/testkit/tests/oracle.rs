//! The judges themselves: what restic and rustic give back of the hostile tree is known before we are compared with it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use testkit::{
    Aspect, CephServer, EntryKind, HostileOptions, Manifest, Oracle, RestServer, RestServerOptions, corpus,
    hostile_tree_with, manifest, remove_hostile_tree,
};

const PASSWORD: &str = "correct horse";

#[test]
fn restic_restores_what_it_backed_up() {
    for version in testkit::components::RESTIC_VERSIONS {
        let scratch = tempfile::tempdir().unwrap();
        let (source, repository) = (scratch.path().join("source"), scratch.path().join("repository"));
        corpus::tree(&source, 200, 1 << 20, 5).unwrap();
        let Some(restic) = Oracle::restic(version, repository.to_str().unwrap(), PASSWORD) else { continue };
        restic.init(2);
        restic.backup(&[&source], &[]);
        restic.check(true);
        let before = manifest(&source).unwrap();
        let target = scratch.path().join("restored");
        let lines = restic.restored_difference("latest", &source, &before, &target, &[]);
        assert_eq!(lines, Vec::<String>::new(), "{version}");

        // A judge that never finds anything would be worth nothing.
        let pack = walk_to_a_pack(&repository.join("data"));
        let mut bytes = std::fs::read(&pack).unwrap();
        bytes[100] ^= 1;
        let mut permissions = std::fs::metadata(&pack).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
        std::fs::set_permissions(&pack, permissions).unwrap();
        std::fs::write(&pack, bytes).unwrap();
        assert_ne!(restic.call(&["check", "--read-data"]).unwrap().code, Some(0), "{version}");
        std::fs::write(restored_file(&target), "changed").unwrap();
        assert!(!Manifest::difference(&before, &manifest(&target).unwrap().below(&source)).is_empty());
    }
}

fn walk_to_a_pack(data: &Path) -> std::path::PathBuf {
    let folders = std::fs::read_dir(data).unwrap().flatten();
    folders.flat_map(|folder| std::fs::read_dir(folder.path()).unwrap().flatten()).next().unwrap().path()
}

fn restored_file(root: &Path) -> std::path::PathBuf {
    let mut at = root.to_owned();
    while at.is_dir() {
        at = std::fs::read_dir(&at).unwrap().flatten().next().unwrap().path();
    }
    at
}

#[test]
fn rustic_restores_what_it_backed_up() {
    let scratch = tempfile::tempdir().unwrap();
    let (source, repository) = (scratch.path().join("source"), scratch.path().join("repository"));
    corpus::tree(&source, 100, 1 << 18, 5).unwrap();
    let Some(rustic) = Oracle::rustic(repository.to_str().unwrap(), PASSWORD) else { return };
    rustic.init(2);
    rustic.backup(&[&source], &[]);
    rustic.check(true);
    let before = manifest(&source).unwrap();
    // As a writer, rustic does not keep what it knows of the very folder that it is told to back up.
    let except = [Aspect::Root];
    let lines = rustic.restored_difference("latest", &source, &before, &scratch.path().join("restored"), &except);
    assert_eq!(lines, Vec::<String>::new());
}

#[test]
fn judges_reach_copies_on_servers() {
    let scratch = tempfile::tempdir().unwrap();
    let source = scratch.path().join("source");
    corpus::tree(&source, 50, 1 << 16, 5).unwrap();
    let before = manifest(&source).unwrap();
    let judge = |writer: Oracle, readers: Vec<Oracle>| {
        writer.init(2);
        writer.backup(&[&source], &[]);
        for reader in readers {
            reader.check(true);
            let target = scratch.path().join("restored");
            let lines = reader.restored_difference("latest", &source, &before, &target, &[]);
            assert_eq!(lines, Vec::<String>::new(), "{}", reader.name());
            std::fs::remove_dir_all(target).unwrap();
        }
    };
    if let Some(server) = RestServer::start(&RestServerOptions::default()) {
        let address = server.repository_with_credentials("repository");
        let authority = server.ca_file.as_ref().unwrap();
        let restic = Oracle::restic("0.18", &address, PASSWORD).map(|restic| restic.trusting(authority));
        let rustic = Oracle::rustic(&address, PASSWORD).map(|rustic| rustic.trusting(authority));
        if let Some(restic) = restic {
            judge(restic.clone(), std::iter::once(restic).chain(rustic).collect());
        }
    }
    if let Some(ceph) = CephServer::shared() {
        let bucket = ceph.new_bucket();
        let restic = Oracle::restic("0.19", &bucket.repository("some/prefix"), PASSWORD);
        let rustic = Oracle::rustic_in_bucket(&bucket, "some/prefix", PASSWORD);
        if let Some(restic) = restic.map(|restic| restic.with_login(&bucket)) {
            judge(restic.clone(), std::iter::once(restic).chain(rustic).collect());
        }
    }
}

/// What restic itself does not give back of the hostile tree, so that a difference in our own round trip can be told
/// from one of restic's: attribute names that are not UTF-8, and hard links of anything but files.
const RESTIC_LOSES: [&str; 3] = ["attributes/name: attribute", "hard/link", "special/pipe"];

#[test]
fn restic_and_the_hostile_tree() {
    let scratch = tempfile::tempdir().unwrap();
    let (source, target) = (scratch.path().join("hostile"), scratch.path().join("restored"));
    let options = HostileOptions { beyond_path_limit: false, ..HostileOptions::quick() };
    hostile_tree_with(&source, options).unwrap();
    let repository = scratch.path().join("repository");
    if let Some(restic) = Oracle::restic("0.19", repository.to_str().unwrap(), PASSWORD) {
        restic.init(2);
        // Who is not root cannot read all of it, which restic says with 3.
        let code = restic.call(&["backup".as_ref(), source.as_os_str()]).unwrap().code;
        if rustix::process::geteuid().is_root() {
            assert_eq!(code, Some(0));
            restic.check(true);
            // Sockets are not backed up by restic.
            let before = manifest(&source).unwrap().without(|_, entry| entry.kind == EntryKind::Socket);
            let lines = restic.restored_difference("latest", &source, &before, &target, &[Aspect::Root]);
            let unknown: Vec<&String> =
                lines.iter().filter(|line| !RESTIC_LOSES.iter().any(|known| line.starts_with(known))).collect();
            assert_eq!(unknown, Vec::<&String>::new());
            assert!(!lines.is_empty(), "restic gives back everything: shorten the list");
            remove_hostile_tree(&target).unwrap();
        }
    }
    remove_hostile_tree(&source).unwrap();
}
