//! Puts in order what nobody does while a server runs: rows beside files, leftovers, and repositories without an owner.
//!
//! Nothing that somebody stored is removed. A repository whose account is not known is named and left alone: it may be
//! all that is left of an account whose row was lost.

use crate::error::StoreError;
use crate::journal::Reconciled;
use crate::journal::reconcile;
use crate::names::RepositoryPlace;
use crate::state::State;
use crate::vault::Vault;

/// What a sweep found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Rows that were put right.
    pub reconciled: Reconciled,
    /// Repositories that belong to no account.
    pub ownerless: Vec<RepositoryPlace>,
}

/// Sweeps a store that no server works on: the vault was opened with its lock, and opening it has removed leftovers of
/// uploads. The clock is believed as it is from now on.
///
/// # Errors
/// When the state cannot be used, or files cannot be listed.
pub fn sweep(state: &State, vault: &Vault) -> Result<Swept, StoreError> {
    let reconciled = reconcile::reconcile(state)?;
    state.believe_clock()?;
    let book = state.book()?;
    let mut ownerless = vault.repositories()?;
    ownerless.retain(|place| book.account(&place.account).is_none());
    Ok(Swept { reconciled, ownerless })
}
