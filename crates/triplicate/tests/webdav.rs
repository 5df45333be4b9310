//! One backup into a folder and onto two WebDAV servers: equal copies, and restic opens each, over WebDAV too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod program;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use program::{CALL_LIMIT, Ground, PASSWORD, text};
use testkit::process::{Ended, run};
use testkit::{CertificateFlaw, Manifest, Oracle, WebdavKind, WebdavOptions, WebdavServer, components, manifest};

/// Every file below `folder` with its bytes.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                found.insert(text(path.strip_prefix(root).unwrap()), std::fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, folder, &mut found);
    found
}

/// restic on a repository of a WebDAV server, which it reaches through rclone.
fn restic_over_webdav(server: &WebdavServer) -> Option<Oracle> {
    let rclone = components::rclone()?;
    let obscured =
        run(Command::new(&rclone).args(["obscure", WebdavServer::PASSWORD]), Duration::from_secs(20)).unwrap();
    let restic = Oracle::restic("0.19", "rclone:dav:repo", PASSWORD)?;
    let restic = restic
        .with("PATH", rclone.parent().unwrap())
        .with("RCLONE_CONFIG", "/nonexistent")
        .with("RCLONE_CONFIG_DAV_TYPE", "webdav")
        .with("RCLONE_CONFIG_DAV_URL", &server.url)
        .with("RCLONE_CONFIG_DAV_USER", WebdavServer::USER)
        .with("RCLONE_CONFIG_DAV_PASS", obscured.expect_code(0).text().trim());
    let authority = server.certificates.as_ref().map(|files| files.authority.clone());
    Some(authority.into_iter().fold(restic, |restic, file| restic.with("RCLONE_CA_CERT", file)))
}

#[test]
fn a_backup_onto_webdav_servers_is_the_same_as_in_a_folder() {
    let tls = WebdavOptions { tls: Some(CertificateFlaw::None), ..WebdavOptions::plain(WebdavKind::Apache) };
    let Some(apache) = WebdavServer::start(&tls) else { return };
    let nextcloud = WebdavServer::start(&WebdavOptions::plain(WebdavKind::Nextcloud)).unwrap();
    let ground = Ground::new();
    let source = ground.path("source");
    testkit::corpus::tree(&source.join("many"), 300, 20_000, 21).unwrap();
    testkit::corpus::random_file(&source.join("large"), 40 << 20, 22).unwrap();
    let call = |words: &[&str]| -> Ended {
        let (one, two) = (apache.repository("repo"), nextcloud.repository("repo"));
        let mut all = vec!["-r", one.as_str(), "-r", two.as_str(), "-r", "folder"];
        all.extend(words);
        let mut command = ground.command(&all);
        command.env("TRIPLICATE_WEBDAV_USERNAME", WebdavServer::USER);
        command.env("TRIPLICATE_WEBDAV_PASSWORD", WebdavServer::PASSWORD);
        command.env("RESTIC_CACERT", &apache.certificates.as_ref().unwrap().authority);
        run(&mut command, CALL_LIMIT).unwrap().expect_code(0)
    };
    call(&["init"]);
    call(&["backup", &ground.source()]);
    std::fs::remove_file(source.join("large")).unwrap();
    let expected = manifest(&source).unwrap();
    call(&["backup", &ground.source()]);
    call(&["forget", "--keep-last", "1", "--prune", "--grace", "0s"]);
    call(&["check", "--read-data"]);

    let copies = [ground.path("folder"), apache.data_dir.join("repo"), nextcloud.data_dir.join("repo")];
    let [folder, others @ ..] = copies.each_ref().map(|copy| files(copy));
    for (copy, other) in copies[1..].iter().zip(others) {
        let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&other), names(&folder), "{}", copy.display());
        assert!(other == folder, "{} has other bytes", copy.display());
    }
    for server in [&apache, &nextcloud] {
        let Some(restic) = restic_over_webdav(server) else { continue };
        restic.check(true);
    }
    let back = ground.path("back");
    call(&["restore", "latest", "--target", &text(&back)]);
    let difference = Manifest::difference(&expected, &manifest(&back).unwrap().below(&source));
    assert!(difference.is_empty(), "{difference:#?}");
}
