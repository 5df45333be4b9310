//! Backups of what is on no disk of this machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod room;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use clock::{Clock, SystemClock};
use model::Verdict;
use repository::backup::{
    BackupReport, BackupRequest, Entry, EntryKind, ErrorScope, Given, Origin, OriginError, backup,
};
use repository::{Cancel, Error, Repository, TroubleKind};
use room::{Room, files_in};
use testkit::components;

/// A tree in memory that counts what it is asked.
#[derive(Debug, Default)]
struct Shelf {
    place: String,
    folders: BTreeMap<Vec<u8>, Vec<Entry>>,
    contents: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Files that fail after so many bytes.
    breaks: BTreeMap<Vec<u8>, (usize, ErrorScope)>,
    unlisted: Option<Vec<u8>>,
    lanes: usize,
    manifest: Option<String>,
    opened: Mutex<Vec<Vec<u8>>>,
    open_now: AtomicUsize,
    most_open: AtomicUsize,
}

impl Shelf {
    fn new() -> Self {
        let mut shelf = Self { place: "shelf:one".into(), lanes: 2, ..Self::default() };
        shelf.folders.insert(Vec::new(), Vec::new());
        shelf
    }

    fn folder(&mut self, path: &str) {
        self.add(path, Entry { kind: EntryKind::Folder, ..Entry::default() });
        self.folders.entry(path.into()).or_default();
    }

    /// A file with a time, changed long ago.
    fn file(&mut self, path: &str, content: &[u8]) {
        let size = Some(content.len() as u64);
        self.add(path, Entry { size, modified: Some((1_700_000_000, 5)), ..Entry::default() });
        self.contents.insert(path.into(), content.to_vec());
    }

    /// A file of which nothing is known before it is read.
    fn stream(&mut self, path: &str, content: &[u8]) {
        self.add(path, Entry::default());
        self.contents.insert(path.into(), content.to_vec());
    }

    fn add(&mut self, path: &str, entry: Entry) {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let entries = self.folders.entry(folder.into()).or_default();
        entries.retain(|entry| entry.name != name.as_bytes());
        entries.push(Entry { name: name.into(), ..entry });
    }

    fn entry(&mut self, path: &str) -> &mut Entry {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let entries = self.folders.get_mut(folder.as_bytes()).unwrap();
        entries.iter_mut().find(|entry| entry.name == name.as_bytes()).unwrap()
    }

    /// What was opened since the last call.
    fn opened(&self) -> Vec<String> {
        let mut opened = std::mem::take(&mut *self.opened.lock().unwrap());
        opened.sort();
        opened.into_iter().map(|path| String::from_utf8(path).unwrap()).collect()
    }
}

/// An origin that many backups share.
#[derive(Debug, Clone)]
struct Shared(Arc<Shelf>);

struct Reading {
    shelf: Arc<Shelf>,
    path: Vec<u8>,
    at: usize,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.shelf.open_now.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Read for Reading {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        let content = &self.shelf.contents[&self.path];
        let mut end = content.len().min(self.at + room.len()).min(self.at + 100_000);
        if let Some((after, scope)) = self.shelf.breaks.get(&self.path) {
            if self.at >= *after {
                let error = OriginError::new("read", String::from_utf8_lossy(&self.path), "the line went dead");
                return Err(std::io::Error::other(error.of(*scope)));
            }
            end = end.min(*after);
        }
        let part = &content[self.at..end];
        room[..part.len()].copy_from_slice(part);
        self.at = end;
        Ok(part.len())
    }
}

impl Origin for Shared {
    fn place(&self) -> String {
        self.0.place.clone()
    }

    fn list(&self, path: &[u8], _: &Cancel) -> Result<Vec<Entry>, OriginError> {
        if self.0.unlisted.as_deref() == Some(path) {
            return Err(OriginError::new("list", String::from_utf8_lossy(path), "550 no").hint("ask the owner"));
        }
        Ok(self.0.folders[path].iter().rev().cloned().collect())
    }

    fn open(&self, path: &[u8], _: &Entry, _: &Cancel) -> Result<Box<dyn Read + Send>, OriginError> {
        self.0.opened.lock().unwrap().push(path.to_vec());
        if let Some((0, scope)) = self.0.breaks.get(path) {
            return Err(OriginError::new("read", String::from_utf8_lossy(path), "550 not now").of(*scope));
        }
        let open = self.0.open_now.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most_open.fetch_max(open, Ordering::SeqCst);
        Ok(Box::new(Reading { shelf: self.0.clone(), path: path.to_vec(), at: 0 }))
    }

    fn lanes(&self) -> usize {
        self.0.lanes
    }

    fn settle_seconds(&self) -> i64 {
        60
    }

    fn manifest(&self) -> Result<Option<String>, OriginError> {
        Ok(self.0.manifest.clone())
    }
}

fn request(room: &Room, shelf: &Arc<Shelf>, folder: &str) -> BackupRequest {
    let origin: Arc<dyn Origin> = Arc::new(Shared(shelf.clone()));
    let folder = PathBuf::from(folder);
    let given = Given { origin, paths: vec![folder.clone()], folder };
    BackupRequest { origin: Some(given), ..room.request(&[]) }
}

fn back_up(room: &Room, repository: &Repository, shelf: &Arc<Shelf>) -> BackupReport {
    backup(repository, &request(room, shelf, "/photos")).unwrap()
}

fn changed(shelf: Arc<Shelf>, change: impl FnOnce(&mut Shelf)) -> Arc<Shelf> {
    let mut shelf = Arc::into_inner(shelf).expect("nobody reads it any more");
    change(&mut shelf);
    Arc::new(shelf)
}

fn noise(bytes: usize) -> Vec<u8> {
    testkit::Random::new(7).bytes(bytes)
}

fn newest_restic() -> PathBuf {
    components::restic("0.19").expect("restic is among the components")
}

/// A shelf with everything an origin can have.
fn full_shelf() -> Shelf {
    let mut shelf = Shelf::new();
    shelf.folder("album");
    shelf.folder("album/empty");
    shelf.file("album/small", b"few words");
    shelf.file("album/nothing", b"");
    shelf.file("large", &noise(40 << 20));
    shelf.stream("dump", &noise(3 << 20));
    shelf.add("link", Entry { kind: EntryKind::Link(b"album/small".to_vec()), ..Entry::default() });
    shelf.manifest = Some("{\"rows\":3}".into());
    shelf
}

#[test]
fn what_an_origin_has_comes_back_byte_by_byte() {
    let room = Room::new();
    let repository = room.init(&["a", "b"]);
    let shelf = Arc::new(full_shelf());
    let report = back_up(&room, &repository, &shelf);
    assert_eq!(report.verdict, Verdict::Ok, "{:?}", report.troubles);
    assert_eq!(report.snapshot.paths, ["/photos"]);
    assert_eq!(report.summary.total_files_processed, 4);

    let restic = newest_restic();
    room.restic(&restic, "a", &["check", "--read-data"]);
    room.restic(&restic, "b", &["restore", "latest", "--target", room.path("back").to_str().unwrap()]);
    let mut files = files_in(&room.path("back"));
    assert_eq!(files.remove(Path::new(".triplicate/source.json")).unwrap(), b"{\"rows\":3}");
    assert_eq!(std::fs::read_link(room.path("back/photos/link")).unwrap(), Path::new("album/small"));
    assert!(files.remove(Path::new("photos/link")).is_some());
    let name = |path: &[u8]| Path::new("photos").join(String::from_utf8(path.to_vec()).unwrap());
    let wanted: BTreeMap<_, _> = shelf.contents.iter().map(|(path, content)| (name(path), content.clone())).collect();
    assert!(files == wanted, "{:?}", files.keys());
    assert!(room.path("back/photos/album/empty").is_dir());
}

#[test]
fn what_is_as_it_was_is_not_read_again() {
    let room = Room::new();
    let repository = room.init(&["a"]);
    let mut shelf = full_shelf();
    shelf.entry("large").version = Some(b"v1".to_vec());
    let shelf = Arc::new(shelf);
    let first = back_up(&room, &repository, &shelf);
    assert_eq!(shelf.opened(), ["album/nothing", "album/small", "dump", "large"]);

    let second = back_up(&room, &repository, &shelf);
    assert_eq!(shelf.opened(), ["dump"], "only what has no size and no time");
    assert_eq!(second.snapshot.tree, first.snapshot.tree, "the same content keeps its time");
    assert_eq!((second.summary.files_unmodified, second.summary.data_added), (4, 0));

    let shelf = changed(shelf, |shelf| {
        shelf.entry("large").version = Some(b"v2".to_vec());
        shelf.entry("album/small").modified = Some((1_700_000_000, 6));
        shelf.stream("dump", b"another dump");
    });
    let third = back_up(&room, &repository, &shelf);
    assert_eq!(shelf.opened(), ["album/small", "dump", "large"]);
    assert_ne!(third.snapshot.tree, first.snapshot.tree);
    assert_eq!(third.summary.files_changed, 1, "the others have the content that they had");

    let shelf = changed(shelf, |shelf| shelf.place = "shelf:two".into());
    back_up(&room, &repository, &shelf);
    assert_eq!(shelf.opened().len(), 4, "another server's files are others, whatever their sizes and times");
}

#[test]
fn one_lane_reads_the_files_of_a_folder_in_the_order_of_their_names() {
    let room = Room::new();
    let repository = room.init(&["a"]);
    let mut shelf = Shelf { lanes: 1, ..Shelf::new() };
    let names = ["0", "1.a", "1.b", "2", "3", "4", "5"];
    names.iter().for_each(|name| shelf.stream(name, &noise(3_000_000)));
    let shelf = Arc::new(shelf);
    back_up(&room, &repository, &shelf);
    let opened: Vec<String> =
        shelf.opened.lock().unwrap().iter().map(|path| String::from_utf8(path.clone()).unwrap()).collect();
    assert_eq!(opened, names);
    assert_eq!(shelf.most_open.load(Ordering::SeqCst), 1);
}

#[test]
fn a_time_that_is_too_young_is_not_believed() {
    let room = Room::new();
    let repository = room.init(&["a"]);
    let mut shelf = Shelf::new();
    shelf.file("young", b"one");
    let now = SystemClock::new().now().as_second();
    shelf.entry("young").modified = Some((now - 30, 0));
    let shelf = Arc::new(shelf);
    for _ in 0..2 {
        back_up(&room, &repository, &shelf);
        assert_eq!(shelf.opened(), ["young"]);
    }
}

#[test]
fn what_cannot_be_listed_or_ends_early_gives_no_snapshot() {
    let room = Room::new();
    let repository = room.init(&["a"]);
    let mut listing = full_shelf();
    listing.unlisted = Some(b"album".to_vec());
    let mut reading = full_shelf();
    reading.breaks.insert(b"large".to_vec(), (30 << 20, ErrorScope::Backup));
    let mut opening = full_shelf();
    opening.breaks.insert(b"dump".to_vec(), (0, ErrorScope::Backup));
    let cases = [
        (listing, "source shelf:one: cannot list `album`: 550 no; no snapshot was made"),
        (reading, "source shelf:one: cannot read `large`: the line went dead; no snapshot was made"),
        (opening, "source shelf:one: cannot read `dump`: 550 not now; no snapshot was made"),
    ];
    for (shelf, words) in cases {
        let error = backup(&repository, &request(&room, &Arc::new(shelf), "/photos")).unwrap_err();
        assert!(matches!(error, Error::Origin { .. }), "{error}");
        assert_eq!(error.to_string(), words);
    }
    assert!(files_in(&room.path("a/snapshots")).is_empty());
    assert!(files_in(&room.path("a/locks")).is_empty());
}

#[test]
fn one_file_that_cannot_be_read_costs_that_file() {
    let room = Room::new();
    let repository = room.init(&["a"]);
    let mut shelf = full_shelf();
    shelf.breaks.insert(b"album/small".to_vec(), (0, ErrorScope::Vanished));
    shelf.breaks.insert(b"large".to_vec(), (20 << 20, ErrorScope::Unreadable));
    shelf.add("pipe", Entry { kind: EntryKind::Other("a named pipe"), ..Entry::default() });
    shelf.entry("dump").size = Some(77);
    let report = back_up(&room, &repository, &Arc::new(shelf));
    assert_eq!(report.verdict, Verdict::Partial);
    let mut troubles: Vec<_> = report.troubles.iter().map(|trouble| (trouble.path.clone(), trouble.kind)).collect();
    troubles.sort();
    let wanted = [
        ("/photos/album/small", TroubleKind::Vanished),
        ("/photos/dump", TroubleKind::ChangedWhileRead),
        ("/photos/large", TroubleKind::Unreadable),
        ("/photos/pipe", TroubleKind::Unsupported),
    ];
    assert_eq!(troubles, wanted.map(|(path, kind)| (PathBuf::from(path), kind)));
    room.restic(&newest_restic(), "a", &["check", "--read-data"]);
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let room = Room::new();
    let repository = room.init(&["a"]);
    for name in ["..", ".", "", "a/b", "a\0b", "twice"] {
        let mut shelf = Shelf::new();
        shelf.file("twice", b"1");
        shelf.folders.get_mut(&Vec::new()).unwrap().push(Entry { name: name.into(), ..Entry::default() });
        let error = backup(&repository, &request(&room, &Arc::new(shelf), "/photos")).unwrap_err();
        assert!(error.to_string().contains("the name `"), "{error}");
    }
    let mut endless = Shelf::new();
    let mut path = String::from("d");
    for _ in 0..1100 {
        endless.folder(&path);
        path += "/d";
    }
    endless.folder(&path);
    let error = backup(&repository, &request(&room, &Arc::new(endless), "/photos")).unwrap_err();
    assert!(error.to_string().contains("folders deep"), "{error}");
    for folder in ["photos", "/a/../b", "/.triplicate/x"] {
        let error = backup(&repository, &request(&room, &Arc::new(full_shelf()), folder)).unwrap_err();
        assert!(matches!(error, Error::Request(_)), "{error}");
    }
}

#[test]
fn an_origin_is_asked_as_much_at_a_time_as_it_takes() {
    let room = Room::new();
    let repository = room.init(&["a"]);
    for lanes in [1, 3] {
        let mut shelf = Shelf::new();
        shelf.lanes = lanes;
        for folder in 0..10 {
            shelf.folder(&format!("{folder}"));
            for file in 0..20 {
                shelf.stream(&format!("{folder}/{file}"), &noise(200_000));
            }
        }
        let shelf = Arc::new(shelf);
        let report = backup(&repository, &request(&room, &shelf, "/deep/down/photos")).unwrap();
        assert_eq!(report.summary.total_files_processed, 200);
        assert!(shelf.most_open.load(Ordering::SeqCst) <= lanes);
        let paths = room.restic(&newest_restic(), "a", &["ls", "latest", "/deep/down/photos/9"]);
        assert!(paths.contains("/deep/down/photos/9/19"), "{paths}");
    }
}

#[test]
fn an_origin_at_the_top_has_its_files_at_the_top() {
    let room = Room::new();
    let repository = room.init(&["a"]);
    let mut shelf = Shelf::new();
    shelf.stream("stdin", b"a stream");
    shelf.manifest = Some("{}".into());
    let mut request = request(&room, &Arc::new(shelf), "/");
    request.origin.as_mut().unwrap().paths = vec!["/stdin".into()];
    let report = backup(&repository, &request).unwrap();
    assert_eq!(report.snapshot.paths, ["/stdin"]);
    let restic = newest_restic();
    assert_eq!(room.restic(&restic, "a", &["dump", "latest", "/stdin"]), "a stream");
    assert!(!room.restic(&restic, "a", &["ls", "latest"]).contains(".triplicate"));
}

#[test]
fn an_origin_without_files_is_an_error_unless_it_may_be_empty() {
    let room = Room::new();
    let repository = room.init(&["a"]);
    let shelf = Arc::new(Shelf::new());
    let error = backup(&repository, &request(&room, &shelf, "/photos")).unwrap_err();
    assert!(matches!(error, Error::SourceEmpty(_)), "{error}");
    let allowed = BackupRequest { allow_empty: true, ..request(&room, &shelf, "/photos") };
    assert_eq!(backup(&repository, &allowed).unwrap().verdict, Verdict::Ok);
}
