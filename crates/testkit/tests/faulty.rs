//! The faulty destination does what its script says, each time the same.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use destinations::{Destination, Span};
use format::{FileKind, FileName};
use model::{FaultKind, Id};
use testkit::process::wait_until;
use testkit::{Act, Faulty, Gate, MemoryFolder, Script, Verb, When};

fn name(number: u8) -> FileName {
    FileName::pack(Id::from_bytes([number; 32]))
}

fn with_files(count: u8) -> MemoryFolder {
    let folder = MemoryFolder::new("inside");
    for number in 0..count {
        folder.put(name(number), vec![number; 1000]);
    }
    folder
}

fn faulty(folder: &MemoryFolder, script: Script) -> Faulty<MemoryFolder> {
    Faulty::new(Arc::new(folder.clone()), script)
}

const BYTES: Bytes = Bytes::from_static(b"some bytes");

#[tokio::test]
async fn memory_is_an_honest_destination() {
    let folder = MemoryFolder::new("a");
    folder.create().await.unwrap();
    folder.write(name(1), BYTES).await.unwrap();
    folder.write(name(1), BYTES).await.unwrap();
    assert_eq!(folder.stat(name(1)).await.unwrap(), 10);
    assert_eq!(folder.read(name(1), Span::Whole).await.unwrap(), BYTES);
    let part = folder.read(name(1), Span::Range { offset: 5, length: 5 }).await.unwrap();
    assert_eq!(part, "bytes");
    for span in [Span::Range { offset: 5, length: 6 }, Span::Range { offset: u64::MAX, length: 2 }] {
        assert_eq!(folder.read(name(1), span).await.unwrap_err().kind, FaultKind::Damaged);
    }
    assert_eq!(folder.read(name(2), Span::Whole).await.unwrap_err().kind, FaultKind::NotFound);
    assert_eq!(folder.stat(name(2)).await.unwrap_err().kind, FaultKind::NotFound);
    folder.write(FileName::CONFIG, BYTES).await.unwrap();
    folder.write(FileName::CONFIG, BYTES).await.unwrap();
    let refused = folder.write(FileName::CONFIG, Bytes::from_static(b"other")).await.unwrap_err();
    assert_eq!(refused.kind, FaultKind::Exists);
    assert_eq!(folder.list(FileKind::Pack).await.unwrap().len(), 1);
    assert_eq!(folder.list(FileKind::Snapshot).await.unwrap().len(), 0);
    folder.remove(name(1)).await.unwrap();
    folder.remove(name(1)).await.unwrap();
    assert!(folder.get(name(1)).is_none());
}

#[tokio::test]
async fn without_rules_nothing_happens_and_everything_is_counted() {
    let folder = with_files(2);
    let place = faulty(&folder, Script::new(1));
    place.create().await.unwrap();
    assert_eq!(place.list(FileKind::Pack).await.unwrap().len(), 2);
    assert_eq!(place.read(name(1), Span::Whole).await.unwrap(), vec![1; 1000]);
    assert_eq!(place.stat(name(1)).await.unwrap(), 1000);
    place.write(name(9), BYTES).await.unwrap();
    place.remove(name(0)).await.unwrap();
    let verbs: Vec<Verb> = place.operations().iter().map(|operation| operation.verb).collect();
    assert_eq!(verbs, [Verb::Create, Verb::List, Verb::Read, Verb::Stat, Verb::Write, Verb::Remove]);
    assert_eq!((place.count(), place.fired()), (6, 0));
}

#[tokio::test]
async fn failing_before_does_nothing_and_failing_after_loses_the_reply() {
    let folder = with_files(0);
    let script = Script::new(1)
        .with(When::At(1), Act::FailBefore(FaultKind::Full))
        .with(When::At(2), Act::FailAfter(FaultKind::Unreachable));
    let place = faulty(&folder, script);
    assert_eq!(place.write(name(1), BYTES).await.unwrap_err().kind, FaultKind::Full);
    assert!(folder.get(name(1)).is_none());
    let fault = place.write(name(2), BYTES).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unreachable);
    assert!(fault.to_string().contains("operation 2"), "{fault}");
    assert_eq!(folder.get(name(2)).unwrap(), BYTES);
    place.write(name(3), BYTES).await.unwrap();
    assert_eq!(place.fired(), 2);
}

#[tokio::test]
async fn a_death_is_for_good() {
    for (act, done) in [(Act::DieBefore, 1), (Act::DieAfter, 2)] {
        let folder = with_files(0);
        let place = faulty(&folder, Script::new(1).with(When::Nth(Verb::Write, 2), act));
        place.write(name(1), BYTES).await.unwrap();
        assert_eq!(place.write(name(2), BYTES).await.unwrap_err().kind, FaultKind::Unreachable);
        for _ in 0..2 {
            assert_eq!(place.list(FileKind::Pack).await.unwrap_err().kind, FaultKind::Unreachable);
            assert_eq!(place.read(name(1), Span::Whole).await.unwrap_err().kind, FaultKind::Unreachable);
        }
        assert!(place.is_dead());
        assert_eq!(folder.names(FileKind::Pack).len(), done);
        place.revive();
        assert_eq!(place.list(FileKind::Pack).await.unwrap().len(), done);
    }
}

#[tokio::test]
async fn reads_lie_by_the_seed() {
    let folder = with_files(3);
    let honest = folder.get(name(1)).unwrap();
    let read = async |seed, act: Act| {
        let place = faulty(&folder, Script::new(seed).with(When::Every(Verb::Read), act));
        place.read(name(1), Span::Whole).await.unwrap()
    };
    let wrong = read(7, Act::FlipBit).await;
    let flipped: u32 = wrong.iter().zip(&honest).map(|(a, b)| (a ^ b).count_ones()).sum();
    assert_eq!((wrong.len(), flipped), (1000, 1));
    assert_eq!(wrong, read(7, Act::FlipBit).await);
    assert_ne!(wrong, read(8, Act::FlipBit).await);
    let short = read(7, Act::Truncate).await;
    assert!(short.len() < 1000 && honest.starts_with(&short));
    assert_eq!(read(7, Act::Swap(name(2))).await, folder.get(name(2)).unwrap());
}

#[tokio::test]
async fn listings_lie() {
    let folder = with_files(5);
    let list = async |act: Act| {
        let place = faulty(&folder, Script::new(3).with(When::Kind(Verb::List, FileKind::Pack), act));
        let first = place.list(FileKind::Pack).await.unwrap();
        folder.put(name(99), "new");
        let second = place.list(FileKind::Pack).await.unwrap();
        folder.take(name(99));
        (first.len(), second.len())
    };
    assert_eq!(list(Act::EmptyListing).await, (0, 0));
    assert_eq!(list(Act::ShortListing { missing: 2 }).await, (3, 4));
    assert_eq!(list(Act::ShortListing { missing: 50 }).await, (0, 0));
    assert_eq!(list(Act::StaleListing).await, (5, 5));
}

#[tokio::test]
async fn a_torn_write_leaves_a_part() {
    let folder = with_files(0);
    let place = faulty(&folder, Script::new(3).with(When::File(Verb::Write, name(1)), Act::TearWrite));
    place.write(name(2), BYTES).await.unwrap();
    assert_eq!(place.write(name(1), BYTES).await.unwrap_err().kind, FaultKind::Unreachable);
    let torn = folder.get(name(1)).unwrap();
    assert!(torn.len() < BYTES.len() && BYTES.starts_with(&torn));
}

#[tokio::test]
async fn chance_depends_on_the_seed_alone() {
    let run = async |seed| {
        let folder = with_files(1);
        let rule = Act::FailBefore(FaultKind::Failing);
        let place = faulty(&folder, Script::new(seed).with(When::Chance(Verb::Stat, 4), rule));
        let mut failed = Vec::new();
        for _ in 0..400 {
            failed.push(place.stat(name(0)).await.is_err());
        }
        failed
    };
    let first = run(11).await;
    let failures = first.iter().filter(|failed| **failed).count();
    assert!((60..140).contains(&failures), "{failures}");
    assert_eq!(first, run(11).await);
    assert_ne!(first, run(12).await);
}

#[tokio::test]
async fn a_gate_holds_what_comes_and_lets_it_go() {
    let folder = with_files(0);
    let gate = Gate::closed();
    let place = Arc::new(faulty(&folder, Script::new(1).with(When::Every(Verb::Write), Act::Wait(gate.clone()))));
    let writing = {
        let place = Arc::clone(&place);
        tokio::spawn(async move { place.write(name(1), BYTES).await })
    };
    let waiting = gate.clone();
    tokio::task::spawn_blocking(move || assert!(wait_until(Duration::from_secs(10), || waiting.waiting() == 1)))
        .await
        .unwrap();
    assert!(folder.get(name(1)).is_none());
    gate.open();
    writing.await.unwrap().unwrap();
    assert_eq!(folder.get(name(1)).unwrap(), BYTES);
    assert_eq!(gate.waiting(), 0);

    // What waits while the place dies must not be done afterwards.
    gate.close();
    let late = {
        let place = Arc::clone(&place);
        tokio::spawn(async move { place.write(name(2), BYTES).await })
    };
    let waiting = gate.clone();
    tokio::task::spawn_blocking(move || assert!(wait_until(Duration::from_secs(10), || waiting.waiting() == 1)))
        .await
        .unwrap();
    place.die();
    gate.open();
    assert!(late.await.unwrap().is_err());
    assert!(folder.get(name(2)).is_none());
}
