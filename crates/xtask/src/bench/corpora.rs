//! What is backed up: random bytes, text that repeats itself as logs and dumps do, a real tree of small files.
//!
//! BIG and TEXT come from a fixed seed and are the same everywhere. TREE is a copy of what this machine has, because
//! made-up trees have made-up properties; so TREE can be compared between tools, not between machines.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::options::Options;

const SEED: u64 = 0x7472_6970_6c69_6361;
const MIB: usize = 1 << 20;
/// BIG is few large files, TEXT some middle ones.
const BIG_FILES: usize = 2;
const TEXT_FILES: usize = 16;
/// Every so many lines, TEXT repeats an earlier stretch of itself at an odd offset (about 5%).
const REPEAT_EVERY_LINES: u64 = 4000;
const REPEAT_BYTES: usize = 24_001;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CorpusKind {
    Big,
    Text,
    Tree,
}

impl CorpusKind {
    pub(super) const ALL: [Self; 3] = [Self::Big, Self::Text, Self::Tree];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Big => "BIG",
            Self::Text => "TEXT",
            Self::Tree => "TREE",
        }
    }

    pub(super) fn parse(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(word));
        found.ok_or_else(|| format!("`{word}` is no corpus: big, text or tree"))
    }
}

/// Data on disk.
#[derive(Debug)]
pub(super) struct Corpus {
    pub(super) kind: CorpusKind,
    pub(super) folder: PathBuf,
    pub(super) files: usize,
    pub(super) bytes: u64,
}

impl Corpus {
    pub(super) fn describe(&self) -> String {
        format!("{} files, {} MiB", self.files, self.bytes / MIB as u64)
    }
}

/// Makes one corpus in `folder`, which must not be there yet.
pub(super) fn make(kind: CorpusKind, options: &Options, folder: &Path) -> Result<Corpus, String> {
    let folder = folder.join(kind.name());
    let cannot = |error: std::io::Error| format!("cannot make corpus {}: {error}", kind.name());
    fs::create_dir_all(&folder).map_err(cannot)?;
    let bytes = options.size_mib * MIB;
    match kind {
        CorpusKind::Big => write_random(&folder, bytes).map_err(cannot)?,
        CorpusKind::Text => write_text(&folder, bytes).map_err(cannot)?,
        CorpusKind::Tree => copy_trees(&folder, options.tree_files)?,
    }
    let mut corpus = Corpus { kind, folder, files: 0, bytes: 0 };
    for path in files_below(&corpus.folder)? {
        corpus.files += 1;
        corpus.bytes += fs::symlink_metadata(&path).map_err(cannot)?.len();
    }
    Ok(corpus)
}

/// SplitMix64: incompressible, reproducible, fast; nobody's security depends on it.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

fn write_random(folder: &Path, bytes: usize) -> std::io::Result<()> {
    let mut random = Random(SEED);
    for number in 0..BIG_FILES {
        let mut file = BufWriter::with_capacity(MIB, File::create(folder.join(format!("random-{number}")))?);
        for _ in 0..bytes / BIG_FILES / 8 {
            file.write_all(&random.next().to_le_bytes())?;
        }
        file.flush()?;
    }
    Ok(())
}

fn write_text(folder: &Path, bytes: usize) -> std::io::Result<()> {
    let mut random = Random(SEED);
    // A few thousand words with uneven frequency: what a compressor meets in logs and dumps.
    let words: Vec<String> = (0..3000).map(|_| made_up_word(&mut random)).collect();
    for number in 0..TEXT_FILES {
        let mut text = Vec::with_capacity(bytes / TEXT_FILES + REPEAT_BYTES);
        let mut line_number = 0_u64;
        while text.len() < bytes / TEXT_FILES {
            line_number += 1;
            push_line(&mut text, number, line_number, &words, &mut random);
            if line_number.is_multiple_of(REPEAT_EVERY_LINES) && text.len() > REPEAT_BYTES {
                let start = random.below(text.len() - REPEAT_BYTES);
                text.extend_from_within(start..start + REPEAT_BYTES);
            }
        }
        fs::write(folder.join(format!("text-{number:02}.log")), &text)?;
    }
    Ok(())
}

fn made_up_word(random: &mut Random) -> String {
    let syllables = ["ba", "ke", "lo", "mi", "nu", "ra", "se", "ti", "vo", "wen", "sch", "port"];
    (0..2 + random.below(3)).map(|_| syllables[random.below(syllables.len())]).collect()
}

fn push_line(text: &mut Vec<u8>, number: usize, line: u64, words: &[String], random: &mut Random) {
    let mut word = || {
        // The product of two dice favours the words at the front.
        let favoured = random.below(words.len()) * random.below(words.len()) / words.len();
        words[favoured].as_str()
    };
    let (a, b, c, d) = (word(), word(), word(), word());
    let token = random.next();
    let size = random.below(90_000);
    let line = match number % 3 {
        0 => format!("INSERT INTO {a} VALUES ({line},'{b} {c}','{d}',{size},'{token:016x}');\n"),
        1 => format!("10.0.{}.{} - {a} \"GET /{b}/{c} HTTP/1.1\" 200 {size}\n", size % 256, token % 256),
        _ => format!("{{\"id\":{line},\"kind\":\"{a}\",\"text\":\"{b} {c} {d}\",\"trace\":\"{token:016x}\"}}\n"),
    };
    text.extend_from_slice(line.as_bytes());
}

/// Trees that a machine with a compiler has; those that are missing are left out.
fn tree_sources() -> Vec<PathBuf> {
    let mut sources = vec![PathBuf::from("/usr/share"), PathBuf::from("/usr/include")];
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output();
    if let Ok(output) = sysroot {
        sources.insert(0, Path::new(String::from_utf8_lossy(&output.stdout).trim()).join("share"));
    }
    sources.retain(|source| source.is_dir());
    sources
}

fn copy_trees(folder: &Path, files_max: usize) -> Result<(), String> {
    let sources = tree_sources();
    let mut copied = 0;
    for (number, source) in sources.iter().enumerate() {
        // Each source gets its share of what is left, so that a small limit still has something of everything.
        let share = copied + (files_max - copied) / (sources.len() - number);
        for path in files_below(source)? {
            if copied == share {
                break;
            }
            copied += usize::from(copy_entry(&path, source, &folder.join(number.to_string()))?);
        }
    }
    if copied == 0 { Err("this machine has no tree to copy for TREE".to_owned()) } else { Ok(()) }
}

/// Copies a file or link, with its time; what cannot be read is left out.
fn copy_entry(path: &Path, source: &Path, folder: &Path) -> Result<bool, String> {
    let cannot = |error: std::io::Error| format!("cannot copy `{}`: {error}", path.display());
    let target = folder.join(path.strip_prefix(source).unwrap_or(path));
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(cannot)?;
    }
    if let Ok(link) = fs::read_link(path) {
        return std::os::unix::fs::symlink(link, &target).map(|()| true).map_err(cannot);
    }
    let Ok(mut reader) = File::open(path) else { return Ok(false) };
    let mut writer = File::create(&target).map_err(cannot)?;
    std::io::copy(&mut reader, &mut writer).map_err(cannot)?;
    if let Ok(time) = reader.metadata().and_then(|metadata| metadata.modified()) {
        writer.set_modified(time).map_err(cannot)?;
    }
    Ok(true)
}

/// Regular files and links below a folder, in order; folders that cannot be read are left out.
pub(super) fn files_below(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let entry = entry.map_err(|error| format!("cannot read `{}`: {error}", folder.display()))?;
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() || kind.is_symlink() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_bytes() {
        let mut random = Random(1);
        assert_eq!((random.next(), random.next()), (0x910a_2dec_8902_5cc1, 0xbeeb_8da1_658e_ec67));
    }

    #[test]
    fn text_lines_are_lines() {
        let mut random = Random(SEED);
        let words: Vec<String> = (0..10).map(|_| made_up_word(&mut random)).collect();
        for number in 0..3 {
            let mut text = Vec::new();
            push_line(&mut text, number, 7, &words, &mut random);
            assert!(text.ends_with(b"\n") && text.is_ascii() && text.len() > 30);
        }
    }
}
