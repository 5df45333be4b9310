//! `store`: the storage server, and everything that its operator does with it.

mod account;
mod credential;
mod htpasswd;
mod init;
mod limits;
mod serve;
mod sweep;
mod token;
mod usage;
mod verify;

use std::path::PathBuf;

use store::accounts::AccountError;
use store::{State, StoreError};

use crate::environment;
use crate::failure::Failure;
use crate::session::Session;

/// Run a storage server for the copies of many accounts
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Init(init::Arguments),
    Serve(serve::Arguments),
    Account(Box<account::Arguments>),
    Credential(credential::Arguments),
    Token(token::Arguments),
    Htpasswd(htpasswd::Arguments),
    Verify(verify::Arguments),
    Sweep(sweep::Arguments),
    Usage(usage::Arguments),
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Init(arguments) => init::run(session, arguments),
        Command::Serve(arguments) => serve::run(session, arguments),
        Command::Account(arguments) => account::run(session, arguments),
        Command::Credential(arguments) => credential::run(session, arguments),
        Command::Token(arguments) => token::run(session, arguments),
        Command::Htpasswd(arguments) => htpasswd::run(session, arguments),
        Command::Verify(arguments) => verify::run(session, arguments),
        Command::Sweep(arguments) => sweep::run(session, arguments),
        Command::Usage(arguments) => usage::run(session, arguments),
    }
}

/// Which store.
#[derive(Debug, clap::Args)]
struct DataFolder {
    /// The folder of the store
    ///
    /// Without it, TRIPLICATE_STORE names the folder.
    #[arg(long, global = true, value_name = "FOLDER")]
    data: Option<PathBuf>,
}

impl DataFolder {
    fn path(&self) -> Result<PathBuf, Failure> {
        let named = self.data.clone().or_else(|| environment::path(environment::STORE));
        named.ok_or_else(|| {
            Failure::usage("no store was named").hint("name its folder with --data, or set TRIPLICATE_STORE")
        })
    }
}

/// The state of the store, for a command beside a server that may be running.
fn opened(session: &Session, data: &DataFolder) -> Result<State, Failure> {
    State::open(&data.path()?, session.clock.clone()).map_err(failed)
}

/// A change of accounts that was not made, with what can be done about it.
fn account_failed(error: AccountError) -> Failure {
    let failure = match &error {
        AccountError::Invalid(_) => Failure::usage(error.to_string()),
        _ => Failure::failed(error.to_string()),
    };
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// A failure of the store, with what can be done about it.
fn failed(error: impl Into<StoreError>) -> Failure {
    let error = error.into();
    let failure = match &error {
        StoreError::Setting { .. } => Failure::usage(error.to_string()),
        _ => Failure::failed(error.to_string()),
    };
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
