//! Names against content: damage is found and remembered, a pass that broke off goes on where it was.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use clock::FakeClock;
use format::{FileKind, FileName};
use jiff::{Timestamp, tz::TimeZone};
use store::accounts::Limits;
use store::login::LoginSettings;
use store::verifier::Verifier;
use store::verify::{VerifyOptions, progress, verify};
use store::{Gate, RepositoryPlace, State, Steward, Vault};

struct Place {
    _folder: tempfile::TempDir,
    clock: Arc<FakeClock>,
    steward: Steward,
    vault: Vault,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(FakeClock::new(Timestamp::from_second(1_800_000_000).unwrap(), TimeZone::UTC));
        Vault::create(folder.path()).unwrap();
        State::create(folder.path()).unwrap();
        let state = Arc::new(State::open(folder.path(), clock.clone()).unwrap());
        state.add_account(&at().account, Limits::default(), None).unwrap();
        let steward = Steward::begin(state, LoginSettings::default(), None).unwrap();
        let vault = Vault::open(folder.path()).unwrap();
        vault.create_repository(&at()).unwrap();
        Self { _folder: folder, clock, steward, vault }
    }

    async fn store(&self, kind: FileKind, content: &[u8]) -> FileName {
        let room = self.steward.reserve(&at(), content.len() as u64).unwrap();
        let mut incoming = self.vault.incoming().unwrap();
        incoming.write(&[bytes::Bytes::copy_from_slice(content)]).unwrap();
        let name = FileName::new(kind, incoming.id());
        incoming.place(&at(), name).unwrap();
        self.steward.stored(&at(), name, content.len() as u64, room).await.unwrap();
        name
    }

    fn path(&self, name: FileName) -> std::path::PathBuf {
        self.vault.folder().join("repositories").join(at().to_string()).join(name.path())
    }

    fn verify(&self, is_to_stop: &(dyn Fn() -> bool + Sync)) -> store::verify::Verified {
        let options = VerifyOptions { account: None, due_before: None, bytes_per_second: None, is_to_stop };
        verify(self.steward.state(), &self.vault, &options).unwrap()
    }

    fn damaged(&self) -> u64 {
        progress(self.steward.state()).unwrap()[&at()].damaged
    }
}

fn at() -> RepositoryPlace {
    RepositoryPlace { account: "alice".parse().unwrap(), repository: "main".parse().unwrap() }
}

#[tokio::test]
async fn damage_is_found_marked_and_unmarked_when_it_is_healed() {
    let place = Place::new();
    let mut names = Vec::new();
    for number in 0..200_u8 {
        names.push(place.store(FileKind::Pack, &[number; 100]).await);
    }
    place.store(FileKind::Config, b"the config has no hash in its name").await;
    let verified = place.verify(&|| false);
    assert_eq!((verified.files, verified.bytes, verified.is_whole), (201, 200 * 100 + 34, true));
    assert_eq!((verified.damages, place.damaged()), (vec![], 0));

    let mut bytes = fs::read(place.path(names[7])).unwrap();
    bytes[99] ^= 1;
    fs::remove_file(place.path(names[7])).unwrap();
    fs::write(place.path(names[7]), bytes).unwrap();
    fs::remove_file(place.path(names[9])).unwrap();
    let verified = place.verify(&|| false);
    let mut found: Vec<FileName> = verified.damages.iter().map(|damage| damage.name).collect();
    let mut expected = vec![names[7], names[9]];
    found.sort();
    expected.sort();
    assert_eq!((found, place.damaged()), (expected, 2));

    // The client stores the first again; the second is put back by hand and found sound.
    place.store(FileKind::Pack, &[7; 100]).await;
    assert_eq!(place.damaged(), 1);
    fs::write(place.path(names[9]), [9; 100]).unwrap();
    assert_eq!(place.verify(&|| false).damages, vec![]);
    assert_eq!(place.damaged(), 0);
}

#[tokio::test]
async fn a_pass_goes_on_where_it_broke_off() {
    let place = Place::new();
    for number in 0..150_u8 {
        place.store(FileKind::Pack, &[number; 10]).await;
    }
    let mut files = 0;
    let mut passes = 0;
    loop {
        let asked = AtomicUsize::new(0);
        let verified = place.verify(&|| asked.fetch_add(1, Ordering::Relaxed) >= 40);
        (files, passes) = (files + verified.files, passes + 1);
        let progress = progress(place.steward.state()).unwrap()[&at()].clone();
        assert_eq!((progress.files, progress.completed_at.is_some()), (files, verified.is_whole));
        assert_eq!(progress.begun_at.is_none(), verified.is_whole);
        if verified.is_whole {
            break;
        }
    }
    assert_eq!((files, passes), (150, 4), "each file once");
    assert_eq!(place.verify(&|| false).files, 150, "the next pass begins anew");
}

#[tokio::test]
async fn while_serving_a_repository_is_read_again_when_it_is_due() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let limit = Duration::from_secs(60);
    let place = Place::new();
    let name = place.store(FileKind::Pack, b"sealed").await;
    let (tell, told) = mpsc::channel();
    let tell = move |outcome: Result<store::verify::Verified, store::StoreError>| {
        let _ = tell.send(outcome.unwrap());
    };
    let every = 7 * DAY;
    let verifier = Verifier::start(place.steward.state().clone(), place.vault.clone(), every, None, tell).unwrap();
    let first = told.recv_timeout(limit).unwrap();
    assert_eq!((first.files, first.is_whole, first.damages.len()), (1, true, 0));
    place.clock.advance(6 * DAY);
    verifier.look();
    assert_eq!(told.recv_timeout(limit).unwrap().files, 0, "not due yet");
    fs::remove_file(place.path(name)).unwrap();
    place.clock.advance(DAY + Duration::from_secs(1));
    verifier.look();
    assert_eq!(told.recv_timeout(limit).unwrap().damages.len(), 1);
    drop(verifier);
    assert!(told.recv().is_err(), "it has ended");
}
