//! How an attempt says that it is alive, to whoever watches it from outside.
//!
//! The stall limit is a decorator and sees only calls and answers; bytes move deep inside an HTTP client. The two
//! meet in a task-local [`Progress`]: [`crate::Stalling`] sets it around an attempt, and the rooms that move bytes
//! take it once at the start of a request and note every step. Without a watcher noting costs nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

tokio::task_local! {
    static WATCHED: Progress;
}

/// A sign of life of one attempt.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress(Arc<Notify>);

impl Progress {
    /// The one that this task is watched by, or one that nobody watches.
    pub(crate) fn current() -> Self {
        WATCHED.try_with(Progress::clone).unwrap_or_default()
    }

    /// Something moved.
    pub(crate) fn note(&self) {
        self.0.notify_one();
    }

    /// Runs `attempt`, which may note progress; `None` when nothing was noted for `limit`.
    pub(crate) async fn watch<T>(limit: Duration, attempt: impl Future<Output = T>) -> Option<T> {
        let progress = Progress::default();
        let silence = async { while tokio::time::timeout(limit, progress.0.notified()).await.is_ok() {} };
        tokio::select! {
            biased;
            answer = WATCHED.scope(progress.clone(), attempt) => Some(answer),
            () = silence => None,
        }
    }
}
