//! Sealed blocks: the pieces of which a file of the cache is made.
//!
//! Each is sealed with the repository's master key and carries, under the seal, the mark of its file and its number in
//! it, so that no block can stand in for another: not one from another place, file or repository, nor one that somebody
//! without the key has made. Nothing that does not open is ever used.

use format::{MasterKey, SEAL_OVERHEAD_BYTES};

/// What a file's blocks have in common and no other file has: random.
pub(super) type Mark = [u8; 16];

/// Bytes of a nonce, which stands in front of what is sealed.
const NONCE_BYTES: usize = 16;
/// Mark and number.
const LABEL_BYTES: usize = 16 + 4;
/// By how much a block is longer than its content.
pub(super) const BLOCK_OVERHEAD_BYTES: usize = SEAL_OVERHEAD_BYTES + LABEL_BYTES;

/// Puts the sealed block into `out`, in place of what is there.
pub(super) fn seal(master: &MasterKey, mark: &Mark, number: u32, content: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&[0; NONCE_BYTES]);
    out.extend_from_slice(mark);
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(content);
    master.seal_in_place(out, 0);
}

/// Opens a block where it stands; nothing unless it is block `number` of the file with this mark.
pub(super) fn open<'a>(master: &MasterKey, mark: &Mark, number: u32, sealed: &'a mut [u8]) -> Option<&'a [u8]> {
    let (found, content) = open_any(master, number, sealed)?;
    (found == *mark).then_some(content)
}

/// Opens a block of a file whose mark is not known yet.
pub(super) fn open_any<'a>(master: &MasterKey, number: u32, sealed: &'a mut [u8]) -> Option<(Mark, &'a [u8])> {
    let plain: &'a [u8] = master.open_in_place(sealed).ok()?;
    let (mark, rest) = plain.split_first_chunk::<16>()?;
    let (found, content) = rest.split_first_chunk::<4>()?;
    (u32::from_le_bytes(*found) == number).then_some((*mark, content))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_block_opens_in_its_own_place_only() {
        let master = MasterKey::generate().unwrap();
        let mut sealed = Vec::new();
        seal(&master, &[1; 16], 7, b"content", &mut sealed);
        assert_eq!(sealed.len(), 7 + BLOCK_OVERHEAD_BYTES);
        let opened = |master, mark, number| open(master, mark, number, &mut sealed.clone()).map(<[u8]>::to_vec);
        assert_eq!(opened(&master, &[1; 16], 7).unwrap(), b"content");
        assert_eq!(opened(&master, &[1; 16], 8), None, "another number");
        assert_eq!(opened(&master, &[2; 16], 7), None, "another file");
        assert_eq!(opened(&MasterKey::generate().unwrap(), &[1; 16], 7), None, "another repository");
    }
}
