//! The stall limit: an attempt in which nothing moves is given up, one that moves slowly is not.
//!
//! A limit on the whole duration would either cut a large upload over a thin line or let a dead connection hang for
//! as long as the largest upload may take; so silence is what is limited.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use format::{FileKind, FileName};
use jiff::Timestamp;
use model::{Fault, FaultKind};

use super::progress::Progress;
use crate::{Destination, Listed, Span, Warmth};

/// Gives every attempt on the place inside `limit` of silence at most.
#[derive(Debug)]
pub struct Stalling {
    inner: Arc<dyn Destination>,
    limit: Duration,
}

impl Stalling {
    /// Watches `inner`.
    pub fn new(inner: Arc<dyn Destination>, limit: Duration) -> Self {
        Self { inner, limit }
    }

    async fn watched<T>(
        &self,
        action: &'static str,
        object: impl FnOnce() -> String,
        attempt: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        match Progress::watch(self.limit, attempt).await {
            Some(answer) => answer,
            None => {
                let cause = format!("nothing moved for {} s", self.limit.as_secs());
                Err(Fault::new(FaultKind::Stalled, action, object(), self.inner.place(), cause))
            }
        }
    }
}

#[async_trait]
impl Destination for Stalling {
    fn place(&self) -> &str {
        self.inner.place()
    }

    async fn create(&self) -> Result<(), Fault> {
        self.watched("create", String::new, self.inner.create()).await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, Fault> {
        self.watched("list", || kind.folder().to_owned(), self.inner.list(kind)).await
    }

    async fn stat(&self, name: FileName) -> Result<u64, Fault> {
        self.watched("stat", || name.path(), self.inner.stat(name)).await
    }

    async fn read(&self, name: FileName, span: Span) -> Result<Bytes, Fault> {
        self.watched("read", || name.path(), self.inner.read(name, span)).await
    }

    async fn read_into(&self, name: FileName, span: Span, buffer: Vec<u8>) -> Result<Vec<u8>, Fault> {
        self.watched("read", || name.path(), self.inner.read_into(name, span, buffer)).await
    }

    async fn write(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        self.watched("write", || name.path(), self.inner.write(name, bytes)).await
    }

    async fn write_data(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        self.watched("write", || name.path(), self.inner.write_data(name, bytes)).await
    }

    async fn remove(&self, name: FileName) -> Result<(), Fault> {
        self.watched("remove", || name.path(), self.inner.remove(name)).await
    }

    fn may_be_cold(&self) -> bool {
        self.inner.may_be_cold()
    }

    async fn warmth(&self, name: FileName) -> Result<Warmth, Fault> {
        self.watched("stat", || name.path(), self.inner.warmth(name)).await
    }

    async fn warm_up(&self, name: FileName) -> Result<(), Fault> {
        self.watched("warm up", || name.path(), self.inner.warm_up(name)).await
    }

    fn lock_days(&self) -> Option<u32> {
        self.inner.lock_days()
    }

    async fn lock_until(&self, name: FileName, until: Timestamp) -> Result<(), Fault> {
        self.watched("lock", || name.path(), self.inner.lock_until(name, until)).await
    }
}
