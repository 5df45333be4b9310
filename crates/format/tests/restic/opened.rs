//! A repository in a local folder, read with this crate alone.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use format::{
    BlobKind, BlobName, Config, Decompressor, FileKind, HEADER_EAGER_BYTES, HeaderRead, IndexFile, KeyFile, MasterKey,
    PackedBlob, Snapshot, Tree, hash, open_blob, open_file, parse_header,
};
use model::{Id, Secret};

use crate::binary::PASSWORD;

pub(crate) struct Opened {
    pub(crate) master: MasterKey,
    pub(crate) config: Config,
    pub(crate) snapshots: Vec<Snapshot>,
    pub(crate) blobs: HashMap<BlobName, (Id, PackedBlob)>,
    folder: PathBuf,
}

impl Opened {
    /// Opens everything and compares what is written again with what was read.
    pub(crate) fn new(folder: &Path) -> Self {
        let (_, key) = files(folder, FileKind::Key).remove(0);
        let key_file = KeyFile::parse(&key).unwrap();
        assert_eq!(text(&key_file.to_bytes()), text(&key), "key file");
        let master = key_file.open(&Secret::from(PASSWORD)).unwrap();
        let plain = master.open(&fs::read(folder.join("config")).unwrap()).unwrap();
        let config = Config::parse(&plain).unwrap();
        assert_eq!(text(&config.to_bytes()), text(&plain), "config");
        let mut snapshots = Vec::new();
        for (_, sealed) in files(folder, FileKind::Snapshot) {
            let plain = open_file(&master, &sealed).unwrap();
            let snapshot = Snapshot::parse(&plain).unwrap();
            assert_eq!(text(&snapshot.to_bytes()), text(&plain), "snapshot");
            snapshots.push(snapshot);
        }
        snapshots.sort_by_key(|snapshot| snapshot.time);
        let mut opened = Self { master, config, snapshots, blobs: HashMap::new(), folder: folder.to_owned() };
        opened.read_indexes();
        opened
    }

    fn read_indexes(&mut self) {
        for (_, sealed) in files(&self.folder, FileKind::Index) {
            let plain = open_file(&self.master, &sealed).unwrap();
            let index = IndexFile::parse(&plain).unwrap();
            assert_eq!(text(&index.to_bytes()), text(&plain), "index");
            for pack in index.packs {
                assert_eq!(pack.overlap(), None);
                for blob in pack.blobs {
                    self.blobs.insert(blob.name(), (pack.id, blob));
                }
            }
        }
    }

    /// Reads every pack: header, entries against the index, every blob, every tree. Returns the number of trees. A tree
    /// with an entry of the name `unequal` need not be written as it was.
    pub(crate) fn read_packs(&self, unequal: &[u8]) -> usize {
        let mut decompressor = Decompressor::new();
        let (mut trees, mut seen) = (0, 0);
        for (id, bytes) in files(&self.folder, FileKind::Pack) {
            for entry in self.header(&bytes) {
                let (pack, indexed) = self.blobs[&entry.name()];
                if pack == id {
                    assert_eq!(indexed, entry);
                    seen += 1;
                }
                let mut sealed = bytes[entry.offset as usize..entry.end() as usize].to_vec();
                let plain = open_blob(&self.master, &entry, &mut sealed, &mut decompressor).unwrap();
                assert_eq!(plain.len(), entry.plain_length() as usize);
                if entry.kind == BlobKind::Tree {
                    let tree = Tree::parse(&plain).unwrap();
                    assert!(tree.is_sorted());
                    trees += 1;
                    if tree.find(unequal).is_some() {
                        assert_eq!(Tree::parse(&tree.to_bytes()).unwrap(), tree);
                        continue;
                    }
                    for (ours, theirs) in text(&tree.to_bytes()).split("},{").zip(text(&plain).split("},{")) {
                        assert_eq!(ours, theirs);
                    }
                    assert_eq!(tree.to_bytes(), plain, "tree {}", entry.id);
                }
            }
        }
        assert_eq!(seen, self.blobs.len(), "blobs that the index has and the packs have not");
        trees
    }

    fn header(&self, pack: &[u8]) -> Vec<PackedBlob> {
        let size = pack.len() as u64;
        let eager = &pack[pack.len().saturating_sub(HEADER_EAGER_BYTES)..];
        let read = match parse_header(&self.master, size, eager).unwrap() {
            HeaderRead::Needs(bytes) => parse_header(&self.master, size, &pack[pack.len() - bytes as usize..]).unwrap(),
            complete => complete,
        };
        match read {
            HeaderRead::Complete(blobs) => blobs,
            HeaderRead::Needs(bytes) => panic!("{bytes} bytes were given"),
        }
    }

    pub(crate) fn blob(&self, kind: BlobKind, id: Id) -> Vec<u8> {
        let (pack, entry) = self.blobs[&BlobName { kind, id }];
        let bytes = fs::read(self.folder.join(format::FileName::pack(pack).path())).unwrap();
        let mut sealed = bytes[entry.offset as usize..entry.end() as usize].to_vec();
        open_blob(&self.master, &entry, &mut sealed, &mut Decompressor::new()).unwrap()
    }

    pub(crate) fn tree(&self, id: Id) -> Tree {
        Tree::parse(&self.blob(BlobKind::Tree, id)).unwrap()
    }
}

/// All files of a kind; each must have the hash that its name says.
fn files(folder: &Path, kind: FileKind) -> Vec<(Id, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.join(kind.folder())];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = fs::read(&path).unwrap();
            let id: Id = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            assert_eq!(hash(&bytes), id);
            files.push((id, bytes));
        }
    }
    files
}

/// So that a difference is shown as text.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
