//! Azure in the situations that the suite does not have: on Azurite, Microsoft's own emulator, and on a server that
//! answers as told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod samples;
mod scripted;

use bytes::Bytes;
use destinations::{Access, AzureAccess, AzureContainer, Destination, Limits, Location, Span};
use format::{FileKind, FileName};
use model::{FaultKind, Secret};
use samples::{copied_from_restic, named};
use scripted::{Act, Asked, Scripted, answer};
use testkit::{AzureServer, Oracle};

fn access(endpoint: &str) -> AzureAccess {
    AzureAccess {
        account_name: Some(AzureServer::ACCOUNT.to_owned()),
        account_key: Some(Secret::from(AzureServer::KEY)),
        endpoint: Some(endpoint.to_owned()),
        ..AzureAccess::default()
    }
}

fn with_sas(endpoint: &str, sas: &str) -> AzureAccess {
    AzureAccess { account_sas: Some(Secret::from(sas)), endpoint: Some(endpoint.to_owned()), ..AzureAccess::default() }
}

/// The place without retries.
fn bare(container: &str, access: AzureAccess) -> AzureContainer {
    let Location::Azure(place) = format!("azure:{container}:/pre/fix").parse().unwrap() else { panic!("azure") };
    AzureContainer::new(&place, &access.into(), &Limits::default()).unwrap()
}

#[tokio::test]
async fn rustic_reads_what_we_wrote() {
    let Some(server) = AzureServer::start() else { return };
    let place = bare("judged", access(&server.endpoint));
    let Some(seed) = copied_from_restic(&place).await else { return };
    let Some(rustic) = Oracle::rustic("opendal:azblob", &seed.password) else { return };
    let rustic = rustic.with("OPENDAL_CONTAINER", "judged").with("OPENDAL_ROOT", "/pre/fix");
    let rustic = rustic.with("OPENDAL_ENDPOINT", &server.endpoint).with("OPENDAL_ACCOUNT_NAME", AzureServer::ACCOUNT);
    rustic.with("OPENDAL_ACCOUNT_KEY", AzureServer::KEY).check(true);
}

#[tokio::test]
async fn a_missing_container_is_not_an_empty_one_and_is_made_by_creation() {
    let Some(server) = AzureServer::start() else { return };
    let place = bare("not-made-yet", access(&server.endpoint));
    for fault in [
        place.list(FileKind::Snapshot).await.expect_err("no container"),
        place.stat(FileName::CONFIG).await.expect_err("no container"),
        place.write(FileName::CONFIG, Bytes::from_static(b"x")).await.expect_err("no container"),
        place.remove(FileName::CONFIG).await.expect_err("no container"),
    ] {
        assert_eq!(fault.kind, FaultKind::NotFound, "{fault}");
    }
    place.create().await.unwrap();
    place.create().await.unwrap();
    assert_eq!(place.list(FileKind::Snapshot).await.unwrap(), []);
}

#[tokio::test]
async fn wrong_keys_are_denied_and_never_shown_and_missing_ones_are_told() {
    let Some(server) = AzureServer::start() else { return };
    let wrong_key = AzureAccess { account_key: Some(Secret::from("aHVzaC1odXNo")), ..access(&server.endpoint) };
    let wrong_token = with_sas(&server.endpoint, &AzureServer::ALL_SAS.replace("sig=c6", "sig=hush"));
    for wrong in [wrong_key, wrong_token] {
        let place = bare("box", wrong.clone());
        for fault in [
            place.list(FileKind::Key).await.expect_err("wrong keys"),
            place.stat(FileName::CONFIG).await.expect_err("wrong keys"),
            place.create().await.expect_err("wrong keys"),
        ] {
            assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
            let shown = format!("{fault} {fault:?} {place:?} {wrong:?}");
            assert!(!shown.contains("hush") && !shown.contains("aHVz") && !shown.contains("sig="), "{shown}");
        }
    }
    let location: Location = "azure:box:/path".parse().unwrap();
    let named = AzureAccess { account_name: Some("somebody".to_owned()), ..AzureAccess::default() };
    let no_base_64 = AzureAccess { account_key: Some(Secret::from("hush!")), ..named.clone() };
    let no_name = AzureAccess { account_name: Some("evil.invalid/".to_owned()), ..access("") };
    let no_name = AzureAccess { endpoint: None, ..no_name };
    for (access, cause) in [
        (AzureAccess::default(), "AZURE_ACCOUNT_NAME"),
        (named, "AZURE_ACCOUNT_SAS"),
        (no_base_64, "base 64"),
        (no_name, "name of an account"),
        (access("ftp://host/"), "endpoint"),
    ] {
        let fault = destinations::open(&location, &Access::from(access), &Limits::default()).expect_err(cause);
        assert_eq!(fault.kind, FaultKind::Misconfigured, "{fault}");
        assert!(fault.cause.contains(cause) && !fault.cause.contains("hush"), "{fault}");
    }
}

#[tokio::test]
async fn a_signature_permits_what_it_was_made_for() {
    let Some(server) = AzureServer::start() else { return };
    let all = bare("box", with_sas(&server.endpoint, &format!("?{}", AzureServer::ALL_SAS)));
    all.create().await.unwrap();
    let (name, bytes) = named(vec![1; 100_000]);
    all.write(name, bytes.clone()).await.unwrap();
    let read_only = bare("box", with_sas(&server.endpoint, AzureServer::READ_SAS));
    assert_eq!(read_only.read(name, Span::Whole).await.unwrap(), bytes);
    assert_eq!(read_only.list(FileKind::Pack).await.unwrap().len(), 1);
    let keeping = bare("box", with_sas(&server.endpoint, AzureServer::KEEP_SAS));
    keeping.write(FileName::CONFIG, bytes.clone()).await.unwrap();
    for fault in [
        read_only.write(named(vec![3; 10]).0, bytes).await.expect_err("read-only"),
        read_only.remove(name).await.expect_err("read-only"),
        keeping.remove(name).await.expect_err("nothing may be removed"),
    ] {
        assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
        assert!(fault.cause.contains("AuthorizationPermissionMismatch"), "{fault}");
    }
    let creating = bare("box", with_sas(&server.endpoint, AzureServer::CREATE_SAS));
    let (other, more) = named(vec![2; 100]);
    for _ in 0..2 {
        creating.write(other, more.clone()).await.unwrap();
    }
    for fault in [
        creating.write(other, Bytes::from_static(b"instead")).await.expect_err("nothing is written over"),
        creating.remove(other).await.expect_err("nothing may be removed"),
    ] {
        assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
    }
    assert_eq!(all.read(other, Span::Whole).await.unwrap(), more);
    all.remove(name).await.unwrap();
}

#[tokio::test]
async fn bytes_that_changed_on_the_way_are_refused_by_the_server() {
    let Some(server) = AzureServer::start() else { return };
    bare("box", access(&server.endpoint)).create().await.unwrap();
    let (name, _) = named(vec![1; 100]);
    let target = format!("/{}/box/pre/fix/{}?{}", AzureServer::ACCOUNT, name.path(), AzureServer::ALL_SAS);
    let md5 = md5_of(vec![1; 100]).await;
    let request_of = |body: Vec<u8>| {
        let request = testkit::raw_http::Request::new("PUT", target.clone()).body(body);
        request.header("x-ms-blob-type", "BlockBlob").header("Content-MD5", &md5)
    };
    let answer = testkit::raw_http::Door::plain(server.server.port()).ask(&request_of(vec![2; 100])).unwrap();
    assert_eq!(answer.status, 400, "{}", answer.text());
    let same = request_of(vec![1; 100]);
    assert_eq!(testkit::raw_http::Door::plain(server.server.port()).ask(&same).unwrap().status, 201);
}

/// The MD5 that our client sends with these bytes.
async fn md5_of(bytes: Vec<u8>) -> String {
    let (server, place) = told(|_| answer("201 Created", &["ETag: \"x\""], b"")).await;
    let (name, bytes) = named(bytes);
    place.write(name, bytes).await.unwrap();
    server.asked()[0].header("content-md5").unwrap().to_owned()
}

/// A server that answers as told.
async fn told(said: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static) -> (Scripted, AzureContainer) {
    let server = Scripted::start(move |asked| Act::Say(said(asked))).await;
    let place = bare("box", access(&format!("http://{}/acc", server.address)));
    (server, place)
}

#[tokio::test]
async fn a_listing_goes_on_to_its_end_or_is_none() {
    let page = |number: u8, next: &str| {
        let id = format!("{number:02x}").repeat(32);
        format!(
            "\u{feff}<?xml version=\"1.0\"?><EnumerationResults><Blobs><Blob><Name>pre/fix/keys/{id}</Name><Properties>\
             <Content-Length>5</Content-Length></Properties></Blob></Blobs><NextMarker>{next}</NextMarker></EnumerationResults>"
        )
    };
    let (first, last) = (page(1, "m/1"), page(2, ""));
    let endless = page(3, "m/1");
    for (second, whole) in [
        (answer("200 OK", &[], last.as_bytes()), true),
        (answer("503 Busy", &[], b""), false),
        (answer("200 OK", &[], endless.as_bytes()), false),
        (answer("200 OK", &[], &last.as_bytes()[..last.len() - 9]), false),
        (b"HTTP/1.1 2".to_vec(), false),
    ] {
        let first = answer("200 OK", &[], first.as_bytes());
        let (server, place) =
            told(move |asked| if asked.target.contains("marker=") { second.clone() } else { first.clone() }).await;
        let listed = place.list(FileKind::Key).await;
        assert_eq!(listed.map(|listed| listed.len()).ok(), whole.then_some(2));
        let asked = server.asked();
        assert_eq!(asked.len(), 2);
        assert!(asked[1].target.contains("prefix=pre%2Ffix%2Fkeys%2F&marker=m%2F1"), "{}", asked[1].target);
    }
}

#[tokio::test]
async fn what_may_not_be_replaced_is_stored_when_it_is_the_same() {
    let (name, bytes) = named(vec![1; 50]);
    let stored = bytes.clone();
    let immutable = "x-ms-error-code: BlobImmutableDueToPolicy";
    let (_, place) = told(move |asked| match asked.verb.as_str() {
        "GET" => answer("200 OK", &[], &stored),
        _ => answer("409 Conflict", &[immutable], b""),
    })
    .await;
    place.write(name, bytes).await.unwrap();
    let fault = place.write(name, Bytes::from_static(b"other")).await.expect_err("other bytes");
    assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
    let fault = place.remove(name).await.expect_err("it is kept");
    assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
    assert!(fault.cause.contains("BlobImmutableDueToPolicy"), "{fault}");
}

#[tokio::test]
async fn the_codes_of_azure_say_more_than_its_statuses() {
    for (status, code, kind) in [
        ("400 Bad Request", "InvalidAuthenticationInfo", FaultKind::Denied),
        ("403 Forbidden", "AuthenticationFailed", FaultKind::Denied),
        ("400 Bad Request", "AccountRequiresHttps", FaultKind::Misconfigured),
        ("409 Conflict", "ContainerBeingDeleted", FaultKind::Failing),
        ("409 Conflict", "BlobArchived", FaultKind::Refused),
        ("412 Precondition Failed", "LeaseIdMissing", FaultKind::Denied),
        ("400 Bad Request", "Md5Mismatch", FaultKind::Failing),
        ("503 Busy", "ServerBusy", FaultKind::Failing),
    ] {
        let xml =
            format!("\u{feff}<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>in words</Message></Error>");
        let (_, place) = told(move |_| answer(status, &["Retry-After: 7"], xml.as_bytes())).await;
        let fault = place.read(FileName::CONFIG, Span::Whole).await.expect_err(code);
        assert_eq!(fault.kind, kind, "{fault}");
        assert!(fault.cause.contains(code) && fault.cause.contains("in words"), "{fault}");
        assert_eq!(fault.wait.map(|wait| wait.as_secs()), Some(7));
    }
    let (_, place) = told(|_| answer("200 OK", &[], b"<html>log in first</html>")).await;
    let fault = place.write(FileName::CONFIG, Bytes::from_static(b"x")).await.expect_err("a friendly page");
    assert_eq!(fault.kind, FaultKind::Failing, "{fault}");
}
