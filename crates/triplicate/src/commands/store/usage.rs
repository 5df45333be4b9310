//! `store usage`: who holds how much.

use serde_json::json;

use super::{DataFolder, account_failed, opened};
use crate::failure::Failure;
use crate::figures;
use crate::session::Session;
use crate::table::Table;

/// Show what each repository holds, and when its last snapshot was received
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    data: DataFolder,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let state = opened(session, &arguments.data)?;
    let usage = store::usage::usage(&state).map_err(account_failed)?;
    session.screen.json(&json!({ "accounts": usage.accounts, "repositories": usage.repositories }))?;
    let mut table = Table::new(["Repository", "Files", "Bytes", "Snapshots", "Last received", "Damaged"]);
    for repository in &usage.repositories {
        let snapshots = repository.kinds.get(format::FileKind::Snapshot.folder()).map_or(0, |kind| kind.files);
        table.row([
            format!("{}/{}", repository.account, repository.repository),
            repository.files.to_string(),
            figures::bytes(repository.bytes),
            snapshots.to_string(),
            repository.last_snapshot_received_at.map_or_else(String::new, |at| at.0.to_string()),
            repository.verification.damaged.to_string(),
        ]);
    }
    let bytes = usage.repositories.iter().map(|repository| repository.bytes).sum();
    let repositories = figures::count(usage.repositories.len() as u64, "repository");
    table.footer(format!("{repositories}, {}", figures::bytes(bytes)));
    table.lines().into_iter().try_for_each(|line| session.screen.line(line))
}
