//! Redis's own file format, read to its end: where each key begins and ends, how many there are, whether it is whole.
//!
//! Values are not looked into further than is needed to know their ends: with a version and a checksum behind them they
//! are what `RESTORE` takes. What passes is given to whoever wants it, byte for byte.

use std::io::{self, Read};

use super::crc::Crc;

/// Versions whose types are known here: Redis 2.6 to 8.
const VERSIONS: std::ops::RangeInclusive<u16> = 6..=12;
/// One piece of a value, and a whole one.
const STRING_LIMIT_BYTES: u64 = 4 << 30;
/// So much is given on at a time.
const PASS_BYTES: usize = 64 << 10;

/// What the file has, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// A fact about the file: `redis-ver` and its like.
    Fact(Vec<u8>, Vec<u8>),
    /// A key with its value.
    Key { database: u64, name: Vec<u8>, expires_at_milliseconds: Option<u64>, payload: Vec<u8> },
    /// A library of functions.
    Functions(Vec<u8>),
}

/// Reads a file.
pub(super) struct Rdb<R, P> {
    from: R,
    pass: P,
    /// What was read and not yet passed on.
    read: Vec<u8>,
    checksum: Crc,
    version: u16,
    /// The value that is being read, when somebody wants it.
    value: Option<Vec<u8>>,
}

impl<R: Read, P: FnMut(Vec<u8>) -> io::Result<()>> Rdb<R, P> {
    /// Reads from `from`, and gives all that was read to `pass`.
    pub(super) fn new(from: R, pass: P) -> Self {
        Self { from, pass, read: Vec::new(), checksum: Crc::default(), version: 0, value: None }
    }

    /// Reads all of it. Payloads are filled only when they are `wanted`.
    pub(super) fn read(mut self, wanted: bool, mut each: impl FnMut(Item) -> io::Result<()>) -> io::Result<()> {
        let head = self.bytes(9)?;
        let digits = head.strip_prefix(b"REDIS").and_then(|digits| std::str::from_utf8(digits).ok());
        self.version =
            digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| odd("its beginning is not Redis's"))?;
        if !VERSIONS.contains(&self.version) {
            return Err(odd(&format!("its version {} is not known", self.version)));
        }
        let (mut database, mut expires) = (0, None);
        loop {
            match self.byte()? {
                0xff => break,
                0xfe => database = self.length()?,
                0xfd => {
                    let seconds = self.bytes(4)?;
                    expires = Some(little_endian(&seconds) * 1000);
                }
                0xfc => expires = Some(little_endian(&self.bytes(8)?)),
                0xfb => {
                    self.length()?;
                    self.length()?;
                }
                0xfa => {
                    let name = self.string()?;
                    let value = self.string()?;
                    each(Item::Fact(name, value))?;
                }
                0xf9 => drop(self.byte()?),
                0xf8 => drop(self.length()?),
                0xf7 => self.module()?,
                0xf5 => {
                    let code = self.string()?;
                    each(Item::Functions(code))?;
                }
                0xf4 => {
                    for _ in 0..3 {
                        self.length()?;
                    }
                }
                kind => {
                    let name = self.string()?;
                    let payload = self.payload(kind, wanted)?;
                    each(Item::Key { database, name, expires_at_milliseconds: expires.take(), payload })?;
                }
            }
        }
        let computed = self.checksum.value();
        let stated = little_endian(&self.bytes(8)?);
        // A server that was told to write none writes zero.
        if stated != 0 && stated != computed {
            return Err(odd("its checksum is wrong"));
        }
        let rest = std::mem::take(&mut self.read);
        (self.pass)(rest)
    }

    /// A value as `RESTORE` wants it: its type, its bytes, the version, a checksum.
    fn payload(&mut self, kind: u8, wanted: bool) -> io::Result<Vec<u8>> {
        self.value = wanted.then(|| vec![kind]);
        self.value_of(kind)?;
        let Some(mut payload) = self.value.take() else { return Ok(Vec::new()) };
        payload.extend(self.version.to_le_bytes());
        let mut checksum = Crc::default();
        checksum.update(&payload);
        payload.extend(checksum.value().to_le_bytes());
        Ok(payload)
    }

    fn value_of(&mut self, kind: u8) -> io::Result<()> {
        match kind {
            // One string: a string, or something small that is packed into one.
            0 | 9..=13 | 16 | 17 | 20 => self.skip_string(),
            1 | 2 | 14 => self.strings(1),
            4 => self.strings(2),
            3 => self.each(|rdb| {
                rdb.skip_string()?;
                match rdb.byte()? {
                    253..=255 => Ok(()),
                    length => rdb.skip(u64::from(length)),
                }
            }),
            5 => self.each(|rdb| {
                rdb.skip_string()?;
                rdb.skip(8)
            }),
            7 => self.module(),
            18 => self.each(|rdb| {
                rdb.length()?;
                rdb.skip_string()
            }),
            15 | 19 | 21 => self.stream(kind),
            24 => {
                self.skip(8)?;
                self.each(|rdb| {
                    rdb.length()?;
                    rdb.skip_string()?;
                    rdb.skip_string()
                })
            }
            25 => {
                self.skip(8)?;
                self.skip_string()
            }
            _ => Err(odd(&format!("the type {kind} of a value is not known"))),
        }
    }

    fn each(&mut self, mut one: impl FnMut(&mut Self) -> io::Result<()>) -> io::Result<()> {
        let count = self.length()?;
        (0..count).try_for_each(|_| one(self))
    }

    fn strings(&mut self, for_each: usize) -> io::Result<()> {
        self.each(|rdb| (0..for_each).try_for_each(|_| rdb.skip_string()))
    }

    fn lengths(&mut self, count: usize) -> io::Result<()> {
        (0..count).try_for_each(|_| self.length().map(drop))
    }

    fn stream(&mut self, kind: u8) -> io::Result<()> {
        let (is_second, is_third) = (kind >= 19, kind >= 21);
        self.strings(2)?;
        // How many entries, the last one; since then the first, the last that was deleted, and how many were added.
        self.lengths(if is_second { 8 } else { 3 })?;
        self.each(|rdb| {
            rdb.skip_string()?;
            rdb.lengths(if is_second { 3 } else { 2 })?;
            rdb.each(|rdb| {
                rdb.skip(16 + 8)?;
                rdb.length().map(drop)
            })?;
            rdb.each(|rdb| {
                rdb.skip_string()?;
                rdb.skip(if is_third { 16 } else { 8 })?;
                rdb.each(|rdb| rdb.skip(16))
            })
        })
    }

    /// Something of a module: typed pieces up to one that says that it was the last.
    fn module(&mut self) -> io::Result<()> {
        self.length()?;
        loop {
            match self.length()? {
                0 => return Ok(()),
                1 | 2 => drop(self.length()?),
                3 => self.skip(4)?,
                4 => self.skip(8)?,
                5 => self.skip_string()?,
                _ => return Err(odd("a piece of a module's value is not known")),
            }
        }
    }

    fn length(&mut self) -> io::Result<u64> {
        match self.length_or_encoding()? {
            Ok(length) => Ok(length),
            Err(_) => Err(odd("a length is not one")),
        }
    }

    /// A length, or how a string is encoded that has none.
    fn length_or_encoding(&mut self) -> io::Result<Result<u64, u8>> {
        let first = self.byte()?;
        Ok(match (first >> 6, first) {
            (0, _) => Ok(u64::from(first)),
            (1, _) => Ok(u64::from(first & 0x3f) << 8 | u64::from(self.byte()?)),
            (_, 0x80) => Ok(big_endian(&self.bytes(4)?)),
            (_, 0x81) => Ok(big_endian(&self.bytes(8)?)),
            (3, _) => Err(first & 0x3f),
            _ => return Err(odd("a length is not one")),
        })
    }

    fn skip_string(&mut self) -> io::Result<()> {
        match self.length_or_encoding()? {
            Ok(length) => self.skip(length),
            Err(size @ 0..=2) => self.skip(1 << size),
            Err(3) => {
                let packed = self.length()?;
                self.length()?;
                self.skip(packed)
            }
            Err(_) => Err(odd("a string has an unknown encoding")),
        }
    }

    fn string(&mut self) -> io::Result<Vec<u8>> {
        match self.length_or_encoding()? {
            Ok(length) => self.bytes(length),
            Err(size @ 0..=2) => {
                let bytes = self.bytes(1 << size)?;
                let unused = 64 - 8 * bytes.len();
                let number = (little_endian(&bytes) << unused).cast_signed() >> unused;
                Ok(number.to_string().into_bytes())
            }
            Err(3) => {
                let packed = self.length()?;
                let length = self.length()?;
                let bytes = self.bytes(packed)?;
                unpack(&bytes, length).ok_or_else(|| odd("a packed string cannot be unpacked"))
            }
            Err(_) => Err(odd("a string has an unknown encoding")),
        }
    }

    fn byte(&mut self) -> io::Result<u8> {
        Ok(self.bytes(1)?.first().copied().unwrap_or_default())
    }

    fn bytes(&mut self, count: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.take(count, |piece| bytes.extend_from_slice(piece))?;
        Ok(bytes)
    }

    fn skip(&mut self, count: u64) -> io::Result<()> {
        self.take(count, |_| {})
    }

    fn take(&mut self, count: u64, mut see: impl FnMut(&[u8])) -> io::Result<()> {
        if count > STRING_LIMIT_BYTES {
            return Err(odd("a string is longer than one can be"));
        }
        let mut left = count;
        while left > 0 {
            let begin = self.read.len();
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(PASS_BYTES);
            self.read.resize(begin + wanted, 0);
            let piece = self.read.get_mut(begin..).unwrap_or_default();
            self.from.read_exact(piece)?;
            self.checksum.update(piece);
            see(piece);
            if let Some(value) = &mut self.value {
                value.extend_from_slice(piece);
            }
            left -= wanted as u64;
            if self.read.len() >= PASS_BYTES {
                (self.pass)(std::mem::take(&mut self.read))?;
            }
        }
        Ok(())
    }
}

fn odd(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("this is not a whole Redis file: {what}"))
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Unpacks LZF: runs of bytes, and repetitions of what is already there.
fn unpack(packed: &[u8], length: u64) -> Option<Vec<u8>> {
    let mut bytes: Vec<u8> = Vec::new();
    let mut rest = packed.iter().copied();
    while let Some(control) = rest.next() {
        if control < 32 {
            for _ in 0..=control {
                bytes.push(rest.next()?);
            }
            continue;
        }
        let mut count = usize::from(control >> 5);
        if count == 7 {
            count += usize::from(rest.next()?);
        }
        let back = (usize::from(control & 0x1f) << 8 | usize::from(rest.next()?)) + 1;
        let begin = bytes.len().checked_sub(back)?;
        for at in begin..begin + count + 2 {
            bytes.push(*bytes.get(at)?);
        }
        if bytes.len() as u64 > length {
            return None;
        }
    }
    (bytes.len() as u64 == length).then_some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(file: &[u8]) -> io::Result<(Vec<Item>, Vec<u8>)> {
        let (mut items, mut passed) = (Vec::new(), Vec::new());
        let rdb = Rdb::new(file, |piece| {
            passed.extend(piece);
            Ok(())
        });
        rdb.read(true, |item| {
            items.push(item);
            Ok(())
        })?;
        Ok((items, passed))
    }

    fn file() -> Vec<u8> {
        let mut file = b"REDIS0011\xfe\x02\xfc\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01k\x05value".to_vec();
        file.extend(b"\x00\xc1\xfe\xff\x02no\xff");
        let mut checksum = Crc::default();
        checksum.update(&file);
        file.extend(checksum.value().to_le_bytes());
        file
    }

    #[test]
    fn keys_of_all_encodings_are_found_and_a_cut_is_noticed() {
        let file = file();
        let (items, passed) = read(&file).unwrap();
        assert_eq!(passed, file);
        let names: Vec<(&[u8], Option<u64>)> = items
            .iter()
            .filter_map(|item| match item {
                Item::Key { database: 2, name, expires_at_milliseconds, .. } => {
                    Some((&name[..], *expires_at_milliseconds))
                }
                _ => None,
            })
            .collect();
        assert_eq!(names, [(&b"k"[..], Some(1)), (b"-2", None)]);
        for end in 0..file.len() {
            assert!(read(&file[..end]).is_err(), "{end}");
        }
        for at in 9..file.len() {
            let mut rotten = file.clone();
            rotten[at] ^= 0x10;
            assert!(read(&rotten).is_err(), "{at}");
        }
    }

    #[test]
    fn packed_strings_are_unpacked() {
        assert_eq!(unpack(b"\x01ab\x20\x01\x00c", 6).unwrap(), b"ababac");
        assert_eq!(unpack(b"\x00a\xe0\x05\x00", 15).unwrap(), b"aaaaaaaaaaaaaaa");
        assert!(unpack(b"\x20\x00", 3).is_none());
        assert!(unpack(b"\x05ab", 6).is_none());
        assert!(unpack(b"\x00a", 2).is_none());
    }
}
