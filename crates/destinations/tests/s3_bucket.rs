//! Ceph's S3 gateway in the situations that the suite does not have: a missing bucket, wrong keys, bytes that are not
//! what the name says, pages that fail in the middle.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod scripted;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use clock::Clock as _;
use destinations::{Access, Destination, Limits, Location, S3Access, S3Bucket, Span, Warmth, open};
use format::{FileKind, FileName};
use model::{FaultKind, Id, Secret};
use scripted::{Act, Scripted, answer};
use testkit::CephServer;

fn access(server: &CephServer) -> S3Access {
    S3Access {
        key_id: Some(server.access_key.clone()),
        key: Some(Secret::from(server.secret_key.clone())),
        ..S3Access::default()
    }
}

fn opened(location: &str, access: S3Access) -> Arc<dyn Destination> {
    open(&location.parse::<Location>().unwrap(), &access.into(), &Limits::default()).unwrap()
}

#[tokio::test]
async fn a_missing_bucket_is_not_an_empty_one_and_is_made_by_creation() {
    let Some(server) = CephServer::shared() else { return };
    let place = opened(&format!("s3:{}/not-made-yet/repo", server.endpoint), access(server));
    for fault in [
        place.list(FileKind::Snapshot).await.expect_err("no bucket"),
        place.stat(FileName::CONFIG).await.expect_err("no bucket"),
        place.write(FileName::CONFIG, Bytes::from_static(b"x")).await.expect_err("no bucket"),
        place.remove(FileName::CONFIG).await.expect_err("no bucket"),
    ] {
        assert_eq!(fault.kind, FaultKind::NotFound, "{fault}");
    }
    place.create().await.unwrap();
    place.create().await.unwrap();
    assert_eq!(place.list(FileKind::Snapshot).await.unwrap(), []);
}

#[tokio::test]
async fn wrong_keys_are_denied_at_once() {
    let Some(server) = CephServer::shared() else { return };
    let bucket = server.new_bucket();
    let wrong_secret = S3Access { key: Some(Secret::from("not-this-one")), ..access(server) };
    let wrong_name = S3Access { key_id: Some("NOBODY".to_owned()), ..access(server) };
    for access in [wrong_secret, wrong_name] {
        let place = opened(&bucket.repository("repo"), access.clone());
        for fault in [
            place.list(FileKind::Key).await.expect_err("wrong keys"),
            place.stat(FileName::CONFIG).await.expect_err("wrong keys"),
            place.create().await.expect_err("wrong keys"),
        ] {
            assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
            assert!(!format!("{fault:?} {access:?} {place:?}").contains("not-this-one"), "{fault:?}");
        }
    }
    let Location::S3(location) = bucket.repository("repo").parse().unwrap() else { panic!("s3") };
    let fault = S3Bucket::new(&location, &Access::default(), &Limits::default()).expect_err("no keys");
    assert_eq!(fault.kind, FaultKind::Misconfigured);
}

#[tokio::test]
async fn the_server_refuses_bytes_that_are_not_what_the_name_says() {
    let Some(server) = CephServer::shared() else { return };
    let bucket = server.new_bucket();
    let place = opened(&bucket.repository("repo"), access(server));
    let name = FileName::pack(Id::from_bytes([7; 32]));
    let fault = place.write(name, Bytes::from_static(b"another content")).await.expect_err("another content");
    assert_eq!(fault.kind, FaultKind::Damaged, "{fault}");
    assert_eq!(bucket.list("").unwrap(), []);
}

#[tokio::test]
async fn a_listing_that_fails_on_a_later_page_is_no_listing() {
    let page = format!(
        "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>two</NextContinuationToken>\
         <Contents><Key>repo/keys/{}</Key><Size>5</Size></Contents></ListBucketResult>",
        "ab".repeat(32)
    );
    for second in [answer("503 Slow Down", &[], b""), answer("200 OK", &[], page.as_bytes()), b"HTTP/1.1 2".to_vec()] {
        let calls = AtomicUsize::new(0);
        let first = answer("200 OK", &[], page.as_bytes());
        let server = Scripted::start(move |_| {
            let is_first = calls.fetch_add(1, Ordering::Relaxed) == 0;
            Act::Say(if is_first { first.clone() } else { second.clone() })
        })
        .await;
        let Location::S3(location) = format!("s3:http://{}/bucket/repo", server.address).parse().unwrap() else {
            panic!("s3")
        };
        let access = S3Access { key_id: Some("KEY".to_owned()), key: Some(Secret::from("x")), ..S3Access::default() };
        let place = S3Bucket::new(&location, &access.into(), &Limits::default()).unwrap();
        place.list(FileKind::Key).await.expect_err("half a listing");
        let asked = server.asked();
        assert_eq!(asked.len(), 2);
        assert!(asked[1].target.contains("continuation-token=two"), "{}", asked[1].target);
    }
}

#[tokio::test]
async fn only_packs_of_data_get_the_storage_class_that_was_set() {
    let server = Scripted::start(|_| Act::Say(answer("200 OK", &["ETag: \"x\""], b""))).await;
    let opened = |class: &str| {
        let Location::S3(location) = format!("s3:http://{}/bucket/repo", server.address).parse().unwrap() else {
            panic!("s3")
        };
        let access = S3Access {
            key_id: Some("KEY".to_owned()),
            key: Some(Secret::from("x")),
            storage_class: Some(class.to_owned()),
            ..S3Access::default()
        };
        S3Bucket::new(&location, &access.into(), &Limits::default())
    };
    let place = opened("DEEP_ARCHIVE").unwrap();
    let name = FileName::pack(Id::from_bytes([7; 32]));
    place.write(name, Bytes::from_static(b"listings")).await.unwrap();
    place.write_data(name, Bytes::from_static(b"data")).await.unwrap();
    let asked = server.asked();
    let classes: Vec<Option<&str>> = asked.iter().map(|asked| asked.header("x-amz-storage-class")).collect();
    assert_eq!(classes, [None, Some("DEEP_ARCHIVE")]);
    let signed = asked[1].header("authorization").unwrap();
    assert!(signed.contains("x-amz-storage-class"), "the class is signed: {signed}");
    for class in ["", "deep archive", "GLACIER\r\nx: y"] {
        let fault = opened(class).expect_err(class);
        assert_eq!(fault.kind, FaultKind::Misconfigured, "{fault}");
    }
}

#[tokio::test]
async fn an_archived_pack_is_told_from_a_missing_one_and_asked_for() {
    let refusal = |status: &str, code: &str| {
        answer(status, &[], format!("<Error><Code>{code}</Code><Message>no</Message></Error>").as_bytes())
    };
    let server = Scripted::start(move |asked| {
        Act::Say(match (asked.verb.as_str(), asked.target.contains("restore")) {
            ("HEAD", _) => answer("200 OK", &["x-amz-storage-class: DEEP_ARCHIVE"], b""),
            ("POST", true) if asked.target.contains("/data/07/") => answer("202 Accepted", &[], b""),
            ("POST", true) if asked.target.contains("/data/08/") => refusal("409 Conflict", "RestoreAlreadyInProgress"),
            ("POST", true) if asked.target.contains("/data/09/") => refusal("403 Forbidden", "InvalidObjectState"),
            ("POST", true) => refusal("403 Forbidden", "AccessDenied"),
            _ => refusal("403 Forbidden", "InvalidObjectState"),
        })
    })
    .await;
    let location = format!("s3:http://{}/bucket/repo", server.address);
    let access = |class: Option<&str>, days: usize| S3Access {
        key_id: Some("KEY".to_owned()),
        key: Some(Secret::from("x")),
        storage_class: class.map(str::to_owned),
        restore_days: days,
        restore_tier: Some("Bulk").filter(|_| days != 0),
        ..S3Access::default()
    };
    let place = opened(&location, access(Some("DEEP_ARCHIVE"), 3));
    let [known, underway, warm, denied] = [7, 8, 9, 10].map(|byte| FileName::pack(Id::from_bytes([byte; 32])));
    let fault = place.read(known, Span::Whole).await.expect_err("archived");
    assert_eq!(fault.kind, FaultKind::Cold, "{fault}");
    assert_eq!(place.warmth(known).await.unwrap(), Warmth::Cold);
    for name in [known, underway, warm] {
        place.warm_up(name).await.unwrap_or_else(|fault| panic!("{name}: {fault}"));
    }
    assert_eq!(place.warm_up(denied).await.expect_err("denied").kind, FaultKind::Denied);
    let asked = server.asked();
    let post = asked.iter().find(|asked| asked.verb == "POST").unwrap();
    let body = String::from_utf8_lossy(&post.body);
    assert!(body.contains("<Days>3</Days>") && body.contains("<Tier>Bulk</Tier>"), "{body}");
    assert!(place.may_be_cold());
    assert!(opened(&location, access(None, 1)).may_be_cold());
    for class in [None, Some("STANDARD_IA"), Some("GLACIER_IR")] {
        assert!(!opened(&location, access(class, 0)).may_be_cold(), "{class:?}");
    }
}

#[tokio::test]
async fn a_locked_file_stays_and_what_is_not_locked_goes_with_all_its_versions() {
    let Some(server) = CephServer::shared() else { return };
    let bucket = server.new_bucket_with_locks();
    let place = opened(&bucket.repository("repo"), S3Access { object_lock_days: 1, ..access(server) });
    assert_eq!(place.lock_days(), Some(1));
    let file = |text: &'static str| {
        let bytes = Bytes::from_static(text.as_bytes());
        (FileName::new(FileKind::Snapshot, format::hash(&bytes)), bytes)
    };
    let ((locked, bytes), (free, other)) = (file("locked"), file("free"));
    place.write(locked, bytes.clone()).await.unwrap();
    for _ in 0..3 {
        place.write(free, other.clone()).await.unwrap();
    }
    let now = clock::SystemClock::new().now();
    let [sooner, later] = [30, 60].map(|minutes| now + jiff::SignedDuration::from_mins(minutes));
    place.lock_until(locked, later).await.unwrap();
    place.lock_until(locked, sooner).await.unwrap_or_else(|fault| panic!("a longer lock is as good: {fault}"));
    let fault = place.remove(locked).await.expect_err("it is locked");
    assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
    assert!(fault.cause.contains("it is locked until "), "{fault}");
    assert_eq!(place.read(locked, Span::Whole).await.unwrap(), bytes);
    place.remove(free).await.unwrap();
    place.remove(free).await.unwrap();
    assert_eq!(place.stat(free).await.expect_err("gone").kind, FaultKind::NotFound);
    assert_eq!(place.list(FileKind::Snapshot).await.unwrap().len(), 1);
    let missing = place.lock_until(free, later).await.expect_err("it is not there");
    assert_eq!(missing.kind, FaultKind::NotFound, "{missing}");
    let usual = opened(&bucket.repository("repo"), access(server));
    assert_eq!(usual.lock_days(), None);
}
