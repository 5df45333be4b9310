//! Whether a restore gave back what was backed up, byte by byte: a fast wrong restore is no figure.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::corpora::{Corpus, files_below};

const WINDOW_BYTES: usize = 1 << 20;

/// Every file's bytes and every link's target, corpus against restored tree.
pub(super) fn compare(corpus: &Corpus, target: &Path) -> Result<(), String> {
    let root = restored_root(&corpus.folder, target)?;
    let originals = files_below(&corpus.folder)?;
    let restored = files_below(&root)?;
    if originals.len() != restored.len() {
        return Err(format!("restore gave {} of {} files", restored.len(), originals.len()));
    }
    for original in originals {
        let Ok(name) = original.strip_prefix(&corpus.folder) else { continue };
        if !same(&original, &root.join(name)) {
            return Err(format!("restore gave other content for `{}`", name.display()));
        }
    }
    Ok(())
}

/// The lengths of all files below a folder, together.
pub(super) fn bytes_below(folder: &Path) -> Result<u64, String> {
    let files = files_below(folder)?;
    Ok(files.iter().filter_map(|file| fs::symlink_metadata(file).ok()).map(|metadata| metadata.len()).sum())
}

fn same(original: &Path, restored: &Path) -> bool {
    match (fs::read_link(original), fs::read_link(restored)) {
        (Ok(left), Ok(right)) => left == right,
        (Err(_), Err(_)) => same_bytes(original, restored).unwrap_or(false),
        _ => false,
    }
}

/// Window by window: memory is full of corpora and repositories already.
fn same_bytes(original: &Path, restored: &Path) -> std::io::Result<bool> {
    let (mut left, mut right) = (File::open(original)?, File::open(restored)?);
    if left.metadata()?.len() != right.metadata()?.len() {
        return Ok(false);
    }
    let mut windows = (vec![0; WINDOW_BYTES], vec![0; WINDOW_BYTES]);
    loop {
        let length = left.read(&mut windows.0)?;
        if length == 0 {
            return Ok(true);
        }
        right.read_exact(&mut windows.1[..length])?;
        if windows.0[..length] != windows.1[..length] {
            return Ok(false);
        }
    }
}

/// restic puts the whole absolute path below the target; others may start at the folder's name or at its content.
fn restored_root(folder: &Path, target: &Path) -> Result<PathBuf, String> {
    let parts: Vec<_> = folder.components().skip(1).collect();
    let candidates = (0..parts.len()).map(|start| target.join(parts[start..].iter().collect::<PathBuf>()));
    let found = candidates.into_iter().find(|candidate| candidate.is_dir());
    found.ok_or_else(|| "the corpus is not below the restore target".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::corpora::CorpusKind;

    #[test]
    fn a_wrong_restore_is_noticed() {
        let base = tempfile::tempdir().unwrap();
        let (folder, target) = (base.path().join("corpus"), base.path().join("restored"));
        let restored = target.join(folder.strip_prefix("/").unwrap());
        fs::create_dir_all(folder.join("sub")).unwrap();
        fs::create_dir_all(restored.join("sub")).unwrap();
        let corpus = Corpus { kind: CorpusKind::Tree, folder: folder.clone(), files: 2, bytes: 2 };
        for name in ["a", "sub/b"] {
            fs::write(folder.join(name), "x").unwrap();
        }
        fs::write(restored.join("a"), "x").unwrap();
        assert!(compare(&corpus, &target).unwrap_err().contains("1 of 2"));
        fs::write(restored.join("sub/b"), "y").unwrap();
        assert!(compare(&corpus, &target).unwrap_err().contains("other content for `sub/b`"));
        fs::write(restored.join("sub/b"), "x").unwrap();
        assert_eq!(compare(&corpus, &target), Ok(()));
        assert_eq!(bytes_below(&folder), Ok(2));
    }
}
