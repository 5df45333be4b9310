//! What this machine remembers of a repository to be faster next time, and may forget at any moment.
//!
//! Below one root there is a folder for each repository, named after its id, for its owner only. Files in it are
//! immutable: one appears under its name whole, by a rename, and is replaced by another rename; who has it open keeps
//! what was there. Nothing here is an error of the operation that asks: a file that cannot be read is absent, one that
//! cannot be written is not there next time. Nothing is made durable, because nothing depends on it.
//!
//! This room must not be believed: it knows no keys, so it cannot tell a sound file from one that somebody changed.
//! Whoever keeps something here seals it with the repository's master key, writes a version of their own into it, and
//! treats whatever does not open as absent.
//!
//! Why the prefix of the folders' names: `RESTIC_CACHE_DIR` may name the folder in which restic keeps its own caches,
//! which it calls by the bare id.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model::Id;

use crate::repository::Repository;

/// Folders of ours in the root begin with this.
const FOLDER_PREFIX: &str = "triplicate-";
/// Files that are being written begin with this.
const DRAFT_PREFIX: &str = ".draft-";
/// A draft that nobody has touched for so long belongs to a process that is gone.
const DRAFT_AGE_SECONDS_MAX: i64 = 24 * 3600;
/// Bytes of a draft that are collected before they go to the file.
const DRAFT_BUFFER_BYTES: usize = 128 << 10;
/// Larger files are not read whole.
const READ_BYTES_MAX: u64 = 1 << 30;

/// What <https://bford.info/cachedir/> asks for, so that backups leave the folder out.
const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
                   # This folder is a cache of triplicate. It can be removed at any time.\n";

/// The root of all caches of this user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheFolder {
    root: PathBuf,
}

impl CacheFolder {
    /// The root at `root`; nothing is looked at or made yet.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What is kept of one repository.
    pub fn of(&self, repository: &Id) -> RepositoryCache {
        let folder = self.root.join(format!("{FOLDER_PREFIX}{repository}"));
        RepositoryCache { root: self.root.clone(), folder }
    }

    /// Every repository of which something is kept.
    pub fn repositories(&self) -> Vec<CachedRepository> {
        let Ok(entries) = fs::read_dir(&self.root) else { return Vec::new() };
        let mut found: Vec<CachedRepository> = entries.flatten().filter_map(|entry| self.repository(&entry)).collect();
        found.sort_by_key(|cached| cached.id);
        found
    }

    fn repository(&self, entry: &fs::DirEntry) -> Option<CachedRepository> {
        let id: Id = entry.file_name().to_str()?.strip_prefix(FOLDER_PREFIX)?.parse().ok()?;
        if !entry.file_type().ok()?.is_dir() {
            return None;
        }
        let stats: Vec<fs::Metadata> =
            fs::read_dir(entry.path()).ok()?.flatten().filter_map(|file| file.metadata().ok()).collect();
        let used = stats.iter().map(|stat| stat.atime().max(stat.mtime())).max();
        let bytes = stats.iter().map(fs::Metadata::len).sum();
        Some(CachedRepository { id, used_seconds: used.unwrap_or(entry.metadata().ok()?.mtime()), bytes })
    }

    /// Removes what is kept of one repository.
    pub fn forget(&self, repository: &Id) -> io::Result<()> {
        fs::remove_dir_all(self.of(repository).folder)
    }
}

/// One repository of which something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CachedRepository {
    /// Its id.
    pub id: Id,
    /// When any of its files was last read or written, in seconds since 1970, as far as the file system tells.
    pub used_seconds: i64,
    /// Size of its files.
    pub bytes: u64,
}

/// The folder of one repository.
#[derive(Debug, Clone)]
pub struct RepositoryCache {
    root: PathBuf,
    folder: PathBuf,
}

impl RepositoryCache {
    /// The whole file, if there is one.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let file = self.open(name)?;
        let length = file.length_bytes();
        if length > READ_BYTES_MAX {
            return None;
        }
        let mut bytes = Vec::with_capacity(usize::try_from(length).ok()?);
        file.file.take(length).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Puts a whole file in the place of any that is there. True when that worked.
    pub fn write(&self, name: &str, bytes: &[u8]) -> bool {
        let Some(mut draft) = self.draft() else { return false };
        draft.write_all(bytes).is_ok() && draft.keep(name).is_some()
    }

    /// Opens a file for reading at any place.
    pub fn open(&self, name: &str) -> Option<CachedFile> {
        let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(no_follow).open(self.path(name)?).ok()?;
        let stat = file.metadata().ok()?;
        stat.is_file().then(|| CachedFile { length_bytes: stat.len(), file })
    }

    /// Begins a file that is written piece by piece; it has no name before [`Draft::keep`].
    pub fn draft(&self) -> Option<Draft> {
        self.prepare().ok()?;
        // Not our process number: processes of several containers may share the folder and have the same one.
        let mut number = [0; 8];
        getrandom::fill(&mut number).ok()?;
        let path = self.folder.join(format!("{DRAFT_PREFIX}{:016x}", u64::from_le_bytes(number)));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = BufWriter::with_capacity(DRAFT_BUFFER_BYTES, file.ok()?);
        Some(Draft { cache: self.clone(), path, file: Some(file) })
    }

    /// Removes a file. One that is open can still be read by who has it open.
    pub fn remove(&self, name: &str) {
        if let Some(path) = self.path(name) {
            // What cannot be removed is looked at again next time.
            let _ = fs::remove_file(path);
        }
    }

    /// The names of all files, sorted.
    pub fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        names
    }

    /// Removes drafts of processes that are gone; `now_seconds` since 1970.
    pub fn sweep(&self, now_seconds: i64) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let is_draft = entry.file_name().to_str().is_some_and(|name| name.starts_with(DRAFT_PREFIX));
            let is_old = || entry.metadata().is_ok_and(|stat| now_seconds - stat.mtime() > DRAFT_AGE_SECONDS_MAX);
            if is_draft && is_old() {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// A name is one component that does not begin with a dot.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let is_plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']);
        is_plain.then(|| self.folder.join(name))
    }

    fn prepare(&self) -> io::Result<()> {
        if self.folder.is_dir() {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.root)?;
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.root.join("CACHEDIR.TAG")) {
            Ok(mut tag) => tag.write_all(TAG.as_bytes())?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)
    }
}

/// A file that is being written. It vanishes unless it is kept.
#[derive(Debug)]
pub struct Draft {
    cache: RepositoryCache,
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Draft {
    /// Gives it its name, in the place of any file that has it; gives it back open for reading.
    pub fn keep(mut self, name: &str) -> Option<CachedFile> {
        let file = self.file.take()?.into_inner().ok()?;
        fs::rename(&self.path, self.cache.path(name)?).ok()?;
        self.path = PathBuf::new();
        let length_bytes = file.metadata().ok()?.len();
        Some(CachedFile { file, length_bytes })
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_mut().map_or(Ok(0), |file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), BufWriter::flush)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// An open file of the cache, read at any place by any thread.
///
/// Why not mapped into memory: a map of a file that shrinks or whose disk fails kills the process, every page that was
/// ever touched counts as our memory, and a read of a kilobyte from the page cache costs about as much as the fault.
#[derive(Debug)]
pub struct CachedFile {
    file: File,
    length_bytes: u64,
}

impl CachedFile {
    /// Its length when it was opened.
    pub fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    /// Fills `bytes` from what stands at `offset`; false when not all of it can be had.
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> bool {
        self.file.read_exact_at(bytes, offset).is_ok()
    }
}

impl Repository {
    /// What this machine keeps of the repository; nothing where the surroundings have no cache.
    pub fn cache(&self) -> Option<RepositoryCache> {
        self.surroundings.cache.as_ref().map(|cache| cache.of(&self.config.id))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn room() -> (tempfile::TempDir, CacheFolder, RepositoryCache) {
        let scratch = tempfile::tempdir().unwrap();
        let folder = CacheFolder::new(scratch.path().join("above/root"));
        let cache = folder.of(&Id::default());
        (scratch, folder, cache)
    }

    #[test]
    fn what_was_written_is_read_and_only_its_owner_may() {
        let (_scratch, folder, cache) = room();
        assert_eq!(cache.read("file"), None);
        assert_eq!(cache.names(), [""; 0]);
        assert!(!folder.root().exists(), "looking makes nothing");
        assert!(cache.write("file", b"one") && cache.write("file", b"two"));
        assert_eq!(cache.read("file").unwrap(), b"two");
        assert_eq!(cache.names(), ["file"]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&cache.folder), mode(&cache.folder.join("file"))), (0o700, 0o600));
        assert!(fs::read_to_string(folder.root().join("CACHEDIR.TAG")).unwrap().starts_with("Signature: 8a477f59"));
        assert_eq!(
            folder.repositories().iter().map(|one| (one.id, one.bytes)).collect::<Vec<_>>(),
            [(Id::default(), 3)]
        );
        folder.forget(&Id::default()).unwrap();
        assert!(folder.repositories().is_empty());
    }

    #[test]
    fn an_open_file_outlives_its_replacement_and_its_removal() {
        let (_scratch, _folder, cache) = room();
        cache.write("file", b"first");
        let open = cache.open("file").unwrap();
        cache.write("file", b"other");
        cache.remove("file");
        let mut bytes = [0; 3];
        assert!(open.read_at(&mut bytes, 2) && bytes == *b"rst");
        assert!(!open.read_at(&mut bytes, 3), "not past the end");
        assert_eq!(cache.read("file"), None);
    }

    #[test]
    fn a_draft_that_is_not_kept_leaves_nothing() {
        let (_scratch, _folder, cache) = room();
        let mut draft = cache.draft().unwrap();
        draft.write_all(b"half").unwrap();
        assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), 1);
        drop(draft);
        assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), 0);
    }

    #[test]
    fn old_drafts_are_swept_and_young_ones_are_not() {
        let (_scratch, _folder, cache) = room();
        cache.write("file", b"");
        let draft = cache.draft().unwrap();
        let age = fs::metadata(&draft.path).unwrap().mtime();
        cache.sweep(age + DRAFT_AGE_SECONDS_MAX);
        assert!(draft.path.exists());
        cache.sweep(age + DRAFT_AGE_SECONDS_MAX + 1);
        assert!(!draft.path.exists() && cache.read("file").is_some());
    }

    #[test]
    fn names_stay_inside_and_links_are_not_followed() {
        let (scratch, _folder, cache) = room();
        cache.write("file", b"");
        fs::write(scratch.path().join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink(scratch.path().join("secret"), cache.folder.join("link")).unwrap();
        for name in ["", ".", "..", "../secret", "/etc/passwd", "a/b", ".hidden", "link"] {
            assert_eq!(cache.read(name), None, "{name}");
        }
        for name in ["", "..", "../made", "a/b"] {
            assert!(!cache.write(name, b"x"), "{name}");
        }
        assert!(!cache.folder.join("../made").exists());
    }

    #[test]
    fn a_root_that_cannot_be_made_is_no_cache() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("occupied"), "").unwrap();
        let cache = CacheFolder::new(scratch.path().join("occupied")).of(&Id::default());
        assert!(!cache.write("file", b"x"));
        assert_eq!((cache.read("file"), cache.names()), (None, Vec::new()));
    }
}
