//! Reading files: small ones whole and many at a time, large ones in windows whose chunks all workers share.
//!
//! A file that changes while it is read is stored as it was read, named, and counted.

use std::ffi::CString;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use format::{BlobKind, Chunker, Node, NodeTime};
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

/// Room for small files that are read together: a batch of them, and one that has grown meanwhile.
const SMALL_FILES_BYTES: usize = super::folder::BATCH_BYTES_MAX as usize + SMALL_BYTES_MAX as usize;

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
    /// The time it gets when its content is not what it was: for files of which nobody knows when they were changed.
    pub(super) made: Option<NodeTime>,
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
pub(super) struct LargeFile {
    content: Mutex<Vec<Id>>,
    unfinished: AtomicUsize,
    file: Mutex<Option<File>>,
}

impl LargeFile {
    /// A file of which nothing was read yet; its reader is the one part that is unfinished.
    pub(super) fn new(file: File) -> Arc<Self> {
        let (content, file) = (Mutex::default(), Mutex::new(Some(file)));
        Arc::new(Self { content, unfinished: AtomicUsize::new(1), file })
    }

    /// The size in the listing is that of the content which is stored.
    pub(super) fn set_size(&self, read_bytes: u64) {
        if let Some(file) = threads::lock(&self.file).as_mut() {
            file.node.size = read_bytes;
        }
    }

    /// Where it was to go. Its windows find no file to finish any more.
    pub(super) fn take_place(&self) -> Option<Place> {
        threads::lock(&self.file).take().map(|file| file.place)
    }
}

/// Part of a large file, cut into chunks.
pub(super) struct Window {
    of: Arc<LargeFile>,
    bytes: Vec<u8>,
    chunks: Vec<Range<usize>>,
    /// The number of the first chunk in the file.
    first: usize,
}

/// A file that is open, as it was when it was opened.
struct OpenFile {
    file: File,
    descriptor: OwnedFd,
    stamp: Stamp,
}

/// Small files that were read and wait to be stored together. Each lies behind the one before it.
#[derive(Default)]
struct ReadFiles {
    files: Vec<(File, Range<usize>)>,
    end: usize,
}

impl Walk<'_> {
    /// Reads files: small ones one after the other, then stores them all; a large one by windows, the last of which settles
    /// it.
    pub(super) fn batch(&self, bench: &mut Bench, files: Vec<File>) -> Result<()> {
        let mut buffer = std::mem::take(&mut bench.small_files);
        if buffer.is_empty() {
            buffer = vec![0; SMALL_FILES_BYTES];
        }
        let mut read = ReadFiles::default();
        for file in files {
            self.check_cancel()?;
            let Some(open) = self.open(bench, file)? else { continue };
            // One byte more than it should have shows in the same call that the end was reached.
            let wanted = open.file.size() as usize + 1;
            if open.file.size() >= SMALL_BYTES_MAX {
                self.large(bench, open, &[])?;
                continue;
            }
            if read.end + wanted > buffer.len() {
                self.store_read(bench, std::mem::take(&mut read), &buffer)?;
            }
            let start = read.end;
            let room = buffer.get_mut(start..start + wanted).unwrap_or_default();
            self.small(bench, open, room, start, &mut read)?;
        }
        self.store_read(bench, read, &buffer)?;
        bench.small_files = buffer;
        Ok(())
    }

    /// Reads a file into `room`, which has one byte more than the file and starts at `start` in the buffer.
    fn small(
        &self,
        bench: &mut Bench,
        mut open: OpenFile,
        room: &mut [u8],
        start: usize,
        read: &mut ReadFiles,
    ) -> Result<()> {
        match fill(&open.descriptor, room, 0) {
            // It has grown beyond its size.
            Ok((filled, false)) => self.large(bench, open, &room[..filled]),
            Ok((filled, true)) => {
                self.note_change(&mut open.file, &open.descriptor, &open.stamp, filled as u64);
                read.files.push((open.file, start..start + filled));
                read.end = start + filled;
                Ok(())
            }
            Err(error) => {
                self.trouble(open.file.path, TroubleKind::Unreadable, error);
                self.settle(bench, open.file.place, None)
            }
        }
    }

    fn store_read(&self, bench: &mut Bench, read: ReadFiles, buffer: &[u8]) -> Result<()> {
        let text = |range: &Range<usize>| buffer.get(range.clone()).unwrap_or_default();
        let texts: Vec<&[u8]> =
            read.files.iter().map(|(_, range)| text(range)).filter(|text| !text.is_empty()).collect();
        let mut ids = self.ingest.save_each(bench, BlobKind::Data, &texts)?.into_iter();
        for (file, range) in read.files {
            self.observer().progress().done(0, range.len() as u64);
            // An empty file has no chunk.
            let content = if range.is_empty() { Vec::new() } else { ids.next().into_iter().collect() };
            self.finish(bench, file, content)?;
        }
        Ok(())
    }

    /// Opens a file; none when it was settled because that cannot be done.
    fn open(&self, bench: &mut Bench, mut file: File) -> Result<Option<OpenFile>> {
        let opened = open(&file).and_then(|descriptor| {
            let stat = rustix::fs::fstat(&descriptor)?;
            Ok((descriptor, stat))
        });
        let (descriptor, stat) = match opened {
            Ok((_, stat)) if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile => {
                self.trouble(file.path, TroubleKind::ChangedWhileRead, "it is not a file any more");
                return self.settle(bench, file.place, None).map(|()| None);
            }
            Ok(opened) => opened,
            Err(error) => {
                self.trouble_opening(file.path, error);
                return self.settle(bench, file.place, None).map(|()| None);
            }
        };
        // What was listed and what was opened may be two files: the opened one is what gets stored.
        if let Some(node) = self.metadata.node(&file.node.name, &stat) {
            file.node = Node { extended_attributes: std::mem::take(&mut file.node.extended_attributes), ..node };
        }
        Ok(Some(OpenFile { file, descriptor, stamp: Stamp::of(&stat) }))
    }

    /// Reads on from what was read `already`, window by window.
    fn large(&self, bench: &mut Bench, open: OpenFile, already: &[u8]) -> Result<()> {
        let OpenFile { file, descriptor, stamp } = open;
        let path = file.path.clone();
        let of = LargeFile::new(file);
        match self.windows_of(bench, &of, already, |bytes, filled| fill(&descriptor, bytes, filled))? {
            Ok(read_bytes) => {
                if let Some(file) = threads::lock(&of.file).as_mut() {
                    self.note_change(file, &descriptor, &stamp, read_bytes);
                }
                self.part_done(bench, &of)
            }
            Err(error) => {
                self.trouble(path, TroubleKind::Unreadable, error);
                of.take_place().map_or(Ok(()), |place| self.settle(bench, place, None))
            }
        }
    }

    /// Reads on from what was read `already`, by `read`, which fills its buffer from a place on and says how far, and
    /// whether that is all; chunks of full windows are handed out. Gives how many bytes there were, or why reading
    /// failed.
    pub(super) fn windows_of<E>(
        &self,
        bench: &mut Bench,
        of: &Arc<LargeFile>,
        already: &[u8],
        mut read: impl FnMut(&mut [u8], usize) -> Result<(usize, bool), E>,
    ) -> Result<Result<u64, E>> {
        let chunker = self.indexed.repository.chunker();
        let mut bytes = self.ingest.windows.take_filled(WINDOW_BYTES);
        let mut filled = already.len();
        bytes[..filled].copy_from_slice(already);
        let (mut read_bytes, mut first, mut ended) = (0, 0, false);
        while !ended {
            self.check_cancel()?;
            (filled, ended) = match read(&mut bytes, filled) {
                Ok(done) => done,
                Err(error) => return Ok(Err(error)),
            };
            let chunks = cut_all(chunker, &bytes[..filled], ended);
            let end = chunks.last().map_or(0, |chunk| chunk.end);
            let mut next = Vec::new();
            if !ended {
                next = self.ingest.windows.take_filled(WINDOW_BYTES);
                next[..filled - end].copy_from_slice(&bytes[end..filled]);
            }
            filled -= end;
            read_bytes += end as u64;
            let count = chunks.len();
            of.unfinished.fetch_add(1, Ordering::AcqRel);
            let is_whole_file = ended && first == 0;
            let window = Window { of: of.clone(), bytes: std::mem::replace(&mut bytes, next), chunks, first };
            match is_whole_file {
                true => self.window(bench, window)?,
                false => self.hand_out(bench, window)?,
            }
            first += count;
        }
        Ok(Ok(read_bytes))
    }

    /// Gives a window to whoever has time; when nobody has, this worker stores it itself.
    fn hand_out(&self, bench: &mut Bench, window: Window) -> Result<()> {
        let most = threads::count() * WINDOWS_PER_WORKER;
        if self.windows.fetch_add(1, Ordering::AcqRel) < most {
            self.crew.push(Task::Window(window));
            return Ok(());
        }
        self.handed_out(bench, window)
    }

    /// Stores a window that was handed out.
    pub(super) fn handed_out(&self, bench: &mut Bench, window: Window) -> Result<()> {
        let done = self.window(bench, window);
        self.windows.fetch_sub(1, Ordering::AcqRel);
        done
    }

    /// Stores the chunks of one window.
    fn window(&self, bench: &mut Bench, window: Window) -> Result<()> {
        let Window { of, bytes, chunks, first } = window;
        let texts: Vec<&[u8]> = chunks.iter().map(|chunk| bytes.get(chunk.clone()).unwrap_or_default()).collect();
        // All at once: of two chunks that are hashed side by side the longer one would run alone at its end.
        let ids = self.ingest.save_each(bench, BlobKind::Data, &texts)?;
        self.observer().progress().done(0, texts.iter().map(|text| text.len() as u64).sum());
        self.ingest.windows.give_back(bytes);
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
    pub(super) fn part_done(&self, bench: &mut Bench, of: &LargeFile) -> Result<()> {
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
        let mut node = Node { content: Some(content), ..file.node };
        if let Some(made) = file.made.filter(|_| action != Action::Unchanged) {
            (node.mtime, node.atime, node.ctime) = (made, made, made);
        }
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

/// Reads until `bytes` is full or the file ends, behind the `filled` bytes that are there; gives how many are there then,
/// and whether the file has ended.
fn fill(descriptor: &OwnedFd, bytes: &mut [u8], filled: usize) -> Result<(usize, bool), Errno> {
    let mut filled = filled;
    loop {
        let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) else { return Ok((filled, false)) };
        match rustix::io::read(descriptor, room) {
            Ok(0) => return Ok((filled, true)),
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Cuts as many chunks as are certain: all when the file has ended, else those that do not run into the end.
fn cut_all(chunker: &Chunker, bytes: &[u8], ended: bool) -> Vec<Range<usize>> {
    let mut chunks = Vec::new();
    let mut start = 0;
    while let Some(rest) = bytes.get(start..).filter(|rest| !rest.is_empty()) {
        let length = chunker.cut(rest).clamp(1, rest.len());
        // What ends where the bytes end may go on; only a longest chunk cannot.
        if length == rest.len() && !ended && length < Chunker::MAX_BYTES {
            break;
        }
        chunks.push(start..start + length);
        start += length;
    }
    chunks
}
