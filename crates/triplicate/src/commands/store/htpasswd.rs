//! `store htpasswd import`: the accounts of a server that was there before.

use std::path::PathBuf;

use serde_json::json;
use store::accounts::{AccountError, Limits, NewCredential, PasswordHash};
use store::{AccountName, Login, Role, State, htpasswd};

use super::{DataFolder, account_failed, credential, opened};
use crate::failure::Failure;
use crate::figures;
use crate::session::Session;

/// Take over accounts from an htpasswd file
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    data: DataFolder,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Add its users as accounts with their passwords; who is there already gets the file's password
    ///
    /// Only bcrypt is taken (`htpasswd -B`). One line that is not understood, and nothing is imported. To follow a file
    /// that others go on changing, serve with --htpasswd instead.
    Import {
        /// The file
        file: PathBuf,
        /// What the new credentials may do: read, append or full
        #[arg(long, value_name = "ROLE", default_value = "append", value_parser = credential::parse_role)]
        role: Role,
    },
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Became {
    Added,
    Changed,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let Action::Import { file, role } = &arguments.action;
    let hashes = htpasswd::read(file).map_err(|error| Failure::failed(error.to_string()).hint(error.hint()))?;
    let state = opened(session, &arguments.data)?;
    let mut added = 0;
    for (name, hash) in &hashes {
        let became = take(&state, name, hash, *role).map_err(account_failed)?;
        added += u64::from(became == Became::Added);
    }
    let changed = hashes.len() as u64 - added;
    session.screen.json(&json!({ "message_type": "imported", "added": added, "changed": changed }))?;
    let accounts = figures::count(hashes.len() as u64, "account");
    session.screen.line(format!("{accounts}: {added} added, {changed} with another password"))
}

fn take(state: &State, name: &AccountName, hash: &PasswordHash, role: Role) -> Result<Became, AccountError> {
    let new = NewCredential { label: None, role, hash: hash.clone(), expires_at: None };
    match state.add_account(name, Limits::default(), Some(&new)) {
        Ok(()) => return Ok(Became::Added),
        Err(AccountError::AccountExists(_)) => {}
        Err(error) => return Err(error),
    }
    match state.add_credential(name, &new) {
        Err(AccountError::CredentialExists(_)) => {
            state.change_password(&Login { account: name.clone(), label: None }, hash)?;
            Ok(Became::Changed)
        }
        added => added.map(|()| Became::Added),
    }
}
