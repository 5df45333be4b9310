//! `restore`: a snapshot, or a part of it, becomes files again.

mod into;

use std::path::PathBuf;

use repository::locks::LockMode;
use repository::restore::{Incomplete, Overwrite, RestoreReport, RestoreRequest, restore};
use serde_json::{Value, json};

use crate::arguments::{SelectionArguments, SnapshotArguments, WarmUpArguments};
use crate::failure::Failure;
use crate::figures;
use crate::session::Session;
use crate::watch::Task;

/// Restore a snapshot, or a part of it, into a folder
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The snapshot, by id, the beginning of one, or `latest`; `:/folder` behind it restores the contents of that folder
    snapshot: String,
    /// The folder to restore into
    #[arg(short, long, value_name = "FOLDER", required_unless_present = "into")]
    target: Option<PathBuf>,
    #[command(flatten)]
    into: into::IntoArguments,
    #[command(flatten)]
    selection: SelectionArguments,
    #[command(flatten)]
    filter: SnapshotArguments,
    /// Leave holes where a file has nothing but zeros
    #[arg(long)]
    sparse: bool,
    /// Read every restored file again and compare it with the snapshot
    #[arg(long)]
    verify: bool,
    /// Change nothing; count what would be done
    #[arg(long)]
    dry_run: bool,
    /// What to do with files that are there: always, if-changed, if-newer or never
    #[arg(long, value_name = "BEHAVIOUR", default_value = "always", value_parser = overwrite)]
    overwrite: Overwrite,
    /// Remove what is in restored folders and not in the snapshot
    #[arg(long)]
    delete: bool,
    #[command(flatten)]
    warm_up: WarmUpArguments,
    /// Keep files of which bytes are lost, with zeros in their place
    #[arg(long)]
    keep_incomplete: bool,
}

fn overwrite(text: &str) -> Result<Overwrite, String> {
    text.parse().map_err(|error: repository::restore::UnknownOverwrite| error.to_string())
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let selection = arguments.selection.selection()?;
    let watch = session.watch(Task::Restore);
    let repository = session.open(watch.clone())?;
    let _guard = repository.lock(LockMode::Reading)?;
    let choice = repository.find_snapshot(&arguments.snapshot, &arguments.filter.filter())?;
    let zone = repository.clock().time_zone();
    if let Some(address) = &arguments.into.into {
        return into::run(session, &repository.indexed()?, &choice.snapshot, address, &arguments.into);
    }
    let folder = arguments.target.clone().unwrap_or_default();
    let (time, paths) = (figures::moment(&choice.snapshot.time, &zone), choice.snapshot.paths.join(", "));
    let target = folder.display();
    session.screen.note(format!("restoring snapshot {} of [{paths}] at {time} to {target}", choice.id.short()));
    let request = RestoreRequest {
        subfolder: choice.subfolder.map(String::into_bytes),
        target: folder.clone(),
        selection,
        sparse: arguments.sparse,
        verify: arguments.verify,
        dry_run: arguments.dry_run,
        overwrite: arguments.overwrite,
        delete: arguments.delete,
        incomplete: if arguments.keep_incomplete { Incomplete::Keep } else { Incomplete::Remove },
        patience: arguments.warm_up.patience_or_usual(),
        threads: 0,
    };
    let indexed = repository.indexed()?;
    let report = {
        let _drawing = watch.draw();
        restore(&indexed, &choice.snapshot, &request, watch.as_ref())?
    };
    // Everything of the snapshot came back and was read once more.
    let is_whole = request.subfolder.is_none() && request.selection.takes_everything() && report.kept == 0;
    if arguments.verify && is_whole && report.verdict() == model::Verdict::Ok {
        repository.note_verified([choice.id]);
    }
    show(session, &report, arguments.dry_run)?;
    conclude(&report)
}

fn summary_json(report: &RestoreReport) -> Value {
    // restic counts every kind of entry as a file here.
    let restored = report.directories + report.files + report.others;
    let skipped = report.unchanged + report.kept;
    let mut value = json!({
        "message_type": "summary",
        "total_files": report.entries_total() + report.failed_count,
        "files_restored": restored,
    });
    let mut add_if_any = |name: &str, number: u64| {
        if let (true, Some(object)) = (number > 0, value.as_object_mut()) {
            object.insert(name.to_owned(), number.into());
        }
    };
    add_if_any("files_skipped", skipped);
    add_if_any("files_deleted", report.deleted);
    add_if_any("cold_packs", report.cold_packs);
    add_if_any("cold_bytes", report.cold_bytes);
    for (name, number) in [
        ("total_bytes", json!(report.bytes_total)),
        ("bytes_restored", json!(report.bytes_written)),
        ("verdict", json!(report.verdict().word())),
        ("troubles", json!(report.failed_count + report.warnings_count)),
        ("files_verified", json!(report.files_verified)),
        ("owners_not_set", json!(report.owners_not_set)),
    ] {
        if let Some(object) = value.as_object_mut() {
            object.insert(name.to_owned(), number);
        }
    }
    if let (true, Some(object)) = (report.bytes_skipped > 0, value.as_object_mut()) {
        object.insert("bytes_skipped".to_owned(), report.bytes_skipped.into());
    }
    value
}

fn show(session: &Session, report: &RestoreReport, dry_run: bool) -> Result<(), Failure> {
    let screen = &session.screen;
    screen.json(&summary_json(report))?;
    let (all, written) = (report.entries_total(), figures::bytes(report.bytes_written));
    let would = if dry_run { "would restore" } else { "restored" };
    let restored = figures::count(report.directories + report.files + report.others, "entry");
    let mut line = format!("{would} {restored} of {all} ({written})");
    let skipped = report.unchanged + report.kept;
    if skipped > 0 {
        line.push_str(&format!(", {skipped} were there ({})", figures::bytes(report.bytes_skipped)));
    }
    if report.deleted > 0 {
        line.push_str(&format!(", removed {}", figures::count(report.deleted, "entry")));
    }
    screen.remark(line)?;
    if dry_run && report.cold_packs > 0 {
        let (packs, bytes) = (figures::count(report.cold_packs, "pack"), figures::bytes(report.cold_bytes));
        screen.remark(format!("{packs} ({bytes}) lie in an archive and have to be asked for first"))?;
    }
    if report.files_verified > 0 {
        screen.remark(format!("verified {}", figures::count(report.files_verified, "file")))?;
    }
    if report.owners_not_set > 0 {
        let entries = figures::count(report.owners_not_set, "entry");
        screen.warn(format!("the owners of {entries} were not set: only root may do that"));
    }
    Ok(())
}

fn conclude(report: &RestoreReport) -> Result<(), Failure> {
    if report.failed_count > 0 {
        let entries = figures::count(report.failed_count, "entry");
        return Err(Failure::partial(format!("the restore is partial: {entries} not restored"))
            .hint("name a further copy with -r if there is one, and run the same command again: it continues"));
    }
    if report.verdict() == model::Verdict::Partial {
        let entries = figures::count(report.warnings_count, "entry");
        return Err(Failure::partial(format!("the restore is partial: the metadata of {entries} are incomplete")));
    }
    Ok(())
}
