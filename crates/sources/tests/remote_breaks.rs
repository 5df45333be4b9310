//! Connections that drop, servers that die, files that change while they are read: a file comes whole or not at all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod remote_ground;

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use destinations::{Access, Limits, RetryListener, TlsAccess};
use remote_ground::{
    entry, ftp, ftp_access, impatient, noise, old_file, opened, opened_with, read, runtime, ssh_access, webdav_access,
};
use repository::Cancel;
use repository::backup::{ErrorScope, Origin, OriginError};
use sources::RemoteSettings;
use testkit::proxy::{Break, Lane, RawFault, Relay, Way};
use testkit::{
    CertificateFlaw, FtpKind, FtpServer, SshServer, SshServerOptions, WebdavKind, WebdavOptions, WebdavServer,
};

const FILE_BYTES: usize = 3_000_017;

/// Counts retries, and lays the next trap at each.
#[derive(Default)]
struct Retries {
    count: AtomicUsize,
    came: AtomicU64,
    trap: Mutex<Option<(Arc<Relay>, Lane, RawFault)>>,
}

impl Retries {
    fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Lays the trap anew, and counts what came since the last time.
    fn lay(&self) {
        if let Some((relay, lane, fault)) = &*self.trap.lock().unwrap() {
            self.came.fetch_add(relay.passed(*lane, Way::Down), Ordering::Relaxed);
            relay.follow(*fault);
        }
    }
}

fn settings(access: Access, retries: &Arc<Retries>) -> RemoteSettings {
    let retries = Arc::clone(retries);
    let listener: RetryListener = Arc::new(move |_| {
        retries.count.fetch_add(1, Ordering::Relaxed);
        retries.lay();
    });
    // A machine that is busy takes its time to start a server.
    let limits = Limits { retry_total_seconds: 30, first_contact_seconds: 30, ..impatient() };
    RemoteSettings { access, limits, listener: Some(listener), ..RemoteSettings::default() }
}

/// Reads one file while each of its connections is cut after so many bytes: it comes whole, and hardly any byte twice.
#[track_caller]
fn assert_resumes(origin: &dyn Origin, relay: &Arc<Relay>, lane: Lane, retries: &Retries, content: &[u8]) {
    let large = entry(origin, b"", b"large");
    for (how, after_bytes) in [
        (Break::Reset, 1_400_000),
        (Break::Finish, 1_400_000),
        (Break::Finish, 900_001),
        (Break::Finish, 262_144),
        (Break::Finish, 140_000),
    ] {
        let fault = RawFault::Break { how, lane, way: Way::Down, after_bytes, lasts: false };
        relay.heal();
        retries.count.store(0, Ordering::Relaxed);
        retries.came.store(0, Ordering::Relaxed);
        *retries.trap.lock().unwrap() = Some((Arc::clone(relay), lane, fault));
        retries.lay();
        let found = read(origin, b"large", &large).unwrap();
        retries.lay();
        *retries.trap.lock().unwrap() = None;
        relay.heal();
        assert!(found == content, "{}: other bytes, cut after {after_bytes}", origin.place());
        let (cuts, came) = (retries.count() as u64, retries.came.load(Ordering::Relaxed));
        println!("{}: {cuts} cuts after {after_bytes}, {how:?}: {came} bytes for {}", origin.place(), content.len());
        assert!(content.len() as u64 / (after_bytes + 1) <= cuts, "{cuts} cuts after {after_bytes}");
        // A reset takes with it what has arrived and was not read yet; after an end, only what was asked ahead is lost.
        let most = content.len() as u64 * 11 / 10 + cuts * 60_000;
        assert!(how == Break::Reset || came < most, "{came} bytes came with {cuts} cuts after {after_bytes}");
    }
}

#[test]
fn a_file_over_ftp_goes_on_where_its_connection_dropped() {
    let runtime = runtime();
    let Some(server) = FtpServer::start_for_relay(FtpKind::Vsftpd) else { return };
    let user = FtpServer::ANYBODY;
    let content = noise(FILE_BYTES, 1);
    old_file(&server.data_dir.join("large"), &content);
    let relay = Arc::new(Relay::start(server.server.port(), server.data_ports.clone()));
    let retries = Arc::<Retries>::default();
    // The relay has another address than the certificate is for.
    let pinned_certificate = Some(server.certificates.fingerprint.clone());
    let tls = TlsAccess { pinned_certificate, ..TlsAccess::default() };
    let access = Access { tls, ..ftp_access(&server, FtpServer::PASSWORD) };
    let origin = opened_with(&relay.through(&server.location(user, ".")), settings(access.clone(), &retries), &runtime);
    assert_resumes(&*origin, &relay, Lane::Further, &retries, &content);
    // A listing that is cut is none.
    std::fs::create_dir(server.data_dir.join("many")).unwrap();
    for number in 0..400 {
        old_file(&server.data_dir.join(format!("many/{number:060}")), b"");
    }
    let hasty = opened(&relay.through(&server.location(user, ".")), access, &runtime);
    for how in [Break::Finish, Break::Reset] {
        // Again and again, until the time for retries is over.
        let (lane, way) = (Lane::Further, Way::Down);
        relay.follow(RawFault::Break { how, lane, way, after_bytes: 20_000, lasts: true });
        let error = hasty.list(b"many", &Cancel::new()).unwrap_err();
        assert!(!error.is_of_one_entry() && 0 < relay.fired(), "{error}");
        relay.heal();
    }
    assert_eq!(origin.list(b"many", &Cancel::new()).unwrap().len(), 400);
}

#[test]
fn a_file_over_sftp_goes_on_where_its_connection_dropped() {
    let runtime = runtime();
    let Some(server) = SshServer::start(&SshServerOptions::default()) else { return };
    let content = noise(FILE_BYTES, 2);
    old_file(&server.home.join("large"), &content);
    let relay = Arc::new(Relay::start(server.server.port(), 0..0));
    let mut access = ssh_access(&server);
    access.ssh.known_hosts = Some(server.known_at(relay.port()).unwrap());
    let retries = Arc::<Retries>::default();
    let location = relay.through(&server.location("sftp", "."));
    let origin = opened_with(&location, settings(access, &retries), &runtime);
    assert_resumes(&*origin, &relay, Lane::Main, &retries, &content);
}

#[test]
fn a_file_over_webdav_goes_on_where_its_connection_dropped() {
    let runtime = runtime();
    for kind in [WebdavKind::Apache, WebdavKind::Sabre] {
        let Some(server) = WebdavServer::start(&WebdavOptions::plain(kind)) else { return };
        let content = noise(FILE_BYTES, 3);
        old_file(&server.data_dir.join("large"), &content);
        let relay = Arc::new(Relay::start(server.server.port(), 0..0));
        let retries = Arc::<Retries>::default();
        let location = relay.through(&format!("webdav:{}", server.url));
        let origin = opened_with(&location, settings(webdav_access(), &retries), &runtime);
        assert_resumes(&*origin, &relay, Lane::Main, &retries, &content);
    }
}

#[test]
fn a_server_that_dies_halfway_ends_the_backup_unless_it_comes_back() {
    let runtime = runtime();
    let Some((mut server, _, user)) = ftp(FtpKind::Pyftpdlib, CertificateFlaw::None) else { return };
    let content = noise(40 << 20, 4);
    old_file(&server.data_dir.join("large"), &content);
    let retries = Arc::<Retries>::default();
    let access = ftp_access(&server, FtpServer::PASSWORD);
    let origin = opened_with(&server.location(user, "."), settings(access, &retries), &runtime);
    let large = entry(&*origin, b"", b"large");
    let halfway = |origin: &dyn Origin| {
        let mut reader = origin.open(b"large", &large, &Cancel::new()).unwrap();
        let mut begin = vec![0; 10 << 20];
        reader.read_exact(&mut begin).unwrap();
        assert!(begin == content[..begin.len()]);
        (reader, begin)
    };
    let (mut reader, mut whole) = halfway(&*origin);
    server.server.kill().unwrap();
    server.server.start_again().unwrap();
    reader.read_to_end(&mut whole).unwrap();
    assert!(whole == content && 0 < retries.count());
    let hasty = opened(&server.location(user, "."), ftp_access(&server, FtpServer::PASSWORD), &runtime);
    let (mut reader, mut rest) = halfway(&*hasty);
    server.server.kill().unwrap();
    let error = reader.read_to_end(&mut rest).unwrap_err().downcast::<OriginError>().unwrap();
    assert_eq!(error.scope, ErrorScope::Backup, "{error}");
    assert!(rest.len() < content.len());
    assert!(reader.read(&mut [0; 1]).is_err(), "an end was told after all");
}

/// Reads the beginning of a file, lets `change` happen, and reads the rest.
fn changed_halfway(origin: &dyn Origin, change: impl FnOnce()) -> Result<Vec<u8>, OriginError> {
    let large = entry(origin, b"", b"large");
    let mut reader = origin.open(b"large", &large, &Cancel::new())?;
    let mut content = vec![0; 1 << 20];
    reader.read_exact(&mut content).unwrap();
    change();
    match reader.read_to_end(&mut content) {
        Ok(_) => Ok(content),
        Err(error) => Err(error.downcast::<OriginError>().unwrap()),
    }
}

#[track_caller]
fn assert_changes_are_seen(origin: &dyn Origin, folder: &Path) {
    // So much that most of it is still on the server when the change comes.
    let content = noise(60 << 20, 5);
    let file = folder.join("large");
    let append = || std::fs::File::options().append(true).open(&file).unwrap().write_all(b"one more line").unwrap();
    old_file(&file, &content);
    let grown = changed_halfway(origin, append).unwrap();
    assert!(grown.starts_with(&content) && grown.ends_with(b"one more line"), "{}", origin.place());
    // Another file under the same name, and the same file with other bytes: nothing of both is ever mixed.
    let other = noise(60 << 20, 6);
    for in_place in [true, false] {
        old_file(&file, &content);
        let replaced = changed_halfway(origin, || {
            let new = if in_place { file.clone() } else { folder.join("new") };
            std::fs::write(&new, &other).unwrap();
            std::fs::rename(&new, &file).unwrap();
        });
        match replaced {
            Ok(found) => assert!(!in_place && found == content, "{}: a mixture", origin.place()),
            Err(error) => assert_eq!(error.scope, ErrorScope::Unreadable, "{error}"),
        }
    }
    old_file(&file, &content);
    let shortened = changed_halfway(origin, || {
        std::fs::File::options().write(true).open(&file).unwrap().set_len(2 << 20).unwrap();
    });
    match shortened {
        Ok(found) => assert!(found == content[..2 << 20], "{}: neither was nor is", origin.place()),
        Err(error) => assert!(error.cause.contains("changed"), "{error}"),
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_never_a_mixture() {
    let runtime = runtime();
    let retries = Arc::<Retries>::default();
    if let Some((server, _, user)) = ftp(FtpKind::Vsftpd, CertificateFlaw::None) {
        let access = ftp_access(&server, FtpServer::PASSWORD);
        let origin = opened_with(&server.location(user, "."), settings(access, &retries), &runtime);
        assert_changes_are_seen(&*origin, &server.data_dir);
    }
    if let Some(server) = SshServer::start(&SshServerOptions::default()) {
        let origin = opened_with(&server.location("sftp", "."), settings(ssh_access(&server), &retries), &runtime);
        assert_changes_are_seen(&*origin, &server.home);
    }
    if let Some(server) = WebdavServer::start(&WebdavOptions::plain(WebdavKind::Apache)) {
        let location = format!("webdav:{}", server.url);
        let origin = opened_with(&location, settings(webdav_access(), &retries), &runtime);
        assert_changes_are_seen(&*origin, &server.data_dir);
    }
}
