//! `unlock`: removes locks that nobody holds any more.

use serde_json::json;

use crate::failure::Failure;
use crate::figures;
use crate::session::Session;
use crate::watch::Task;

/// Remove stale locks from every copy
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Remove all locks, held ones too
    #[arg(long)]
    remove_all: bool,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let repository = session.open(session.watch(Task::Browse))?;
    let removed = repository.unlock(arguments.remove_all)? as u64;
    session.screen.json(&json!({ "message_type": "summary", "locks_removed": removed }))?;
    session.screen.remark(format!("removed {}", figures::count(removed, "lock")))
}
