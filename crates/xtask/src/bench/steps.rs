//! What each tool is asked to do with each corpus, in this order: first backup, the same again, restore, check,
//! three copies.

use std::fs;
use std::path::{Path, PathBuf};

use clock::Clock;

use super::corpora::{Corpus, files_below};
use super::measure::{Cost, measure};
use super::results::Results;
use super::tools::{Scratch, Tool, ToolKind};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    First,
    Unchanged,
    Restore,
    Check,
    /// Three complete copies: ours in one pass, the others by three backups.
    ThreeCopies,
    /// Three complete copies: restic by one backup and two `restic copy`.
    ThreeByCopy,
}

impl Step {
    pub(super) const ALL: [Self; 6] =
        [Self::First, Self::Unchanged, Self::Restore, Self::Check, Self::ThreeCopies, Self::ThreeByCopy];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::First => "first backup",
            Self::Unchanged => "unchanged",
            Self::Restore => "restore",
            Self::Check => "check --read-data",
            Self::ThreeCopies => "three copies",
            Self::ThreeByCopy => "three copies (restic copy)",
        }
    }
}

/// Runs every step; the first failure ends this tool's turn, because what follows would measure nothing.
pub(super) fn run_all(tool: &Tool, corpus: &Corpus, folder: &Path, clock: &dyn Clock, results: &mut Results) {
    if let Err(why) = try_all(tool, corpus, folder, clock, results) {
        results.failed(corpus.kind, tool.kind, why);
    }
}

fn try_all(
    tool: &Tool,
    corpus: &Corpus,
    folder: &Path,
    clock: &dyn Clock,
    results: &mut Results,
) -> Result<(), String> {
    for name in ["home", "tmp", "cache"] {
        fs::create_dir_all(folder.join(name)).map_err(|error| format!("cannot make a scratch folder: {error}"))?;
    }
    let scratch = Scratch { folder };
    let repository = |number: usize| folder.join(format!("repository-{number}"));
    let (one, two, three) = (repository(1), repository(2), repository(3));
    let mut take = |step: Step, cost: Cost| results.cost(corpus.kind, tool.kind, step, cost);

    let single = [one.clone()];
    measure(tool.init(&scratch, &single), clock)?;
    let first = measure(tool.backup(&scratch, &single, &corpus.folder), clock)?;
    take(Step::First, first);
    take(Step::Unchanged, measure(tool.backup(&scratch, &single, &corpus.folder), clock)?);
    let target = folder.join("restored");
    take(Step::Restore, measure(tool.restore(&scratch, &one, &target), clock)?);
    compare(corpus, &target)?;
    fs::remove_dir_all(&target).map_err(|error| format!("cannot remove what was restored: {error}"))?;
    take(Step::Check, measure(tool.check(&scratch, &one), clock)?);

    if tool.kind == ToolKind::Triplicate {
        let all = [repository(4), two, three];
        measure(tool.init(&scratch, &all), clock)?;
        take(Step::ThreeCopies, measure(tool.backup(&scratch, &all, &corpus.folder), clock)?);
    } else {
        let mut total = first;
        for other in [two, three] {
            let other = [other];
            measure(tool.init(&scratch, &other), clock)?;
            total = total.then(measure(tool.backup(&scratch, &other, &corpus.folder), clock)?);
        }
        take(Step::ThreeCopies, total);
    }

    let mut by_copy = None;
    for number in [5, 6] {
        if let Some([init, copy]) = tool.copy(&scratch, &one, &repository(number)) {
            measure(init, clock)?;
            by_copy = Some(by_copy.unwrap_or(first).then(measure(copy, clock)?));
        }
    }
    if let Some(total) = by_copy {
        take(Step::ThreeByCopy, total);
    }
    results.stored(corpus.kind, tool.kind, bytes_below(&one)?);
    Ok(())
}

fn bytes_below(folder: &Path) -> Result<u64, String> {
    let files = files_below(folder)?;
    Ok(files.iter().filter_map(|file| fs::symlink_metadata(file).ok()).map(|metadata| metadata.len()).sum())
}

/// Every file's bytes and every link's target, corpus against restored tree.
fn compare(corpus: &Corpus, target: &Path) -> Result<(), String> {
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

fn same(original: &Path, restored: &Path) -> bool {
    match (fs::read_link(original), fs::read_link(restored)) {
        (Ok(left), Ok(right)) => left == right,
        (Err(_), Err(_)) => matches!((fs::read(original), fs::read(restored)), (Ok(left), Ok(right)) if left == right),
        _ => false,
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
        let base = std::env::temp_dir().join(format!("bench-compare-{}", std::process::id()));
        let (folder, target) = (base.join("corpus"), base.join("restored"));
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
        fs::remove_dir_all(&base).unwrap();
    }
}
