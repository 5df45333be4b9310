//! Plain data from a seed: files and trees that are the same on every machine.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::random::Random;

const PIECE_BYTES: usize = 1 << 16;

/// How many words the invented language has; few enough that text compresses as prose does.
const VOCABULARY: u64 = 4096;

/// Writes a file of noise: it neither compresses nor holds anything twice.
///
/// # Errors
/// When the file cannot be written.
pub fn random_file(path: &Path, bytes: u64, seed: u64) -> io::Result<()> {
    let mut random = Random::new(seed);
    write_file(path, bytes, |piece| random.fill(piece))
}

/// Writes a file of words and lines, which compresses to about a third.
///
/// # Errors
/// When the file cannot be written.
pub fn text_file(path: &Path, bytes: u64, seed: u64) -> io::Result<()> {
    let mut random = Random::new(seed);
    let mut rest: Vec<u8> = Vec::new();
    write_file(path, bytes, |piece| {
        while rest.len() < piece.len() {
            push_word(&mut rest, &mut random);
        }
        let (now, later) = rest.split_at(piece.len());
        piece.copy_from_slice(now);
        rest = later.to_vec();
    })
}

fn push_word(text: &mut Vec<u8>, random: &mut Random) {
    // The square makes some words common and most of them rare.
    let rank = random.below(VOCABULARY);
    let mut letters = Random::new(rank * rank / VOCABULARY);
    for _ in 0..2 + letters.below(9) {
        text.push(b'a' + u8::try_from(letters.below(26)).unwrap_or(0));
    }
    text.push(if random.chance(12) { b'\n' } else { b' ' });
}

fn write_file(path: &Path, bytes: u64, mut fill: impl FnMut(&mut [u8])) -> io::Result<()> {
    let mut file = BufWriter::new(fs::File::create(path)?);
    let mut piece = vec![0; PIECE_BYTES];
    let mut left = bytes;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        if let Some(piece) = piece.get_mut(..now) {
            fill(piece);
            file.write_all(piece)?;
        }
        left -= now as u64;
    }
    file.flush()
}

/// Fills the folder `root` with `files` files in a tree of folders of up to a hundred entries: text, noise, empty
/// files and repeated ones, most of them small and a few of up to `largest_bytes`. Returns the bytes written.
///
/// # Errors
/// When something cannot be written.
pub fn tree(root: &Path, files: usize, largest_bytes: u64, seed: u64) -> io::Result<u64> {
    let mut random = Random::new(seed);
    let mut total = 0;
    for number in 0..files {
        let folder = root.join(format!("d{:03}", number / 10_000)).join(format!("e{:02}", number / 100 % 100));
        fs::create_dir_all(&folder)?;
        // Powers of two below the largest: as many files of some bytes as of some kibibytes.
        let magnitude = random.below(u64::from(largest_bytes.max(1).ilog2()) + 1);
        let bytes = random.below((2u64 << magnitude).min(largest_bytes + 1));
        let (name, content) = (format!("f{number:06}"), random.number());
        total += bytes;
        match random.below(10) {
            0 => fs::write(folder.join(name + ".empty"), [])?,
            1..=3 => random_file(&folder.join(name + ".bin"), bytes, content)?,
            // A small choice of seeds, so that some files are equal.
            4 => random_file(&folder.join(name + ".same"), 4096, content % 16)?,
            _ => text_file(&folder.join(name + ".txt"), bytes, content)?,
        }
    }
    Ok(total)
}

/// Fills the folder `root` with `files` files of up to a kibibyte.
///
/// # Errors
/// When something cannot be written.
pub fn small_files(root: &Path, files: usize, seed: u64) -> io::Result<u64> {
    tree(root, files, 1 << 10, seed)
}
