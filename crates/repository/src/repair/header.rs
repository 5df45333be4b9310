//! Reading what a pack says of itself, whoever gives its end.

use bytes::Bytes;
use format::{HEADER_EAGER_BYTES, HeaderRead, MasterKey, PackedBlob, parse_header};

/// The blobs of a pack of `size` bytes, by its header. `tail` reads so many bytes at the pack's end.
pub(super) fn read(
    master: &MasterKey,
    size: u64,
    tail: impl Fn(u64) -> Result<Bytes, String>,
) -> Result<Vec<PackedBlob>, String> {
    let mut length = (HEADER_EAGER_BYTES as u64).min(size);
    // Once for most packs, and once more for a header that is longer.
    for _ in 0..2 {
        match parse_header(master, size, &tail(length)?).map_err(|error| error.to_string())? {
            HeaderRead::Complete(blobs) => return Ok(blobs),
            HeaderRead::Needs(needed) => length = needed.min(size),
        }
    }
    Err("its header has no end".to_owned())
}
