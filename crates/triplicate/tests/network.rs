//! One of three copies is behind a network that fails: what the user sees, and what the next run makes of it.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod program;

use std::path::Path;

use program::{Ground, text};
use testkit::proxy::{At, Break, HttpFault, Rule};
use testkit::{FaultProxy, Oracle, RestServer, RestServerOptions, Verb};

#[test]
fn a_run_with_one_failing_copy_is_partial_and_the_next_one_heals() {
    let Some(server) = RestServer::start(&RestServerOptions::open()) else { return };
    let proxy = FaultProxy::start(server.server.port());
    let ground = Ground::new();
    let address = proxy.through(&server.repository("repo"));
    let call = |words: &[&str]| {
        let mut all = vec!["-r", "1", "-r", "2", "-r", &address, "--retry-total", "2s"];
        all.extend(words);
        ground.call(&all)
    };
    call(&["init"]).expect_code(0);
    call(&["backup", &ground.source()]).expect_code(0);
    for (number, fault) in [
        HttpFault::status(507),
        HttpFault::status(403),
        HttpFault::retry_after(503, 3600),
        HttpFault::Break(Break::Reset, At::Request(500)),
    ]
    .into_iter()
    .enumerate()
    {
        std::fs::write(ground.path("source/new"), format!("new {number}")).unwrap();
        let shown = format!("{fault:?}");
        proxy.follow([Rule::new(fault).on(Verb::Write).from(2)]);
        let ended = call(&["backup", &ground.source()]).expect_code(3);
        assert!(proxy.fired() > 0, "{shown}");
        let said = format!("{}{}", ended.text(), ended.errors);
        // It names the place and what could not be done there.
        assert!(said.contains(&address), "{shown}: {said}");
        assert!(said.contains("data/") || said.contains("index/"), "{shown}: {said}");
        proxy.heal();
        assert_eq!(call(&["copies", "status"]).code, Some(21), "{shown}: the copy is behind");
        call(&["backup", &ground.source()]).expect_code(0);
        call(&["copies", "status"]).expect_code(0);
        // Everything comes back from this copy alone.
        let target = ground.path(&format!("restored-{number}"));
        ground.call(&["-r", &address, "restore", "latest", "--target", &text(&target)]).expect_code(0);
        let restored = target.join(Path::new(&ground.source()).strip_prefix("/").unwrap()).join("new");
        assert_eq!(std::fs::read(restored).unwrap(), format!("new {number}").as_bytes(), "{shown}");
    }
    if let Some(restic) = Oracle::restic("0.19", &text(&server.folder("repo")), program::PASSWORD) {
        restic.check(true);
    }
}
