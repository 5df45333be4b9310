//! `repair snapshots`: snapshots go on without what is lost.

use model::Id;
use repository::repair::snapshots::{Change, RepairSnapshotsRequest, SnapshotPlan, SnapshotRepair, SnapshotsPlan};
use serde_json::json;

use super::{removed_json, show_heal_plan, show_removed};
use crate::arguments::SnapshotArguments;
use crate::failure::Failure;
use crate::figures;
use crate::session::Session;
use crate::watch::Task;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The snapshots, by id or the beginning of one; without any, all that the filter lets through
    snapshots: Vec<String>,
    #[command(flatten)]
    filter: SnapshotArguments,
    /// Remove the old snapshots, and those of which nothing is left
    #[arg(long)]
    forget: bool,
    /// Change nothing; show what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let watch = session.watch(Task::Check);
    let repository = session.open(watch.clone())?;
    let filter = arguments.filter.filter();
    let is_filtered = !(filter.hosts.is_empty() && filter.paths.is_empty() && filter.tags.is_empty());
    let snapshots: Vec<Id> = if !arguments.snapshots.is_empty() {
        let find = |text: &String| repository.find_snapshot(text, &filter).map(|choice| choice.id);
        arguments.snapshots.iter().map(find).collect::<Result<_, _>>()?
    } else if is_filtered {
        let listing = repository.snapshots()?;
        let chosen: Vec<Id> =
            listing.snapshots.into_iter().filter(|(_, one)| filter.matches(one)).map(|(id, _)| id).collect();
        if chosen.is_empty() {
            return session.screen.line("no snapshot is meant");
        }
        chosen
    } else {
        Vec::new()
    };
    let request = RepairSnapshotsRequest { snapshots, forget: arguments.forget };
    let repair = {
        let _drawing = watch.draw();
        SnapshotRepair::examine(&repository, &request)?
    };
    let plan = repair.plan().clone();
    show_plan(session, &plan, arguments.forget)?;
    if arguments.dry_run || (plan.snapshots.is_empty() && plan.heal.replacements.is_empty()) {
        return Ok(());
    }
    let report = repair.apply()?;
    session.screen.json(&json!({
        "message_type": "summary",
        "files_healed": report.healed.files,
        "repaired": report.repaired.iter().map(|(old, new)| json!({ "old": old, "new": new })).collect::<Vec<_>>(),
        "left": report.left,
        "removed": removed_json(&report.removed),
    }))?;
    for (old, new) in &report.repaired {
        session.screen.line(format!("snapshot {} was made of {}", new.short(), old.short()))?;
    }
    show_removed(session, &report.removed)?;
    if report.left.is_empty() {
        return Ok(());
    }
    let snapshots = figures::count(report.left.len() as u64, "snapshot");
    Err(Failure::partial(format!("nothing is left of {snapshots}")).hint("--forget removes them"))
}

fn show_plan(session: &Session, plan: &SnapshotsPlan, forget: bool) -> Result<(), Failure> {
    let screen = &session.screen;
    for snapshot in &plan.snapshots {
        screen.json(&json!({
            "message_type": "plan",
            "snapshot": snapshot.id,
            "lost": snapshot.is_lost,
            "changes": snapshot.changes.iter().map(|(path, change)| json!({
                "path": String::from_utf8_lossy(path), "change": words(change),
            })).collect::<Vec<_>>(),
            "changes_left_out": snapshot.changes_left_out,
        }))?;
    }
    show_heal_plan(session, &plan.heal)?;
    if plan.snapshots.is_empty() {
        return screen.line("every snapshot is whole");
    }
    plan.snapshots.iter().try_for_each(|snapshot| show_snapshot(session, snapshot, forget))
}

fn show_snapshot(session: &Session, snapshot: &SnapshotPlan, forget: bool) -> Result<(), Failure> {
    let screen = &session.screen;
    let id = snapshot.id.short();
    if snapshot.is_lost {
        let what = if forget { "it is removed" } else { "--forget removes it" };
        return screen.line(format!("snapshot {id}: nothing is left of it; {what}"));
    }
    for (path, change) in &snapshot.changes {
        screen.line(format!("snapshot {id}: `{}`: {}", figures::shown(path), words(change)))?;
    }
    if snapshot.changes_left_out > 0 {
        let changes = figures::count(snapshot.changes_left_out, "change");
        screen
            .line(format!("snapshot {id}: {changes} more, or named above with a snapshot that has the same folder"))?;
    }
    Ok(())
}

fn words(change: &Change) -> String {
    match change {
        Change::ContentLost { blobs, of } => format!("{blobs} of its {of} pieces are lost and left out"),
        Change::SizeFixed => "its size is corrected".to_owned(),
        Change::FolderLost => "the folder is lost and becomes empty".to_owned(),
    }
}
