//! Backoff, `Retry-After`, the total, the stall limit and turns, in paused time over a place that fails as told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use destinations::{Crowding, Destination, Limits, Listed, RetryListener, Retrying, Span, Stalling};
use format::{FileKind, FileName};
use model::{Fault, FaultKind, Id};
use tokio::time::Instant;

/// Fails with the planned kinds, one for each call; then with the last one for ever, or succeeds.
#[derive(Debug)]
struct Planned {
    plan: Mutex<VecDeque<Fault>>,
    forever: Option<Fault>,
    calls: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    duration: Duration,
}

impl Planned {
    fn new(plan: impl IntoIterator<Item = Fault>, forever: Option<Fault>) -> Arc<Self> {
        Self::slow(plan, forever, Duration::ZERO)
    }

    fn slow(plan: impl IntoIterator<Item = Fault>, forever: Option<Fault>, duration: Duration) -> Arc<Self> {
        Arc::new(Self {
            plan: Mutex::new(plan.into_iter().collect()),
            forever,
            calls: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            duration,
        })
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    async fn act(&self) -> Result<(), Fault> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let now = self.at_once.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_at_once.fetch_max(now, Ordering::Relaxed);
        tokio::time::sleep(self.duration).await;
        self.at_once.fetch_sub(1, Ordering::Relaxed);
        let planned = self.plan.lock().unwrap().pop_front();
        planned.or_else(|| self.forever.clone()).map_or(Ok(()), Err)
    }
}

#[async_trait]
impl Destination for Planned {
    fn place(&self) -> &str {
        "a planned place"
    }
    async fn create(&self) -> Result<(), Fault> {
        self.act().await
    }
    async fn list(&self, _: FileKind) -> Result<Vec<Listed>, Fault> {
        self.act().await.map(|()| Vec::new())
    }
    async fn stat(&self, _: FileName) -> Result<u64, Fault> {
        self.act().await.map(|()| 7)
    }
    async fn read(&self, _: FileName, _: Span) -> Result<Bytes, Fault> {
        self.act().await.map(|()| Bytes::from_static(b"7"))
    }
    async fn write(&self, _: FileName, _: Bytes) -> Result<(), Fault> {
        self.act().await
    }
    async fn remove(&self, _: FileName) -> Result<(), Fault> {
        self.act().await
    }
}

fn fault(kind: FaultKind) -> Fault {
    Fault::new(kind, "read", "data/x", "a planned place", "as planned")
}

fn retrying(place: &Arc<Planned>) -> Retrying {
    Retrying::new(Arc::clone(place) as Arc<dyn Destination>, &Limits::default(), None)
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_repeated_and_what_cannot_is_not() {
    for kind in [FaultKind::Unreachable, FaultKind::Stalled, FaultKind::Failing] {
        let place = Planned::new([fault(kind), fault(kind), fault(kind)], None);
        let tried = retrying(&place);
        assert_eq!(tried.stat(FileName::CONFIG).await.unwrap(), 7, "{kind:?}");
        assert_eq!(place.calls(), 4, "{kind:?}");
    }
    for kind in [
        FaultKind::NotFound,
        FaultKind::Denied,
        FaultKind::Full,
        FaultKind::Refused,
        FaultKind::Exists,
        FaultKind::Damaged,
        FaultKind::Misconfigured,
        FaultKind::Interrupted,
    ] {
        let place = Planned::new([], Some(fault(kind)));
        let tried = retrying(&place);
        let begun = Instant::now();
        assert_eq!(tried.write(FileName::CONFIG, Bytes::new()).await.unwrap_err().kind, kind);
        assert_eq!((place.calls(), begun.elapsed()), (1, Duration::ZERO), "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_endured_for_the_total_and_no_longer() {
    let place = Planned::new([], Some(fault(FaultKind::Failing)));
    let heard = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&heard);
    let listener: RetryListener = Arc::new(move |notice| {
        assert!(notice.wait <= Duration::from_secs(60), "{notice:?}");
        assert_eq!(notice.attempt as usize, counter.fetch_add(1, Ordering::Relaxed) + 1);
    });
    let tried = Retrying::new(Arc::clone(&place) as Arc<dyn Destination>, &Limits::default(), Some(listener));
    let begun = Instant::now();
    let last = tried.read(FileName::CONFIG, Span::Whole).await.unwrap_err();
    let took = begun.elapsed();
    assert!(took <= Duration::from_secs(900), "{took:?}");
    assert!(Duration::from_secs(780) < took, "gave up early: {took:?}");
    assert_eq!(heard.load(Ordering::Relaxed) + 1, place.calls());
    assert!(last.cause.contains(&format!("{} attempts", place.calls())), "{last}");
}

#[tokio::test(start_paused = true)]
async fn a_place_that_never_answered_is_given_up_sooner_than_one_that_did() {
    let place = Planned::new([], Some(fault(FaultKind::Unreachable)));
    let begun = Instant::now();
    retrying(&place).stat(FileName::CONFIG).await.unwrap_err();
    assert!(begun.elapsed() <= Duration::from_secs(20), "{:?}", begun.elapsed());

    // Any answer counts, also one that says no.
    let place = Planned::new([fault(FaultKind::NotFound)], Some(fault(FaultKind::Unreachable)));
    let tried = retrying(&place);
    tried.stat(FileName::CONFIG).await.unwrap_err();
    let begun = Instant::now();
    tried.stat(FileName::CONFIG).await.unwrap_err();
    assert!(Duration::from_secs(780) < begun.elapsed(), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_wait_that_a_server_asks_for_is_kept() {
    let asked = Fault { wait: Some(Duration::from_secs(333)), ..fault(FaultKind::Failing) };
    let place = Planned::new([asked], None);
    let begun = Instant::now();
    retrying(&place).create().await.unwrap();
    assert!(Duration::from_secs(333) <= begun.elapsed(), "{:?}", begun.elapsed());

    // A wait beyond the total is not begun.
    let asked = Fault { wait: Some(Duration::from_secs(901)), ..fault(FaultKind::Failing) };
    let place = Planned::new([asked], None);
    let begun = Instant::now();
    retrying(&place).create().await.unwrap_err();
    assert_eq!((place.calls(), begun.elapsed()), (1, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_silent_attempt_is_cut_at_the_limit() {
    let place = Planned::slow([], None, Duration::from_secs(3_600));
    let watched = Stalling::new(place as Arc<dyn Destination>, Limits::default().stall());
    let name = FileName::pack(Id::from_bytes([1; 32]));
    for number in 0..6 {
        let begun = Instant::now();
        let result = match number {
            0 => watched.create().await,
            1 => watched.list(FileKind::Pack).await.map(drop),
            2 => watched.stat(name).await.map(drop),
            3 => watched.read(name, Span::Whole).await.map(drop),
            4 => watched.write(name, Bytes::new()).await,
            _ => watched.remove(name).await,
        };
        assert_eq!(result.unwrap_err().kind, FaultKind::Stalled);
        assert_eq!(begun.elapsed().as_secs(), 120);
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_limit_at_one_time() {
    let place = Planned::slow([], None, Duration::from_secs(1));
    let in_turn = Crowding::new(Arc::clone(&place) as Arc<dyn Destination>, 3);
    let begun = Instant::now();
    let all = (0..12).map(|_| in_turn.stat(FileName::CONFIG));
    assert!(futures::future::join_all(all).await.iter().all(Result::is_ok));
    assert_eq!(place.most_at_once.load(Ordering::Relaxed), 3);
    assert_eq!(begun.elapsed().as_secs(), 4);
}
