//! zstd, with contexts that are reused: making one costs more than compressing a small file.
//!
//! `auto` compresses as restic does while it has time to, and saves a sixth of the time where the processor is what a
//! backup waits for ([`Compressor::spare_cpu`]).
//!
//! Decompression is where a few hostile bytes could take all memory, so it always has a limit, and a declared length
//! that zstd could not reach from the bytes at hand is refused before anything is allocated.

use std::fmt;
use std::io::Cursor;
use std::str::FromStr;

use zstd::zstd_safe::{self, CCtx, CParameter, DCtx};

use crate::error::{FormatError, Result};
use crate::randomness::looks_random;

/// How hard to compress; restic's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// Chunks of files are stored as they are. Listings and unpacked files of a version 2 repository are still
    /// compressed, as restic does.
    Off,
    /// zstd level 1.
    Fastest,
    /// zstd level 3, or somewhat less where the processor is what the backup waits for.
    #[default]
    Auto,
    /// zstd level 7.
    Better,
    /// zstd level 12: about the effort that restic's own zstd makes for this word, not zstd's slowest.
    Max,
}

impl Compression {
    /// All words, in order of effort.
    pub const ALL: [Compression; 5] =
        [Compression::Off, Compression::Fastest, Compression::Auto, Compression::Better, Compression::Max];

    /// zstd's level. [`Compression::Off`] has one too, for what is compressed all the same.
    pub const fn level(self) -> i32 {
        match self {
            Compression::Fastest => 1,
            Compression::Off | Compression::Auto => 3,
            Compression::Better => 7,
            Compression::Max => 12,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Compression::Off => "off",
            Compression::Fastest => "fastest",
            Compression::Auto => "auto",
            Compression::Better => "better",
            Compression::Max => "max",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Compression {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|word| word.word() == text).ok_or_else(|| {
            FormatError::malformed("compression", "`off`, `fastest`, `auto`, `better` and `max` are known")
        })
    }
}

/// Up to this length, level 1 loses to level 3 less than 1 % and takes three quarters of its time. Measured on source
/// texts, documents and programs; see `bench/NOTES.md`.
const TINY_BYTES_MAX: usize = 16 << 10;

/// Up to this length, level 2 loses to level 3 about 1 % and takes five sixths of its time.
const SHORT_BYTES_MAX: usize = 256 << 10;

/// What zstd is told. 0 leaves it to the level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Effort {
    level: i32,
    hash_log: u32,
    min_match: u32,
}

impl Effort {
    const fn level(level: i32) -> Self {
        Self { level, hash_log: 0, min_match: 0 }
    }

    /// What `auto` does for a message of this length where time is short. Longer ones are text in most cases: a
    /// fast search with a table as large as level 3's comes within 0.5 % of it there, in five sixths of its time.
    const fn sparing(length: usize) -> Self {
        if length <= TINY_BYTES_MAX {
            Self::level(1)
        } else if length <= SHORT_BYTES_MAX {
            Self::level(2)
        } else {
            Self { level: 2, hash_log: 17, min_match: 6 }
        }
    }
}

/// Compresses one message after the other with one context.
pub struct Compressor {
    compression: Compression,
    spares_cpu: bool,
    /// What the context was last told.
    effort: Effort,
    context: CCtx<'static>,
    scratch: Vec<u8>,
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").field("compression", &self.compression).finish_non_exhaustive()
    }
}

impl Compressor {
    /// A context for this effort. Frames carry their length and no checksum: a mac and a hash are around them.
    pub fn new(compression: Compression) -> Self {
        let mut context = CCtx::create();
        // A level within zstd's range is always accepted; were it not, zstd's default is level 3.
        let effort = Effort::level(compression.level());
        let _ = context.set_parameter(CParameter::CompressionLevel(effort.level));
        let _ = context.set_parameter(CParameter::ContentSizeFlag(true));
        Self { compression, spares_cpu: false, effort, context, scratch: Vec::new() }
    }

    /// Tells that the processor is what everything waits for, or that it is not. [`Compression::Auto`] heeds it: a
    /// sixth less time for one or two hundredths more bytes, and no try at what looks random. The other words say what
    /// the user wants.
    pub fn spare_cpu(&mut self, yes: bool) {
        self.spares_cpu = yes && self.compression == Compression::Auto;
    }

    /// Sets the context for a message of this length.
    fn adapt(&mut self, length: usize) {
        let effort = if self.spares_cpu { Effort::sparing(length) } else { Effort::level(self.compression.level()) };
        if effort != self.effort {
            let Effort { level, hash_log, min_match } = effort;
            let _ = self.context.set_parameter(CParameter::CompressionLevel(level));
            let _ = self.context.set_parameter(CParameter::HashLog(hash_log));
            let _ = self.context.set_parameter(CParameter::MinMatch(min_match));
            self.effort = effort;
        }
    }

    /// The effort it was made for.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The compressed form; none when the plain text is to be stored as it is, because that is not longer or because
    /// compression is off.
    pub fn compress(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        let smaller = self.compress_into(plain, &mut out).then(|| out.as_slice().to_vec());
        self.scratch = out;
        smaller
    }

    /// Appends the compressed form to `out`; false, with `out` as it was, when the plain text is to be stored as it
    /// is.
    pub fn compress_into(&mut self, plain: &[u8], out: &mut Vec<u8>) -> bool {
        self.compression != Compression::Off && self.append_if_smaller(plain, out)
    }

    /// As [`Compressor::compress_into`], and for [`Compression::Off`] too.
    pub(crate) fn append_if_smaller(&mut self, plain: &[u8], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        if plain.is_empty() || (self.spares_cpu && looks_random(plain)) {
            return false;
        }
        let smaller = self.append(plain, out) && out.len() - start < plain.len();
        if !smaller {
            out.truncate(start);
        }
        smaller
    }

    /// Appends a frame whatever its length; false only when zstd failed.
    pub(crate) fn append(&mut self, plain: &[u8], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        self.adapt(plain.len());
        out.reserve(zstd_safe::compress_bound(plain.len()));
        // A cursor writes behind what is there, into spare capacity that nobody has to zero first.
        let mut cursor = Cursor::new(std::mem::take(out));
        cursor.set_position(start as u64);
        let done = self.context.compress2(&mut cursor, plain).is_ok();
        *out = cursor.into_inner();
        if !done {
            out.truncate(start);
        }
        done
    }
}

/// Decompresses one message after the other with one context.
pub struct Decompressor {
    context: DCtx<'static>,
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decompressor")
    }
}

impl Default for Decompressor {
    fn default() -> Self {
        Self::new()
    }
}

/// The most that one compressed byte can stand for: zstd's shortest block has 4 bytes and yields 128 KiB.
const EXPANSION_MAX: usize = 128 << 10 >> 2;

/// First guess for the length of a frame that does not tell it.
const GUESS_FACTOR: usize = 4;

impl Decompressor {
    /// A new context.
    pub fn new() -> Self {
        Self { context: DCtx::create() }
    }

    /// The plain text of `bytes`. `expected_bytes`, where something else tells the length, must be met exactly; no
    /// more than `limit` bytes are ever produced.
    pub fn decompress(&mut self, bytes: &[u8], expected_bytes: Option<usize>, limit: usize) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.decompress_into(bytes, expected_bytes, limit, &mut out)?;
        Ok(out)
    }

    /// As [`Decompressor::decompress`], into a buffer that is cleared first and may be used again.
    pub fn decompress_into(
        &mut self,
        bytes: &[u8],
        expected_bytes: Option<usize>,
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        out.clear();
        let declared = match expected_bytes {
            Some(expected) => Some(expected),
            None => frame_length(bytes)?,
        };
        match declared {
            Some(length) => {
                check_reachable(bytes.len(), length, limit)?;
                self.fill(bytes, length, out)?;
                if out.len() != length {
                    let why = format!("{} bytes instead of the declared {length}", out.len());
                    return Err(FormatError::malformed("compressed data", why));
                }
                Ok(())
            }
            None => self.grow(bytes, limit, out),
        }
    }

    /// As [`Decompressor::decompress`], into room of exactly the expected length, whatever it holds.
    pub fn decompress_to(&mut self, bytes: &[u8], room: &mut [u8]) -> Result<()> {
        let expected = room.len();
        let done = self.context.decompress(room, bytes);
        let length = done.map_err(|code| FormatError::malformed("compressed data", zstd_safe::get_error_name(code)))?;
        if length == expected {
            return Ok(());
        }
        let why = format!("{length} bytes instead of the declared {expected}");
        Err(FormatError::malformed("compressed data", why))
    }

    fn fill(&mut self, bytes: &[u8], capacity: usize, out: &mut Vec<u8>) -> Result<()> {
        out.try_reserve_exact(capacity)
            .map_err(|_| FormatError::malformed("compressed data", format!("no memory for its {capacity} bytes")))?;
        if capacity == 0 {
            // A buffer without capacity has no address; zstd needs one even for an empty frame.
            out.reserve(1);
        }
        let done = self.context.decompress(out, bytes);
        done.map_err(|code| FormatError::malformed("compressed data", zstd_safe::get_error_name(code)))?;
        Ok(())
    }

    /// For frames that do not tell their length: twice the room until it is enough or the limit is reached.
    fn grow(&mut self, bytes: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<()> {
        let reachable = bytes.len().saturating_mul(EXPANSION_MAX).min(limit);
        let mut room = bytes.len().saturating_mul(GUESS_FACTOR).clamp(1 << 10, reachable.max(1 << 10));
        loop {
            out.clear();
            let result = self.fill(bytes, room, out);
            if result.is_ok() || room >= reachable {
                let too_long = out.len() > limit;
                return if too_long { Err(too_large(limit)) } else { result };
            }
            room = room.saturating_mul(2).min(reachable);
        }
    }
}

/// The length that the frame header tells, where it does.
fn frame_length(bytes: &[u8]) -> Result<Option<usize>> {
    match zstd_safe::get_frame_content_size(bytes) {
        Ok(length) => Ok(length.map(|length| usize::try_from(length).unwrap_or(usize::MAX))),
        Err(_) => Err(FormatError::malformed("compressed data", "no zstd frame")),
    }
}

fn check_reachable(compressed: usize, declared: usize, limit: usize) -> Result<()> {
    if declared > limit {
        return Err(too_large(limit));
    }
    if declared > compressed.saturating_mul(EXPANSION_MAX) {
        let why = format!("{compressed} bytes cannot stand for the declared {declared}");
        return Err(FormatError::malformed("compressed data", why));
    }
    Ok(())
}

fn too_large(limit: usize) -> FormatError {
    FormatError::TooLarge { what: "decompressed data (bytes)", limit: limit as u64 }
}
