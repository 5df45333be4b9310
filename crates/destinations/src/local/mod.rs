//! A folder on this machine, or on something mounted on it, laid out as restic lays it out.
//!
//! A file appears under its name whole or not at all: it is written beside that name with a suffix that neither
//! restic nor we list, made durable, renamed, and the folder made durable. Every path is built from a
//! [`FileName`], so that nothing outside the root can be named. All calls run on tokio's threads for blocking work;
//! what they do is in [`folder`].
//!
//! Why read-only files and private folders: restic does so, and a copy that a stray `>` cannot overwrite is worth it.

mod folder;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use format::{FileKind, FileName};
use model::{Fault, FaultKind};

use self::folder::Trouble;
use crate::around::progress::Progress;
use crate::{Destination, Listed, LocalLocation, Span};

/// A copy in a folder.
#[derive(Debug)]
pub struct LocalFolder {
    root: Arc<PathBuf>,
    place: String,
    /// Folders whose stale temporary files this process has looked for.
    swept: Arc<Mutex<std::collections::HashSet<PathBuf>>>,
    /// A file without which the disk is not mounted.
    marker: Option<Arc<PathBuf>>,
}

impl LocalFolder {
    /// The copy at `location`; nothing is looked at yet.
    pub fn new(location: &LocalLocation) -> Self {
        Self {
            place: location.path.display().to_string(),
            root: Arc::new(location.path.clone()),
            swept: Arc::default(),
            marker: None,
        }
    }

    /// The same, used only while the file `marker` is there: absolute, or in the folder above the copy's, which is there
    /// before the copy is. Without its disk a mount point is an empty folder, in which everything seems lost and anything
    /// can be made.
    pub fn with_marker(mut self, marker: Option<&str>) -> Self {
        let above = self.root.parent().unwrap_or(Path::new("")).to_owned();
        self.marker = marker.map(|marker| Arc::new(above.join(marker)));
        self
    }

    async fn blocking<T: Send + 'static>(
        &self,
        action: &'static str,
        object: String,
        work: impl FnOnce(&Path) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Fault> {
        let root = Arc::clone(&self.root);
        let marker = self.marker.clone();
        let done = tokio::task::spawn_blocking(move || {
            marker.as_deref().map_or(Ok(()), |marker| folder::is_mounted(marker))?;
            work(&root)
        })
        .await;
        match done {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(trouble)) => Err(Fault::new(trouble.kind, action, object, &self.place, trouble.cause)),
            Err(broken) => Err(Fault::new(FaultKind::Interrupted, action, object, &self.place, broken)),
        }
    }
}

#[async_trait]
impl Destination for LocalFolder {
    fn place(&self) -> &str {
        &self.place
    }

    async fn create(&self) -> Result<(), Fault> {
        self.blocking("create", String::new(), folder::create_layout).await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, Fault> {
        let progress = Progress::current();
        self.blocking("list", kind.folder().to_owned(), move |root| folder::list(root, kind, &|| progress.note())).await
    }

    async fn stat(&self, name: FileName) -> Result<u64, Fault> {
        self.blocking("stat", name.path(), move |root| folder::size(&root.join(name.path()))).await
    }

    async fn read(&self, name: FileName, span: Span) -> Result<Bytes, Fault> {
        self.read_into(name, span, Vec::new()).await.map(Bytes::from)
    }

    async fn read_into(&self, name: FileName, span: Span, buffer: Vec<u8>) -> Result<Vec<u8>, Fault> {
        let progress = Progress::current();
        self.blocking("read", name.path(), move |root| {
            folder::read(&root.join(name.path()), span, buffer, &|| progress.note())
        })
        .await
    }

    async fn write(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        let progress = Progress::current();
        let swept = Arc::clone(&self.swept);
        self.blocking("write", name.path(), move |root| {
            let written = folder::write(root, name, &bytes, &|| progress.note())?;
            let is_first = swept.lock().is_ok_and(|mut swept| swept.insert(written.folder.clone()));
            if is_first {
                folder::sweep_leftovers(&written);
            }
            Ok(())
        })
        .await
    }

    async fn remove(&self, name: FileName) -> Result<(), Fault> {
        self.blocking("remove", name.path(), move |root| folder::remove(&root.join(name.path()))).await
    }
}
