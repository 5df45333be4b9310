//! The pace: how much of a place's line may be used.
//!
//! It stands inside the turns and outside the stall limit: a request that we hold back has its place in the queue, and
//! is not taken for stalled.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use format::{FileKind, FileName};
use jiff::Timestamp;
use model::Fault;

use crate::pace::flow::Flow;
use crate::pace::meter::Meter;
use crate::pace::{Meters, Pace};
use crate::{Destination, Listed, Span, Warmth};

/// A shorter file does not wait for its turn, it only delays the others': a lock that waits behind packs would turn stale.
const SHORT_FILE_BYTES: u64 = 64 << 10;

/// Where bytes are metered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metering {
    /// The place asks before every step that it moves.
    ByStep,
    /// The place does not know of meters: each file waits for its turn, and then goes at once.
    ByFile,
}

/// Lets requests and bytes through at a pace.
#[derive(Debug)]
pub struct Pacing {
    inner: Arc<dyn Destination>,
    meters: Arc<Meters>,
    metering: Metering,
}

impl Pacing {
    /// Uses `inner` at this pace.
    pub fn new(inner: Arc<dyn Destination>, pace: &Pace, metering: Metering) -> Self {
        Self { inner, meters: Arc::new(Meters::new(pace)), metering }
    }

    /// Does it when `bytes` may move by `meter`.
    async fn paced<T>(&self, meter: &Meter, bytes: u64, attempt: impl Future<Output = T>) -> T {
        if self.metering == Metering::ByStep {
            return Flow::metered(&self.meters, attempt).await;
        }
        if let Some(begins) = self.meters.requests.turn(1) {
            tokio::time::sleep_until(begins).await;
        }
        if let Some(begins) = meter.turn(bytes).filter(|_| bytes > SHORT_FILE_BYTES) {
            tokio::time::sleep_until(begins).await;
        }
        attempt.await
    }

    /// As [`Pacing::paced`], for an answer whose length is known before or else is found out by `length`.
    async fn paced_read<T>(
        &self,
        span: Span,
        attempt: impl Future<Output = Result<T, Fault>>,
        length: impl FnOnce(&T) -> usize,
    ) -> Result<T, Fault> {
        let known = match span {
            Span::Whole => 0,
            Span::Range { length, .. } => length,
        };
        let answer = self.paced(&self.meters.down, known, attempt).await?;
        if span == Span::Whole && self.metering == Metering::ByFile {
            // What has come already can only delay what comes next.
            let _ = self.meters.down.turn(length(&answer) as u64);
        }
        Ok(answer)
    }
}

#[async_trait]
impl Destination for Pacing {
    fn place(&self) -> &str {
        self.inner.place()
    }

    async fn create(&self) -> Result<(), Fault> {
        self.paced(&self.meters.up, 0, self.inner.create()).await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, Fault> {
        self.paced(&self.meters.down, 0, self.inner.list(kind)).await
    }

    async fn stat(&self, name: FileName) -> Result<u64, Fault> {
        self.paced(&self.meters.down, 0, self.inner.stat(name)).await
    }

    async fn read(&self, name: FileName, span: Span) -> Result<Bytes, Fault> {
        self.paced_read(span, self.inner.read(name, span), Bytes::len).await
    }

    async fn read_into(&self, name: FileName, span: Span, buffer: Vec<u8>) -> Result<Vec<u8>, Fault> {
        self.paced_read(span, self.inner.read_into(name, span, buffer), Vec::len).await
    }

    async fn write(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        self.paced(&self.meters.up, bytes.len() as u64, self.inner.write(name, bytes)).await
    }

    async fn write_data(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        self.paced(&self.meters.up, bytes.len() as u64, self.inner.write_data(name, bytes)).await
    }

    async fn remove(&self, name: FileName) -> Result<(), Fault> {
        self.paced(&self.meters.up, 0, self.inner.remove(name)).await
    }

    fn may_be_cold(&self) -> bool {
        self.inner.may_be_cold()
    }

    async fn warmth(&self, name: FileName) -> Result<Warmth, Fault> {
        self.paced(&self.meters.down, 0, self.inner.warmth(name)).await
    }

    async fn warm_up(&self, name: FileName) -> Result<(), Fault> {
        self.paced(&self.meters.up, 0, self.inner.warm_up(name)).await
    }

    fn lock_days(&self) -> Option<u32> {
        self.inner.lock_days()
    }

    async fn lock_until(&self, name: FileName, until: Timestamp) -> Result<(), Fault> {
        self.paced(&self.meters.up, 0, self.inner.lock_until(name, until)).await
    }
}
