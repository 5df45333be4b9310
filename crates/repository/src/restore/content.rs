//! Bytes into files, and out of them again to compare.

use std::os::fd::AsFd;

use format::Hasher;
use model::Id;
use rustix::io::Errno;

/// How much of a file is looked at in one go; a multiple of the hole size.
pub(super) const BUFFER_BYTES: usize = 256 << 10;

/// Zeros are left out in units of this: the block size of most file systems.
const HOLE_BYTES: usize = 4096;

/// Writes all bytes at an offset.
pub(super) fn write_all<Fd: AsFd>(file: Fd, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
    let (mut at, mut rest) = (offset, bytes);
    while !rest.is_empty() {
        match rustix::io::pwrite(&file, rest, at) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => {
                rest = rest.get(written..).unwrap_or_default();
                at += written as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes what is not zero; for a file that has its full length and nothing in it at these offsets.
pub(super) fn write_with_holes<Fd: AsFd>(file: Fd, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
    // Blocks count from the file's start, so the first piece ends at a block's end.
    let head = (HOLE_BYTES - (offset % HOLE_BYTES as u64) as usize) % HOLE_BYTES;
    let (head, body) = bytes.split_at_checked(head).unwrap_or((bytes, &[]));
    let mut run_start: Option<usize> = None;
    let mut at = 0;
    let write =
        |from: usize, to: usize| write_all(&file, offset + from as u64, bytes.get(from..to).unwrap_or_default());
    for block in std::iter::once(head).chain(body.chunks(HOLE_BYTES)) {
        match (is_zero(block), run_start) {
            (true, Some(from)) => {
                write(from, at)?;
                run_start = None;
            }
            (false, None) => run_start = Some(at),
            _ => {}
        }
        at += block.len();
    }
    run_start.map_or(Ok(()), |from| write(from, at))
}

fn is_zero(block: &[u8]) -> bool {
    const ZEROS: [u8; HOLE_BYTES] = [0; HOLE_BYTES];
    ZEROS.get(..block.len()) == Some(block)
}

/// Hands the bytes of a part of a file to `take`, piece by piece. Gives false when the file ends before.
pub(super) fn read_pieces<Fd: AsFd>(
    file: Fd,
    offset: u64,
    length: u64,
    buffer: &mut [u8],
    mut take: impl FnMut(u64, &[u8]) -> Result<(), Errno>,
) -> Result<bool, Errno> {
    let mut done = 0;
    while done < length {
        let wanted = usize::try_from(length - done).unwrap_or(usize::MAX).min(buffer.len());
        let room = buffer.get_mut(..wanted).unwrap_or_default();
        match rustix::io::pread(&file, &mut *room, offset + done) {
            Ok(0) => return Ok(false),
            Ok(read) => {
                take(offset + done, room.get(..read).unwrap_or_default())?;
                done += read as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Whether this part of a file is the chunk `id`.
pub(super) fn is_chunk<Fd: AsFd>(
    file: Fd,
    offset: u64,
    length: u64,
    id: &Id,
    buffer: &mut [u8],
) -> Result<bool, Errno> {
    let mut hasher = Hasher::new();
    let is_whole = read_pieces(file, offset, length, buffer, |_, piece| {
        hasher.update(piece);
        Ok(())
    })?;
    Ok(is_whole && hasher.finish() == *id)
}
