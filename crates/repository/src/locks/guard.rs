//! Our locks on all copies while we work: kept fresh, looked at before what matters is written, removed at the end.

use std::sync::Arc;
use std::time::Duration;

use model::Fault;

use super::post::{Post, Renewal};

/// How long we try to remove a lock at the end. A copy that has died must not keep a finished program from ending; the
/// lock that stays there turns stale.
const REMOVAL_LIMIT: Duration = Duration::from_secs(20);

/// Locks held on every live copy; removed when dropped.
pub struct Guard {
    posts: Vec<Arc<Post>>,
    refreshers: Vec<tokio::task::JoinHandle<()>>,
    runtime: tokio::runtime::Handle,
}

/// What stands between a writer and the copies while our locks are held.
#[derive(Clone, Default)]
pub struct Fence(Vec<Arc<Post>>);

impl Fence {
    /// Whether our lock on copy `number` has been there all the time. Without locks there is nothing to confirm.
    pub(crate) async fn confirm(&self, number: usize) -> Result<(), Fault> {
        match self.0.iter().find(|post| post.number == number) {
            Some(post) => post.confirm().await,
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("locks", &self.posts.len()).finish()
    }
}
impl Guard {
    /// Keeps these locks fresh until it is dropped.
    pub(super) fn keep(posts: Vec<Arc<Post>>, renewal: &Renewal, runtime: tokio::runtime::Handle) -> Self {
        let refresher = |post: &Arc<Post>| runtime.spawn(renewal.clone().run(post.clone()));
        let refreshers = posts.iter().map(refresher).collect();
        Self { posts, refreshers, runtime }
    }

    /// What writers have to pass before they write an index or a snapshot.
    pub fn fence(&self) -> Fence {
        Fence(self.posts.clone())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.refreshers.iter().for_each(tokio::task::JoinHandle::abort);
        let removals = self.posts.iter().flat_map(|post| post.removals());
        let limited = async { tokio::time::timeout(REMOVAL_LIMIT, futures::future::join_all(removals)).await };
        // A lock that cannot be removed turns stale by itself; there is nobody left to tell.
        let _ = self.runtime.block_on(limited);
    }
}
