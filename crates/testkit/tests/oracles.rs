//! Each oracle sees what it is there to see, the life of a process ends where it is told to, and restic comes to a copy
//! in memory.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use destinations::Span;
use format::{FileKind, FileName};
use model::{FaultKind, Id};
use testkit::oracles::{Acknowledged, Checked, Door, Expected, Judge, Panics, Product, from_folder, to_folder};
use testkit::process::wait_until;
use testkit::{Fate, Gate, Lifeline, Manifest, MemoryFolder, Oracle, manifest};

const BYTES: Bytes = Bytes::from_static(b"some bytes");

fn id(number: u8) -> Id {
    Id::from_bytes([number; 32])
}

fn snapshot(number: u8) -> FileName {
    FileName::new(FileKind::Snapshot, id(number))
}

/// A product that does what a test tells it to do.
#[derive(Default)]
struct Puppet {
    checked: Checked,
    content: &'static str,
    leaves: Option<&'static str>,
}

impl Product for Puppet {
    fn snapshots(&self, copy: &MemoryFolder) -> Result<Vec<Id>, String> {
        Ok(copy.names(FileKind::Snapshot).into_iter().filter_map(|name| name.id()).collect())
    }

    fn check(&self, _: &MemoryFolder) -> Checked {
        self.checked.clone()
    }

    fn restore(&self, _: &MemoryFolder, _: Id, target: &Path) -> Result<(), String> {
        std::fs::create_dir(target).unwrap();
        std::fs::write(target.join("file"), self.content).unwrap();
        let _ = rustix::fs::utimensat(rustix::fs::CWD, target.join("file"), &NO_TIME, rustix::fs::AtFlags::empty());
        if let Some(name) = self.leaves {
            std::fs::write(target.with_file_name(name), "outside").unwrap();
        }
        Ok(())
    }
}

const NO_TIME: rustix::fs::Timestamps = rustix::fs::Timestamps {
    last_access: rustix::fs::Timespec { tv_sec: 0, tv_nsec: 0 },
    last_modification: rustix::fs::Timespec { tv_sec: 0, tv_nsec: 0 },
};

/// What a faultless puppet restores.
fn tree() -> Arc<Manifest> {
    let scratch = tempfile::tempdir().unwrap();
    let target = scratch.path().join("target");
    Puppet { content: "right", ..Puppet::default() }.restore(&MemoryFolder::new("any"), id(1), &target).unwrap();
    let mut tree = manifest(&target).unwrap();
    tree.entries.remove(b"".as_slice());
    Arc::new(tree)
}

fn verdict_on(puppet: &Puppet, change: impl Fn(&MemoryFolder)) -> String {
    let scratch = tempfile::tempdir().unwrap();
    let copy = MemoryFolder::new("copy");
    copy.put(snapshot(1), BYTES);
    copy.put(FileName::pack(id(2)), BYTES);
    let before = copy.files();
    change(&copy);
    let acknowledged = [Acknowledged { id: id(1), tree: tree() }];
    let expected = Expected { acknowledged: &acknowledged, grows_from: Some(&before), surplus_packs_max: 1 };
    let judge = Judge::new(puppet, "", scratch.path());
    let first = judge.violations(&copy, &expected);
    // What was sound is not judged again, what was not is.
    assert_eq!(judge.violations(&copy, &expected), first);
    first.join("\n")
}

#[test]
fn every_oracle_sees_what_it_is_there_for() {
    let sound = || Puppet { content: "right", ..Puppet::default() };
    assert_eq!(verdict_on(&sound(), |_| ()), "");
    assert_eq!(verdict_on(&sound(), |copy| copy.put(FileName::pack(id(3)), BYTES)), "", "growing is fine");
    let wrong = Puppet { content: "wrong", ..sound() };
    assert!(verdict_on(&wrong, |_| ()).contains("O1"), "other content");
    assert!(verdict_on(&sound(), |copy| drop(copy.take(snapshot(1)))).contains("O1, O3"), "no snapshot");
    let damaged = Checked { wrong: vec!["a pack is damaged".to_owned()], surplus_packs: 0 };
    assert!(verdict_on(&Puppet { checked: damaged, ..sound() }, |_| ()).contains("O2: a pack is damaged"));
    let surplus = Checked { wrong: Vec::new(), surplus_packs: 2 };
    assert!(verdict_on(&Puppet { checked: surplus, ..sound() }, |_| ()).contains("O2: 2 packs are in no index"));
    assert!(verdict_on(&Puppet { leaves: Some("beside"), ..sound() }, |_| ()).contains("O4"));
    assert!(verdict_on(&sound(), |copy| drop(copy.take(FileName::pack(id(2))))).contains("O6"), "a file is gone");
    assert!(verdict_on(&sound(), |copy| copy.put(FileName::pack(id(2)), "other")).contains("O6"), "other bytes");
}

#[test]
fn panics_are_counted_on_whatever_thread() {
    let panics = Panics::watch();
    let _ = std::thread::spawn(|| panic!("this test panics on purpose")).join();
    assert_eq!(panics.count(), 1);
    assert_eq!(Panics::watch().count(), 0);
}

#[tokio::test]
async fn a_life_ends_on_all_places_at_once() {
    for (fate, is_done) in [(Fate::DiesBefore(2), false), (Fate::DiesAfter(2), true)] {
        let folders = ["a", "b"].map(|name| Arc::new(MemoryFolder::new(name)));
        let lifeline = Lifeline::new(fate);
        let places = folders.each_ref().map(|folder| lifeline.to(folder.clone()));
        places[0].write(snapshot(1), BYTES).await.unwrap();
        let fault = places[1].write(snapshot(1), BYTES).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Unreachable);
        assert_eq!(folders[1].get(snapshot(1)).is_some(), is_done);
        assert!(lifeline.is_dead() && places[0].read(snapshot(1), Span::Whole).await.is_err());
        assert!(places[0].remove(snapshot(1)).await.is_err() && folders[0].get(snapshot(1)).is_some());
        assert_eq!((lifeline.count(), lifeline.asked_after_death()), (2, 2));
        assert_eq!(lifeline.what(2), "write snapshots on memory:b");
        assert!(lifeline.wait_until_quiet());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_pauses_on_all_places_at_once() {
    let folder = Arc::new(MemoryFolder::new("a"));
    let gate = Gate::closed();
    let lifeline = Lifeline::new(Fate::PausesBefore(2, gate.clone()));
    let place = lifeline.to(folder.clone());
    place.write(snapshot(1), BYTES).await.unwrap();
    let writes = [2, 3].map(|number| {
        let place = place.clone();
        tokio::spawn(async move { place.write(snapshot(number), BYTES).await })
    });
    assert!(wait_until(Duration::from_secs(10), || gate.waiting() == 2));
    assert_eq!(folder.files().len(), 1);
    gate.open();
    for write in writes {
        write.await.unwrap().unwrap();
    }
    assert_eq!(folder.files().len(), 3);
}

#[test]
fn restic_works_on_a_copy_in_memory_and_on_its_image() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    std::fs::create_dir(scratch.path().join("source")).unwrap();
    std::fs::write(scratch.path().join("source/file"), "content").unwrap();
    for version in testkit::components::RESTIC_VERSIONS {
        let copy = Arc::new(MemoryFolder::new("copy"));
        let lifeline = Lifeline::new(Fate::Lives);
        let door = Door::open(lifeline.to(copy.clone()), runtime.handle()).unwrap();
        let Some(restic) = Oracle::restic(version, &door.repository(), "secret") else { continue };
        restic.init(2);
        restic.backup(&[&scratch.path().join("source")], &[]);
        restic.check(true);
        restic.ok(&["forget", "--keep-last", "1", "--prune"]);
        assert_eq!(copy.names(FileKind::Snapshot).len(), 1);
        assert!(lifeline.count() > 20);
        let image = scratch.path().join("image");
        to_folder(&copy, &image).unwrap();
        Oracle::restic(version, image.to_str().unwrap(), "secret").unwrap().check(true);
        let again = MemoryFolder::new("again");
        from_folder(&again, &image).unwrap();
        assert!(again.files() == copy.files());
    }
}
