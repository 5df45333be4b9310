//! The `Range` header, as far as clients of this protocol use it: one range of bytes.

use super::answers::Trouble;

/// The part of a file that was asked for: from here, so many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// Which part of a file of `bytes` is asked for; nothing when it is the whole.
///
/// Several ranges at once are answered with the whole file, which the protocol of HTTP allows and no client of this one
/// asks for. Everything else is judged as restic's server does.
pub(super) fn parse(header: &str, bytes: u64) -> Result<Option<Part>, Trouble> {
    let Some(set) = header.strip_prefix("bytes=") else { return Err(Trouble::Range(None)) };
    if set.contains(',') {
        return Ok(None);
    }
    let (first, last) = set.trim().split_once('-').ok_or(Trouble::Range(None))?;
    if first.is_empty() {
        let length = number(last)?.min(bytes);
        if length == 0 {
            return Err(Trouble::Range(Some(bytes)));
        }
        return Ok(Some(Part { offset: bytes - length, length }));
    }
    let offset = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < offset {
        return Err(Trouble::Range(None));
    }
    if offset >= bytes {
        return Err(Trouble::Range(Some(bytes)));
    }
    Ok(Some(Part { offset, length: last.min(bytes - 1) - offset + 1 }))
}

/// Digits only: a sign is no part of a range.
fn number(text: &str) -> Result<u64, Trouble> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Trouble::Range(None));
    }
    text.parse().map_err(|_| Trouble::Range(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_file() {
        for (header, bytes, part) in [
            ("bytes=0-0", 3, (0, 1)),
            ("bytes=1-", 3, (1, 2)),
            ("bytes=1-100", 3, (1, 2)),
            ("bytes=-2", 3, (1, 2)),
            ("bytes=-9", 3, (0, 3)),
            ("bytes=0-18446744073709551615", 3, (0, 3)),
        ] {
            let (offset, length) = part;
            assert_eq!(parse(header, bytes).unwrap(), Some(Part { offset, length }), "{header}");
        }
        assert_eq!(parse("bytes=0-0,2-2", 3).unwrap(), None);
    }

    #[test]
    fn what_is_no_part() {
        for header in ["bytes=x", "lines=1-2", "bytes=2-1", "bytes=+1-2", "bytes=1", "bytes=", "bytes=-", "bytes=1--2"]
        {
            assert!(matches!(parse(header, 3), Err(Trouble::Range(None))), "{header}");
        }
        for (header, bytes) in [("bytes=3-", 3), ("bytes=5-9", 3), ("bytes=0-0", 0), ("bytes=-0", 3), ("bytes=-1", 0)] {
            assert!(matches!(parse(header, bytes), Err(Trouble::Range(Some(_)))), "{header}");
        }
    }
}
