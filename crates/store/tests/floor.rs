//! Quotas and the floor under removals, beside a model that is too simple to be wrong; and rows beside files after an
//! end that was not announced.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clock::{Clock, FakeClock};
use format::{FileKind, FileName};
use jiff::{Timestamp, tz::TimeZone};
use model::Id;
use store::accounts::Limits;
use store::login::LoginSettings;
use store::{Denied, Exceeded, Gate, Quota, RepositoryPlace, Reservation, State, Steward, Vault};
use testkit::Random;

const HOUR: u64 = 3600;

struct Place {
    folder: tempfile::TempDir,
    clock: Arc<FakeClock>,
}

impl Place {
    fn new(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(FakeClock::new(Timestamp::from_second(1_800_000_000).unwrap(), TimeZone::UTC));
        State::create(folder.path()).unwrap();
        let place = Self { folder, clock };
        place.state().add_account(&"alice".parse().unwrap(), limits, None).unwrap();
        place
    }

    fn state(&self) -> State {
        State::open(self.folder.path(), self.clock.clone()).unwrap()
    }

    fn serve(&self) -> Steward {
        Steward::begin(Arc::new(self.state()), LoginSettings::default(), None).unwrap()
    }
}

fn at(repository: &str) -> RepositoryPlace {
    RepositoryPlace { account: "alice".parse().unwrap(), repository: repository.parse().unwrap() }
}

fn name(kind: FileKind, number: u8) -> FileName {
    FileName::new(kind, Id::from_bytes([number; 32]))
}

async fn store(steward: &Steward, place: &RepositoryPlace, name: FileName, bytes: u64) -> Result<(), Denied> {
    let room = steward.reserve(place, bytes)?;
    steward.stored(place, name, bytes, room).await.unwrap();
    Ok(())
}

/// Files with their bytes and first arrival, uploads under way, and nothing clever.
#[derive(Default)]
struct Model {
    files: BTreeMap<(String, FileName), (u64, Timestamp)>,
    rooms: Vec<u64>,
}

impl Model {
    fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.0).sum::<u64>() + self.rooms.iter().sum::<u64>()
    }

    fn count(&self) -> u64 {
        (self.files.len() + self.rooms.len()) as u64
    }

    /// Whether there is room for one more file of so many bytes.
    fn room(&self, limits: Limits, bytes: u64) -> Result<(), Exceeded> {
        let files = limits.quota_files.unwrap() - self.count().min(limits.quota_files.unwrap());
        if files < 1 {
            return Err(Exceeded { quota: Quota::Files, remaining: files });
        }
        self.more(limits, bytes)
    }

    fn more(&self, limits: Limits, bytes: u64) -> Result<(), Exceeded> {
        let remaining = limits.quota_bytes.unwrap() - self.bytes().min(limits.quota_bytes.unwrap());
        if bytes <= remaining { Ok(()) } else { Err(Exceeded { quota: Quota::Bytes, remaining }) }
    }

    fn may_remove(&self, repository: &str, name: FileName, now: Timestamp, limits: Limits) -> bool {
        let age = Duration::from_secs(limits.minimum_age_seconds);
        name.kind() == FileKind::Lock
            || self.files.get(&(repository.to_owned(), name)).is_none_or(|(_, at)| now >= *at + age)
    }
}

#[tokio::test]
async fn quota_and_floor_are_what_a_naive_model_says() {
    let mut random = Random::new(testkit::seed("quota and floor"));
    let limits = Limits {
        quota_bytes: Some(2_000),
        quota_files: Some(12),
        quota_repositories: Some(2),
        minimum_age_seconds: 24 * HOUR,
    };
    let place = Place::new(limits);
    let (mut steward, mut model) = (place.serve(), Model::default());
    let mut rooms: Vec<Box<dyn Reservation>> = Vec::new();
    let mut seen = [0; 4];
    let steps = if std::env::var_os("TRIPLICATE_EXHAUSTIVE").is_some() { 100_000 } else { 2_000 };
    for _ in 0..steps {
        let repository = ["one", "two"][random.index(2)];
        let name = name(FileKind::ALL[random.index(6)], random.below(6) as u8);
        let bytes = random.below(500);
        match random.below(12) {
            0..=3 => {
                let stored = store(&steward, &at(repository), name, bytes).await;
                assert_eq!(stored, model.room(limits, bytes).map_err(Denied::Exceeded));
                if stored.is_ok() {
                    let now = place.clock.now();
                    model.files.entry((repository.to_owned(), name)).or_insert((bytes, now)).0 = bytes;
                } else {
                    seen[0] += 1;
                }
            }
            4 => match steward.reserve(&at(repository), bytes) {
                Ok(room) => {
                    assert_eq!(model.room(limits, bytes), Ok(()));
                    rooms.push(room);
                    model.rooms.push(bytes);
                }
                Err(denied) => assert_eq!(Err(denied), model.room(limits, bytes).map_err(Denied::Exceeded)),
            },
            5 if !rooms.is_empty() => {
                let which = random.index(rooms.len());
                assert_eq!(rooms[which].grow(bytes), model.more(limits, bytes));
                if model.more(limits, bytes).is_ok() {
                    model.rooms[which] += bytes;
                    seen[1] += 1;
                }
            }
            6 if !rooms.is_empty() => {
                let which = random.index(rooms.len());
                drop(rooms.swap_remove(which));
                model.rooms.swap_remove(which);
            }
            7..=9 => {
                let allowed = steward.may_remove(&at(repository), name).await;
                let expected = model.may_remove(repository, name, place.clock.now(), limits);
                assert_eq!(allowed.is_ok(), expected, "{repository}/{name}: {allowed:?}");
                if expected {
                    steward.removed(&at(repository), name).await.unwrap();
                    model.files.remove(&(repository.to_owned(), name));
                    seen[2] += 1;
                } else {
                    let (_, received_at) = model.files[&(repository.to_owned(), name)];
                    let free_at = received_at + Duration::from_secs(limits.minimum_age_seconds);
                    assert_eq!(allowed, Err(Denied::Floor { received_at, free_at }));
                }
            }
            10 => place.clock.advance(Duration::from_secs(random.below(6 * HOUR))),
            _ if random.chance(20) => {
                rooms.clear();
                model.rooms.clear();
                steward.end().unwrap();
                drop(steward);
                steward = place.serve();
                assert_eq!(steward.reconciled(), None, "this end was announced");
                seen[3] += 1;
            }
            _ => {}
        }
        let holding = steward.holdings().holding(&at("one").account);
        assert_eq!(
            (holding.bytes + holding.reserved_bytes, holding.files + holding.reserved_files),
            (model.bytes(), model.count())
        );
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}

#[tokio::test]
async fn only_this_servers_clock_makes_a_file_old() {
    let place = Place::new(Limits::default());
    let (steward, snapshot) = (place.serve(), name(FileKind::Snapshot, 1));
    store(&steward, &at("one"), snapshot, 5).await.unwrap();
    place.clock.advance(Duration::from_secs(23 * HOUR));
    // Storing it again, as a retry does, makes it neither younger nor older.
    store(&steward, &at("one"), snapshot, 5).await.unwrap();
    let denied = steward.may_remove(&at("one"), snapshot).await.unwrap_err();
    assert!(
        matches!(denied, Denied::Floor { free_at, .. } if free_at == place.clock.now() + Duration::from_secs(HOUR))
    );
    // A clock that was set back makes nothing older.
    let now = place.clock.now();
    place.clock.jump_to(Timestamp::UNIX_EPOCH);
    assert!(steward.may_remove(&at("one"), snapshot).await.is_err());
    place.clock.jump_to(now + Duration::from_secs(HOUR));
    steward.may_remove(&at("one"), snapshot).await.unwrap();
    for kind in FileKind::ALL {
        store(&steward, &at("one"), name(kind, 2), 1).await.unwrap();
        assert_eq!(steward.may_remove(&at("one"), name(kind, 2)).await.is_ok(), kind == FileKind::Lock, "{kind:?}");
    }
}

#[tokio::test]
async fn repositories_have_a_quota_and_one_that_is_there_is_free() {
    let place = Place::new(Limits { quota_repositories: Some(2), ..Limits::default() });
    let steward = place.serve();
    for repository in ["one", "two"] {
        steward.may_create(&at(repository)).await.unwrap();
        steward.created(&at(repository)).await.unwrap();
    }
    let exceeded = Denied::Exceeded(Exceeded { quota: Quota::Repositories, remaining: 0 });
    assert_eq!(steward.may_create(&at("three")).await, Err(exceeded));
    steward.may_create(&at("two")).await.unwrap();
}

fn put(folder: &Path, place: &RepositoryPlace, name: FileName, bytes: &[u8]) {
    let path = folder.join("repositories").join(place.to_string()).join(name.path());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn after_an_end_that_was_not_announced_files_without_a_row_count_as_received_now() {
    let place = Place::new(Limits::default());
    let steward = place.serve();
    for number in 0..3 {
        put(place.folder.path(), &at("one"), name(FileKind::Pack, number), b"12345");
        store(&steward, &at("one"), name(FileKind::Pack, number), 5).await.unwrap();
    }
    drop(steward);
    place.clock.advance(Duration::from_secs(48 * HOUR));
    // One came without its row, one went without it, one repository nobody has heard of, and things that are no files.
    put(place.folder.path(), &at("one"), name(FileKind::Pack, 7), b"1234567");
    put(place.folder.path(), &at("other"), FileName::CONFIG, b"123");
    let folder = place.folder.path().join("repositories/alice/one");
    fs::remove_file(folder.join(name(FileKind::Pack, 0).path())).unwrap();
    fs::write(folder.join("data/07/upper"), b"x").unwrap();
    std::os::unix::fs::symlink(
        "/etc/passwd",
        folder.join(name(FileKind::Pack, 9).path().replace("data/09", "data/07")),
    )
    .unwrap();

    let steward = place.serve();
    let reconciled = steward.reconciled().unwrap();
    assert_eq!((reconciled.found, reconciled.gone), (2, 1));
    let holding = steward.holdings().holding(&at("one").account);
    assert_eq!((holding.files, holding.bytes, holding.repositories.len()), (4, 5 + 5 + 7 + 3, 2));
    steward.may_remove(&at("one"), name(FileKind::Pack, 1)).await.unwrap();
    assert!(matches!(steward.may_remove(&at("one"), name(FileKind::Pack, 7)).await, Err(Denied::Floor { .. })));
    assert!(matches!(steward.may_remove(&at("other"), FileName::CONFIG).await, Err(Denied::Floor { .. })));
    steward.end().unwrap();
    assert_eq!(place.serve().reconciled(), None);
}

#[tokio::test]
async fn a_file_that_is_found_without_a_row_while_serving_is_not_let_go() {
    let place = Place::new(Limits::default());
    let steward = place.serve();
    put(place.folder.path(), &at("one"), name(FileKind::Snapshot, 1), b"12345");
    for _ in 0..2 {
        assert!(matches!(steward.may_remove(&at("one"), name(FileKind::Snapshot, 1)).await, Err(Denied::Floor { .. })));
    }
    assert_eq!(steward.holdings().holding(&at("one").account).bytes, 5);
    steward.may_remove(&at("one"), name(FileKind::Snapshot, 2)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_never_exceed_the_quota_and_lose_no_row() {
    let place = Place::new(Limits { quota_bytes: Some(1_000), ..Limits::default() });
    let steward = Arc::new(place.serve());
    let many: Vec<_> = (0..200_u8)
        .map(|number| {
            let steward = steward.clone();
            tokio::spawn(async move { store(&steward, &at("one"), name(FileKind::Pack, number), 10).await })
        })
        .collect();
    let mut stored = 0;
    for one in many {
        stored += u64::from(one.await.unwrap().is_ok());
    }
    assert_eq!(stored, 100);
    let holding = steward.holdings().holding(&at("one").account);
    assert_eq!((holding.bytes, holding.files, holding.reserved_bytes, holding.reserved_files), (1_000, 100, 0, 0));
    steward.end().unwrap();
    assert_eq!(place.serve().holdings().holding(&at("one").account).files, 100);
}

#[tokio::test]
async fn a_sweep_puts_rows_right_and_names_repositories_without_an_owner() {
    let place = Place::new(Limits::default());
    Vault::create(place.folder.path()).unwrap();
    put(place.folder.path(), &at("one"), name(FileKind::Pack, 7), b"1234567");
    let lost = RepositoryPlace { account: "lost".parse().unwrap(), repository: "one".parse().unwrap() };
    put(place.folder.path(), &lost, FileName::CONFIG, b"123");
    let vault = Vault::open(place.folder.path()).unwrap();
    let swept = store::sweep::sweep(&place.state(), &vault).unwrap();
    assert_eq!((swept.reconciled.found, swept.ownerless), (1, vec![lost.clone()]));
    assert!(vault.stat(&lost, FileName::CONFIG).is_ok());
    let usage = store::usage::usage(&place.state()).unwrap();
    assert_eq!((usage.repositories.len(), usage.repositories[0].bytes), (1, 7));
    assert_eq!(usage.accounts[0].usage.as_ref().unwrap().files, 1);
    assert!(Vault::open(place.folder.path()).is_err(), "only where no server works");
}

#[tokio::test]
async fn a_clock_that_jumps_forward_makes_nothing_old() {
    let place = Place::new(Limits { minimum_age_seconds: 48 * HOUR, ..Limits::default() });
    let steward = place.serve();
    let (early, late) = (name(FileKind::Snapshot, 1), name(FileKind::Snapshot, 2));
    store(&steward, &at("one"), early, 1).await.unwrap();
    let begun = place.clock.now();
    place.clock.jump_to(begun + Duration::from_secs(20 * 365 * 24 * HOUR));
    assert!(matches!(steward.may_remove(&at("one"), early).await, Err(Denied::Floor { .. })), "within a run");
    steward.end().unwrap();
    let steward = place.serve();
    // A week may have passed between two runs, and not twenty years.
    assert_eq!(steward.may_remove(&at("one"), early).await, Ok(()));
    store(&steward, &at("one"), late, 1).await.unwrap();
    place.clock.advance(Duration::from_secs(100 * HOUR));
    assert!(matches!(steward.may_remove(&at("one"), late).await, Err(Denied::Floor { .. })), "it came in the future");
    // The clock is put right again, and time goes on as it should.
    place.clock.jump_to(begun + Duration::from_secs(60 * HOUR));
    let right = name(FileKind::Snapshot, 3);
    store(&steward, &at("one"), right, 1).await.unwrap();
    place.clock.advance(Duration::from_secs(47 * HOUR));
    assert!(steward.may_remove(&at("one"), right).await.is_err());
    place.clock.advance(Duration::from_secs(HOUR));
    assert_eq!(steward.may_remove(&at("one"), right).await, Ok(()));
}

#[tokio::test]
async fn after_months_away_files_are_as_old_as_the_operator_says() {
    let place = Place::new(Limits { minimum_age_seconds: 30 * 24 * HOUR, ..Limits::default() });
    Vault::create(place.folder.path()).unwrap();
    let old = name(FileKind::Pack, 1);
    put(place.folder.path(), &at("one"), old, b"1");
    let steward = place.serve();
    store(&steward, &at("one"), old, 1).await.unwrap();
    steward.end().unwrap();
    place.clock.advance(Duration::from_secs(90 * 24 * HOUR));
    let steward = place.serve();
    assert!(matches!(steward.may_remove(&at("one"), old).await, Err(Denied::Floor { .. })), "a week is believed");
    steward.end().unwrap();
    store::sweep::sweep(&place.state(), &Vault::open(place.folder.path()).unwrap()).unwrap();
    assert_eq!(place.serve().may_remove(&at("one"), old).await, Ok(()));
}

#[tokio::test]
async fn a_damaged_row_opens_nothing_and_is_put_right_by_a_sweep() {
    let place = Place::new(Limits { minimum_age_seconds: 48 * HOUR, ..Limits::default() });
    Vault::create(place.folder.path()).unwrap();
    let names = [1, 2, 3].map(|number| name(FileKind::Pack, number));
    let steward = place.serve();
    for name in names {
        put(place.folder.path(), &at("one"), name, b"1");
        store(&steward, &at("one"), name, 1).await.unwrap();
    }
    let damage = |what: &str, number: u8| {
        let connection = rusqlite::Connection::open(steward_path(&place)).unwrap();
        let change = format!("UPDATE files SET {what} WHERE id = ?1");
        assert_eq!(connection.execute(&change, [[number; 32]]).unwrap(), 1);
    };
    // One bit of a moment, so that it lies 18 hours or 34 years back; and one of the sum.
    damage("received_at = received_at - (1 << 40)", 1);
    damage("checksum = checksum + 1", 2);
    place.clock.advance(Duration::from_secs(49 * HOUR));
    assert_eq!(steward.may_remove(&at("one"), names[0]).await, Err(Denied::Unknown));
    assert_eq!(steward.may_remove(&at("one"), names[1]).await, Err(Denied::Unknown));
    assert_eq!(steward.may_remove(&at("one"), names[2]).await, Ok(()));
    // Storing the same again tells nothing about when it came first.
    store(&steward, &at("one"), names[0], 1).await.unwrap();
    assert_eq!(steward.may_remove(&at("one"), names[0]).await, Err(Denied::Unknown));
    steward.end().unwrap();
    let swept = store::sweep::sweep(&place.state(), &Vault::open(place.folder.path()).unwrap()).unwrap();
    assert_eq!((swept.reconciled.mended, swept.reconciled.found, swept.reconciled.gone), (2, 0, 0));
    let steward = place.serve();
    for name in &names[..2] {
        assert!(matches!(steward.may_remove(&at("one"), *name).await, Err(Denied::Floor { .. })));
    }
    place.clock.advance(Duration::from_secs(48 * HOUR));
    assert_eq!(steward.may_remove(&at("one"), names[0]).await, Ok(()));
}

fn steward_path(place: &Place) -> std::path::PathBuf {
    place.folder.path().join("store.sqlite")
}
