//! What a compressor meets on servers: SQL dumps, access logs, application logs, JSON lines.
//!
//! Words come from this machine's documentation, because made-up words have made-up frequencies; where there is none,
//! words are made up. Each line carries a token that does not repeat, so that zstd at level 3 leaves about 0.37 of it, as
//! with real dumps. A twentieth of each file repeats an earlier stretch of the same file at an odd offset, long enough
//! for a chunker to find.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::files_below;
use super::random::{Random, SEED};

const TEXT_FILES: usize = 16;
const DOCUMENTATION: &str = "/usr/share/doc";
/// How much documentation is read, and how many words are kept.
const DOCUMENTS_MAX: usize = 400;
const WORDS_MAX: usize = 20_000;
const MADE_UP_WORDS: usize = 8000;
/// A file repeats itself in three places, a sixtieth of its length each: a twentieth in all.
const REPEATS: usize = 3;
const REPEATED_SHARE: usize = 60;

pub(super) fn write_text(folder: &Path, bytes: usize) -> io::Result<()> {
    let words = words();
    for number in 0..TEXT_FILES {
        let text = text(bytes / TEXT_FILES, number, &words);
        fs::write(folder.join(format!("text-{number:02}.log")), &text)?;
    }
    Ok(())
}

/// One file of about `bytes` bytes; its number decides of what sort.
fn text(bytes: usize, number: usize, words: &[String]) -> Vec<u8> {
    let mut random = Random::new(SEED ^ number as u64);
    let mut text = Vec::with_capacity(bytes + bytes / REPEATED_SHARE + 4096);
    let mut line = 0;
    let mut repeated = 0;
    while text.len() < bytes {
        line += 1;
        push_line(&mut text, number, line, words, &mut random);
        let length = bytes / REPEATED_SHARE;
        let due = bytes / (REPEATS + 1) * (repeated + 1);
        if repeated < REPEATS && text.len() >= due && due > length {
            let start = random.below(text.len() - length) | 1;
            let end = (start + length).min(text.len());
            text.extend_from_within(start..end);
            repeated += 1;
        }
    }
    text
}

fn words() -> Vec<String> {
    let mut found = std::collections::BTreeSet::new();
    for path in files_below(Path::new(DOCUMENTATION)).unwrap_or_default().iter().take(DOCUMENTS_MAX) {
        // Compressed documentation is no text and is passed over here.
        let text = fs::read_to_string(path).unwrap_or_default();
        let candidates = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| (3..13).contains(&word.len()));
        found.extend(candidates.map(str::to_lowercase));
    }
    let mut random = Random::new(SEED);
    if found.len() < MADE_UP_WORDS / 4 {
        return (0..MADE_UP_WORDS).map(|_| made_up_word(&mut random)).collect();
    }
    // Shuffled, so that the words that are favoured are not all from the front of the alphabet.
    let mut words: Vec<String> = found.into_iter().collect();
    for place in (1..words.len()).rev() {
        words.swap(place, random.below(place + 1));
    }
    words.truncate(WORDS_MAX);
    words
}

fn made_up_word(random: &mut Random) -> String {
    let syllables = ["ba", "ke", "lo", "mi", "nu", "ra", "se", "ti", "vo", "wen", "sch", "port"];
    (0..2 + random.below(3)).map(|_| syllables[random.below(syllables.len())]).collect()
}

fn push_line(text: &mut Vec<u8>, number: usize, line: u64, words: &[String], random: &mut Random) {
    let mut word = || {
        // The product of two dice favours the words at the front, as language does.
        words[random.below(words.len()) * random.below(words.len()) / words.len()].as_str()
    };
    let (a, b, c, d, e, f) = (word(), word(), word(), word(), word(), word());
    let (token, more, size) = (random.next(), random.next(), random.below(90_000));
    let (second, address) = (line / 7, token >> 40);
    let time = format!(
        "2026-11-{:02}T{:02}:{:02}:{:02}",
        1 + second / 86_400 % 28,
        second / 3600 % 24,
        second / 60 % 60,
        second % 60
    );
    let [.., w, x, y, z] = address.to_be_bytes();
    let written = match number % 4 {
        0 => {
            writeln!(
                text,
                "INSERT INTO `{a}` VALUES ({line},'{b} {c} {d} {e}','{f}',{size},'{time}','{token:016x}{more:016x}');"
            )
        }
        1 => writeln!(
            text,
            "{w}.{x}.{y}.{z} - - [{time}] \"GET /{a}/{b}/{c}?id={token:x}{more:x} HTTP/1.1\" 200 {size} \"{d} {e}\""
        ),
        2 => writeln!(
            text,
            "{time}.{:03} INFO {a}.{b}: {c} {d} {e} {f} request={token:016x}{more:016x} took {size} us",
            token % 1000
        ),
        _ => writeln!(
            text,
            "{{\"time\":\"{time}Z\",\"id\":{line},\"kind\":\"{a}\",\"text\":\"{b} {c} {d} {e} {f}\",\"trace\":\"{token:016x}{more:016x}\",\"bytes\":{size}}}"
        ),
    };
    // Writing into memory does not fail.
    debug_assert!(written.is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_up() -> Vec<String> {
        let mut random = Random::new(1);
        (0..500).map(|_| made_up_word(&mut random)).collect()
    }

    #[test]
    fn text_is_lines_of_four_sorts() {
        for (number, mark) in ["INSERT INTO", "HTTP/1.1", "INFO", "\"trace\""].into_iter().enumerate() {
            let mut line = Vec::new();
            push_line(&mut line, number, 7, &made_up(), &mut Random::new(SEED));
            let line = String::from_utf8(line).unwrap();
            assert!(line.ends_with('\n') && line.is_ascii() && line.contains(mark), "{line}");
        }
    }

    #[test]
    fn it_compresses_as_real_dumps_do() {
        let words = words();
        let mut compressor = format::Compressor::new(format::Compression::Auto);
        let (mut plain, mut packed) = (0, 0);
        for number in 0..4 {
            let text = text(1 << 20, number, &words);
            plain += text.len();
            packed += compressor.compress(&text).map_or(text.len(), |packed| packed.len());
        }
        let part = packed as f64 / plain as f64;
        println!("zstd at level 3 leaves {part:.3}");
        assert!((0.32..0.42).contains(&part), "{part}");
    }

    #[test]
    fn a_twentieth_repeats_and_the_length_is_as_asked() {
        let bytes = 600_000;
        let text = text(bytes, 3, &made_up());
        assert!((bytes..bytes + 2000).contains(&text.len()), "{}", text.len());
        // A line holds a token that does not come twice by chance, so lines that do are repeats.
        let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').filter(|line| line.len() > 60).collect();
        let all = lines.len();
        lines.sort_unstable();
        lines.dedup();
        let repeated = (all - lines.len()) as f64 / all as f64;
        assert!((0.03..0.07).contains(&repeated), "{repeated}");
    }
}
