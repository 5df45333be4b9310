//! When a pack is done, for whoever fills one: backup, prune and repairs.

use format::{FormatError, PackWriter};

use crate::error::{Error, Result};

/// A pack is finished when it is at least this long (restic's default).
pub(crate) const PACK_BYTES_TARGET: usize = 16 << 20;

/// Whether a pack is to be closed before anything more goes into it.
pub(crate) fn is_done(pack: &PackWriter) -> bool {
    pack.size_bytes() >= PACK_BYTES_TARGET || pack.is_full()
}

/// Puts what several packs of one kind hold into as few as possible, and hands each of these to `close`.
pub(crate) fn gather(
    packs: impl IntoIterator<Item = PackWriter>,
    mut close: impl FnMut(PackWriter) -> Result<()>,
) -> Result<()> {
    let mut gathered = PackWriter::new();
    for pack in packs {
        for entry in pack.blobs() {
            let sealed = pack.sealed_blob(entry);
            gathered.push_sealed(entry.kind, entry.id, sealed, entry.uncompressed_length).map_err(unusable)?;
            if is_done(&gathered) {
                close(std::mem::take(&mut gathered))?;
            }
        }
    }
    if gathered.is_empty() { Ok(()) } else { close(gathered) }
}

/// A new pack that takes no more, or that cannot be closed.
pub(crate) fn unusable(source: FormatError) -> Error {
    Error::Format { what: "new pack".to_owned(), source }
}
