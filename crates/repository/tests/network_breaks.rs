//! Connections that break at any byte of any request: what was asked is done in the end, on every copy, and once.
//!
//! `TRIPLICATE_EXHAUSTIVE=1` runs all 400 cases on each kind of server that speaks HTTP instead of a sample.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod network;
mod room;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use destinations::{Limits, Span};
use format::{FileKind, FileName};
use model::Verdict;
use network::{Base, EXHAUSTIVE, Kind, LIMITS, Server, Three};
use network::{asked_in_a_run, chosen, ensure, for_each_case, only, patient, sample_of};
use testkit::proxy::{At, Break, HttpFault, Rule};
use testkit::{RestServerOptions, Verb};

/// Of the first kinds of server and of each other one, in a run without the variable.
const SAMPLES: [usize; 2] = [16, 2];

/// What a run backs up.
const NEW_BYTES: usize = 150_000;

const VERBS: [Verb; 5] = [Verb::Write, Verb::Read, Verb::List, Verb::Remove, Verb::Stat];

/// Ten places in the request and ten in the reply.
const THOUSANDTHS: [u16; 10] = [0, 1, 50, 200, 400, 600, 800, 950, 999, 1000];

#[derive(Debug, Clone, Copy)]
struct Case {
    verb: Verb,
    at: At,
    how: Break,
    /// At which request of the verb.
    number: u64,
}

/// Every request of a run has its turn: where one thing that is done takes several, also those in between.
fn all_cases(server: &Server) -> Vec<Case> {
    let mut cases = Vec::new();
    for verb in VERBS {
        let of_run = asked_in_a_run(server, NEW_BYTES, |asked| asked.verb == verb);
        for thousandths in THOUSANDTHS {
            for at in [At::Request(thousandths), At::Reply(thousandths)] {
                for how in Break::ALL {
                    // Some kinds have no request of their own for some verbs.
                    let number = 1 + cases.len() as u64 % of_run.max(1);
                    cases.extend((of_run > 0).then_some(Case { verb, at, how, number }));
                }
            }
        }
    }
    assert!(cases.len() >= 240, "{} cases", cases.len());
    cases
}

fn a_run_endures(base: &Base, server: &Server, case: &Case) -> Result<(), String> {
    let three = Three::new(base, server);
    let proxy = &three.behind.proxy;
    proxy.follow(only(Rule::new(HttpFault::Break(case.how, case.at)).on(case.verb).from(case.number).times(1)));
    let report = three.run(&if case.how.is_silent() { LIMITS } else { patient(LIMITS) })?;
    ensure(proxy.fired() == 1, || format!("the fault came {} times", proxy.fired()))?;
    ensure(report.verdict == Verdict::Ok, || format!("{:?}: {:?}", report.verdict, report.copies))?;
    three.healthy_copies_are_whole(&report)?;
    three.all_copies_are_equal()?;
    let is_sampled = std::env::var_os(EXHAUSTIVE).is_some() || case.number == 1;
    if is_sampled { three.behind.restic_check() } else { Ok(()) }
}

fn every_break_is_endured(kind: Kind) {
    let Some(server) = Server::start(kind) else { return };
    let (what, [of_the_first, of_others]) = (format!("breaks on {kind:?}"), SAMPLES);
    let cases = chosen(all_cases(&server), sample_of(kind, of_the_first, of_others), &what);
    for_each_case(&what, &cases, NEW_BYTES, |base, case| a_run_endures(base, &server, case));
}

mod a_run_endures_a_break_at_any_byte_before {
    crate::network::for_kinds!(super::every_break_is_endured, over http);
}

#[test]
fn an_upload_whose_reply_was_lost_is_a_success_when_it_is_repeated() {
    let login = vec![(network::USER.to_owned(), network::USER_PASSWORD.to_owned())];
    let open = RestServerOptions { users: login, tls: None, ..RestServerOptions::default() };
    let append_only = RestServerOptions { append_only: true, ..open.clone() };
    let base = Base::new(150_000);
    for (kind, options) in [(Kind::Rest, &open), (Kind::Rest, &append_only), (Kind::S3, &open)] {
        let Some(server) = Server::start_with(kind, options) else { continue };
        for lost in [FileKind::Pack, FileKind::Index, FileKind::Snapshot] {
            let three = Three::new(&base, &server);
            let rule = Rule::new(HttpFault::lost_reply()).on(Verb::Write).of(lost).times(2);
            three.behind.proxy.follow(only(rule));
            let report = three.run(&LIMITS).unwrap();
            assert_eq!(three.behind.proxy.fired(), 2);
            assert_eq!(report.verdict, Verdict::Ok, "{kind:?} {lost:?}: {:?}", report.copies);
            three.all_copies_are_equal().unwrap();
            three.behind.restic_check().unwrap();
        }
    }
}

/// Uploads of one name at one time, a third of which break in the middle, leave one object with the right bytes. What
/// broken uploads leave behind goes away without taking it along.
#[test]
fn a_hundred_uploads_of_one_name_leave_one_right_object() {
    const UPLOADS: usize = 100;
    let limits = Limits { connections: UPLOADS, ..LIMITS };
    for kind in Kind::BOTH {
        let Some(server) = Server::start(kind) else { continue };
        let base = Base::new(1000);
        let three = Three::new(&base, &server);
        let runtime = &base.room.runtime;
        let destination = {
            let _inside = runtime.enter();
            three.behind.destination(&limits)
        };
        let bytes = Bytes::from(testkit::Random::new(5).bytes(256 << 10));
        let name = FileName::pack(format::hash(&bytes));
        let broken = |how, from| Rule::new(HttpFault::Break(how, At::Request(500))).on(Verb::Write).from(from);
        three.behind.proxy.follow([
            broken(Break::Reset, 1).times(12),
            broken(Break::Drop, 30).times(11),
            broken(Break::Finish, 60).times(11),
        ]);
        let results = runtime.block_on(futures::future::join_all((0..UPLOADS).map(|_| {
            let (destination, bytes) = (Arc::clone(&destination), bytes.clone());
            runtime.spawn(async move { destination.write(name, bytes).await })
        })));
        for result in results {
            result.unwrap().unwrap();
        }
        assert_eq!(three.behind.proxy.fired(), 34);
        let there = |three: &Three<'_>| three.behind.files().get(&name.path()).is_some_and(|there| *there == bytes);
        assert!(there(&three), "{kind:?}");
        assert_eq!(runtime.block_on(destination.read(name, Span::Whole)).unwrap(), bytes);
        // Uploads that hang end when the proxy does, and the server clears up.
        let Three { behind, healthy, .. } = three;
        let rubbish = behind.rubbish();
        let name_of_place = behind.name.clone();
        drop(behind);
        let mut behind = server.behind_proxy();
        behind.name = name_of_place;
        assert!(
            testkit::process::wait_until(Duration::from_secs(30), || behind.rubbish() == 0),
            "{kind:?}: {} of {rubbish} drafts stay",
            behind.rubbish()
        );
        let three = Three { base: &base, behind, healthy };
        assert!(there(&three), "{kind:?}: clearing up took the object along");
    }
}
