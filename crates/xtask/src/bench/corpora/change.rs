//! One per cent changed, in place: what most days bring.
//!
//! BIG and TEXT: one file, a hundredth of its bytes in four stretches. TREE and MANY: every hundredth file, its first
//! bytes. Lengths stay, times change by themselves. Each call writes other bytes, so that the next tool finds changes
//! of its own.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::random::{Random, SEED};
use super::{Corpus, CorpusKind, files_below};

const STRETCHES: u64 = 4;
const SHARE: u64 = 100;
/// How much of a changed small file is new.
const HEAD_BYTES_MAX: u64 = 4096;

/// Changes the corpus: in one round the same files for every tool, and other bytes in each turn. Gives how many files
/// were changed.
pub(in crate::bench) fn change(corpus: &Corpus, round: usize, turn: u64) -> Result<usize, String> {
    let mut random = Random::new(SEED ^ (turn + 1).wrapping_mul(0x9e37_79b9));
    let files = files_below(&corpus.folder)?;
    let cannot = |path: &Path, error: io::Error| format!("cannot change `{}`: {error}", path.display());
    let mut changed = 0;
    if matches!(corpus.kind, CorpusKind::Big | CorpusKind::Text) {
        let path = &files[round % files.len()];
        change_stretches(path, &mut random).map_err(|error| cannot(path, error))?;
        return Ok(1);
    }
    for path in files.iter().skip(round % SHARE as usize).step_by(SHARE as usize) {
        let metadata = fs::symlink_metadata(path).map_err(|error| cannot(path, error))?;
        if metadata.is_file() && metadata.len() > 0 {
            overwrite(path, 0, metadata.len().min(HEAD_BYTES_MAX), &mut random).map_err(|error| cannot(path, error))?;
            changed += 1;
        }
    }
    Ok(changed)
}

fn change_stretches(path: &Path, random: &mut Random) -> io::Result<()> {
    let length = fs::metadata(path)?.len();
    for stretch in 0..STRETCHES {
        overwrite(path, length / STRETCHES * stretch, length / SHARE / STRETCHES, random)?;
    }
    Ok(())
}

/// Letters, so that text stays text.
fn overwrite(path: &Path, offset: u64, length: u64, random: &mut Random) -> io::Result<()> {
    let mut bytes = vec![0; length as usize];
    random.fill(&mut bytes);
    bytes.iter_mut().for_each(|byte| *byte = b'a' + *byte % 16);
    OpenOptions::new().write(true).open(path)?.write_all_at(&bytes, offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_per_cent_changes_and_lengths_stay() {
        let base = tempfile::tempdir().unwrap();
        for number in 0..300 {
            fs::write(base.path().join(format!("{number:03}")), vec![b'.'; 200]).unwrap();
        }
        let mut corpus =
            Corpus { kind: CorpusKind::Tree, folder: base.path().to_path_buf(), files: 300, bytes: 60_000 };
        assert_eq!(change(&corpus, 0, 0), Ok(3));
        let read = || files_below(base.path()).unwrap().iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
        let before = read();
        assert_eq!(before.iter().filter(|bytes| bytes.contains(&b'a')).count(), 3);
        corpus.kind = CorpusKind::Big;
        assert_eq!(change(&corpus, 1, 1), Ok(1));
        let after = read();
        let differing: usize =
            before.iter().flatten().zip(after.iter().flatten()).filter(|(left, right)| left != right).count();
        assert!(after.iter().all(|bytes| bytes.len() == 200));
        assert_eq!(differing, 0, "a hundredth of 200 bytes in four stretches is none");
        fs::write(base.path().join("000"), vec![b'.'; 40_000]).unwrap();
        assert_eq!(change(&corpus, 300, 2), Ok(1));
        let changed = fs::read(base.path().join("000")).unwrap().iter().filter(|byte| **byte != b'.').count();
        assert_eq!(changed, 400);
    }
}
