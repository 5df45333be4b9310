//! Far copies and several of them: few requests, help for a slow copy, and never a byte that was not checked.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod room;

use std::sync::Arc;
use std::time::Duration;

use clock::FakeClock;
use destinations::{Destination, Span};
use format::{FileKind, FileName, ScryptCost};
use jiff::tz::TimeZone;
use model::Secret;
use repository::copies::{CopySet, Holders};
use repository::restore::{RestoreRequest, restore};
use repository::snapshots::SnapshotFilter;
use repository::{Event, InitRequest, Repository};
use room::{PASSWORD, Room};
use testkit::process::wait_until;
use testkit::{Act, Faulty, Gate, Manifest, MemoryFolder, Script, Verb, When, manifest};

/// Long enough to be worth the help of another copy.
const LARGE_BYTES: usize = 1 << 20;

const LARGE: Span = Span::Range { offset: 0, length: LARGE_BYTES as u64 };

#[test]
fn a_restore_of_many_folders_does_not_ask_for_each_listing() {
    let room = Room::new();
    let source = room.path("source");
    let folders = 400;
    for n in 0..folders {
        let folder = source.join(format!("{:02}/{n:03}/in", n % 20));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("file"), format!("what is in file {n}")).unwrap();
    }
    let copy = Arc::new(Faulty::new(Arc::new(MemoryFolder::new("far")), Script::new(1)));
    let request = InitRequest { cost: ScryptCost::FAST_FOR_TESTS, ..InitRequest::default() };
    let destinations = vec![copy.clone() as Arc<dyn Destination>];
    let password = Secret::from(PASSWORD.to_owned());
    let repository = Repository::init(destinations, &password, &request, room.surroundings()).unwrap();
    room.backup(&repository, &source);
    let before = copy.operations().len();
    let snapshot = repository.find_snapshot("latest", &SnapshotFilter::default()).unwrap().snapshot;
    let target = room.path("target");
    let request = RestoreRequest { target: target.clone(), ..RestoreRequest::default() };
    let report = restore(&repository.indexed().unwrap(), &snapshot, &request, repository.observer()).unwrap();
    assert_eq!(report.failed_count, 0, "{:?}", report.failed);
    let difference = Manifest::difference(
        &manifest(&source).unwrap(),
        &manifest(target.join(source.strip_prefix("/").unwrap())).unwrap(),
    );
    assert!(difference.is_empty(), "{difference:#?}");
    let operations = copy.operations();
    let reads = operations.iter().skip(before).filter(|operation| operation.verb == Verb::Read).count();
    assert!(reads < 60, "{reads} requests for {} listings", 2 * folders + 20);
}

/// A copy that is asked for a large part of `stuck` does not answer until the gate opens; the other one, with the
/// same files, does.
struct Pair {
    clock: Arc<FakeClock>,
    copies: CopySet,
    gate: Gate,
    stuck: FileName,
    other: FileName,
}

fn pair(room: &Room, near: &MemoryFolder, far: Arc<MemoryFolder>) -> Pair {
    let file = |byte: u8| {
        let bytes = vec![byte; LARGE_BYTES];
        (FileName::new(FileKind::Pack, format::hash(&bytes)), bytes)
    };
    let [(stuck, stuck_bytes), (other, other_bytes)] = [file(1), file(2)];
    for copy in [near, far.as_ref()] {
        copy.put(stuck, stuck_bytes.clone());
        copy.put(other, other_bytes.clone());
    }
    let gate = Gate::closed();
    let script = Script::new(1).with(When::File(Verb::Read, stuck), Act::Wait(gate.clone()));
    let near = Arc::new(Faulty::new(Arc::new(near.copy("near")), script));
    let clock = Arc::new(FakeClock::new(jiff::Timestamp::UNIX_EPOCH, TimeZone::UTC));
    let observer = room.witness.clone();
    let copies = CopySet::new(vec![near, far], room.runtime.handle().clone(), observer, clock.clone());
    Pair { clock, copies, gate, stuck, other }
}

impl Pair {
    fn read(&self, name: FileName) -> repository::Result<()> {
        self.copies.read_into(name, LARGE, Holders::ALL, &mut Vec::new(), |bytes| {
            if Some(format::hash(bytes)) == name.id() { Ok(()) } else { Err("wrong bytes".to_owned()) }
        })
    }

    /// Runs `work` while the near copy has had three large reads under way for a second.
    fn while_the_near_copy_is_slow(&self, work: impl FnOnce()) {
        std::thread::scope(|scope| {
            let waiting: Vec<_> = (0..3).map(|_| scope.spawn(|| self.read(self.stuck))).collect();
            assert!(wait_until(Duration::from_secs(60), || self.gate.waiting() == 3));
            self.clock.advance(Duration::from_secs(1));
            work();
            self.gate.open();
            waiting.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
        });
    }
}

#[test]
fn a_slow_copy_is_helped_by_the_next_one() {
    let room = Room::new();
    let pair = pair(&room, &MemoryFolder::new("near"), Arc::new(MemoryFolder::new("far")));
    // The near one would never answer this.
    pair.while_the_near_copy_is_slow(|| pair.read(pair.stuck).unwrap());
    assert!(room.witness.events().is_empty());
}

#[test]
fn damage_on_the_copy_that_helps_is_told_and_the_slow_one_is_asked() {
    let room = Room::new();
    let far = Arc::new(MemoryFolder::new("far"));
    let pair = pair(&room, &MemoryFolder::new("near"), far.clone());
    far.damage(pair.other, |bytes| bytes[77] ^= 1);
    pair.while_the_near_copy_is_slow(|| pair.read(pair.other).unwrap());
    let events = room.witness.events();
    assert!(matches!(events.as_slice(), [Event::Damage(damage)] if damage.copy == "memory:far"), "{events:?}");
}
