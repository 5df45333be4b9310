//! The administration and the status: who may ask, what each route does, and that the document of them is current.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use base64::Engine;
use clock::FakeClock;
use format::{FileKind, FileName};
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use jiff::{Timestamp, tz::TimeZone};
use model::{ExposeSecret, Id};
use serde_json::{Value, json};
use store::accounts::Scope;
use store::login::LoginSettings;
use store::serve::PeerAddress;
use store::{Gate, RefusalKind, RepositoryPlace, State, Steward, Vault};
use tower::ServiceExt;

struct Place {
    folder: tempfile::TempDir,
    steward: Arc<Steward>,
    vault: Vault,
    router: axum::Router,
    admin: String,
    observer: String,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(FakeClock::new(Timestamp::from_second(1_800_000_000).unwrap(), TimeZone::UTC));
        Vault::create(folder.path()).unwrap();
        State::create(folder.path()).unwrap();
        let state = Arc::new(State::open(folder.path(), clock).unwrap());
        let token = |name, scope| format!("Bearer {}", state.add_token(name, scope, None).unwrap().expose_secret());
        let (admin, observer) = (token("admin", Scope::Admin), token("observer", Scope::Observe));
        let settings = LoginSettings { refusal_milliseconds: 0, ..LoginSettings::default() };
        let steward = Arc::new(Steward::begin(state, settings, None).unwrap());
        let vault = Vault::open(folder.path()).unwrap();
        let router = store::admin::router(steward.clone(), vault.clone());
        Self { folder, steward, vault, router, admin, observer }
    }

    async fn ask(&self, method: Method, path: &str, authorization: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json");
        if !authorization.is_empty() {
            request = request.header(AUTHORIZATION, authorization);
        }
        let body = body.map_or(Body::empty(), |body| Body::from(body.to_string()));
        let mut request = request.body(body).unwrap();
        request.extensions_mut().insert(PeerAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        assert_eq!(response.headers().contains_key(WWW_AUTHENTICATE), status == StatusCode::UNAUTHORIZED);
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn admin(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        self.ask(method, &format!("/-/admin/v1/{path}"), &self.admin, body).await
    }

    async fn may_log_in(&self, login: &str, password: &str) -> bool {
        self.steward.admit(Ipv4Addr::LOCALHOST.into(), Some(&basic(login, password).parse().unwrap())).await.is_ok()
    }

    async fn store(&self, place: &RepositoryPlace, kind: FileKind, content: &[u8]) -> FileName {
        self.vault.create_repository(place).unwrap();
        self.steward.created(place).await.unwrap();
        let room = self.steward.reserve(place, content.len() as u64).unwrap();
        let mut incoming = self.vault.incoming().unwrap();
        incoming.write(&[bytes::Bytes::copy_from_slice(content)]).unwrap();
        let name = FileName::new(kind, incoming.id());
        incoming.place(place, name).unwrap();
        self.steward.stored(place, name, content.len() as u64, room).await.unwrap();
        name
    }
}

fn basic(login: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{login}:{password}")))
}

fn at(account: &str) -> RepositoryPlace {
    RepositoryPlace { account: account.parse().unwrap(), repository: "main".parse().unwrap() }
}

#[test]
fn the_document_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/store-openapi.json");
    let document = store::admin::document().unwrap();
    if std::env::var_os("TRIPLICATE_WRITE_DOCUMENTS").is_some() {
        std::fs::write(&path, &document).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == document, "docs/store-openapi.json is out of date: TRIPLICATE_WRITE_DOCUMENTS=1 writes it");
}

/// Every route of the document, asked by everybody who must not be let in.
#[tokio::test]
async fn no_route_answers_without_the_right_token() {
    let place = Place::new();
    place
        .admin(
            Method::POST,
            "accounts",
            Some(json!({"name": "alice", "credential": {"role": "full", "password": "alices own"}})),
        )
        .await;
    let document: Value = serde_json::from_str(&store::admin::document().unwrap()).unwrap();
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let address = path.replace("{account}", "alice").replace("{label}", "-").replace("{name}", "x");
        for method in methods.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let forged = format!("Bearer trps_{}", "A".repeat(43));
            for header in ["", "Bearer", "Bearer x", &forged, "Basic YTpi", &place.admin.replace("Bearer", "Basic")] {
                let (status, answer) = place.ask(method.clone(), &address, header, None).await;
                match path.as_str() {
                    "/-/health" => assert_eq!(status, StatusCode::OK),
                    _ => assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path} {header}: {answer}"),
                }
                asked += 1;
            }
            for header in [&place.observer, &basic("alice", "alices own")] {
                let (status, answer) = place.ask(method.clone(), &address, header, None).await;
                if path.starts_with("/-/admin/") {
                    let is_refused = [StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED].contains(&status);
                    assert!(is_refused, "{method} {path} {header}: {status} {answer}");
                }
            }
        }
    }
    assert!(asked > 60, "{asked}");
    let alice = place.steward.state().book().unwrap().account(&"alice".parse().unwrap()).unwrap().clone();
    assert!(alice.is_open(), "nothing was changed");
}

#[tokio::test]
async fn an_account_from_its_beginning_to_its_end() {
    let place = Place::new();
    let new = json!({"name": "alice", "quota_bytes": 1000, "credential": {"role": "append"}});
    let (status, granted) = place.admin(Method::POST, "accounts", Some(new.clone())).await;
    assert_eq!(status, StatusCode::CREATED);
    let password = granted["password"].as_str().unwrap();
    assert!(password.len() >= 32 && place.may_log_in("alice", password).await);
    let (status, answer) = place.admin(Method::POST, "accounts", Some(new)).await;
    assert_eq!((status, &answer["code"]), (StatusCode::CONFLICT, &json!("account_exists")));

    let lease =
        json!({"label": "lease", "role": "full", "password": "for an hour", "expires_at": "2027-01-15T09:00:00Z"});
    let (status, granted) = place.admin(Method::POST, "accounts/alice/credentials", Some(lease)).await;
    assert_eq!((status, granted), (StatusCode::CREATED, json!({"login": "alice+lease"})));
    assert!(place.may_log_in("alice+lease", "for an hour").await);

    let changes = json!({"quota_bytes": null, "quota_files": 9, "minimum_age_seconds": 60});
    let (_, shown) = place.admin(Method::PATCH, "accounts/alice", Some(changes)).await;
    assert_eq!((&shown["quota_bytes"], &shown["quota_files"]), (&Value::Null, &json!(9)));
    assert_eq!((&shown["minimum_age_seconds"], &shown["quota_repositories"]), (&json!(60), &Value::Null));
    assert_eq!(shown["credentials"][1]["role"], "full");

    let changes = json!({"role": "read", "generate_password": true});
    let (_, granted) = place.admin(Method::PATCH, "accounts/alice/credentials/-", Some(changes)).await;
    assert!(!place.may_log_in("alice", password).await);
    assert!(place.may_log_in("alice", granted["password"].as_str().unwrap()).await);
    let (status, _) = place.admin(Method::DELETE, "accounts/alice/credentials/lease", None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert!(!place.may_log_in("alice+lease", "for an hour").await);

    let name = place.store(&at("alice"), FileKind::Pack, b"sealed").await;
    let (status, answer) = place.admin(Method::POST, "accounts/alice/purge", Some(json!({"name": "alice"}))).await;
    assert_eq!((status, &answer["code"]), (StatusCode::CONFLICT, &json!("not_removed")));
    let (_, removed) = place.admin(Method::DELETE, "accounts/alice", None).await;
    assert_eq!((&removed["usage"]["files"], &removed["credentials"]), (&json!(1), &json!([])));
    assert!(place.vault.stat(&at("alice"), name).is_ok(), "what was stored stays");
    let (status, _) = place.admin(Method::POST, "accounts/alice/purge", Some(json!({"name": "alicia"}))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, purged) = place.admin(Method::POST, "accounts/alice/purge", Some(json!({"name": "alice"}))).await;
    assert_eq!((status, purged), (StatusCode::OK, json!({"repositories": 1, "files": 1})));
    assert!(place.vault.stat(&at("alice"), name).is_err());
    assert_eq!(place.admin(Method::GET, "accounts", None).await.1, json!([]));
    assert_eq!(place.steward.holdings().holding(&at("alice").account).bytes, 0);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_a_short_document() {
    let place = Place::new();
    for (method, path, body, status, code) in [
        (Method::POST, "accounts", json!({"name": "../x"}), 400, "invalid"),
        (Method::POST, "accounts", json!({"name": "a", "qouta_bytes": 1}), 422, "invalid"),
        (Method::POST, "accounts", json!({"name": "a", "quota_bytes": -1}), 422, "invalid"),
        (Method::POST, "accounts", json!({"name": "a", "quota_bytes": u64::MAX}), 400, "invalid"),
        (Method::POST, "accounts", json!({"name": "a", "credential": {"role": "root"}}), 422, "invalid"),
        (
            Method::POST,
            "accounts",
            json!({"name": "a", "credential": {"role": "read", "password": "short"}}),
            400,
            "invalid",
        ),
        (Method::POST, "accounts", json!("x".repeat(100_000)), 413, "invalid"),
        (Method::GET, "accounts/nobody", Value::Null, 404, "no_account"),
        (Method::GET, "accounts/no%2f%2e%2e", Value::Null, 400, "invalid"),
        (Method::PATCH, "accounts/nobody", json!({}), 404, "no_account"),
        (Method::DELETE, "accounts/nobody/credentials/-", Value::Null, 404, "no_credential"),
        (Method::DELETE, "tokens/nothing", Value::Null, 404, "no_token"),
        (Method::GET, "nothing", Value::Null, 404, "no_path"),
        (Method::PUT, "accounts", json!({}), 405, "no_method"),
    ] {
        let (found, answer) = place.admin(method.clone(), path, Some(body)).await;
        assert_eq!((found.as_u16(), answer["code"].as_str()), (status, Some(code)), "{method} {path}: {answer}");
        assert!(answer.to_string().len() < 400, "{answer}");
    }
    assert_eq!(place.admin(Method::GET, "accounts", None).await.1, json!([]));
}

#[tokio::test]
async fn tokens_are_shown_once_and_revoked_at_once() {
    let place = Place::new();
    let (status, granted) =
        place.admin(Method::POST, "tokens", Some(json!({"name": "grafana", "scope": "observe"}))).await;
    assert_eq!(status, StatusCode::CREATED);
    let token = format!("Bearer {}", granted["token"].as_str().unwrap());
    assert_eq!(place.ask(Method::GET, "/metrics", &token, None).await.0, StatusCode::OK);
    let (_, listed) = place.admin(Method::GET, "tokens", None).await;
    assert_eq!(listed.as_array().unwrap().len(), 3);
    assert!(!listed.to_string().contains(granted["token"].as_str().unwrap()));
    assert_eq!(place.admin(Method::DELETE, "tokens/grafana", None).await.0, StatusCode::NO_CONTENT);
    assert_eq!(place.ask(Method::GET, "/metrics", &token, None).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn status_and_metrics_tell_a_monitor_what_it_needs_and_an_account_its_own() {
    let place = Place::new();
    for name in ["alice", "bob"] {
        let new =
            json!({"name": name, "quota_bytes": 5000, "credential": {"role": "append", "password": "a password"}});
        assert_eq!(place.admin(Method::POST, "accounts", Some(new)).await.0, StatusCode::CREATED);
        place.store(&at(name), FileKind::Key, b"a key").await;
        place.store(&at(name), FileKind::Snapshot, name.as_bytes()).await;
    }
    place.steward.refused(Some(&at("alice")), RefusalKind::Floor);
    place.steward.refused(Some(&at("ghost")), RefusalKind::Login);
    let path = "/-/status/v1/repositories";
    let (_, status) = place.ask(Method::GET, path, &place.observer, None).await;
    let alice = &status["repositories"][0];
    assert_eq!((&alice["account"], &alice["repository"]), (&json!("alice"), &json!("main")));
    assert_eq!(alice["last_snapshot_received_at"], "2027-01-15T08:00:00Z");
    assert_eq!(
        (&alice["files"], &alice["bytes"], &alice["kinds"]["keys"]["files"]),
        (&json!(2), &json!(10), &json!(1))
    );
    assert_eq!((&alice["refused"]["floor"], &status["refused_elsewhere"]["login"]), (&json!(1), &json!(1)));
    assert_eq!(status["repositories"].as_array().unwrap().len(), 2);

    let (_, own) = place.ask(Method::GET, path, &basic("bob", "a password"), None).await;
    assert_eq!(own["repositories"].as_array().unwrap().len(), 1);
    assert!(!own.to_string().contains("alice") && own.get("refused_elsewhere").is_none());
    assert_eq!(place.ask(Method::GET, "/metrics", &basic("bob", "a password"), None).await.0, StatusCode::UNAUTHORIZED);

    let (_, metrics) = place.ask(Method::GET, "/metrics", &place.observer, None).await;
    for line in [
        r#"triplicate_store_last_snapshot_received_seconds{account="alice",repository="main"} 1800000000"#,
        r#"triplicate_store_files{account="bob",repository="main",kind="snapshots"} 1"#,
        r#"triplicate_store_refused_requests_total{account="alice",repository="main",reason="floor"} 1"#,
        r#"triplicate_store_account_quota_bytes{account="bob"} 5000"#,
        "# EOF",
    ] {
        assert!(metrics.as_str().unwrap().contains(line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn health_tells_whether_the_state_can_be_used_and_nothing_else() {
    let place = Place::new();
    assert_eq!(place.ask(Method::GET, "/-/health", "", None).await, (StatusCode::OK, json!("ok\n")));
    std::fs::rename(place.steward.state().path(), place.folder.path().join("aside")).unwrap();
    let (status, answer) = place.ask(Method::GET, "/-/health", "", None).await;
    assert_eq!((status, answer), (StatusCode::SERVICE_UNAVAILABLE, json!("closed\n")));
    let (status, answer) = place.admin(Method::GET, "accounts", None).await;
    assert_eq!((status, &answer["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("closed")));
    assert!(!answer.to_string().contains("sqlite"), "{answer}");
}

#[tokio::test]
async fn ids_are_never_given_twice() {
    let place = Place::new();
    let new = json!({"name": "alice", "credential": {"role": "append", "password": "the first one"}});
    place.admin(Method::POST, "accounts", Some(new)).await;
    place.store(&at("alice"), FileKind::Pack, b"sealed").await;
    assert!(place.may_log_in("alice", "the first one").await);
    place.admin(Method::DELETE, "accounts/alice", None).await;
    place.admin(Method::POST, "accounts/alice/purge", Some(json!({"name": "alice"}))).await;
    let new = json!({"name": "alice", "credential": {"role": "append", "password": "the second one"}});
    assert_eq!(place.admin(Method::POST, "accounts", Some(new)).await.0, StatusCode::CREATED);
    assert!(!place.may_log_in("alice", "the first one").await);
    assert!(place.may_log_in("alice", "the second one").await);
    place.steward.may_remove(&at("alice"), FileName::pack(Id::default())).await.unwrap();
    assert_eq!(place.steward.holdings().holding(&at("alice").account).files, 0);
}
