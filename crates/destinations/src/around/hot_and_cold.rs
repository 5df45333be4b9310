//! A copy made of two places: a cold one, which holds everything, and a hot one, which holds everything but packs of
//! data.
//!
//! The cold place is the copy. Its listings are the truth, and alone it is a whole repository; nothing that the hot
//! place says of itself is believed. Every file that is not data is written to both and read from the hot one, so that
//! the cold one is read for the content of files alone. What the hot place lacks or has wrong is read from the cold one
//! and put back, so that a hot place may be lost and comes back by being used. The layout is rustic's (`--repository
//! COLD --repo-hot HOT`).
//!
//! Two kinds of files are left to the cold place. Locks come and go, and only one place can say which of them are there.
//! The `config` of the hot place is another one, because rustic wants to be told there that it is hot; that takes the
//! key, so whoever has the key writes it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use format::{FileKind, FileName};
use jiff::Timestamp;
use model::{Fault, FaultKind, Id};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, MutexGuard};

use crate::{Destination, Listed, Span, Warmth};

/// A cold place and its hot companion.
#[derive(Debug)]
pub struct HotAndCold {
    cold: Arc<dyn Destination>,
    hot: Arc<dyn Destination>,
    /// The packs in the hot place, once it was asked; empty while it does not answer.
    packs: Mutex<Option<HashSet<Id>>>,
    /// Whether somebody with the key found the hot place to be ours.
    is_ours: AtomicBool,
}

impl HotAndCold {
    /// The copy at `cold` with `hot` beside it.
    pub fn new(cold: Arc<dyn Destination>, hot: Arc<dyn Destination>) -> Self {
        Self { cold, hot, packs: Mutex::default(), is_ours: AtomicBool::new(false) }
    }

    /// The hot place.
    pub fn hot(&self) -> &dyn Destination {
        self.hot.as_ref()
    }

    /// Says that the hot place belongs to this copy. Before that nothing is put there that was only read.
    pub fn claim(&self) {
        self.is_ours.store(true, Ordering::Relaxed);
    }

    /// Which of these files, all of one kind, the hot place does not list.
    pub async fn lacking(&self, kind: FileKind, files: impl IntoIterator<Item = Id>) -> Result<Vec<Id>, Fault> {
        let there: HashSet<Id> = match self.hot.list(kind).await {
            Ok(listed) => listed.into_iter().map(|file| file.id).collect(),
            Err(fault) if fault.kind == FaultKind::NotFound => HashSet::new(),
            Err(fault) => return Err(fault),
        };
        let lacking = files.into_iter().filter(|id| !there.contains(id)).collect();
        if kind == FileKind::Pack {
            *self.packs.lock().await = Some(there);
        }
        Ok(lacking)
    }

    /// Puts bytes, which are right, into the hot place. One that was lost as a whole is made again.
    pub async fn put_back(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        let written = match self.hot.write(name, bytes.clone()).await {
            Err(fault) if matches!(fault.kind, FaultKind::NotFound | FaultKind::Absent) => {
                self.hot.create().await?;
                self.hot.write(name, bytes).await
            }
            written => written,
        };
        if let (Ok(()), FileKind::Pack, Some(id)) = (&written, name.kind(), name.id()) {
            self.packs().await.get_or_insert_default().insert(id);
        }
        written
    }

    /// The packs in the hot place. It is asked once: every other pack is then known to be data, and costs no question.
    async fn packs(&self) -> MutexGuard<'_, Option<HashSet<Id>>> {
        let mut packs = self.packs.lock().await;
        if packs.is_none() {
            let listed = self.hot.list(FileKind::Pack).await.unwrap_or_default();
            *packs = Some(listed.into_iter().map(|file| file.id).collect());
        }
        packs
    }

    /// Whether a file belongs to the hot place, as far as is known: of packs, those that it has.
    async fn is_hot(&self, name: FileName) -> bool {
        match (name.kind(), name.id()) {
            (FileKind::Config | FileKind::Lock, _) | (_, None) => false,
            (FileKind::Pack, Some(id)) => self.packs().await.as_ref().is_some_and(|packs| packs.contains(&id)),
            _ => true,
        }
    }

    /// Reads a whole file that the hot place should have and has not, and puts it back. That this fails there is no
    /// trouble of the copy: nothing is lost but time.
    async fn read_cold(&self, name: FileName, span: Span) -> Result<Bytes, Fault> {
        let whole = self.cold.read(name, Span::Whole).await?;
        if self.is_ours.load(Ordering::Relaxed) && is_right(name, &whole) {
            let _ = self.put_back(name, whole.clone()).await;
        }
        let Span::Range { offset, length } = span else { return Ok(whole) };
        let end = offset.checked_add(length).filter(|end| *end <= whole.len() as u64);
        let range = end.and_then(|end| Some(usize::try_from(offset).ok()?..usize::try_from(end).ok()?));
        range.map(|range| whole.slice(range)).ok_or_else(|| {
            let cause = format!("{length} bytes from {offset} are wanted and it has {}", whole.len());
            Fault::new(FaultKind::Damaged, "read", name.path(), self.place(), cause)
        })
    }
}

/// Whether whole files are what their names say.
fn is_right(name: FileName, bytes: &[u8]) -> bool {
    name.id().is_some_and(|id| Id::from_bytes(Sha256::digest(bytes).into()) == id)
}

#[async_trait]
impl Destination for HotAndCold {
    fn place(&self) -> &str {
        self.cold.place()
    }

    async fn create(&self) -> Result<(), Fault> {
        self.cold.create().await?;
        self.hot.create().await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, Fault> {
        self.cold.list(kind).await
    }

    async fn stat(&self, name: FileName) -> Result<u64, Fault> {
        self.cold.stat(name).await
    }

    async fn read(&self, name: FileName, span: Span) -> Result<Bytes, Fault> {
        if !self.is_hot(name).await {
            return self.cold.read(name, span).await;
        }
        match self.hot.read(name, span).await {
            Ok(bytes) if span != Span::Whole || is_right(name, &bytes) => Ok(bytes),
            _ => self.read_cold(name, span).await,
        }
    }

    async fn read_into(&self, name: FileName, span: Span, buffer: Vec<u8>) -> Result<Vec<u8>, Fault> {
        if !self.is_hot(name).await {
            return self.cold.read_into(name, span, buffer).await;
        }
        match self.hot.read_into(name, span, buffer).await {
            Ok(bytes) if span != Span::Whole || is_right(name, &bytes) => Ok(bytes),
            _ => self.read_cold(name, span).await.map(Vec::from),
        }
    }

    /// The hot place comes first: a file is listed when the cold one has it, and then both do.
    async fn write(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        if !matches!(name.kind(), FileKind::Config | FileKind::Lock) {
            self.put_back(name, bytes.clone()).await?;
        }
        self.cold.write(name, bytes).await
    }

    async fn write_data(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        self.cold.write_data(name, bytes).await
    }

    async fn remove(&self, name: FileName) -> Result<(), Fault> {
        if self.is_hot(name).await {
            match self.hot.remove(name).await {
                Err(fault) if fault.kind != FaultKind::NotFound => return Err(fault),
                _ => {}
            }
            if let (FileKind::Pack, Some(id)) = (name.kind(), name.id()) {
                self.packs().await.get_or_insert_default().remove(&id);
            }
        }
        self.cold.remove(name).await
    }

    fn may_be_cold(&self) -> bool {
        self.cold.may_be_cold()
    }

    async fn warmth(&self, name: FileName) -> Result<Warmth, Fault> {
        if self.is_hot(name).await { Ok(Warmth::Warm) } else { self.cold.warmth(name).await }
    }

    async fn warm_up(&self, name: FileName) -> Result<(), Fault> {
        if self.is_hot(name).await { Ok(()) } else { self.cold.warm_up(name).await }
    }

    fn lock_days(&self) -> Option<u32> {
        self.cold.lock_days()
    }

    async fn lock_until(&self, name: FileName, until: Timestamp) -> Result<(), Fault> {
        self.cold.lock_until(name, until).await
    }

    fn as_pair(&self) -> Option<&HotAndCold> {
        Some(self)
    }
}
