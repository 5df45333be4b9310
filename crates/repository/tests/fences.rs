//! Locks that vanish while we work, copies that do not answer, and places that break in ways of their own.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod room;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use destinations::{Destination, Listed, Span};
use format::{FileKind, FileName};
use model::{Fault, FaultKind, Verdict};
use repository::backup::backup;
use repository::copies::sync::sync;
use repository::locks::LockMode;
use repository::{Error, Event};
use room::{Copies, Room, plain, three_copies, with_faults};
use testkit::{Act, Faulty, Gate, MemoryFolder, Script, Verb, When};

fn remove_locks(copy: &MemoryFolder) {
    copy.names(FileKind::Lock).into_iter().for_each(|name| drop(copy.take(name)));
}

/// Three backups to the first two copies.
fn leave_the_third_behind(room: &Room, copies: &Copies) {
    for n in 0..3u8 {
        std::fs::write(room.path("source/new"), vec![n; 900_000]).unwrap();
        let two: Vec<Arc<dyn Destination>> = vec![copies[0].clone(), copies[1].clone()];
        room.backup(&room.open_with(two).unwrap(), Path::new("source"));
    }
}

#[test]
fn a_copy_on_which_our_lock_vanished_gets_neither_index_nor_snapshot() {
    let room = Room::new();
    let copies = three_copies(&room);
    std::fs::write(room.path("source/new"), vec![9; 900_000]).unwrap();
    let before = (copies[1].names(FileKind::Index), copies[1].names(FileKind::Snapshot));
    let gate = Gate::closed();
    let script = Script::new(1).with(When::Kind(Verb::Write, FileKind::Pack), Act::Wait(gate.clone()));
    let (destinations, _) = with_faults(&copies, 1, script);
    let repository = room.open_with(destinations).unwrap();
    let report = std::thread::scope(|scope| {
        let running = scope.spawn(|| backup(&repository, &room.request(&[Path::new("source")])).unwrap());
        assert!(testkit::process::wait_until(Duration::from_secs(60), || gate.waiting() > 0));
        // Somebody unlocks, and may remove what no index mentions yet.
        remove_locks(&copies[1]);
        gate.open();
        running.join().unwrap()
    });
    assert_eq!(report.verdict, Verdict::Partial);
    let fault = report.copies[1].fault.as_ref().unwrap();
    assert!(fault.to_string().contains("our lock was removed"), "{fault}");
    assert_eq!((copies[1].names(FileKind::Index), copies[1].names(FileKind::Snapshot)), before);
    assert_eq!(copies[0].names(FileKind::Snapshot).len(), 2);
    // The next run works without manual help.
    let healed = room.backup(&room.open_with(plain(&copies)).unwrap(), Path::new("source"));
    assert_eq!(healed.verdict, Verdict::Ok, "{:?}", healed.copies);
    assert!(copies[0].files() == copies[1].files());
}

#[test]
fn without_a_lock_on_any_copy_there_is_no_snapshot() {
    let room = Room::new();
    let copies = three_copies(&room);
    std::fs::write(room.path("source/new"), vec![9; 900_000]).unwrap();
    let gate = Gate::closed();
    let script = Script::new(1).with(When::Kind(Verb::Write, FileKind::Pack), Act::Wait(gate.clone()));
    let faulty = Arc::new(Faulty::new(copies[0].clone(), script));
    let repository = room.open_with(vec![faulty]).unwrap();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| backup(&repository, &room.request(&[Path::new("source")])));
        assert!(testkit::process::wait_until(Duration::from_secs(60), || gate.waiting() > 0));
        remove_locks(&copies[0]);
        gate.open();
        let end = running.join().unwrap();
        assert!(matches!(end, Err(Error::Destination(_))), "{end:?}");
    });
    assert_eq!(copies[0].names(FileKind::Snapshot).len(), 1);
}

#[test]
fn a_copy_that_does_not_answer_is_asked_for_one_file_and_no_more() {
    let room = Room::new();
    let copies = three_copies(&room);
    leave_the_third_behind(&room, &copies);
    let behind = copies[0].names(FileKind::Pack).len() - copies[2].names(FileKind::Pack).len();
    assert!(behind >= 6, "{behind}");
    let script = Script::new(1).with(When::Kind(Verb::Read, FileKind::Pack), Act::FailBefore(FaultKind::Unreachable));
    let (destinations, faulty) = with_faults(&copies, 0, script);
    let report = sync(&room.open_with(destinations).unwrap()).unwrap();
    assert_eq!(report.verdict, Verdict::Ok, "{:?}", report.copies);
    assert_eq!(faulty.fired(), 1);
    assert!(copies[0].files() == copies[2].files());
}

#[test]
fn a_copy_that_is_lost_is_not_asked_for_what_others_lack() {
    let room = Room::new();
    let copies = three_copies(&room);
    leave_the_third_behind(&room, &copies);
    let dead = Script::new(1).with(When::Kind(Verb::List, FileKind::Snapshot), Act::DieBefore);
    let (destinations, faulty) = with_faults(&copies, 0, dead);
    let report = room.backup(&room.open_with(destinations).unwrap(), Path::new("source"));
    assert_eq!(report.verdict, Verdict::Partial);
    let reads = faulty.operations().iter().filter(|one| one.verb == Verb::Read && one.kind == FileKind::Pack).count();
    assert_eq!(reads, 0);
    assert_eq!(report.copies[2].verdict, Verdict::Ok, "{:?}", report.copies);
}

/// A place whose writes of packs panic: a defect of ours, which must cost this copy and nothing else.
#[derive(Debug)]
struct Panicking(Arc<MemoryFolder>);

#[async_trait]
impl Destination for Panicking {
    fn place(&self) -> &str {
        self.0.place()
    }
    async fn create(&self) -> Result<(), Fault> {
        self.0.create().await
    }
    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, Fault> {
        self.0.list(kind).await
    }
    async fn stat(&self, name: FileName) -> Result<u64, Fault> {
        self.0.stat(name).await
    }
    async fn read(&self, name: FileName, span: Span) -> Result<Bytes, Fault> {
        self.0.read(name, span).await
    }
    async fn write(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        assert!(name.kind() != FileKind::Pack, "this test panics on purpose");
        self.0.write(name, bytes).await
    }
    async fn remove(&self, name: FileName) -> Result<(), Fault> {
        self.0.remove(name).await
    }
}

#[test]
fn a_writer_that_panics_ends_its_copy_and_keeps_nobody_waiting() {
    let room = Room::new();
    let copies = three_copies(&room);
    // More than a queue holds, so that a lane which nobody empties would be waited for.
    testkit::corpus::random_file(&room.path("source/big"), 100 << 20, 7).unwrap();
    let alone = room.open_with(vec![Arc::new(Panicking(copies[0].clone()))]).unwrap();
    let (sender, ended) = std::sync::mpsc::channel();
    let request = room.request(&[Path::new("source")]);
    std::thread::scope(|scope| {
        scope.spawn(move || sender.send(backup(&alone, &request)).unwrap());
        let end = ended.recv_timeout(Duration::from_secs(60));
        room.cancel.set();
        let end = end.expect("the backup waits for a writer that is gone");
        assert!(matches!(end, Err(Error::Destination(_))), "{end:?}");
    });
    assert_eq!(copies[0].names(FileKind::Snapshot).len(), 1);
}

#[test]
fn a_lock_of_one_copy_that_nobody_can_read_costs_that_copy_and_no_other() {
    let room = Room::new();
    let copies = three_copies(&room);
    let rubbish = FileName::new(FileKind::Lock, format::hash(b"rubbish"));
    copies[1].put(rubbish, "rubbish");
    std::fs::write(room.path("source/new"), vec![9; 900_000]).unwrap();
    let report = room.backup(&room.open_with(plain(&copies)).unwrap(), Path::new("source"));
    assert_eq!(report.verdict, Verdict::Partial);
    assert_eq!(report.copies[1].fault.as_ref().unwrap().object, rubbish.path());
    assert_eq!(copies.each_ref().map(|copy| copy.names(FileKind::Snapshot).len()), [2, 1, 2]);
    // Reading goes on even there, and tells of it; adding does not.
    let alone = room.open_with(vec![copies[1].clone()]).unwrap();
    drop(alone.lock(LockMode::Reading).unwrap());
    let told = |event: &Event| matches!(event, Event::Damage(damage) if damage.file == rubbish.path());
    assert!(room.witness.events().iter().any(told));
    let error = alone.lock(LockMode::Adding).unwrap_err();
    assert!(error.to_string().contains("unlock --remove-all"), "{error}");
    let alone = room.open_with(vec![copies[1].clone()]).unwrap();
    assert_eq!(alone.unlock(true).unwrap(), 1);
    drop(alone.lock(LockMode::Adding).unwrap());
}
