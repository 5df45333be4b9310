//! Hostile bytes: each named attack is refused by a typed error, and no mutation of a sound object makes a parser
//! panic, run away or return what was not there.
#![allow(clippy::unwrap_used, missing_docs)]

use std::num::NonZeroU32;

use format::{
    BlobKind, Compression, Compressor, Config, Decompressor, FormatError, HeaderRead, IndexFile, IndexedPack, KeyFile,
    KeyOwner, Lock, MarkedPack, MasterKey, Moment, Node, NodeKind, PackWriter, PackedBlob, ScryptCost, Snapshot,
    SnapshotSummary, Tree, hash, open_blob, open_file, parse_header, seal_file,
};
use model::Secret;

type Parser = Box<dyn Fn(&[u8]) -> bool>;

/// Every parser with a sound input. A parser says whether it accepted.
fn parsers(master: &MasterKey) -> Vec<(&'static str, Vec<u8>, Parser)> {
    let time = Moment { seconds: 1_700_000_000, nanoseconds: 5, offset_seconds: 3600 };
    let owner = KeyOwner { hostname: "host".to_owned(), username: "user".to_owned(), created: time.to_zoned() };
    let key = KeyFile::seal(master, &Secret::from("x"), &owner, ScryptCost::FAST_FOR_TESTS).unwrap();
    let mut snapshot = Snapshot::new(time, hash(b"tree"));
    snapshot.paths = vec!["/home".to_owned()];
    snapshot.tags = vec!["a".to_owned()];
    snapshot.parent = Some(hash(b"parent"));
    snapshot.summary = Some(SnapshotSummary { backup_start: time, backup_end: time, ..SnapshotSummary::default() });
    let text = b"compressible ".repeat(100);
    let frame = Compressor::new(Compression::Auto).compress(&text).unwrap();
    let (pack_master, blob_master, file_master) = (master.clone(), master.clone(), master.clone());
    let mut pack = PackWriter::new();
    let entry =
        pack.push(master, BlobKind::Data, hash(&text), &text, Some(&mut Compressor::new(Compression::Auto))).unwrap();
    let sealed_blob = pack.sealed_blob(&entry).to_vec();
    let pack = pack.finish(master).unwrap();
    let header_key = master.clone();
    let header = header_key.open(&pack.bytes[entry.length as usize..pack.bytes.len() - 4]).unwrap();
    vec![
        (
            "key file",
            key.to_bytes(),
            Box::new(|bytes| {
                // Opening too: a mutated parameter must be refused or be cheap enough.
                KeyFile::parse(bytes).is_ok_and(|key| key.n <= 1 << 12 && key.open(&Secret::from("x")).is_ok())
            }),
        ),
        ("config", Config::generate().unwrap().to_bytes(), Box::new(|bytes| Config::parse(bytes).is_ok())),
        (
            "snapshot",
            snapshot.to_bytes(),
            Box::new(|bytes| {
                Snapshot::parse(bytes).is_ok_and(|read| Snapshot::parse(&read.to_bytes()).unwrap() == read)
            }),
        ),
        (
            "lock",
            Lock::new(time, true).to_bytes(),
            Box::new(|bytes| Lock::parse(bytes).is_ok_and(|read| Lock::parse(&read.to_bytes()).unwrap() == read)),
        ),
        (
            "index",
            index(&[entry]).to_bytes(),
            Box::new(|bytes| {
                IndexFile::parse(bytes).is_ok_and(|read| {
                    assert!(read.packs.iter().filter_map(IndexedPack::overlap).all(|(left, right)| left != right));
                    IndexFile::parse(&read.to_bytes()).unwrap() == read
                })
            }),
        ),
        (
            "tree",
            tree().to_bytes(),
            Box::new(|bytes| {
                Tree::parse(bytes).is_ok_and(|read| {
                    assert!(read.nodes.iter().all(Node::child_name_is_safe));
                    Tree::parse(&read.to_bytes()).unwrap() == read
                })
            }),
        ),
        (
            "zstd",
            frame,
            Box::new(|bytes| {
                let unknown = Decompressor::new().decompress(bytes, None, 1 << 20);
                assert!(unknown.as_ref().is_ok_and(|plain| plain.len() <= 1 << 20) || unknown.is_err());
                Decompressor::new().decompress(bytes, Some(1300), 1 << 20).is_ok()
            }),
        ),
        (
            "sealed pack",
            pack.bytes,
            Box::new(move |bytes| parse_header(&pack_master, bytes.len() as u64, bytes).is_ok()),
        ),
        (
            "pack header",
            header,
            Box::new(move |plain| {
                let sealed = header_key.seal(plain);
                let tail = [sealed.as_slice(), &(sealed.len() as u32).to_le_bytes()].concat();
                let size = tail.len() as u64 + u64::from(entry.length);
                match parse_header(&header_key, size, &tail) {
                    Ok(HeaderRead::Complete(blobs)) => {
                        assert_eq!(
                            blobs.iter().map(|blob| u64::from(blob.length)).sum::<u64>(),
                            u64::from(entry.length)
                        );
                        true
                    }
                    Ok(HeaderRead::Needs(_)) => panic!("the whole tail was given"),
                    Err(_) => false,
                }
            }),
        ),
        (
            "blob",
            sealed_blob,
            Box::new(move |bytes| {
                open_blob(&blob_master, &entry, &mut bytes.to_vec(), &mut Decompressor::new()).is_ok()
            }),
        ),
        (
            "sealed file",
            seal_file(master, 2, Compression::Auto, &snapshot.to_bytes()),
            Box::new(move |bytes| open_file(&file_master, bytes).is_ok()),
        ),
    ]
}

fn index(blobs: &[PackedBlob]) -> IndexFile {
    let blobs = blobs.to_vec();
    let time = Some(Moment { seconds: 1_700_000_000, nanoseconds: 5, offset_seconds: 3600 });
    let marked = MarkedPack { id: hash(b"marked"), blobs: blobs.clone(), time, size: Some(500) };
    let packs = vec![IndexedPack { id: hash(b"pack"), blobs }];
    IndexFile { supersedes: vec![], packs, packs_to_delete: vec![marked] }
}

fn tree() -> Tree {
    let mut file = Node::new(b"a\"\n\xff".as_slice(), NodeKind::File);
    file.content = Some(vec![hash(b"1"), hash(b"2")]);
    file.mode = 0o4755;
    file.extended_attributes = vec![(b"user.a".to_vec(), vec![1, 2, 3])];
    let mut folder = Node::new("b", NodeKind::Dir);
    folder.subtree = Some(hash(b"sub"));
    let mut link = Node::new("c", NodeKind::Symlink);
    link.link_target = Some(b"\xff".to_vec());
    Tree { nodes: vec![file, folder, link] }
}

struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % below.max(1)
    }
}

/// Flips, cuts, repeats, numbers at their limits, and words of the format where they do not belong.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    const WORDS: &[&[u8]] = &[
        b"null",
        b"-1",
        b"18446744073709551615",
        b"4294967296",
        b"1e999",
        b"\"\"",
        b"{}",
        b"[]",
        b"[[[[[[[[",
        b"\\u0000",
        b"..",
        b"/",
        b"\"name\":",
        b"\xff",
        b"\\\\x",
        b"0.5",
        b"true",
        b"}",
        b",",
    ];
    for _ in 0..=random.next(3) {
        let at = random.next(bytes.len() + 1);
        match random.next(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.next(8),
            1 => bytes.truncate(at),
            2 if at < bytes.len() => bytes[at] = random.next(256) as u8,
            3 => drop(bytes.splice(at..at, WORDS[random.next(WORDS.len())].iter().copied())),
            4 => {
                let end = (at + random.next(40)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = random.next(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            5 => {
                let end = (at + random.next(8)).min(bytes.len());
                bytes[at..end].fill(if random.next(2) == 0 { 0 } else { 0xff });
            }
            _ => {
                let end = (at + random.next(20)).min(bytes.len());
                bytes.drain(at..end);
            }
        }
    }
}

#[test]
fn mutated_objects_never_panic() {
    let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
        let id = Config::generate().unwrap().id;
        u64::from_le_bytes(id.as_bytes()[..8].try_into().unwrap()) | 1
    });
    println!("SEED={seed}");
    let mut random = Random(seed);
    let master = MasterKey::generate().unwrap();
    for (name, sound, parse) in parsers(&master) {
        assert!(parse(&sound), "the sound {name} is refused");
        let mut refused = 0;
        for _ in 0..3_000 {
            let mut bytes = sound.clone();
            mutate(&mut bytes, &mut random);
            refused += usize::from(!parse(&bytes));
        }
        // Text has fields whose change is sound; most mutations are not.
        assert!(refused > 500, "{name}: only {refused} of 3000 mutations refused");
    }
}

#[test]
fn sealed_objects_refuse_every_bit_flip_and_truncation() {
    let master = MasterKey::generate().unwrap();
    for (name, sound, parse) in parsers(&master) {
        if !matches!(name, "blob" | "sealed file") {
            continue;
        }
        for bit in 0..sound.len() * 8 {
            let mut bytes = sound.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!parse(&bytes), "{name}: bit {bit}");
        }
        assert!((0..sound.len()).all(|end| !parse(&sound[..end])), "{name}");
    }
}

fn parse_tree(json: &str) -> Result<Tree, FormatError> {
    Tree::parse(json.as_bytes())
}

#[test]
fn trees_with_names_that_leave_the_folder_or_twice_the_same_are_refused() {
    for name in ["", ".", "..", "a/b", "/", "../x", "a/../../b", r"\\x00", r"a\\x2fb", r"\\u002e.", r"\\056"] {
        let refused = parse_tree(&format!(r#"{{"nodes":[{{"name":"{name}","type":"file"}}]}}"#));
        assert!(matches!(refused, Err(FormatError::Malformed { .. })), "{name}: {refused:?}");
    }
    let twice = parse_tree(
        r#"{"nodes":[{"name":"a","type":"file"},{"name":"b","type":"file"},{"name":"\\x61","type":"dir"}]}"#,
    );
    assert!(twice.unwrap_err().to_string().contains("two entries named `a`"));
    let unsorted = parse_tree(r#"{"nodes":[{"name":"b","type":"file"},{"name":"a","type":"file"}]}"#).unwrap();
    assert!(!unsorted.is_sorted());
}

#[test]
fn trees_of_wrong_shape_are_refused() {
    for json in [
        "",
        "{}",
        "[]",
        "null",
        r#"{"nodes":null}"#,
        r#"{"nodes":{}}"#,
        r#"{"nodes":[]}{}"#,
        r#"{"nodes":[],"nodes":[]}"#,
        r#"{"nodes":[{"name":"a","name":"a","type":"file"}]}"#,
        r#"{"nodes":[{}]}"#,
        r#"{"nodes":[{"name":"a"}]}"#,
        r#"{"nodes":[{"type":"file"}]}"#,
        r#"{"nodes":[{"name":"a","type":"door"}]}"#,
        r#"{"nodes":[{"name":"a","type":"file","mode":-1}]}"#,
        r#"{"nodes":[{"name":"a","type":"file","size":1e3}]}"#,
        r#"{"nodes":[{"name":"a","type":"file","mtime":"now"}]}"#,
        r#"{"nodes":[{"name":"a","type":"file","content":["abc"]}]}"#,
        r#"{"nodes":[{"name":"a","type":"file","content":[null]}]}"#,
        r#"{"nodes":[{"name":"\\q","type":"file"}]}"#,
        r#"{"nodes":[{"name":"\\","type":"file"}]}"#,
        r#"{"nodes":[{"name":"\\ud800","type":"file"}]}"#,
        r#"{"nodes":[{"name":"\\400","type":"file"}]}"#,
        r#"{"nodes":[{"name":"a\"b","type":"file"}]}"#,
        r#"{"nodes":[{"name":"a","type":"file","linktarget_raw":"?"}]}"#,
    ] {
        assert!(matches!(parse_tree(json), Err(FormatError::Malformed { .. })), "{json}");
    }
    let deep = format!(r#"{{"nodes":[{{"name":"a","type":"file","x":{}}}]}}"#, "[".repeat(100_000));
    assert!(parse_tree(&deep).is_err());
    assert!(parse_tree(&format!(r#"{{"x":{}"#, "{\"a\":".repeat(100_000))).is_err());
}

#[test]
fn a_tree_of_a_million_entries_is_read() {
    let nodes: Vec<String> = (0..1_000_000).map(|at| format!(r#"{{"name":"{at:07}","type":"file"}}"#)).collect();
    let tree = parse_tree(&format!(r#"{{"nodes":[{}]}}"#, nodes.join(","))).unwrap();
    assert_eq!(tree.nodes.len(), 1_000_000);
    assert!(tree.is_sorted());
}

#[test]
fn indexes_whose_numbers_lie_are_refused() {
    let id = hash(b"x");
    let blob =
        |fields: &str| format!(r#"{{"packs":[{{"id":"{id}","blobs":[{{"id":"{id}","type":"data",{fields}}}]}}]}}"#);
    assert!(IndexFile::parse(blob(r#""offset":0,"length":32"#).as_bytes()).is_ok());
    for fields in [
        r#""offset":0,"length":31"#,
        r#""offset":0"#,
        r#""offset":-1,"length":32"#,
        r#""offset":4294967295,"length":32"#,
        r#""offset":4294967296,"length":32"#,
        r#""offset":0,"length":4294967296"#,
        r#""offset":32,"length":4294967295"#,
        r#""offset":0,"length":32,"uncompressed_length":4294967295"#,
        r#""offset":0,"length":32,"length":33"#,
        r#""offset":0,"length":32,"uncompressed_length":-1"#,
    ] {
        assert!(IndexFile::parse(blob(fields).as_bytes()).is_err(), "{fields}");
    }
    let unknown_kind = blob(r#""offset":0,"length":32"#).replace("data", "door");
    assert!(IndexFile::parse(unknown_kind.as_bytes()).is_err());
    let entry = |offset, length| PackedBlob { kind: BlobKind::Data, id, offset, length, uncompressed_length: None };
    let overlapping = index(&[entry(100, 50), entry(0, 101)]);
    let read = IndexFile::parse(&overlapping.to_bytes()).unwrap();
    assert_eq!(read.packs[0].overlap(), Some((entry(0, 101), entry(100, 50))));
    assert_eq!(index(&[entry(0, 50), entry(50, 32), entry(0, 50)]).packs[0].overlap(), None);
}

#[test]
fn pack_headers_that_lie_are_refused() {
    let master = MasterKey::generate().unwrap();
    let mut pack = PackWriter::new();
    for plain in [b"one".as_slice(), b"two", b"three"] {
        pack.push(&master, BlobKind::Data, hash(plain), plain, None).unwrap();
    }
    let pack = pack.finish(&master).unwrap();
    let size = pack.bytes.len();
    for length in [0_u32, 1, 31, 32, 68, size as u32 - 3, size as u32, 16 << 20, (16 << 20) + 1, u32::MAX] {
        let mut lying = pack.bytes.clone();
        lying[size - 4..].copy_from_slice(&length.to_le_bytes());
        assert!(parse_header(&master, size as u64, &lying).is_err(), "{length}");
    }
    for end in 0..size {
        assert!(parse_header(&master, end as u64, &pack.bytes[..end]).is_err(), "{end}");
    }
    let entry = |kind: u8, length: u32| [&[kind][..], &length.to_le_bytes(), &[7; 32]].concat();
    let header = |plain: &[u8], body: u64| {
        let sealed = master.seal(plain);
        let tail = [sealed.as_slice(), &(sealed.len() as u32).to_le_bytes()].concat();
        parse_header(&master, body + tail.len() as u64, &tail)
    };
    assert!(header(&entry(0, 32), 32).is_ok());
    assert!(header(&entry(0, 32), 33).is_err(), "a gap");
    assert!(header(&entry(0, 33), 32).is_err(), "an overlap");
    assert!(header(&entry(0, 0), 0).is_err(), "no room for the seal");
    assert!(header(&entry(4, 32), 32).is_err(), "unknown type");
    assert!(header(&[entry(0, 32), vec![0; 5]].concat(), 32).is_err(), "cut off");
    assert!(header(&[entry(0, u32::MAX), entry(0, 33)].concat(), 32).is_err(), "a sum that overflows");
    let compressed = [&[2][..], &32_u32.to_le_bytes(), &0_u32.to_le_bytes(), &[7; 32]].concat();
    assert!(header(&compressed, 32).is_err(), "compressed to nothing");
    assert!(header(&[], 0).is_err(), "no blobs");
}

#[test]
fn zstd_bombs_are_refused_before_they_go_off() {
    let bomb = Compressor::new(Compression::Max).compress(&vec![0; 64 << 20]).unwrap();
    assert!(bomb.len() < 10_000, "1 : {}", (64 << 20) / bomb.len());
    let mut decompressor = Decompressor::new();
    let limit = 1 << 20;
    assert!(matches!(decompressor.decompress(&bomb, None, limit), Err(FormatError::TooLarge { .. })));
    assert!(matches!(decompressor.decompress(&bomb, Some(64 << 20), limit), Err(FormatError::TooLarge { .. })));
    // A declared length that is smaller or larger than the truth, and one that no such frame could reach.
    for declared in [0, 1, limit, (64 << 20) - 1, (64 << 20) + 1, bomb.len() * 100_000, usize::MAX] {
        assert!(decompressor.decompress(&bomb, Some(declared), usize::MAX).is_err(), "{declared}");
    }
    // As a blob and as a file.
    let master = MasterKey::generate().unwrap();
    let mut sealed = master.seal(&bomb);
    let entry = PackedBlob {
        kind: BlobKind::Data,
        id: hash(b"x"),
        offset: 0,
        length: sealed.len() as u32,
        uncompressed_length: NonZeroU32::new(300 << 20),
    };
    assert!(matches!(open_blob(&master, &entry, &mut sealed, &mut decompressor), Err(FormatError::TooLarge { .. })));
    let file = master.seal(&[&[2], bomb.as_slice()].concat());
    assert!(matches!(open_file(&master, &file), Err(FormatError::TooLarge { .. })));
    // A chunk of zeros is no bomb.
    let zeros = vec![0; 8 << 20];
    let chunk = Compressor::new(Compression::Auto).compress(&zeros).unwrap();
    assert_eq!(decompressor.decompress(&chunk, Some(8 << 20), 8 << 20).unwrap(), zeros);
}

/// A frame that does not tell its length, as a streaming writer makes it.
#[test]
fn frames_without_a_length_are_bounded_too() {
    let text = b"some text ".repeat(200_000);
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    std::io::Write::write_all(&mut encoder, &text).unwrap();
    let frame = encoder.finish().unwrap();
    assert_eq!(zstd::zstd_safe::get_frame_content_size(&frame).unwrap(), None);
    let mut decompressor = Decompressor::new();
    assert_eq!(decompressor.decompress(&frame, None, text.len()).unwrap(), text);
    assert_eq!(decompressor.decompress(&frame, Some(text.len()), text.len()).unwrap(), text);
    assert!(decompressor.decompress(&frame, None, text.len() - 1).is_err());
    assert!(decompressor.decompress(&frame[..frame.len() - 1], None, text.len()).is_err());
}

#[test]
fn configs_and_files_of_other_versions_are_told_apart_from_damage() {
    let id = hash(b"x");
    let config = |version: &str, polynomial: &str| {
        Config::parse(format!(r#"{{"version":{version},"id":"{id}","chunker_polynomial":"{polynomial}"}}"#).as_bytes())
    };
    assert!(config("2", "3da3358b4dc173").is_ok());
    assert!(matches!(config("3", "3da3358b4dc173"), Err(FormatError::Unsupported { .. })));
    assert!(matches!(config("0", "3da3358b4dc173"), Err(FormatError::Unsupported { .. })));
    for polynomial in ["", "0", "1", "3da3358b4dc172", "11b", "ffffffffffffffff", "0x3da3358b4dc173"] {
        assert!(matches!(config("2", polynomial), Err(FormatError::Malformed { .. })), "{polynomial}");
    }
    let master = MasterKey::generate().unwrap();
    assert!(matches!(open_file(&master, &master.seal(&[3, 0, 0])), Err(FormatError::Unsupported { .. })));
    assert!(matches!(open_file(&master, &master.seal(&[])), Err(FormatError::Malformed { .. })));
    assert!(matches!(open_file(&master, &[0; 100]), Err(FormatError::Sealed { .. })));
}
