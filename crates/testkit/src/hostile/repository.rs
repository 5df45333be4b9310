//! Repositories that somebody changed: files that rotted, were swapped, cut or lost, and files that somebody with the
//! key made to hurt. A seed makes the same one again.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use bytes::Bytes;
use format::{
    BlobKind, Compression, Decompressor, FileKind, FileName, IndexFile, IndexedPack, MasterKey, Node, NodeKind,
    PackWriter, PackedBlob, Snapshot, Tree,
};
use model::Id;

use crate::random::Random;

/// At most so many changes to one repository.
const CHANGES_MAX: u64 = 3;
/// Names that must never leave the target of a restore.
const NAMES: [&[u8]; 12] = [
    b"..",
    b".",
    b"",
    b"../escaped",
    b"/escaped",
    b"a/../../escaped",
    b"nul\0escaped",
    b"new\nline",
    b"\xff\xfe",
    b"CON",
    b"..\\escaped",
    b"file",
];
/// Numbers at which sums overflow.
const NUMBERS: [u32; 8] = [0, 1, 31, 32, 33, i32::MAX as u32, u32::MAX - 1, u32::MAX];

/// The files of a repository.
pub type Files = BTreeMap<FileName, Bytes>;

/// A sound repository that others are made of.
#[derive(Debug)]
pub struct SoundRepository {
    files: Files,
    master: MasterKey,
    snapshots: Vec<Snapshot>,
    indexes: Vec<IndexFile>,
    trees: Vec<Tree>,
}

/// A repository that somebody changed.
#[derive(Debug)]
pub struct Mutant {
    /// Its files.
    pub files: Files,
    /// What was done, in order.
    pub changes: Vec<String>,
    /// True when something was sealed anew with the key: then a restore may give what was never backed up.
    pub is_forged: bool,
}

impl SoundRepository {
    /// The repository of these files, which `master` opens.
    ///
    /// # Panics
    /// When it is not sound.
    #[allow(clippy::expect_used)]
    pub fn new(files: Files, master: MasterKey) -> Self {
        let opened = |kind| {
            let of_kind = files.iter().filter(move |(name, _)| name.kind() == kind);
            of_kind.map(|(_, sealed)| format::open_file(&master, sealed).expect("a sound file")).collect::<Vec<_>>()
        };
        let parsed = |plain: Vec<u8>| Snapshot::parse(&plain).expect("a sound snapshot");
        let snapshots = opened(FileKind::Snapshot).into_iter().map(parsed).collect();
        let parsed = |plain: Vec<u8>| IndexFile::parse(&plain).expect("a sound index");
        let indexes: Vec<IndexFile> = opened(FileKind::Index).into_iter().map(parsed).collect();
        let mut trees = Vec::new();
        for pack in indexes.iter().flat_map(|index| &index.packs) {
            let bytes = files.get(&FileName::pack(pack.id)).expect("a pack that the index names");
            for blob in pack.blobs.iter().filter(|blob| blob.kind == BlobKind::Tree) {
                let mut sealed = bytes.slice(blob.offset as usize..blob.end() as usize).to_vec();
                let plain = format::open_blob(&master, blob, &mut sealed, &mut Decompressor::new());
                trees.push(Tree::parse(&plain.expect("a sound blob")).expect("a sound listing"));
            }
        }
        Self { files, master, snapshots, indexes, trees }
    }

    /// Its files.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// One of its mutants.
    pub fn mutant(&self, random: &mut Random) -> Mutant {
        let mut mutant = Mutant { files: self.files.clone(), changes: Vec::new(), is_forged: false };
        for _ in 0..=random.below(CHANGES_MAX) {
            let change = match random.below(10) {
                0..=5 => rot(&mut mutant.files, random),
                6 => self.forge_index(&mut mutant, random),
                7 => self.forge_json(&mut mutant, random),
                _ => self.forge_tree(&mut mutant, random),
            };
            mutant.changes.extend(change);
        }
        mutant
    }

    /// Seals `plain` and puts it there under its right name.
    fn put(&self, mutant: &mut Mutant, kind: FileKind, plain: &[u8]) -> FileName {
        let sealed = format::seal_file(&self.master, 2, Compression::Fastest, plain);
        let name = FileName::new(kind, format::hash(&sealed));
        mutant.files.insert(name, sealed.into());
        mutant.is_forged = true;
        name
    }

    /// An index that lies about offsets, lengths, kinds and packs, in the place of a sound one or beside it.
    fn forge_index(&self, mutant: &mut Mutant, random: &mut Random) -> Option<String> {
        let mut index = self.indexes.get(random.index(self.indexes.len()))?.clone();
        let packs = index.packs.len();
        let other = index.packs.get(random.index(packs))?.clone();
        let pack = index.packs.get_mut(random.index(packs))?;
        let blobs = pack.blobs.len();
        let blob = pack.blobs.get_mut(random.index(blobs))?;
        let number = NUMBERS.get(random.index(NUMBERS.len())).copied().unwrap_or(0);
        let what = match random.below(7) {
            0 => {
                blob.offset = number;
                "offset"
            }
            1 => {
                blob.length = number;
                "length"
            }
            2 => {
                blob.uncompressed_length = NonZeroU32::new(number);
                "plain length"
            }
            3 => {
                blob.kind = if blob.kind == BlobKind::Data { BlobKind::Tree } else { BlobKind::Data };
                "kind"
            }
            4 => {
                pack.id = other.id;
                "pack"
            }
            5 => {
                let again: Vec<PackedBlob> = pack.blobs.clone();
                pack.blobs.extend(again);
                "twice the same"
            }
            _ => {
                blob.id = Id::from_bytes([7; 32]);
                "another blob's name"
            }
        };
        if random.chance(2) {
            mutant.files.retain(|name, _| name.kind() != FileKind::Index);
        }
        self.put(mutant, FileKind::Index, &index.to_bytes());
        Some(format!("forged index: {what} {number}"))
    }

    /// A snapshot or an index whose JSON is not quite JSON any more, or says odd things.
    fn forge_json(&self, mutant: &mut Mutant, random: &mut Random) -> Option<String> {
        let kind = if random.chance(2) { FileKind::Snapshot } else { FileKind::Index };
        let mut plain = match kind {
            FileKind::Snapshot => self.snapshots.get(random.index(self.snapshots.len()))?.to_bytes(),
            _ => self.indexes.get(random.index(self.indexes.len()))?.to_bytes(),
        };
        match random.below(4) {
            0 => plain.truncate(random.index(plain.len())),
            1 => {
                let (from, length) = (random.index(plain.len()), random.index(60));
                let piece = plain.iter().skip(from).take(length).copied().collect::<Vec<u8>>();
                let at = random.index(plain.len());
                plain.splice(at..at, piece);
            }
            2 => {
                let digits = plain.iter().enumerate().filter(|(_, byte)| byte.is_ascii_digit()).map(|(at, _)| at);
                let digits: Vec<usize> = digits.collect();
                let at = *digits.get(random.index(digits.len()))?;
                plain.splice(at..=at, *b"99999999999999999999");
            }
            _ => {
                let at = random.index(plain.len());
                plain[at] = random.below(256) as u8;
            }
        }
        let name = self.put(mutant, kind, &plain);
        Some(format!("forged {}", name.path()))
    }

    /// A snapshot of a folder that nobody had: its entries lead elsewhere, lack what they need or are not what they say.
    fn forge_tree(&self, mutant: &mut Mutant, random: &mut Random) -> Option<String> {
        let mut tree = self.trees.get(random.index(self.trees.len()))?.clone();
        let some_tree = self.trees.get(random.index(self.trees.len()))?.id();
        let mut changes = Vec::new();
        for _ in 0..=random.below(3) {
            if tree.nodes.is_empty() {
                tree.nodes.push(Node::new("file", NodeKind::File));
            }
            let at = random.index(tree.nodes.len());
            let again = tree.nodes.get(random.index(tree.nodes.len()))?.clone();
            let node = tree.nodes.get_mut(at)?;
            changes.push(match random.below(8) {
                0 | 1 => {
                    node.name = NAMES.get(random.index(NAMES.len()))?.to_vec();
                    format!("name {:?}", String::from_utf8_lossy(&node.name))
                }
                2 => {
                    node.kind = match random.below(5) {
                        0 => NodeKind::Dir,
                        1 => NodeKind::Symlink,
                        2 => NodeKind::CharDevice,
                        3 => NodeKind::Fifo,
                        _ => NodeKind::File,
                    };
                    format!("kind {:?}", node.kind)
                }
                3 => {
                    node.kind = NodeKind::Dir;
                    node.subtree = if random.chance(3) { Some(Id::from_bytes([9; 32])) } else { Some(some_tree) };
                    "subtree".to_owned()
                }
                4 => {
                    node.kind = NodeKind::Symlink;
                    node.link_target = Some(b"../../..".to_vec());
                    "link".to_owned()
                }
                5 => {
                    node.size = u64::MAX >> random.below(40);
                    format!("size {}", node.size)
                }
                6 => {
                    node.content = Some(vec![some_tree; random.index(40)]);
                    "content".to_owned()
                }
                _ => {
                    tree.nodes.push(again);
                    "twice the same".to_owned()
                }
            });
        }
        let plain = tree.to_bytes();
        let root = format::hash(&plain);
        let mut pack = PackWriter::new();
        pack.push(&self.master, BlobKind::Tree, root, &plain, None).ok()?;
        let pack = pack.finish(&self.master).ok()?;
        mutant.files.insert(FileName::pack(pack.id), pack.bytes.into());
        let listed = IndexedPack { id: pack.id, blobs: pack.blobs };
        let index = IndexFile { packs: vec![listed], ..IndexFile::default() };
        self.put(mutant, FileKind::Index, &index.to_bytes());
        let mut snapshot = self.snapshots.first()?.clone();
        snapshot.tree = root;
        self.put(mutant, FileKind::Snapshot, &snapshot.to_bytes());
        Some(format!("forged tree: {}", changes.join(", ")))
    }
}

/// What disks and servers do to files without knowing what is in them.
fn rot(files: &mut Files, random: &mut Random) -> Option<String> {
    // First a kind, so that the many packs do not hide the few others.
    let kinds: Vec<FileKind> = {
        let mut kinds: Vec<FileKind> = files.keys().map(|name| name.kind()).collect();
        kinds.dedup();
        kinds
    };
    let kind = *kinds.get(random.index(kinds.len()))?;
    let names: Vec<FileName> = files.keys().filter(|name| name.kind() == kind).copied().collect();
    let name = *names.get(random.index(names.len()))?;
    let other = *names.get(random.index(names.len()))?;
    let mut bytes = files.get(&name)?.to_vec();
    let what = match random.below(7) {
        0 | 1 if !bytes.is_empty() => {
            let at = random.index(bytes.len());
            bytes[at] ^= 1 << random.below(8);
            format!("bit at {at}")
        }
        2 => {
            bytes.truncate(random.index(bytes.len()));
            format!("cut to {}", bytes.len())
        }
        3 if !bytes.is_empty() => {
            let from = random.index(bytes.len());
            bytes.iter_mut().skip(from).take(512).for_each(|byte| *byte = 0);
            format!("zeros at {from}")
        }
        4 => {
            let swapped = files.get(&other)?.clone();
            files.insert(other, bytes.into());
            files.insert(name, swapped);
            return Some(format!("{} swapped with {}", name.path(), other.path()));
        }
        5 => {
            files.remove(&name);
            return Some(format!("{} lost", name.path()));
        }
        _ => {
            bytes.extend(random.bytes(40));
            "longer".to_owned()
        }
    };
    files.insert(name, bytes.into());
    Some(format!("{}: {what}", name.path()))
}
