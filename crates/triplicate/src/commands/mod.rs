//! One file for each command. A command turns arguments into a request, runs it, and shows the report.

pub(crate) mod backup;
pub(crate) mod cache;
pub(crate) mod cat;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod copies;
pub(crate) mod diff;
pub(crate) mod dump;
pub(crate) mod explain;
pub(crate) mod find;
pub(crate) mod forget;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod prune;
pub(crate) mod quickstart;
pub(crate) mod repair;
pub(crate) mod restore;
pub(crate) mod snapshots;
pub(crate) mod stats;
pub(crate) mod store;
pub(crate) mod unlock;
pub(crate) mod version;

use format::Snapshot;
use model::Id;
use repository::Repository;

use crate::arguments::{Command, SnapshotArguments};
use crate::failure::Failure;
use crate::json;
use crate::session::Session;

/// Runs the command that was named.
pub(crate) fn run(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::Quickstart(arguments) => quickstart::run(session, &arguments),
        Command::Init(arguments) => init::run(session, &arguments),
        Command::Backup(arguments) => backup::run(session, &arguments),
        Command::Snapshots(arguments) => snapshots::run(session, &arguments),
        Command::Ls(arguments) => ls::run(session, &arguments),
        Command::Explain(arguments) => explain::run(session, &arguments),
        Command::Find(arguments) => find::run(session, &arguments),
        Command::Diff(arguments) => diff::run(session, &arguments),
        Command::Dump(arguments) => dump::run(session, &arguments),
        Command::Restore(arguments) => restore::run(session, &arguments),
        Command::Check(arguments) => check::run(session, &arguments),
        Command::Forget(arguments) => forget::run(session, &arguments),
        Command::Prune(arguments) => prune::run(session, &arguments),
        Command::Repair(arguments) => repair::run(session, &arguments),
        Command::Stats(arguments) => stats::run(session, &arguments),
        Command::Copies(arguments) => copies::run(session, &arguments),
        Command::Key(arguments) => key::run(session, &arguments),
        Command::Unlock(arguments) => unlock::run(session, &arguments),
        Command::Store(arguments) => store::run(session, &arguments),
        Command::Cache(arguments) => cache::run(session, &arguments),
        Command::Cat(arguments) => cat::run(session, &arguments),
        Command::Completions(arguments) => completions::run(session, &arguments),
        Command::Man(arguments) => man::run(session, &arguments),
        Command::Version(_) => version::run(session),
    }
}

/// The snapshots that a command looks at: the named ones, or all that the filter lets through. Snapshots that cannot
/// be read are named, and their number is given.
fn chosen_snapshots(
    session: &Session,
    repository: &Repository,
    names: &[String],
    filter: &SnapshotArguments,
) -> Result<(Vec<(Id, Snapshot)>, usize), Failure> {
    let filter = filter.filter();
    if !names.is_empty() {
        let find = |text: &String| repository.find_snapshot(text, &filter).map(|choice| (choice.id, choice.snapshot));
        return Ok((names.iter().map(find).collect::<Result<_, _>>()?, 0));
    }
    let listing = repository.snapshots()?;
    for trouble in &listing.troubles {
        session.screen.json_error(&json::CopyTrouble::damage(trouble));
        session.screen.warn(trouble.to_string());
    }
    let damaged = listing.troubles.len();
    Ok((listing.snapshots.into_iter().filter(|(_, snapshot)| filter.matches(snapshot)).collect(), damaged))
}
