//! FTP servers in the situations that the suite does not have: who does not get in, who may not write or remove, a
//! server that is not the one that is meant, one with the newest TLS alone, and one that dies.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use destinations::{
    Access, Destination, FILE_LIMIT_BYTES, FtpsAccess, Limits, Location, RetryListener, Span, TlsAccess, open_heard,
};
use format::{FileKind, FileName};
use model::{FaultKind, Id, Secret};
use sha2::{Digest as _, Sha256};
use testkit::{CertificateFlaw, FtpKind, FtpServer};

fn named(bytes: &'static [u8]) -> (FileName, Bytes) {
    (FileName::pack(Id::from_bytes(Sha256::digest(bytes).into())), Bytes::from_static(bytes))
}

fn access(server: &FtpServer, password: &str) -> Access {
    Access {
        ftps: FtpsAccess { password: Some(Secret::from(password)) },
        tls: TlsAccess { ca_certificate: Some(server.certificates.authority.clone()), ..TlsAccess::default() },
        ..Access::default()
    }
}

fn opened(location: &str, access: &Access, retries: &Arc<AtomicUsize>) -> Arc<dyn Destination> {
    let counter = Arc::clone(retries);
    let listener: RetryListener = Arc::new(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    open_heard(&location.parse::<Location>().unwrap(), access, &Limits::default(), Some(listener)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_get_in_hears_why_at_once() {
    for (kind, flaw, password, fault_kind, words) in [
        (FtpKind::Proftpd, CertificateFlaw::None, "not-this-one", FaultKind::Denied, "530"),
        (FtpKind::Pyftpdlib, CertificateFlaw::None, "not-this-one", FaultKind::Denied, "530"),
        (FtpKind::Pyftpdlib, CertificateFlaw::Expired, FtpServer::PASSWORD, FaultKind::Misconfigured, "certificate"),
        (FtpKind::Pyftpdlib, CertificateFlaw::WrongHost, FtpServer::PASSWORD, FaultKind::Misconfigured, "certificate"),
    ] {
        let Some(server) = FtpServer::start(kind, flaw) else { return };
        let retries = Arc::default();
        let place = opened(&server.location(FtpServer::USER, "a"), &access(&server, password), &retries);
        let fault = place.list(FileKind::Key).await.expect_err("let in");
        assert_eq!((fault.kind, retries.load(Ordering::Relaxed)), (fault_kind, 0), "{fault}");
        assert!(fault.cause.contains(words), "{fault}");
        assert!(!format!("{fault} {fault:?} {place:?}").contains("not-this-one"), "{fault:?}");
    }
    // Without the authority nobody is believed.
    let Some(server) = FtpServer::start(FtpKind::Pyftpdlib, CertificateFlaw::None) else { return };
    let stranger = Access { tls: TlsAccess::default(), ..access(&server, FtpServer::PASSWORD) };
    let place = opened(&server.location(FtpServer::USER, "a"), &stranger, &Arc::default());
    let fault = place.create().await.expect_err("a stranger");
    assert_eq!(fault.kind, FaultKind::Misconfigured, "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_may_not_write_or_remove_are_told_so() {
    let Some(server) = FtpServer::start(FtpKind::Pyftpdlib, CertificateFlaw::None) else { return };
    let access = access(&server, FtpServer::PASSWORD);
    let of = |user: &str| opened(&server.location(user, "a"), &access, &Arc::default());
    of(FtpServer::USER).create().await.unwrap();
    let (name, bytes) = named(b"a pack");
    let (other, other_bytes) = named(b"another pack");
    of("keeper").write(name, bytes.clone()).await.unwrap();
    assert_eq!(of("keeper").remove(name).await.expect_err("removed").kind, FaultKind::Denied);
    assert_eq!(of("reader").write(other, other_bytes).await.expect_err("written").kind, FaultKind::Denied);
    assert_eq!(of("reader").read(name, Span::Whole).await.unwrap(), bytes);
    assert_eq!(of("reader").list(FileKind::Pack).await.unwrap().len(), 1);
}

/// No file of a repository is so long, and what is asked for there is never answered with less.
#[tokio::test(flavor = "multi_thread")]
async fn behind_the_longest_file_there_is_nothing_to_read() {
    let Some(server) = FtpServer::start(FtpKind::Pyftpdlib, CertificateFlaw::None) else { return };
    let access = access(&server, FtpServer::PASSWORD);
    let place = opened(&server.location(FtpServer::USER, "a"), &access, &Arc::default());
    place.create().await.unwrap();
    let (name, _) = named(b"a pack");
    let file = std::fs::File::create(server.data_dir.join("a").join(name.path())).unwrap();
    file.set_len(FILE_LIMIT_BYTES + 100).unwrap();
    let span = |length| Span::Range { offset: FILE_LIMIT_BYTES, length };
    assert_eq!(place.read(name, span(10)).await.expect_err("ten bytes").kind, FaultKind::Damaged);
    assert_eq!(place.read(name, span(0)).await.unwrap(), Bytes::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_the_newest_tls_alone_works_with_more_logins() {
    let Some(server) = FtpServer::start(FtpKind::ProftpdWithNewestTls, CertificateFlaw::None) else { return };
    let retries = Arc::default();
    let place = opened(&server.location(FtpServer::USER, "a"), &access(&server, FtpServer::PASSWORD), &retries);
    place.create().await.unwrap();
    for text in [&b"1"[..], b"2", b"3", b"4", b"5"] {
        let (name, bytes) = named(text);
        place.write(name, bytes.clone()).await.unwrap();
        assert_eq!(place.read(name, Span::Whole).await.unwrap(), bytes);
    }
    assert_eq!(place.list(FileKind::Pack).await.unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_the_server_ended_are_made_anew_and_half_files_have_no_name() {
    let Some(mut server) = FtpServer::start(FtpKind::Pyftpdlib, CertificateFlaw::None) else { return };
    let retries = Arc::default();
    let place = opened(&server.location(FtpServer::USER, "a"), &access(&server, FtpServer::PASSWORD), &retries);
    place.create().await.unwrap();
    let large = Bytes::from(testkit::Random::new(7).bytes(24 << 20));
    let name = FileName::pack(Id::from_bytes(Sha256::digest(&large).into()));
    let writing = tokio::spawn({
        let (place, large) = (Arc::clone(&place), large.clone());
        async move { place.write(name, large).await }
    });
    // The server dies in the middle of the upload, wherever that is, and comes back.
    tokio::time::timeout(std::time::Duration::from_secs(20), async {
        while std::fs::read_dir(server.data_dir.join("a").join("data"))
            .unwrap()
            .all(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap().next().is_none())
        {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    server.server.kill().unwrap();
    server.server.start_again().unwrap();
    writing.await.unwrap().unwrap();
    assert_eq!(place.stat(name).await.unwrap(), large.len() as u64);
    assert_eq!(place.read(name, Span::Whole).await.unwrap(), large);
    assert_eq!(place.list(FileKind::Pack).await.unwrap().len(), 1);
    assert!(0 < retries.load(Ordering::Relaxed), "nothing broke");
}
