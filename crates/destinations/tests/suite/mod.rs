//! What every kind of destination promises, as one suite over the trait; [`passes`] runs all of it.

use std::sync::Arc;

use bytes::Bytes;
use destinations::{Destination, Listed, Span};
use format::{FileKind, FileName};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use model::{FaultKind, Id};
use sha2::{Digest as _, Sha256};

/// More than two of the pages in which S3 lists.
const MANY_FILES: u64 = 2_500;
const LARGE_FILE_BYTES: usize = 16 << 20;
const WRITERS_OF_ONE_NAME: usize = 20;

/// Puts bytes at a path.
pub(crate) type Plant = Box<dyn Fn(&str, &[u8])>;

/// A place under test and what the suite has to know about it.
pub(crate) struct Subject {
    /// A place where nothing was ever made.
    pub(crate) destination: Arc<dyn Destination>,
    /// Puts bytes at a path inside the place, behind the back of the client under test.
    pub(crate) plant: Plant,
    /// Whether the place knows folders, so that a listing can tell a missing one from an empty one.
    pub(crate) has_folders: bool,
}

/// Runs the suite; panics at the first broken promise.
pub(crate) async fn passes(subject: &Subject) {
    let place = subject.destination.as_ref();
    nothing_is_there_at_first(subject).await;
    creation_is_harmless_when_repeated(place).await;
    every_kind_goes_round(place).await;
    ranges_are_exact(place).await;
    of_many_first_configs_one_wins(place).await;
    config_is_never_replaced(place).await;
    damaged_bytes_are_replaced(subject).await;
    foreign_names_are_left_out(subject).await;
    a_large_file_goes_round(place).await;
    concurrent_writers_of_one_name_agree(place).await;
    long_listings_are_complete(place).await;
}

/// A file of `kind` with its name, made from a number.
pub(crate) fn sample(kind: FileKind, number: u64, length: usize) -> (FileName, Bytes) {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(length)
    .collect();
    (FileName::new(kind, Id::from_bytes(Sha256::digest(&bytes).into())), Bytes::from(bytes))
}

async fn nothing_is_there_at_first(subject: &Subject) {
    let place = subject.destination.as_ref();
    for kind in FileKind::NAMED {
        match place.list(kind).await {
            Ok(found) => assert!(!subject.has_folders && found.is_empty(), "{kind:?} before creation: {found:?}"),
            Err(fault) => assert_eq!(fault.kind, FaultKind::NotFound, "{fault}"),
        }
    }
    let (name, _) = sample(FileKind::Pack, 1, 10);
    assert_eq!(place.stat(FileName::CONFIG).await.unwrap_err().kind, FaultKind::NotFound);
    assert_eq!(place.read(name, Span::Whole).await.unwrap_err().kind, FaultKind::NotFound);
}

async fn creation_is_harmless_when_repeated(place: &dyn Destination) {
    place.create().await.unwrap();
    let (name, bytes) = sample(FileKind::Key, 2, 100);
    place.write(name, bytes).await.unwrap();
    place.create().await.unwrap();
    assert_eq!(place.stat(name).await.unwrap(), 100, "creation kept what was there");
    place.remove(name).await.unwrap();
    for kind in FileKind::NAMED {
        assert_eq!(place.list(kind).await.unwrap(), [], "{kind:?} after creation");
    }
    match place.list(FileKind::Config).await {
        Ok(found) => assert_eq!(found, [], "the config is no folder"),
        Err(fault) => assert_eq!(fault.kind, FaultKind::Refused, "{fault}"),
    }
}

async fn every_kind_goes_round(place: &dyn Destination) {
    for (number, kind) in (10..).zip(FileKind::NAMED) {
        for length in [0, 1, 4_099] {
            let (name, bytes) = sample(kind, number, length);
            place.write(name, bytes.clone()).await.unwrap();
            place.write(name, bytes.clone()).await.unwrap_or_else(|fault| panic!("the same again: {fault}"));
            assert_eq!(place.stat(name).await.unwrap(), length as u64, "{name}");
            assert_eq!(place.read(name, Span::Whole).await.unwrap(), bytes, "{name}");
            let listed = Listed { id: name.id().unwrap(), size: length as u64 };
            assert_eq!(place.list(kind).await.unwrap(), [listed]);
            place.remove(name).await.unwrap();
            place.remove(name).await.unwrap_or_else(|fault| panic!("already gone: {fault}"));
            assert_eq!(place.stat(name).await.unwrap_err().kind, FaultKind::NotFound);
            assert_eq!(place.read(name, Span::Whole).await.unwrap_err().kind, FaultKind::NotFound);
            let range = Span::Range { offset: 0, length: 1 };
            assert_eq!(place.read(name, range).await.unwrap_err().kind, FaultKind::NotFound);
            assert_eq!(place.list(kind).await.unwrap(), []);
        }
    }
}

async fn ranges_are_exact(place: &dyn Destination) {
    let (name, bytes) = sample(FileKind::Pack, 20, 70_000);
    place.write(name, bytes.clone()).await.unwrap();
    for (offset, length) in [(0_usize, 1_usize), (0, 70_000), (1, 69_999), (69_999, 1), (4_096, 4_096), (5, 0)] {
        let span = Span::Range { offset: offset as u64, length: length as u64 };
        let read = place.read(name, span).await.unwrap_or_else(|fault| panic!("{span:?}: {fault}"));
        assert_eq!(read, bytes.slice(offset..offset + length), "{span:?}");
    }
    for (offset, length) in [(69_999, 2), (70_000, 1), (0, 70_001), (1 << 40, 1), (u64::MAX, 2), (1, u64::MAX)] {
        let span = Span::Range { offset, length };
        let fault = place.read(name, span).await.expect_err("bytes past the end");
        assert_eq!(fault.kind, FaultKind::Damaged, "{span:?}: {fault}");
    }
    place.remove(name).await.unwrap();
}

async fn of_many_first_configs_one_wins(place: &dyn Destination) {
    let writers = (0..WRITERS_OF_ONE_NAME).map(|number| async move {
        let config = Bytes::from(format!("config number {number}"));
        (place.write(FileName::CONFIG, config.clone()).await, config)
    });
    let mut winners = Vec::new();
    for (written, config) in futures::future::join_all(writers).await {
        match written {
            Ok(()) => winners.push(config),
            Err(fault) => assert_eq!(fault.kind, FaultKind::Exists, "{fault}"),
        }
    }
    assert_eq!(winners, [place.read(FileName::CONFIG, Span::Whole).await.unwrap()]);
    place.remove(FileName::CONFIG).await.unwrap();
}

async fn config_is_never_replaced(place: &dyn Destination) {
    let first = Bytes::from_static(b"the first config");
    place.write(FileName::CONFIG, first.clone()).await.unwrap();
    place.write(FileName::CONFIG, first.clone()).await.unwrap_or_else(|fault| panic!("the same again: {fault}"));
    for other in [&b"another"[..], b"the first confiG", b""] {
        let fault = place.write(FileName::CONFIG, Bytes::copy_from_slice(other)).await.expect_err("a second config");
        assert_eq!(fault.kind, FaultKind::Exists, "{fault}");
    }
    assert_eq!(place.read(FileName::CONFIG, Span::Whole).await.unwrap(), first);
    assert_eq!(place.stat(FileName::CONFIG).await.unwrap(), first.len() as u64);
}

async fn damaged_bytes_are_replaced(subject: &Subject) {
    let place = subject.destination.as_ref();
    for (number, kind) in (30..).zip([FileKind::Pack, FileKind::Snapshot]) {
        let (name, bytes) = sample(kind, number, 5_000);
        (subject.plant)(&name.path(), &bytes[..4_000]);
        assert_eq!(place.stat(name).await.unwrap(), 4_000, "planted");
        place.write(name, bytes.clone()).await.unwrap();
        assert_eq!(place.read(name, Span::Whole).await.unwrap(), bytes, "the damaged bytes are gone");
        place.remove(name).await.unwrap();
    }
}

async fn foreign_names_are_left_out(subject: &Subject) {
    let place = subject.destination.as_ref();
    let (name, bytes) = sample(FileKind::Index, 40, 10);
    place.write(name, bytes).await.unwrap();
    let id = name.id().unwrap();
    let upper = id.to_hex().to_uppercase();
    for foreign in ["README".to_owned(), upper, format!("{id}.bak"), format!("{id}-tmp-12345"), id.short()] {
        (subject.plant)(&format!("index/{foreign}"), b"not ours");
    }
    let (pack, _) = sample(FileKind::Pack, 41, 10);
    (subject.plant)(&format!("{}-tmp-987654321", pack.path()), b"half a pack");
    assert_eq!(place.list(FileKind::Index).await.unwrap(), [Listed { id, size: 10 }]);
    assert_eq!(place.list(FileKind::Pack).await.unwrap(), []);
    place.remove(name).await.unwrap();
}

async fn a_large_file_goes_round(place: &dyn Destination) {
    let (name, bytes) = sample(FileKind::Pack, 50, LARGE_FILE_BYTES);
    place.write(name, bytes.clone()).await.unwrap();
    // A server may refuse a name that exists long before it has read so many bytes.
    place.write(name, bytes.clone()).await.unwrap_or_else(|fault| panic!("the same again: {fault}"));
    assert!(place.read(name, Span::Whole).await.unwrap() == bytes, "16 MiB came back changed");
    let span = Span::Range { offset: 9 << 20, length: 3 << 20 };
    assert!(place.read(name, span).await.unwrap() == bytes.slice(9 << 20..12 << 20), "3 MiB came back changed");
    place.remove(name).await.unwrap();
}

async fn concurrent_writers_of_one_name_agree(place: &dyn Destination) {
    let (name, bytes) = sample(FileKind::Pack, 60, 300_000);
    let writers = (0..WRITERS_OF_ONE_NAME).map(|_| place.write(name, bytes.clone()));
    for written in futures::future::join_all(writers).await {
        written.unwrap_or_else(|fault| panic!("one of many writers: {fault}"));
    }
    assert_eq!(place.read(name, Span::Whole).await.unwrap(), bytes);
    assert_eq!(place.list(FileKind::Pack).await.unwrap().len(), 1);
    place.remove(name).await.unwrap();
}

async fn long_listings_are_complete(place: &dyn Destination) {
    for kind in [FileKind::Snapshot, FileKind::Pack] {
        let samples = (0..MANY_FILES).map(|number| sample(kind, 1_000 + number, 20 + (number % 7) as usize));
        let mut expected: Vec<Listed> = stream::iter(samples)
            .map(|(name, bytes)| async move {
                let listed = Listed { id: name.id().unwrap(), size: bytes.len() as u64 };
                place.write(name, bytes).await.map(|()| listed)
            })
            .buffer_unordered(8)
            .try_collect()
            .await
            .unwrap();
        expected.sort_unstable();
        let mut found = place.list(kind).await.unwrap();
        found.sort_unstable();
        assert_eq!(found.len(), expected.len());
        assert!(found == expected, "the listing of {kind:?} differs from what was written");
    }
}
