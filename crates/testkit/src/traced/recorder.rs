//! From calls to events: what a call that succeeded has changed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::libc;
use nix::unistd::Pid;

use super::calls::{Call, CallKind};
use super::journal::{Event, Journal};

/// A call that is done.
pub(super) struct Done<'a> {
    pub(super) call: &'a Call,
    pub(super) pid: Pid,
    pub(super) number: i64,
    pub(super) arguments: [u64; 6],
    pub(super) result: u64,
}

/// Adds what the call did to the journal.
pub(super) fn record(journal: &mut Journal, done: &Done<'_>) -> io::Result<()> {
    let Some(path) = journal.relative(&done.call.path).map(Path::to_owned) else { return Ok(()) };
    let onto = done.call.onto.as_deref().and_then(|onto| journal.relative(onto)).map(Path::to_owned);
    let event = match (done.call.kind, onto) {
        (CallKind::Create, _) => match (journal.length(&path), fs::metadata(fd_path(done.pid, done.result))?.len()) {
            (None, _) => Event::Created(path),
            (Some(known), 0) if known > 0 => Event::Cut { path, length: 0 },
            _ => return Ok(()),
        },
        (CallKind::Write, _) => {
            if journal.length(&path).is_none() {
                // It has no name any more, so that nobody can find it after a loss of power.
                return Ok(());
            }
            let (offset, bytes) = written(done)?;
            Event::Wrote { path, offset, bytes }
        }
        (CallKind::Truncate, _) => match fs::metadata(&done.call.path) {
            Ok(metadata) => Event::Cut { path, length: metadata.len() },
            Err(_) => return Ok(()),
        },
        (CallKind::Sync, _) => Event::Synced(path),
        (CallKind::Rename, Some(onto)) => Event::Renamed { from: path, onto },
        (CallKind::Link, Some(onto)) => Event::Linked { from: path, onto },
        (CallKind::Unlink | CallKind::RemoveFolder, _) => Event::Removed(path),
        (CallKind::MakeFolder, _) => Event::MadeFolder(path),
        _ => return Ok(()),
    };
    journal.note(event);
    Ok(())
}

/// What a write has written, read back from the file: so nothing depends on where the program had it.
fn written(done: &Done<'_>) -> io::Result<(u64, Vec<u8>)> {
    let fd = match done.number {
        libc::SYS_copy_file_range | libc::SYS_splice => done.arguments[2],
        _ => done.arguments[0],
    };
    let file = File::open(fd_path(done.pid, fd))?;
    let (offset, length) = match done.number {
        libc::SYS_write | libc::SYS_writev => (position(done.pid, fd)?.saturating_sub(done.result), done.result),
        libc::SYS_pwrite64 | libc::SYS_pwritev => (done.arguments[3], done.result),
        // The rest is rare here: the whole file is what it wrote.
        _ => (0, file.metadata()?.len()),
    };
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, offset)?;
    Ok((offset, bytes))
}

fn position(pid: Pid, fd: u64) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", fd as u32))?;
    let position = text.lines().find_map(|line| line.strip_prefix("pos:")?.trim().parse().ok());
    position.ok_or_else(|| io::Error::other("the position of a file is not told"))
}

fn fd_path(pid: Pid, fd: u64) -> String {
    format!("/proc/{pid}/fd/{}", fd as u32)
}
