//! What is backed up.
//!
//! | corpus | what it is | what it shows |
//! |---|---|---|
//! | BIG | two files of random bytes | chunking, hashing, sealing, copying |
//! | TEXT | sixteen logs and dumps | compression |
//! | TREE | a copy of this machine's own trees | a real tree of small files |
//! | MANY | half a million files of 0 to 4 KiB | what one file costs |
//! | BLOBS | a repository with an index of a million blobs | what an index costs |
//! | GROWTH | millions of empty files | whether the cost per file grows |
//!
//! BIG, TEXT but for its words, MANY and GROWTH come from a fixed seed and are the same everywhere. TREE is a copy of
//! what this machine has, because made-up trees have made-up properties; so TREE can be compared between tools, not
//! between machines.

mod change;
mod random;
mod text;
mod trees;

use std::fs;
use std::path::{Path, PathBuf};

use super::options::Options;

pub(super) use change::change;

const MIB: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CorpusKind {
    Big,
    Text,
    Tree,
    Many,
    Blobs,
    Growth,
}

impl CorpusKind {
    pub(super) const ALL: [Self; 6] = [Self::Big, Self::Text, Self::Tree, Self::Many, Self::Blobs, Self::Growth];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Big => "BIG",
            Self::Text => "TEXT",
            Self::Tree => "TREE",
            Self::Many => "MANY",
            Self::Blobs => "BLOBS",
            Self::Growth => "GROWTH",
        }
    }

    pub(super) fn parse(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(word));
        found.ok_or_else(|| format!("`{word}` is no corpus: big, text, tree, many, blobs or growth"))
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

/// Makes one corpus of files in `folder`, which must not be there yet. BLOBS and GROWTH are made by their own steps.
pub(super) fn make(kind: CorpusKind, options: &Options, folder: &Path) -> Result<Corpus, String> {
    let folder = folder.join(kind.name());
    let cannot = |error: std::io::Error| format!("cannot make corpus {}: {error}", kind.name());
    fs::create_dir_all(&folder).map_err(cannot)?;
    let bytes = options.size_mib * MIB;
    match kind {
        CorpusKind::Big => random::write_big(&folder, bytes).map_err(cannot)?,
        CorpusKind::Text => text::write_text(&folder, bytes).map_err(cannot)?,
        CorpusKind::Tree => trees::copy_trees(&folder, options.tree_files)?,
        CorpusKind::Many => trees::write_many(&folder, options.many_files).map_err(cannot)?,
        CorpusKind::Blobs | CorpusKind::Growth => {}
    }
    let mut corpus = Corpus { kind, folder, files: 0, bytes: 0 };
    for path in files_below(&corpus.folder)? {
        corpus.files += 1;
        corpus.bytes += fs::symlink_metadata(&path).map_err(cannot)?.len();
    }
    Ok(corpus)
}

/// Makes `files` empty files in `folder`.
pub(super) fn make_growth(folder: &Path, files: u64) -> Result<Corpus, String> {
    fs::create_dir_all(folder)
        .and_then(|()| trees::write_growth(folder, files))
        .map_err(|error| format!("cannot make {files} empty files: {error}"))?;
    Ok(Corpus { kind: CorpusKind::Growth, folder: folder.to_path_buf(), files: files as usize, bytes: 0 })
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
