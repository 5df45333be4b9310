//! The proof that a sealed blob opens to what it was made of, before anything counts on it.
//!
//! Bad memory and broken libraries are caught here. Costs less than opening: nothing is hashed, and what was not
//! compressed needs no second buffer.

use crate::compression::Decompressor;
use crate::error::{FormatError, Result};
use crate::pack::PackedBlob;
use crate::pack_writer::PackWriter;
use crate::seal::MasterKey;

/// What proving needs, used again and again.
#[derive(Debug, Default)]
pub struct Proof {
    decompressor: Decompressor,
    sealed: Vec<u8>,
    plain: Vec<u8>,
}

impl Proof {
    /// Opens a blob of `pack` as a reader would, and compares it with the plain text that it was made of: text equal to
    /// the one that was named has that name.
    pub fn of(&mut self, master: &MasterKey, pack: &PackWriter, entry: &PackedBlob, plain: &[u8]) -> Result<()> {
        let sealed = pack.sealed_blob(entry);
        let is_proven = match entry.uncompressed_length {
            None => master.opens_to(sealed, plain),
            Some(length) => {
                self.sealed.clear();
                self.sealed.extend_from_slice(sealed);
                let Ok(stored) = master.open_in_place(&mut self.sealed) else { return Err(Self::failed(entry)) };
                let (length, limit) = (length.get() as usize, entry.kind.plain_bytes_max());
                self.decompressor.decompress_into(stored, Some(length), limit, &mut self.plain)?;
                self.plain == plain
            }
        };
        if is_proven { Ok(()) } else { Err(Self::failed(entry)) }
    }

    fn failed(entry: &PackedBlob) -> FormatError {
        FormatError::malformed("a blob", format!("{} does not open to what was sealed", entry.name()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::blob::BlobKind;
    use crate::compression::{Compression, Compressor};
    use crate::hash::hash;

    #[test]
    fn any_flipped_bit_fails_the_proof() {
        let master = MasterKey::generate().unwrap();
        let plain = b"the same words, the same words, the same words, the same words".as_slice();
        let mut proof = Proof::default();
        for compression in [Compression::Off, Compression::Auto] {
            let mut pack = PackWriter::new();
            let mut compressor = Compressor::new(compression);
            let entry = pack.push(&master, BlobKind::Data, hash(plain), plain, Some(&mut compressor)).unwrap();
            assert_eq!(entry.uncompressed_length.is_some(), compression == Compression::Auto);
            proof.of(&master, &pack, &entry, plain).unwrap();
            for bit in 0..pack.bytes.len() * 8 {
                pack.bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(proof.of(&master, &pack, &entry, plain).is_err(), "bit {bit} with {compression}");
                pack.bytes[bit / 8] ^= 1 << (bit % 8);
            }
            for other in [&plain[1..], &plain[..plain.len() - 1], &[], &[0; 62]] {
                assert!(proof.of(&master, &pack, &entry, other).is_err());
            }
        }
    }
}
