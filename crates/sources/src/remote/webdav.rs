//! A tree on a WebDAV server.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use destinations::reach::{WebFacts, WebFile, WebdavEntry, WebdavReader};
use destinations::{Access, Limits, WebdavLocation};
use model::Fault;
use repository::backup::{Entry, EntryKind};

use super::tree::{Content, Opened, State, Tree};

/// A folder of a WebDAV server.
#[derive(Debug)]
pub(super) struct WebdavTree(Arc<WebdavReader>);

impl WebdavTree {
    pub(super) fn new(location: &WebdavLocation, access: &Access, limits: &Limits) -> Result<Self, Fault> {
        Ok(Self(Arc::new(WebdavReader::new(location, access, limits)?)))
    }
}

/// The state that a web server tells of.
pub(super) fn state_of(facts: &WebFacts) -> State {
    State {
        size: facts.size,
        modified: facts.modified_seconds.map(|seconds| (seconds, 0)),
        version: facts.etag.as_ref().map(|etag| etag.clone().into_bytes()),
    }
}

/// The tag to ask with.
pub(super) fn tag_of(known: Option<&State>) -> Option<&str> {
    std::str::from_utf8(known?.version.as_deref()?).ok()
}

fn entry(found: WebdavEntry) -> Entry {
    let state = state_of(&found.facts);
    let kind = if found.is_folder { EntryKind::Folder } else { EntryKind::File };
    let is_file = kind == EntryKind::File;
    Entry {
        name: found.name,
        kind,
        size: state.size.filter(|_| is_file),
        modified: state.modified,
        // A weak tag promises nothing about the bytes.
        version: state.version.filter(|tag| is_file && !tag.starts_with(b"W/")),
        ..Entry::default()
    }
}

#[async_trait]
impl Tree for WebdavTree {
    fn place(&self) -> &str {
        self.0.place()
    }

    async fn list(&self, folder: &[u8]) -> Result<Vec<Entry>, Fault> {
        Ok(self.0.entries(folder).await?.into_iter().map(entry).collect())
    }

    async fn open(&self, path: &[u8], from: u64, known: Option<&State>) -> Result<Opened, Fault> {
        let file = self.0.open(path, from, tag_of(known)).await?;
        let (state, from) = (state_of(&file.facts), file.from);
        let content = WebdavContent { reader: Arc::clone(&self.0), path: path.to_vec(), file };
        Ok(Opened { state, from, content: Box::new(content) })
    }
}

struct WebdavContent {
    reader: Arc<WebdavReader>,
    path: Vec<u8>,
    file: WebFile,
}

#[async_trait]
impl Content for WebdavContent {
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        self.reader.next(&mut self.file).await
    }

    /// A file that is changed in place while it is sent comes half old and half new, under one tag.
    async fn state_after(self: Box<Self>) -> Result<Option<State>, Fault> {
        Ok(Some(state_of(&self.reader.facts(&self.path).await?)))
    }
}
