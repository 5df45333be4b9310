//! What is written reads back as it was, for anything that can be written.
#![allow(clippy::unwrap_used, missing_docs)]

use std::num::NonZeroU32;

use format::{
    BlobKind, Compression, Compressor, Config, Decompressor, HeaderRead, IndexFile, IndexedPack, KeyFile, KeyOwner,
    Lock, MarkedPack, MasterKey, Moment, Node, NodeKind, PackWriter, PackedBlob, Polynomial, ScryptCost, Snapshot,
    SnapshotSummary, Tree, hash, is_safe_child_name, open_blob, open_file, parse_header, seal_file,
};
use model::{Id, Secret};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Map, Value};

fn ids() -> impl Strategy<Value = Id> {
    any::<[u8; 32]>().prop_map(Id::from_bytes)
}

/// Any moment that survives its text: a year of four digits, an offset of whole minutes.
fn moments() -> impl Strategy<Value = Moment> {
    let nanoseconds = prop_oneof![Just(0), 0..1_000_000_000_u32, (0..1000_u32).prop_map(|milli| milli * 1_000_000)];
    (-62_135_000_000..253_402_000_000_i64, nanoseconds, -1439..=1439_i32)
        .prop_map(|(seconds, nanoseconds, minutes)| Moment { seconds, nanoseconds, offset_seconds: minutes * 60 })
}

fn names() -> impl Strategy<Value = Vec<u8>> {
    let any_bytes = vec(any::<u8>(), 1..40);
    let any_text = "\\PC{1,20}|[\\x00-\\x7f]{1,20}|\\pC{1,5}".prop_map(String::into_bytes);
    prop_oneof![any_bytes, any_text].prop_filter("one component", |name| is_safe_child_name(name))
}

fn unknown_fields() -> impl Strategy<Value = Map<String, Value>> {
    let values = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        vec(".{0,4}", 0..3).prop_map(Value::from),
        Just(Value::Null),
    ];
    btree_map("x_[a-z<&\"]{1,8}", values, 0..3).prop_map(|fields| fields.into_iter().collect())
}

prop_compose! {
    fn nodes()(
        name in names(),
        kind in proptest::sample::select(NodeKind::ALL.to_vec()),
        mode in 0..0o10000_u32,
        times in (moments(), moments(), moments()),
        owner in (any::<u32>(), any::<u32>(), ".{0,8}", ".{0,8}"),
        numbers in any::<(u64, u64, u64, u64, u64)>(),
        link_target in proptest::option::of(vec(any::<u8>(), 1..30)),
        content in proptest::option::of(vec(ids(), 0..4)),
        subtree in proptest::option::of(ids()),
        attributes in vec(("[ -~é<]{1,10}".prop_map(String::into_bytes), vec(any::<u8>(), 0..10)), 0..3),
        generic_attributes in unknown_fields(),
        other in unknown_fields(),
    ) -> Node {
        Node {
            name, kind, mode, mode_difference: 0,
            mtime: times.0, atime: times.1, ctime: times.2,
            uid: owner.0, gid: owner.1, user: owner.2, group: owner.3,
            inode: numbers.0, device_id: numbers.1, size: numbers.2, links: numbers.3, device: numbers.4,
            link_target, content, subtree, extended_attributes: attributes, generic_attributes,
            error: String::new(), other,
        }
    }
}

fn packed_blobs() -> impl Strategy<Value = PackedBlob> {
    let kinds = prop_oneof![Just(BlobKind::Data), Just(BlobKind::Tree)];
    let lengths = (0..u32::MAX / 2, 32..1_000_000_u32, 0..200_000_000_u32);
    (kinds, ids(), lengths).prop_map(|(kind, id, (offset, length, uncompressed))| PackedBlob {
        kind,
        id,
        offset,
        length,
        uncompressed_length: NonZeroU32::new(uncompressed),
    })
}

proptest! {
    #[test]
    fn moments_round_trip(moment in moments()) {
        prop_assert_eq!(moment.to_string().parse::<Moment>().unwrap(), moment);
    }

    #[test]
    fn any_moment_has_a_text_that_reads(seconds: i64, nanoseconds in 0..1_000_000_000_u32, offset in -90_000..90_000_i32) {
        // Go writes less than a minute as `+00:00`, which reads as UTC and is `Z` when it is written again.
        let offset = if offset.abs() < 60 { 0 } else { offset.clamp(-86_399, 86_399) };
        let text = Moment { seconds, nanoseconds, offset_seconds: offset }.to_string();
        let read: Moment = text.parse().unwrap();
        prop_assert_eq!(read.to_string(), text);
    }

    #[test]
    fn moments_agree_with_jiff(seconds in -62_135_596_800..253_402_207_200_i64, nanoseconds in 0..1_000_000_000_u32, minutes in -1439..=1439_i32) {
        let moment = Moment { seconds, nanoseconds, offset_seconds: minutes * 60 };
        let zoned = moment.to_zoned();
        prop_assert_eq!(Moment::from(&zoned), moment);
        let expected = zoned.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        prop_assert_eq!(&moment.to_string()[..19], expected.as_str());
    }

    #[test]
    fn trees_round_trip(nodes in btree_map(names(), nodes(), 0..6)) {
        let nodes = nodes.into_iter().map(|(name, node)| Node { name, ..node }).collect();
        let tree = Tree { nodes };
        let bytes = tree.to_bytes();
        let read = Tree::parse(&bytes).unwrap();
        prop_assert!(read.is_sorted());
        prop_assert_eq!(&read, &tree);
        prop_assert_eq!(read.to_bytes(), bytes);
        // Also JSON for everyone else.
        let value: Value = serde_json::from_slice(&tree.to_bytes()).unwrap();
        prop_assert_eq!(value["nodes"].as_array().unwrap().len(), tree.nodes.len());
    }

    #[test]
    fn indexes_round_trip(
        packs in vec((ids(), vec(packed_blobs(), 0..5)), 0..4),
        supersedes in vec(ids(), 0..3),
        marked in vec((ids(), vec(packed_blobs(), 0..5), proptest::option::of(moments()), any::<Option<u32>>()), 0..3),
    ) {
        let packs = packs.into_iter().map(|(id, blobs)| IndexedPack { id, blobs }).collect();
        let marked = marked.into_iter();
        let marked = marked.map(|(id, blobs, time, size)| MarkedPack { id, blobs, time, size });
        let index = IndexFile { supersedes, packs, packs_to_delete: marked.collect() };
        prop_assert_eq!(IndexFile::parse(&index.to_bytes()).unwrap(), index);
    }

    #[test]
    fn snapshots_round_trip(
        times in (moments(), moments()),
        tree in ids(),
        parent in proptest::option::of(ids()),
        original in proptest::option::of(ids()),
        lists in (vec(".{0,20}", 0..3), vec(".{0,20}", 0..3), vec(".{0,20}", 0..3)),
        texts in (".{0,8}", ".{0,8}", ".{0,8}"),
        numbers in any::<(u32, u32, u64, u64, u64, u64)>(),
        has_summary: bool,
        other in (unknown_fields(), unknown_fields()),
    ) {
        let summary = SnapshotSummary {
            backup_start: times.0, backup_end: times.1, files_new: numbers.2, dirs_changed: numbers.3,
            data_added_packed: numbers.4, total_bytes_processed: numbers.5, other: other.0,
            ..SnapshotSummary::default()
        };
        let snapshot = Snapshot {
            parent, original, paths: lists.0, excludes: lists.1, tags: lists.2,
            hostname: texts.0, username: texts.1, program_version: texts.2, uid: numbers.0, gid: numbers.1,
            summary: has_summary.then_some(summary), other: other.1,
            ..Snapshot::new(times.0, tree)
        };
        prop_assert_eq!(Snapshot::parse(&snapshot.to_bytes()).unwrap(), snapshot);
    }

    #[test]
    fn locks_round_trip(time in moments(), exclusive: bool, texts in (".{0,8}", ".{0,8}"), numbers in any::<(i64, u32, u32)>(), other in unknown_fields()) {
        let lock = Lock {
            hostname: texts.0, username: texts.1, pid: numbers.0, uid: numbers.1, gid: numbers.2, other,
            ..Lock::new(time, exclusive)
        };
        prop_assert_eq!(Lock::parse(&lock.to_bytes()).unwrap(), lock);
    }

    #[test]
    fn keys_round_trip(password in ".{0,20}", texts in (".{0,8}", ".{0,8}"), seconds in 0..4_000_000_000_i64) {
        let created = jiff::Timestamp::from_second(seconds).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
        let owner = KeyOwner { hostname: texts.0, username: texts.1, created };
        let (master, password) = (MasterKey::generate().unwrap(), Secret::from(password));
        let key = KeyFile::seal(&master, &password, &owner, ScryptCost::FAST_FOR_TESTS).unwrap();
        let read = KeyFile::parse(&key.to_bytes()).unwrap();
        prop_assert_eq!(&read, &key);
        // The same key: what one seals the other opens.
        prop_assert_eq!(read.open(&password).unwrap().open(&master.seal(b"text")).unwrap(), b"text");
    }

    #[test]
    fn files_round_trip(plain in vec(any::<u8>(), 0..2000), version in 1..=2_u32, compression in proptest::sample::select(Compression::ALL.to_vec())) {
        let master = MasterKey::generate().unwrap();
        let plain = [b"{", plain.as_slice()].concat();
        let sealed = seal_file(&master, version, compression, &plain);
        prop_assert_eq!(open_file(&master, &sealed).unwrap(), plain);
    }

    #[test]
    fn compressed_data_round_trips(plain in vec(0..4_u8, 0..5000), compression in proptest::sample::select(Compression::ALL.to_vec())) {
        let (mut compressor, mut decompressor) = (Compressor::new(compression), Decompressor::new());
        if let Some(compressed) = compressor.compress(&plain) {
            prop_assert!(compressed.len() < plain.len());
            prop_assert_eq!(&decompressor.decompress(&compressed, Some(plain.len()), plain.len()).unwrap(), &plain);
            prop_assert_eq!(&decompressor.decompress(&compressed, None, plain.len()).unwrap(), &plain);
            prop_assert!(decompressor.decompress(&compressed, None, plain.len() - 1).is_err());
            prop_assert!(decompressor.decompress(&compressed, Some(plain.len() + 1), usize::MAX).is_err());
            let mut out = b"before".to_vec();
            prop_assert!(compressor.compress_into(&plain, &mut out));
            prop_assert_eq!(out, [b"before".as_slice(), &compressed].concat());
        } else {
            prop_assert!(compression == Compression::Off || plain.len() < 100);
        }
    }

    #[test]
    fn packs_round_trip(plains in vec(vec(0..6_u8, 0..3000), 1..12), is_compressed: bool, tree_at in 0..12_usize) {
        let master = MasterKey::generate().unwrap();
        let mut compressor = is_compressed.then(|| Compressor::new(Compression::Auto));
        let mut pack = PackWriter::new();
        for (at, plain) in plains.iter().enumerate() {
            let kind = if at == tree_at { BlobKind::Tree } else { BlobKind::Data };
            let entry = pack.push(&master, kind, hash(plain), plain, compressor.as_mut()).unwrap();
            prop_assert_eq!(entry.plain_length() as usize, plain.len());
            prop_assert!(is_compressed || entry.uncompressed_length.is_none());
        }
        let mut moved = PackWriter::new();
        for blob in pack.blobs() {
            moved.push_sealed(blob.kind, blob.id, pack.sealed_blob(blob), blob.uncompressed_length).unwrap();
        }
        prop_assert_eq!(moved.blobs(), pack.blobs());
        let finished = pack.finish(&master).unwrap();
        prop_assert_eq!(hash(&finished.bytes), finished.id);
        let size = finished.bytes.len() as u64;
        prop_assert_eq!(parse_header(&master, size, &finished.bytes).unwrap(), HeaderRead::Complete(finished.blobs.clone()));
        let needs = match parse_header(&master, size, &finished.bytes[finished.bytes.len() - 4..]).unwrap() {
            HeaderRead::Needs(needs) => needs as usize,
            HeaderRead::Complete(_) => return Err(TestCaseError::fail("complete from 4 bytes")),
        };
        let tail = &finished.bytes[finished.bytes.len() - needs..];
        prop_assert_eq!(parse_header(&master, size, tail).unwrap(), HeaderRead::Complete(finished.blobs.clone()));
        // A pack of another size has a gap or an overlap.
        prop_assert!(parse_header(&master, size + 1, tail).is_err());
        prop_assert!(parse_header(&master, size - 1, tail).is_err());
        let mut decompressor = Decompressor::new();
        for (entry, plain) in finished.blobs.iter().zip(&plains) {
            let mut sealed = finished.bytes[entry.offset as usize..entry.end() as usize].to_vec();
            prop_assert_eq!(&open_blob(&master, entry, &mut sealed.clone(), &mut decompressor).unwrap(), plain);
            let wrong = PackedBlob { id: hash(b"other"), ..*entry };
            prop_assert!(open_blob(&master, &wrong, &mut sealed, &mut decompressor).is_err());
        }
    }

    #[test]
    fn configs_round_trip(id in ids(), version in 1..=2_u32) {
        let config = Config { version, id, chunker_polynomial: Polynomial::random().unwrap() };
        prop_assert_eq!(Config::parse(&config.to_bytes()).unwrap(), config);
    }
}
