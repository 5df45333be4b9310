//! JSON as Go's `encoding/json` writes it, byte by byte: a tree's text is hashed, so its spelling is its name.
//!
//! Go escapes `<`, `>`, `&`, U+2028 and U+2029, writes each byte that is not UTF-8 as `\ufffd`, and knows short
//! forms for `\b \f \n \r \t`; all other control characters are `\u00xx`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::Id;
use serde_json::{Map, Value};

use crate::moment::Moment;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `text` with its quotes.
pub(crate) fn append_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    append_valid(out, text);
    out.push(b'"');
}

/// Appends bytes that may not be UTF-8, with quotes.
pub(crate) fn append_bytes_as_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        append_valid(out, chunk.valid());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
    out.push(b'"');
}

/// The text that stands for bytes which may not be UTF-8, as Go's JSON makes it: one U+FFFD for each byte that is not.
pub fn lossy_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

fn append_valid(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let plain = !(byte < b' ' || matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2));
        if plain {
            continue;
        }
        if byte == 0xe2 {
            // U+2028 and U+2029 are e2 80 a8 and e2 80 a9.
            let Some(&[0x80, last @ (0xa8 | 0xa9)]) = bytes.get(at + 1..at + 3) else { continue };
            out.extend_from_slice(&bytes[copied..at]);
            out.extend_from_slice(if last == 0xa8 { b"\\u2028" } else { b"\\u2029" });
            copied = at + 3;
            continue;
        }
        out.extend_from_slice(&bytes[copied..at]);
        copied = at + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
    }
    out.extend_from_slice(&bytes[copied..]);
}

/// Appends a whole number.
pub(crate) fn append_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// Appends an id with quotes.
pub(crate) fn append_id(out: &mut Vec<u8>, id: &Id) {
    out.push(b'"');
    for byte in id.as_bytes() {
        out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
    out.push(b'"');
}

/// Appends a list, each item by `append`.
pub(crate) fn append_list<T>(out: &mut Vec<u8>, items: &[T], mut append: impl FnMut(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        append(out, item);
    }
    out.push(b']');
}

fn append_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::String(text) => append_string(out, text),
        Value::Array(items) => append_list(out, items, append_value),
        Value::Object(map) => append_map(out, map),
        // `null`, booleans and numbers have one spelling.
        other => out.extend_from_slice(other.to_string().as_bytes()),
    }
}

/// Appends an object whose fields are in the order in which they were read.
pub(crate) fn append_map(out: &mut Vec<u8>, map: &Map<String, Value>) {
    let mut object = JsonObject::open(out);
    object.unknown(map);
    object.close();
}

/// Writes an object field by field. Names are written as they are: they are this crate's own.
pub(crate) struct JsonObject<'a> {
    out: &'a mut Vec<u8>,
    is_first: bool,
}

impl<'a> JsonObject<'a> {
    pub(crate) fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, is_first: true }
    }

    /// Writes the name and returns where the value goes.
    pub(crate) fn field(&mut self, name: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.is_first) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    pub(crate) fn text(&mut self, name: &str, text: &str) {
        append_string(self.field(name), text);
    }

    /// Left out when empty.
    pub(crate) fn text_if_any(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.text(name, text);
        }
    }

    pub(crate) fn number(&mut self, name: &str, number: u64) {
        append_number(self.field(name), number);
    }

    /// Left out when zero.
    pub(crate) fn number_if_any(&mut self, name: &str, number: u64) {
        if number != 0 {
            self.number(name, number);
        }
    }

    pub(crate) fn time(&mut self, name: &str, time: &Moment) {
        let out = self.field(name);
        out.push(b'"');
        time.append_to(out);
        out.push(b'"');
    }

    pub(crate) fn id(&mut self, name: &str, id: &Id) {
        append_id(self.field(name), id);
    }

    pub(crate) fn id_if_any(&mut self, name: &str, id: Option<&Id>) {
        if let Some(id) = id {
            self.id(name, id);
        }
    }

    pub(crate) fn base64(&mut self, name: &str, bytes: &[u8]) {
        append_base64(self.field(name), bytes);
    }

    pub(crate) fn texts(&mut self, name: &str, texts: &[String]) {
        append_list(self.field(name), texts, |out, text| append_string(out, text));
    }

    /// Left out when empty.
    pub(crate) fn texts_if_any(&mut self, name: &str, texts: &[String]) {
        if !texts.is_empty() {
            self.texts(name, texts);
        }
    }

    /// Fields that another version wrote.
    pub(crate) fn unknown(&mut self, fields: &Map<String, Value>) {
        for (name, value) in fields {
            if !std::mem::take(&mut self.is_first) {
                self.out.push(b',');
            }
            append_string(self.out, name);
            self.out.push(b':');
            append_value(self.out, value);
        }
    }

    pub(crate) fn close(self) {
        self.out.push(b'}');
    }
}

/// Appends bytes as Go writes a `[]byte`: standard base64 with padding, in quotes.
pub(crate) fn append_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(append: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        append(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn strings_are_spelled_as_go_does() {
        let text = "a\"\\<>&/\u{8}\u{c}\n\r\t\u{0}\u{1f}\u{7f}ä\u{2027}\u{2028}\u{2029}\u{202a}€😀\u{fffd}";
        let expected = concat!(
            r#""a\"\\\u003c\u003e\u0026/\b\f\n\r\t\u0000\u001f"#,
            "\u{7f}ä\u{2027}",
            r"\u2028\u2029",
            "\u{202a}€😀\u{fffd}\""
        );
        assert_eq!(written(|out| append_string(out, text)), expected);
        assert_eq!(written(|out| append_bytes_as_string(out, text.as_bytes())), expected);
        assert_eq!(
            written(|out| append_bytes_as_string(out, b"a\xff\xe2\x80b\xed\xa0\x80")),
            r#""a\ufffd\ufffd\ufffdb\ufffd\ufffd\ufffd""#
        );
        assert_eq!(lossy_text(b"a\xe2\x80b"), "a\u{fffd}\u{fffd}b");
    }

    #[test]
    fn numbers_have_all_their_digits() {
        for number in [0, 1, 9, 10, 1_234_567_890, u64::MAX] {
            assert_eq!(written(|out| append_number(out, number)), number.to_string());
        }
    }
}
