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
pub struct Retrying {
    inner: Arc<dyn Destination>,
    total: Duration,
    first_contact: Duration,
    first_backoff_milliseconds: u64,
    listener: Option<RetryListener>,
    /// Whether the place has ever answered. One that never has is given up sooner: most likely its address is wrong.
    answered: AtomicBool,
}

impl std::fmt::Debug for Retrying {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Retrying").field("inner", &self.inner).field("total", &self.total).finish_non_exhaustive()
    }
}

impl Retrying {
    /// Repeats on `inner` for as long as `limits` allow; `listener` hears of each repetition.
    pub fn new(inner: Arc<dyn Destination>, limits: &Limits, listener: Option<RetryListener>) -> Self {
        Self {
            inner,
            total: Duration::from_secs(limits.retry_total_seconds),
            first_contact: Duration::from_secs(limits.first_contact_seconds.min(limits.retry_total_seconds)),
            first_backoff_milliseconds: limits.first_backoff_milliseconds,
            listener,
            answered: AtomicBool::new(false),
        }
    }

    async fn repeated<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let mut give_up_at = None;
        for number in 1_u32.. {
            let fault = match attempt().await {
                Ok(answer) => {
                    self.answered.store(true, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(fault) => fault,
            };
            let silent = matches!(fault.kind, FaultKind::Unreachable | FaultKind::Stalled);
            if !silent {
                self.answered.store(true, Ordering::Relaxed);
            }
            if fault.retry() != Retry::Now {
                return Err(fault);
            }
            // The clock starts at the first failure: a long upload that breaks in the end still gets its second try.
            let total = if self.answered.load(Ordering::Relaxed) { self.total } else { self.first_contact };
            let give_up_at = *give_up_at.get_or_insert_with(|| tokio::time::sleep(total).deadline());
            let wait = fault.wait.unwrap_or_default().max(backoff(number, self.first_backoff_milliseconds));
            let pause = tokio::time::sleep(wait);
            if give_up_at < pause.deadline() {
                return Err(given_up(fault, number, total));
            }
            if let Some(listener) = &self.listener {
                listener(&RetryNotice { fault: &fault, attempt: number, wait });
            }
            pause.await;
        }
        Err(Fault::new(FaultKind::Failing, "retry", "", self.inner.place(), "too many attempts"))
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
