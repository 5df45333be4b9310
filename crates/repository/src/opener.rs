//! The blobs of one read, opened together: decrypted where they stand, decompressed into room that is used again, and
//! hashed two at a time.
//!
//! What is stored uncompressed is never copied. Compressed texts lie beside each other in room of bounded size; a
//! blob that is larger than the room, which no program writes, is opened alone.

use std::ops::Range;

use format::{Decompressor, MasterKey, PackedBlob, open_blob_into};

/// Most plain bytes that are judged together: enough blobs to keep both streams of a hash busy, and few enough to be
/// in the processor's cache still when they are used.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// Most blobs that are judged together.
const GROUP_BLOBS_MAX: usize = 256;

/// Where a plain text is until its hash is known.
enum Text {
    /// In the bytes that were read.
    InPlace(Range<usize>),
    /// In the room.
    Unpacked(Range<usize>),
    /// Nowhere, and why.
    Refused(String),
}

/// What one thread opens blobs with.
pub(crate) struct Opener {
    group_bytes_max: usize,
    decompressor: Decompressor,
    /// Room for decompressed texts; it grows to what is needed and stays.
    room: Vec<u8>,
    alone: Vec<u8>,
}

impl Default for Opener {
    fn default() -> Self {
        Self::of_groups(GROUP_BYTES_MAX)
    }
}

impl Opener {
    /// An opener that judges at most so many plain bytes together, for whoever has many of them.
    pub(crate) fn of_groups(group_bytes_max: usize) -> Self {
        Self { group_bytes_max, decompressor: Decompressor::default(), room: Vec::new(), alone: Vec::new() }
    }

    /// Opens `blobs`, which stand in `bytes`, the part of their pack from `start` on. `take` gets the number of each
    /// in their order, with its plain text, or why there is none. `bytes` are changed.
    pub(crate) fn open_each<'b>(
        &mut self,
        master: &MasterKey,
        bytes: &mut [u8],
        start: u64,
        blobs: impl IntoIterator<Item = &'b PackedBlob>,
        mut take: impl FnMut(usize, Result<&[u8], String>),
    ) {
        let mut group: Vec<(&PackedBlob, Text)> = Vec::new();
        let (mut first, mut plain_bytes, mut used) = (0, 0, 0);
        for (number, blob) in blobs.into_iter().enumerate() {
            let length = blob.plain_length() as usize;
            if !group.is_empty() && (plain_bytes + length > self.group_bytes_max || group.len() >= GROUP_BLOBS_MAX) {
                self.judge(&group, bytes, |at, text| take(first + at, text));
                group.clear();
                (first, plain_bytes, used) = (number, 0, 0);
            }
            if length > self.group_bytes_max && blob.uncompressed_length.is_some() {
                take(number, self.open_alone(master, bytes, start, blob));
                first = number + 1;
                continue;
            }
            let text = self.unseal(master, bytes, start, blob, used);
            used += if let Ok(Text::Unpacked(range)) = &text { range.len() } else { 0 };
            plain_bytes += length;
            group.push((blob, text.unwrap_or_else(Text::Refused)));
        }
        self.judge(&group, bytes, |at, text| take(first + at, text));
    }

    fn unseal(
        &mut self,
        master: &MasterKey,
        bytes: &mut [u8],
        start: u64,
        blob: &PackedBlob,
        used: usize,
    ) -> Result<Text, String> {
        let place = place(blob, start);
        let sealed = bytes.get_mut(place.clone()).ok_or(TOO_SHORT)?;
        let stored = blob.unseal(master, sealed).map_err(|error| error.to_string())?;
        let Some(length) = blob.uncompressed_length else {
            let from = place.start + format::NONCE_BYTES;
            return Ok(Text::InPlace(from..from + stored.len()));
        };
        let range = used..used + length.get() as usize;
        if self.room.len() < range.end {
            let room = range.end.next_power_of_two();
            // New memory comes from the system as zeros, untouched; what is in the room already has to stay.
            let mut larger = vec![0; room];
            if let (Some(new), Some(old)) = (larger.get_mut(..used), self.room.get(..used)) {
                new.copy_from_slice(old);
            }
            self.room = larger;
        }
        let room = self.room.get_mut(range.clone()).ok_or(TOO_SHORT)?;
        self.decompressor.decompress_to(stored, room).map_err(|error| error.to_string())?;
        Ok(Text::Unpacked(range))
    }

    fn open_alone(
        &mut self,
        master: &MasterKey,
        bytes: &mut [u8],
        start: u64,
        blob: &PackedBlob,
    ) -> Result<&[u8], String> {
        let sealed = bytes.get_mut(place(blob, start)).ok_or(TOO_SHORT)?;
        self.alone.clear();
        open_blob_into(master, blob, sealed, &mut self.decompressor, &mut self.alone)
            .map_err(|error| error.to_string())?;
        Ok(&self.alone)
    }

    /// Hashes the texts of a group and hands them out.
    fn judge(&self, group: &[(&PackedBlob, Text)], bytes: &[u8], mut take: impl FnMut(usize, Result<&[u8], String>)) {
        let text = |text: &Text| match text {
            Text::InPlace(range) => bytes.get(range.clone()),
            Text::Unpacked(range) => self.room.get(range.clone()),
            Text::Refused(_) => None,
        };
        let texts: Vec<&[u8]> = group.iter().filter_map(|(_, at)| text(at)).collect();
        let mut hashed = texts.iter().zip(format::hash_each(&texts));
        for (number, (blob, at)) in group.iter().enumerate() {
            let judged = match (at, text(at).and_then(|_| hashed.next())) {
                (Text::Refused(why), _) => Err(why.clone()),
                (_, None) => Err(TOO_SHORT.to_owned()),
                (_, Some((text, found))) => blob.judge(found).map(|()| *text).map_err(|error| error.to_string()),
            };
            take(number, judged);
        }
    }
}

const TOO_SHORT: &str = "fewer bytes than were asked for";

/// Where a blob stands in the bytes of its pack from `start` on; nowhere in them when it lies before.
fn place(blob: &PackedBlob, start: u64) -> Range<usize> {
    let from = u64::from(blob.offset).checked_sub(start).and_then(|from| usize::try_from(from).ok());
    match from {
        Some(from) => from..from.saturating_add(blob.length as usize),
        None => usize::MAX..usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use format::{BlobKind, Compressor, PackWriter};

    use super::*;

    /// A pack of these plain texts, every second one compressed where that pays.
    fn pack(master: &MasterKey, texts: &[Vec<u8>]) -> (Vec<u8>, Vec<PackedBlob>) {
        let mut writer = PackWriter::new();
        for text in texts {
            let mut compressor = Compressor::new(format::Compression::Fastest);
            let packed = compressor.compress(text);
            let length = packed.as_ref().and_then(|_| std::num::NonZeroU32::new(text.len() as u32));
            let id = format::hash(text);
            let mut sealed = Vec::new();
            master.seal_into(&mut sealed, packed.as_deref().unwrap_or(text));
            writer.push_sealed(BlobKind::Data, id, &sealed, length).unwrap();
        }
        let blobs = writer.blobs().to_vec();
        (writer.finish(master).unwrap().bytes, blobs)
    }

    fn texts() -> Vec<Vec<u8>> {
        let mut random = 1_u64;
        let mut noise = |length: usize| {
            (0..length)
                .map(|_| {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (random >> 56) as u8
                })
                .collect::<Vec<u8>>()
        };
        let mut texts = vec![noise(700_000), vec![7; 3 << 20], Vec::new(), vec![1; 5 << 20], noise(3 << 20), noise(9)];
        texts.extend((0..600).map(|n| vec![n as u8; n]));
        texts
    }

    #[test]
    fn every_text_comes_once_and_in_order() {
        let master = MasterKey::generate().unwrap();
        let texts = texts();
        let (bytes, blobs) = pack(&master, &texts);
        let mut opener = Opener::default();
        for _ in 0..2 {
            let mut next = 0;
            opener.open_each(&master, &mut bytes.clone(), 0, &blobs, |number, text| {
                assert_eq!(number, next);
                assert!(text.unwrap() == texts[number], "{number}");
                next += 1;
            });
            assert_eq!(next, texts.len());
        }
        assert!(opener.room.len() <= GROUP_BYTES_MAX.next_power_of_two());
    }

    #[test]
    fn only_what_is_wrong_is_refused() {
        let master = MasterKey::generate().unwrap();
        let texts = texts();
        let (mut bytes, mut blobs) = pack(&master, &texts);
        // A flipped bit, a wrong id, a blob behind the end, one before the start, one of a false length.
        bytes[blobs[1].offset as usize + 20] ^= 1;
        blobs[10].id = blobs[11].id;
        blobs[20].offset = bytes.len() as u32 - 5;
        blobs[30].uncompressed_length = std::num::NonZeroU32::new(12);
        let start = u64::from(blobs[0].offset) + 1;
        let part = bytes.split_off(start as usize);
        let mut refused = Vec::new();
        Opener::default().open_each(&master, &mut part.clone(), start, &blobs, |number, text| match text {
            Ok(text) => assert!(text == texts[number]),
            Err(_) => refused.push(number),
        });
        assert_eq!(refused, [0, 1, 10, 20, 30]);
    }
}
