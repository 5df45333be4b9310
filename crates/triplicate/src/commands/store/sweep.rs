//! `store sweep`: order between two runs of the server.

use serde_json::json;
use store::Vault;

use super::{DataFolder, failed, opened};
use crate::failure::Failure;
use crate::figures;
use crate::session::Session;

/// Remove what uploads left behind, compare the journal with the files, and name repositories without an account
///
/// Only while no server runs on the store. Nothing that somebody stored is removed. Files whose row in the journal was
/// damaged count as received now. The clock of this machine is taken for right, also when it is far ahead of what the
/// last server saw.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    data: DataFolder,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let state = opened(session, &arguments.data)?;
    let vault = Vault::open(state.folder()).map_err(failed)?;
    let swept = store::sweep::sweep(&state, &vault).map_err(failed)?;
    let ownerless: Vec<String> = swept.ownerless.iter().map(ToString::to_string).collect();
    session.screen.json(&json!({
        "message_type": "swept",
        "files_without_a_row": swept.reconciled.found,
        "rows_without_a_file": swept.reconciled.gone,
        "damaged_rows": swept.reconciled.mended,
        "ownerless": ownerless,
    }))?;
    for place in &ownerless {
        session.screen.line(format!("belongs to no account: {place}"))?;
    }
    let found = figures::count(swept.reconciled.found, "file");
    let gone = figures::count(swept.reconciled.gone, "row");
    let mended = figures::count(swept.reconciled.mended, "damaged row");
    session.screen.line(format!("{found} without a row, {gone} without a file, {mended}"))
}
