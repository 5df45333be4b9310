//! The pace of a place, in paused time beside a naive model, and over a real server by the real clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clock::{Clock, SystemClock};
use destinations::{
    Access, Destination, Limits, Listed, Metering, Pace, Pacing, Rates, Span, Stalling, Terms, Timetable, open_on,
};
use format::{FileKind, FileName};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use model::{Fault, FaultKind, Id};
use testkit::{Random, RestServer, RestServerOptions, seed};
use tokio::time::Instant;

/// A wall clock that goes with tokio's time.
#[derive(Debug)]
struct TokioClock {
    began: Instant,
    at_beginning: Timestamp,
}

impl TokioClock {
    fn at(moment: &str) -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), at_beginning: moment.parse().unwrap() })
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.at_beginning + self.began.elapsed()
    }
    fn monotonic(&self) -> Duration {
        self.began.elapsed()
    }
    fn time_zone(&self) -> TimeZone {
        TimeZone::UTC
    }
}

/// Notes when how many bytes moved, and takes `duration` for each call.
#[derive(Debug)]
struct Noting {
    began: Instant,
    duration: Duration,
    moved: Mutex<Vec<(Duration, u64)>>,
}

impl Noting {
    fn new(duration: Duration) -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), duration, moved: Mutex::default() })
    }

    async fn note(&self, bytes: usize) {
        self.moved.lock().unwrap().push((self.began.elapsed(), bytes as u64));
        tokio::time::sleep(self.duration).await;
    }

    fn moved(&self) -> Vec<(Duration, u64)> {
        self.moved.lock().unwrap().clone()
    }
}

#[async_trait]
impl Destination for Noting {
    fn place(&self) -> &str {
        "noting"
    }
    async fn create(&self) -> Result<(), Fault> {
        self.note(0).await;
        Ok(())
    }
    async fn list(&self, _: FileKind) -> Result<Vec<Listed>, Fault> {
        self.note(0).await;
        Ok(Vec::new())
    }
    async fn stat(&self, _: FileName) -> Result<u64, Fault> {
        self.note(0).await;
        Ok(0)
    }
    async fn read(&self, _: FileName, span: Span) -> Result<Bytes, Fault> {
        let Span::Range { length, .. } = span else { panic!("how long is it?") };
        self.note(length as usize).await;
        Ok(vec![0; length as usize].into())
    }
    async fn write(&self, _: FileName, bytes: Bytes) -> Result<(), Fault> {
        self.note(bytes.len()).await;
        Ok(())
    }
    async fn remove(&self, _: FileName) -> Result<(), Fault> {
        self.note(0).await;
        Ok(())
    }
}

fn by_system_clock(rates: Rates) -> Pace {
    Pace { rates, clock: Arc::new(SystemClock::new()) }
}

fn pack(number: u64) -> FileName {
    FileName::pack(format::hash(&number.to_be_bytes()))
}

/// When each of these pieces, wanted at these moments, may move: millisecond by millisecond, the line carries so many
/// bytes of the piece that is on it, and what it could have carried in the last quarter of a second is not lost.
fn naive(pieces: &[(u64, u64)], rate: impl Fn(u64) -> u64) -> Vec<u64> {
    let (mut begins, mut thousandths_left, mut now, mut credit) = (Vec::new(), 0u64, 0u64, 0u64);
    let mut pieces = pieces.iter();
    let mut next = pieces.next();
    while let Some(&(wanted, bytes)) = next {
        if thousandths_left == 0 && wanted <= now {
            begins.push(now);
            thousandths_left = bytes * 1000;
            let used = thousandths_left.min(credit);
            (thousandths_left, credit) = (thousandths_left - used, credit - used);
            next = pieces.next();
            continue;
        }
        let carried = rate(now);
        let used = carried.min(thousandths_left);
        thousandths_left -= used;
        // Before the first piece there is nothing to save.
        credit = if begins.is_empty() { 0 } else { (credit + carried - used).min(carried * 250) };
        now += 1;
    }
    begins
}

#[tokio::test(start_paused = true)]
async fn files_move_when_the_naive_model_says_so() {
    let seed = seed("pacing");
    let mut random = Random::new(seed);
    for round in 0..60 {
        let rate = 1024 * (1 + random.below(64));
        let mut wanted = 0;
        let pieces: Vec<(u64, u64)> = (0..1 + random.below(40))
            .map(|_| {
                // Often at once, sometimes after a pause.
                wanted += if random.below(3) == 0 { random.below(6000) } else { 0 };
                (wanted, (64 << 10) + 1 + random.below(200_000))
            })
            .collect();
        let place = Noting::new(Duration::ZERO);
        let pace = by_system_clock(Rates { upload: Timetable::constant(rate), ..Rates::default() });
        let paced = Pacing::new(place.clone(), &pace, Metering::ByFile);
        let writes = pieces.iter().enumerate().map(|(number, &(wanted, bytes))| {
            let paced = &paced;
            async move {
                tokio::time::sleep(Duration::from_millis(wanted)).await;
                paced.write(pack(number as u64), vec![0; bytes as usize].into()).await.unwrap();
            }
        });
        futures::future::join_all(writes).await;
        let expected = naive(&pieces, |_| rate);
        let moved = place.moved();
        assert_eq!(moved.len(), expected.len());
        for (((at, bytes), expected), (_, wanted_bytes)) in moved.iter().zip(&expected).zip(&pieces) {
            let apart = at.as_millis().abs_diff(u128::from(*expected));
            // Each piece ends within a millisecond of the model's grid.
            assert!(
                apart <= u128::from(2 + expected / 500) && bytes == wanted_bytes,
                "seed {seed}, round {round}: {at:?} {expected}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn in_no_window_of_time_moves_more_than_the_rate_allows() {
    let seed = seed("pacing windows");
    let mut random = Random::new(seed);
    for round in 0..30 {
        let (rate, connections) = (100_000 + random.below(1_000_000), 1 + random.below(8));
        let place = Noting::new(Duration::from_millis(random.below(20)));
        let pace = by_system_clock(Rates { download: Timetable::constant(rate), ..Rates::default() });
        let paced = Pacing::new(place.clone(), &pace, Metering::ByFile);
        let lengths: Vec<u64> = (0..200).map(|_| 70_000 + random.below(100_000)).collect();
        let next = std::sync::atomic::AtomicUsize::new(0);
        let readers = (0..connections).map(|_| async {
            while let Some(&length) = lengths.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                paced.read(pack(1), Span::Range { offset: 0, length }).await.unwrap();
            }
        });
        futures::future::join_all(readers).await;
        let (moved, total) = (place.moved(), lengths.iter().sum::<u64>() as f64);
        let seconds = moved.last().unwrap().0.as_secs_f64();
        let ratio = total / seconds / rate as f64;
        assert!((0.9..1.1).contains(&ratio), "seed {seed}, round {round}: {ratio}");
        for (first, (from, _)) in moved.iter().enumerate() {
            let mut sum = 0;
            for (to, bytes) in &moved[first..] {
                sum += bytes;
                let allowed = rate as f64 * ((*to - *from).as_secs_f64() + 0.25) + 2.0 * 170_000.0;
                assert!(sum as f64 <= allowed, "seed {seed}, round {round}: {sum} bytes in {:?}", *to - *from);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_rate_changes_with_the_hour() {
    let place = Noting::new(Duration::ZERO);
    let upload = "1 MiB/s, 08:00-18:00 256, zone Europe/Berlin".parse().unwrap();
    // In Berlin it is ten seconds to eight.
    let rates = Rates { upload, ..Rates::default() };
    let pace = Pace { rates, clock: TokioClock::at("2026-01-15T06:59:50Z") };
    let paced = Pacing::new(place.clone(), &pace, Metering::ByFile);
    for number in 0..100 {
        paced.write(pack(number), vec![0; 256 << 10].into()).await.unwrap();
    }
    let moved = place.moved();
    let until = |seconds| moved.iter().filter(|(at, _)| *at < Duration::from_secs(seconds)).count();
    assert!((39..=42).contains(&until(10)), "{} in ten seconds", until(10));
    assert!((18..=22).contains(&(until(30) - until(10))), "{} in twenty seconds", until(30) - until(10));
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_and_short_files_pass() {
    let place = Noting::new(Duration::ZERO);
    let pace =
        by_system_clock(Rates { requests_per_second: 5, upload: Timetable::constant(1 << 10), ..Rates::default() });
    let paced = Pacing::new(place.clone(), &pace, Metering::ByFile);
    let stats = (0..51).map(|_| paced.stat(FileName::CONFIG));
    futures::future::join_all(stats).await;
    assert!((9800..=10_200).contains(&place.moved().last().unwrap().0.as_millis()), "{:?}", place.moved().last());
    // A pack that takes an hour keeps no lock waiting.
    paced.write(pack(1), vec![0; 4 << 20].into()).await.unwrap();
    let began = Instant::now();
    paced.write(FileName::new(FileKind::Lock, Id::default()), vec![0; 500].into()).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_is_held_back_is_not_stalled_and_what_is_stalled_is() {
    let pace = by_system_clock(Rates { upload: Timetable::constant(1 << 10), ..Rates::default() });
    let limit = Duration::from_secs(2);
    let quick = Arc::new(Stalling::new(Noting::new(Duration::ZERO), limit));
    let paced = Pacing::new(quick, &pace, Metering::ByFile);
    for number in 0..4 {
        paced.write(pack(number), vec![0; 100 << 10].into()).await.unwrap();
    }
    let dead = Arc::new(Stalling::new(Noting::new(Duration::from_secs(60)), limit));
    let fault = Pacing::new(dead, &pace, Metering::ByFile).stat(FileName::CONFIG).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Stalled);
}

/// A real server, real time, the shortest stall limit that there is: two seconds each way.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_is_used_at_the_pace_that_was_asked_for() {
    const BYTES_PER_SECOND: u64 = 2 << 20;
    const FILES: u64 = 8;
    const FILE_BYTES: usize = 512 << 10;
    let Some(server) = RestServer::start(&RestServerOptions::open()) else { return };
    let limit = Timetable::constant(BYTES_PER_SECOND);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let terms = |upload: &Timetable, download: &Timetable| Terms {
        limits: Limits { stall_limit_seconds: 1, ..Limits::default() },
        pace: Some(Pace {
            rates: Rates { upload: upload.clone(), download: download.clone(), ..Rates::default() },
            clock: clock.clone(),
        }),
        listener: None,
    };
    let location = server.repository("paced").parse().unwrap();
    let open = |terms| open_on(&location, &Access::default(), terms).unwrap();
    let free = Timetable::default();
    let (up, down) = (open(terms(&limit, &free)), open(terms(&free, &limit)));
    up.create().await.unwrap();
    let files: Vec<(FileName, Bytes)> = (0..FILES)
        .map(|number| {
            let bytes = Bytes::from(Random::new(number).bytes(FILE_BYTES));
            (FileName::pack(format::hash(&bytes)), bytes)
        })
        .collect();
    let ideal = (FILES * FILE_BYTES as u64) as f64 / BYTES_PER_SECOND as f64;
    let ratio = |began: Duration| ideal / (clock.monotonic() - began).as_secs_f64();
    let began = clock.monotonic();
    futures::future::join_all(files.iter().map(|(name, bytes)| up.write(*name, bytes.clone())))
        .await
        .into_iter()
        .for_each(Result::unwrap);
    let uploaded = ratio(began);
    let began = clock.monotonic();
    for read in futures::future::join_all(files.iter().map(|(name, _)| down.read(*name, Span::Whole))).await {
        assert_eq!(read.unwrap().len(), FILE_BYTES);
    }
    let downloaded = ratio(began);
    println!("of the rate: {uploaded:.3} up, {downloaded:.3} down");
    // A machine that is busy with other things may be slower, and never faster.
    for ratio in [uploaded, downloaded] {
        assert!((0.4..1.25).contains(&ratio), "{uploaded} up, {downloaded} down");
    }
}
