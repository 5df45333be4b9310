//! The limit on requests at one time.
//!
//! It stands inside the retries and outside the stall limit: a request that waits before its next attempt holds no
//! place in the queue, and one that waits for its turn is not taken for stalled.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use format::{FileKind, FileName};
use jiff::Timestamp;
use model::{Fault, FaultKind};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{Destination, Listed, Span, Warmth};

/// Lets so many requests through at one time.
#[derive(Debug)]
pub struct Crowding {
    inner: Arc<dyn Destination>,
    turns: Semaphore,
}

impl Crowding {
    /// At most `connections` requests on `inner` at one time, at least one.
    pub fn new(inner: Arc<dyn Destination>, connections: usize) -> Self {
        Self { inner, turns: Semaphore::new(connections.clamp(1, Semaphore::MAX_PERMITS)) }
    }

    async fn turn(&self, action: &'static str) -> Result<SemaphorePermit<'_>, Fault> {
        // The semaphore is never closed; if it were, that is a stop.
        self.turns
            .acquire()
            .await
            .map_err(|closed| Fault::new(FaultKind::Interrupted, action, "", self.inner.place(), closed))
    }
}

#[async_trait]
impl Destination for Crowding {
    fn place(&self) -> &str {
        self.inner.place()
    }

    async fn create(&self) -> Result<(), Fault> {
        let _turn = self.turn("create").await?;
        self.inner.create().await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, Fault> {
        let _turn = self.turn("list").await?;
        self.inner.list(kind).await
    }

    async fn stat(&self, name: FileName) -> Result<u64, Fault> {
        let _turn = self.turn("stat").await?;
        self.inner.stat(name).await
    }

    async fn read(&self, name: FileName, span: Span) -> Result<Bytes, Fault> {
        let _turn = self.turn("read").await?;
        self.inner.read(name, span).await
    }

    async fn read_into(&self, name: FileName, span: Span, buffer: Vec<u8>) -> Result<Vec<u8>, Fault> {
        let _turn = self.turn("read").await?;
        self.inner.read_into(name, span, buffer).await
    }

    async fn write(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        let _turn = self.turn("write").await?;
        self.inner.write(name, bytes).await
    }

    async fn write_data(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        let _turn = self.turn("write").await?;
        self.inner.write_data(name, bytes).await
    }

    async fn remove(&self, name: FileName) -> Result<(), Fault> {
        let _turn = self.turn("remove").await?;
        self.inner.remove(name).await
    }

    fn may_be_cold(&self) -> bool {
        self.inner.may_be_cold()
    }

    async fn warmth(&self, name: FileName) -> Result<Warmth, Fault> {
        let _turn = self.turn("stat").await?;
        self.inner.warmth(name).await
    }

    async fn warm_up(&self, name: FileName) -> Result<(), Fault> {
        let _turn = self.turn("warm up").await?;
        self.inner.warm_up(name).await
    }

    fn lock_days(&self) -> Option<u32> {
        self.inner.lock_days()
    }

    async fn lock_until(&self, name: FileName, until: Timestamp) -> Result<(), Fault> {
        let _turn = self.turn("lock").await?;
        self.inner.lock_until(name, until).await
    }
}
