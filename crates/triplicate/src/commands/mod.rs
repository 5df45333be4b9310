//! One file for each command. A command turns arguments into a request, runs it, and shows the report.

pub(crate) mod backup;
pub(crate) mod completions;
pub(crate) mod init;
pub(crate) mod man;
pub(crate) mod snapshots;
pub(crate) mod version;

use crate::arguments::Command;
use crate::failure::Failure;
use crate::session::Session;

/// Runs the command that was named.
pub(crate) fn run(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::Init(arguments) => init::run(session, &arguments),
        Command::Backup(arguments) => backup::run(session, &arguments),
        Command::Snapshots(arguments) => snapshots::run(session, &arguments),
        Command::Completions(arguments) => completions::run(session, &arguments),
        Command::Man(arguments) => man::run(session, &arguments),
        Command::Version(_) => version::run(session),
    }
}
