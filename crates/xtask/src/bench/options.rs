//! What to measure, how large, where.

use std::path::PathBuf;

use super::corpora::CorpusKind;

pub(super) const HELP: &str = "\
usage: cargo xtask bench [options]

  --size-mib N       size of BIG and of TEXT in MiB (default 256)
  --tree-files N     how many files TREE takes from this machine's own trees (default 20000)
  --rounds N         how often each tool does everything (default 3)
  --corpora LIST     of big,text,tree (default all)
  --tools LIST       of triplicate,restic,rustic (default all that are installed)
  --folder DIR       where data and repositories go (default /dev/shm where there is one)
  --binary PATH      the triplicate to measure (default: a release build of this checkout)
  --record           write bench/RESULTS.md

restic and rustic are those that scripts/components installs; RESTIC_BINARY and RUSTIC_BINARY name others.
For the figures in bench/RESULTS.md: --size-mib 2048 --tree-files 110000";

const SIZE_MIB: usize = 256;
const TREE_FILES: usize = 20_000;
const ROUNDS: usize = 3;
const MEMORY_FOLDER: &str = "/dev/shm";

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) size_mib: usize,
    pub(super) tree_files: usize,
    pub(super) rounds: usize,
    pub(super) corpora: Vec<CorpusKind>,
    /// Names of tools; empty means all that there are.
    pub(super) tools: Vec<String>,
    pub(super) folder: PathBuf,
    pub(super) binary: Option<PathBuf>,
    pub(super) record: bool,
}

impl Options {
    pub(super) fn parse(words: &[&str]) -> Result<Self, String> {
        let memory = PathBuf::from(MEMORY_FOLDER);
        let mut options = Self {
            size_mib: SIZE_MIB,
            tree_files: TREE_FILES,
            rounds: ROUNDS,
            corpora: CorpusKind::ALL.to_vec(),
            tools: Vec::new(),
            folder: if memory.is_dir() { memory } else { std::env::temp_dir() },
            binary: None,
            record: false,
        };
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            if word == "--record" {
                options.record = true;
                continue;
            }
            let value = words.next().ok_or_else(|| format!("`{word}` is unknown or lacks its value\n\n{HELP}"))?;
            match word {
                "--size-mib" => options.size_mib = count(word, value)?,
                "--tree-files" => options.tree_files = count(word, value)?,
                "--rounds" => options.rounds = count(word, value)?,
                "--corpora" => {
                    options.corpora = value.split(',').map(CorpusKind::parse).collect::<Result<_, _>>()?;
                }
                "--tools" => options.tools = value.split(',').map(str::to_owned).collect(),
                "--folder" => options.folder = PathBuf::from(value),
                "--binary" => options.binary = Some(PathBuf::from(value)),
                _ => return Err(format!("`{word}` is unknown\n\n{HELP}")),
            }
        }
        Ok(options)
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
        let options = Options::parse(&["--size-mib", "8", "--corpora", "tree,big", "--record"]).unwrap();
        assert_eq!((options.size_mib, options.record), (8, true));
        assert_eq!(options.corpora, [CorpusKind::Tree, CorpusKind::Big]);
        assert_eq!(options.rounds, ROUNDS);
    }

    #[test]
    fn nonsense_is_refused() {
        for words in [&["--size-mib", "0"][..], &["--rounds"], &["--corpora", "huge"], &["--what", "x"], &["x"]] {
            assert!(Options::parse(words).is_err(), "{words:?}");
        }
    }
}
