//! Google Cloud Storage in the situations that the suite does not have: on a stand-in that follows Google's
//! documentation, and on a server that answers as told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod samples;
mod scripted;

use bytes::Bytes;
use destinations::{Access, Destination, GoogleAccess, GoogleBucket, Limits, Location, Span};
use format::{FileKind, FileName};
use model::{FaultKind, Secret};
use samples::{copied_from_restic, named};
use scripted::{Act, Asked, Scripted, answer};
use testkit::{GoogleServer, Oracle};

fn access(server: &GoogleServer) -> GoogleAccess {
    GoogleAccess {
        credentials: Some(Secret::from(server.credentials.clone())),
        endpoint: Some(server.url.clone()),
        ..GoogleAccess::default()
    }
}

/// The place without retries.
fn bare(bucket: &str, access: GoogleAccess) -> GoogleBucket {
    let Location::Google(place) = format!("gs:{bucket}:/pre/fix").parse().unwrap() else { panic!("gs") };
    GoogleBucket::new(&place, &access.into(), &Limits::default()).unwrap()
}

async fn start() -> Option<(GoogleServer, GoogleBucket)> {
    let server = GoogleServer::start()?;
    let place = bare("box", access(&server));
    place.create().await.unwrap();
    Some((server, place))
}

#[tokio::test]
async fn rclone_takes_the_stand_in_for_google_and_finds_what_we_wrote() {
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
    server.rclone(&["deletefile", "cloud:made-by-rclone/top/small"]).unwrap().expect_code(0);
    assert_ne!(server.rclone(&checked).unwrap().code, Some(0), "a file is missing");
    server.control("{\"page\": 2}");
    let Some(seed) = copied_from_restic(&place).await else { return };
    let copy = seed.folder.path().join("copy");
    server.rclone(&["check", "--download", copy.to_str().unwrap(), "cloud:box/pre/fix"]).unwrap().expect_code(0);
    let listed = server.rclone(&["lsf", "-R", "--files-only", "cloud:box/pre/fix"]).unwrap().expect_code(0).text();
    assert_eq!(listed.lines().count(), seed.files, "{listed}");
}

#[tokio::test]
async fn rustic_reads_what_we_wrote() {
    let Some((server, place)) = start().await else { return };
    let Some(seed) = copied_from_restic(&place).await else { return };
    let Some(rustic) = Oracle::rustic("opendal:gcs", &seed.password) else { return };
    let rustic = rustic.with("OPENDAL_BUCKET", "box").with("OPENDAL_ROOT", "/pre/fix");
    let rustic = rustic.with("OPENDAL_ENDPOINT", server.url.trim_end_matches('/'));
    rustic.with("OPENDAL_TOKEN", GoogleServer::GIVEN_TOKEN).check(true);
}

#[tokio::test]
async fn a_missing_bucket_is_not_an_empty_one_and_is_made_by_creation() {
    let Some(server) = GoogleServer::start() else { return };
    let place = bare("not-made-yet", access(&server));
    for fault in [
        place.list(FileKind::Snapshot).await.expect_err("no bucket"),
        place.stat(FileName::CONFIG).await.expect_err("no bucket"),
        place.write(FileName::CONFIG, Bytes::from_static(b"x")).await.expect_err("no bucket"),
        place.remove(FileName::CONFIG).await.expect_err("no bucket"),
    ] {
        assert_eq!(fault.kind, FaultKind::NotFound, "{fault}");
    }
    let token = Some(Secret::from(GoogleServer::GIVEN_TOKEN));
    let nowhere = bare("not-made-yet", GoogleAccess { access_token: token, ..access(&server) });
    let fault = nowhere.create().await.expect_err("a token has no project");
    assert!(fault.cause.contains("GOOGLE_PROJECT_ID"), "{fault}");
    place.create().await.unwrap();
    place.create().await.unwrap();
    assert_eq!(nowhere.list(FileKind::Snapshot).await.unwrap(), []);
}

#[tokio::test]
async fn a_token_that_has_ended_is_renewed_unseen() {
    let Some((server, place)) = start().await else { return };
    server.control("{\"expired\": 1}");
    let (name, bytes) = named(vec![1; 100_000]);
    place.write(name, bytes.clone()).await.unwrap();
    server.control("{\"expired\": 1}");
    assert_eq!(place.read(name, Span::Whole).await.unwrap(), bytes);
    server.control("{\"expired\": 1, \"revoked\": true}");
    let fault = place.stat(name).await.expect_err("no more tokens");
    assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
    assert!(fault.cause.contains("invalid_grant") && fault.cause.contains("account not found"), "{fault}");
    // As `gcloud auth application-default login` leaves it.
    server.control("{}");
    let user = format!(
        "{{\"type\":\"authorized_user\",\"client_id\":\"test-id\",\"client_secret\":\"test-secret\",\
         \"refresh_token\":\"test-refresh\",\"token_uri\":\"{}token\"}}",
        server.url
    );
    let place = bare("box", GoogleAccess { credentials: Some(Secret::from(user)), ..access(&server) });
    assert_eq!(place.stat(name).await.unwrap(), 100_000);
}

#[tokio::test]
async fn wrong_credentials_are_denied_and_never_shown_and_missing_ones_are_told() {
    let Some((server, _)) = start().await else { return };
    let other = GoogleServer::start().unwrap();
    // Another's key for this account.
    let stolen = other.credentials.replace(&other.url, &server.url);
    let someone = server.credentials.replace("tester@", "somebody@");
    for wrong in [
        GoogleAccess { credentials: Some(Secret::from(stolen)), ..access(&server) },
        GoogleAccess { credentials: Some(Secret::from(someone)), ..access(&server) },
        GoogleAccess { access_token: Some(Secret::from("hush-token")), ..access(&server) },
    ] {
        let place = bare("box", wrong.clone());
        let fault = place.list(FileKind::Key).await.expect_err("wrong credentials");
        assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
        let shown = format!("{fault} {fault:?} {place:?} {wrong:?}");
        assert!(!shown.contains("hush") && !shown.contains("PRIVATE KEY"), "{shown}");
    }
    let location: Location = "gs:box:/path".parse().unwrap();
    let no_key = server.credentials.replace("MII", "hush");
    for (credentials, cause) in [
        (None, "GOOGLE_APPLICATION_CREDENTIALS"),
        (Some("hush"), "not the JSON file"),
        (Some("{\"type\":\"external_account\"}"), "neither of a service account"),
        (Some("{\"type\":\"service_account\"}"), "`client_email`"),
        (Some(no_key.as_str()), "cannot be used"),
    ] {
        let google = GoogleAccess { credentials: credentials.map(Secret::from), ..GoogleAccess::default() };
        let fault = destinations::open(&location, &Access::from(google), &Limits::default()).expect_err(cause);
        assert_eq!(fault.kind, FaultKind::Misconfigured, "{fault}");
        assert!(fault.cause.contains(cause) && !fault.cause.contains("hush"), "{fault}");
    }
}

#[tokio::test]
async fn full_read_only_and_kept_buckets_are_told_apart() {
    let Some((server, place)) = start().await else { return };
    let (name, bytes) = named(vec![2; 100_000]);
    server.control("{\"quota\": 50000}");
    let fault = place.write(name, bytes.clone()).await.expect_err("no room");
    assert_eq!(fault.kind, FaultKind::Full, "{fault}");
    assert_eq!(place.stat(name).await.expect_err("never there").kind, FaultKind::NotFound);
    server.control("{}");
    place.write(name, bytes.clone()).await.unwrap();
    server.control("{\"read_only\": true}");
    for fault in [
        place.write(FileName::CONFIG, bytes.clone()).await.expect_err("read-only"),
        place.remove(name).await.expect_err("read-only"),
    ] {
        assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
        assert!(fault.cause.contains("does not have storage.objects."), "{fault}");
    }
    for (unusual, word) in [("{\"creator\": true}", "objects.delete"), ("{\"kept\": true}", "retentionPolicyNotMet")] {
        server.control(unusual);
        place.write(name, bytes.clone()).await.unwrap_or_else(|fault| panic!("the same bytes: {fault}"));
        let fault = place.write(name, Bytes::from_static(b"other")).await.expect_err("other bytes");
        assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
        let fault = place.remove(name).await.expect_err("it is kept");
        assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
        assert!(fault.cause.contains(word), "{fault}");
    }
    server.control("{\"busy\": 1}");
    let fault = place.stat(name).await.expect_err("busy");
    assert_eq!((fault.kind, fault.wait.map(|wait| wait.as_secs())), (FaultKind::Failing, Some(0)), "{fault}");
}

/// A server that answers as told.
async fn told(said: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static) -> (Scripted, GoogleBucket) {
    let server = Scripted::start(move |asked| Act::Say(said(asked))).await;
    let access = GoogleAccess {
        access_token: Some(Secret::from("hush")),
        endpoint: Some(format!("http://{}", server.address)),
        ..GoogleAccess::default()
    };
    (server, bare("box", access))
}

#[tokio::test]
async fn a_listing_goes_on_to_its_end_or_is_none() {
    let page = |number: u8, next: &str| {
        let id = format!("{number:02x}").repeat(32);
        format!(r#"{{"kind":"storage#objects",{next}"items":[{{"name":"pre/fix/keys/{id}","size":"5"}}]}}"#)
    };
    let (first, last) = (page(1, r#""nextPageToken":"m/1","#), page(2, ""));
    let endless = page(3, r#""nextPageToken":"m/1","#);
    for (second, whole) in [
        (answer("200 OK", &[], last.as_bytes()), true),
        (answer("503 Busy", &[], b""), false),
        (answer("200 OK", &[], endless.as_bytes()), false),
        (answer("200 OK", &[], b"{}"), false),
        (b"HTTP/1.1 2".to_vec(), false),
    ] {
        let first = answer("200 OK", &[], first.as_bytes());
        let (server, place) =
            told(move |asked| if asked.target.contains("pageToken=m") { second.clone() } else { first.clone() }).await;
        let listed = place.list(FileKind::Key).await;
        assert_eq!(listed.map(|listed| listed.len()).ok(), whole.then_some(2));
        let asked = server.asked();
        assert_eq!(asked.len(), 2);
        assert!(asked[1].target.contains("prefix=pre%2Ffix%2Fkeys%2F") && asked[1].target.contains("pageToken=m%2F1"));
    }
}

#[tokio::test]
async fn an_upload_counts_only_when_what_was_stored_has_its_hash() {
    let (name, bytes) = named(vec![1; 5]);
    for said in [
        "<html>log in first</html>",
        r#"{"name":"x","size":"5"}"#,
        r#"{"name":"x","size":"5","md5Hash":"AAAA"}"#,
        r#"{"name":"x","size":"4","md5Hash":"GmfS/wv7CZdQ1dqxhAB4eQ=="}"#,
    ] {
        let (_, place) = told(move |_| answer("200 OK", &[], said.as_bytes())).await;
        let fault = place.write(name, bytes.clone()).await.expect_err("something else was stored");
        assert_eq!(fault.kind, FaultKind::Failing, "{fault}");
    }
    let wrong = r#"{"error":{"code":400,"message":"Provided MD5 hash \"x\" doesn't match calculated MD5 hash \"y\".","errors":[{"reason":"invalid"}]}}"#;
    let (server, place) = told(move |_| answer("400 Bad Request", &[], wrong.as_bytes())).await;
    let fault = place.write(name, bytes).await.expect_err("changed on the way");
    assert_eq!(fault.kind, FaultKind::Failing, "{fault}");
    let sent = String::from_utf8_lossy(&server.asked()[0].body).into_owned();
    assert!(sent.contains("\"md5Hash\":\"") && sent.contains("\u{1}\u{1}\u{1}\u{1}\u{1}\r\n--"), "{sent}");
}
