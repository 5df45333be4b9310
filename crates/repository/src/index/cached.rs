//! Which parts of the cache are of use today, and when they are merged.
//!
//! A part is made of some index files, and is of use while every one of them is listed with the size that it had: their
//! names are hashes, so nothing else about them can change. What is new is read and becomes a part of its own, together
//! with the parts that are not much larger: so every index file is read once, each record is written a few times, and
//! there are never many parts.
//!
//! There is no list of parts to keep true: the files themselves say what they are made of. Two processes may write at
//! the same time; whoever comes next takes parts that share no index file, the larger ones first.

use std::collections::HashSet;

use format::{BlobKind, MasterKey};
use model::Id;

use super::layout::{ListedFile, NAME_PREFIX};
use super::merge::{Merge, Numbered, Source, numbers_in, union_of_packs};
use super::part::Part;
use super::shelf::Shelves;
use super::writer::{NotWritten, write_part};
use crate::cache_folder::RepositoryCache;

/// Parts with no more records than this are always merged with what is new. Fewer in tests, so that a few hundred records
/// make several parts.
const SMALL_PART_RECORDS: usize = if cfg!(test) { 16 } else { 4096 };
/// A part with so many times as many records as those that are merged stays as it is.
const MERGE_SHARE: usize = 4;

/// The cache of the index, as far as it is of use.
pub(super) struct Cached {
    cache: RepositoryCache,
    master: MasterKey,
    parts: Vec<Part>,
    /// Names of files that are damaged or out of date.
    useless: Vec<String>,
}

impl Cached {
    /// Opens what fits `is_listed`: whether a file may be taken from the cache.
    pub(super) fn open(cache: RepositoryCache, master: &MasterKey, is_listed: impl Fn(&ListedFile) -> bool) -> Self {
        let names: Vec<String> = cache.names().into_iter().filter(|name| name.starts_with(NAME_PREFIX)).collect();
        let mut useless = Vec::new();
        let mut found: Vec<Part> = Vec::new();
        for name in names {
            match Part::open(&cache, &name, master) {
                Some(part) if part.files.iter().all(&is_listed) => found.push(part),
                _ => useless.push(name),
            }
        }
        found.sort_by_key(|part| std::cmp::Reverse(part.count()));
        let mut parts: Vec<Part> = Vec::new();
        let mut taken: HashSet<Id> = HashSet::new();
        for part in found {
            if part.files.iter().any(|file| taken.contains(&file.id)) {
                useless.push(part.name().to_owned());
            } else {
                taken.extend(part.files.iter().map(|file| file.id));
                parts.push(part);
            }
        }
        Self { cache, master: master.clone(), parts, useless }
    }

    /// The index files that need not be read.
    pub(super) fn files(&self) -> HashSet<Id> {
        self.parts.iter().flat_map(|part| part.files.iter().map(|file| file.id)).collect()
    }

    /// Adds what was read from `files` to the cache, and gives all of it. Where it cannot be written, it stays in memory.
    pub(super) fn with(mut self, fresh: Shelves, files: Vec<ListedFile>, now_seconds: i64) -> Vec<Source> {
        let mut sources = Vec::new();
        if !files.is_empty() {
            sources.extend(self.add(fresh, files, now_seconds));
        }
        sources.extend(self.parts.into_iter().map(Source::Cached));
        sources
    }

    fn add(&mut self, fresh: Shelves, mut files: Vec<ListedFile>, now_seconds: i64) -> Vec<Source> {
        self.cache.sweep(now_seconds);
        let mut merged: Vec<Source> = self.take_parts_to_merge(&fresh).into_iter().map(Source::Cached).collect();
        let names: Vec<String> = merged.iter().filter_map(Source::name).collect();
        merged.push(Source::Memory(fresh));
        files.extend(merged.iter().flat_map(Source::files));
        match self.write(&merged, files) {
            Ok(part) => {
                names.iter().chain(&self.useless).for_each(|name| self.cache.remove(name));
                vec![Source::Cached(part)]
            }
            // What cannot be read is found out again by whoever asks for it, and read from the repository then.
            Err(NotWritten::Unreadable | NotWritten::Refused) => merged,
        }
    }

    /// The smaller parts, as long as together with what is new they are not much smaller than the next one.
    fn take_parts_to_merge(&mut self, fresh: &Shelves) -> Vec<Part> {
        let mut records = fresh.count();
        let mut taken = Vec::new();
        // The largest come first.
        while let Some(part) = self.parts.pop_if(|part| part.count() <= SMALL_PART_RECORDS.max(records * MERGE_SHARE)) {
            records += part.count();
            taken.push(part);
        }
        taken
    }

    fn write(&self, sources: &[Source], files: Vec<ListedFile>) -> Result<Part, NotWritten> {
        let packs = union_of_packs(sources.iter());
        let numbers: Vec<Vec<u32>> = sources.iter().map(|source| numbers_in(&packs, source)).collect();
        let merge = |kind: BlobKind| {
            let numbered = sources.iter().zip(&numbers).map(|(source, numbers)| Numbered { source, numbers });
            Merge::new(kind, numbered)
        };
        write_part(&self.cache, &self.master, files, packs, merge)
    }
}
