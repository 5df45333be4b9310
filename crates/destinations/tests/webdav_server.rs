//! WebDAV servers in the situations that the suite does not have: missing folders, locks, quotas, accounts that may do
//! less, broken uploads, listings that were cut, certificates; and Nextcloud's uploads in parts on a stand-in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod scripted;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use destinations::{
    Access, Destination, Limits, Location, RetryListener, Span, TlsAccess, WebdavAccess, WebdavFolder, open_heard,
};
use format::{FileKind, FileName};
use model::{Fault, FaultKind, Id, Secret};
use scripted::{Act, Asked, Scripted, answer};
use sha2::{Digest as _, Sha256};
use testkit::{CertificateFlaw, WebdavKind, WebdavOptions, WebdavServer};

fn named(bytes: Vec<u8>) -> (FileName, Bytes) {
    (FileName::pack(Id::from_bytes(Sha256::digest(&bytes).into())), Bytes::from(bytes))
}

fn opened(location: &str, access: &Access, retries: &Arc<AtomicUsize>) -> Arc<dyn Destination> {
    let counter = Arc::clone(retries);
    let listener: RetryListener = Arc::new(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let limits = Limits { first_backoff_milliseconds: 20, ..Limits::default() };
    open_heard(&location.parse::<Location>().unwrap(), access, &limits, Some(listener)).unwrap()
}

/// The place without retries.
fn bare(location: &str, access: &Access) -> WebdavFolder {
    let Location::Webdav(location) = location.parse().unwrap() else { panic!("webdav") };
    WebdavFolder::new(&location, access, &Limits::default()).unwrap()
}

fn start(kind: WebdavKind) -> Option<(WebdavServer, WebdavFolder)> {
    let server = WebdavServer::start(&WebdavOptions::plain(kind))?;
    let place = bare(&server.repository_of(WebdavServer::USER, "repo"), &Access::default());
    Some((server, place))
}

/// Every file and folder below `folder` that our listings would not show.
fn strangers(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().contains("-tmp-") {
            found.push(path);
        } else if path.is_dir() {
            found.extend(strangers(&path));
        }
    }
    found
}

#[tokio::test]
async fn a_folder_that_vanished_is_made_again_by_the_next_upload() {
    for kind in [WebdavKind::Apache, WebdavKind::Sabre] {
        let Some((server, place)) = start(kind) else { return };
        place.create().await.unwrap();
        std::fs::remove_dir_all(server.data_dir.join("repo/data")).unwrap();
        let (name, bytes) = named(vec![1; 1000]);
        place.write(name, bytes.clone()).await.unwrap();
        assert_eq!(place.read(name, Span::Whole).await.unwrap(), bytes);
        let missing = place.list(FileKind::Snapshot).await.unwrap();
        assert_eq!(missing, []);
        std::fs::remove_dir_all(server.data_dir.join("repo/snapshots")).unwrap();
        let fault = place.list(FileKind::Snapshot).await.expect_err("a missing folder is no empty one");
        assert_eq!(fault.kind, FaultKind::NotFound, "{fault}");
    }
}

#[tokio::test]
async fn a_half_upload_is_never_seen() {
    for kind in [WebdavKind::Apache, WebdavKind::Sabre, WebdavKind::Nextcloud] {
        let Some((server, place)) = start(kind) else { return };
        place.create().await.unwrap();
        let (name, bytes) = named((0..14 << 20).map(|at: u32| (at >> 9) as u8).collect());
        // The client dies at some moment of the upload: its connection breaks with the future.
        for milliseconds in [1, 5, 20, 60] {
            let upload = place.write(name, bytes.clone());
            let ended = tokio::time::timeout(Duration::from_millis(milliseconds), upload).await;
            if ended.is_err() {
                let whole = place.stat(name).await;
                assert!(
                    matches!(&whole, Err(fault) if fault.kind == FaultKind::NotFound) || whole.unwrap() == 14 << 20
                );
                assert!(place.list(FileKind::Pack).await.unwrap().iter().all(|listed| listed.size == 14 << 20));
            }
        }
        place.write(name, bytes.clone()).await.unwrap();
        assert!(place.read(name, Span::Whole).await.unwrap() == bytes, "14 MiB came back changed");
        drop(server);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_converge_when_the_server_is_killed_again_and_again() {
    let Some(mut server) = WebdavServer::start(&WebdavOptions::plain(WebdavKind::Apache)) else { return };
    let retries = Arc::default();
    let place = opened(&server.repository_of(WebdavServer::USER, "repo"), &Access::default(), &retries);
    place.create().await.unwrap();
    let samples: Vec<_> = (0..60_u8).map(|number| named(vec![number; 1 << 20])).collect();
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
    for _ in 0..4 {
        if uploads.is_finished() {
            break;
        }
        // Any moment will do; this one is in the middle of the uploads.
        tokio::time::sleep(Duration::from_millis(30)).await;
        tokio::task::block_in_place(|| server.server.start_again()).unwrap();
    }
    tokio::time::timeout(Duration::from_secs(120), uploads).await.expect("uploads come to an end").unwrap();
    assert!(0 < retries.load(Ordering::Relaxed), "the kills hit nothing");
    assert_eq!(place.list(FileKind::Pack).await.unwrap().len(), samples.len());
    for (name, bytes) in samples {
        assert!(place.read(name, Span::Whole).await.unwrap() == bytes, "{name} is not whole");
    }
}

#[tokio::test]
async fn leftovers_of_dead_processes_go_and_fresh_ones_and_other_peoples_stay() {
    let Some((server, place)) = start(WebdavKind::Apache) else { return };
    place.create().await.unwrap();
    let (name, bytes) = named(vec![2; 10]);
    let folder = server.data_dir.join("repo/data/00");
    let id = "00".repeat(32);
    let (stale, fresh, other) = (
        folder.join(format!("{id}-tmp-t0123456789abcdef")),
        folder.join(format!("{id}-tmp-tfedcba9876543210")),
        folder.join(format!("{id}-tmp-123456")),
    );
    let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for (path, is_old) in [(&stale, true), (&fresh, false), (&other, true)] {
        let file = std::fs::File::create(path).unwrap();
        if is_old {
            file.set_modified(long_ago).unwrap();
        }
    }
    place.list(FileKind::Pack).await.unwrap();
    assert!(stale.exists(), "a listing removes nothing");
    place.write(name, bytes).await.unwrap();
    assert_eq!((stale.exists(), fresh.exists(), other.exists()), (false, true, true));
}

#[tokio::test]
async fn a_lock_is_waited_for() {
    for kind in [WebdavKind::Apache, WebdavKind::Sabre] {
        let Some((server, place)) = start(kind) else { return };
        place.create().await.unwrap();
        let (name, bytes) = named(vec![3; 100]);
        place.write(name, bytes).await.unwrap();
        let token = lock(&server, &name.path());
        let fault = place.remove(name).await.expect_err("locked");
        assert_eq!(fault.kind, FaultKind::Failing, "{fault}");
        assert!(fault.cause.contains("423") && fault.cause.contains("another program has locked it"), "{fault}");
        let retries = Arc::default();
        let patient = opened(&server.repository_of(WebdavServer::USER, "repo"), &Access::default(), &retries);
        let removal = tokio::spawn(async move { patient.remove(name).await });
        while retries.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        unlock(&server, &name.path(), &token);
        removal.await.unwrap().unwrap();
    }
}

fn curl(server: &WebdavServer, method: &str, path: &str, headers: &[&str], body: &str) -> String {
    let mut command = std::process::Command::new("curl");
    command.args(["--silent", "--include", "--request", method, "--data-binary", body]);
    command.args(["--user", &format!("{}:{}", WebdavServer::USER, WebdavServer::PASSWORD)]);
    for header in headers {
        command.args(["--header", header]);
    }
    command.arg(format!("{}repo/{path}", server.url));
    testkit::process::run(&mut command, Duration::from_secs(20)).unwrap().expect_code(0).text()
}

fn lock(server: &WebdavServer, path: &str) -> String {
    let body = "<?xml version=\"1.0\"?><d:lockinfo xmlns:d=\"DAV:\"><d:lockscope><d:exclusive/></d:lockscope>\
                <d:locktype><d:write/></d:locktype></d:lockinfo>";
    let answer = curl(server, "LOCK", path, &["Content-Type: application/xml", "Timeout: Second-600"], body);
    let line = answer.lines().find_map(|line| line.strip_prefix("Lock-Token: ")).expect("a lock");
    line.trim().to_owned()
}

fn unlock(server: &WebdavServer, path: &str, token: &str) {
    let answer = curl(server, "UNLOCK", path, &[&format!("Lock-Token: {token}")], "");
    assert!(answer.contains(" 204 "), "{answer}");
}

#[tokio::test]
async fn a_full_account_is_full_at_once() {
    let options = WebdavOptions { quota_bytes: Some(3_000_000), ..WebdavOptions::plain(WebdavKind::Sabre) };
    let Some(server) = WebdavServer::start(&options) else { return };
    let retries = Arc::default();
    let place = opened(&server.repository_of(WebdavServer::USER, "repo"), &Access::default(), &retries);
    place.create().await.unwrap();
    let (name, bytes) = named(vec![6; 4 << 20]);
    let fault = place.write(name, bytes).await.expect_err("no room");
    assert_eq!((fault.kind, retries.load(Ordering::Relaxed)), (FaultKind::Full, 0), "{fault}");
    assert!(fault.cause.contains("507") && fault.cause.contains("there is no room for so much"), "{fault}");
    assert_eq!(place.stat(name).await.expect_err("never there").kind, FaultKind::NotFound);
    assert_eq!(strangers(&server.data_dir), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_limit_on_one_request_is_told_in_words() {
    let options = WebdavOptions { largest_body_bytes: Some(1 << 20), ..WebdavOptions::plain(WebdavKind::Apache) };
    let Some(server) = WebdavServer::start(&options) else { return };
    let place = bare(&server.repository_of(WebdavServer::USER, "repo"), &Access::default());
    place.create().await.unwrap();
    let (name, bytes) = named(vec![7; (1 << 20) + 1]);
    let fault = place.write(name, bytes).await.expect_err("too large");
    assert_eq!(fault.kind, FaultKind::Refused, "{fault}");
    assert!(fault.cause.contains("413") && fault.cause.contains("takes no file as large"), "{fault}");
    assert_eq!(strangers(&server.data_dir), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn credentials_come_from_the_url_or_from_outside_and_wrong_ones_are_denied_at_once() {
    let Some(server) = WebdavServer::start(&WebdavOptions::plain(WebdavKind::Sabre)) else { return };
    let knowing = |password: &str| -> Access {
        let username = Some(WebdavServer::USER.to_owned());
        WebdavAccess { username, password: Some(Secret::from(password)), bearer_token: None }.into()
    };
    let place = opened(&server.repository("repo"), &knowing(WebdavServer::PASSWORD), &Arc::default());
    place.create().await.unwrap();
    let wrong = server.repository("repo").replacen("://", "://alice:not-this-one@", 1);
    for (location, access) in [
        (server.repository("repo"), Access::default()),
        (server.repository("repo"), knowing("not-this-one")),
        // What the URL says wins.
        (wrong, knowing(WebdavServer::PASSWORD)),
    ] {
        let retries = Arc::default();
        let fault = opened(&location, &access, &retries).list(FileKind::Key).await.expect_err("a listing");
        assert_eq!((fault.kind, retries.load(Ordering::Relaxed)), (FaultKind::Denied, 0), "{fault}");
        assert!(fault.cause.contains("401"), "{fault}");
        assert!(!format!("{fault} {fault:?} {access:?}").contains("not-this-one"), "{fault:?}");
    }
}

#[tokio::test]
async fn an_account_that_may_only_read_reads() {
    let Some((server, place)) = start(WebdavKind::Apache) else { return };
    place.create().await.unwrap();
    let (name, bytes) = named(vec![8; 100]);
    place.write(name, bytes.clone()).await.unwrap();
    let reader = bare(&server.repository_of("reader", "repo"), &Access::default());
    assert_eq!(reader.read(name, Span::Whole).await.unwrap(), bytes);
    assert_eq!(reader.list(FileKind::Pack).await.unwrap().len(), 1);
    let (other, more) = named(vec![9; 100]);
    for fault in [
        reader.write(other, more).await.expect_err("read-only"),
        reader.write(FileName::CONFIG, bytes).await.expect_err("read-only"),
        reader.remove(name).await.expect_err("read-only"),
        reader.create().await.expect_err("read-only"),
    ] {
        assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
        assert!(fault.cause.contains("403"), "{fault}");
    }
}

#[tokio::test]
async fn an_account_that_may_remove_nothing_adds() {
    let Some((server, place)) = start(WebdavKind::Apache) else { return };
    place.create().await.unwrap();
    let keeper = bare(&server.repository_of("keeper", "repo"), &Access::default());
    keeper.create().await.unwrap();
    keeper.write(FileName::CONFIG, Bytes::from_static(b"config")).await.unwrap();
    keeper.write(FileName::CONFIG, Bytes::from_static(b"config")).await.unwrap();
    let (name, bytes) = named(vec![10; 100]);
    for _ in 0..2 {
        keeper.write(name, bytes.clone()).await.unwrap();
    }
    let fault = keeper.remove(name).await.expect_err("may remove nothing");
    assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
    assert_eq!(keeper.read(name, Span::Whole).await.unwrap(), bytes);
}

#[tokio::test]
async fn certificates_decide_who_is_believed_and_who_gets_in() {
    let start = |flaw, wants_client_certificate| {
        let plain = WebdavOptions::plain(WebdavKind::Apache);
        WebdavServer::start(&WebdavOptions { tls: Some(flaw), wants_client_certificate, ..plain })
    };
    for (flaw, trusts, word) in [
        (CertificateFlaw::None, false, "UnknownIssuer"),
        (CertificateFlaw::Expired, true, "expired"),
        (CertificateFlaw::WrongHost, true, "not valid for name"),
    ] {
        let Some(server) = start(flaw, false) else { return };
        let authority = server.certificates.as_ref().map(|files| files.authority.clone());
        let access = TlsAccess { ca_certificate: authority.filter(|_| trusts), ..TlsAccess::default() }.into();
        let fault = bare(&server.repository_of("alice", "repo"), &access).create().await.expect_err(word);
        assert_eq!(fault.kind, FaultKind::Misconfigured, "{fault}");
        assert!(fault.cause.contains(word), "{fault}");
    }

    let Some(server) = start(CertificateFlaw::None, true) else { return };
    let files = server.certificates.clone().unwrap();
    let trusting = TlsAccess { ca_certificate: Some(files.authority.clone()), ..TlsAccess::default() };
    let with = |tls: TlsAccess| bare(&server.repository_of("alice", "repo"), &tls.into());
    let fault = with(trusting.clone()).create().await.expect_err("a client without a certificate");
    assert_eq!(fault.kind, FaultKind::Misconfigured, "{fault}");
    let showing = TlsAccess {
        client_certificate: Some(files.client_certificate.clone()),
        client_key: Some(files.client_key.clone()),
        ..trusting.clone()
    };
    with(showing.clone()).create().await.unwrap();
    // Both in one file.
    let both = server.server.folder().join("both.pem");
    let text = [&files.client_certificate, &files.client_key].map(|path| std::fs::read_to_string(path).unwrap());
    std::fs::write(&both, text.concat()).unwrap();
    with(TlsAccess { client_certificate: Some(both), ..trusting.clone() }).create().await.unwrap();
    // Somebody else's key, and a key alone.
    for wrong in [
        TlsAccess { client_key: Some(files.key.clone()), ..showing.clone() },
        TlsAccess { client_key: Some(files.authority.clone()), ..showing.clone() },
        TlsAccess { client_certificate: None, ..showing },
    ] {
        let location: Location = server.repository("repo").parse().unwrap();
        let fault = destinations::open(&location, &wrong.into(), &Limits::default()).expect_err("wrong keys");
        assert_eq!(fault.kind, FaultKind::Misconfigured, "{fault}");
    }
}

#[tokio::test]
async fn a_pinned_certificate_is_the_only_one_believed() {
    let start =
        |flaw| WebdavServer::start(&WebdavOptions { tls: Some(flaw), ..WebdavOptions::plain(WebdavKind::Apache) });
    // Nothing else about it counts: not the authority, not the name, not the date.
    for flaw in [CertificateFlaw::None, CertificateFlaw::Expired, CertificateFlaw::WrongHost] {
        let Some(server) = start(flaw) else { return };
        let files = server.certificates.clone().unwrap();
        let pin = pin_of(&files.certificate);
        let with = |pin: &str| -> Access {
            TlsAccess { pinned_certificate: Some(pin.to_owned()), ..TlsAccess::default() }.into()
        };
        let with_colons = pin.as_bytes().chunks(2).map(|two| String::from_utf8_lossy(two).to_uppercase());
        let with_colons = with_colons.collect::<Vec<_>>().join(":");
        for text in [pin.as_str(), with_colons.as_str()] {
            bare(&server.repository_of("alice", "repo"), &with(text)).create().await.unwrap();
        }
        let other = start(CertificateFlaw::None).unwrap();
        // The authority would do, but who pins does not ask it.
        let access = Access {
            tls: TlsAccess {
                ca_certificate: other.certificates.clone().map(|files| files.authority),
                pinned_certificate: Some(pin.clone()),
                ..TlsAccess::default()
            },
            ..Access::default()
        };
        let retries = Arc::default();
        let place = opened(&other.repository_of("alice", "repo"), &access, &retries);
        let fault = place.create().await.expect_err("another server");
        assert_eq!((fault.kind, retries.load(Ordering::Relaxed)), (FaultKind::Misconfigured, 0), "{fault}");
        let shown = pin_of(&other.certificates.clone().unwrap().certificate);
        assert!(fault.cause.contains("another certificate than the pinned one"), "{fault}");
        assert!(fault.cause.contains(&shown), "{fault}");
    }
    let location: Location = "webdav:https://127.0.0.1:1/".parse().unwrap();
    let tls = TlsAccess { pinned_certificate: Some("12:34".to_owned()), ..TlsAccess::default() };
    let fault = destinations::open(&location, &tls.into(), &Limits::default()).expect_err("half a pin");
    assert!(fault.cause.contains("64 hexadecimal digits"), "{fault}");
}

fn pin_of(pem: &Path) -> String {
    use base64::Engine as _;
    let text = std::fs::read_to_string(pem).unwrap();
    let lines: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    hex::encode(Sha256::digest(base64::prelude::BASE64_STANDARD.decode(lines).unwrap()))
}

#[tokio::test]
async fn a_proxy_is_used_when_one_is_named_and_its_password_is_never_shown() {
    let proxy = Scripted::start(|asked| {
        let listing = keys_listing();
        Act::Say(match asked.header("proxy-authorization") {
            Some("Basic cDpodXNo") => answer("207 Multi-Status", &[], listing.as_bytes()),
            _ => answer("407 Proxy Authentication Required", &[], b""),
        })
    })
    .await;
    let location = "webdav:http://nobody.invalid/repo";
    let with =
        |proxy: &str| -> Access { TlsAccess { proxy: Some(Secret::from(proxy)), ..TlsAccess::default() }.into() };
    let access = with(&format!("http://p:hush@{}", proxy.address));
    assert_eq!(bare(location, &access).list(FileKind::Key).await.unwrap().len(), 1);
    assert!(proxy.asked()[0].target.starts_with("http://nobody.invalid/repo/keys/"), "{}", proxy.asked()[0].target);
    let place = bare(location, &with(&format!("http://p:hush-not@{}", proxy.address)));
    let fault = place.list(FileKind::Key).await.expect_err("the proxy refuses");
    assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
    assert!(!format!("{fault} {fault:?} {place:?} {access:?}").contains("hush"), "{fault:?}");
    let fault = bare(location, &with("none")).list(FileKind::Key).await.expect_err("no such host");
    assert_eq!(fault.kind, FaultKind::Unreachable, "{fault}");
    for wrong in ["socks5://p:hush@host", "host:hush", "http://"] {
        let location: Location = location.parse().unwrap();
        let fault = destinations::open(&location, &with(wrong), &Limits::default()).expect_err(wrong);
        assert_eq!(fault.kind, FaultKind::Misconfigured, "{fault}");
        assert!(!format!("{fault:?}").contains("hush"), "{fault:?}");
    }
}

/// The listing of `repo/keys` with one file in it.
fn keys_listing() -> String {
    let entry = |path: &str, inner: &str| {
        format!(
            "<d:response><d:href>/repo/keys/{path}</d:href><d:propstat><d:prop>{inner}</d:prop>\
             <d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
        )
    };
    let itself = entry("", "<d:resourcetype><d:collection/></d:resourcetype>");
    let file = entry(&"ab".repeat(32), "<d:resourcetype/><d:getcontentlength>5</d:getcontentlength>");
    format!("<?xml version=\"1.0\"?><d:multistatus xmlns:d=\"DAV:\">{itself}{file}</d:multistatus>")
}

async fn listed_from(said: Vec<u8>) -> Result<usize, Fault> {
    let server = Scripted::start(move |_| Act::Say(said.clone())).await;
    let place = bare(&format!("webdav:http://{}/repo", server.address), &Access::default());
    place.list(FileKind::Key).await.map(|found| found.len())
}

#[tokio::test]
async fn a_listing_that_was_cut_or_is_of_something_else_is_no_listing() {
    let whole = keys_listing();
    let said = |body: &str| answer("207 Multi-Status", &[], body.as_bytes());
    assert_eq!(listed_from(said(&whole)).await.unwrap(), 1);
    let behind_a_proxy = whole.replace("/repo/keys", "https://inside.example/x/repo/keys");
    assert_eq!(listed_from(said(&behind_a_proxy)).await.unwrap(), 1);
    for body in [
        // Cut between two entries and in one, with the connection ended in order.
        whole[..whole.find("<d:response><d:href>/repo/keys/ab").unwrap()].to_owned(),
        whole[..whole.len() - 20].to_owned(),
        String::new(),
        "<html>welcome</html>".to_owned(),
        // Nothing about the folder that was asked for.
        "<d:multistatus xmlns:d=\"DAV:\"/>".to_owned(),
        whole.replace("/repo/keys", "/repo/snapshots"),
        whole.replace("<d:getcontentlength>5</d:getcontentlength>", ""),
        whole.replace("/repo/keys/ab", "/repo/elsewhere/ab"),
    ] {
        let fault = listed_from(said(&body)).await.expect_err("no listing");
        assert_eq!(fault.kind, FaultKind::Damaged, "{body}: {fault}");
    }
    // A friendly page, and an answer that broke off on its way.
    let fault = listed_from(answer("200 OK", &[], whole.as_bytes())).await.expect_err("not 207");
    assert_eq!(fault.kind, FaultKind::Damaged, "{fault}");
    let mut broken = said(&whole);
    broken.truncate(broken.len() - 30);
    let fault = listed_from(broken).await.expect_err("broken off");
    assert_eq!(fault.kind, FaultKind::Unreachable, "{fault}");
}

#[tokio::test]
async fn a_token_is_sent_and_one_that_has_ended_is_denied() {
    let server = Scripted::start(|asked| {
        let sound = asked.header("authorization") == Some("Bearer good-token-17");
        let listing = keys_listing();
        Act::Say(match sound {
            true => answer("207 Multi-Status", &[], listing.as_bytes()),
            false => {
                answer("401 Unauthorized", &["WWW-Authenticate: Bearer error=\"invalid_token\""], b"token expired")
            }
        })
    })
    .await;
    let location = format!("webdav:http://{}/repo", server.address);
    let with = |token: &str| -> Access {
        WebdavAccess { bearer_token: Some(Secret::from(token)), ..WebdavAccess::default() }.into()
    };
    assert_eq!(bare(&location, &with("good-token-17")).list(FileKind::Key).await.unwrap().len(), 1);
    let place = bare(&location, &with("old-token-16"));
    let fault = place.list(FileKind::Key).await.expect_err("ended");
    assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
    assert!(fault.cause.contains("401 Unauthorized: token expired"), "{fault}");
    assert!(!format!("{fault:?} {place:?}").contains("token-16"), "{fault:?}");
}

#[tokio::test]
async fn statuses_that_only_this_protocol_has_are_told_apart() {
    for (status, header, kind, words) in [
        ("423 Locked", "", FaultKind::Failing, "another program has locked it"),
        ("507 Insufficient Storage", "", FaultKind::Full, "507"),
        ("413 Payload Too Large", "", FaultKind::Refused, "takes no file as large"),
        ("502 Bad Gateway", "", FaultKind::Failing, "502"),
        ("401 Unauthorized", "WWW-Authenticate: Digest realm=\"x\"", FaultKind::Denied, "kind of login"),
        ("403 Forbidden", "", FaultKind::Denied, "403"),
    ] {
        let server = Scripted::start(move |_| Act::Say(answer(status, &[header], b""))).await;
        let place = bare(&format!("webdav:http://alice:hush@{}/repo", server.address), &Access::default());
        let (name, bytes) = named(vec![1]);
        for fault in [
            place.write(name, bytes).await.expect_err("write"),
            place.remove(name).await.expect_err("remove"),
            place.list(FileKind::Pack).await.expect_err("list"),
            place.stat(name).await.expect_err("stat"),
            place.create().await.expect_err("create"),
        ] {
            assert_eq!(fault.kind, kind, "{fault}");
            assert!(fault.cause.contains(words) && !fault.to_string().contains("hush"), "{fault}");
        }
    }
}

/// A server that keeps what it is told in words, and answers a `MOVE` as it likes.
async fn with_moves(kept_bytes: usize, moved: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static) -> Scripted {
    Scripted::start(move |asked| {
        Act::Say(match asked.verb.as_str() {
            "PUT" | "DELETE" => answer("204 No Content", &[], b""),
            "MOVE" => moved(asked),
            "PROPFIND" => {
                let body = format!(
                    "<multistatus xmlns=\"DAV:\"><response><href>{}</href><propstat><prop><resourcetype/>\
                     <getcontentlength>{kept_bytes}</getcontentlength></prop><status>HTTP/1.1 200 OK</status>\
                     </propstat></response></multistatus>",
                    asked.target
                );
                answer("207 Multi-Status", &[], body.as_bytes())
            }
            _ => answer("404 Not Found", &[], b""),
        })
    })
    .await
}

#[tokio::test]
async fn a_server_behind_a_proxy_that_ends_tls_is_told_the_path_alone() {
    let server = with_moves(5, |asked| {
        // What Apache says when the scheme is not its own.
        let is_path = asked.header("destination").is_some_and(|target| target.starts_with('/'));
        answer(if is_path { "201 Created" } else { "502 Bad Gateway" }, &[], b"")
    })
    .await;
    let place = bare(&format!("webdav:http://{}/repo", server.address), &Access::default());
    for number in 0..2 {
        let (name, bytes) = named(vec![number; 5]);
        place.write(name, bytes).await.unwrap();
    }
    let moves = server.asked().iter().filter(|asked| asked.verb == "MOVE").count();
    assert_eq!(moves, 3, "it is remembered");
}

#[tokio::test]
async fn an_upload_that_the_server_cut_is_not_a_success() {
    let server = with_moves(4, |_| answer("201 Created", &[], b"")).await;
    let place = bare(&format!("webdav:http://{}/repo", server.address), &Access::default());
    let (name, bytes) = named(vec![1; 5]);
    let fault = place.write(name, bytes).await.expect_err("one byte is missing");
    assert_eq!(fault.kind, FaultKind::Failing, "{fault}");
    assert!(fault.cause.contains("kept 4 of 5 bytes"), "{fault}");
    assert!(server.asked().iter().all(|asked| asked.verb != "MOVE"), "it never got its name");
    let uploads = server.asked().into_iter().filter(|asked| asked.verb == "PUT").collect::<Vec<_>>();
    assert!(!uploads.is_empty() && uploads.iter().all(|put| put.target.contains(&format!("{}-tmp-t", name.path()))));
}

#[tokio::test(start_paused = true)]
async fn a_claim_of_the_dead_is_respected_for_a_while_and_then_taken_over() {
    let Some((server, place)) = start(WebdavKind::Sabre) else { return };
    place.create().await.unwrap();
    let claim = server.data_dir.join("repo/config-tmp-claim");
    std::fs::create_dir(&claim).unwrap();
    let fault = place.write(FileName::CONFIG, Bytes::from_static(b"config")).await.expect_err("somebody else's turn");
    assert_eq!(fault.kind, FaultKind::Failing, "{fault}");
    assert!(!claim.exists());
    place.write(FileName::CONFIG, Bytes::from_static(b"config")).await.unwrap();
    assert_eq!(strangers(&server.data_dir), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn large_files_reach_nextcloud_in_parts_and_what_died_long_ago_is_removed() {
    let Some((server, place)) = start(WebdavKind::Nextcloud) else { return };
    place.create().await.unwrap();
    let uploads = server.data_dir.ancestors().nth(2).unwrap().join("uploads/alice");
    let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let (stale, other) = (uploads.join("triplicate-0123456789abcdef"), uploads.join("somebody-else"));
    for folder in [&stale, &other] {
        std::fs::create_dir(folder).unwrap();
        std::fs::File::open(folder).unwrap().set_modified(long_ago).unwrap();
    }
    for (number, length) in [(1, 10 << 20), (2, (10 << 20) + 1), (3, 20 << 20), (4, (25 << 20) + 17)] {
        let (name, bytes) = named(vec![number; length]);
        place.write(name, bytes.clone()).await.unwrap();
        assert!(place.read(name, Span::Whole).await.unwrap() == bytes, "{length} bytes came back changed");
    }
    assert_eq!((stale.exists(), other.exists()), (false, true));
    let left: Vec<_> = std::fs::read_dir(&uploads).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["somebody-else"], "joined uploads leave nothing");
    let log = server.server.log();
    let parts = log.lines().filter(|line| line.contains("PUT remote.php/dav/uploads/alice/triplicate-")).count();
    assert_eq!(parts, 2 + 2 + 3, "10 MiB go up in one piece, what is larger in parts of 10 MiB");
}
