//! How restic spells an entry's name: the inside of a Go string literal, so that any bytes fit into JSON.
//!
//! Go leaves alone what it takes for printable (`printable`), escapes the rest by short forms, `\x` for control
//! characters and for bytes that are not UTF-8, `\u` and `\U` for the remaining characters.

use crate::printable::is_printable;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The quoted form of a name, without quotes; always UTF-8.
pub(crate) fn quote(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len() + 8);
    for chunk in name.utf8_chunks() {
        chunk.valid().chars().for_each(|character| quote_character(&mut out, character));
        chunk.invalid().iter().for_each(|&byte| append_hex(&mut out, 'x', u32::from(byte), 2));
    }
    out
}

/// True when the quoted form is the name itself, as for nearly all names.
pub(crate) fn needs_no_quoting(name: &[u8]) -> bool {
    name.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'))
}

fn quote_character(out: &mut String, character: char) {
    match character {
        '"' | '\\' => out.extend(['\\', character]),
        ' '..='~' => out.push(character),
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        '\0'..='\u{1f}' | '\u{7f}' => append_hex(out, 'x', character.into(), 2),
        _ if is_printable(character) => out.push(character),
        '\0'..='\u{ffff}' => append_hex(out, 'u', character.into(), 4),
        _ => append_hex(out, 'U', character.into(), 8),
    }
}

fn append_hex(out: &mut String, mark: char, value: u32, width: u32) {
    out.extend(['\\', mark]);
    for digit in (0..width).rev() {
        out.push(char::from(HEX[(value >> (4 * digit) & 15) as usize]));
    }
}

/// The name that a quoted form stands for; none when it is not the inside of a Go string literal.
pub(crate) fn unquote(quoted: &str) -> Option<Vec<u8>> {
    let mut name = Vec::with_capacity(quoted.len());
    let mut rest = quoted.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b'"' | b'\n' => return None,
            b'\\' => rest = unquote_escape(&mut name, rest)?,
            _ => name.push(byte),
        }
    }
    Some(name)
}

/// Takes what follows a backslash and returns what follows that.
fn unquote_escape<'a>(name: &mut Vec<u8>, rest: &'a [u8]) -> Option<&'a [u8]> {
    let (&mark, behind) = rest.split_first()?;
    let single = match mark {
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 11,
        b'\\' | b'"' => mark,
        b'x' => {
            let (value, behind) = digits(behind, 2, 16)?;
            name.push(u8::try_from(value).ok()?);
            return Some(behind);
        }
        b'0'..=b'7' => {
            let (value, behind) = digits(rest, 3, 8)?;
            name.push(u8::try_from(value).ok()?);
            return Some(behind);
        }
        b'u' | b'U' => {
            let (value, behind) = digits(behind, if mark == b'u' { 4 } else { 8 }, 16)?;
            let character = char::from_u32(value)?;
            name.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(behind);
        }
        _ => return None,
    };
    name.push(single);
    Some(behind)
}

fn digits(text: &[u8], count: usize, radix: u32) -> Option<(u32, &[u8])> {
    let (digits, behind) = text.split_at_checked(count)?;
    let value = digits
        .iter()
        .try_fold(0_u32, |sum, &digit| sum.checked_mul(radix)?.checked_add(char::from(digit).to_digit(radix)?))?;
    Some((value, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelled_as_go_does() {
        let spellings: [(&[u8], &str); 12] = [
            (b"plain name-1.txt", "plain name-1.txt"),
            (b"a\"b\\c'd", "a\\\"b\\\\c'd"),
            (b"\x07\x08\x0c\n\r\t\x0b", "\\a\\b\\f\\n\\r\\t\\v"),
            (b"\x00\x01\x1f\x7f", "\\x00\\x01\\x1f\\x7f"),
            (b"latin\xe9", "latin\\xe9"),
            (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),
            (b"\xf0\x9f\x98", "\\xf0\\x9f\\x98"),
            ("äöü€日😀".as_bytes(), "äöü€日😀"),
            ("\u{fffd}".as_bytes(), "\u{fffd}"),
            ("\u{a0}\u{2028}\u{feff}".as_bytes(), "\\u00a0\\u2028\\ufeff"),
            ("\u{80}".as_bytes(), "\\u0080"),
            ("\u{e0001}\u{10ffff}".as_bytes(), "\\U000e0001\\U0010ffff"),
        ];
        for (name, quoted) in spellings {
            assert_eq!(quote(name), quoted);
            assert_eq!(unquote(quoted).as_deref(), Some(name));
            assert!(!needs_no_quoting(name) || quoted.as_bytes() == name);
        }
        assert_eq!(unquote("\\101\\x42\\u0043\\U00000044").as_deref(), Some(b"ABCD".as_slice()));
    }

    #[test]
    fn what_is_no_literal_is_refused() {
        for wrong in ["\"", "\n", "\\", "\\x4", "\\xg0", "\\400", "\\08", "\\ud800", "\\U00110000", "\\'", "\\u+041"] {
            assert_eq!(unquote(wrong), None, "{wrong}");
        }
    }
}
