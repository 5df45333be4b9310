//! What to measure, how large, where.

use std::path::PathBuf;

use super::corpora::CorpusKind;
use super::places::Place;
use super::steps::Step;
use super::tools::ToolKind;

pub(super) const HELP: &str = "\
usage: cargo xtask bench [options]

  --quick            256 MiB, 10000 files, one round: a few minutes
  --full             the sizes of bench/RESULTS.md: 2048 MiB, 110000 files, three rounds, 500000 small files and an
                     index of a million blobs once each; the peers' three copies in the first round only
  --corpora LIST     of big,text,tree,many,blobs,growth; `many:1` sets the rounds of one (default big,text,tree)
  --size-mib N       size of BIG and of TEXT in MiB (default 256)
  --tree-files N     how many files TREE takes from this machine's own trees (default 20000)
  --many-files N     how many files MANY has (default 500000)
  --blobs N          how many blobs BLOBS has (default 1000000)
  --growth LIST      millions of empty files of GROWTH (default 1,3,10); what does not fit is left out
  --rounds N         how often each tool does everything (default 3)
  --tools LIST       of triplicate,fastest,restic,rustic,borg,rclone (default all that are there)
  --places LIST      of local,rest,far,s3,far-s3,sftp,far-sftp (default local)
  --steps LIST       of first,unchanged,restore,check,changed,three,three-by-copy,stages (default all but three-by-copy)
  --skip LIST        steps to leave out; `three:rustic` leaves one out for one tool
  --once LIST        steps of the first round only, in the same form
  --stage-mib N      how much of BIG and TEXT the stages take (default 512)
  --folder DIR       where data and repositories go (default /dev/shm where there is one)
  --growth-folder DIR  where the files of GROWTH go (default: the same)
  --binary PATH      the triplicate to measure (default: a release build of this checkout)
  --record           keep the figures in bench/results.tsv and write bench/RESULTS.md; what this run did not measure
                     stays from earlier runs
  --fresh            with --record: nothing stays from earlier runs
  --estimate         say how long it would take, and measure nothing
  --render           write bench/RESULTS.md from bench/results.tsv, and measure nothing

restic, rustic and the servers are those that scripts/components installs; RESTIC_BINARY and RUSTIC_BINARY name
others. borg is the one in PATH.";

const QUICK: &[&str] = &["--tree-files", "10000", "--rounds", "1", "--corpora", "big,text,tree"];
const FULL: &[&str] = &[
    "--size-mib",
    "2048",
    "--tree-files",
    "110000",
    "--corpora",
    "big,text,tree,many:1,blobs",
    "--once",
    "three:restic,three:rustic",
];
const MEMORY_FOLDER: &str = "/dev/shm";

/// A step, for every tool or for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    step: Step,
    tool: Option<ToolKind>,
}

impl Choice {
    fn parse(word: &str) -> Result<Self, String> {
        let (step, tool) = match word.split_once(':') {
            Some((step, tool)) => (step, Some(ToolKind::parse(tool)?)),
            None => (word, None),
        };
        Ok(Self { step: Step::parse(step)?, tool })
    }

    pub(super) fn fits(self, step: Step, tool: ToolKind) -> bool {
        self.step == step && self.tool.is_none_or(|chosen| chosen == tool)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) size_mib: usize,
    pub(super) tree_files: usize,
    pub(super) many_files: usize,
    pub(super) blobs: u64,
    /// Millions of files.
    pub(super) growth: Vec<u64>,
    pub(super) rounds: usize,
    /// With rounds of its own, where it has some.
    pub(super) corpora: Vec<(CorpusKind, Option<usize>)>,
    /// Empty means all that there are.
    pub(super) tools: Vec<ToolKind>,
    pub(super) places: Vec<Place>,
    /// Empty means the usual ones.
    pub(super) steps: Vec<Step>,
    pub(super) skip: Vec<Choice>,
    pub(super) once: Vec<Choice>,
    pub(super) stage_mib: u64,
    pub(super) folder: PathBuf,
    pub(super) growth_folder: Option<PathBuf>,
    pub(super) binary: Option<PathBuf>,
    pub(super) record: bool,
    pub(super) fresh: bool,
    pub(super) estimate: bool,
    pub(super) render: bool,
}

impl Default for Options {
    fn default() -> Self {
        let memory = PathBuf::from(MEMORY_FOLDER);
        let corpora = [CorpusKind::Big, CorpusKind::Text, CorpusKind::Tree];
        Self {
            size_mib: 256,
            tree_files: 20_000,
            many_files: 500_000,
            blobs: 1_000_000,
            growth: vec![1, 3, 10],
            rounds: 3,
            corpora: corpora.map(|kind| (kind, None)).to_vec(),
            tools: Vec::new(),
            places: vec![Place::Local],
            steps: Vec::new(),
            skip: Vec::new(),
            once: Vec::new(),
            stage_mib: 512,
            folder: if memory.is_dir() { memory } else { std::env::temp_dir() },
            growth_folder: None,
            binary: None,
            record: false,
            fresh: false,
            estimate: false,
            render: false,
        }
    }
}

impl Options {
    pub(super) fn parse(words: &[&str]) -> Result<Self, String> {
        let mut options = Self::default();
        // What is said in particular counts more than what is said as a whole, wherever it stands.
        for (word, preset) in [("--quick", QUICK), ("--full", FULL)] {
            if words.contains(&word) {
                options.take(preset)?;
            }
        }
        options.take(words)?;
        Ok(options)
    }

    fn take(&mut self, words: &[&str]) -> Result<(), String> {
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            match word {
                "--quick" | "--full" => {}
                "--record" => self.record = true,
                "--fresh" => self.fresh = true,
                "--estimate" => self.estimate = true,
                "--render" => self.render = true,
                _ => {
                    let value =
                        words.next().ok_or_else(|| format!("`{word}` is unknown or lacks its value\n\n{HELP}"))?;
                    self.take_value(word, value)?;
                }
            }
        }
        Ok(())
    }

    fn take_value(&mut self, word: &str, value: &str) -> Result<(), String> {
        match word {
            "--size-mib" => self.size_mib = count(word, value)?,
            "--tree-files" => self.tree_files = count(word, value)?,
            "--many-files" => self.many_files = count(word, value)?,
            "--blobs" => self.blobs = count(word, value)? as u64,
            "--growth" => self.growth = list(value, |part| count(word, part).map(|millions| millions as u64))?,
            "--rounds" => self.rounds = count(word, value)?,
            "--corpora" => self.corpora = list(value, corpus)?,
            "--tools" => self.tools = list(value, ToolKind::parse)?,
            "--places" => self.places = list(value, Place::parse)?,
            "--steps" => self.steps = list(value, Step::parse)?,
            "--skip" => self.skip = list(value, Choice::parse)?,
            "--once" => self.once = list(value, Choice::parse)?,
            "--stage-mib" => self.stage_mib = count(word, value)? as u64,
            "--folder" => self.folder = PathBuf::from(value),
            "--growth-folder" => self.growth_folder = Some(PathBuf::from(value)),
            "--binary" => self.binary = Some(PathBuf::from(value)),
            _ => return Err(format!("`{word}` is unknown\n\n{HELP}")),
        }
        Ok(())
    }

    /// How often a corpus is measured.
    pub(super) fn rounds_of(&self, kind: CorpusKind) -> usize {
        let own = self.corpora.iter().find(|(corpus, _)| *corpus == kind).and_then(|(_, rounds)| *rounds);
        own.unwrap_or(self.rounds)
    }

    /// A corpus's size as it was asked for: figures of one size are not kept beside those of another.
    pub(super) fn size_of(&self, kind: CorpusKind) -> String {
        match kind {
            CorpusKind::Big | CorpusKind::Text => format!("{} MiB", self.size_mib),
            CorpusKind::Tree => format!("{} files", self.tree_files),
            CorpusKind::Many => format!("{} files", self.many_files),
            CorpusKind::Blobs => format!("{} blobs", self.blobs),
            CorpusKind::Growth => "as named".to_owned(),
        }
    }
}

fn list<T>(value: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    value.split(',').map(parse).collect()
}

fn corpus(word: &str) -> Result<(CorpusKind, Option<usize>), String> {
    match word.split_once(':') {
        Some((kind, rounds)) => Ok((CorpusKind::parse(kind)?, Some(count(word, rounds)?))),
        None => Ok((CorpusKind::parse(word)?, None)),
    }
}

fn count(word: &str, value: &str) -> Result<usize, String> {
    match value.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("`{word} {value}`: a number above 0 is needed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_taken_over() {
        let words = ["--size-mib", "8", "--corpora", "tree,big:1", "--record", "--once", "three:rustic,check"];
        let options = Options::parse(&words).unwrap();
        assert_eq!((options.size_mib, options.record, options.rounds), (8, true, 3));
        assert_eq!(options.corpora, [(CorpusKind::Tree, None), (CorpusKind::Big, Some(1))]);
        assert_eq!((options.rounds_of(CorpusKind::Tree), options.rounds_of(CorpusKind::Big)), (3, 1));
        assert!(options.once[0].fits(Step::Three, ToolKind::Rustic));
        assert!(!options.once[0].fits(Step::Three, ToolKind::Restic));
        assert!(options.once[1].fits(Step::Check, ToolKind::Restic));
    }

    #[test]
    fn a_preset_gives_way_to_what_is_said_in_particular() {
        let options = Options::parse(&["--size-mib", "8", "--full"]).unwrap();
        assert_eq!((options.size_mib, options.tree_files), (8, 110_000));
        assert_eq!(Options::parse(&["--quick"]).unwrap().rounds, 1);
    }

    #[test]
    fn nonsense_is_refused() {
        let nonsense: [&[&str]; 8] = [
            &["--size-mib", "0"],
            &["--rounds"],
            &["--corpora", "huge"],
            &["--corpora", "big:x"],
            &["--what", "x"],
            &["--places", "moon"],
            &["--skip", "three:tar"],
            &["x"],
        ];
        for words in nonsense {
            assert!(Options::parse(words).is_err(), "{words:?}");
        }
    }
}
