//! Everything else that a network and a server can do to one of three copies: the others are well, the run says so, and
//! the next run brings the copy up to date.
//!
//! `TRIPLICATE_EXHAUSTIVE=1` runs every case on each kind of server instead of a sample.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod network;
mod room;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clock::{Clock, SystemClock};
use destinations::Limits;
use format::{FileKind, FileName};
use model::{Fault, FaultKind, Verdict};
use network::{Base, Behind, Kind, LIMITS, SHORT_LIMITS, Server, Three, USER_PASSWORD};
use network::{asked_in_a_run, chosen, ensure, for_each_case, only, patient, sample_of};
use repository::copies::status::Holdings;
use repository::records::RecordsFolder;
use testkit::process::wait_until;
use testkit::proxy::{At, Break, HttpFault, Lie, Rule};
use testkit::{CertificateFlaw, FaultProxy, RestServerOptions, Verb};

/// Of the first kinds of server and of each other one, in a run without the variable.
const SAMPLES: [usize; 2] = [6, 2];

/// What a run backs up.
const NEW_BYTES: usize = 150_000;

/// The longest that a run may take whose copy is broken for good, with the short limits: a handful of requests, each
/// tried for their total and one stall more.
const RUN_LIMIT: Duration = Duration::from_secs(60);

/// A fault that stays, from a request on.
#[derive(Debug, Clone)]
struct Case {
    fault: HttpFault,
    verb: Option<Verb>,
    kind: Option<FileKind>,
    from: u64,
}

/// What a run must be called while the fault lasts.
fn is_right(case: &Case, verdict: Verdict) -> bool {
    match case.fault {
        // It goes on, if slowly; and a listing that is wrong makes us ask and write more, not less.
        HttpFault::Slow { .. } | HttpFault::Stall(..) => verdict == Verdict::Ok,
        HttpFault::Listing(_) => matches!(verdict, Verdict::Ok | Verdict::Warning | Verdict::Partial),
        // What was read wrong was read from another copy.
        HttpFault::ShortBody => matches!(verdict, Verdict::Ok | Verdict::Warning | Verdict::Partial),
        _ => verdict == Verdict::Partial,
    }
}

fn all_cases(server: &Server) -> Vec<Case> {
    let mut cases = cut_off_at_every_request(server);
    cases.extend(lasting_cases());
    cases
}

/// From one request on the server hears nothing any more, as when the program dies there: before the request, in its
/// middle, or before it hears the reply. Where one thing that is done takes several requests, also between them.
fn cut_off_at_every_request(server: &Server) -> Vec<Case> {
    let of_run = asked_in_a_run(server, NEW_BYTES, |_| true);
    let places = [At::Request(0), At::Request(500), At::Reply(0)];
    let cut = |from| places.map(|at| Case { fault: HttpFault::Break(Break::Reset, at), verb: None, kind: None, from });
    // Whatever comes after the last but one may be only a lock that is taken away.
    (1..of_run).flat_map(cut).collect()
}

fn lasting_cases() -> Vec<Case> {
    let mut faults: Vec<HttpFault> = Vec::new();
    for how in Break::ALL {
        faults.extend([HttpFault::Break(how, At::Request(500)), HttpFault::Break(how, At::Reply(500))]);
    }
    faults.extend([400, 401, 403, 413, 500, 501, 502, 503, 507].map(HttpFault::status));
    faults.push(HttpFault::retry_after(429, 1));
    faults.push(HttpFault::retry_after(503, 10_000));
    // Nobody listens there; that nobody goes there either is a test of its own.
    faults.extend([301, 302, 307, 308].map(|status| HttpFault::redirect(status, "http://127.0.0.1:9/elsewhere")));
    faults.push(HttpFault::AnswerInstead { status: 500 });
    faults.push(HttpFault::Slow { bytes_per_second: 256 << 10 });
    faults.push(HttpFault::Stall(Duration::from_millis(300), At::Reply(500)));
    let mut cases = Vec::new();
    for fault in faults {
        // From the start, in the middle of opening, and when there is something to write.
        for (verb, from) in [(None, 1), (None, 6), (Some(Verb::Write), 2)] {
            cases.push(Case { fault: fault.clone(), verb, kind: None, from });
        }
    }
    // Not of `config`: whose `config` does not open may be another repository, and that stops a run.
    for kind in [FileKind::Key, FileKind::Index, FileKind::Snapshot, FileKind::Pack, FileKind::Lock] {
        cases.push(Case { fault: HttpFault::ShortBody, verb: Some(Verb::Read), kind: Some(kind), from: 1 });
    }
    for lie in [Lie::Empty, Lie::Percent(50), Lie::Percent(90), Lie::Stale, Lie::Cut] {
        cases.push(Case { fault: HttpFault::Listing(lie), verb: Some(Verb::List), kind: None, from: 1 });
    }
    cases.push(Case { fault: HttpFault::Break(Break::Reset, At::Connection), verb: None, kind: None, from: 1 });
    cases
}

fn one_copy_has_trouble(base: &Base, server: &Server, case: &Case) -> Result<(), String> {
    let three = Three::new(base, server);
    let mut rule = Rule::new(case.fault.clone()).from(case.from);
    if let Some(verb) = case.verb {
        rule = rule.on(verb);
    }
    if let Some(kind) = case.kind {
        rule = rule.of(kind);
    }
    three.behind.proxy.follow(only(rule));
    let clock = SystemClock::new();
    let begun = clock.monotonic();
    let is_silent = matches!(case.fault, HttpFault::Break(how, _) if how.is_silent());
    let report = three.run(&if is_silent { SHORT_LIMITS } else { patient(SHORT_LIMITS) })?;
    let took = clock.monotonic() - begun;
    // What is known already is not read again.
    let may_be_spared = case.fault == HttpFault::ShortBody;
    ensure(three.behind.proxy.fired() > 0 || may_be_spared, || "the fault never came".to_owned())?;
    ensure(is_right(case, report.verdict), || format!("{:?}: {:?}", report.verdict, report.copies))?;
    ensure(took < RUN_LIMIT, || format!("it took {took:?}"))?;
    three.healthy_copies_are_whole(&report)?;
    three.nothing_wrong_is_there()?;
    if report.verdict == Verdict::Partial {
        let place = three.behind.destination(&LIMITS).place().to_owned();
        let outcome = report.copies.iter().find(|outcome| outcome.copy == place);
        let fault = outcome.and_then(|outcome| outcome.fault.clone()).ok_or("partial, and no fault of this copy")?;
        ensure(fault.to_string().contains(&place), || format!("`{fault}` does not name `{place}`"))?;
        ensure(!format!("{fault}{fault:?}").contains(USER_PASSWORD), || "a secret is shown".to_owned())?;
    }
    three.next_run_heals()?;
    three.behind.restic_check()
}

fn one_of_three_copies_has_trouble(kind: Kind) {
    let Some(server) = Server::start(kind) else { return };
    let what = format!("lasting faults on {kind:?}");
    let [of_the_first, of_others] = SAMPLES;
    let cases = chosen(all_cases(&server), sample_of(kind, of_the_first, of_others), &what);
    for_each_case(&what, &cases, NEW_BYTES, |base, case| {
        let _inside = base.room.runtime.enter();
        one_copy_has_trouble(base, &server, case)
    });
}

mod trouble_stays_its_own_with {
    crate::network::for_kinds!(super::one_of_three_copies_has_trouble, over http);
}

/// What an upload of something new through the proxy comes to, and how often it was sent.
fn upload(base: &Base, behind: &Behind<'_>, limits: &Limits) -> (Result<(), Fault>, usize, Duration) {
    static UPLOADS: AtomicU64 = AtomicU64::new(0);
    let bytes = Bytes::from(testkit::Random::new(UPLOADS.fetch_add(1, Ordering::Relaxed)).bytes(50_000));
    let name = FileName::pack(format::hash(&bytes));
    let runtime = &base.room.runtime;
    let _inside = runtime.enter();
    let clock = SystemClock::new();
    let begun = clock.monotonic();
    behind.proxy.forget_asked();
    let result = runtime.block_on(behind.destination(limits).write(name, bytes));
    let sent = behind.proxy.asked().iter().filter(|asked| asked.verb == Verb::Write).count();
    if let Err(fault) = &result {
        let text = fault.to_string();
        assert!(text.contains(&name.path()) && text.contains(&behind.name), "{text}");
    }
    (result, sent, clock.monotonic() - begun)
}

#[test]
fn what_may_pass_is_tried_again_and_what_cannot_is_not() {
    let base = Base::new(1000);
    for kind in Kind::BOTH {
        let Some(server) = Server::start(kind) else { continue };
        let three = Three::new(&base, &server);
        let behind = &three.behind;
        for status in [429, 500, 502, 503] {
            for times in 1..=6 {
                behind.proxy.follow(only(Rule::new(HttpFault::status(status)).on(Verb::Write).times(times)));
                let (result, sent, _) = upload(&base, behind, &LIMITS);
                result.unwrap();
                assert_eq!(sent as u64, times + 1, "{kind:?} {status}");
            }
            // For ever: given up when the total is over, and no later.
            behind.proxy.follow(only(Rule::new(HttpFault::status(status)).on(Verb::Write)));
            let limits = Limits { retry_total_seconds: 1, ..LIMITS };
            let (result, sent, took) = upload(&base, behind, &limits);
            let fault = result.unwrap_err();
            assert_eq!(fault.kind, FaultKind::Failing, "{fault}");
            assert!(sent > 2 && took < Duration::from_secs(10), "{kind:?} {status}: {sent} in {took:?}");
        }
        for (status, expected) in [
            (400, FaultKind::Refused),
            (401, FaultKind::Denied),
            (403, FaultKind::Denied),
            (413, FaultKind::Refused),
            (501, FaultKind::Refused),
            (507, FaultKind::Full),
        ] {
            behind.proxy.follow(only(Rule::new(HttpFault::status(status)).on(Verb::Write)));
            let (result, sent, _) = upload(&base, behind, &LIMITS);
            let fault = result.unwrap_err();
            assert_eq!((fault.kind, sent), (expected, 1), "{kind:?} {status}: {fault}");
        }
        // The wait that is asked for is kept, and one beyond the total is not begun.
        behind.proxy.follow(only(Rule::new(HttpFault::retry_after(429, 2)).on(Verb::Write).times(1)));
        let (result, sent, took) = upload(&base, behind, &LIMITS);
        result.unwrap();
        assert!(sent == 2 && Duration::from_secs(2) <= took, "{kind:?}: {sent} in {took:?}");
        behind.proxy.follow(only(Rule::new(HttpFault::retry_after(503, 3600)).on(Verb::Write)));
        let (result, sent, _) = upload(&base, behind, &LIMITS);
        assert_eq!((result.unwrap_err().kind, sent), (FaultKind::Failing, 1), "{kind:?}");
    }
}

#[test]
fn silence_is_cut_at_the_limit_and_slowness_is_not() {
    assert!(Limits::default().stall_limit_seconds <= 120);
    // Most of it is waiting.
    std::thread::scope(|scope| {
        for kind in Kind::BOTH {
            scope.spawn(move || silence_is_cut(kind));
        }
    });
}

fn silence_is_cut(kind: Kind) {
    let base = Base::new(1000);
    let limits = Limits { stall_limit_seconds: 2, ..LIMITS };
    let Some(server) = Server::start(kind) else { return };
    let three = Three::new(&base, &server);
    let behind = &three.behind;
    for at in [At::Request(500), At::Reply(0), At::Reply(500)] {
        // Shorter than the limit: nobody notices.
        behind.proxy.follow(only(Rule::new(HttpFault::Stall(Duration::from_millis(700), at)).on(Verb::Write)));
        let (result, sent, _) = upload(&base, behind, &limits);
        result.unwrap();
        assert_eq!(sent, 1, "{kind:?} {at:?}");
        // Longer: cut, and tried again.
        let long = HttpFault::Stall(Duration::from_secs(600), at);
        behind.proxy.follow(only(Rule::new(long).on(Verb::Write).times(1)));
        let (result, sent, took) = upload(&base, behind, &limits);
        result.unwrap();
        assert_eq!(sent, 2, "{kind:?} {at:?}");
        assert!(Duration::from_secs(2) <= took && took < Duration::from_secs(20), "{kind:?} {at:?}: {took:?}");
    }
    // Its head alone takes longer than the limit allows: a server that drips its words is a silent one.
    behind.proxy.follow(only(Rule::new(HttpFault::Slow { bytes_per_second: 20 }).on(Verb::Stat)));
    let stat = {
        let _inside = base.room.runtime.enter();
        let destination = behind.destination(&Limits { retry_total_seconds: 3, ..limits });
        base.room.runtime.block_on(destination.stat(FileName::CONFIG))
    };
    assert_eq!(stat.unwrap_err().kind, FaultKind::Stalled, "{kind:?}");
}

#[test]
fn a_slow_copy_keeps_no_other_waiting() {
    let base = Base::new(900_000);
    for kind in Kind::BOTH {
        let Some(server) = Server::start(kind) else { continue };
        let three = Three::new(&base, &server);
        let slow = HttpFault::Slow { bytes_per_second: 200 << 10 };
        three.behind.proxy.follow(only(Rule::new(slow).on(Verb::Write)));
        let limits = Limits { stall_limit_seconds: 30, ..LIMITS };
        let has_snapshot = || three.healthy[0].names(FileKind::Snapshot).len() == 2;
        let report = std::thread::scope(|scope| {
            let run = scope.spawn(|| {
                let _inside = base.room.runtime.enter();
                three.run(&limits)
            });
            assert!(wait_until(Duration::from_secs(60), has_snapshot), "{kind:?}");
            // The healthy ones are done, the slow one is not: 900 KB take it over four seconds.
            assert!(!run.is_finished(), "{kind:?}: nothing was slow");
            let there = three.behind.files();
            assert_eq!(there.keys().filter(|name| name.starts_with("snapshots/")).count(), 1, "{kind:?}");
            run.join().unwrap().unwrap()
        });
        assert_eq!(report.verdict, Verdict::Ok, "{kind:?}: {:?}", report.copies);
        three.all_copies_are_equal().unwrap();
    }
}

#[test]
fn a_refused_login_in_the_middle_is_no_storm_of_requests() {
    let base = Base::new(150_000);
    for kind in Kind::BOTH {
        let Some(server) = Server::start(kind) else { continue };
        for status in [401, 403] {
            let rule = || Rule::new(HttpFault::status(status));
            for rule in [rule(), rule().from(6), rule().on(Verb::Write).from(2)] {
                let three = Three::new(&base, &server);
                let shown = format!("{kind:?} {rule:?}");
                three.behind.proxy.follow([rule]);
                let _inside = base.room.runtime.enter();
                let report = three.run(&LIMITS).unwrap();
                assert!(three.behind.proxy.fired() > 0);
                assert_eq!(report.verdict, Verdict::Partial, "{shown}: {:?}", report.copies);
                three.healthy_copies_are_whole(&report).unwrap();
                let mut denied = BTreeMap::<(String, String), usize>::new();
                for asked in three.behind.proxy.asked().into_iter().filter(|asked| asked.troubled) {
                    *denied.entry((asked.method, asked.target)).or_default() += 1;
                }
                assert!(denied.values().all(|times| *times <= 2), "{shown}: {denied:#?}");
                assert!(denied.len() <= LIMITS.connections + 2, "{shown}: {denied:#?}");
                three.next_run_heals().unwrap();
            }
        }
    }
}

#[test]
fn a_server_whose_certificate_cannot_be_believed_keeps_no_other_copy_from_its_snapshot() {
    let base = Base::new(1000);
    for flaw in [CertificateFlaw::Expired, CertificateFlaw::WrongHost] {
        let login = vec![(network::USER.to_owned(), USER_PASSWORD.to_owned())];
        let options = RestServerOptions { users: login, tls: Some(flaw), ..RestServerOptions::default() };
        let Some(server) = Server::start_with(Kind::Rest, &options) else { return };
        let three = Three::new(&base, &server);
        let clock = SystemClock::new();
        let begun = clock.monotonic();
        let _inside = base.room.runtime.enter();
        // Not through the proxy, which would have to understand TLS.
        let repository = three.repository_with(three.behind.direct_destination(&LIMITS)).unwrap();
        let report = base.room.backup(&repository, Path::new("source"));
        assert_eq!(report.verdict, Verdict::Partial, "{flaw:?}: {:?}", report.copies);
        assert!(clock.monotonic() - begun < Duration::from_secs(15), "{flaw:?}: it was tried again");
        three.healthy_copies_are_whole(&report).unwrap();
        let fault = report.copies.iter().find_map(|outcome| outcome.fault.clone()).unwrap();
        assert_eq!(fault.kind, FaultKind::Misconfigured, "{fault}");
    }
}

#[test]
fn listings_that_lie_are_noticed_by_who_has_seen_more() {
    let mut base = Base::new(150_000);
    for kind in Kind::BOTH {
        let Some(server) = Server::start(kind) else { continue };
        for lie in [Lie::Empty, Lie::Percent(50)] {
            base.room.cancel = repository::Cancel::new();
            let three = Three::new(&base, &server);
            let records =
                RecordsFolder::new(base.room.path(&format!("records-{kind:?}-{lie:?}-{}", three.behind.name)));
            let _inside = base.room.runtime.enter();
            let open = || {
                let mut surroundings = base.room.surroundings();
                surroundings.records = Some(records.clone());
                let mut all = vec![three.behind.destination(&LIMITS)];
                all.extend(three.healthy.iter().map(|copy| copy.clone() as _));
                let password = room::PASSWORD.to_owned().into();
                repository::Repository::open(all, &password, surroundings).unwrap()
            };
            let honest = open();
            for file_kind in [FileKind::Pack, FileKind::Snapshot, FileKind::Index] {
                let holdings = Holdings::gather(honest.copies(), file_kind).unwrap();
                assert!(honest.shrunk(&holdings).is_empty());
                honest.note_listed(&holdings);
            }
            let place = three.behind.destination(&LIMITS).place().to_owned();
            for file_kind in [FileKind::Pack, FileKind::Snapshot, FileKind::Index] {
                three.behind.proxy.follow(only(Rule::new(HttpFault::Listing(lie)).of(file_kind)));
                let lied_to = open();
                let holdings = Holdings::gather(lied_to.copies(), file_kind).unwrap();
                let shrunk = lied_to.shrunk(&holdings);
                // One pack of two is within what may have been removed; none is not.
                if lie == Lie::Empty {
                    assert_eq!(shrunk.len(), 1, "{kind:?} {file_kind:?}: {shrunk:?}");
                    assert_eq!((shrunk[0].copy.as_str(), shrunk[0].kind), (place.as_str(), file_kind));
                }
            }
            // What a backup makes of it loses nothing.
            let rule = Rule::new(HttpFault::Listing(lie)).on(Verb::List);
            three.behind.proxy.follow(only(rule));
            let report = three.run(&LIMITS).unwrap();
            three.healthy_copies_are_whole(&report).unwrap();
            three.next_run_heals().unwrap();
            three.behind.restic_check().unwrap();
        }
    }
}

#[test]
fn nobody_is_followed_to_another_host_and_nothing_is_sent_there() {
    let base = Base::new(1000);
    let thief = FaultProxy::start(testkit::process::free_port().unwrap());
    for kind in Kind::BOTH {
        let Some(server) = Server::start(kind) else { continue };
        for status in [301, 302, 303, 307, 308] {
            let three = Three::new(&base, &server);
            let elsewhere = format!("127.0.0.1:{}", thief.port());
            let itself = format!("127.0.0.1:{}", three.behind.proxy.port());
            for (target, host) in
                [(format!("http://{elsewhere}/x"), &elsewhere), (format!("http://{itself}/loop"), &itself)]
            {
                three.behind.proxy.follow(only(Rule::new(HttpFault::redirect(status, &target)).on(Verb::Write)));
                let (result, sent, _) = upload(&base, &three.behind, &LIMITS);
                let fault = result.unwrap_err();
                assert_eq!(sent, 1, "{kind:?} {status}: {fault}");
                assert!(fault.cause.contains(&itself) && fault.cause.contains(host), "{fault}");
                assert!(!format!("{fault}{fault:?}").contains(USER_PASSWORD));
            }
            if status != 307 {
                continue;
            }
            let rule = Rule::new(HttpFault::redirect(status, &format!("http://{elsewhere}/")));
            three.behind.proxy.follow(only(rule));
            let _inside = base.room.runtime.enter();
            let report = three.run(&LIMITS).unwrap();
            assert_eq!(report.verdict, Verdict::Partial, "{kind:?} {status}: {:?}", report.copies);
            three.next_run_heals().unwrap();
        }
    }
    assert_eq!(thief.connections(), 0, "somebody went there: {:?}", thief.asked());
}
