//! `diff`: what changed from one snapshot to another.

use repository::browse::{DiffCounts, DiffReport, DiffRequest, diff, folder};
use repository::locks::LockMode;
use repository::snapshots::SnapshotFilter;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::figures;
use crate::json;
use crate::session::Session;
use crate::watch::Task;

/// Show what changed from one snapshot to another
///
/// `+` added, `-` removed, `M` other content, `T` another type, `U` other metadata, `?` other content though nothing
/// else changed.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The first snapshot; `:/folder` may follow
    first: String,
    /// The second snapshot; `:/folder` may follow
    second: String,
    /// Show changes of metadata too
    #[arg(long)]
    metadata: bool,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let repository = session.open(session.watch(Task::Browse))?;
    let _guard = repository.lock(LockMode::Reading)?;
    let indexed = repository.indexed()?;
    let side = |text: &str| -> Result<(model::Id, model::Id), Failure> {
        let choice = repository.find_snapshot(text, &SnapshotFilter::default())?;
        let tree = match &choice.subfolder {
            Some(path) => folder(&indexed, &choice.snapshot.tree, path.as_bytes())?,
            None => choice.snapshot.tree,
        };
        Ok((choice.id, tree))
    };
    let (first, before) = side(&arguments.first)?;
    let (second, after) = side(&arguments.second)?;
    session.screen.remark(format!("comparing snapshot {} to {}:\n", first.short(), second.short()))?;
    let mut broken: Option<Failure> = None;
    let request = DiffRequest { metadata: arguments.metadata };
    let report = diff(&indexed, &before, &after, request, &mut |change| {
        let path = String::from_utf8_lossy(change.path);
        let written = session
            .screen
            .json(&json!({ "message_type": "change", "path": path, "modifier": change.modifier }))
            .and_then(|()| session.screen.line(format!("{:<5}{}", change.modifier, figures::shown(change.path))));
        written.map_err(|failure| {
            broken = Some(failure);
            repository::Error::Interrupted
        })
    });
    let report = match broken {
        Some(failure) => return Err(failure),
        None => report?,
    };
    show(session, &report, first, second)?;
    for unreadable in &report.unreadable {
        session.screen.json_error(&json::unreadable(unreadable));
        session.screen.warn(unreadable.to_string());
    }
    match report.unreadable.len() as u64 {
        0 => Ok(()),
        folders => Err(Failure::partial(format!("{} cannot be read", figures::count(folders, "folder")))),
    }
}

fn counts_json(counts: &DiffCounts) -> Value {
    json!({
        "files": counts.files,
        "dirs": counts.dirs,
        "others": counts.others,
        "data_blobs": counts.data_blobs,
        "tree_blobs": counts.tree_blobs,
        "bytes": counts.bytes,
    })
}

fn show(session: &Session, report: &DiffReport, first: model::Id, second: model::Id) -> Result<(), Failure> {
    let screen = &session.screen;
    screen.json(&json!({
        "message_type": "statistics",
        "source_snapshot": first,
        "target_snapshot": second,
        "changed_files": report.changed_files,
        "added": counts_json(&report.added),
        "removed": counts_json(&report.removed),
    }))?;
    let (added, removed) = (&report.added, &report.removed);
    let line = |what: &str, new: u64, gone: u64| format!("{what:<12}{new:>6} new, {gone:>5} removed");
    screen.remark("")?;
    screen.remark(format!("{}, {:>5} changed", line("Files:", added.files, removed.files), report.changed_files))?;
    screen.remark(line("Dirs:", added.dirs, removed.dirs))?;
    screen.remark(line("Others:", added.others, removed.others))?;
    screen.remark(line("Data Blobs:", added.data_blobs, removed.data_blobs))?;
    screen.remark(line("Tree Blobs:", added.tree_blobs, removed.tree_blobs))?;
    screen.remark(format!("  Added:   {}", figures::bytes(added.bytes)))?;
    screen.remark(format!("  Removed: {}", figures::bytes(removed.bytes)))
}
