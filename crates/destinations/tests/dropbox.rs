//! Dropbox in the situations that the suite does not have, on a stand-in that follows Dropbox's documentation: tokens
//! that end, no room, listings that change, large files, and answers that no server should give.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod scripted;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use destinations::{
    Access, Destination, DropboxAccess, DropboxFolder, Limits, Location, RetryListener, Span, open_heard,
};
use format::{FileKind, FileName};
use model::{FaultKind, Id, Secret};
use scripted::{Act, Asked, Scripted, answer};
use sha2::{Digest as _, Sha256};
use testkit::DropboxServer;

fn named(bytes: Vec<u8>) -> (FileName, Bytes) {
    (FileName::pack(Id::from_bytes(Sha256::digest(&bytes).into())), Bytes::from(bytes))
}

fn access_at(url: &str) -> DropboxAccess {
    DropboxAccess {
        app_key: Some(DropboxServer::APP_KEY.to_owned()),
        app_secret: Some(Secret::from(DropboxServer::APP_SECRET)),
        refresh_token: Some(Secret::from(DropboxServer::REFRESH_TOKEN)),
        api_url: Some(url.to_owned()),
        content_url: Some(url.to_owned()),
    }
}

/// The place without retries.
fn bare(access: DropboxAccess) -> DropboxFolder {
    let Location::Dropbox(location) = "dropbox:/backup".parse().unwrap() else { panic!("dropbox") };
    DropboxFolder::new(&location, &access.into(), &Limits::default()).unwrap()
}

fn start() -> Option<(DropboxServer, DropboxFolder)> {
    let server = DropboxServer::start(false)?;
    let place = bare(access_at(&server.url));
    Some((server, place))
}

#[test]
fn the_official_client_takes_the_stand_in_for_dropbox() {
    let Some(server) = DropboxServer::start(true) else { return };
    let Some(ended) = server.official_client() else { return };
    let said = ended.expect_code(0).text();
    assert!(said.contains("found what it expects"), "{said}");
}

#[tokio::test]
async fn a_token_that_has_ended_is_renewed_unseen() {
    let Some((server, place)) = start() else { return };
    place.create().await.unwrap();
    server.control("{\"expired\": 1}");
    let (name, bytes) = named(vec![1; 100_000]);
    place.write(name, bytes.clone()).await.unwrap();
    server.control("{\"expired\": 1}");
    assert_eq!(place.read(name, Span::Whole).await.unwrap(), bytes);
    server.control("{\"expired\": 1, \"revoked\": true}");
    let fault = place.stat(name).await.expect_err("no more tokens");
    assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
    assert!(fault.cause.contains("invalid_grant"), "{fault}");
    // Without the secret, as an application has it that keeps none.
    server.control("{}");
    let public = bare(DropboxAccess { app_secret: None, ..access_at(&server.url) });
    assert_eq!(public.stat(name).await.unwrap(), 100_000);
}

#[tokio::test]
async fn wrong_keys_are_denied_and_never_shown_and_missing_ones_are_told() {
    let Some((server, _)) = start() else { return };
    for wrong in [
        DropboxAccess { app_key: Some("another-app".to_owned()), ..access_at(&server.url) },
        DropboxAccess { app_secret: Some(Secret::from("hush-secret")), ..access_at(&server.url) },
        DropboxAccess { refresh_token: Some(Secret::from("hush-token")), ..access_at(&server.url) },
    ] {
        let place = bare(wrong.clone());
        let fault = place.list(FileKind::Key).await.expect_err("wrong keys");
        assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
        let shown = format!("{fault} {fault:?} {place:?} {wrong:?}");
        assert!(!shown.contains("hush") && !shown.contains(DropboxServer::REFRESH_TOKEN), "{shown}");
    }
    let location: Location = "dropbox:/backup".parse().unwrap();
    let fault = destinations::open(&location, &Access::default(), &Limits::default()).expect_err("no keys");
    assert_eq!(fault.kind, FaultKind::Misconfigured, "{fault}");
    assert!(fault.cause.contains("TRIPLICATE_DROPBOX_REFRESH_TOKEN"), "{fault}");
}

#[tokio::test]
async fn a_full_account_and_one_that_may_not_write_are_told_apart() {
    let Some((server, place)) = start() else { return };
    place.create().await.unwrap();
    let (name, bytes) = named(vec![2; 100_000]);
    server.control("{\"quota\": 50000}");
    let fault = place.write(name, bytes.clone()).await.expect_err("no room");
    assert_eq!(fault.kind, FaultKind::Full, "{fault}");
    assert!(fault.cause.contains("path/insufficient_space"), "{fault}");
    assert_eq!(place.stat(name).await.expect_err("never there").kind, FaultKind::NotFound);
    server.control("{}");
    place.write(name, bytes.clone()).await.unwrap();
    server.control("{\"read_only\": true}");
    let config = place.write(FileName::CONFIG, bytes.clone()).await.expect_err("read-only");
    for fault in [place.remove(name).await.expect_err("read-only"), config] {
        assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
        assert!(fault.cause.contains("no_write_permission"), "{fault}");
    }
    assert_eq!(place.read(name, Span::Whole).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let Some(server) = DropboxServer::start(false) else { return };
    let retries = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&retries);
    let listener: RetryListener = Arc::new(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let limits = Limits { first_backoff_milliseconds: 20, ..Limits::default() };
    let location: Location = "dropbox:/backup".parse().unwrap();
    let place = open_heard(&location, &access_at(&server.url).into(), &limits, Some(listener)).unwrap();
    server.control("{\"busy\": 3}");
    let (name, bytes) = named(vec![3; 10]);
    place.write(name, bytes).await.unwrap();
    assert_eq!(retries.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_listing_that_is_reset_begins_again_and_removals_in_it_count() {
    let Some((server, place)) = start() else { return };
    place.create().await.unwrap();
    let samples: Vec<_> = (0..10_u8).map(|number| named(vec![number; 10])).collect();
    for (name, bytes) in &samples {
        place.write(*name, bytes.clone()).await.unwrap();
    }
    server.control("{\"page\": 3, \"reset\": 2}");
    assert_eq!(place.list(FileKind::Pack).await.unwrap().len(), 10);
    server.control("{\"page\": 3, \"reset\": 1000}");
    let fault = place.list(FileKind::Pack).await.expect_err("it never ends");
    assert_eq!(fault.kind, FaultKind::Failing, "{fault}");
    let gone = format!("/backup/{}", samples[0].0.path());
    server.control(&format!("{{\"page\": 3, \"gone\": \"{gone}\"}}"));
    assert_eq!(place.list(FileKind::Pack).await.unwrap().len(), 9, "the last page says that one was removed");
}

#[tokio::test]
async fn a_large_file_goes_up_in_a_session() {
    let Some((server, place)) = start() else { return };
    for (number, length) in [(1, 64 << 20), (2, (64 << 20) + 1), (3, 96 << 20)] {
        let (name, bytes) = named(vec![number; length]);
        place.write(name, bytes.clone()).await.unwrap();
        assert!(place.read(name, Span::Whole).await.unwrap() == bytes, "{length} bytes came back changed");
        std::fs::remove_file(server.data_dir.join("backup").join(name.path())).unwrap();
    }
}

/// A server that gives a token and answers everything else as told.
async fn told(said: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static) -> (Scripted, DropboxFolder) {
    let server = Scripted::start(move |asked| {
        Act::Say(match asked.target.as_str() {
            "/oauth2/token" => answer("200 OK", &[], b"{\"access_token\":\"hush-access\",\"expires_in\":14400}"),
            _ => said(asked),
        })
    })
    .await;
    let place = bare(access_at(&format!("http://{}/", server.address)));
    (server, place)
}

#[tokio::test]
async fn what_is_no_listing_is_damaged_and_never_empty() {
    let whole = "{\"entries\":[],\"cursor\":\"c\",\"has_more\":false}";
    let (_, place) = told(move |_| answer("200 OK", &[], whole.as_bytes())).await;
    assert_eq!(place.list(FileKind::Pack).await.unwrap(), []);
    for body in [
        "",
        "null",
        "{}",
        "<html>welcome</html>",
        &whole[..whole.len() - 1],
        &whole.replace("\"c\",", "\"\",").replace("false", "true"),
    ] {
        let body = body.to_owned();
        let (_, place) = told(move |_| answer("200 OK", &[], body.as_bytes())).await;
        let fault = place.list(FileKind::Pack).await.expect_err("no listing");
        assert_eq!(fault.kind, FaultKind::Damaged, "{fault}");
        assert!(!format!("{fault:?}").contains("hush"), "{fault:?}");
    }
    // The second page fails.
    let (server, place) = told(move |asked| match asked.target.ends_with("/continue") {
        true => answer("500 Internal Server Error", &[], b""),
        false => answer("200 OK", &[], whole.replace("false", "true").as_bytes()),
    })
    .await;
    let fault = place.list(FileKind::Pack).await.expect_err("half a listing");
    assert_eq!(fault.kind, FaultKind::Failing, "{fault}");
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn an_upload_counts_only_when_what_was_stored_has_its_hash() {
    let (name, bytes) = named(vec![1; 5]);
    for metadata in [
        "{\"path_lower\":\"/x\",\"size\":4,\"content_hash\":\"00\"}",
        "{\"path_lower\":\"/x\",\"size\":5,\"content_hash\":\"00\"}",
        "{\"path_lower\":\"/x\",\"size\":5}",
    ] {
        let (_, place) = told(move |_| answer("200 OK", &[], metadata.as_bytes())).await;
        let fault = place.write(name, bytes.clone()).await.expect_err("something else was stored");
        assert_eq!(fault.kind, FaultKind::Failing, "{fault}");
    }
}

#[tokio::test]
async fn a_token_that_is_refused_twice_is_denied() {
    let body = "{\"error_summary\":\"expired_access_token/\",\"error\":{\".tag\":\"expired_access_token\"}}";
    let (server, place) = told(move |_| answer("401 Unauthorized", &[], body.as_bytes())).await;
    let fault = place.stat(FileName::CONFIG).await.expect_err("refused");
    assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
    assert_eq!(server.asked().len(), 4, "two tokens, two questions");
    assert!(!format!("{fault:?} {place:?}").contains("hush"), "{fault:?}");
}
