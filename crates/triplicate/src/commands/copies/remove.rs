//! `copies remove`: takes a copy out of the set and removes what is the repository's from its place.

use repository::copies::retire::{RetireReport, retire};
use serde_json::json;

use crate::failure::Failure;
use crate::figures;
use crate::password;
use crate::session::Session;
use crate::watch::Task;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The place, as for -r; the copies that stay are named with -r
    address: String,
    /// Only show what would be removed
    #[arg(short = 'n', long)]
    dry_run: bool,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    // Together with the others, so that a place that is to stay is refused by name.
    let mut addresses = session.addresses()?;
    addresses.push(arguments.address.clone());
    let sites = session.sites_at(&addresses)?;
    let password = password::existing(&session.global)?;
    let watch = session.watch(Task::Prune);
    let repository = session.open_at(&sites, &password, watch.clone())?;
    let report = {
        let _drawing = watch.draw();
        retire(&repository, sites.len() - 1, arguments.dry_run)?
    };
    show(session, arguments, &report)?;
    match report.kept {
        None => Ok(()),
        Some((kept, fault)) => {
            let kept = figures::count(kept, "file");
            Err(Failure::partial(format!("{kept} could not be removed: {fault}"))
                .hint("remove the rest at the place itself, or call this with a credential that may"))
        }
    }
}

fn show(session: &Session, arguments: &Arguments, report: &RetireReport) -> Result<(), Failure> {
    let screen = &session.screen;
    screen.json(&json!({
        "message_type": "summary",
        "copy": report.copy,
        "dry_run": arguments.dry_run,
        "files": report.files,
        "bytes": report.bytes,
        "removed_files": report.removed,
        "kept_files": report.kept.as_ref().map_or(0, |(kept, _)| *kept),
    }))?;
    let (files, bytes) = (figures::count(report.files, "file"), figures::bytes(report.bytes));
    screen.line(match (arguments.dry_run, report.removed) {
        (true, _) => format!("copy {}: {files} would be removed ({bytes})", report.copy),
        (false, removed) if removed == report.files => {
            format!("copy {}: no longer a copy, {files} removed ({bytes})", report.copy)
        }
        (false, removed) => format!("copy {}: {removed} of {files} removed", report.copy),
    })
}
