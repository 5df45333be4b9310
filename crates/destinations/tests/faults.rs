//! Every way in which a server can fail gives the fault that callers branch on, and none of them shows a secret.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod scripted;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use destinations::{Access, AzureAccess, AzureContainer, Destination, GoogleAccess, GoogleBucket, Limits, Location};
use destinations::{RestServer, S3Access, S3Bucket, Span, Stalling};
use format::{FileKind, FileName};
use model::{Fault, FaultKind, Id, Secret};
use scripted::{Act, Asked, Scripted, answer};

const PASSWORD: &str = "hush-hush-9f3";
const S3_KEY: &str = "s3-secret-77aa";
const S3_TOKEN: &str = "s3-token-55bb";
const GOOGLE_TOKEN: &str = "google-token-33cc";
const AZURE_KEY: &str = "YXp1cmUtc2VjcmV0";

/// The place behind `server`, of every kind, without retries.
fn places(server: &Scripted) -> [Arc<dyn Destination>; 4] {
    [rest(server), s3(server), azure(server), google(server)]
}

fn google(server: &Scripted) -> Arc<dyn Destination> {
    let Location::Google(location) = "gs:bucket:/pre".parse().unwrap() else { panic!("gs") };
    let access = GoogleAccess {
        access_token: Some(Secret::from(GOOGLE_TOKEN)),
        project_id: Some("project".to_owned()),
        endpoint: Some(format!("http://{}/", server.address)),
        ..GoogleAccess::default()
    };
    Arc::new(GoogleBucket::new(&location, &access.into(), &Limits::default()).unwrap())
}

fn azure(server: &Scripted) -> Arc<dyn Destination> {
    let Location::Azure(location) = "azure:bucket:/pre".parse().unwrap() else { panic!("azure") };
    let access = AzureAccess {
        account_name: Some("account".to_owned()),
        account_key: Some(Secret::from(AZURE_KEY)),
        endpoint: Some(format!("http://{}/", server.address)),
        ..AzureAccess::default()
    };
    Arc::new(AzureContainer::new(&location, &access.into(), &Limits::default()).unwrap())
}

fn rest(server: &Scripted) -> Arc<dyn Destination> {
    let text = format!("rest:http://bob:{PASSWORD}@{}/repo/", server.address);
    let Location::Rest(location) = text.parse().unwrap() else { panic!("rest") };
    Arc::new(RestServer::new(&location, &Access::default(), &Limits::default()).unwrap())
}

fn s3(server: &Scripted) -> Arc<dyn Destination> {
    let Location::S3(location) = format!("s3:http://{}/bucket/pre", server.address).parse().unwrap() else {
        panic!("s3")
    };
    let access = S3Access {
        key_id: Some("KEYNAME".to_owned()),
        key: Some(Secret::from(S3_KEY)),
        session_token: Some(Secret::from(S3_TOKEN)),
        ..S3Access::default()
    };
    Arc::new(S3Bucket::new(&location, &access.into(), &Limits::default()).unwrap())
}

fn pack() -> FileName {
    FileName::pack(Id::from_bytes([0xab; 32]))
}

/// Does each of the verbs once and gives the faults; a success is a failure of the test.
async fn faults_of_all_verbs(place: &dyn Destination) -> Vec<Fault> {
    let bytes = Bytes::from_static(b"some bytes");
    vec![
        place.list(FileKind::Pack).await.expect_err("list"),
        place.read(pack(), Span::Whole).await.expect_err("read"),
        place.read(pack(), Span::Range { offset: 3, length: 4 }).await.expect_err("read a range"),
        place.stat(pack()).await.expect_err("stat"),
        place.write(pack(), bytes.clone()).await.expect_err("write"),
        place.write(FileName::CONFIG, bytes).await.expect_err("write config"),
    ]
}

fn shows_no_secret(place: &dyn Destination, fault: &Fault) {
    let shown = format!("{fault} {fault:?} {:?} {place:?} {}", fault.hint(), place.place());
    for secret in [PASSWORD, S3_KEY, S3_TOKEN, AZURE_KEY, GOOGLE_TOKEN, "Basic ", "AWS4-HMAC", "SharedKey"] {
        assert!(!shown.contains(secret), "`{secret}` is in: {shown}");
    }
    let encoded = "Ym9iOmh1c2gtaHVzaC05ZjM"; // user and password in base 64
    assert!(!shown.contains(encoded), "{shown}");
}

#[tokio::test]
async fn every_status_has_its_kind() {
    for (status, kind) in [
        ("401 Unauthorized", FaultKind::Denied),
        ("403 Forbidden", FaultKind::Denied),
        ("404 Not Found", FaultKind::NotFound),
        ("400 Bad Request", FaultKind::Refused),
        ("405 Method Not Allowed", FaultKind::Refused),
        ("413 Payload Too Large", FaultKind::Refused),
        ("408 Request Timeout", FaultKind::Failing),
        ("429 Too Many Requests", FaultKind::Failing),
        ("500 Internal Server Error", FaultKind::Failing),
        ("501 Not Implemented", FaultKind::Refused),
        ("502 Bad Gateway", FaultKind::Failing),
        ("503 Service Unavailable", FaultKind::Failing),
        ("507 Insufficient Storage", FaultKind::Full),
        ("599 Whatever", FaultKind::Failing),
    ] {
        let server = Scripted::start(move |_| Act::Say(answer(status, &["Retry-After: 17"], b"the\nreason"))).await;
        for place in places(&server) {
            let mut faults = faults_of_all_verbs(place.as_ref()).await;
            if kind != FaultKind::NotFound {
                faults.push(place.remove(pack()).await.expect_err("remove"));
                faults.push(place.create().await.expect_err("create"));
            }
            for fault in faults {
                assert_eq!(fault.kind, kind, "{status}: {fault}");
                assert_eq!(fault.wait, Some(Duration::from_secs(17)), "{status}: {fault}");
                assert!(fault.cause.contains(&status[..3]), "{fault}");
                assert!(fault.cause.contains("the reason") || fault.action == "stat", "{fault}");
                shows_no_secret(place.as_ref(), &fault);
            }
        }
    }
}

#[tokio::test]
async fn redirects_are_named_and_never_followed() {
    let thief = Scripted::start(|_| Act::Say(answer("200 OK", &[], b"[]"))).await;
    let target = format!("Location: http://{}/elsewhere?token=abc", thief.address);
    for status in
        ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"]
    {
        let target = target.clone();
        let server = Scripted::start(move |_| Act::Say(answer(status, &[&target], b""))).await;
        for place in places(&server) {
            for fault in faults_of_all_verbs(place.as_ref()).await {
                assert_eq!(fault.kind, FaultKind::Refused, "{fault}");
                assert!(fault.cause.contains(&format!("http://{}`", server.address)), "{fault}");
                assert!(fault.cause.contains(&format!("http://{}`", thief.address)), "{fault}");
                assert!(!fault.cause.contains("token"), "{fault}");
                shows_no_secret(place.as_ref(), &fault);
            }
        }
    }
    assert_eq!(thief.asked().len(), 0, "nobody went there");
}

#[tokio::test]
async fn a_broken_connection_is_unreachable_wherever_it_breaks() {
    let whole = answer("200 OK", &["Content-Range: bytes 3-6/10", "ETag: \"x\""], &[b'['; 4000]);
    // Nothing, half a status line, half the headers, all of the head, half of the body.
    for length in [0, 5, 30, whole.len() - 4000, whole.len() - 2000] {
        for resets in [false, true] {
            let part = whole[..length].to_vec();
            let server =
                Scripted::start(move |_| if resets { Act::Reset(part.clone()) } else { Act::Say(part.clone()) }).await;
            for place in places(&server) {
                let mut faults = vec![
                    place.list(FileKind::Pack).await.expect_err("list"),
                    place.read(pack(), Span::Whole).await.expect_err("read"),
                ];
                if length < whole.len() - 4000 {
                    faults.extend(faults_of_all_verbs(place.as_ref()).await);
                }
                for fault in faults {
                    assert_eq!(fault.kind, FaultKind::Unreachable, "{length} bytes, reset {resets}: {fault}");
                    shows_no_secret(place.as_ref(), &fault);
                }
            }
        }
    }
}

#[tokio::test]
async fn nobody_listening_and_no_such_host_are_unreachable() {
    let port = testkit::process::free_port().unwrap();
    for host in [format!("127.0.0.1:{port}"), "no-such-host.invalid".to_owned()] {
        let gone = Scripted::nobody(host);
        for place in places(&gone) {
            for fault in faults_of_all_verbs(place.as_ref()).await {
                assert_eq!(fault.kind, FaultKind::Unreachable, "{fault}");
                shows_no_secret(place.as_ref(), &fault);
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_listing_is_damaged_and_never_empty() {
    let endless = {
        let page = "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>again</NextContinuationToken></ListBucketResult>";
        page.as_bytes().to_vec()
    };
    for body in [b"".to_vec(), b"<html>welcome</html>".to_vec(), b"null".to_vec(), b"{\"a\":1}".to_vec(), endless] {
        for kind in ["application/vnd.x.restic.rest.v2", "application/vnd.x.restic.rest.v1", "text/html"] {
            let (body, header) = (body.clone(), format!("Content-Type: {kind}"));
            let server = Scripted::start(move |_| Act::Say(answer("200 OK", &[&header], &body))).await;
            for place in places(&server) {
                let fault = place.list(FileKind::Snapshot).await.expect_err("a listing");
                assert_eq!(fault.kind, FaultKind::Damaged, "{kind}: {fault}");
                shows_no_secret(place.as_ref(), &fault);
            }
        }
    }
}

#[tokio::test]
async fn malformed_entries_of_a_listing_are_damaged_and_foreign_names_left_out() {
    let entry = |name: &str| format!("{{\"name\":\"{name}\",\"size\":5}}");
    let id = "ab".repeat(32);
    let listing = format!("[{},{},{}]", entry(&id), entry("README"), entry("../config"));
    for (body, found) in [
        (listing.clone(), Some(1)),
        (listing.replace(":5}]", ":-5}]"), None),
        (listing.replace(":5}]", ":\"5\"}]"), None),
        (listing.trim_end_matches(']').to_owned(), None),
        (format!("[\"{id}\"]"), None),
    ] {
        let server = Scripted::start(move |_| {
            Act::Say(answer("200 OK", &["Content-Type: application/vnd.x.restic.rest.v2"], body.as_bytes()))
        })
        .await;
        match (rest(&server).list(FileKind::Snapshot).await, found) {
            (Ok(listed), Some(count)) => assert_eq!(listed.len(), count),
            (Err(fault), None) => assert_eq!(fault.kind, FaultKind::Damaged, "{fault}"),
            (other, expected) => panic!("{other:?} instead of {expected:?}"),
        }
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut_at_its_limit() {
    // A listing page of S3 that claims 10 GiB is refused before a byte of it is kept.
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n".to_vec();
    let server = Scripted::start(move |_| Act::FallSilent(head.clone())).await;
    for place in places(&server) {
        let fault = place.list(FileKind::Pack).await.expect_err("10 GiB");
        assert_eq!(fault.kind, FaultKind::Damaged, "{fault}");
        let fault = place.read(pack(), Span::Whole).await.expect_err("10 GiB");
        assert_eq!(fault.kind, FaultKind::Damaged, "{fault}");
    }
}

#[tokio::test]
async fn a_range_is_checked_and_a_server_without_ranges_is_understood() {
    let whole = b"0123456789";
    for (status, range, body, expected) in [
        ("206 Partial Content", "bytes 3-6/10", &whole[3..7], Some("3456")),
        ("200 OK", "", &whole[..], Some("3456")),
        ("200 OK", "", &whole[..6], None),
        ("206 Partial Content", "bytes 3-5/6", &whole[3..6], None),
        ("206 Partial Content", "bytes 0-3/10", &whole[..4], None),
        ("206 Partial Content", "", &whole[3..7], None),
        ("206 Partial Content", "bytes 3-9/10", &whole[3..], None),
        ("416 Range Not Satisfiable", "bytes */2", b"", None),
    ] {
        let header = format!("Content-Range: {range}");
        let server = Scripted::start(move |_| Act::Say(answer(status, &[&header], body))).await;
        for place in places(&server) {
            match (place.read(pack(), Span::Range { offset: 3, length: 4 }).await, expected) {
                (Ok(bytes), Some(text)) => assert_eq!(bytes, text),
                (Err(fault), None) => assert_eq!(fault.kind, FaultKind::Damaged, "{status} {range}: {fault}"),
                (other, _) => panic!("{status} {range}: {other:?}"),
            }
        }
        assert_eq!(server.asked()[0].header("range"), Some("bytes=3-6"));
    }
}

#[tokio::test]
async fn the_codes_of_s3_say_more_than_its_statuses() {
    for (status, code, kind) in [
        ("403 Forbidden", "QuotaExceeded", FaultKind::Full),
        ("400 Bad Request", "ExpiredToken", FaultKind::Denied),
        ("400 Bad Request", "RequestTimeout", FaultKind::Failing),
        ("409 Conflict", "OperationAborted", FaultKind::Failing),
        ("403 Forbidden", "SignatureDoesNotMatch", FaultKind::Denied),
        ("404 Not Found", "NoSuchBucket", FaultKind::NotFound),
        ("400 Bad Request", "XAmzContentSHA256Mismatch", FaultKind::Damaged),
        // In a successful answer, as busy servers do.
        ("200 OK", "InternalError", FaultKind::Failing),
        ("200 OK", "SlowDown", FaultKind::Failing),
        ("200 OK", "AccessDenied", FaultKind::Denied),
    ] {
        let xml = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>in words</Message></Error>");
        let server = Scripted::start(move |_| Act::Say(answer(status, &[], xml.as_bytes()))).await;
        let fault = s3(&server).list(FileKind::Pack).await.expect_err(code);
        assert_eq!(fault.kind, kind, "{fault}");
        assert!(fault.cause.contains(code) && fault.cause.contains("in words"), "{fault}");
    }
    let header = "x-amz-bucket-region: eu-central-1";
    let server = Scripted::start(move |_| Act::Say(answer("301 Moved Permanently", &[header], b""))).await;
    let fault = s3(&server).stat(pack()).await.expect_err("another region");
    assert_eq!(fault.kind, FaultKind::Misconfigured);
    assert!(fault.cause.contains("`eu-central-1`"), "{fault}");
}

#[tokio::test]
async fn a_friendly_page_is_no_promise_to_keep_an_upload() {
    let server = Scripted::start(|_| Act::Say(answer("200 OK", &[], b"<html>log in first</html>"))).await;
    let fault = s3(&server).write(pack(), Bytes::from_static(b"x")).await.expect_err("no ETag");
    assert_eq!(fault.kind, FaultKind::Failing, "{fault}");
}

#[tokio::test]
async fn s3_requests_carry_the_hash_of_the_name_and_the_token() {
    let server = Scripted::start(|_| Act::Say(answer("200 OK", &["ETag: \"x\""], b""))).await;
    s3(&server).write(pack(), Bytes::from_static(b"whatever")).await.unwrap();
    let asked = &server.asked()[0];
    let name = "ab".repeat(32);
    assert_eq!((asked.verb.as_str(), asked.target.clone()), ("PUT", format!("/bucket/pre/data/ab/{name}")));
    assert_eq!(asked.header("x-amz-content-sha256"), Some(name.as_str()));
    assert_eq!(asked.header("x-amz-security-token"), Some(S3_TOKEN));
    assert_eq!(asked.header("content-length"), Some("8"));
    assert!(asked.header("authorization").unwrap().contains("/us-east-1/s3/aws4_request"));
    assert_eq!(asked.body, b"whatever");
}

fn forbids_posts(asked: &Asked, stored: &'static [u8]) -> Act {
    match asked.verb.as_str() {
        "POST" => Act::Say(answer("403 Forbidden", &[], b"Forbidden")),
        "DELETE" => Act::Say(answer("403 Forbidden", &[], b"Forbidden")),
        _ => Act::Say(answer("200 OK", &[], stored)),
    }
}

#[tokio::test]
async fn a_refused_upload_succeeded_only_when_the_stored_bytes_have_the_name() {
    // SHA-256 of `hello`.
    let id: Id = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824".parse().unwrap();
    let (name, hello) = (FileName::pack(id), Bytes::from_static(b"hello"));
    let sound = Scripted::start(|asked| forbids_posts(asked, b"hello")).await;
    rest(&sound).write(name, hello.clone()).await.unwrap();
    let damaged = Scripted::start(|asked| forbids_posts(asked, b"hellO")).await;
    let fault = rest(&damaged).write(name, hello.clone()).await.expect_err("append-only and damaged");
    assert_eq!(fault.kind, FaultKind::Exists, "{fault}");
    let fault = rest(&damaged).write(FileName::CONFIG, hello).await.expect_err("another config");
    assert_eq!(fault.kind, FaultKind::Exists, "{fault}");
}

#[tokio::test]
async fn silence_is_a_stall_and_slowness_is_none() {
    const LIMIT: Duration = Duration::from_millis(1_000);
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nETag: \"x\"\r\n\r\nxy".to_vec();
    for said in [Vec::new(), head[..20].to_vec(), head.clone()] {
        let server = Scripted::start(move |_| Act::FallSilent(said.clone())).await;
        for place in places(&server) {
            let watched = Stalling::new(Arc::clone(&place), LIMIT);
            let reading = watched.read(pack(), Span::Whole);
            let fault = tokio::time::timeout(LIMIT * 10, reading).await.expect("a stall").expect_err("a stall");
            assert_eq!(fault.kind, FaultKind::Stalled, "{fault}");
            shows_no_secret(place.as_ref(), &fault);
        }
    }
    // Ten steps of 300 ms take three times the limit, and none of them is silence.
    let drip = move |_: &Asked| Act::Drip(head.clone(), b"0123456789".to_vec(), LIMIT * 3 / 10);
    let server = Scripted::start(drip).await;
    for place in places(&server) {
        let watched = Stalling::new(place, LIMIT);
        assert_eq!(watched.read(pack(), Span::Whole).await.unwrap(), "xy0123456789");
    }
}

#[tokio::test]
async fn an_upload_that_nobody_takes_is_a_stall() {
    const LIMIT: Duration = Duration::from_millis(1_000);
    // It accepts by the kernel's hand alone and never reads.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let deaf = Scripted::nobody(address);
    for place in places(&deaf) {
        let watched = Stalling::new(place, LIMIT);
        let writing = watched.write(pack(), Bytes::from(vec![1; 64 << 20]));
        let fault = tokio::time::timeout(LIMIT * 20, writing).await.expect("a stall").expect_err("a stall");
        assert_eq!(fault.kind, FaultKind::Stalled, "{fault}");
    }
    drop(listener);
}
