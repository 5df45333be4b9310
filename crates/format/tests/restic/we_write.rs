//! We write a repository with this crate alone; restic checks and restores it.

use std::fs;
use std::path::Path;

use clock::{Clock, SystemClock};
use format::{
    BlobKind, Chunker, Compression, Compressor, Config, FileKind, FileName, IndexFile, IndexedPack, KeyFile, KeyOwner,
    Lock, MasterKey, Moment, Node, NodeKind, PackWriter, ScryptCost, Snapshot, SnapshotSummary, Tree, hash, seal_file,
};
use jiff::tz::TimeZone;
use model::{Id, Secret};

use crate::binary::{PASSWORD, Restic, VERSIONS, restic};
use crate::hostile::random_bytes;

#[test]
fn restic_checks_and_restores_what_we_wrote() {
    for restic_version in VERSIONS {
        for (version, compression) in
            [(1, None), (2, Some(Compression::Auto)), (2, Some(Compression::Off)), (2, Some(Compression::Max))]
        {
            let Some(binary) = restic(restic_version) else { continue };
            let folder = tempfile::tempdir().unwrap();
            let restic = Restic { binary, repository: folder.path().join("repository"), zone: "UTC" };
            let files = source_files();
            write_repository(&restic.repository, version, compression, &files);
            restic.succeed(folder.path(), &["check", "--read-data"]);
            restic.succeed(folder.path(), &["restore", "latest", "--target", "restored"]);
            for (name, contents) in &files {
                let restored = fs::read(folder.path().join("restored").join(name)).unwrap();
                assert!(restored == *contents, "{name} differs");
            }
            // And it adds to the repository: it agrees with the key, the config and the index.
            restic.succeed(folder.path(), &["backup", "restored"]);
            restic.succeed(folder.path(), &["check", "--read-data"]);
            add_lock(&restic);
            let listed = String::from_utf8(restic.succeed(folder.path(), &["list", "locks", "--no-lock"])).unwrap();
            assert_eq!(listed.lines().count(), 1, "{listed}");
            let refused = restic.run(folder.path(), &["prune"]);
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(!refused.status.success() && said.contains("already locked"), "{said}");
            assert!(said.contains("lock-host") && said.contains("PID 4711"), "{said}");
        }
    }
}

fn source_files() -> Vec<(String, Vec<u8>)> {
    let random = random_bytes(12 << 20, 0x9e37_79b9_7f4a_7c15);
    let text: Vec<u8> = random[..3 << 20].iter().map(|byte| b"abcdefgh\n e"[usize::from(byte % 11)]).collect();
    vec![
        ("a <text> & \"more\"".to_owned(), text),
        ("empty".to_owned(), Vec::new()),
        ("random".to_owned(), random),
        ("small ümläut\u{2028}".to_owned(), b"hello".to_vec()),
        ("zeros".to_owned(), vec![0; 17 << 20]),
    ]
}

fn write_repository(folder: &Path, version: u32, compression: Option<Compression>, files: &[(String, Vec<u8>)]) {
    let master = MasterKey::generate().unwrap();
    let config = Config { version, ..Config::generate().unwrap() };
    fs::create_dir(folder).unwrap();
    for kind in FileKind::NAMED {
        fs::create_dir(folder.join(kind.folder())).unwrap();
    }
    let created = jiff::Timestamp::from_second(1_700_000_000).unwrap().to_zoned(TimeZone::UTC);
    let owner = KeyOwner { hostname: "host".to_owned(), username: "user".to_owned(), created };
    let key = KeyFile::seal(&master, &Secret::from(PASSWORD), &owner, ScryptCost { log_n: 10, r: 8, p: 1 }).unwrap();
    save(folder, FileKind::Key, &key.to_bytes());
    save(folder, FileKind::Config, &master.seal(&config.to_bytes()));

    let mut compressor = compression.map(Compressor::new);
    let mut data_pack = PackWriter::new();
    let nodes = files.iter().map(|(name, contents)| {
        file_node(name, contents, &Chunker::new(config.chunker_polynomial), |id, chunk| {
            if !data_pack.blobs().iter().any(|blob| blob.id == id) {
                data_pack.push(&master, BlobKind::Data, id, chunk, compressor.as_mut()).unwrap();
            }
        })
    });
    let tree = Tree { nodes: nodes.collect() };
    assert!(tree.is_sorted());
    let mut tree_pack = PackWriter::new();
    let entry = tree_pack.push(&master, BlobKind::Tree, tree.id(), &tree.to_bytes(), compressor.as_mut()).unwrap();
    assert_eq!(entry.uncompressed_length.is_some(), version == 2, "listings are compressed in version 2");
    let mut index = IndexFile::default();
    for pack in [data_pack, tree_pack] {
        let finished = pack.finish(&master).unwrap();
        assert_eq!(save(folder, FileKind::Pack, &finished.bytes), finished.id);
        index.packs.push(IndexedPack { id: finished.id, blobs: finished.blobs });
    }
    let compression = compression.unwrap_or_default();
    save(folder, FileKind::Index, &seal_file(&master, version, compression, &index.to_bytes()));
    let time = Moment { seconds: 1_700_000_000, nanoseconds: 5, offset_seconds: -3600 };
    let mut snapshot = Snapshot::new(time, tree.id());
    snapshot.paths = vec!["/source".to_owned()];
    snapshot.tags = vec!["<tag>".to_owned()];
    snapshot.summary = Some(SnapshotSummary { backup_start: time, backup_end: time, ..SnapshotSummary::default() });
    save(folder, FileKind::Snapshot, &seal_file(&master, version, compression, &snapshot.to_bytes()));
}

fn file_node(name: &str, contents: &[u8], chunker: &Chunker, mut store: impl FnMut(Id, &[u8])) -> Node {
    let mut node = Node::new(name, NodeKind::File);
    node.mode = 0o644;
    node.size = contents.len() as u64;
    node.links = 1;
    node.mtime = Moment { seconds: 1_600_000_000, nanoseconds: 120, offset_seconds: 7200 };
    let mut ids = Vec::new();
    let mut rest = contents;
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(chunker.cut(rest));
        ids.push(hash(chunk));
        store(hash(chunk), chunk);
        rest = behind;
    }
    node.content = Some(ids);
    node
}

fn add_lock(restic: &Restic) {
    let opened = crate::opened::Opened::new(&restic.repository);
    // Not older than restic's limit for stale locks.
    let time = Moment::from(SystemClock::new().local());
    let mut lock = Lock::new(time, true);
    lock.hostname = "lock-host".to_owned();
    lock.username = "lock-user".to_owned();
    lock.pid = 4711;
    let plain = lock.to_bytes();
    assert_eq!(Lock::parse(&plain).unwrap(), lock);
    save(
        &restic.repository,
        FileKind::Lock,
        &seal_file(&opened.master, opened.config.version, Compression::Auto, &plain),
    );
}

fn save(folder: &Path, kind: FileKind, bytes: &[u8]) -> Id {
    let id = hash(bytes);
    let path = folder.join(FileName::new(kind, id).path());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    id
}
