//! One source of a backup, whether anything was found in it, and a place inside it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::entries::Entries;
use crate::error::{Error, Result};
use crate::filter::GitIgnores;

/// A place in a source, and the rules that the folders above it make.
#[derive(Debug, Clone)]
pub(super) struct Within {
    source: Arc<Source>,
    pub(super) ignores: GitIgnores,
}

impl Within {
    /// The top of a source.
    pub(super) fn top(source: Arc<Source>) -> Self {
        Self { source, ignores: GitIgnores::default() }
    }

    /// Inside the folder that has these entries.
    pub(super) fn below(&self, entries: &Entries) -> Self {
        Self { source: self.source.clone(), ignores: entries.ignores.clone() }
    }
}

impl std::ops::Deref for Within {
    type Target = Source;

    fn deref(&self) -> &Source {
        &self.source
    }
}

/// One path that the user named.
#[derive(Debug)]
pub(super) struct Source {
    /// As the user wrote it.
    pub(super) given: PathBuf,
    /// Its file system, for `--one-file-system`.
    pub(super) device: u64,
    entries: AtomicU64,
}

impl Source {
    pub(super) fn new(given: PathBuf, on_disk: &Path) -> Result<Arc<Self>> {
        let stat = rustix::fs::lstat(on_disk).map_err(|error| Error::local("read source", &given, error))?;
        Ok(Arc::new(Self { given, device: stat.st_dev, entries: AtomicU64::new(0) }))
    }

    /// A source that is on no disk of this machine.
    pub(super) fn elsewhere(given: PathBuf) -> Arc<Self> {
        Arc::new(Self { given, device: 0, entries: AtomicU64::new(0) })
    }

    /// So many entries were found that are not folders.
    pub(super) fn count_entries(&self, count: u64) {
        self.entries.fetch_add(count, Ordering::Relaxed);
    }

    /// A source without a single file is an unmounted disk more often than it is meant so.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.load(Ordering::Relaxed) == 0
    }
}
