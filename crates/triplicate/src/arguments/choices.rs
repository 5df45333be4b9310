//! Options that several commands share: which snapshots, which entries, what to leave out, how long to wait for an archive.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use destinations::settings::parse_duration;
use repository::copies::warm::Patience;
use repository::filter::{Case, Excludes, PatternList, Selection, TagFile, parse_size, read_pattern_file};
use repository::snapshots::SnapshotFilter;

use crate::environment;
use crate::failure::Failure;

/// Which snapshots.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct SnapshotArguments {
    /// Only snapshots of this host
    #[arg(short = 'H', long, value_name = "HOST", env = "RESTIC_HOST")]
    pub(crate) host: Vec<String>,
    /// Only snapshots that have all of these tags; several times: any of the lists
    #[arg(long, value_name = "TAG[,TAG,...]")]
    pub(crate) tag: Vec<String>,
    /// Only snapshots that have this absolute path; several times: all of them
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Vec<String>,
}

impl SnapshotArguments {
    /// The same for the engine.
    pub(crate) fn filter(&self) -> SnapshotFilter {
        SnapshotFilter {
            hosts: self.host.clone(),
            paths: self.path.clone(),
            tags: self.tag.iter().map(|list| list.split(',').map(|tag| tag.trim().to_owned()).collect()).collect(),
        }
    }
}

/// What a backup leaves out.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ExcludeArguments {
    /// Leave out what matches
    #[arg(short, long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<OsString>,
    /// The same, ignoring upper and lower case
    #[arg(long, value_name = "PATTERN")]
    pub(crate) iexclude: Vec<OsString>,
    /// Read patterns to leave out from a file
    #[arg(long, value_name = "FILE")]
    pub(crate) exclude_file: Vec<PathBuf>,
    /// The same, ignoring upper and lower case
    #[arg(long, value_name = "FILE")]
    pub(crate) iexclude_file: Vec<PathBuf>,
    /// Leave out the contents of folders that hold a CACHEDIR.TAG
    #[arg(long)]
    pub(crate) exclude_caches: bool,
    /// Leave out the contents of folders that hold this file, which may have to begin with HEADER
    #[arg(long, value_name = "FILE[:HEADER]")]
    pub(crate) exclude_if_present: Vec<OsString>,
    /// Leave out files that are larger: digits and k, m, g or t
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) exclude_larger_than: Option<u64>,
    /// Leave out what lies on other file systems than the source
    #[arg(short = 'x', long)]
    pub(crate) one_file_system: bool,
    /// Leave out what .gitignore files name, from the source's top down
    #[arg(long)]
    pub(crate) git_ignore: bool,
    /// Leave out what has the extended attribute user.xdg.robots.backup=false
    #[arg(long)]
    pub(crate) exclude_robots: bool,
}

impl ExcludeArguments {
    /// The same for the engine, and the patterns as text for the snapshot.
    pub(crate) fn excludes(&self) -> Result<(Excludes, Vec<String>), Failure> {
        let mut texts = Vec::new();
        let sources = PatternSources {
            patterns: &self.exclude,
            ignoring_case: &self.iexclude,
            files: &self.exclude_file,
            files_ignoring_case: &self.iexclude_file,
        };
        let patterns = sources.collect(&mut texts)?;
        let tag = |text: &OsString| TagFile::parse(text.as_bytes()).map_err(|error| Failure::usage(error.to_string()));
        let excludes = Excludes {
            patterns,
            caches: self.exclude_caches,
            if_present: self.exclude_if_present.iter().map(tag).collect::<Result<_, _>>()?,
            larger_than: self.exclude_larger_than,
            one_file_system: self.one_file_system,
            git_ignore: self.git_ignore,
            robots: self.exclude_robots,
        };
        Ok((excludes, texts))
    }
}

/// Which entries of a snapshot.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct SelectionArguments {
    /// Take only what matches
    #[arg(short, long, value_name = "PATTERN")]
    include: Vec<OsString>,
    /// The same, ignoring upper and lower case
    #[arg(long, value_name = "PATTERN")]
    iinclude: Vec<OsString>,
    /// Read patterns to take from a file
    #[arg(long, value_name = "FILE")]
    include_file: Vec<PathBuf>,
    /// The same, ignoring upper and lower case
    #[arg(long, value_name = "FILE")]
    iinclude_file: Vec<PathBuf>,
    /// Leave what matches
    #[arg(short, long, value_name = "PATTERN")]
    exclude: Vec<OsString>,
    /// The same, ignoring upper and lower case
    #[arg(long, value_name = "PATTERN")]
    iexclude: Vec<OsString>,
    /// Read patterns to leave from a file
    #[arg(long, value_name = "FILE")]
    exclude_file: Vec<PathBuf>,
    /// The same, ignoring upper and lower case
    #[arg(long, value_name = "FILE")]
    iexclude_file: Vec<PathBuf>,
}

impl SelectionArguments {
    /// The same for the engine.
    pub(crate) fn selection(&self) -> Result<Selection, Failure> {
        let include = PatternSources {
            patterns: &self.include,
            ignoring_case: &self.iinclude,
            files: &self.include_file,
            files_ignoring_case: &self.iinclude_file,
        };
        let exclude = PatternSources {
            patterns: &self.exclude,
            ignoring_case: &self.iexclude,
            files: &self.exclude_file,
            files_ignoring_case: &self.iexclude_file,
        };
        let selection =
            Selection { include: include.collect(&mut Vec::new())?, exclude: exclude.collect(&mut Vec::new())? };
        if !selection.include.is_empty() && !selection.exclude.is_empty() {
            return Err(Failure::usage("include and exclude patterns exclude each other"));
        }
        Ok(selection)
    }
}

struct PatternSources<'a> {
    patterns: &'a [OsString],
    ignoring_case: &'a [OsString],
    files: &'a [PathBuf],
    files_ignoring_case: &'a [PathBuf],
}

impl PatternSources<'_> {
    fn collect(&self, texts: &mut Vec<String>) -> Result<PatternList, Failure> {
        let mut list = PatternList::default();
        let mut add = |pattern: &[u8], case: Case| {
            texts.push(String::from_utf8_lossy(pattern).into_owned());
            list.add(pattern, case).map_err(|error| Failure::usage(error.to_string()))
        };
        for (patterns, case) in [(self.patterns, Case::Sensitive), (self.ignoring_case, Case::Insensitive)] {
            patterns.iter().try_for_each(|pattern| add(pattern.as_bytes(), case))?;
        }
        for (files, case) in [(self.files, Case::Sensitive), (self.files_ignoring_case, Case::Insensitive)] {
            for file in files {
                let patterns =
                    read_pattern_file(file, environment::text).map_err(|error| Failure::usage(error.to_string()))?;
                patterns.iter().try_for_each(|pattern| add(pattern, case))?;
            }
        }
        Ok(list)
    }
}

pub(super) fn size(text: &str) -> Result<u64, String> {
    parse_size(text).map_err(|error| error.why.to_owned())
}

pub(super) fn parse_compression(text: &str) -> Result<format::Compression, String> {
    text.parse().map_err(|_| "use off, fastest, auto, better or max".to_owned())
}

/// How long to wait for an archive.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct WarmUpArguments {
    /// Wait this long for packs that lie in an archive: `restore` does for 48h without it; `0s` asks for them and ends
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    warm_up_wait: Option<Duration>,
    /// Between two looks at the archive; 5m otherwise
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    warm_up_poll: Option<Duration>,
}

/// An archive is not asked more often.
const WARM_UP_POLL_MIN: Duration = Duration::from_secs(1);

impl WarmUpArguments {
    /// What was said of it; none where nothing was.
    pub(crate) fn patience(&self) -> Option<Patience> {
        let usual = Patience::default();
        let poll = self.warm_up_poll.unwrap_or(usual.poll).max(WARM_UP_POLL_MIN);
        self.warm_up_wait.map(|total| Patience { total, poll })
    }

    /// The same for who waits anyway.
    pub(crate) fn patience_or_usual(&self) -> Patience {
        let total = Some(self.warm_up_wait.unwrap_or(Patience::default().total));
        Self { warm_up_wait: total, ..self.clone() }.patience().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn durations_are_gos() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        for wrong in ["", "5", "m", "5x", "-5s", "99999999999999999999s", "5m5"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn commas_join_and_repeats_choose() {
        let arguments = SnapshotArguments { tag: vec!["a,b".to_owned(), "c".to_owned()], ..Default::default() };
        assert_eq!(arguments.filter().tags, [vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()]]);
    }
}
