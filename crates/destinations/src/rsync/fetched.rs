//! Files that were fetched because parts of them are wanted, in a private folder that goes with us.
//!
//! Several parts of one pack cost one transfer, also when they are asked for at the same time. Only the last few are
//! kept. Whoever wants a whole file gets it anew: that is how damage at the place is found.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use format::FileName;
use model::FaultKind;
use tempfile::{Builder, NamedTempFile, TempDir};
use tokio::sync::OnceCell;

use super::call::Trouble;
use crate::FILE_LIMIT_BYTES;

/// How many files are kept.
const KEPT_FILES: usize = 8;

type Kept = Arc<OnceCell<Arc<NamedTempFile>>>;

#[derive(Debug)]
pub(super) struct Fetched {
    folder: TempDir,
    kept: Mutex<VecDeque<(FileName, Kept)>>,
}

impl Fetched {
    pub(super) fn new() -> io::Result<Self> {
        // Only for us: packs are sealed, but whose they are is nobody's business.
        Ok(Self { folder: Builder::new().prefix("triplicate-rsync-").tempdir()?, kept: Mutex::default() })
    }

    /// A new file that goes when it is let go of.
    pub(super) fn scratch(&self) -> io::Result<NamedTempFile> {
        Builder::new().prefix("file-").tempfile_in(self.folder.path())
    }

    /// The file of this name, by `fetch` if it is not here.
    pub(super) async fn file<F>(
        &self,
        name: FileName,
        fetch: impl FnOnce(PathBuf) -> F,
    ) -> Result<Arc<NamedTempFile>, Trouble>
    where
        F: Future<Output = Result<(), Trouble>>,
    {
        let kept = {
            let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let known = all.iter().position(|(other, _)| *other == name).and_then(|at| all.remove(at));
            let kept = known.map_or_else(Kept::default, |(_, kept)| kept);
            all.push_back((name, Arc::clone(&kept)));
            if KEPT_FILES < all.len() {
                all.pop_front();
            }
            kept
        };
        let fetched = kept.get_or_try_init(|| async {
            let scratch = self.scratch()?;
            fetch(scratch.path().to_owned()).await?;
            Ok::<_, Trouble>(Arc::new(scratch))
        });
        fetched.await.cloned()
    }

    /// Forgets what was fetched: it changes.
    pub(super) fn forget(&self, name: FileName) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).retain(|(other, _)| *other != name);
    }
}

/// All of a file, if it is no longer than a repository's files are.
pub(super) fn whole(file: &NamedTempFile) -> Result<Bytes, Trouble> {
    let size = std::fs::metadata(file.path())?.len();
    if FILE_LIMIT_BYTES < size {
        let cause = format!("it has {size} bytes, more than any file of a repository");
        return Err(Trouble::new(FaultKind::Damaged, cause));
    }
    part(file, 0, size)
}

/// Exactly `length` bytes from `offset`.
pub(super) fn part(file: &NamedTempFile, offset: u64, length: u64) -> Result<Bytes, Trouble> {
    // rsync renames its result over the file that was made for it, so it is opened by its name.
    let file = std::fs::File::open(file.path())?;
    let size = file.metadata()?.len();
    let fits = offset.checked_add(length).filter(|end| *end <= size).and_then(|_| usize::try_from(length).ok());
    let Some(fits) = fits else {
        let cause = format!("{length} bytes from {offset} were asked for and the file has {size}");
        return Err(Trouble::new(FaultKind::Damaged, cause));
    };
    let mut bytes = vec![0; fits];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(Bytes::from(bytes))
}
