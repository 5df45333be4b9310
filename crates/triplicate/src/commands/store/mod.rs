//! `store`: the storage server, and everything that its operator does with it.

mod init;
mod serve;

use std::path::PathBuf;

use store::StoreError;

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
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Init(arguments) => init::run(session, arguments),
        Command::Serve(arguments) => serve::run(session, arguments),
    }
}

/// Which store.
#[derive(Debug, clap::Args)]
struct DataFolder {
    /// The folder of the store
    ///
    /// Without it, TRIPLICATE_STORE names the folder.
    #[arg(long, value_name = "FOLDER")]
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
