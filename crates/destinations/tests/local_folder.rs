//! What a local folder promises beyond the suite: permissions, leftovers, hostile entries, full and read-only disks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stderr)] // a test that cannot be run says so

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use destinations::{Destination, LocalFolder, LocalLocation, Span};
use format::{FileKind, FileName};
use model::{FaultKind, Id};

fn folder(root: &Path) -> LocalFolder {
    LocalFolder::new(&LocalLocation { path: root.to_owned() })
}

fn pack(first_byte: u8) -> FileName {
    FileName::pack(Id::from_bytes([first_byte; 32]))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn files_are_read_only_and_folders_private() {
    let above = tempfile::tempdir().unwrap();
    let root = above.path().join("copy");
    let place = folder(&root);
    place.create().await.unwrap();
    place.write(FileName::CONFIG, Bytes::from_static(b"config")).await.unwrap();
    place.write(pack(1), Bytes::from_static(b"x")).await.unwrap();
    for path in ["", "data", "data/00", "data/ff", "index", "keys", "locks", "snapshots"] {
        assert_eq!(mode(&root.join(path)), 0o700, "{path}");
    }
    for path in ["config".to_owned(), pack(1).path()] {
        assert_eq!(mode(&root.join(&path)), 0o400, "{path}");
    }
}

#[tokio::test]
async fn a_repository_that_a_group_shares_stays_shared() {
    let root = tempfile::tempdir().unwrap();
    let place = folder(root.path());
    place.create().await.unwrap();
    place.write(FileName::CONFIG, Bytes::from_static(b"config")).await.unwrap();
    fs::set_permissions(root.path().join("config"), fs::Permissions::from_mode(0o440)).unwrap();
    place.write(pack(1), Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(mode(&root.path().join(pack(1).path())), 0o440);
}

#[tokio::test]
async fn a_missing_root_is_never_made_by_a_write() {
    let above = tempfile::tempdir().unwrap();
    let root = above.path().join("unmounted");
    let place = folder(&root);
    for name in [FileName::CONFIG, pack(1)] {
        let fault = place.write(name, Bytes::from_static(b"x")).await.expect_err("no root");
        assert_eq!(fault.kind, FaultKind::NotFound, "{fault}");
    }
    assert!(!root.exists());
}

#[tokio::test]
async fn a_missing_folder_of_packs_is_made_by_a_write() {
    let root = tempfile::tempdir().unwrap();
    let place = folder(root.path());
    place.create().await.unwrap();
    fs::remove_dir(root.path().join("data/01")).unwrap();
    place.write(pack(1), Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(place.read(pack(1), Span::Whole).await.unwrap(), "x");
    fs::remove_dir(root.path().join("snapshots")).unwrap();
    assert_eq!(place.list(FileKind::Snapshot).await.expect_err("no folder").kind, FaultKind::NotFound);
}

#[tokio::test]
async fn only_our_own_stale_leftovers_are_swept() {
    let root = tempfile::tempdir().unwrap();
    let place = folder(root.path());
    place.create().await.unwrap();
    let beside = |suffix: &str| root.path().join(format!("{}{suffix}", pack(1).path()));
    let stale = beside("-tmp-t0123456789abcdef");
    let at_work = beside("-tmp-tfedcba9876543210");
    let of_restic = beside("-tmp-1234567890");
    let foreign = root.path().join("data/01/notes-tmp-t0123456789abcdef");
    for path in [&stale, &at_work, &of_restic, &foreign] {
        fs::write(path, b"half").unwrap();
        let hours = if path == &at_work { 23 } else { 25 };
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        #[allow(clippy::disallowed_methods)] // the file system's clock is the machine's
        file.set_modified(SystemTime::now() - Duration::from_secs(hours * 3600)).unwrap();
    }
    place.write(pack(1), Bytes::from_static(b"x")).await.unwrap();
    assert!(!stale.exists(), "ours, and older than a day");
    assert!(at_work.exists() && of_restic.exists() && foreign.exists());
    assert_eq!(place.list(FileKind::Pack).await.unwrap().len(), 1);
}

#[tokio::test]
async fn pipes_folders_and_links_under_our_names_do_no_harm() {
    let root = tempfile::tempdir().unwrap();
    let place = folder(root.path());
    place.create().await.unwrap();
    let named = |number: u8| root.path().join(FileName::new(FileKind::Key, Id::from_bytes([number; 32])).path());
    assert!(Command::new("mkfifo").arg(named(1)).status().unwrap().success());
    fs::create_dir(named(2)).unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all", named(3)).unwrap();
    std::os::unix::fs::symlink(named(3), named(4)).unwrap();
    assert_eq!(place.list(FileKind::Key).await.unwrap(), []);
    for (number, kind) in
        [(1, FaultKind::Damaged), (2, FaultKind::Damaged), (3, FaultKind::NotFound), (4, FaultKind::NotFound)]
    {
        let name = FileName::new(FileKind::Key, Id::from_bytes([number; 32]));
        let reading = tokio::time::timeout(Duration::from_secs(20), place.read(name, Span::Whole));
        assert_eq!(reading.await.expect("a pipe must not hang").expect_err("no file").kind, kind, "{number}");
        assert_eq!(place.stat(name).await.expect_err("no file").kind, kind, "{number}");
    }
    // A pack in the folder of another first byte cannot be read by its name.
    let strayed = pack(0xaa).path().replace("data/aa", "data/bb");
    fs::write(root.path().join(strayed), b"x").unwrap();
    assert_eq!(place.list(FileKind::Pack).await.unwrap(), []);
}

#[tokio::test]
async fn a_file_where_a_folder_should_be_is_told() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, b"x").unwrap();
    let place = folder(&file);
    for fault in [
        place.create().await.expect_err("a file"),
        place.list(FileKind::Key).await.expect_err("a file"),
        place.write(pack(1), Bytes::new()).await.expect_err("a file"),
    ] {
        assert!(matches!(fault.kind, FaultKind::Misconfigured | FaultKind::Exists), "{fault}");
    }
}

/// A file system of one megabyte, when we may mount one.
struct SmallDisk(PathBuf, #[allow(dead_code)] tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().to_owned();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "triplicate-test"]).arg(&path).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(path, above)),
            _ => {
                testkit::skip("mounting a small disk is not permitted here");
                None
            }
        }
    }

    fn remount(&self, option: &str) {
        let options = format!("remount,{option}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_full_and_keeps_what_it_has() {
    let Some(disk) = SmallDisk::mount() else { return };
    let place = folder(&disk.0);
    place.create().await.unwrap();
    place.write(pack(1), Bytes::from(vec![1; 400_000])).await.unwrap();
    let fault = place.write(pack(2), Bytes::from(vec![2; 900_000])).await.expect_err("no room");
    assert_eq!(fault.kind, FaultKind::Full, "{fault}");
    assert_eq!(place.stat(pack(2)).await.expect_err("never there").kind, FaultKind::NotFound);
    assert_eq!(fs::read_dir(disk.0.join("data/02")).unwrap().count(), 0, "no half file stays and eats the room");
    place.write(pack(3), Bytes::from(vec![3; 100_000])).await.unwrap();
    assert_eq!(place.read(pack(1), Span::Whole).await.unwrap().len(), 400_000);
}

#[tokio::test]
async fn a_read_only_disk_denies() {
    let Some(disk) = SmallDisk::mount() else { return };
    let place = folder(&disk.0);
    place.create().await.unwrap();
    place.write(pack(1), Bytes::from_static(b"x")).await.unwrap();
    disk.remount("ro");
    for fault in [
        place.write(pack(2), Bytes::from_static(b"y")).await.expect_err("read-only"),
        place.remove(pack(1)).await.expect_err("read-only"),
    ] {
        assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
    }
    place.create().await.unwrap();
    assert_eq!(place.read(pack(1), Span::Whole).await.unwrap(), "x");
}
