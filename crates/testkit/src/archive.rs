//! A place in memory whose packs of data lie in an archive: they can be listed and asked for, and are read only after
//! that, when the archive got to it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use destinations::{Destination, Listed, Span, Warmth};
use format::{FileKind, FileName};
use model::{Fault, FaultKind};

use crate::MemoryFolder;

/// A [`MemoryFolder`] with an archive.
#[derive(Debug)]
pub struct Archive {
    files: MemoryFolder,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What was stored as data, and how many looks more it takes until it can be read; none while it was not asked for.
    archived: BTreeMap<FileName, Option<usize>>,
    /// How many looks a file takes; none while nothing comes out.
    looks: Option<usize>,
    asked: Vec<FileName>,
    read: Vec<FileName>,
}

impl Archive {
    /// `files` with an archive from which nothing comes out before [`Archive::gives_after`].
    pub fn new(files: MemoryFolder) -> Self {
        Self { files, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files, archived or not.
    pub fn files(&self) -> &MemoryFolder {
        &self.files
    }

    /// What is asked for can be read when it was looked at so often; also what was asked for already.
    pub fn gives_after(&self, looks: usize) {
        let mut state = self.state();
        state.looks = Some(looks);
        state.archived.values_mut().flatten().for_each(|left| *left = looks);
    }

    /// The packs that were stored as data.
    pub fn archived(&self) -> Vec<FileName> {
        self.state().archived.keys().copied().collect()
    }

    /// What was asked for so far, in order.
    pub fn asked(&self) -> Vec<FileName> {
        self.state().asked.clone()
    }

    /// What was read since the last call, in order.
    pub fn take_read(&self) -> Vec<FileName> {
        std::mem::take(&mut self.state().read)
    }
}

#[async_trait]
impl Destination for Archive {
    fn place(&self) -> &str {
        self.files.place()
    }

    async fn create(&self) -> Result<(), Fault> {
        self.files.create().await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, Fault> {
        self.files.list(kind).await
    }

    async fn stat(&self, name: FileName) -> Result<u64, Fault> {
        self.files.stat(name).await
    }

    async fn read(&self, name: FileName, span: Span) -> Result<Bytes, Fault> {
        {
            let mut state = self.state();
            state.read.push(name);
            if state.archived.get(&name).is_some_and(|left| *left != Some(0)) {
                let cause = "it lies in the archive";
                return Err(Fault::new(FaultKind::Cold, "read", name.path(), self.place(), cause));
            }
        }
        self.files.read(name, span).await
    }

    async fn write(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        self.files.write(name, bytes).await
    }

    async fn write_data(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        self.files.write(name, bytes).await?;
        self.state().archived.insert(name, None);
        Ok(())
    }

    async fn remove(&self, name: FileName) -> Result<(), Fault> {
        self.state().archived.remove(&name);
        self.files.remove(name).await
    }

    fn may_be_cold(&self) -> bool {
        true
    }

    async fn warmth(&self, name: FileName) -> Result<Warmth, Fault> {
        self.files.stat(name).await?;
        let mut state = self.state();
        let gives = state.looks.is_some();
        Ok(match state.archived.get_mut(&name) {
            None | Some(Some(0)) => Warmth::Warm,
            Some(None) => Warmth::Cold,
            Some(Some(left)) => {
                *left -= usize::from(gives);
                if *left == 0 { Warmth::Warm } else { Warmth::Warming }
            }
        })
    }

    async fn warm_up(&self, name: FileName) -> Result<(), Fault> {
        let mut state = self.state();
        state.asked.push(name);
        let looks = state.looks.unwrap_or(usize::MAX);
        if let Some(left) = state.archived.get_mut(&name) {
            left.get_or_insert(looks);
        }
        Ok(())
    }
}
