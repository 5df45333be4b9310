//! The part of a recovery kit that a machine reads: the sealed `config` and a key file, as lines of text that survive
//! paper.
//!
//! Each line ends with a checksum of its own, so that whoever types it in is told which line is wrong; the last line is
//! a checksum of everything. Nothing in it can be opened without the passphrase.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use format::{FileKind, FileName};

use crate::copies::Holders;
use crate::copies::add::sound_config;
use crate::error::{Error, Result};
use crate::repository::Repository;

const BEGIN: &str = "-----BEGIN TRIPLICATE KIT-----";
const END: &str = "-----END TRIPLICATE KIT-----";

/// Characters of one line, in groups for the eye.
const LINE_CHARACTERS: usize = 48;
const GROUP_CHARACTERS: usize = 8;

/// Digits of a line's own checksum.
const MARK_DIGITS: usize = 4;

/// A kit is a page; more is none.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// The sealed `config` and the key file that go with a passphrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KitFiles {
    /// The bytes of `config`.
    pub config: Bytes,
    /// The bytes of a key file.
    pub key: Bytes,
}

impl KitFiles {
    /// The files of an open repository: its `config`, and the key by which it was opened.
    pub fn of(repository: &Repository) -> Result<Self> {
        let copies = repository.copies();
        let key = copies.read_whole(FileName::new(FileKind::Key, repository.key_id()), Holders::ALL)?;
        Ok(Self { config: sound_config(repository)?, key })
    }

    /// As lines of text.
    pub fn to_text(&self) -> String {
        let mut text = format!("{BEGIN}\n");
        for (word, bytes) in [("config", &self.config), ("key", &self.key)] {
            let encoded = BASE64.encode(bytes);
            for (number, line) in encoded.as_bytes().chunks(LINE_CHARACTERS).enumerate() {
                let line = String::from_utf8_lossy(line);
                text.push_str(&format!("{word:<6} {:>2} ", number + 1));
                for group in line.as_bytes().chunks(GROUP_CHARACTERS) {
                    text.push_str(&String::from_utf8_lossy(group));
                    text.push(' ');
                }
                text.push_str(&mark(word, number + 1, &line));
                text.push('\n');
            }
        }
        text.push_str(&format!("sum {}\n{END}\n", self.sum()));
        text
    }

    fn sum(&self) -> String {
        format::hash(&[self.config.as_ref(), self.key.as_ref()].concat()).to_hex()
    }

    /// Finds the lines in a text and reads them.
    pub fn parse(text: &str) -> Result<Self> {
        let refused = |why: String| Error::Request(format!("the recovery kit cannot be read: {why}"));
        if text.len() > TEXT_BYTES_MAX {
            return Err(refused(format!("it has {} bytes", text.len())));
        }
        let lines = text.lines().map(str::trim).skip_while(|line| *line != BEGIN).skip(1);
        let lines: Vec<&str> = lines.take_while(|line| *line != END).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() {
            return Err(refused(format!("there is no line `{BEGIN}` in it; kits of older versions have none")));
        }
        let (mut config, mut key, mut sum) = (String::new(), String::new(), None);
        let (mut config_lines, mut key_lines) = (0, 0);
        for line in lines {
            let mut words: Vec<&str> = line.split_whitespace().collect();
            let unreadable = || refused(format!("the line `{line}` is not one of a kit"));
            let word = *words.first().ok_or_else(unreadable)?;
            if word == "sum" {
                sum = words.get(1).map(|sum| (*sum).to_owned());
                continue;
            }
            let (encoded, count) = match word {
                "config" => (&mut config, &mut config_lines),
                "key" => (&mut key, &mut key_lines),
                _ => return Err(unreadable()),
            };
            let said = words.pop().ok_or_else(unreadable)?;
            let number: usize = words.get(1).and_then(|number| number.parse().ok()).ok_or_else(unreadable)?;
            let data = words.get(2..).unwrap_or_default().concat();
            *count += 1;
            if number != *count {
                return Err(refused(format!("line `{word} {count}` is missing")));
            }
            if mark(word, number, &data) != said.to_ascii_lowercase() {
                return Err(refused(format!("line `{word} {number}` has a wrong character in it")));
            }
            encoded.push_str(&data);
        }
        let decode = |word: &str, text: &str| {
            BASE64.decode(text).map(Bytes::from).map_err(|error| refused(format!("`{word}`: {error}")))
        };
        let kit = Self { config: decode("config", &config)?, key: decode("key", &key)? };
        match sum {
            Some(sum) if sum == kit.sum() => Ok(kit),
            Some(_) => Err(refused("lines are missing: its sum is another one".to_owned())),
            None => Err(refused("its last line is missing".to_owned())),
        }
    }
}

fn mark(word: &str, number: usize, data: &str) -> String {
    let hash = format::hash(format!("{word} {number} {data}").as_bytes()).to_hex();
    hash.get(..MARK_DIGITS).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn kit() -> KitFiles {
        let bytes = |count: u8| (0..count).map(|number| number.wrapping_mul(37)).collect::<Vec<u8>>().into();
        KitFiles { config: bytes(187), key: bytes(255) }
    }

    #[test]
    fn what_was_printed_reads_back_whatever_stands_around_it() {
        let text = kit().to_text();
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        assert_eq!(KitFiles::parse(&text).unwrap(), kit());
        let around = format!("RECOVERY KIT\n\nconfig of something\n\n{}\nmore\n", text.replace('\n', "  \r\n"));
        assert_eq!(KitFiles::parse(&around).unwrap(), kit());
    }

    #[test]
    fn a_wrong_character_names_its_line_and_a_lost_line_is_noticed() {
        let text = kit().to_text();
        let lines: Vec<&str> = text.lines().collect();
        for number in 1..lines.len() - 1 {
            let mut without = lines.clone();
            without.remove(number);
            assert!(KitFiles::parse(&without.join("\n")).is_err(), "{number}");
            let wrong: String = lines[number].chars().rev().collect();
            let mut changed = lines.clone();
            changed[number] = &wrong;
            assert!(KitFiles::parse(&changed.join("\n")).is_err(), "{number}");
        }
        let at = text.find("key     1 ").unwrap() + 12;
        let other = if &text[at..=at] == "A" { "B" } else { "A" };
        let mut changed = text.clone();
        changed.replace_range(at..=at, other);
        let error = KitFiles::parse(&changed).unwrap_err().to_string();
        assert!(error.contains("line `key 1` has a wrong character"), "{error}");
        assert!(KitFiles::parse("RECOVERY KIT").unwrap_err().to_string().contains("no line"));
    }
}
