//! A destination in memory: the fastest honest one, and one whose bytes a test can look at and damage.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use destinations::{Destination, Listed, Span};
use format::{FileKind, FileName};
use model::{Fault, FaultKind};

/// The files of one copy. Clones share them, so that a test can keep one hand on what it has given away.
#[derive(Debug, Clone)]
pub struct MemoryFolder {
    place: Arc<str>,
    files: Arc<Mutex<BTreeMap<FileName, Bytes>>>,
}

impl MemoryFolder {
    /// An empty place called `memory:NAME`.
    pub fn new(name: &str) -> Self {
        Self { place: format!("memory:{name}").into(), files: Arc::default() }
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<FileName, Bytes>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every file with its bytes.
    pub fn files(&self) -> BTreeMap<FileName, Bytes> {
        self.locked().clone()
    }

    /// The names of all files of one kind, sorted.
    pub fn names(&self, kind: FileKind) -> Vec<FileName> {
        self.locked().keys().filter(|name| name.kind() == kind).copied().collect()
    }

    /// The bytes of one file.
    pub fn get(&self, name: FileName) -> Option<Bytes> {
        self.locked().get(&name).cloned()
    }

    /// Puts bytes under a name without asking whether they belong there.
    pub fn put(&self, name: FileName, bytes: impl Into<Bytes>) {
        self.locked().insert(name, bytes.into());
    }

    /// Takes a file away.
    pub fn take(&self, name: FileName) -> Option<Bytes> {
        self.locked().remove(&name)
    }

    /// Changes the bytes of a file in place; false when it is not there.
    pub fn damage(&self, name: FileName, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut files = self.locked();
        let Some(bytes) = files.get_mut(&name) else { return false };
        let mut changed = bytes.to_vec();
        change(&mut changed);
        *bytes = changed.into();
        true
    }

    /// Replaces everything with `files`: back to an earlier state.
    pub fn reset(&self, files: BTreeMap<FileName, Bytes>) {
        *self.locked() = files;
    }

    /// A separate place with the same files.
    pub fn copy(&self, name: &str) -> Self {
        let copy = Self::new(name);
        copy.reset(self.files());
        copy
    }

    fn fault(&self, kind: FaultKind, action: &'static str, name: FileName, cause: &str) -> Fault {
        Fault::new(kind, action, name.path(), &*self.place, cause)
    }

    fn found(&self, action: &'static str, name: FileName) -> Result<Bytes, Fault> {
        self.get(name).ok_or_else(|| self.fault(FaultKind::NotFound, action, name, "it is not there"))
    }
}

#[async_trait]
impl Destination for MemoryFolder {
    fn place(&self) -> &str {
        &self.place
    }

    async fn create(&self) -> Result<(), Fault> {
        Ok(())
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, Fault> {
        let files = self.locked();
        let listed = files.iter().filter(|(name, _)| name.kind() == kind);
        Ok(listed.filter_map(|(name, bytes)| Some(Listed { id: name.id()?, size: bytes.len() as u64 })).collect())
    }

    async fn stat(&self, name: FileName) -> Result<u64, Fault> {
        Ok(self.found("stat", name)?.len() as u64)
    }

    async fn read(&self, name: FileName, span: Span) -> Result<Bytes, Fault> {
        let bytes = self.found("read", name)?;
        let Span::Range { offset, length } = span else { return Ok(bytes) };
        let range = usize::try_from(offset).ok().zip(usize::try_from(length).ok());
        let range = range.and_then(|(offset, length)| Some(offset..offset.checked_add(length)?));
        match range {
            Some(range) if range.end <= bytes.len() => Ok(bytes.slice(range)),
            _ => {
                let cause = format!("{length} bytes from {offset} are wanted and it has {}", bytes.len());
                Err(self.fault(FaultKind::Damaged, "read", name, &cause))
            }
        }
    }

    async fn write(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        let mut files = self.locked();
        if name == FileName::CONFIG && files.get(&name).is_some_and(|there| *there != bytes) {
            return Err(self.fault(FaultKind::Exists, "write", name, "another repository is here"));
        }
        files.insert(name, bytes);
        Ok(())
    }

    async fn remove(&self, name: FileName) -> Result<(), Fault> {
        self.locked().remove(&name);
        Ok(())
    }
}
