//! How bytes that move deep inside a client take their turns.
//!
//! As with signs of life, the decorator that knows the meters sees only calls and answers. The two meet in a task-local
//! [`Flow`]: [`crate::Pacing`] sets it around an attempt; the rooms that move bytes take it once at the start of a request
//! and ask before every step. Without meters nothing is asked and nothing waits.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::Meters;
use super::meter::Meter;
use crate::around::progress::Progress;

/// While we hold back, a sign of life is given so often: the shortest stall limit is a second.
const SIGN_OF_LIFE: Duration = Duration::from_millis(250);

tokio::task_local! {
    static METERED: Arc<Meters>;
}

/// A wait for a turn.
pub(crate) type Wait = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// What one attempt moves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flow {
    progress: Progress,
    meters: Option<Arc<Meters>>,
}

impl Flow {
    /// That of this task, which nobody may watch or meter.
    pub(crate) fn current() -> Self {
        Self { progress: Progress::current(), meters: METERED.try_with(Arc::clone).ok() }
    }

    /// Runs `attempt`, whose steps take turns on these meters.
    pub(crate) async fn metered<T>(meters: &Arc<Meters>, attempt: impl Future<Output = T>) -> T {
        METERED.scope(meters.clone(), attempt).await
    }

    /// Something moved.
    pub(crate) fn note(&self) {
        self.progress.note();
    }

    /// How much to send in one step, of which `usual` is the most.
    pub(crate) fn upload_step_bytes(&self, usual: usize) -> usize {
        self.meters.as_ref().map_or(usual, |meters| meters.up.step_bytes(usual))
    }

    /// The wait before so many bytes are sent; none when they may go at once.
    pub(crate) fn upload(&self, bytes: usize) -> Option<Wait> {
        self.wait_on(|meters| &meters.up, bytes as u64)
    }

    /// Waits after so many bytes have come, before more are taken.
    pub(crate) async fn downloaded(&self, bytes: usize) {
        if let Some(wait) = self.wait_on(|meters| &meters.down, bytes as u64) {
            wait.await;
        }
    }

    /// Waits before a request begins.
    pub(crate) async fn request(&self) {
        if let Some(wait) = self.wait_on(|meters| &meters.requests, 1) {
            wait.await;
        }
    }

    fn wait_on(&self, meter: impl FnOnce(&Meters) -> &Meter, amount: u64) -> Option<Wait> {
        let begins = meter(self.meters.as_ref()?).turn(amount)?;
        let progress = self.progress.clone();
        Some(Box::pin(async move {
            let mut end = std::pin::pin!(tokio::time::sleep_until(begins));
            while tokio::time::timeout(SIGN_OF_LIFE, end.as_mut()).await.is_err() {
                progress.note();
            }
            progress.note();
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::pace::{Pace, Rates, Timetable};

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_a_turn_is_a_sign_of_life() {
        let limit = Timetable::constant(1 << 10);
        let clock = Arc::new(clock::SystemClock::new());
        let rates = Rates { upload: limit.clone(), download: limit, ..Rates::default() };
        let pace = Pace { rates, clock };
        let meters = Arc::new(Meters::new(&pace));
        let attempt = async {
            let flow = Flow::current();
            // The first moves at once, the others after a hundred seconds each.
            for _ in 0..3 {
                flow.downloaded(100 << 10).await;
                if let Some(wait) = flow.upload(100 << 10) {
                    wait.await;
                }
            }
        };
        let began = tokio::time::Instant::now();
        let watched = Progress::watch(Duration::from_secs(1), attempt);
        assert!(Flow::metered(&meters, watched).await.is_some(), "{:?}", began.elapsed());
        assert!((200..=201).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        // Who is not metered waits for nothing, and silence is still silence.
        assert!(Flow::current().upload(1 << 30).is_none());
        let silent = Progress::watch(Duration::from_secs(1), std::future::pending::<()>());
        assert!(Flow::metered(&meters, silent).await.is_none());
    }
}
