//! Reading files: small ones whole, large ones in windows whose chunks all workers share.
//!
//! A file that changes while it is read is stored as it was read, named, and counted.

use std::ffi::CString;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use format::{BlobKind, Chunker, Node};
use model::Id;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::folder::Place;
use super::ingest::Bench;
use super::metadata::Stamp;
use super::walk::{Task, Walk};
use crate::error::Result;
use crate::observer::{Action, TroubleKind};
use crate::threads;

/// Shorter files are one chunk: the chunker cuts nothing off that is shorter than its minimum.
pub(super) const SMALL_BYTES_MAX: u64 = Chunker::MIN_BYTES as u64;

/// Bytes of a large file that are read before its chunks are handed out.
const WINDOW_BYTES: usize = 16 << 20;

/// Windows that may wait for each worker before the reader lends a hand itself.
const WINDOWS_PER_WORKER: usize = 1;

/// A file that has to be read.
pub(super) struct File {
    pub(super) place: Place,
    pub(super) name: CString,
    pub(super) path: PathBuf,
    pub(super) node: Node,
    pub(super) past: Past,
}

/// What the parent snapshot tells of a file.
pub(super) enum Past {
    /// It is not in there.
    None,
    /// It was another, or its content is not there any more.
    Changed,
    /// It has the same stamp, which cannot be believed, so that it has to be read. This was its content.
    Unsettled(Option<Vec<Id>>),
    /// It is as it was, with this content, and need not be read.
    Same(Option<Vec<Id>>),
}

impl File {
    pub(super) fn size(&self) -> u64 {
        self.node.size
    }
}

/// A large file whose windows are on the pile.
struct LargeFile {
    content: Mutex<Vec<Id>>,
    unfinished: AtomicUsize,
    file: Mutex<Option<File>>,
}

/// Part of a large file, cut into chunks.
pub(super) struct Window {
    of: Arc<LargeFile>,
    bytes: Vec<u8>,
    chunks: Vec<Range<usize>>,
    /// The number of the first chunk in the file.
    first: usize,
}

impl Walk<'_> {
    /// Reads one file and settles it, or sees to it that its last window does.
    pub(super) fn file(&self, bench: &mut Bench, mut file: File) -> Result<()> {
        self.check_cancel()?;
        let opened = open(&file).and_then(|descriptor| {
            let stat = rustix::fs::fstat(&descriptor)?;
            Ok((descriptor, stat))
        });
        let (descriptor, stat) = match opened {
            Ok((_, stat)) if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile => {
                self.trouble(file.path, TroubleKind::ChangedWhileRead, "it is not a file any more");
                return self.settle(bench, file.place, None);
            }
            Ok(opened) => opened,
            Err(error) => {
                self.trouble_opening(file.path, error);
                return self.settle(bench, file.place, None);
            }
        };
        // What was listed and what was opened may be two files: the opened one is what gets stored.
        if let Some(node) = self.metadata.node(&file.node.name, &stat) {
            file.node = Node { extended_attributes: std::mem::take(&mut file.node.extended_attributes), ..node };
        }
        let stamp = Stamp::of(&stat);
        if file.size() < SMALL_BYTES_MAX {
            self.small(bench, file, &descriptor, &stamp)
        } else {
            self.large(bench, file, &descriptor, &stamp, Vec::new())
        }
    }

    fn small(&self, bench: &mut Bench, mut file: File, descriptor: &OwnedFd, stamp: &Stamp) -> Result<()> {
        // One byte more than it should have shows in the same call that the end was reached.
        let mut bytes = Vec::new();
        match fill(descriptor, &mut bytes, file.size() as usize + 1) {
            Ok(true) => {}
            // It has grown beyond its size.
            Ok(false) => return self.large(bench, file, descriptor, stamp, bytes),
            Err(error) => {
                self.trouble(file.path, TroubleKind::Unreadable, error);
                return self.settle(bench, file.place, None);
            }
        }
        let content = match bytes.is_empty() {
            true => Vec::new(),
            false => vec![self.ingest.save(bench, BlobKind::Data, &bytes)?],
        };
        self.note_change(&mut file, descriptor, stamp, bytes.len() as u64);
        self.observer().progress().done(0, bytes.len() as u64);
        self.finish(bench, file, content)
    }

    /// Reads on from what `carry` holds, window by window.
    fn large(&self, bench: &mut Bench, file: File, descriptor: &OwnedFd, stamp: &Stamp, carry: Vec<u8>) -> Result<()> {
        let chunker = self.indexed.repository.chunker();
        let path = file.path.clone();
        let of = Arc::new(LargeFile {
            content: Mutex::default(),
            unfinished: AtomicUsize::new(1),
            file: Mutex::new(Some(file)),
        });
        let mut carry = carry;
        let (mut read_bytes, mut first, mut ended) = (0, 0, false);
        while !ended {
            self.check_cancel()?;
            let mut bytes = std::mem::take(&mut carry);
            ended = match fill(descriptor, &mut bytes, WINDOW_BYTES) {
                Ok(ended) => ended,
                Err(error) => {
                    self.trouble(path, TroubleKind::Unreadable, error);
                    let place = threads::lock(&of.file).take().map(|file| file.place);
                    // The file's windows find no file to finish any more.
                    return place.map_or(Ok(()), |place| self.settle(bench, place, None));
                }
            };
            let chunks = cut_all(chunker, &bytes, ended);
            let end = chunks.last().map_or(0, |chunk| chunk.end);
            carry = bytes.get(end..).unwrap_or_default().to_vec();
            bytes.truncate(end);
            read_bytes += end as u64;
            let count = chunks.len();
            of.unfinished.fetch_add(1, Ordering::AcqRel);
            self.hand_out(bench, Window { of: of.clone(), bytes, chunks, first })?;
            first += count;
        }
        if let Some(file) = threads::lock(&of.file).as_mut() {
            self.note_change(file, descriptor, stamp, read_bytes);
        }
        self.part_done(bench, &of)
    }

    /// Gives a window to whoever has time; when nobody has, this worker stores it itself.
    fn hand_out(&self, bench: &mut Bench, window: Window) -> Result<()> {
        let most = threads::count() * WINDOWS_PER_WORKER;
        if self.windows.fetch_add(1, Ordering::AcqRel) < most {
            self.crew.push(Task::Window(window));
            return Ok(());
        }
        self.window(bench, window)
    }

    /// Stores the chunks of one window.
    pub(super) fn window(&self, bench: &mut Bench, window: Window) -> Result<()> {
        let Window { of, bytes, chunks, first } = window;
        let mut ids = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            self.check_cancel()?;
            let plain = bytes.get(chunk).unwrap_or_default();
            ids.push(self.ingest.save(bench, BlobKind::Data, plain)?);
            self.observer().progress().done(0, plain.len() as u64);
        }
        drop(bytes);
        self.windows.fetch_sub(1, Ordering::AcqRel);
        let mut content = threads::lock(&of.content);
        let end = first + ids.len();
        if content.len() < end {
            content.resize(end, Id::default());
        }
        content.splice(first..end, ids);
        drop(content);
        self.part_done(bench, &of)
    }

    /// The reader or a window is done; the last of them finishes the file.
    fn part_done(&self, bench: &mut Bench, of: &LargeFile) -> Result<()> {
        if of.unfinished.fetch_sub(1, Ordering::AcqRel) != 1 {
            return Ok(());
        }
        let content = std::mem::take(&mut *threads::lock(&of.content));
        match threads::lock(&of.file).take() {
            Some(file) => self.finish(bench, file, content),
            None => Ok(()),
        }
    }

    fn finish(&self, bench: &mut Bench, file: File, content: Vec<Id>) -> Result<()> {
        let action = match &file.past {
            Past::None => Action::New,
            Past::Unsettled(before) | Past::Same(before) if before.as_ref() == Some(&content) => Action::Unchanged,
            Past::Changed | Past::Unsettled(_) | Past::Same(_) => Action::Modified,
        };
        self.tally.file(action, file.size());
        self.observer().progress().done(1, 0);
        self.tell_entry(&file.path, action, file.size());
        let node = Node { content: Some(content), ..file.node };
        self.settle(bench, file.place, Some(node))
    }

    /// Compares the file with what it was when it was opened.
    fn note_change(&self, file: &mut File, descriptor: &OwnedFd, before: &Stamp, read_bytes: u64) {
        // The size in the listing is that of the content which is stored.
        file.node.size = read_bytes;
        let after = rustix::fs::fstat(descriptor).map(|stat| (Stamp::of(&stat), stat.st_nlink));
        let cause = match after {
            Ok((after, _)) if read_bytes != before.size => {
                format!("{} bytes were listed, {read_bytes} were read; it now has {}", before.size, after.size)
            }
            Ok((after, _)) if after.mtime != before.mtime || after.size != before.size => {
                "it was written to meanwhile".to_owned()
            }
            Ok((_, 0)) => "it was removed or replaced meanwhile".to_owned(),
            // Whoever sets the modification time back after writing cannot do so with this one.
            Ok((after, _)) if after.ctime != before.ctime => {
                "it was renamed, linked or changed meanwhile, in its content or its metadata".to_owned()
            }
            Ok(_) => return,
            Err(error) => error.to_string(),
        };
        self.trouble(file.path.clone(), TroubleKind::ChangedWhileRead, cause);
    }
}

/// Opens a file for reading, without following a link, waiting for a pipe, or leaving a trace in its access time where
/// the system allows that.
fn open(file: &File) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let folder = file.place.folder.descriptor();
    match rustix::fs::openat(folder, file.name.as_c_str(), flags | OFlags::NOATIME, Mode::empty()) {
        // Only the owner may ask for that.
        Err(Errno::PERM) => rustix::fs::openat(folder, file.name.as_c_str(), flags, Mode::empty()),
        opened => opened,
    }
}

/// Reads until `bytes` has `length` bytes or the file ends; true when it ended.
fn fill(descriptor: &OwnedFd, bytes: &mut Vec<u8>, length: usize) -> Result<bool, Errno> {
    let mut filled = bytes.len();
    bytes.resize(length.max(filled), 0);
    let ended = loop {
        let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) else { break false };
        match rustix::io::read(descriptor, room) {
            Ok(0) => break true,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    };
    bytes.truncate(filled);
    Ok(ended)
}

/// Cuts as many chunks as are certain: all when the file has ended, else those that begin a longest chunk before the end.
fn cut_all(chunker: &Chunker, bytes: &[u8], ended: bool) -> Vec<Range<usize>> {
    let mut chunks = Vec::new();
    let mut start = 0;
    while start < bytes.len() && (ended || bytes.len() - start >= Chunker::MAX_BYTES) {
        let Some(rest) = bytes.get(start..).filter(|rest| !rest.is_empty()) else { break };
        let length = chunker.cut(rest).clamp(1, rest.len());
        chunks.push(start..start + length);
        start += length;
    }
    chunks
}
