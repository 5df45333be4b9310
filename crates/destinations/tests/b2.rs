//! Backblaze B2 in the situations that the suite does not have: on a stand-in that follows Backblaze's documentation, and
//! on a server that answers as told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod samples;
mod scripted;

use bytes::Bytes;
use destinations::{Access, B2Access, B2Bucket, Destination, Limits, Location, Span};
use format::{FileKind, FileName};
use model::{FaultKind, Secret};
use samples::{copied_from_restic, named};
use scripted::{Act, Asked, Scripted, answer};
use testkit::B2Server;

fn access(url: &str) -> B2Access {
    B2Access {
        account_id: Some(B2Server::KEY_ID.to_owned()),
        account_key: Some(Secret::from(B2Server::KEY)),
        endpoint: Some(url.to_owned()),
    }
}

/// The place without retries.
fn bare(bucket: &str, access: B2Access) -> B2Bucket {
    let Location::B2(place) = format!("b2:{bucket}:pre/fix").parse().unwrap() else { panic!("b2") };
    B2Bucket::new(&place, &access.into(), &Limits::default()).unwrap()
}

async fn start() -> Option<(B2Server, B2Bucket)> {
    let server = B2Server::start()?;
    let place = bare("bucket", access(&server.url));
    place.create().await.unwrap();
    Some((server, place))
}

#[tokio::test]
async fn rclone_takes_the_stand_in_for_b2_and_finds_what_we_wrote() {
    let Some((server, place)) = start().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir_all(source.join("deep/er")).unwrap();
    std::fs::write(source.join("deep/er/file"), vec![3; 5_000_000]).unwrap();
    std::fs::write(source.join("small"), b"small").unwrap();
    let words = source.to_str().unwrap();
    let Some(copied) = server.rclone(&["copy", words, "cloud:made-by-rclone/top"]) else { return };
    copied.expect_code(0);
    let checked = ["check", "--download", words, "cloud:made-by-rclone/top"];
    server.rclone(&checked).unwrap().expect_code(0);
    // It hides what it removes, unless it is told otherwise.
    server.rclone(&["deletefile", "cloud:made-by-rclone/top/small"]).unwrap().expect_code(0);
    assert_ne!(server.rclone(&checked).unwrap().code, Some(0), "a file is missing");
    server.control("{\"page\": 2}");
    let Some(seed) = copied_from_restic(&place).await else { return };
    let copy = seed.folder.path().join("copy");
    server.rclone(&["check", "--download", copy.to_str().unwrap(), "cloud:bucket/pre/fix"]).unwrap().expect_code(0);
    let listed = server.rclone(&["lsf", "-R", "--files-only", "cloud:bucket/pre/fix"]).unwrap().expect_code(0).text();
    assert_eq!(listed.lines().count(), seed.files, "{listed}");
}

#[tokio::test]
async fn a_file_that_rclone_hid_is_gone_and_can_be_stored_again() {
    let Some((server, place)) = start().await else { return };
    for name in [named(vec![1; 10]).0, FileName::CONFIG] {
        let bytes = Bytes::from(vec![1; 10]);
        place.write(name, bytes.clone()).await.unwrap();
        let target = format!("cloud:bucket/pre/fix/{}", name.path());
        let Some(hidden) = server.rclone(&["deletefile", &target]) else { return };
        hidden.expect_code(0);
        assert_eq!(place.stat(name).await.expect_err("hidden").kind, FaultKind::NotFound);
        assert_eq!(place.list(FileKind::Pack).await.unwrap(), []);
        place.write(name, bytes.clone()).await.unwrap();
        assert_eq!(place.read(name, Span::Whole).await.unwrap(), bytes);
        place.remove(name).await.unwrap();
    }
}

#[tokio::test]
async fn removing_a_file_removes_all_its_versions() {
    let Some((server, place)) = start().await else { return };
    let (name, bytes) = named(vec![1; 10]);
    let put = server.planter("bucket");
    for _ in 0..5 {
        put(&format!("pre/fix/{}", name.path()), b"an older version");
    }
    put(&format!("pre/fix/{}.bak", name.path()), b"another name that begins alike");
    place.write(name, bytes).await.unwrap();
    server.control("{\"page\": 2}");
    place.remove(name).await.unwrap();
    assert_eq!(place.stat(name).await.expect_err("removed").kind, FaultKind::NotFound);
    let Some(versions) = server.rclone(&["lsf", "-R", "--files-only", "--b2-versions", "cloud:bucket"]) else { return };
    let left = versions.expect_code(0).text();
    assert_eq!(left.lines().count(), 1, "{left}");
    assert!(left.trim_end().ends_with(".bak"), "{left}");
}

#[tokio::test]
async fn the_config_that_was_first_stays_though_a_newer_one_was_stored_at_the_same_moment() {
    let Some((server, place)) = start().await else { return };
    let first = Bytes::from_static(b"the first");
    place.write(FileName::CONFIG, first.clone()).await.unwrap();
    // What another writer has stored between his look and ours, and not taken back yet.
    server.planter("bucket")("pre/fix/config", b"the second");
    place.write(FileName::CONFIG, first).await.unwrap_or_else(|fault| panic!("it is the first one: {fault}"));
    let fault = place.write(FileName::CONFIG, Bytes::from_static(b"the second")).await.expect_err("too late");
    assert_eq!(fault.kind, FaultKind::Exists, "{fault}");
}

#[tokio::test]
async fn a_missing_bucket_is_not_an_empty_one_and_is_made_by_creation() {
    let Some(server) = B2Server::start() else { return };
    let place = bare("not-made-yet", access(&server.url));
    for fault in [
        place.list(FileKind::Snapshot).await.expect_err("no bucket"),
        place.stat(FileName::CONFIG).await.expect_err("no bucket"),
        place.read(FileName::CONFIG, Span::Whole).await.expect_err("no bucket"),
        place.write(FileName::CONFIG, Bytes::from_static(b"x")).await.expect_err("no bucket"),
        place.remove(FileName::CONFIG).await.expect_err("no bucket"),
    ] {
        assert_eq!(fault.kind, FaultKind::NotFound, "{fault}");
        assert!(fault.cause.contains("`not-made-yet`"), "{fault}");
    }
    place.create().await.unwrap();
    place.create().await.unwrap();
    assert_eq!(place.list(FileKind::Snapshot).await.unwrap(), []);
}

#[tokio::test]
async fn tokens_and_upload_addresses_that_have_ended_are_renewed_unseen() {
    let Some((server, place)) = start().await else { return };
    let (name, bytes) = named(vec![1; 100_000]);
    place.write(name, bytes.clone()).await.unwrap();
    for unusual in ["{\"stale_lanes\": 1}", "{\"busy_lanes\": 1}", "{\"expired\": 1, \"stale_lanes\": 1}"] {
        server.control(unusual);
        place.write(name, bytes.clone()).await.unwrap_or_else(|fault| panic!("{unusual}: {fault}"));
    }
    server.control("{\"expired\": 1}");
    assert_eq!(place.read(name, Span::Whole).await.unwrap(), bytes);
    server.control("{\"expired\": 1}");
    assert_eq!(place.stat(name).await.unwrap(), 100_000, "an answer without a body does not say what is wrong");
    server.control("{\"busy_lanes\": 2}");
    let fault = place.write(name, bytes).await.expect_err("two addresses are busy");
    assert_eq!((fault.kind, fault.wait.map(|wait| wait.as_secs())), (FaultKind::Failing, Some(0)), "{fault}");
}

#[tokio::test]
async fn wrong_keys_are_denied_and_never_shown_and_missing_ones_are_told() {
    let Some((server, _)) = start().await else { return };
    for wrong in [
        B2Access { account_key: Some(Secret::from("hush-key")), ..access(&server.url) },
        B2Access { account_id: Some("nobody".to_owned()), ..access(&server.url) },
    ] {
        let place = bare("bucket", wrong.clone());
        for fault in
            [place.list(FileKind::Key).await.expect_err("wrong keys"), place.create().await.expect_err("wrong keys")]
        {
            assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
            let shown = format!("{fault} {fault:?} {place:?} {wrong:?}");
            assert!(!shown.contains("hush") && !shown.contains(B2Server::KEY), "{shown}");
        }
    }
    let location: Location = "b2:bucket:path".parse().unwrap();
    let fault = destinations::open(&location, &Access::default(), &Limits::default()).expect_err("no keys");
    assert_eq!(fault.kind, FaultKind::Misconfigured, "{fault}");
    assert!(fault.cause.contains("B2_ACCOUNT_KEY"), "{fault}");
}

#[tokio::test]
async fn full_buckets_and_keys_that_permit_little_are_told_apart() {
    let Some((server, place)) = start().await else { return };
    let (name, bytes) = named(vec![2; 100_000]);
    server.control("{\"cap\": 50000}");
    let fault = place.write(name, bytes.clone()).await.expect_err("no room");
    assert_eq!(fault.kind, FaultKind::Full, "{fault}");
    assert_eq!(place.stat(name).await.expect_err("never there").kind, FaultKind::NotFound);
    // Everything but removing: enough for backups.
    server.control("{\"may\": [\"listBuckets\", \"listFiles\", \"readFiles\", \"writeFiles\"]}");
    place.write(name, bytes.clone()).await.unwrap();
    place.write(FileName::CONFIG, bytes.clone()).await.unwrap();
    assert_eq!(place.read(name, Span::Whole).await.unwrap(), bytes);
    let fault = place.remove(name).await.expect_err("nothing may be removed");
    assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
    assert!(fault.cause.contains("unauthorized"), "{fault}");
    server.control("{\"may\": [\"listBuckets\", \"listFiles\", \"readFiles\"]}");
    let fault = bare("bucket", access(&server.url)).write(name, bytes).await.expect_err("read-only");
    assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
}

/// A server that lets us in and answers everything else as told.
async fn told(said: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static) -> (Scripted, B2Bucket) {
    let server = Scripted::start(move |asked| {
        let base = format!("http://{}", asked.header("host").unwrap());
        Act::Say(match asked.target.rsplit('/').next() {
            Some("b2_authorize_account") => {
                let allowed = r#"{"buckets":[{"id":"7","name":"bucket"}],"capabilities":[],"namePrefix":null}"#;
                let storage = format!(r#"{{"apiUrl":"{base}","downloadUrl":"{base}","allowed":{allowed}}}"#);
                let account = format!(
                    r#"{{"accountId":"a","authorizationToken":"hush-token","apiInfo":{{"storageApi":{storage}}}}}"#
                );
                answer("200 OK", &[], account.as_bytes())
            }
            Some("b2_get_upload_url") => {
                let lane = format!(r#"{{"bucketId":"7","uploadUrl":"{base}/up","authorizationToken":"hush-lane"}}"#);
                answer("200 OK", &[], lane.as_bytes())
            }
            _ => said(asked),
        })
    })
    .await;
    let place = bare("bucket", access(&format!("http://{}/", server.address)));
    (server, place)
}

#[tokio::test]
async fn a_listing_goes_on_to_its_end_or_is_none() {
    let page = |number: u8, next: &str| {
        let id = format!("{number:02x}").repeat(32);
        let file = r#""fileId":"4_z","action":"upload","contentLength":5,"contentSha1":"none""#;
        format!(r#"{{"files":[{{"fileName":"pre/fix/keys/{id}",{file}}}],"nextFileName":{next}}}"#)
    };
    let (first, last, endless) = (page(1, "\"m/1\""), page(2, "null"), page(3, "\"m/1\""));
    for (second, whole) in [
        (answer("200 OK", &[], last.as_bytes()), true),
        (answer("503 Busy", &[], b""), false),
        (answer("200 OK", &[], endless.as_bytes()), false),
        (answer("200 OK", &[], b"{\"files\":[]}"), false),
        (b"HTTP/1.1 2".to_vec(), false),
    ] {
        let first = answer("200 OK", &[], first.as_bytes());
        let is_second = |asked: &Asked| String::from_utf8_lossy(&asked.body).contains("\"startFileName\":\"m/1\"");
        let (server, place) = told(move |asked| if is_second(asked) { second.clone() } else { first.clone() }).await;
        let listed = place.list(FileKind::Key).await;
        assert_eq!(listed.map(|listed| listed.len()).ok(), whole.then_some(2));
        assert_eq!(server.asked().len(), 3, "let in, and two pages");
    }
}

#[tokio::test]
async fn every_refusal_has_its_kind_and_shows_no_secret() {
    for (status, body, kind) in [
        ("401 Unauthorized", r#"{"code":"unauthorized","message":"no"}"#, FaultKind::Denied),
        ("403 Forbidden", r#"{"code":"access_denied","message":"object lock"}"#, FaultKind::Denied),
        ("403 Forbidden", r#"{"code":"transaction_cap_exceeded","message":"no"}"#, FaultKind::Full),
        (
            "400 Bad Request",
            r#"{"code":"bad_request","message":"Sha1 did not match data received"}"#,
            FaultKind::Failing,
        ),
        ("400 Bad Request", r#"{"code":"bad_request","message":"no"}"#, FaultKind::Refused),
        ("429 Too Many Requests", r#"{"code":"too_many_requests","message":"no"}"#, FaultKind::Failing),
        ("500 Internal Server Error", "", FaultKind::Failing),
        ("302 Found", "", FaultKind::Refused),
        ("200 OK", "<html>log in first</html>", FaultKind::Failing),
    ] {
        let (_, place) =
            told(move |_| answer(status, &["Retry-After: 17", "Location: http://x/"], body.as_bytes())).await;
        let (name, bytes) = named(vec![1; 5]);
        let fault = place.write(name, bytes).await.expect_err(body);
        assert_eq!(fault.kind, kind, "{fault}");
        assert!(status.starts_with('2') || fault.wait.map(|wait| wait.as_secs()) == Some(17), "{fault}");
        let shown = format!("{fault} {fault:?} {place:?}");
        assert!(!shown.contains("hush") && !shown.contains(B2Server::KEY), "{shown}");
    }
    // Whoever lets us in must not send the token somewhere less safe, nor lead us on.
    let server = Scripted::start(|_| Act::Say(answer("404 Not Found", &[], b""))).await;
    let place = bare("bucket", access(&format!("http://{}/", server.address)));
    assert_eq!(place.stat(FileName::CONFIG).await.expect_err("no door").kind, FaultKind::Misconfigured);
    let account = r#"{"accountId":"a","authorizationToken":"hush","apiInfo":{"storageApi":{"apiUrl":"ftp://x","downloadUrl":"http://x","allowed":{"buckets":null}}}}"#;
    let server = Scripted::start(move |_| Act::Say(answer("200 OK", &[], account.as_bytes()))).await;
    let place = bare("bucket", access(&format!("http://{}/", server.address)));
    let fault = place.list(FileKind::Key).await.expect_err("an address that is none");
    assert_eq!(fault.kind, FaultKind::Damaged, "{fault}");
    assert!(!format!("{fault:?}").contains("hush"), "{fault:?}");
}
