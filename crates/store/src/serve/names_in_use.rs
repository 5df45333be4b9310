//! One request at a time changes what has a name.
//!
//! A removal and a new upload of one file must not cross between the disk and the journal. Whoever changes a file holds
//! its name for that time; others wait, in order. Reading needs no name: an open file stays what it was.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use format::FileName;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use crate::names::{AccountName, RepositoryPlace};

/// What is held.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    File(RepositoryPlace, FileName),
    /// For the making of repositories.
    Account(AccountName),
}

/// The names that somebody holds or waits for.
#[derive(Debug, Default)]
pub(super) struct NamesInUse {
    turns: Mutex<HashMap<Key, Arc<Turn<()>>>>,
}

/// A name that is held. Fields are dropped in this order: the turn passes on before the claim ends.
#[derive(Debug)]
pub(super) struct Held {
    _turn: OwnedMutexGuard<()>,
    _claim: Claim,
}

/// Somebody who holds a name or waits for it. The last one takes the entry away.
#[derive(Debug)]
struct Claim {
    names: Arc<NamesInUse>,
    key: Key,
    turn: Option<Arc<Turn<()>>>,
}

impl NamesInUse {
    /// Waits for the name, and holds it.
    pub(super) async fn hold(self: &Arc<Self>, place: &RepositoryPlace, name: FileName) -> Held {
        self.hold_key(Key::File(place.clone(), name)).await
    }

    /// Waits for the account's turn to make a repository. Its files are not held by it.
    pub(super) async fn hold_account(self: &Arc<Self>, account: &AccountName) -> Held {
        self.hold_key(Key::Account(account.clone())).await
    }

    async fn hold_key(self: &Arc<Self>, key: Key) -> Held {
        let turn = Arc::clone(self.turns().entry(key.clone()).or_default());
        let claim = Claim { names: Arc::clone(self), key, turn: Some(Arc::clone(&turn)) };
        Held { _turn: turn.lock_owned().await, _claim: claim }
    }

    fn turns(&self) -> MutexGuard<'_, HashMap<Key, Arc<Turn<()>>>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut turns = self.names.turns();
        self.turn = None;
        // Copies are made under this lock only: one that is left is the map's own.
        if turns.get(&self.key).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            turns.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn a_name_is_held_by_one_and_forgotten_after_the_last() {
        let names = Arc::new(NamesInUse::default());
        let place = RepositoryPlace { account: "alice".parse().unwrap(), repository: "main".parse().unwrap() };
        let first = names.hold(&place, FileName::CONFIG).await;
        let mut second = Box::pin(names.hold(&place, FileName::CONFIG));
        let mut third = Box::pin(names.hold(&place, FileName::CONFIG));
        assert!((&mut second).now_or_never().is_none() && (&mut third).now_or_never().is_none());
        assert!(names.hold_account(&place.account).now_or_never().is_some());
        drop(first);
        drop(second);
        drop((&mut third).await);
        drop(third);
        assert!(names.turns().is_empty());
    }
}
