//! Trying again: exponential backoff with full jitter, bounded in time, decided by [`Fault::retry`] alone.
//!
//! Every verb of a [`Destination`] may be repeated without harm (a write of the same bytes is a success, a removal of
//! what is gone too), so that this decorator needs to know nothing about the place. Time is tokio's, measured by
//! comparing deadlines, so that a test with paused time can run fifteen minutes of outage in no time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use format::{FileKind, FileName};
use jiff::Timestamp;
use model::{Fault, FaultKind, Retry};

use crate::{Destination, Limits, Listed, Span, Warmth};

/// No wait of our own is longer; a place that asks for more (`Retry-After`) gets more.
const BACKOFF_LONGEST_MILLISECONDS: u64 = 60_000;

/// A failure after which the same thing will be done again.
#[derive(Debug)]
pub struct RetryNotice<'a> {
    /// What went wrong.
    pub fault: &'a Fault,
    /// Which attempt that was, from 1.
    pub attempt: u32,
    /// How long until the next one.
    pub wait: Duration,
}

/// Who wants to hear of retries.
pub type RetryListener = Arc<dyn Fn(&RetryNotice<'_>) + Send + Sync>;

/// Repeats what failed in a way that may pass.
#[derive(Debug)]
pub struct Retrying {
    inner: Arc<dyn Destination>,
    patience: Patience,
}

impl Retrying {
    /// Repeats on `inner` for as long as `limits` allow; `listener` hears of each repetition.
    pub fn new(inner: Arc<dyn Destination>, limits: &Limits, listener: Option<RetryListener>) -> Self {
        Self { inner, patience: Patience::new(limits, listener) }
    }

    async fn repeated<T, F>(&self, attempt: impl FnMut() -> F) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        self.patience.repeated(attempt).await
    }
}

/// How long one place is tried.
pub struct Patience {
    total: Duration,
    first_contact: Duration,
    first_backoff_milliseconds: u64,
    listener: Option<RetryListener>,
    /// Whether the place has ever answered. One that never has is given up sooner: most likely its address is wrong.
    answered: AtomicBool,
}

impl std::fmt::Debug for Patience {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patience").field("total", &self.total).finish_non_exhaustive()
    }
}

impl Patience {
    /// As long as `limits` allow; `listener` hears of each repetition.
    pub fn new(limits: &Limits, listener: Option<RetryListener>) -> Self {
        Self {
            total: Duration::from_secs(limits.retry_total_seconds),
            first_contact: Duration::from_secs(limits.first_contact_seconds.min(limits.retry_total_seconds)),
            first_backoff_milliseconds: limits.first_backoff_milliseconds,
            listener,
            answered: AtomicBool::new(false),
        }
    }

    /// The answer of the first attempt that has one.
    ///
    /// # Errors
    /// The last failure, when it cannot pass or there is no more time.
    pub async fn repeated<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let mut series = self.series();
        loop {
            match attempt().await {
                Ok(answer) => {
                    self.succeeded();
                    return Ok(answer);
                }
                Err(fault) => series.pause(fault).await?,
            }
        }
    }

    /// The place has answered.
    pub fn succeeded(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Attempts at one thing, of which none has failed yet.
    pub fn series(&self) -> Series<'_> {
        Series { patience: self, failures: 0, give_up_at: None }
    }
}

/// Attempts at one thing, one behind the other.
#[derive(Debug)]
pub struct Series<'a> {
    patience: &'a Patience,
    failures: u32,
    give_up_at: Option<tokio::time::Instant>,
}

impl Series<'_> {
    /// Waits before the next attempt.
    ///
    /// # Errors
    /// The failure itself, when it cannot pass or there is no more time.
    pub async fn pause(&mut self, fault: Fault) -> Result<(), Fault> {
        let patience = self.patience;
        self.failures = self.failures.saturating_add(1);
        let silent = matches!(fault.kind, FaultKind::Unreachable | FaultKind::Stalled);
        if !silent {
            patience.succeeded();
        }
        if fault.retry() != Retry::Now {
            return Err(fault);
        }
        // The clock starts at the first failure: a long upload that breaks in the end still gets its second try.
        let total = if patience.answered.load(Ordering::Relaxed) { patience.total } else { patience.first_contact };
        let give_up_at = *self.give_up_at.get_or_insert_with(|| tokio::time::sleep(total).deadline());
        let backoff = backoff(self.failures, patience.first_backoff_milliseconds);
        let wait = fault.wait.unwrap_or_default().max(backoff);
        let pause = tokio::time::sleep(wait);
        if give_up_at < pause.deadline() {
            return Err(given_up(fault, self.failures, total));
        }
        if let Some(listener) = &patience.listener {
            listener(&RetryNotice { fault: &fault, attempt: self.failures, wait });
        }
        pause.await;
        Ok(())
    }

    /// Something was achieved since the last failure: the time for the next one begins anew.
    pub fn progressed(&mut self) {
        (self.failures, self.give_up_at) = (0, None);
    }
}

/// Says in the fault that it was not the first attempt, so that nobody repeats it by hand in vain.
fn given_up(mut fault: Fault, attempts: u32, total: Duration) -> Fault {
    if 1 < attempts {
        fault.cause = format!("{} (given up after {attempts} attempts within {} s)", fault.cause, total.as_secs());
    }
    fault
}

/// A random wait, longer on average after each failure, so that a hundred clients do not return in step.
fn backoff(attempt: u32, first_milliseconds: u64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(16);
    let ceiling = (first_milliseconds.min(BACKOFF_LONGEST_MILLISECONDS) << doublings).min(BACKOFF_LONGEST_MILLISECONDS);
    // Without randomness from the system, the middle is as good as any.
    let random = getrandom::u64().unwrap_or(ceiling / 2);
    Duration::from_millis(random % (ceiling + 1))
}

#[async_trait]
impl Destination for Retrying {
    fn place(&self) -> &str {
        self.inner.place()
    }

    async fn create(&self) -> Result<(), Fault> {
        self.repeated(|| self.inner.create()).await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, Fault> {
        self.repeated(|| self.inner.list(kind)).await
    }

    async fn stat(&self, name: FileName) -> Result<u64, Fault> {
        self.repeated(|| self.inner.stat(name)).await
    }

    async fn read(&self, name: FileName, span: Span) -> Result<Bytes, Fault> {
        self.repeated(|| self.inner.read(name, span)).await
    }

    async fn read_into(&self, name: FileName, span: Span, buffer: Vec<u8>) -> Result<Vec<u8>, Fault> {
        // The first attempt takes the buffer with it.
        let mut buffer = Some(buffer);
        self.repeated(|| self.inner.read_into(name, span, buffer.take().unwrap_or_default())).await
    }

    async fn write(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        self.repeated(|| self.inner.write(name, bytes.clone())).await
    }

    async fn write_data(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        self.repeated(|| self.inner.write_data(name, bytes.clone())).await
    }

    async fn remove(&self, name: FileName) -> Result<(), Fault> {
        self.repeated(|| self.inner.remove(name)).await
    }

    fn may_be_cold(&self) -> bool {
        self.inner.may_be_cold()
    }

    async fn warmth(&self, name: FileName) -> Result<Warmth, Fault> {
        self.repeated(|| self.inner.warmth(name)).await
    }

    async fn warm_up(&self, name: FileName) -> Result<(), Fault> {
        self.repeated(|| self.inner.warm_up(name)).await
    }

    fn lock_days(&self) -> Option<u32> {
        self.inner.lock_days()
    }

    async fn lock_until(&self, name: FileName, until: Timestamp) -> Result<(), Fault> {
        self.repeated(|| self.inner.lock_until(name, until)).await
    }
}
