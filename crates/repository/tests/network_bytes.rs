//! Kinds of which a proxy understands nothing, broken at bytes: whatever happens to one of three copies, the others are
//! well, the run says so, and the next run brings the copy up to date.
//!
//! `TRIPLICATE_EXHAUSTIVE=1` runs every case on each kind of server instead of a sample.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod network;
mod room;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clock::{Clock, SystemClock};
use model::Verdict;
use network::{Base, Kind, LIMITS, SHORT_LIMITS, Server, Three, chosen, ensure, for_each_case, patient};
use testkit::proxy::{Break, Lane, RawFault, Relay, Way};

/// Of each kind, in a run without the variable; of rsync, where everything that is asked is a login, less.
const SAMPLE: usize = 3;
const SAMPLE_OF_RSYNC: usize = 1;

/// What a run backs up.
const NEW_BYTES: usize = 150_000;

/// Where in all that goes one way on connections of one kind: in greetings, in the middle, near the end.
const THOUSANDTHS: [u64; 10] = [5, 50, 150, 300, 450, 600, 700, 800, 900, 970];
const THOUSANDTHS_OF_RSYNC: [u64; 3] = [50, 300, 700];

/// Behind this, what was measured may not be reached: a run is not the same to the byte.
const SURELY_REACHED_THOUSANDTHS: u64 = 700;

/// The longest that a run may take whose copy is broken for good, with the short limits.
const RUN_LIMIT: Duration = Duration::from_secs(60);

const SLOW_BYTES_PER_SECOND: u64 = 256 << 10;
const SHORT_STALL: Duration = Duration::from_millis(300);

#[derive(Debug, Clone)]
struct Case {
    fault: RawFault,
    /// Whether it passes, so that the run does what it was asked for.
    passes: bool,
    is_surely_reached: bool,
}

impl Case {
    /// Whether nobody is told of it.
    fn is_silent(&self) -> bool {
        matches!(self.fault, RawFault::Break { how, .. } | RawFault::Refuse(how) if how.is_silent())
    }
}

fn all_cases(server: &Server) -> Vec<Case> {
    let mut cases = Vec::new();
    let of_kind = if server.kind == Kind::Rsync { THOUSANDTHS_OF_RSYNC.as_slice() } else { &THOUSANDTHS };
    for (lane, way, bytes) in bytes_of_a_run(server) {
        for &thousandths in of_kind {
            let after_bytes = bytes * thousandths / 1000;
            let is_surely_reached = thousandths <= SURELY_REACHED_THOUSANDTHS;
            for how in Break::ALL {
                let fault = |lasts| RawFault::Break { how, lane, way, after_bytes, lasts };
                cases.push(Case { fault: fault(false), passes: true, is_surely_reached });
                cases.push(Case { fault: fault(true), passes: false, is_surely_reached });
            }
            let fault = RawFault::Stall { time: SHORT_STALL, lane, way, after_bytes };
            cases.push(Case { fault, passes: true, is_surely_reached });
        }
    }
    let slow = RawFault::Slow { bytes_per_second: SLOW_BYTES_PER_SECOND };
    cases.push(Case { fault: slow, passes: true, is_surely_reached: false });
    let refuse = |how| Case { fault: RawFault::Refuse(how), passes: false, is_surely_reached: true };
    cases.extend(Break::ALL.map(refuse));
    cases
}

/// How much an undisturbed run moves, on which connections and in which direction.
fn bytes_of_a_run(server: &Server) -> Vec<(Lane, Way, u64)> {
    let base = Base::new(NEW_BYTES);
    let three = Three::with(&base, server.behind_relay());
    three.run(&patient(LIMITS)).unwrap();
    let relay = &three.behind.proxy;
    let all =
        [Lane::Main, Lane::Further].map(|lane| [Way::Up, Way::Down].map(|way| (lane, way, relay.passed(lane, way))));
    all.into_iter().flatten().filter(|(_, _, bytes)| *bytes > 0).collect()
}

fn one_copy_has_trouble(base: &Base, server: &Server, case: &Case, missed: &AtomicUsize) -> Result<(), String> {
    let three: Three<'_, Relay> = Three::with(base, server.behind_relay());
    three.behind.proxy.follow(case.fault);
    let clock = SystemClock::new();
    let begun = clock.monotonic();
    let limits = if case.passes { LIMITS } else { SHORT_LIMITS };
    let report = three.run(&if case.is_silent() { limits } else { patient(limits) })?;
    let took = clock.monotonic() - begun;
    let came = three.behind.proxy.fired() > 0;
    missed.fetch_add(usize::from(!came), Ordering::Relaxed);
    ensure(came || !case.is_surely_reached, || "the fault never came".to_owned())?;
    let is_right = match report.verdict {
        Verdict::Ok => case.passes || !case.is_surely_reached,
        Verdict::Partial => !case.passes,
        _ => false,
    };
    ensure(is_right, || format!("{:?}: {:?}", report.verdict, report.copies))?;
    ensure(took < RUN_LIMIT, || format!("it took {took:?}"))?;
    three.healthy_copies_are_whole(&report)?;
    three.nothing_wrong_is_there()?;
    if report.verdict == Verdict::Partial {
        let place = three.behind.destination(&LIMITS).place().to_owned();
        let outcome = report.copies.iter().find(|outcome| outcome.copy == place);
        let fault = outcome.and_then(|outcome| outcome.fault.clone()).ok_or("partial, and no fault of this copy")?;
        ensure(fault.to_string().contains(&place), || format!("`{fault}` does not name `{place}`"))?;
    }
    three.next_run_heals()?;
    three.behind.restic_check()
}

fn one_of_three_copies_has_trouble(kind: Kind) {
    let Some(server) = Server::start(kind) else { return };
    let what = format!("broken bytes on {kind:?}");
    let sample = if kind == Kind::Rsync { SAMPLE_OF_RSYNC } else { SAMPLE };
    let cases = chosen(all_cases(&server), sample, &what);
    let missed = AtomicUsize::new(0);
    for_each_case(&what, &cases, NEW_BYTES, |base, case| {
        let _inside = base.room.runtime.enter();
        one_copy_has_trouble(base, &server, case, &missed)
    });
    println!("{what}: {missed:?} of them behind the end of the run");
}

mod trouble_stays_its_own_with {
    crate::network::for_kinds!(super::one_of_three_copies_has_trouble, over bytes);
}
