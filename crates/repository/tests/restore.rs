//! Restore end to end: round trips, second runs, what is there already, damage, and what cannot be had.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod room;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use model::Verdict;
use repository::backup::{BackupReport, backup};
use repository::filter::{PatternList, Selection};
use repository::restore::{Incomplete, Overwrite, RestoreReport, RestoreRequest, restore};
use repository::{Error, Repository, TroubleKind};
use room::{Room, files_in, small_tree};
use testkit::{HostileOptions, Manifest, hostile_tree_with, manifest, remove_hostile_tree};

/// A room with a source that was backed up into copies.
struct Stored {
    room: Room,
    repository: Repository,
    report: BackupReport,
}

impl Stored {
    fn new(copies: &[&str], build: impl Fn(&Path)) -> Self {
        let room = Room::new();
        let source = room.path("source");
        std::fs::create_dir(&source).unwrap();
        build(&source);
        let repository = room.init(copies);
        let report = backup(&repository, &room.request(&[Path::new("source")])).unwrap();
        Self { room, repository, report }
    }

    fn small() -> Self {
        Self::new(&["a"], small_tree)
    }

    /// A request for the contents of the source.
    fn request(&self) -> RestoreRequest {
        RestoreRequest { subfolder: Some(b"/source".to_vec()), target: self.target(), ..RestoreRequest::default() }
    }

    fn target(&self) -> PathBuf {
        self.room.path("target")
    }

    fn source(&self) -> PathBuf {
        self.room.path("source")
    }

    fn restore(&self, request: &RestoreRequest) -> RestoreReport {
        self.try_restore(request).unwrap()
    }

    fn try_restore(&self, request: &RestoreRequest) -> repository::Result<RestoreReport> {
        let indexed = self.repository.indexed().unwrap();
        restore(&indexed, &self.report.snapshot, request, self.room.witness.as_ref())
    }

    /// Everything but the root, whose metadata a restore leaves alone.
    fn difference(&self) -> Vec<String> {
        let tree = |path: PathBuf| {
            let mut tree = manifest(path).unwrap();
            tree.entries.remove(b"".as_slice());
            tree
        };
        Manifest::difference(&tree(self.source()), &tree(self.target()))
    }

    fn assert_equal(&self) {
        let difference = self.difference();
        assert!(difference.is_empty(), "{}", difference.join("\n"));
    }

    /// The packs of a copy that hold file content: all but those that are small.
    fn packs(&self, copy: &str) -> Vec<PathBuf> {
        files_in(&self.room.path(copy).join("data"))
            .into_keys()
            .map(|pack| self.room.path(copy).join("data").join(pack))
            .collect()
    }
}

/// Changes bytes in the middle of a file that is read-only.
fn spoil(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes.iter_mut().skip(middle).take(64).for_each(|byte| *byte ^= 0x55);
    replace(file, &bytes);
}

fn replace(file: &Path, bytes: &[u8]) {
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let stored = Stored::small();
    let report = stored.restore(&RestoreRequest { verify: true, ..stored.request() });
    stored.assert_equal();
    assert_eq!(report.verdict(), Verdict::Ok, "{report:?}");
    let bytes: u64 = files_in(&stored.source()).values().map(|content| content.len() as u64).sum();
    // `files_in` reads through the link as well.
    let bytes = bytes - (5 << 20);
    assert_eq!((report.files, report.files_verified, report.others, report.directories), (42, 42, 1, 2));
    assert_eq!((report.bytes_total, report.bytes_written, report.bytes_skipped), (bytes, bytes, 0));
    assert_eq!(report.entries_total(), 45);
}

#[test]
fn a_hostile_tree_comes_back_as_it_was() {
    let stored = Stored::new(&["a"], |source| {
        std::fs::remove_dir(source).unwrap();
        hostile_tree_with(source, HostileOptions::quick()).unwrap();
    });
    // What was not stored (an attribute whose name JSON cannot hold) is named by the backup, and cannot come back.
    let named: Vec<PathBuf> = stored.report.troubles.iter().map(|trouble| trouble.path.clone()).collect();
    assert!(named.len() <= 1, "{:?}", stored.report.troubles);
    let report = stored.restore(&RestoreRequest { verify: true, sparse: true, ..stored.request() });
    assert_eq!(report.failed_count, 0, "{:?}", report.failed);
    // A second run over all of it changes nothing.
    let again = stored.restore(&stored.request());
    assert_eq!((again.failed_count, again.bytes_total), (0, report.bytes_total), "{:?}", again.failed);
    let sockets = |report: &RestoreReport| {
        let kinds: Vec<_> = report.warnings.iter().map(|trouble| trouble.kind).collect();
        assert!(kinds.iter().all(|kind| *kind == TroubleKind::Unsupported), "{:?}", report.warnings);
        report.warnings.iter().map(|trouble| trouble.path.clone()).collect::<Vec<_>>()
    };
    let skipped = sockets(&report);
    assert_eq!(sockets(&again), skipped);
    let source = stored.source();
    let mut known: Vec<String> = skipped.iter().map(|path| path.display().to_string()).collect();
    known.extend(named.iter().map(|path| format!("/{}", path.strip_prefix(&source).unwrap().display())));
    let is_known = |line: &String| known.iter().any(|path| line.contains(path.trim_start_matches('/')));
    let (expected, difference): (Vec<_>, Vec<_>) = stored.difference().into_iter().partition(is_known);
    assert!(difference.is_empty(), "{}", difference.join("\n"));
    assert_eq!(expected.len(), known.len(), "{expected:?}");
    remove_hostile_tree(&stored.source()).unwrap();
    remove_hostile_tree(&stored.target()).unwrap();
}

#[test]
fn a_second_run_fetches_only_what_differs() {
    let stored = Stored::small();
    let first = stored.restore(&stored.request());
    let inode = |name: &str| std::fs::metadata(stored.target().join(name)).unwrap().ino();
    let (large, small) = (inode("inner/deep/large"), inode("inner/file-7"));
    // One byte of one chunk, one file cut short, one grown, one gone, one of the right content with wrong metadata.
    let path = stored.target().join("inner/deep/large");
    let mut content = std::fs::read(&path).unwrap();
    *content.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &content).unwrap();
    std::fs::write(stored.target().join("inner/file-9"), "").unwrap();
    std::fs::write(stored.target().join("empty"), "not empty").unwrap();
    std::fs::remove_file(stored.target().join("inner/file-11")).unwrap();
    std::fs::set_permissions(stored.target().join("inner/file-7"), std::fs::Permissions::from_mode(0o400)).unwrap();

    let second = stored.restore(&RestoreRequest { verify: true, ..stored.request() });
    stored.assert_equal();
    assert_eq!((inode("inner/deep/large"), inode("inner/file-7")), (large, small), "files are mended in place");
    assert_eq!((second.files, second.files_verified), (4, 4));
    assert!(second.bytes_written > 0 && second.bytes_written < 5 << 20, "{}", second.bytes_written);
    assert_eq!(second.bytes_written + second.bytes_skipped, first.bytes_total);
    let third = stored.restore(&stored.request());
    assert_eq!((third.files, third.bytes_written, third.unchanged), (0, 0, 42));
}

#[test]
fn what_is_left_alone_where_that_was_asked_for() {
    let stored = Stored::small();
    let old = |name: &str| {
        std::fs::create_dir_all(stored.target().join("inner")).unwrap();
        std::fs::write(stored.target().join(name), "mine").unwrap();
    };
    let content = |name: &str| std::fs::read_to_string(stored.target().join(name)).unwrap();
    old("inner/file-3");
    let never = stored.restore(&RestoreRequest { overwrite: Overwrite::Never, ..stored.request() });
    assert_eq!((never.kept, never.files), (1, 41));
    assert_eq!(content("inner/file-3"), "mine");

    // Newer in the target: stays. Older: goes.
    let newer = stored.restore(&RestoreRequest { overwrite: Overwrite::IfNewer, ..stored.request() });
    assert_eq!(newer.files, 0);
    assert_eq!(content("inner/file-3"), "mine");
    let past = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1000);
    let file = std::fs::File::options().write(true).open(stored.target().join("inner/file-3")).unwrap();
    file.set_times(std::fs::FileTimes::new().set_modified(past)).unwrap();
    let newer = stored.restore(&RestoreRequest { overwrite: Overwrite::IfNewer, ..stored.request() });
    assert_eq!(newer.files, 1);
    stored.assert_equal();

    // Equal size and time are believed with `if-changed`, and found out with `always`.
    let path = stored.target().join("inner/file-3");
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    std::fs::write(&path, content("inner/file-3").replace('n', "m")).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_times(std::fs::FileTimes::new().set_modified(modified)).unwrap();
    let believed = stored.restore(&RestoreRequest { overwrite: Overwrite::IfChanged, ..stored.request() });
    assert_eq!((believed.files, believed.failed_count), (0, 0));
    let checked = stored.restore(&RestoreRequest { overwrite: Overwrite::IfChanged, verify: true, ..stored.request() });
    assert_eq!(checked.failed_count, 1, "{:?}", checked.failed);
    assert_eq!(stored.restore(&stored.request()).files, 1);
    stored.assert_equal();
}

#[test]
fn files_of_several_names_stay_one_file_and_outside_names_are_let_go() {
    let stored = Stored::new(&["a"], |source| {
        std::fs::create_dir(source.join("sub")).unwrap();
        std::fs::write(source.join("first"), "shared content").unwrap();
        std::fs::hard_link(source.join("first"), source.join("second")).unwrap();
        std::fs::hard_link(source.join("first"), source.join("sub/third")).unwrap();
        symlink("first", source.join("link")).unwrap();
        std::fs::hard_link(source.join("link"), source.join("same link")).unwrap();
        std::fs::write(source.join("alone"), "alone").unwrap();
    });
    // The target has a file under that name which is also somebody else's.
    std::fs::create_dir(stored.target()).unwrap();
    let outside = stored.room.path("outside");
    std::fs::write(&outside, "shared content").unwrap();
    std::fs::set_permissions(&outside, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::fs::hard_link(&outside, stored.target().join("first")).unwrap();
    let before = std::fs::metadata(&outside).unwrap();
    for round in 0..3 {
        let report = stored.restore(&stored.request());
        assert_eq!(report.verdict(), Verdict::Ok, "{report:?}");
        assert_eq!(report.bytes_total, 19);
        stored.assert_equal();
        // Content that was right is copied over, not fetched again.
        assert_eq!(report.bytes_written, if round == 0 { 5 } else { 0 }, "round {round}");
    }
    let after = std::fs::metadata(&outside).unwrap();
    assert_eq!((after.mtime(), after.mode(), after.nlink()), (before.mtime(), before.mode(), 1));
}

#[test]
fn selections_take_what_matches_and_the_folders_on_the_way() {
    let stored = Stored::small();
    let include = |patterns: &[&str]| RestoreRequest {
        selection: Selection { include: PatternList::new(patterns).unwrap(), ..Selection::default() },
        ..stored.request()
    };
    let report = stored.restore(&include(&["/inner/deep/*"]));
    assert_eq!((report.files, report.directories), (1, 2));
    let restored = manifest(stored.target()).unwrap();
    assert_eq!(restored.entries.len(), 4, "{:?}", restored.entries.keys());
    let source = manifest(stored.source()).unwrap();
    for path in ["inner", "inner/deep", "inner/deep/large"] {
        assert_eq!(restored.entries[path.as_bytes()].mtime, source.entries[path.as_bytes()].mtime, "{path}");
    }
    let none = stored.restore(&RestoreRequest { target: stored.room.path("none"), ..include(&["/nothing"]) });
    assert_eq!(none.entries_total(), 0);
    assert_eq!(std::fs::read_dir(stored.room.path("none")).unwrap().count(), 0);

    let exclude = Selection { exclude: PatternList::new(["file-*", "deep"]).unwrap(), ..Selection::default() };
    let target = stored.room.path("excluded");
    stored.restore(&RestoreRequest { selection: exclude, target: target.clone(), ..stored.request() });
    let names: Vec<_> =
        manifest(target).unwrap().entries.into_keys().map(|name| String::from_utf8(name).unwrap()).collect();
    assert_eq!(names, ["", "empty", "inner", "link"]);
}

#[test]
fn a_dry_run_tells_the_truth_and_touches_nothing() {
    let stored = Stored::small();
    let dry = RestoreRequest { dry_run: true, ..stored.request() };
    let foretold = stored.restore(&dry);
    assert!(!stored.target().exists());
    let done = stored.restore(&stored.request());
    assert_eq!((foretold.files, foretold.directories, foretold.others), (done.files, done.directories, done.others));
    assert_eq!(foretold.bytes_written, done.bytes_written);

    std::fs::write(stored.target().join("inner/file-5"), "x").unwrap();
    let before = manifest(stored.target()).unwrap();
    let foretold = stored.restore(&RestoreRequest { delete: true, ..dry });
    assert_eq!((foretold.files, foretold.unchanged), (1, 41));
    assert_eq!(manifest(stored.target()).unwrap(), before);
}

#[test]
fn delete_removes_what_the_snapshot_does_not_have_and_follows_nothing() {
    let stored = Stored::small();
    stored.restore(&stored.request());
    let outside = stored.room.path("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("file"), "outside").unwrap();
    symlink(&outside, stored.target().join("inner/way out")).unwrap();
    let deep = stored.target().join("extra/a/b/c");
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join("file"), "x").unwrap();
    symlink(&outside, deep.join("way out")).unwrap();
    std::fs::write(stored.target().join("inner/keep.me"), "kept").unwrap();

    let exclude = Selection { exclude: PatternList::new(["keep.me"]).unwrap(), ..Selection::default() };
    let request = RestoreRequest { delete: true, selection: exclude, ..stored.request() };
    let foretold = stored.restore(&RestoreRequest { dry_run: true, ..request.clone() });
    assert!(deep.exists());
    let report = stored.restore(&request);
    assert_eq!((report.deleted, foretold.deleted), (2, 2));
    assert_eq!(std::fs::read_to_string(stored.target().join("inner/keep.me")).unwrap(), "kept");
    std::fs::remove_file(stored.target().join("inner/keep.me")).unwrap();
    stored.restore(&stored.request());
    stored.assert_equal();
    assert_eq!(std::fs::read_to_string(outside.join("file")).unwrap(), "outside");
    let everything = RestoreRequest { target: "/".into(), delete: true, dry_run: true, ..stored.request() };
    assert!(matches!(stored.try_restore(&everything), Err(Error::Request(_))));
}

#[test]
fn sparse_files_stay_sparse() {
    let stored = Stored::new(&["a"], |source| {
        let file = std::fs::File::create(source.join("disk")).unwrap();
        file.set_len(64 << 20).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"something", 30 << 20).unwrap();
    });
    let disk = stored.target().join("disk");
    stored.restore(&RestoreRequest { sparse: true, verify: true, ..stored.request() });
    stored.assert_equal();
    assert!(std::fs::metadata(&disk).unwrap().blocks() * 512 < 1 << 20);
    // Zeros over something else are written, whatever was asked for.
    let file = std::fs::File::options().write(true).open(&disk).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[7; 100_000], 50 << 20).unwrap();
    stored.restore(&RestoreRequest { sparse: true, verify: true, ..stored.request() });
    stored.assert_equal();
}

#[test]
fn damage_in_one_copy_is_made_good_from_another() {
    let stored = Stored::new(&["a", "b"], small_tree);
    stored.packs("a").iter().for_each(|pack| spoil(pack));
    let report = stored.restore(&RestoreRequest { verify: true, ..stored.request() });
    assert_eq!(report.verdict(), Verdict::Ok, "{report:?}");
    stored.assert_equal();
    let damages =
        stored.room.witness.events().into_iter().filter(|event| matches!(event, repository::Event::Damage(_)));
    assert!(damages.count() > 0);
}

#[test]
fn lost_content_is_named_and_never_stands_under_its_name() {
    let stored = Stored::small();
    // The large file's chunks fill most of the largest pack.
    let largest = stored.packs("a").into_iter().max_by_key(|pack| std::fs::metadata(pack).unwrap().len()).unwrap();
    spoil(&largest);
    let before: BTreeMap<_, _> = files_in(&stored.source());
    let report = stored.restore(&stored.request());
    assert_eq!(report.verdict(), Verdict::Partial);
    assert!(report.failed.iter().any(|trouble| trouble.path == Path::new("/inner/deep/large")), "{:?}", report.failed);
    assert!(report.failed.iter().all(|trouble| trouble.kind == TroubleKind::Lost), "{:?}", report.failed);
    assert!(!stored.target().join("inner/deep/large").exists());
    std::fs::remove_file(stored.target().join("link")).unwrap();
    for (path, content) in files_in(&stored.target()) {
        assert_eq!(before[&path], content, "{}", path.display());
    }
    assert_eq!(report.files + report.failed_count, 42);

    // With `Keep`, what there is of it stays, closed to others and marked by its time.
    let kept = stored.restore(&RestoreRequest { incomplete: Incomplete::Keep, ..stored.request() });
    assert_eq!(kept.failed_count, report.failed_count);
    let data = std::fs::metadata(stored.target().join("inner/deep/large")).unwrap();
    assert_eq!((data.len(), data.mode() & 0o777), (5 << 20, 0o600));
}

#[test]
fn what_no_index_knows_leaves_the_old_file_alone() {
    let stored = Stored::small();
    std::fs::create_dir_all(stored.target().join("inner/deep")).unwrap();
    std::fs::write(stored.target().join("inner/deep/large"), "old").unwrap();
    // A snapshot whose content is in no index: the index files are gone, and so are the listings.
    for index in std::fs::read_dir(stored.room.path("a/index")).unwrap() {
        std::fs::remove_file(index.unwrap().path()).unwrap();
    }
    let error = stored.try_restore(&stored.request()).unwrap_err();
    assert!(matches!(error, Error::BlobUnknown { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(stored.target().join("inner/deep/large")).unwrap(), "old");
}

#[test]
fn a_restore_stops_when_it_is_told_to_and_goes_on_later() {
    let stored = Stored::small();
    stored.room.cancel.set();
    let indexed = stored.repository.indexed();
    assert!(matches!(indexed.map(drop), Ok(()) | Err(Error::Interrupted)));
    let stored = Stored::small();
    let indexed = stored.repository.indexed().unwrap();
    stored.room.cancel.set();
    let end = restore(&indexed, &stored.report.snapshot, &stored.request(), stored.room.witness.as_ref());
    assert!(matches!(end, Err(Error::Interrupted)), "{end:?}");
}

#[test]
fn requests_that_make_no_sense() {
    let stored = Stored::small();
    let text = |request| stored.try_restore(&request).unwrap_err().to_string();
    let missing = RestoreRequest { subfolder: Some(b"/source/none".to_vec()), ..stored.request() };
    assert_eq!(text(missing), "the snapshot has no folder `/source/none`: there is no `none`");
    let file = RestoreRequest { subfolder: Some(b"source/empty".to_vec()), ..stored.request() };
    assert_eq!(text(file), "`source/empty` in the snapshot is not a folder: `empty` is a file");
    let both = RestoreRequest { dry_run: true, verify: true, ..stored.request() };
    assert_eq!(text(both), "a dry run writes nothing that could be verified");
    let none = RestoreRequest { target: PathBuf::new(), ..stored.request() };
    assert_eq!(text(none), "no folder to restore into was named");
    let occupied = RestoreRequest { target: stored.source().join("empty"), ..stored.request() };
    assert!(text(occupied).starts_with("cannot open the target"));
}
