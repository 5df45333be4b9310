//! The physical limit: what the parts of a backup cost one by one, on this machine, with the kernels that we ship.
//!
//! The sum of the stages is what an engine would need that did nothing but the work itself: no queue, no lock, no
//! waiting, one thread. Each stage is timed with the CPU clock of this thread, so that a busy machine changes little.
//! The bytes go the way they go in a backup, a file or window at a time, so that they are as warm in the caches as there.

mod line;
mod source;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};

use super::corpora::{Corpus, files_below};
use super::records::{Case, Records};

/// The stages, in the order of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Walk,
    Attributes,
    Read,
    Chunk,
    Hash,
    Compress,
    Seal,
    Verify,
    Listings,
    PackHash,
    Write,
    Key,
}

impl Stage {
    pub(super) const ALL: [Self; 12] = [
        Self::Walk,
        Self::Attributes,
        Self::Read,
        Self::Chunk,
        Self::Hash,
        Self::Compress,
        Self::Seal,
        Self::Verify,
        Self::Listings,
        Self::PackHash,
        Self::Write,
        Self::Key,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Walk => "list folders and stat",
            Self::Attributes => "list extended attributes",
            Self::Read => "open, read, close",
            Self::Chunk => "cut",
            Self::Hash => "hash blobs",
            Self::Compress => "compress",
            Self::Seal => "seal",
            Self::Verify => "verify: open, decompress, compare",
            Self::Listings => "write listings",
            Self::PackHash => "hash packs",
            Self::Write => "write packs",
            Self::Key => "derive the key, once",
        }
    }

    /// Grows with the bytes; the key is derived once, however much follows.
    fn grows(self) -> bool {
        self != Self::Key
    }
}

/// Seconds of each stage.
#[derive(Debug, Default, Clone)]
pub(super) struct Times([f64; Stage::ALL.len()]);

impl Times {
    fn add<T>(&mut self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let began = thread_cpu_seconds();
        let result = work();
        self.0[stage as usize] += thread_cpu_seconds() - began;
        result
    }

    fn of(&self, stage: Stage) -> f64 {
        self.0[stage as usize]
    }
}

fn thread_cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Measures all stages over the first `sample_bytes` of the corpus and records the seconds of the whole corpus.
pub(super) fn run(
    corpus: &Corpus,
    case: &Case,
    folder: &Path,
    sample_bytes: u64,
    records: &mut Records,
) -> Result<(), String> {
    let mut line = line::Line::new(folder)?;
    let read = source::feed(corpus, &mut line, sample_bytes)?;
    let times = line.finish()?;
    let scale = if read > 0 { corpus.bytes as f64 / read as f64 } else { 1.0 };
    for stage in Stage::ALL {
        let scale = if stage.grows() { scale } else { 1.0 };
        records.amount(case.clone(), stage.name(), times.of(stage) * scale);
    }
    Ok(())
}

/// CPU seconds of writing a folder's files `copies` times over from memory.
pub(super) fn write_copies(from: &Path, to: &Path, copies: usize) -> Result<f64, String> {
    let mut times = Times::default();
    let cannot = |error: std::io::Error| format!("cannot write a bare copy: {error}");
    for copy in 0..copies {
        let folder = to.join(copy.to_string());
        fs::create_dir_all(&folder).map_err(cannot)?;
        for (number, path) in files_below(from)?.iter().enumerate() {
            let bytes = fs::read(path).map_err(cannot)?;
            let target = folder.join(number.to_string());
            let written = times.add(Stage::Write, || File::create(target).and_then(|mut file| file.write_all(&bytes)));
            written.map_err(cannot)?;
        }
    }
    Ok(times.of(Stage::Write))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::corpora::CorpusKind;
    use crate::bench::places::Place;
    use crate::bench::steps::Step;
    use crate::bench::tools::ToolKind;

    #[test]
    fn every_stage_of_a_small_tree_is_timed() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("corpus");
        fs::create_dir_all(folder.join("inside")).unwrap();
        for number in 0..40 {
            fs::write(folder.join("inside").join(number.to_string()), "a line of text\n".repeat(number + 5)).unwrap();
        }
        fs::write(folder.join("large"), vec![7; 3 << 20]).unwrap();
        let bytes = files_below(&folder).unwrap().iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        let corpus = Corpus { kind: CorpusKind::Tree, folder, files: 41, bytes };
        let case = Case { place: Place::Local, corpus: "TREE".into(), tool: ToolKind::Triplicate, step: Step::Stages };
        let mut records = Records::default();
        run(&corpus, &case, &base.path().join("packs"), u64::MAX, &mut records).unwrap();
        assert_eq!(records.amounts.len(), Stage::ALL.len());
        for amount in &records.amounts {
            assert!(amount.value > 0.0 && amount.value < 60.0, "{amount:?}");
        }
    }

    #[test]
    fn bare_copies_are_whole() {
        let base = tempfile::tempdir().unwrap();
        let (from, to) = (base.path().join("from"), base.path().join("to"));
        fs::create_dir_all(&from).unwrap();
        fs::write(from.join("pack"), vec![1; 5000]).unwrap();
        assert!(write_copies(&from, &to, 2).unwrap() > 0.0);
        let sizes: Vec<u64> = files_below(&to).unwrap().iter().map(|path| fs::metadata(path).unwrap().len()).collect();
        assert_eq!(sizes, [5000, 5000]);
    }
}
