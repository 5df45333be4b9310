//! A repository with as many blobs as one likes, made in seconds: what does an index of that size cost?
//!
//! `config`, key and index files are real and open with the password. Packs have their names and sizes, but are holes:
//! nothing can be restored from them. [`make`] gives no snapshot, so a backup has no parent and asks the index about each
//! of its own blobs; [`make_half_used`] gives one, with real listings, that needs every other pack. Everything but the keys
//! follows from the seed.

use std::fs::{self, File};
use std::io;
use std::num::NonZeroU32;
use std::path::Path;

use clock::{Clock, SystemClock};
use format::{
    BlobKind, Compression, Compressor, Config, FileKind, FileName, IndexFile, IndexedPack, KeyFile, KeyOwner,
    MasterKey, Moment, Node, NodeKind, PackWriter, PackedBlob, ScryptCost, Snapshot, Tree,
};
use model::{Id, Secret};

use crate::random::Random;

/// About the bytes of a full pack, as restic and we write them.
const PACK_BYTES: u32 = 16 << 20;
/// Files in each folder of a snapshot.
const FILES_PER_FOLDER: usize = 200;
/// restic's index files are full at this many blobs.
const BLOBS_PER_INDEX: u64 = 50_000;

/// How large the repository is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManyBlobs {
    /// Data blobs.
    pub blobs: u64,
    /// Data blobs in each pack: about 16 where files are large, thousands where they are small.
    pub blobs_per_pack: u32,
    /// Same seed, same ids.
    pub seed: u64,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Packs in `data`.
    pub packs: u64,
    /// Files in `index`, in the order in which they were written.
    pub index_files: Vec<Id>,
}

/// Makes the repository in `folder`, which must be new or empty, as a local repository of version 2.
pub fn make(folder: &Path, password: &Secret, size: &ManyBlobs) -> io::Result<Made> {
    make_with(folder, password, size, |_, _, _| Ok(()))
}

/// The same with a snapshot that needs all blobs of every other pack: half of the blobs are unused, and no pack is needed
/// in part.
pub fn make_half_used(folder: &Path, password: &Secret, size: &ManyBlobs) -> io::Result<Made> {
    make_with(folder, password, size, |master, packs, made| {
        let used = packs.iter().step_by(2).flat_map(|pack| &pack.blobs);
        let mut listings = Listings { folder, master, pack: PackWriter::new(), packs: Vec::new() };
        let root = listings.add_all(used)?;
        made.packs += listings.packs.len() as u64;
        let index = IndexFile { packs: listings.packs, ..IndexFile::default() };
        made.index_files.push(write_sealed(folder, master, FileKind::Index, &index.to_bytes())?);
        let time = Moment { seconds: 1_700_000_000, nanoseconds: 0, offset_seconds: 0 };
        let mut snapshot = Snapshot::new(time, root);
        (snapshot.hostname, snapshot.paths) = ("testhost".to_owned(), vec!["/source".to_owned()]);
        write_sealed(folder, master, FileKind::Snapshot, &snapshot.to_bytes()).map(drop)
    })
}

fn make_with(
    folder: &Path,
    password: &Secret,
    size: &ManyBlobs,
    further: impl FnOnce(&MasterKey, &[IndexedPack], &mut Made) -> io::Result<()>,
) -> io::Result<Made> {
    let master = MasterKey::generate().map_err(io::Error::other)?;
    lay_out(folder)?;
    write_key(folder, password, &master)?;
    let mut random = Random::new(size.seed);
    let mut made = Made { packs: 0, index_files: Vec::new() };
    let mut packs = Vec::new();
    let mut left = size.blobs;
    while left > 0 {
        let blobs = left.min(BLOBS_PER_INDEX);
        let file = index_file(&mut random, blobs, size.blobs_per_pack.max(1));
        for pack in &file.packs {
            // A hole: the name and the size are there, and no bytes.
            File::create_new(folder.join(FileName::pack(pack.id).path()))?.set_len(length_of(pack))?;
        }
        made.index_files.push(write_sealed(folder, &master, FileKind::Index, &file.to_bytes())?);
        made.packs += file.packs.len() as u64;
        packs.extend(file.packs);
        left -= blobs;
    }
    further(&master, &packs, &mut made)?;
    // Last, as everywhere: what has a config is a repository.
    let config = Config::generate().map_err(io::Error::other)?;
    fs::write(folder.join(FileName::CONFIG.path()), master.seal(&config.to_bytes()))?;
    Ok(made)
}

fn write_sealed(folder: &Path, master: &MasterKey, kind: FileKind, plain: &[u8]) -> io::Result<Id> {
    let sealed = format::seal_file(master, 2, Compression::Auto, plain);
    let id = format::hash(&sealed);
    fs::write(folder.join(FileName::new(kind, id).path()), sealed)?;
    Ok(id)
}

/// A pack of these blobs has exactly so many bytes, with its header.
fn length_of(pack: &IndexedPack) -> u64 {
    let entry = |blob: &PackedBlob| if blob.uncompressed_length.is_some() { 41 } else { 37 };
    pack.blobs.iter().map(|blob| u64::from(blob.length) + entry(blob)).sum::<u64>() + 4 + 32
}

/// Real listings in real packs.
struct Listings<'a> {
    folder: &'a Path,
    master: &'a MasterKey,
    pack: PackWriter,
    packs: Vec<IndexedPack>,
}

impl Listings<'_> {
    /// A file for each blob, folders of these, and the root, whose id is given.
    fn add_all<'b>(&mut self, blobs: impl Iterator<Item = &'b PackedBlob>) -> io::Result<Id> {
        let file = |(number, blob): (usize, &PackedBlob)| {
            let mut node = Node::new(format!("file-{number:09}"), NodeKind::File);
            (node.content, node.size) = (Some(vec![blob.id]), u64::from(blob.plain_length()));
            node
        };
        let files: Vec<Node> = blobs.enumerate().map(file).collect();
        let mut folders = Vec::new();
        for (number, files) in files.chunks(FILES_PER_FOLDER).enumerate() {
            let mut node = Node::new(format!("folder-{number:09}"), NodeKind::Dir);
            node.subtree = Some(self.add(files.to_vec())?);
            folders.push(node);
        }
        let root = self.add(folders)?;
        self.close()?;
        Ok(root)
    }

    fn add(&mut self, nodes: Vec<Node>) -> io::Result<Id> {
        let text = Tree { nodes }.to_bytes();
        let (id, mut compressor) = (format::hash(&text), Compressor::new(Compression::Auto));
        let pushed = self.pack.push(self.master, BlobKind::Tree, id, &text, Some(&mut compressor));
        pushed.map_err(io::Error::other)?;
        if self.pack.size_bytes() >= PACK_BYTES as usize {
            self.close()?;
        }
        Ok(id)
    }

    fn close(&mut self) -> io::Result<()> {
        let pack = std::mem::take(&mut self.pack).finish(self.master).map_err(io::Error::other)?;
        fs::write(self.folder.join(FileName::pack(pack.id).path()), &pack.bytes)?;
        self.packs.push(IndexedPack { id: pack.id, blobs: pack.blobs });
        Ok(())
    }
}

/// The ids of the first `blobs` blobs that [`make`] gives a repository of this size.
pub fn ids(size: &ManyBlobs, blobs: u64) -> Vec<Id> {
    let mut random = Random::new(size.seed);
    let mut ids = Vec::new();
    let mut left = size.blobs;
    while left > 0 && (ids.len() as u64) < blobs {
        let file = index_file(&mut random, left.min(BLOBS_PER_INDEX), size.blobs_per_pack.max(1));
        ids.extend(file.packs.iter().flat_map(|pack| pack.blobs.iter().map(|blob| blob.id)));
        left -= left.min(BLOBS_PER_INDEX);
    }
    ids.truncate(usize::try_from(blobs).unwrap_or(usize::MAX));
    ids
}

fn lay_out(folder: &Path) -> io::Result<()> {
    for kind in FileKind::NAMED {
        fs::create_dir_all(folder.join(kind.folder()))?;
    }
    (0..=255_u8).try_for_each(|first| fs::create_dir_all(folder.join(format!("data/{first:02x}"))))
}

fn write_key(folder: &Path, password: &Secret, master: &MasterKey) -> io::Result<()> {
    let created = SystemClock::new().local();
    let owner = KeyOwner { hostname: "testhost".to_owned(), username: "tester".to_owned(), created };
    let key = KeyFile::seal(master, password, &owner, ScryptCost::STANDARD).map_err(io::Error::other)?.to_bytes();
    fs::write(folder.join(FileName::new(FileKind::Key, format::hash(&key)).path()), key)
}

fn index_file(random: &mut Random, blobs: u64, blobs_per_pack: u32) -> IndexFile {
    let length = PACK_BYTES / blobs_per_pack;
    let mut packs = Vec::new();
    let mut left = blobs;
    while left > 0 {
        let count = left.min(u64::from(blobs_per_pack));
        let blob = |number| PackedBlob {
            kind: BlobKind::Data,
            id: id(random),
            offset: number * length,
            length,
            // Every other one was compressed.
            uncompressed_length: NonZeroU32::new((number % 2) * 2 * length),
        };
        let blobs = (0..u32::try_from(count).unwrap_or(blobs_per_pack)).map(blob).collect();
        packs.push(IndexedPack { id: id(random), blobs });
        left -= count;
    }
    IndexFile { packs, ..IndexFile::default() }
}

fn id(random: &mut Random) -> Id {
    let mut bytes = [0; Id::LENGTH];
    random.fill(&mut bytes);
    Id::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn half_of_it_is_used_by_a_sound_snapshot() {
        let scratch = tempfile::tempdir().unwrap();
        let size = ManyBlobs { blobs: 3_000, blobs_per_pack: 100, seed: 7 };
        let made = make_half_used(scratch.path(), &Secret::from("password"), &size).unwrap();
        assert_eq!((made.packs, made.index_files.len()), (31, 2));
        let Some(restic) = crate::Oracle::restic("0.19", scratch.path().to_str().unwrap(), "password") else { return };
        // The structure is sound, down to each file's blob; contents are holes.
        restic.check(false);
        let stats = restic.ok(&["stats", "--mode", "files-by-contents", "--json"]).text();
        // Counted by content: 1500 files, and all folders together as one that has none.
        assert!(stats.contains("\"total_file_count\":1501"), "{stats}");
    }

    #[test]
    fn it_has_what_was_asked_for() {
        let scratch = tempfile::tempdir().unwrap();
        let size = ManyBlobs { blobs: 60_123, blobs_per_pack: 1000, seed: 7 };
        let made = make(scratch.path(), &Secret::from("password"), &size).unwrap();
        assert_eq!((made.packs, made.index_files.len()), (61, 2));
        let file = fs::read_dir(scratch.path().join("keys")).unwrap().next().unwrap().unwrap();
        let key = KeyFile::parse(&fs::read(file.path()).unwrap()).unwrap();
        let master = key.open(&Secret::from("password")).unwrap();
        let mut found = Vec::new();
        for id in &made.index_files {
            let sealed = fs::read(scratch.path().join("index").join(id.to_hex())).unwrap();
            let file = IndexFile::parse(&format::open_file(&master, &sealed).unwrap()).unwrap();
            for pack in file.packs {
                assert!(scratch.path().join(FileName::pack(pack.id).path()).exists());
                assert_eq!(pack.overlap(), None);
                found.extend(pack.blobs.iter().map(|blob| blob.id));
            }
        }
        assert_eq!(found, ids(&size, u64::MAX));
        assert_eq!(found.len(), 60_123);
    }
}
