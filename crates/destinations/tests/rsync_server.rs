//! rsync over ssh against OpenSSH and the real rsync, free and shut in by `rrsync`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use destinations::{Access, Destination, Limits, Listed, Location, RetryListener, Span, SshAccess, open_heard};
use format::{FileKind, FileName};
use model::{Fault, FaultKind, Id};
use sha2::{Digest as _, Sha256};
use testkit::process::run;
use testkit::{SshServer, SshServerOptions, skip};

const LIMIT: Duration = Duration::from_secs(120);

fn access(server: &SshServer) -> SshAccess {
    let ssh = server.programs.join("ssh").display().to_string();
    SshAccess {
        key_file: Some(server.key_file.clone()),
        known_hosts: Some(server.known_hosts.clone()),
        ssh_program: Some(vec![ssh, "-F".to_owned(), "/dev/null".to_owned()]),
        rsync_program: Some(server.programs.join("rsync")),
        ..SshAccess::default()
    }
}

fn opened(location: &str, access: &SshAccess, retries: &Arc<AtomicUsize>) -> Arc<dyn Destination> {
    let counter = Arc::clone(retries);
    let listener: RetryListener = Arc::new(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let access: Access = access.clone().into();
    open_heard(&location.parse::<Location>().unwrap(), &access, &Limits::default(), Some(listener)).unwrap()
}

fn named(kind: FileKind, bytes: Vec<u8>) -> (FileName, Bytes) {
    (FileName::new(kind, Id::from_bytes(Sha256::digest(&bytes).into())), Bytes::from(bytes))
}

/// The suite's promises with as few calls as they need: each is a login.
async fn keeps_its_promises(place: &dyn Destination, root: &Path) {
    let absent = place.stat(FileName::CONFIG).await.expect_err("nothing is there");
    assert_eq!(absent.kind, FaultKind::NotFound, "{absent}");
    place.create().await.unwrap();
    place.create().await.unwrap();
    assert_eq!(place.list(FileKind::Pack).await.unwrap(), []);
    let (name, bytes) = named(FileKind::Pack, (0..70_000_u32).flat_map(u32::to_le_bytes).collect());
    std::fs::write(root.join(name.path()), &bytes[..50_000]).unwrap();
    place.write(name, bytes.clone()).await.unwrap();
    assert_eq!(place.stat(name).await.unwrap(), bytes.len() as u64);
    assert!(place.read(name, Span::Whole).await.unwrap() == bytes, "damaged bytes were replaced");
    let ranges = [(0, 1), (1, 69_999), (279_999, 1), (5, 0)];
    let parts = ranges.map(|(offset, length)| place.read(name, Span::Range { offset, length }));
    for ((offset, length), part) in ranges.into_iter().zip(futures::future::join_all(parts).await) {
        assert_eq!(part.unwrap(), bytes.slice(offset as usize..(offset + length) as usize));
    }
    for (offset, length) in [(279_999, 2), (u64::MAX, 2)] {
        let fault = place.read(name, Span::Range { offset, length }).await.expect_err("past the end");
        assert_eq!(fault.kind, FaultKind::Damaged, "{fault}");
    }
    std::fs::write(root.join("data/00/README"), b"not ours").unwrap();
    std::fs::write(root.join(format!("{}.bak", name.path())), b"not ours").unwrap();
    let listed = Listed { id: name.id().unwrap(), size: bytes.len() as u64 };
    assert_eq!(place.list(FileKind::Pack).await.unwrap(), [listed]);
    let configs = (0..4).map(|number| place.write(FileName::CONFIG, Bytes::from(format!("config {number}"))));
    let written = futures::future::join_all(configs).await;
    let refused: Vec<&Fault> = written.iter().filter_map(|written| written.as_ref().err()).collect();
    assert_eq!(refused.len(), 3, "one of four configs wins");
    assert!(refused.iter().all(|fault| fault.kind == FaultKind::Exists), "{refused:?}");
    let config = place.read(FileName::CONFIG, Span::Whole).await.unwrap();
    place.write(FileName::CONFIG, config).await.unwrap_or_else(|fault| panic!("the same again: {fault}"));
    for name in [name, FileName::CONFIG] {
        place.remove(name).await.unwrap();
        place.remove(name).await.unwrap_or_else(|fault| panic!("already gone: {fault}"));
        assert_eq!(place.read(name, Span::Whole).await.expect_err("gone").kind, FaultKind::NotFound);
    }
    assert!(root.join("data/00/README").exists() && root.join("keys").exists(), "only one name was removed");
    let fault = place.read(name, Span::Range { offset: 0, length: 1 }).await.expect_err("gone");
    assert_eq!(fault.kind, FaultKind::NotFound, "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_with_rsync_keeps_its_promises() {
    let Some(server) = SshServer::start(&SshServerOptions::default()) else { return };
    let retries = Arc::default();
    let place = opened(&server.location("rsync", "not/there/yet"), &access(&server), &retries);
    keeps_its_promises(place.as_ref(), &server.home.join("not/there/yet")).await;
    assert_eq!(retries.load(Ordering::Relaxed), 0);
    let absolute = format!("/{}/absolute", server.home.display());
    opened(&server.location("rsync", &absolute), &access(&server), &retries).create().await.unwrap();
    assert!(server.home.join("absolute/data/ff").is_dir());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_rrsync_shuts_in_keeps_its_promises() {
    if !run(Command::new("python3").arg("-V"), LIMIT).is_ok_and(|ended| ended.code == Some(0)) {
        return skip("`rrsync` needs python3");
    }
    let shut_in = tempfile::Builder::new().prefix("triplicate-rrsync-").tempdir().unwrap();
    std::fs::set_permissions(shut_in.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    // The script names the usual place of rsync; only the path knows ours.
    let script = testkit::components::openssh().map(|folder| folder.join("rootfs/usr/bin/rrsync"));
    let Some(script) = script else { return };
    let own = shut_in.path().join("rrsync");
    let Some(server) = SshServer::start(&SshServerOptions {
        forced_command: Some(format!("python3 {} {}", own.display(), shut_in.path().join("inside").display())),
        ..SshServerOptions::default()
    }) else {
        return;
    };
    let text = std::fs::read_to_string(script).unwrap();
    let program = server.programs.join("rsync").display().to_string();
    std::fs::write(&own, text.replace("RSYNC = '/usr/bin/rsync'", &format!("RSYNC = '{program}'"))).unwrap();
    let inside = shut_in.path().join("inside");
    std::fs::create_dir(&inside).unwrap();
    std::fs::set_permissions(&inside, std::fs::Permissions::from_mode(0o777)).unwrap();
    let place = opened(&server.location("rsync", "repo"), &access(&server), &Arc::default());
    keeps_its_promises(place.as_ref(), &inside.join("repo")).await;
    // The key opens nothing else.
    let mut words = server.ssh_words();
    words.push("id".to_owned());
    let ended = run(Command::new(&words[0]).args(&words[1..]), LIMIT).unwrap();
    assert_ne!(ended.code, Some(0), "{}", ended.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_at_once() {
    let Some(mut server) = SshServer::start(&SshServerOptions::default()) else { return };
    let stranger = server.new_key("stranger", "ed25519", "").unwrap();
    let good = access(&server);
    let place = opened(&server.location("rsync", "repo"), &good, &Arc::default());
    place.create().await.unwrap();
    let (name, bytes) = named(FileKind::Key, vec![3; 1000]);
    std::fs::set_permissions(server.home.join("repo/keys"), std::fs::Permissions::from_mode(0o500)).unwrap();
    let fault = place.write(name, bytes).await.expect_err("a read-only folder");
    assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
    let unknown = SshAccess { known_hosts: Some(server.server.folder().join("nobody")), ..good.clone() };
    let no_program = SshAccess { rsync_program: Some("/not/there/rsync".into()), ..good.clone() };
    let key = SshAccess { key_file: Some(stranger), ..good.clone() };
    let rows = [(unknown, FaultKind::Misconfigured), (no_program, FaultKind::Misconfigured), (key, FaultKind::Denied)];
    for (access, kind) in rows {
        let retries = Arc::default();
        let fault = opened(&server.location("rsync", "repo"), &access, &retries).list(FileKind::Key).await.unwrap_err();
        assert_eq!((fault.kind, retries.load(Ordering::Relaxed)), (kind, 0), "{fault}");
    }
    server.change_host_key().unwrap();
    let fault = place.list(FileKind::Key).await.expect_err("another host");
    assert_eq!(fault.kind, FaultKind::Misconfigured, "{fault}");
    for path in ["/srv/$(id)", "../elsewhere", "a/../../b"] {
        let location: Location = format!("rsync:alice@host:{path}").parse().unwrap();
        let fault = open_heard(&location, &good.clone().into(), &Limits::default(), None).expect_err(path);
        assert_eq!(fault.kind, FaultKind::Misconfigured, "{fault}");
    }
}
