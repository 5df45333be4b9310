//! Trees of real servers come whole, byte by byte, under the names that they have; and what is wrong ends the backup.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod remote_ground;

use destinations::{Access, S3Access, TlsAccess};
use model::Secret;
use remote_ground::{
    Kind, Likes, assert_same, entry, ftp, ftp_access, marks, old_file, opened, opened_with, read, runtime, ssh_access,
    tree_in, walk, webdav_access,
};
use repository::Cancel;
use repository::backup::{EntryKind, ErrorScope};
use sources::RemoteSettings;
use testkit::{
    CephServer, CertificateFlaw, FtpKind, FtpServer, SshServer, SshServerOptions, WebdavKind, WebdavOptions,
    WebdavServer,
};

#[test]
fn ftp_trees_come_whole() {
    let runtime = runtime();
    for kind in [
        FtpKind::Vsftpd,
        FtpKind::VsftpdImplicit,
        FtpKind::Proftpd,
        FtpKind::ProftpdForPeople,
        FtpKind::ProftpdWithNewestTls,
        FtpKind::Pyftpdlib,
    ] {
        let Some((server, likes, user)) = ftp(kind, CertificateFlaw::None) else { continue };
        let tree = tree_in(&server.data_dir, likes);
        let settings = RemoteSettings {
            access: ftp_access(&server, FtpServer::PASSWORD),
            implicit_tls: kind == FtpKind::VsftpdImplicit,
            limits: remote_ground::impatient(),
            ..RemoteSettings::default()
        };
        let origin = opened_with(&server.location(user, "tree"), settings, &runtime);
        assert_same(&*origin, &tree);
        let found = entry(&*origin, b"", b"large");
        let there = std::fs::metadata(tree.join("large")).unwrap().modified().unwrap();
        let there = there.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
        assert_eq!(found.modified.map(|(seconds, _)| seconds), Some(there), "{kind:?}: the time is to the second");
    }
}

#[test]
fn sftp_trees_come_whole_with_modes_owners_and_links() {
    let Some(server) = SshServer::start(&SshServerOptions::default()) else { return };
    let runtime = runtime();
    let tree = tree_in(&server.home, Likes { bytes: true, links: true });
    let modes = [("nothing", 0o640), ("large", 0o4755), ("a folder", 0o755)];
    for (name, mode) in modes {
        std::fs::set_permissions(tree.join(name), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }
    std::os::unix::fs::chown(tree.join("large"), Some(4321), Some(8765)).ok();
    std::fs::set_permissions(tree.join("large"), std::os::unix::fs::PermissionsExt::from_mode(0o4755)).unwrap();
    let others: Vec<_> = modes.iter().map(|(name, _)| name).collect();
    std::fs::set_permissions(tree.join("nothing"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let origin = opened(&server.location("sftp", "tree"), ssh_access(&server), &runtime);
    assert_same(&*origin, &tree);
    for name in others {
        use std::os::unix::fs::MetadataExt as _;
        let found = entry(&*origin, b"", name.as_bytes());
        let facts = std::fs::metadata(tree.join(name)).unwrap();
        assert_eq!(found.mode, Some(facts.mode() & 0o7777), "{name}");
        assert_eq!(found.owner, Some((facts.uid(), facts.gid())), "{name}");
        assert_eq!(found.modified, Some((facts.mtime(), 0)), "{name}");
    }
    rustix_fifo(&tree.join("fifo"));
    assert!(matches!(entry(&*origin, b"", b"fifo").kind, EntryKind::Other(_)));
    // What may not be read costs itself, and what is gone does.
    if std::fs::metadata("/proc/self").is_ok_and(|facts| std::os::unix::fs::MetadataExt::uid(&facts) == 0) {
        old_file(&tree.join("secret"), b"x");
        std::fs::set_permissions(tree.join("secret"), std::os::unix::fs::PermissionsExt::from_mode(0o0)).unwrap();
        let secret = entry(&*origin, b"", b"secret");
        assert_eq!(read(&*origin, b"secret", &secret).unwrap_err().scope, ErrorScope::Unreadable);
    }
    let gone = entry(&*origin, b"", b"nothing");
    std::fs::remove_file(tree.join("nothing")).unwrap();
    assert_eq!(read(&*origin, b"nothing", &gone).unwrap_err().scope, ErrorScope::Vanished);
    // Where the whole tree is gone, more than one file is.
    std::fs::rename(&tree, server.home.join("elsewhere")).unwrap();
    assert_eq!(read(&*origin, b"nothing", &gone).unwrap_err().scope, ErrorScope::Backup);
}

fn rustix_fifo(path: &std::path::Path) {
    let made = testkit::process::run(std::process::Command::new("mkfifo").arg(path), std::time::Duration::from_secs(9));
    made.unwrap().expect_code(0);
}

#[test]
fn webdav_trees_come_whole() {
    let runtime = runtime();
    for kind in [WebdavKind::Apache, WebdavKind::Sabre] {
        let Some(server) = WebdavServer::start(&WebdavOptions::plain(kind)) else { return };
        let likes = Likes { bytes: kind == WebdavKind::Apache, links: false };
        let tree = tree_in(&server.data_dir, likes);
        let origin = opened(&format!("webdav:{}tree/", server.url), webdav_access(), &runtime);
        assert_same(&*origin, &tree);
        let found = entry(&*origin, b"", b"large");
        // sabre/dav of this age does not.
        assert_eq!(found.version.is_some(), kind == WebdavKind::Apache, "calls states by name");
        let error = opened(&format!("webdav:{}three/", server.url), webdav_access(), &runtime)
            .list(b"", &Cancel::new())
            .unwrap_err();
        assert!(error.cause.contains("404"), "{error}");
        assert!(!server.data_dir.join("three").exists());
        let nobody = Access::default();
        let error =
            opened(&format!("webdav:{}tree/", server.url), nobody, &runtime).list(b"", &Cancel::new()).unwrap_err();
        assert!(error.cause.contains("401"), "{error}");
    }
}

fn s3_access(server: &CephServer) -> Access {
    S3Access {
        key_id: Some(server.access_key.clone()),
        key: Some(Secret::from(server.secret_key.clone())),
        ..S3Access::default()
    }
    .into()
}

#[test]
fn objects_come_whole_and_keys_that_are_no_paths_are_named() {
    let Some(server) = CephServer::shared() else { return };
    let (runtime, bucket) = (runtime(), server.new_bucket());
    let large = remote_ground::noise(3_000_001, 5);
    for (key, content) in [
        ("tree/plain", &b"a"[..]),
        ("tree/two  words", b"b"),
        ("tree/folder/deep/leaf", b"c"),
        ("tree/folder/", b""),
        ("tree/grüße/100%+", b"d"),
        ("tree/nothing", b""),
        ("tree/large", &large),
        ("tree/double//slash", b"lost"),
        ("tree/../up", b"lost"),
        ("tree/dots/..", b"lost"),
        ("tree/full/", b"lost"),
        ("tree/both", b"lost"),
        ("tree/both/leaf", b"e"),
        ("trees", b"outside"),
    ] {
        bucket.put(key, content).unwrap();
    }
    // More than a page.
    for number in 0..1_050 {
        bucket.put(&format!("tree/many/{number:04}"), b"").unwrap();
    }
    let before = bucket.list("").unwrap();
    let origin = opened(&bucket.repository("tree"), s3_access(server), &runtime);
    let told = walk(&*origin).unwrap();
    let file = |content: &[u8]| Kind::File(content.to_vec());
    for (path, kind) in [
        ("plain", file(b"a")),
        ("two  words", file(b"b")),
        ("folder/deep/leaf", file(b"c")),
        ("folder", Kind::Folder),
        ("grüße/100%+", file(b"d")),
        ("nothing", file(b"")),
        ("large", file(&large)),
        ("double/%2F", Kind::Other),
        ("%2E%2E%2F", Kind::Other),
        ("dots/%2E%2E", Kind::Other),
        ("full/%2F", Kind::Other),
        ("both%", Kind::Other),
        ("both/leaf", file(b"e")),
    ] {
        assert_eq!(told.get(path.as_bytes()), Some(&kind), "{path}");
    }
    assert_eq!(told.keys().filter(|path| path.starts_with(b"many/")).count(), 1_050);
    assert_eq!(told.keys().filter(|path| path.starts_with(b"..") || path.ends_with(b"/")).count(), 0);
    assert!(entry(&*origin, b"", b"plain").version.is_some());
    assert_eq!(bucket.list("").unwrap(), before, "nothing was written");
    // A prefix that nothing begins with, and a bucket that is not there.
    let error = opened(&bucket.repository("tre"), s3_access(server), &runtime).list(b"", &Cancel::new()).unwrap_err();
    assert!(error.cause.contains("prefix"), "{error}");
    let elsewhere = format!("s3:{}/no-such-bucket/tree", server.endpoint);
    let error = opened(&elsewhere, s3_access(server), &runtime).list(b"", &Cancel::new()).unwrap_err();
    assert!(error.cause.contains("NoSuchBucket"), "{error}");
}

#[test]
fn what_is_wrong_with_a_server_ends_the_backup_with_a_reason() {
    let runtime = runtime();
    let first =
        |location: String, access: Access| opened(&location, access, &runtime).list(b"", &Cancel::new()).unwrap_err();
    for (kind, flaw, password, words) in [
        (FtpKind::Proftpd, CertificateFlaw::None, "not-this-one", "530"),
        (FtpKind::Pyftpdlib, CertificateFlaw::None, "not-this-one", "530"),
        (FtpKind::Vsftpd, CertificateFlaw::Expired, FtpServer::PASSWORD, "certificate"),
        (FtpKind::Vsftpd, CertificateFlaw::WrongHost, FtpServer::PASSWORD, "certificate"),
    ] {
        let Some((server, _, user)) = ftp(kind, flaw) else { continue };
        let error = first(server.location(user, "."), ftp_access(&server, password));
        assert!(error.cause.contains(words), "{error}");
        assert!(!format!("{error:?}").contains("not-this-one"), "{error:?}");
        assert_eq!(error.scope, ErrorScope::Backup);
    }
    let Some((server, likes, user)) = ftp(FtpKind::Vsftpd, CertificateFlaw::None) else { return };
    let tree = tree_in(&server.data_dir, likes);
    std::fs::create_dir(tree.join("closed")).unwrap();
    old_file(&tree.join("closed file"), b"x");
    let before = marks(&server.data_dir);
    let access = ftp_access(&server, FtpServer::PASSWORD);
    // Without the authority nobody is believed; with the pin of the certificate nobody else needs to be.
    let stranger = Access { tls: TlsAccess::default(), ..access.clone() };
    let error = first(server.location(user, "tree"), stranger.clone());
    assert!(error.cause.contains("certificate"), "{error}");
    let pinned = |digest: String| Access {
        tls: TlsAccess { pinned_certificate: Some(digest), ..TlsAccess::default() },
        ..stranger.clone()
    };
    let error = first(server.location(user, "tree"), pinned("0".repeat(64)));
    assert!(error.cause.contains("pinned"), "{error}");
    let origin = opened(&server.location(user, "tree"), pinned(server.certificates.fingerprint.clone()), &runtime);
    assert!(!origin.list(b"", &Cancel::new()).unwrap().is_empty());
    // A mistyped root, a folder that answers 550, a file that does.
    let error = first(server.location(user, "three"), access.clone());
    assert!(error.cause.contains("550"), "{error}");
    let error = origin.list(b"closed", &Cancel::new()).unwrap_err();
    assert!(error.cause.contains("550") && !error.is_of_one_entry(), "{error}");
    let closed = entry(&*origin, b"", b"closed file");
    assert_eq!(read(&*origin, b"closed file", &closed).unwrap_err().scope, ErrorScope::Unreadable);
    // In the clear nothing is said.
    let plain = RemoteSettings {
        access: access.clone(),
        implicit_tls: true,
        limits: remote_ground::impatient(),
        ..RemoteSettings::default()
    };
    assert!(opened_with(&server.location(user, "tree"), plain, &runtime).list(b"", &Cancel::new()).is_err());
    let Some(plain) = plain_server() else { return };
    let error = first(format!("ftps://alice@127.0.0.1:{}/tree", plain.port()), access);
    assert!(error.cause.contains("nothing is said in the clear"), "{error}");
    assert!(!plain.log().contains("alice"), "the account was told: {}", plain.log());
    assert_eq!(marks(&server.data_dir), before, "somebody wrote there");
}

/// An FTP server that knows no TLS and writes down what it hears.
fn plain_server() -> Option<testkit::process::Server> {
    const SCRIPT: &str = "
import socket, sys
server = socket.create_server(('127.0.0.1', int(sys.argv[1])))
while True:
    client, _ = server.accept()
    # Whoever only looks whether somebody listens is gone at once.
    try:
        client.sendall(b'220 ready\\r\\n')
        for line in client.makefile('rb'):
            print(line, flush=True)
            client.sendall(b'500 what\\r\\n')
    except OSError:
        pass
";
    let python = testkit::components::python()?;
    let folder = tempfile::Builder::new().prefix("triplicate-plain-ftp-").tempdir().unwrap().keep();
    let plan = testkit::process::ServerPlan {
        name: "a plain FTP server",
        program: python,
        arguments: Box::new(|port| ["-c".into(), SCRIPT.into(), port.to_string().into()].into()),
        folder,
    };
    Some(testkit::process::Server::start(plan).unwrap())
}
