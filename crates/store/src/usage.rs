//! Who holds how much, as the rows tell: for a report, with or without a server at work.

use crate::accounts::AccountError;
use crate::admin::documents::{AccountDocument, UsageDocument};
use crate::journal;
use crate::names::RepositoryPlace;
use crate::state::State;
use crate::status::RepositoryDocument;
use crate::verify;

/// All accounts with their totals, and all repositories.
#[derive(Debug)]
pub struct Usage {
    /// Accounts by name.
    pub accounts: Vec<AccountDocument>,
    /// Repositories by account and name.
    pub repositories: Vec<RepositoryDocument>,
}

/// Counts.
///
/// # Errors
/// When the state cannot be used.
pub fn usage(state: &State) -> Result<Usage, AccountError> {
    let book = state.book()?;
    let holdings = journal::holdings(state, &book)?;
    let progress = verify::progress(state)?;
    let mut usage = Usage { accounts: Vec::new(), repositories: Vec::new() };
    for account in book.accounts() {
        let holding = holdings.holding(&account.name);
        let credentials = book.credentials_of(&account.name);
        usage.accounts.push(AccountDocument::of(account, &credentials, Some(UsageDocument::from(&holding))));
        for (repository, figures) in &holding.repositories {
            let place = RepositoryPlace { account: account.name.clone(), repository: repository.clone() };
            usage.repositories.push(RepositoryDocument::of(&place, figures, progress.get(&place)));
        }
    }
    Ok(usage)
}
