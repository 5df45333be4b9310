//! The blocking half of the local folder: system calls in the order that survives a power cut.
//!
//! The order of a write is create, fill, fsync, chmod, rename, fsync of the folder; after a failed fsync the file is
//! never acknowledged and never renamed, because the kernel may have dropped the pages and would report the next
//! fsync as fine.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use format::{FileKind, FileName};
use model::{FaultKind, Id};
use rustix::fs::{CWD, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::{FILE_LIMIT_BYTES, Listed, Span, temporary};

/// How much is moved between two signs of life.
const STEP_BYTES: usize = 1 << 20;

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Added where the group can read the config file: the repository is shared on purpose (restic does the same).
const SHARED_FOLDER_MODE: u32 = 0o070;
const SHARED_FILE_MODE: u32 = 0o060;
const WRITE_BITS: u32 = 0o222;

/// Why a call failed, before it is known which object of which place it was about.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) kind: FaultKind,
    pub(crate) cause: String,
}

/// Whether the disk is there that has the file `marker`.
pub(crate) fn is_mounted(marker: &Path) -> Result<()> {
    match std::fs::symlink_metadata(marker) {
        Ok(_) => Ok(()),
        Err(error) => {
            let cause =
                format!("its marker `{}` cannot be seen ({error}), so its disk is not mounted", marker.display());
            Err(Trouble { kind: FaultKind::Absent, cause })
        }
    }
}

impl Trouble {
    fn damaged(cause: impl Into<String>) -> Self {
        Self { kind: FaultKind::Damaged, cause: cause.into() }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        let kind = match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT) => FaultKind::NotFound,
            Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => FaultKind::Denied,
            Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => FaultKind::Full,
            Some(
                Errno::STALE
                | Errno::NOTCONN
                | Errno::TIMEDOUT
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::NXIO
                | Errno::NODEV,
            ) => FaultKind::Unreachable,
            Some(Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::ISDIR) => FaultKind::Misconfigured,
            Some(Errno::EXIST) => FaultKind::Exists,
            _ => FaultKind::Failing,
        };
        Self { kind, cause: error.to_string() }
    }
}

type Result<T> = std::result::Result<T, Trouble>;

/// A file that reached its name, and when, by the clock of the file system that holds it.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) folder: PathBuf,
    pub(crate) modified_seconds: i64,
}

/// Makes the root and the folders of every kind, durably. What is there stays as it is.
pub(crate) fn create_layout(root: &Path) -> Result<()> {
    let modes = Modes::of(root);
    make_folder(root, modes)?;
    for kind in FileKind::NAMED {
        make_folder(&root.join(kind.folder()), modes)?;
    }
    let data = root.join(FileKind::Pack.folder());
    for first_byte in 0..=u8::MAX {
        let path = data.join(format!("{first_byte:02x}"));
        if let Err(error) = new_folder(&path, modes)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(error.into());
        }
    }
    for folder in [&data, root] {
        sync_folder(folder)?;
    }
    Ok(())
}

/// What is in the folder of one kind; a missing folder is a trouble, not an empty answer.
pub(crate) fn list(root: &Path, kind: FileKind, alive: &dyn Fn()) -> Result<Vec<Listed>> {
    let folder = root.join(kind.folder());
    let mut found = Vec::new();
    match kind {
        FileKind::Config => {
            return Err(Trouble { kind: FaultKind::Refused, cause: "the config file has no folder to list".into() });
        }
        FileKind::Pack => {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let name = entry.file_name();
                let is_two_digits =
                    name.len() == 2 && name.as_encoded_bytes().iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                if is_two_digits && entry.path().is_dir() {
                    let digits = name.to_string_lossy();
                    list_folder(&entry.path(), &digits, &mut found, alive)?;
                }
            }
        }
        _ => list_folder(&folder, "", &mut found, alive)?,
    }
    Ok(found)
}

fn list_folder(folder: &Path, digits: &str, found: &mut Vec<Listed>, alive: &dyn Fn()) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        alive();
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<Id>().ok()) else { continue };
        // A file in the wrong one of the 256 folders cannot be read by its name: it is not there.
        if !id.to_hex().starts_with(digits) {
            continue;
        }
        match fs::metadata(entry.path()) {
            Ok(metadata) if metadata.is_file() => found.push(Listed { id, size: metadata.len() }),
            Ok(_) => {}
            // Somebody removed it since the folder was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The size of a regular file.
pub(crate) fn size(path: &Path) -> Result<u64> {
    let metadata = fs::metadata(path)?;
    if metadata.is_file() { Ok(metadata.len()) } else { Err(Trouble::damaged("not a regular file")) }
}

/// Exactly the bytes that were asked for, in `buffer`, whatever was in it.
pub(crate) fn read(path: &Path, span: Span, buffer: Vec<u8>, alive: &dyn Fn()) -> Result<Vec<u8>> {
    // Without NONBLOCK, opening a pipe that somebody put there would never return.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Trouble::damaged("not a regular file"));
    }
    let (offset, length) = match span {
        Span::Whole => (0, metadata.len()),
        Span::Range { offset, length } => (offset, length),
    };
    let end = offset.checked_add(length).filter(|end| *end <= metadata.len());
    if end.is_none() {
        let cause = format!("{length} bytes from {offset} were asked for and the file has {}", metadata.len());
        return Err(Trouble::damaged(cause));
    }
    let fits = usize::try_from(length).ok().filter(|_| length <= FILE_LIMIT_BYTES);
    let Some(fits) = fits else {
        return Err(Trouble::damaged(format!("{length} bytes are more than any file of a repository has")));
    };
    let mut bytes = buffer;
    if bytes.capacity() < fits {
        // New memory comes from the system as zeros, untouched.
        bytes = vec![0; fits];
    }
    bytes.resize(fits, 0);
    let mut at = offset;
    for step in bytes.chunks_mut(STEP_BYTES) {
        file.read_exact_at(step, at).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Trouble::damaged("the file became shorter while it was read"),
            _ => error.into(),
        })?;
        at += step.len() as u64;
        alive();
    }
    Ok(bytes)
}

/// Stores a file durably and at once.
pub(crate) fn write(root: &Path, name: FileName, bytes: &[u8], alive: &dyn Fn()) -> Result<Written> {
    let path = root.join(name.path());
    let Some(folder) = path.parent() else { return Err(Trouble::damaged("the name has no folder")) };
    let modes = Modes::of(root);
    let (temporary, file) = match new_temporary(&path, modes) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_missing_folder(root, name, folder, modes)?;
            new_temporary(&path, modes)?
        }
        other => other?,
    };
    let outcome = fill(&file, bytes, modes, alive).and_then(|modified_seconds| {
        drop(file);
        settle(&temporary, &path, name, bytes)?;
        sync_folder(folder)?;
        Ok(Written { folder: folder.to_owned(), modified_seconds })
    });
    // After a successful rename there is nothing left under this name.
    if outcome.is_err() || name.kind() == FileKind::Config {
        let _ = fs::remove_file(&temporary);
    }
    outcome
}

/// Removes a file; one that is gone is a success.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync_folder),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes what writers that were killed left in the folder of `written`. Its file's own time stands for now: the
/// clock of a mounted disk may differ from ours. Nothing here may fail a write that has succeeded.
pub(crate) fn sweep_leftovers(written: &Written) {
    let Ok(entries) = fs::read_dir(&written.folder) else { return };
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(temporary::is_one);
        let is_stale = || {
            entry.metadata().is_ok_and(|metadata| {
                metadata.is_file()
                    && metadata.mtime() < written.modified_seconds.saturating_sub(temporary::LEFTOVER_AGE_SECONDS)
            })
        };
        if is_ours && is_stale() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The permissions that new files and folders get.
#[derive(Debug, Clone, Copy)]
struct Modes {
    folder: u32,
    file: u32,
}

impl Modes {
    fn of(root: &Path) -> Self {
        let is_shared =
            fs::metadata(root.join(FileKind::Config.folder())).is_ok_and(|config| config.mode() & 0o040 != 0);
        if is_shared {
            Self { folder: FOLDER_MODE | SHARED_FOLDER_MODE, file: FILE_MODE | SHARED_FILE_MODE }
        } else {
            Self { folder: FOLDER_MODE, file: FILE_MODE }
        }
    }
}

fn new_temporary(path: &Path, modes: Modes) -> io::Result<(PathBuf, File)> {
    let mut name = path.as_os_str().to_owned();
    name.push(temporary::suffix().map_err(io::Error::other)?);
    let temporary = PathBuf::from(name);
    let file = OpenOptions::new().write(true).create_new(true).mode(modes.file).open(&temporary)?;
    Ok((temporary, file))
}

/// Writes, makes durable and read-only; gives the file system's time.
fn fill(mut file: &File, bytes: &[u8], modes: Modes, alive: &dyn Fn()) -> Result<i64> {
    for step in bytes.chunks(STEP_BYTES) {
        file.write_all(step)?;
        alive();
    }
    match file.set_permissions(fs::Permissions::from_mode(modes.file & !WRITE_BITS)) {
        // Mounted foreign file systems know no such bits; the bytes matter more.
        Err(error) if matches!(errno(&error), Some(Errno::PERM | Errno::ACCESS | Errno::NOTSUP | Errno::NOSYS)) => {}
        other => other?,
    }
    file.sync_all()?;
    alive();
    Ok(file.metadata()?.mtime())
}

/// Gives a finished file its name. A config file is never replaced.
fn settle(temporary: &Path, path: &Path, name: FileName, bytes: &[u8]) -> Result<()> {
    if name.kind() != FileKind::Config {
        return Ok(fs::rename(temporary, path)?);
    }
    match rustix::fs::renameat_with(CWD, temporary, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => return Ok(()),
        Err(Errno::EXIST) => {}
        // This file system cannot refuse to replace; a hard link can, and where that fails too, looking first must do.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match fs::hard_link(temporary, path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(_) if !path.try_exists()? => return Ok(fs::rename(temporary, path)?),
            Err(_) => {}
        },
        Err(error) => return Err(io::Error::from(error).into()),
    }
    let stored = read(path, Span::Whole, Vec::new(), &|| ())?;
    if stored == bytes {
        return Ok(());
    }
    Err(Trouble { kind: FaultKind::Exists, cause: "another config file is there".into() })
}

/// Makes the folder of a file on demand, but never a whole copy: where the root is missing (an unmounted disk), a
/// write must fail and not fill the disk below.
fn make_missing_folder(root: &Path, name: FileName, folder: &Path, modes: Modes) -> Result<()> {
    fs::metadata(root)?;
    let kind_folder = root.join(name.kind().folder());
    if name.kind() != FileKind::Config {
        make_folder(&kind_folder, modes)?;
    }
    if folder != kind_folder {
        make_folder(folder, modes)?;
    }
    Ok(())
}

/// Makes a folder and those above it, and makes each one's entry in the folder above durable.
fn make_folder(path: &Path, modes: Modes) -> Result<()> {
    match new_folder(path, modes) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) else {
                return Err(error.into());
            };
            make_folder(above, modes)?;
            // Another process may have been faster.
            if let Err(error) = new_folder(path, modes)
                && error.kind() != io::ErrorKind::AlreadyExists
            {
                return Err(error.into());
            }
        }
        Err(error) => return Err(error.into()),
    }
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync_folder(above)
}

fn new_folder(path: &Path, modes: Modes) -> io::Result<()> {
    DirBuilder::new().mode(modes.folder).create(path)
}

/// Makes the names in a folder durable.
fn sync_folder(path: &Path) -> Result<()> {
    match File::open(path).and_then(|folder| folder.sync_all()) {
        // Some network file systems know no fsync of folders (restic passes over the same answers), and a folder above
        // the root may be one that we may pass through but not open.
        Err(error) if matches!(errno(&error), Some(Errno::INVAL | Errno::NOTSUP | Errno::NOSYS | Errno::ACCESS)) => {
            Ok(())
        }
        other => Ok(other?),
    }
}

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw_os_error)
}
