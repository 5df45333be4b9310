//! Files with a pattern in each line, as restic's `--exclude-file` and `--files-from` read them.
//!
//! White space around a line is dropped, empty lines and lines that start with `#` are left out, `$NAME` and `${NAME}`
//! stand for environment variables and `$$` for a dollar sign. A byte order mark is honoured.

use std::path::{Path, PathBuf};

/// The longest pattern file that is read; a longer one is a mistake, such as the name of a disk image.
const PATTERN_FILE_BYTES_MAX: u64 = 64 << 20;

/// A pattern file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read patterns from `{path}`: {why}", path = path.display())]
pub struct PatternFileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

/// Reads a file of patterns; `variable` answers what an environment variable holds.
pub fn read_pattern_file(
    path: &Path,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Vec<u8>>, PatternFileError> {
    let refused = |why: String| PatternFileError { path: path.to_owned(), why };
    let length = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?.len();
    if length > PATTERN_FILE_BYTES_MAX {
        return Err(refused(format!("it has {length} bytes, more than the {PATTERN_FILE_BYTES_MAX} allowed")));
    }
    let bytes = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
    parse_pattern_file(&bytes, variable).map_err(|why| refused(why.to_owned()))
}

/// The patterns in the bytes of a pattern file.
pub fn parse_pattern_file(
    bytes: &[u8],
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Vec<u8>>, &'static str> {
    let text = without_byte_order_mark(bytes)?;
    let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let patterns = lines.filter(|line| !line.is_empty() && line.first() != Some(&b'#'));
    Ok(patterns.map(|line| expand(line, &variable)).filter(|pattern| !pattern.is_empty()).collect())
}

fn without_byte_order_mark(bytes: &[u8]) -> Result<std::borrow::Cow<'_, [u8]>, &'static str> {
    if let Some(text) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        return Ok(text.into());
    }
    let (units, big_endian) = match bytes {
        [0xfe, 0xff, units @ ..] => (units, true),
        [0xff, 0xfe, units @ ..] => (units, false),
        _ => return Ok(bytes.into()),
    };
    let word = |pair| if big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) };
    let (pairs, odd) = units.as_chunks::<2>();
    if !odd.is_empty() {
        return Err("it is marked as UTF-16 and has an odd number of bytes");
    }
    let text: Result<String, _> = char::decode_utf16(pairs.iter().map(|&pair| word(pair))).collect();
    text.map(|text| text.into_bytes().into()).map_err(|_| "it is marked as UTF-16 and is not")
}

/// Replaces variables as a shell would; one that is not set is nothing, a `$` that starts no name stays.
fn expand(line: &[u8], variable: &impl Fn(&str) -> Option<String>) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(dollar) = rest.iter().position(|&byte| byte == b'$') {
        let (before, after) = (rest.get(..dollar).unwrap_or_default(), rest.get(dollar + 1..).unwrap_or_default());
        out.extend_from_slice(before);
        let (name, length) = variable_name(after);
        match (name, length) {
            (b"$", _) => out.push(b'$'),
            (b"", 0) => out.push(b'$'),
            _ => {
                let value = std::str::from_utf8(name).ok().and_then(variable);
                out.extend_from_slice(value.unwrap_or_default().as_bytes());
            }
        }
        rest = after.get(length..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

/// The name that follows a `$`, and how many bytes it takes; `{}` and an open `{` are eaten, as in Go.
fn variable_name(text: &[u8]) -> (&[u8], usize) {
    match text.first() {
        Some(b'{') => match text.iter().position(|&byte| byte == b'}') {
            Some(end) => (text.get(1..end).unwrap_or_default(), end + 1),
            None => (b"", 1),
        },
        Some(byte) if b"*#$@!?-0123456789".contains(byte) => (text.get(..1).unwrap_or_default(), 1),
        _ => {
            let length = text.iter().take_while(|&&byte| byte == b'_' || byte.is_ascii_alphanumeric()).count();
            (text.get(..length).unwrap_or_default(), length)
        }
    }
}
