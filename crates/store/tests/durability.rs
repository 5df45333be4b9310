//! Whole and durable under its name, or not there.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use format::{FileKind, FileName};
use house::hash;
use store::vault::Placed;
use store::{RepositoryPlace, StoreError, Vault};

fn place() -> RepositoryPlace {
    RepositoryPlace { account: "alice".parse().unwrap(), repository: "main".parse().unwrap() }
}

fn store(vault: &Vault, name: FileName, content: &'static [u8]) -> Placed {
    let mut incoming = vault.incoming().unwrap();
    incoming.write(&[bytes::Bytes::from_static(content)]).unwrap();
    incoming.place(&place(), name).unwrap()
}

#[test]
fn what_an_upload_left_is_swept_at_the_next_start_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    Vault::create(folder.path()).unwrap();
    let vault = Vault::open(folder.path()).unwrap();
    vault.create_repository(&place()).unwrap();
    let name = FileName::new(FileKind::Key, hash(b"a key").parse().unwrap());
    assert_eq!(store(&vault, name, b"a key"), Placed::Stored);
    assert!(matches!(Vault::open(folder.path()), Err(StoreError::InUse { .. })));
    drop(vault);
    let incoming = folder.path().join("incoming");
    std::fs::write(incoming.join("0000000000000007"), b"half").unwrap();
    std::fs::create_dir_all(incoming.join("purged-1-0/data/00")).unwrap();
    std::fs::write(incoming.join("purged-1-0/data/00/x"), b"x").unwrap();
    std::os::unix::fs::symlink(folder.path().join("repositories"), incoming.join("link")).unwrap();
    let vault = Vault::open(folder.path()).unwrap();
    assert_eq!(std::fs::read_dir(&incoming).unwrap().count(), 0);
    assert_eq!(vault.stat(&place(), name).unwrap(), 5);
}

#[test]
fn a_folder_without_a_store_is_none() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Vault::open(folder.path()).unwrap_err().is_absent());
    assert!(Vault::visit(&folder.path().join("nowhere")).unwrap_err().is_absent());
}

#[test]
fn config_of_other_bytes_is_taken_whatever_their_length() {
    let folder = tempfile::tempdir().unwrap();
    Vault::create(folder.path()).unwrap();
    let vault = Vault::open(folder.path()).unwrap();
    vault.create_repository(&place()).unwrap();
    assert_eq!(store(&vault, FileName::CONFIG, b"config"), Placed::Stored);
    assert_eq!(store(&vault, FileName::CONFIG, b"config"), Placed::Same);
    for other in [&b"konfig"[..], b"", b"configuration"] {
        assert_eq!(store(&vault, FileName::CONFIG, other), Placed::Taken);
    }
    assert_eq!(std::fs::read_dir(folder.path().join("incoming")).unwrap().count(), 0);
}

#[test]
fn repositories_are_known_and_purged_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    Vault::create(folder.path()).unwrap();
    let vault = Vault::open(folder.path()).unwrap();
    let other = RepositoryPlace { repository: "other".parse().unwrap(), ..place() };
    for place in [&place(), &other] {
        vault.create_repository(place).unwrap();
        vault.create_repository(place).unwrap();
    }
    std::fs::create_dir(folder.path().join("repositories/.hidden")).unwrap();
    std::os::unix::fs::symlink("/etc", folder.path().join("repositories/alice/etc")).unwrap();
    assert_eq!(vault.repositories().unwrap(), [place(), other.clone()]);
    let visitor = Vault::visit(folder.path()).unwrap();
    assert!(visitor.purge_repository(&other).unwrap());
    assert!(!visitor.purge_repository(&other).unwrap());
    assert_eq!(vault.repositories().unwrap(), [place()]);
    assert!(!vault.has_repository(&other).unwrap());
    assert_eq!(std::fs::read_dir(folder.path().join("incoming")).unwrap().count(), 0);
}

#[test]
fn a_missing_folder_of_packs_is_made_and_one_of_keys_is_not() {
    let folder = tempfile::tempdir().unwrap();
    Vault::create(folder.path()).unwrap();
    let vault = Vault::open(folder.path()).unwrap();
    vault.create_repository(&place()).unwrap();
    let id = hash(b"content");
    let repository = folder.path().join("repositories/alice/main");
    std::fs::remove_dir(repository.join("data").join(&id[..2])).unwrap();
    std::fs::remove_dir(repository.join("keys")).unwrap();
    assert_eq!(store(&vault, FileName::pack(id.parse().unwrap()), b"content"), Placed::Stored);
    let mut incoming = vault.incoming().unwrap();
    incoming.write(&[bytes::Bytes::from_static(b"content")]).unwrap();
    let key = FileName::new(FileKind::Key, id.parse().unwrap());
    assert!(incoming.place(&place(), key).unwrap_err().is_absent());
}
