//! The right to remove, lent for a time: a credential that ends by itself. Forged, replayed and expired ones open nothing.

use std::time::Duration;

use format::FileKind;
use testkit::process::wait_until;
use testkit::raw_http::Request;
use testkit::store_server::Account;

use crate::ground::served;
use crate::peer::{ALICE, address};

const LEASE: (&str, &str) = ("alice+lease", "seventh password");
const PACK: &[u8] = b"a pack that is to go";
const END_LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_lease_ends_by_itself_and_no_other_takes_its_place() {
    let server = served();
    let door = server.door();
    let root = "/alice/main/";
    let target = address(root, FileKind::Pack, PACK);
    let ask = |request: Request, login: (&str, &str)| door.ask(&request.login(login.0, login.1)).unwrap().status;
    assert_eq!(ask(Request::post(format!("{root}?create=true"), b""), ALICE), 200);
    let store = || assert_eq!(ask(Request::post(target.clone(), PACK), ALICE), 200);
    let remove = |login| ask(Request::new("DELETE", target.clone()), login);
    store();
    // Forged: nobody was given it.
    assert_eq!(remove(LEASE), 401);
    assert_eq!(remove(ALICE), 403);

    let lease = Account::credential(ALICE.0, "lease", LEASE.1, "full").with(&["--expires-in", "20s"]);
    server.ground.add(&lease).unwrap();
    assert_eq!(remove(LEASE), 200);
    store();
    assert_eq!(remove(("alice+lease", ALICE.1)), 401);
    // It is known to the server, and used all the time: it ends nevertheless.
    assert!(wait_until(END_LIMIT, || {
        let read = ask(Request::get(target.clone()), LEASE);
        assert!([200, 401].contains(&read), "{read}");
        read == 401
    }));
    assert_eq!(remove(LEASE), 401);
    // Replayed: the next one of the same name has another password.
    server.ground.ok(&["credential", "remove", LEASE.0]).unwrap();
    assert_eq!(remove(LEASE), 401);
    let next = Account::credential(ALICE.0, "lease", "eighth password", "full").with(&["--expires-in", "5m"]);
    server.ground.add(&next).unwrap();
    assert_eq!(remove(LEASE), 401);
    assert_eq!(ask(Request::get(target.clone()), ALICE), 200);
    assert_eq!(remove(("alice+lease", "eighth password")), 200);
}
