//! Which system calls are looked at, what they change, and how to find out where.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use nix::libc;
use nix::unistd::Pid;

/// What a call does to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallKind {
    /// Opens a file that it may make or empty.
    Create,
    /// Opens what is there.
    Open,
    /// Adds bytes.
    Write,
    /// Cuts or extends.
    Truncate,
    /// Makes a file or folder durable.
    Sync,
    /// Moves a name, perhaps onto another.
    Rename,
    /// Gives a file one more name, or makes a symbolic link or a device.
    Link,
    /// Takes a name away.
    Unlink,
    /// Makes a folder.
    MakeFolder,
    /// Removes a folder.
    RemoveFolder,
    /// Changes mode, owner, times or extended attributes.
    Attributes,
    /// Takes bytes.
    Read,
    /// Asks about a name.
    Look,
    /// Lets a file go.
    Close,
}

impl CallKind {
    /// Those that change something or make it durable.
    pub const CHANGES: [CallKind; 10] = [
        CallKind::Create,
        CallKind::Write,
        CallKind::Truncate,
        CallKind::Sync,
        CallKind::Rename,
        CallKind::Link,
        CallKind::Unlink,
        CallKind::MakeFolder,
        CallKind::RemoveFolder,
        CallKind::Attributes,
    ];

    /// Those that find something by its name.
    pub const BY_NAME: [CallKind; 10] = [
        CallKind::Create,
        CallKind::Open,
        CallKind::Truncate,
        CallKind::Rename,
        CallKind::Link,
        CallKind::Unlink,
        CallKind::MakeFolder,
        CallKind::RemoveFolder,
        CallKind::Attributes,
        CallKind::Look,
    ];
}

/// One call on something below the folders that are looked at.
#[derive(Debug, Clone)]
pub struct Call {
    /// What it does.
    pub kind: CallKind,
    /// Its name.
    pub name: &'static str,
    /// What it does it to; the old name of a rename or a link.
    pub path: PathBuf,
    /// The new name of a rename or a link.
    pub onto: Option<PathBuf>,
}

impl Call {
    /// Whether it asks about a name, and be it as a part of reading.
    pub(super) fn is_look(&self) -> bool {
        self.kind == CallKind::Look || ["statx", "newfstatat"].contains(&self.name)
    }
}

/// Where a call's arguments say what it is about; the numbers are those of arguments.
#[derive(Debug, Clone, Copy)]
enum Object {
    Fd(usize),
    Path(usize),
    At(usize, usize),
}

/// How one system call is understood.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) number: i64,
    name: &'static str,
    kind: CallKind,
    object: Object,
    onto: Option<Object>,
    /// The argument that says how many bytes, or how many buffers.
    pub(super) length: Option<usize>,
}

const fn shape(number: libc::c_long, name: &'static str, kind: CallKind, object: Object) -> Shape {
    Shape { number, name, kind, object, onto: None, length: None }
}

const fn moving(number: libc::c_long, name: &'static str, kind: CallKind, object: Object, length: usize) -> Shape {
    Shape { number, name, kind, object, onto: None, length: Some(length) }
}

const fn naming(number: libc::c_long, name: &'static str, kind: CallKind, from: Object, onto: Object) -> Shape {
    Shape { number, name, kind, object: from, onto: Some(onto), length: None }
}

const SHAPES: [Shape; 66] = {
    use CallKind::{
        Attributes, Close, Create, Link, Look, MakeFolder, Open, Read, RemoveFolder, Rename, Sync, Truncate, Unlink,
        Write,
    };
    use Object::{At, Fd, Path};
    [
        // Whether these make something is seen in their flags.
        shape(libc::SYS_open, "open", Open, Path(0)),
        shape(libc::SYS_openat, "openat", Open, At(0, 1)),
        shape(libc::SYS_openat2, "openat2", Open, At(0, 1)),
        shape(libc::SYS_creat, "creat", Create, Path(0)),
        moving(libc::SYS_write, "write", Write, Fd(0), 2),
        moving(libc::SYS_pwrite64, "pwrite64", Write, Fd(0), 2),
        moving(libc::SYS_writev, "writev", Write, Fd(0), 2),
        moving(libc::SYS_pwritev, "pwritev", Write, Fd(0), 2),
        moving(libc::SYS_pwritev2, "pwritev2", Write, Fd(0), 2),
        moving(libc::SYS_copy_file_range, "copy_file_range", Write, Fd(2), 4),
        moving(libc::SYS_sendfile, "sendfile", Write, Fd(0), 3),
        moving(libc::SYS_splice, "splice", Write, Fd(2), 4),
        shape(libc::SYS_fallocate, "fallocate", Truncate, Fd(0)),
        shape(libc::SYS_truncate, "truncate", Truncate, Path(0)),
        shape(libc::SYS_ftruncate, "ftruncate", Truncate, Fd(0)),
        shape(libc::SYS_fsync, "fsync", Sync, Fd(0)),
        shape(libc::SYS_fdatasync, "fdatasync", Sync, Fd(0)),
        shape(libc::SYS_syncfs, "syncfs", Sync, Fd(0)),
        naming(libc::SYS_rename, "rename", Rename, Path(0), Path(1)),
        naming(libc::SYS_renameat, "renameat", Rename, At(0, 1), At(2, 3)),
        naming(libc::SYS_renameat2, "renameat2", Rename, At(0, 1), At(2, 3)),
        naming(libc::SYS_link, "link", Link, Path(0), Path(1)),
        naming(libc::SYS_linkat, "linkat", Link, At(0, 1), At(2, 3)),
        shape(libc::SYS_symlink, "symlink", Link, Path(1)),
        shape(libc::SYS_symlinkat, "symlinkat", Link, At(1, 2)),
        shape(libc::SYS_mknod, "mknod", Link, Path(0)),
        shape(libc::SYS_mknodat, "mknodat", Link, At(0, 1)),
        shape(libc::SYS_unlink, "unlink", Unlink, Path(0)),
        shape(libc::SYS_unlinkat, "unlinkat", Unlink, At(0, 1)),
        shape(libc::SYS_rmdir, "rmdir", RemoveFolder, Path(0)),
        shape(libc::SYS_mkdir, "mkdir", MakeFolder, Path(0)),
        shape(libc::SYS_mkdirat, "mkdirat", MakeFolder, At(0, 1)),
        shape(libc::SYS_chmod, "chmod", Attributes, Path(0)),
        shape(libc::SYS_fchmod, "fchmod", Attributes, Fd(0)),
        shape(libc::SYS_fchmodat, "fchmodat", Attributes, At(0, 1)),
        shape(libc::SYS_fchmodat2, "fchmodat2", Attributes, At(0, 1)),
        shape(libc::SYS_chown, "chown", Attributes, Path(0)),
        shape(libc::SYS_lchown, "lchown", Attributes, Path(0)),
        shape(libc::SYS_fchown, "fchown", Attributes, Fd(0)),
        shape(libc::SYS_fchownat, "fchownat", Attributes, At(0, 1)),
        shape(libc::SYS_utime, "utime", Attributes, Path(0)),
        shape(libc::SYS_utimes, "utimes", Attributes, Path(0)),
        shape(libc::SYS_utimensat, "utimensat", Attributes, At(0, 1)),
        shape(libc::SYS_setxattr, "setxattr", Attributes, Path(0)),
        shape(libc::SYS_lsetxattr, "lsetxattr", Attributes, Path(0)),
        shape(libc::SYS_fsetxattr, "fsetxattr", Attributes, Fd(0)),
        shape(libc::SYS_removexattr, "removexattr", Attributes, Path(0)),
        shape(libc::SYS_lremovexattr, "lremovexattr", Attributes, Path(0)),
        shape(libc::SYS_fremovexattr, "fremovexattr", Attributes, Fd(0)),
        moving(libc::SYS_read, "read", Read, Fd(0), 2),
        moving(libc::SYS_pread64, "pread64", Read, Fd(0), 2),
        moving(libc::SYS_readv, "readv", Read, Fd(0), 2),
        moving(libc::SYS_preadv, "preadv", Read, Fd(0), 2),
        shape(libc::SYS_getdents64, "getdents64", Read, Fd(0)),
        shape(libc::SYS_statx, "statx", Read, At(0, 1)),
        shape(libc::SYS_newfstatat, "newfstatat", Read, At(0, 1)),
        // The two before are how bytes and facts are read alike; these look at a name and at nothing else.
        shape(libc::SYS_stat, "stat", Look, Path(0)),
        shape(libc::SYS_lstat, "lstat", Look, Path(0)),
        shape(libc::SYS_access, "access", Look, Path(0)),
        shape(libc::SYS_faccessat, "faccessat", Look, At(0, 1)),
        shape(libc::SYS_faccessat2, "faccessat2", Look, At(0, 1)),
        shape(libc::SYS_readlink, "readlink", Look, Path(0)),
        shape(libc::SYS_readlinkat, "readlinkat", Look, At(0, 1)),
        shape(libc::SYS_statfs, "statfs", Look, Path(0)),
        shape(libc::SYS_chdir, "chdir", Look, Path(0)),
        shape(libc::SYS_close, "close", Close, Fd(0)),
    ]
};

/// How the calls of these kinds look, and those that may turn out to be of these kinds.
pub(super) fn shapes_of(kinds: &[CallKind]) -> Vec<Shape> {
    let may_be = |shape: &Shape| match shape.kind {
        CallKind::Open => kinds.contains(&CallKind::Open) || kinds.contains(&CallKind::Create),
        CallKind::Unlink => kinds.contains(&CallKind::Unlink) || kinds.contains(&CallKind::RemoveFolder),
        // A test of names wants these too; one of bytes has them among the reads.
        CallKind::Read if matches!(shape.number, libc::SYS_statx | libc::SYS_newfstatat) => {
            kinds.contains(&CallKind::Read) || kinds.contains(&CallKind::Look)
        }
        kind => kinds.contains(&kind),
    };
    SHAPES.iter().copied().filter(may_be).collect()
}

/// The longest path that a program may name.
const PATH_BYTES_MAX: usize = 4096;

impl Shape {
    /// What the call is about to do. None when that cannot be told: then the call fails on its own.
    pub(super) fn read(&self, pid: Pid, arguments: [u64; 6]) -> Option<Call> {
        let path = find(self.object, pid, arguments)?;
        let onto = match self.onto {
            Some(object) => Some(find(object, pid, arguments)?),
            None => None,
        };
        let kind = match self.number {
            libc::SYS_open => opening(arguments[1]),
            libc::SYS_openat => opening(arguments[2]),
            libc::SYS_openat2 => opening(word_at(pid, arguments[2]).ok()?),
            libc::SYS_unlinkat if arguments[2] & libc::AT_REMOVEDIR as u64 != 0 => CallKind::RemoveFolder,
            _ => self.kind,
        };
        Some(Call { kind, name: self.name, path, onto })
    }
}

fn opening(flags: u64) -> CallKind {
    let makes = (libc::O_CREAT | libc::O_TRUNC | (libc::O_TMPFILE & !libc::O_DIRECTORY)).cast_unsigned();
    if flags & u64::from(makes) == 0 { CallKind::Open } else { CallKind::Create }
}

fn find(object: Object, pid: Pid, arguments: [u64; 6]) -> Option<PathBuf> {
    match object {
        Object::Fd(argument) => path_of_fd(pid, arguments[argument]),
        Object::Path(argument) => {
            let path = text_at(pid, arguments[argument]).ok()?;
            Some(plain(&fs::read_link(format!("/proc/{pid}/cwd")).ok()?.join(path)))
        }
        Object::At(folder, argument) => {
            // A null path means the folder's own descriptor.
            let path =
                if arguments[argument] == 0 { PathBuf::new() } else { text_at(pid, arguments[argument]).ok()? };
            if path.is_absolute() {
                return Some(plain(&path));
            }
            // Only the lower half of the register counts, and it is signed.
            let is_here = arguments[folder] as u32 == libc::AT_FDCWD.cast_unsigned();
            let above = if is_here {
                fs::read_link(format!("/proc/{pid}/cwd")).ok()?
            } else {
                path_of_fd(pid, arguments[folder])?
            };
            Some(if path.as_os_str().is_empty() { above } else { plain(&above.join(path)) })
        }
    }
}

/// The path under which a file was opened, with later renames; one that has no name any more has none here either.
pub(super) fn path_of_fd(pid: Pid, fd: u64) -> Option<PathBuf> {
    let path = fs::read_link(format!("/proc/{pid}/fd/{}", fd as u32)).ok()?;
    path.is_absolute().then_some(path)
}

/// Without `.` and `..`; symbolic links in the middle stay, since nobody whom we trace makes any.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

fn text_at(pid: Pid, address: u64) -> io::Result<PathBuf> {
    let memory = fs::File::open(format!("/proc/{pid}/mem"))?;
    let mut bytes = vec![0; PATH_BYTES_MAX];
    // The end of the page may be the end of what can be read.
    let read = memory.read_at(&mut bytes, address)?;
    let length = bytes.iter().take(read).position(|byte| *byte == 0).ok_or(io::ErrorKind::InvalidData)?;
    bytes.truncate(length);
    Ok(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
}

fn word_at(pid: Pid, address: u64) -> io::Result<u64> {
    let mut bytes = [0; 8];
    fs::File::open(format!("/proc/{pid}/mem"))?.read_exact_at(&mut bytes, address)?;
    Ok(u64::from_le_bytes(bytes))
}
