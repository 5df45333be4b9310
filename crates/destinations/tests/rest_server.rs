//! restic's own REST server in the situations that the suite does not have: append-only, full, wrong credentials,
//! wrong certificates, killed in the middle.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use destinations::{Access, Destination, Limits, Location, RestAccess, RetryListener, Span, TlsAccess, open_heard};
use format::{FileKind, FileName};
use model::{Fault, FaultKind, Id, Secret};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use sha2::{Digest as _, Sha256};
use testkit::process::{Server, ServerPlan};
use testkit::{CertificateFlaw, RestServer, RestServerOptions, components};

fn named(bytes: Vec<u8>) -> (FileName, Bytes) {
    (FileName::pack(Id::from_bytes(Sha256::digest(&bytes).into())), Bytes::from(bytes))
}

fn opened(location: &str, access: &Access, retries: &Arc<AtomicUsize>) -> Arc<dyn Destination> {
    let counter = Arc::clone(retries);
    let listener: RetryListener = Arc::new(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    open_heard(&location.parse::<Location>().unwrap(), access, &Limits::default(), Some(listener)).unwrap()
}

/// A failure that must come at once.
async fn fault_at_once(location: &str, access: &Access) -> Fault {
    let retries = Arc::default();
    let fault = opened(location, access, &retries).list(FileKind::Key).await.expect_err("a listing");
    assert_eq!(retries.load(Ordering::Relaxed), 0, "tried again: {fault}");
    fault
}

#[tokio::test]
async fn an_append_only_server_takes_the_same_again_and_loses_nothing() {
    let Some(server) = RestServer::start(&RestServerOptions { append_only: true, ..RestServerOptions::open() }) else {
        return;
    };
    let place = opened(&server.repository("repo"), &Access::default(), &Arc::default());
    place.create().await.unwrap();
    let (name, bytes) = named(vec![5; 1 << 20]);
    for _ in 0..2 {
        place.write(name, bytes.clone()).await.unwrap();
        place.write(FileName::CONFIG, Bytes::from_static(b"config")).await.unwrap();
        place.create().await.unwrap();
    }
    assert_eq!(place.remove(name).await.expect_err("append-only").kind, FaultKind::Denied);
    std::fs::write(server.folder("repo").join(name.path()), b"damaged").unwrap();
    let fault = place.write(name, bytes).await.expect_err("damaged bytes cannot be replaced");
    assert_eq!(fault.kind, FaultKind::Exists, "{fault}");
    assert_eq!(place.read(name, Span::Whole).await.unwrap(), "damaged");
}

#[tokio::test]
async fn a_full_server_is_full_at_once() {
    let options = RestServerOptions { quota_bytes: Some(1_000_000), ..RestServerOptions::open() };
    let Some(server) = RestServer::start(&options) else { return };
    let retries = Arc::default();
    let place = opened(&server.repository("repo"), &Access::default(), &retries);
    place.create().await.unwrap();
    let (name, bytes) = named(vec![6; 16 << 20]);
    let fault = place.write(name, bytes).await.expect_err("no room");
    assert_eq!((fault.kind, retries.load(Ordering::Relaxed)), (FaultKind::Full, 0), "{fault}");
    assert_eq!(place.stat(name).await.expect_err("never there").kind, FaultKind::NotFound);
}

#[tokio::test]
async fn credentials_come_from_the_url_or_from_outside_and_wrong_ones_are_denied() {
    let Some(server) = RestServer::start(&RestServerOptions::default()) else { return };
    let trusting: Access = TlsAccess { ca_certificate: server.ca_file.clone(), ..TlsAccess::default() }.into();
    let knowing = |password: &str| Access {
        rest: RestAccess { username: Some(server.user.clone()), password: Some(Secret::from(password)) },
        ..trusting.clone()
    };
    let place = opened(&server.repository("repo"), &knowing(&server.password), &Arc::default());
    place.create().await.unwrap();
    let wrong = server.repository("repo").replacen("://", "://alice:not-this-one@", 1);
    for (location, access) in [
        (server.repository("repo"), trusting.clone()),
        (server.repository("repo"), knowing("not-this-one")),
        // What the URL says wins.
        (wrong, knowing(&server.password)),
    ] {
        let fault = fault_at_once(&location, &access).await;
        assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
        assert!(!format!("{fault} {fault:?} {access:?}").contains("not-this-one"), "{fault:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_cannot_be_believed_is_told_at_once() {
    let start = |flaw| RestServer::start(&RestServerOptions { tls: Some(flaw), ..RestServerOptions::open() });
    for (flaw, trusts, word) in [
        (CertificateFlaw::None, false, "UnknownIssuer"),
        (CertificateFlaw::Expired, true, "expired"),
        (CertificateFlaw::WrongHost, true, "not valid for name"),
    ] {
        let Some(server) = start(flaw) else { return };
        let access =
            TlsAccess { ca_certificate: server.ca_file.clone().filter(|_| trusts), ..TlsAccess::default() }.into();
        let fault = fault_at_once(&server.repository("repo"), &access).await;
        assert_eq!(fault.kind, FaultKind::Misconfigured, "{fault}");
        assert!(fault.cause.contains(word), "{fault}");
    }
    // TLS spoken to a server that speaks plain HTTP.
    let Some(server) = RestServer::start(&RestServerOptions::open()) else { return };
    let fault = fault_at_once(&server.repository("repo").replacen("http:", "https:", 1), &Access::default()).await;
    assert_eq!(fault.kind, FaultKind::Misconfigured, "{fault}");
}

#[tokio::test]
async fn a_file_without_certificates_is_told_at_opening() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, b"no certificate here").unwrap();
    for (path, word) in [(folder.path().join("missing.pem"), "cannot be read"), (empty, "no certificate")] {
        let access = TlsAccess { ca_certificate: Some(path), ..TlsAccess::default() }.into();
        let location: Location = "rest:https://127.0.0.1:1/".parse().unwrap();
        let fault = destinations::open(&location, &access, &Limits::default()).expect_err(word);
        assert_eq!(fault.kind, FaultKind::Misconfigured, "{fault}");
        assert!(fault.cause.contains(word), "{fault}");
    }
}

/// A certificate that signs itself and says of itself that it is an authority, as most manuals make them.
struct SelfSigned {
    certificate: PathBuf,
    server: Server,
}

impl SelfSigned {
    fn start(host: &str, last_year: i32) -> Option<Self> {
        let program = components::rest_server()?;
        let folder = tempfile::tempdir().unwrap().keep();
        let mut parameters = CertificateParams::new(vec![host.to_owned()]).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.not_before = date_time_ymd(2001, 1, 1);
        parameters.not_after = date_time_ymd(last_year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let (certificate, key_file) = (folder.join("certificate.pem"), folder.join("key.pem"));
        write_pem(&certificate, "CERTIFICATE", parameters.self_signed(&key).unwrap().der());
        write_pem(&key_file, "PRIVATE KEY", &key.serialize_der());
        let fixed: Vec<OsString> = ["--no-auth", "--tls", "--tls-cert"].map(OsString::from).to_vec();
        let (shown, data) = (certificate.clone(), folder.join("data"));
        let arguments = move |port| {
            let more: [OsString; 7] = [
                shown.clone().into(),
                "--tls-key".into(),
                key_file.clone().into(),
                "--path".into(),
                data.clone().into(),
                "--listen".into(),
                format!("127.0.0.1:{port}").into(),
            ];
            fixed.iter().cloned().chain(more).collect()
        };
        let plan = ServerPlan { name: "self-signed", program, arguments: Box::new(arguments), folder };
        Some(Self { certificate, server: Server::start(plan).unwrap() })
    }

    fn location(&self) -> String {
        format!("rest:https://127.0.0.1:{}/repo/", self.server.port())
    }

    fn access(&self) -> Access {
        TlsAccess { ca_certificate: Some(self.certificate.clone()), ..TlsAccess::default() }.into()
    }
}

fn write_pem(path: &Path, label: &str, der: &[u8]) {
    use base64::Engine as _;
    let text = base64::prelude::BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    std::fs::write(path, format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))).unwrap();
}

#[tokio::test]
async fn a_self_signed_authority_is_believed_when_it_is_the_one_in_the_file() {
    let Some(sound) = SelfSigned::start("127.0.0.1", 2090) else { return };
    let place = opened(&sound.location(), &sound.access(), &Arc::default());
    place.create().await.unwrap();
    assert_eq!(place.list(FileKind::Key).await.unwrap(), []);

    // Another one that looks alike, one for another host, one that has ended, and no file at all.
    let other = SelfSigned::start("127.0.0.1", 2090).unwrap();
    let elsewhere = SelfSigned::start("elsewhere.invalid", 2090).unwrap();
    let ended = SelfSigned::start("127.0.0.1", 2002).unwrap();
    for (location, access) in [
        (sound.location(), other.access()),
        (elsewhere.location(), elsewhere.access()),
        (ended.location(), ended.access()),
        (sound.location(), Access::default()),
    ] {
        let fault = fault_at_once(&location, &access).await;
        assert_eq!(fault.kind, FaultKind::Misconfigured, "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_converge_when_the_server_is_killed_again_and_again() {
    let Some(mut server) = RestServer::start(&RestServerOptions::open()) else { return };
    let retries = Arc::default();
    let place = opened(&server.repository("repo"), &Access::default(), &retries);
    place.create().await.unwrap();
    let samples: Vec<_> = (0..120_u8).map(|number| named(vec![number; 1 << 20])).collect();
    let uploads = {
        let (place, samples) = (Arc::clone(&place), samples.clone());
        tokio::spawn(async move {
            for group in samples.chunks(6) {
                let writes = group.iter().map(|(name, bytes)| place.write(*name, bytes.clone()));
                for written in futures::future::join_all(writes).await {
                    written.unwrap();
                }
            }
        })
    };
    let mut kills = 0;
    while !uploads.is_finished() && kills < 12 {
        // Any moment will do; this one is in the middle of the uploads.
        tokio::time::sleep(Duration::from_millis(40)).await;
        tokio::task::block_in_place(|| server.server.start_again()).unwrap();
        kills += 1;
    }
    tokio::time::timeout(Duration::from_secs(120), uploads).await.expect("uploads come to an end").unwrap();
    assert!(0 < retries.load(Ordering::Relaxed), "{kills} kills hit nothing");
    assert_eq!(place.list(FileKind::Pack).await.unwrap().len(), samples.len());
    for (name, bytes) in samples {
        assert!(place.read(name, Span::Whole).await.unwrap() == bytes, "{name} is not whole");
    }
}
