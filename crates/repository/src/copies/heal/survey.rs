//! Looking at every file of every copy: who lists it, who has it sound, who has something else under its name.
//!
//! Sound means: the bytes are those that the name says (the hash), and for `config` that it opens and says what it says
//! everywhere. Small files and packs with trees are always read, as in a check; other packs where their size is
//! doubtful, or as many as were asked for. Nothing is changed here.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use destinations::Span;
use format::{BlobKind, Config, FileKind, FileName, Hasher, IndexFile, PACK_FRAME_BYTES, PackedBlob, Snapshot};
use model::Id;

use super::HealRequest;
use crate::buffers::Buffers;
use crate::check::place::{NOT_THERE, Place, Read, Trouble, WRONG_NAME, damaged};
use crate::check::{ReadData, crew, feed};
use crate::copies::CopySet;
use crate::error::Result;
use crate::repository::Repository;
use crate::threads;

/// Small files read at the same time.
const READERS: usize = 8;

/// Bytes of one pack that are in memory at once.
const WINDOW_BYTES: u64 = 32 << 20;

/// Kinds in the opposite order of writing, so that what a running backup writes is not mistaken for a loss.
const KINDS: [FileKind; 4] = [FileKind::Snapshot, FileKind::Index, FileKind::Pack, FileKind::Key];

/// What is known of one file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    /// Its size where it is sound.
    pub(crate) size: u64,
    /// Copies that have it sound, as bits; of packs that were not read, copies of which nothing bad is known.
    pub(crate) sound: u64,
    /// Copies that have something else, and what is wrong with it.
    pub(crate) bad: Vec<(usize, String)>,
}

/// What the index files say of a pack.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Indexed {
    /// The size that it should have; too large where several index files list the same blobs.
    pub(crate) size: u64,
    pub(crate) has_trees: bool,
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// Copies that were looked at to the end, as bits.
    pub(crate) asked: u64,
    pub(crate) files: BTreeMap<FileName, Standing>,
    pub(crate) indexed: HashMap<Id, Indexed>,
    /// Packs that a prune has marked and not removed yet, and whether an index named them before: then every copy has
    /// them, else they are left-overs.
    pub(crate) marked: HashMap<Id, bool>,
    /// Snapshots that this machine set out to remove.
    pub(crate) intended: BTreeSet<Id>,
    /// The sealed `config`, as the sound copies have it.
    pub(crate) config: Option<Bytes>,
    /// The key by which the repository was opened.
    pub(crate) key_in_use: Id,
    /// Bytes that were read to be judged.
    pub(crate) bytes_read: u64,
}

impl Survey {
    /// Sound key files of a copy.
    pub(crate) fn sound_keys(&self, number: usize) -> usize {
        let of_copy = |(name, standing): &(&FileName, &Standing)| {
            name.kind() == FileKind::Key && standing.sound & (1 << number) != 0
        };
        self.files.iter().filter(of_copy).count()
    }

    /// Whether it is a pack that holds no listings, as far as the index files tell.
    pub(crate) fn is_data(&self, name: FileName) -> bool {
        let indexed = name.id().filter(|_| name.kind() == FileKind::Pack).and_then(|id| self.indexed.get(&id));
        indexed.is_some_and(|indexed| !indexed.has_trees)
    }

    /// A copy turned out to have something else than was believed.
    pub(crate) fn found_bad(&mut self, number: usize, name: FileName, why: String) {
        let standing = self.files.entry(name).or_default();
        standing.sound &= !(1 << number);
        if !standing.bad.iter().any(|(copy, _)| *copy == number) {
            standing.bad.push((number, why));
        }
    }

    /// A copy has the right bytes by now.
    pub(crate) fn now_sound(&mut self, number: usize, name: FileName) {
        if let Some(standing) = self.files.get_mut(&name) {
            standing.sound |= 1 << number;
            standing.bad.retain(|(copy, _)| *copy != number);
        }
    }

    fn found_sound(&mut self, number: usize, name: FileName, size: u64) {
        let standing = self.files.entry(name).or_default();
        standing.sound |= 1 << number;
        standing.size = size;
    }
}

/// What one copy listed of one kind.
type Listing = Vec<(FileName, u64)>;

/// Looks at every usable copy of `copies`; one that stops answering is lost there.
pub(crate) fn survey(repository: &Repository, copies: &CopySet, request: &HealRequest, seed: u64) -> Result<Survey> {
    let mut surveyor = Surveyor {
        repository,
        copies,
        survey: Survey {
            key_in_use: repository.key_id(),
            intended: repository.intents().into_keys().collect(),
            ..Survey::default()
        },
        packs: Vec::new(),
        known_indexes: HashSet::new(),
    };
    let numbers: Vec<usize> = copies.live().map(|(number, _)| number).collect();
    for number in numbers {
        surveyor.small_files(number)?;
    }
    surveyor.packs(request, seed)?;
    let Surveyor { mut survey, .. } = surveyor;
    for (number, _) in copies.live() {
        survey.asked |= 1 << number;
    }
    // What a copy had before it was lost is no source any more.
    let asked = survey.asked;
    survey.files.values_mut().for_each(|standing| standing.sound &= asked);
    if asked == 0 { Err(copies.none_left()) } else { Ok(survey) }
}

struct Surveyor<'a> {
    repository: &'a Repository,
    copies: &'a CopySet,
    survey: Survey,
    /// The packs that each copy lists.
    packs: Vec<(usize, Listing)>,
    known_indexes: HashSet<Id>,
}

/// What a small file holds that matters here.
enum Small {
    Plain,
    Index(IndexFile),
}

impl Surveyor<'_> {
    /// Runs `look` on a copy, and gives the copy up where it stopped answering.
    fn at<T>(&mut self, number: usize, look: impl FnOnce(&mut Self, &Place<'_>) -> Result<T>) -> Result<Option<T>> {
        let copies = self.copies;
        let Some(copy) = copies.all().get(number).filter(|copy| copy.is_live()) else { return Ok(None) };
        let place = Place::new(copy.destination().as_ref(), copies.runtime(), self.repository.master());
        let seen = look(self, &place)?;
        self.survey.bytes_read += place.bytes_read();
        match place.lost() {
            Some(fault) => {
                copies.lose(number, fault.clone());
                Ok(None)
            }
            None => Ok(Some(seen)),
        }
    }

    fn small_files(&mut self, number: usize) -> Result<()> {
        let listed = self.at(number, |_, place| {
            let mut listed: Vec<(FileKind, Listing)> = Vec::new();
            for kind in KINDS {
                let Ok(files) = place.list(kind) else { break };
                listed.push((kind, files.iter().map(|file| (FileName::new(kind, file.id), file.size)).collect()));
            }
            Ok(listed)
        })?;
        let Some(listed) = listed else { return Ok(()) };
        for (kind, files) in listed {
            if kind == FileKind::Pack {
                self.packs.push((number, files));
            } else {
                self.at(number, |surveyor, place| surveyor.read_small(number, place, &files))?;
            }
        }
        self.at(number, |surveyor, place| {
            surveyor.read_config(number, place);
            Ok(())
        })?;
        Ok(())
    }

    fn read_config(&mut self, number: usize, place: &Place<'_>) {
        let expected = self.repository.config();
        let read = place.read_twice(|| {
            let sealed = place.read(FileName::CONFIG, Span::Whole)?;
            let config = place.master.open(&sealed).and_then(|plain| Config::parse(&plain)).map_err(damaged)?;
            if &config == expected {
                Ok(sealed)
            } else {
                Err(Trouble::Damaged("it is the config of another repository".to_owned()))
            }
        });
        match read {
            Ok(sealed) => {
                self.survey.found_sound(number, FileName::CONFIG, sealed.len() as u64);
                self.survey.config.get_or_insert(sealed);
            }
            // It is missing, like any other file that a copy does not have.
            Err(Trouble::Damaged(why)) if why == NOT_THERE => {}
            Err(Trouble::Damaged(why)) => self.survey.found_bad(number, FileName::CONFIG, why),
            Err(Trouble::CopyLost) => {}
        }
    }

    fn read_small(&mut self, number: usize, place: &Place<'_>, files: &Listing) -> Result<()> {
        let progress = self.repository.observer().progress();
        progress.found(files.len() as u64, 0);
        let known = &self.known_indexes;
        let judge = |(name, size): &(FileName, u64)| -> (FileName, u64, Read<Small>) {
            (*name, *size, small(place, *name, known))
        };
        let mut judged = Vec::new();
        crew::run(READERS, files, self.repository.cancel(), judge, |file| {
            progress.done(1, 0);
            judged.push(file);
        })?;
        for (name, size, read) in judged {
            match read {
                Ok(content) => {
                    self.survey.found_sound(number, name, size);
                    if let (Small::Index(file), Some(id)) = (content, name.id()) {
                        self.know(id, &file);
                    }
                }
                Err(Trouble::Damaged(why)) => self.survey.found_bad(number, name, why),
                Err(Trouble::CopyLost) => {}
            }
        }
        Ok(())
    }

    fn know(&mut self, index: Id, file: &IndexFile) {
        if !self.known_indexes.insert(index) {
            return;
        }
        for pack in &file.packs_to_delete {
            *self.survey.marked.entry(pack.id).or_default() |= !pack.blobs.is_empty();
        }
        for pack in &file.packs {
            let known =
                self.survey.indexed.entry(pack.id).or_insert(Indexed { size: PACK_FRAME_BYTES, has_trees: false });
            known.size += pack.blobs.iter().map(PackedBlob::bytes_with_entry).sum::<u64>();
            known.has_trees |= pack.blobs.iter().any(|blob| blob.kind == BlobKind::Tree);
        }
    }

    /// Judges packs: all of them by their sizes, and those that are to be read by their hash.
    fn packs(&mut self, request: &HealRequest, seed: u64) -> Result<()> {
        let listings = std::mem::take(&mut self.packs);
        let mut sizes: BTreeMap<Id, Vec<u64>> = BTreeMap::new();
        for (name, size) in listings.iter().flat_map(|(_, files)| files) {
            sizes.entry(name.id().unwrap_or_default()).or_default().push(*size);
        }
        for id in self.survey.indexed.keys() {
            self.survey.files.entry(FileName::pack(*id)).or_default();
        }
        let all: Vec<(Id, u64)> = sizes.iter().map(|(id, sizes)| (*id, sizes.first().copied().unwrap_or(0))).collect();
        let mut chosen: HashSet<Id> = match request.read {
            ReadData::All => all.iter().map(|(id, _)| *id).collect(),
            ReadData::Subset(subset) => {
                let marks = subset.choose(&all, seed);
                all.iter().zip(marks).filter(|(_, mark)| *mark).map(|((id, _), _)| *id).collect()
            }
            ReadData::No | ReadData::Rolling(_) => HashSet::new(),
        };
        chosen.extend(&request.packs);
        let is_doubtful = |id: &Id, indexed: Option<&Indexed>| {
            let of_copies = sizes.get(id).map_or(&[][..], Vec::as_slice);
            let differ = of_copies.windows(2).any(|pair| pair.first() != pair.last());
            differ || indexed.is_some_and(|indexed| of_copies.first() != Some(&indexed.size))
        };
        for (number, files) in listings {
            let (to_read, believed): (Listing, Listing) = files.into_iter().partition(|(name, _)| {
                let id = name.id().unwrap_or_default();
                let indexed = self.survey.indexed.get(&id);
                chosen.contains(&id) || indexed.is_some_and(|indexed| indexed.has_trees) || is_doubtful(&id, indexed)
            });
            believed.into_iter().for_each(|(name, size)| self.survey.found_sound(number, name, size));
            self.at(number, |surveyor, place| surveyor.read_packs(number, place, &to_read))?;
        }
        Ok(())
    }

    fn read_packs(&mut self, number: usize, place: &Place<'_>, files: &Listing) -> Result<()> {
        let repository = self.repository;
        let progress = repository.observer().progress();
        progress.found(files.len() as u64, files.iter().map(|(_, size)| size).sum());
        let workers = threads::count();
        let spare = Buffers::new(feed::most_at_once(workers));
        let plan = feed::Plan {
            workers,
            cancel: repository.cancel(),
            clock: repository.clock(),
            weigh: &|(_, size): &(FileName, u64)| (*size).min(WINDOW_BYTES),
            read: &|(name, size): &(FileName, u64)| {
                (*size <= WINDOW_BYTES).then(|| place.read_into(*name, Span::Whole, spare.take()))
            },
            tools: &|| (),
            work: &|(): &mut (), packs| judge_packs(place, packs, &spare),
        };
        let survey = &mut self.survey;
        feed::run(files, &plan, |(name, size, read)| {
            progress.done(1, size);
            match read {
                Ok(()) => survey.found_sound(number, name, size),
                Err(Trouble::Damaged(why)) => survey.found_bad(number, name, why),
                Err(Trouble::CopyLost) => {}
            }
        })
    }
}

/// A small file whose bytes match its name and that opens; the content of an index that is not known yet.
fn small(place: &Place<'_>, name: FileName, known: &HashSet<Id>) -> Read<Small> {
    match name.kind() {
        FileKind::Snapshot => {
            Snapshot::parse(&place.read_sealed(name)?).map_err(damaged)?;
            Ok(Small::Plain)
        }
        FileKind::Index if name.id().is_some_and(|id| !known.contains(&id)) => {
            IndexFile::parse(&place.read_sealed(name)?).map(Small::Index).map_err(damaged)
        }
        _ => place.read_named(name).map(|_| Small::Plain),
    }
}

/// A pack that was read whole; nothing of one that is read in windows.
type ReadPack = Option<Read<Vec<u8>>>;

/// A pack, its size, and whether it is right.
type JudgedPack = (FileName, u64, Read<()>);

/// Compares packs with their names, two at a time; what is wrong is read once more.
fn judge_packs(place: &Place<'_>, packs: Vec<(&(FileName, u64), ReadPack)>, spare: &Buffers) -> Vec<JudgedPack> {
    let whole: Vec<&[u8]> =
        packs.iter().filter_map(|(_, read)| read.as_ref()?.as_ref().ok()).map(Vec::as_slice).collect();
    let mut hashes = format::hash_each(&whole).into_iter();
    let judge = |(&(name, size), read): (&(FileName, u64), ReadPack)| {
        let mut first = read.map(|read| {
            read.map(|bytes| {
                spare.give_back(bytes);
                hashes.next().unwrap_or_default()
            })
        });
        let judged = place.read_twice(|| {
            let hash = first.take().unwrap_or_else(|| hash_in_windows(place, name, size))?;
            if name.id() == Some(hash) { Ok(()) } else { Err(Trouble::Damaged(WRONG_NAME.to_owned())) }
        });
        (name, size, judged)
    };
    packs.into_iter().map(judge).collect()
}

fn hash_in_windows(place: &Place<'_>, name: FileName, size: u64) -> Read<Id> {
    let mut hasher = Hasher::new();
    let mut offset = 0;
    let mut buffer = Vec::new();
    while offset < size {
        let length = WINDOW_BYTES.min(size - offset);
        buffer = place.read_into(name, Span::Range { offset, length }, buffer)?;
        hasher.update(&buffer);
        offset += length;
    }
    Ok(hasher.finish())
}
