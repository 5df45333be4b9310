//! Every route, for everybody who may ask: nobody, somebody else, one whose credential was revoked, and the three roles.
//!
//! A route without a row does not compile: the rows are a `match` without a rest. So do the paths of the administration
//! and of monitors, which are taken from the published description; there a missing row fails the test.

use std::net::Ipv4Addr;

use format::{FileKind, FileName};
use http::Method;
use store::{RepositoryPlace, Route};
use testkit::raw_http::{Door, Request};
use testkit::store_server::Account;

use crate::ground::{PRUNER, READER, served};
use crate::peer::{ALICE, BOB, address};

/// Who asks, in the order of a row's columns.
const COLUMNS: [&str; 6] = ["nobody", "wrong account", "revoked", "read", "append", "full"];

/// What each of them is told when the thing is there and old enough.
fn row(route: &Route) -> [u16; 6] {
    match route {
        Route::Create(_) => [401, 401, 401, 403, 200, 200],
        Route::List(_, kind) => match kind {
            // A config is no folder: no such route can be asked for.
            FileKind::Config => [0; 6],
            FileKind::Key | FileKind::Pack | FileKind::Index | FileKind::Snapshot | FileKind::Lock => {
                [401, 401, 401, 200, 200, 200]
            }
        },
        Route::Stat(..) | Route::Read(..) => [401, 401, 401, 200, 200, 200],
        Route::Store(..) => [401, 401, 401, 403, 200, 200],
        Route::Remove(_, name) => match name.kind() {
            FileKind::Lock => [401, 401, 401, 403, 200, 200],
            FileKind::Config | FileKind::Key | FileKind::Pack | FileKind::Index | FileKind::Snapshot => {
                [401, 401, 401, 403, 403, 200]
            }
        },
    }
}

/// The bytes of the file of each kind.
fn content(kind: FileKind) -> Vec<u8> {
    format!("the {} of this test", kind.folder()).into_bytes()
}

fn name(kind: FileKind) -> FileName {
    FileName::new(kind, format::hash(&content(kind)))
}

/// Every route that there can be, with the request that asks for it.
fn routes() -> Vec<(Route, Request)> {
    let place = RepositoryPlace { account: ALICE.0.parse().unwrap(), repository: "main".parse().unwrap() };
    let root = format!("/{place}/");
    let mut routes = vec![(Route::Create(place.clone()), Request::post(format!("{root}?create=true"), b""))];
    for kind in FileKind::NAMED {
        let request = Request::get(format!("{root}{}/", kind.folder()));
        routes.push((Route::List(place.clone(), kind), request));
    }
    for kind in FileKind::ALL {
        let path = address(&root, kind, &content(kind));
        routes.push((Route::Stat(place.clone(), name(kind)), Request::new("HEAD", path.clone())));
        routes.push((Route::Read(place.clone(), name(kind)), Request::get(path.clone())));
        routes.push((Route::Store(place.clone(), name(kind)), Request::post(path.clone(), content(kind))));
        routes.push((Route::Remove(place.clone(), name(kind)), Request::new("DELETE", path)));
    }
    routes
}

/// Every file is there again.
fn fill(door: &Door) {
    for (route, request) in routes() {
        if matches!(route, Route::Create(_) | Route::Store(..)) {
            assert_eq!(door.ask(&request.login(PRUNER.0, PRUNER.1)).unwrap().status, 200);
        }
    }
}

#[test]
fn every_route_answers_everybody_as_its_row_says() {
    let server = served();
    let revoked = Account::credential(ALICE.0, "old", "fifth password", "full");
    server.ground.add(&revoked).unwrap();
    let door = server.door();
    fill(&door);
    // It has opened something, so that the server remembers it; and then it is taken away.
    let old = ("alice+old", "fifth password");
    assert_eq!(door.ask(&Request::get("/alice/main/config").login(old.0, old.1)).unwrap().status, 200);
    server.ground.ok(&["credential", "remove", old.0]).unwrap();

    let logins = [None, Some(BOB), Some(old), Some(READER), Some(ALICE), Some(PRUNER)];
    let mut wrong = Vec::new();
    let mut cells = 0;
    for (number, (route, request)) in routes().into_iter().enumerate() {
        // Whoever fails too often is told to wait, and nothing else: each route is asked from an address of its own.
        let door = door.from_address(Ipv4Addr::new(127, 0, 1, u8::try_from(number).unwrap() + 1));
        // The grammar has to agree that this request asks for this route.
        let target = request.target();
        let (path, query) = target.split_once('?').map_or((target.as_str(), None), |(path, query)| (path, Some(query)));
        let method: Method = request.method().parse().unwrap();
        assert_eq!(Route::parse(&method, path, query).unwrap(), route);
        for ((column, login), wanted) in COLUMNS.iter().zip(logins).zip(row(&route)) {
            let asked = match login {
                Some((user, password)) => request.clone().login(user, password),
                None => request.clone(),
            };
            let answer = door.ask(&asked).unwrap();
            cells += 1;
            if answer.status != wanted {
                wrong.push(format!("{} {target} by {column}: {} and not {wanted}", request.method(), answer.status));
            }
            if matches!(route, Route::Remove(..)) && answer.status == 200 {
                fill(&door);
            }
        }
    }
    println!("{cells} cells");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What each of them is told at one of the server's own paths; nothing for a path that has no row.
fn own_row(method: &str, path: &str) -> Option<[u16; 6]> {
    match (method, path) {
        // No login of an account ever opens the administration, nor what monitors see of all accounts.
        (
            "get" | "post",
            "/-/admin/v1/accounts" | "/-/admin/v1/accounts/{account}/credentials" | "/-/admin/v1/tokens",
        )
        | ("get" | "delete" | "patch", "/-/admin/v1/accounts/{account}")
        | ("delete" | "patch", "/-/admin/v1/accounts/{account}/credentials/{label}")
        | ("post", "/-/admin/v1/accounts/{account}/purge")
        | ("delete", "/-/admin/v1/tokens/{name}")
        | ("get", "/metrics") => Some([401; 6]),
        // Whoever has a credential sees its own account; somebody else sees somebody else's.
        ("get", "/-/status/v1/repositories") => Some([401, 200, 401, 200, 200, 200]),
        ("get", "/-/health") => Some([200; 6]),
        _ => None,
    }
}

/// The published description, which a test of the store holds current.
fn published() -> Vec<(String, String)> {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/store-openapi.json");
    let document: serde_json::Value = serde_json::from_slice(&std::fs::read(document).unwrap()).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(move |method| (method.clone(), path.clone()))
        })
        .collect()
}

#[test]
fn every_path_of_the_servers_own_answers_everybody_as_its_row_says() {
    let server = served();
    let token = |name: &str, scope: &str| {
        let said = server.ground.ok(&["token", "add", name, "--scope", scope]).unwrap();
        format!("Bearer {}", said.text().trim())
    };
    let (admin, observe) = (token("admin", "admin"), token("watch", "observe"));
    let logins = [None, Some(BOB), Some(("alice+old", "fifth password")), Some(READER), Some(ALICE), Some(PRUNER)];
    let published = published();
    assert!(published.len() >= 16, "{published:?}");
    for (number, (method, path)) in published.iter().enumerate() {
        let row = own_row(method, path).unwrap_or_else(|| panic!("{method} {path} has no row"));
        let door = server.door().from_address(Ipv4Addr::new(127, 0, 3, u8::try_from(number).unwrap() + 1));
        let target = path.replace("{account}", "nobody").replace("{label}", "none").replace("{name}", "none");
        let request = Request::new(&method.to_uppercase(), target).header("Content-Type", "application/json");
        for ((column, login), wanted) in COLUMNS.iter().zip(logins).zip(row) {
            let asked = match login {
                Some((user, password)) => request.clone().login(user, password),
                None => request.clone(),
            };
            assert_eq!(door.ask(&asked).unwrap().status, wanted, "{method} {path} by {column}");
        }
        let by = |bearer: &str| door.ask(&request.clone().header("Authorization", bearer)).unwrap().status;
        let is_admins = path.starts_with("/-/admin/");
        assert_eq!(by(&observe) == 403, is_admins, "{method} {path} by a monitor");
        assert!(![401, 403].contains(&by(&admin)), "{method} {path} by the administrator");
        let forged = by("Bearer 0000000000000000000000000000000000000000000000000000000000000000");
        assert_eq!(forged == 200, row[0] == 200, "{method} {path} by a forged token");
    }
}
