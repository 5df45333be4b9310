//! What is shown of a backup: counts, copies, and what was not as it was asked for.

use model::{Fault, FaultKind};
use repository::backup::BackupReport;
use repository::copies::fan_out::CopyOutcome;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::figures;
use crate::json;
use crate::session::Session;

pub(super) fn show(session: &Session, report: &BackupReport, dry_run: bool) -> Result<(), Failure> {
    session.screen.json(&summary_json(report, dry_run))?;
    show_counts(session, report, dry_run)
}

/// restic's summary line, with ours behind it.
fn summary_json(report: &BackupReport, dry_run: bool) -> Value {
    let summary = &report.summary;
    let mut value = json!({
        "message_type": "summary",
        "files_new": summary.files_new,
        "files_changed": summary.files_changed,
        "files_unmodified": summary.files_unmodified,
        "dirs_new": summary.dirs_new,
        "dirs_changed": summary.dirs_changed,
        "dirs_unmodified": summary.dirs_unmodified,
        "data_blobs": summary.data_blobs,
        "tree_blobs": summary.tree_blobs,
        "data_added": summary.data_added,
        "data_added_packed": summary.data_added_packed,
        "total_files_processed": summary.total_files_processed,
        "total_bytes_processed": summary.total_bytes_processed,
        "total_duration": report.duration.as_secs_f64(),
        "backup_start": figures::rfc3339(&summary.backup_start),
        "backup_end": figures::rfc3339(&summary.backup_end),
    });
    if let (Some(id), Some(object)) = (report.id, value.as_object_mut()) {
        object.insert("snapshot_id".to_owned(), id.to_hex().into());
    }
    if let (true, Some(object)) = (dry_run, value.as_object_mut()) {
        object.insert("dry_run".to_owned(), true.into());
    }
    if let Some(object) = value.as_object_mut() {
        let copies: Vec<json::CopyEnd> = report.copies.iter().map(json::CopyEnd::from).collect();
        object.insert("unchanged".to_owned(), report.is_unchanged.into());
        object.insert("verdict".to_owned(), report.verdict.word().into());
        object.insert("troubles".to_owned(), report.troubles.len().into());
        object.insert("copies".to_owned(), serde_json::to_value(copies).unwrap_or_default());
    }
    value
}

fn show_counts(session: &Session, report: &BackupReport, dry_run: bool) -> Result<(), Failure> {
    let (screen, summary) = (&session.screen, &report.summary);
    let line = |what: &str, new, changed, unmodified| {
        format!("{what:<11} {new:>5} new, {changed:>5} changed, {unmodified:>5} unmodified")
    };
    let (added, packed) = (figures::bytes(summary.data_added), figures::bytes(summary.data_added_packed));
    let would = if dry_run { "Would add to" } else { "Added to" };
    screen.remark(line("Files:", summary.files_new, summary.files_changed, summary.files_unmodified))?;
    screen.remark(line("Dirs:", summary.dirs_new, summary.dirs_changed, summary.dirs_unmodified))?;
    screen.remark(format!("{would} each copy: {added} ({packed} stored)"))?;
    let files = figures::count(summary.total_files_processed, "file");
    let (bytes, time) = (figures::bytes(summary.total_bytes_processed), figures::duration(report.duration));
    screen.remark(format!("processed {files}, {bytes} in {time}"))?;
    for outcome in &report.copies {
        if outcome.fault.is_none() {
            screen.remark(format!("copy {}: complete", outcome.copy))?;
        }
    }
    show_behind(session, &report.copies);
    match report.id {
        Some(id) => screen.line(format!("snapshot {} saved", id.short())),
        None if dry_run => screen.remark("dry run: no snapshot was made"),
        None => screen.remark("nothing has changed: no snapshot was made"),
    }
}

/// Names the copies that are behind; also after `copies sync`.
pub(crate) fn show_behind(session: &Session, copies: &[CopyOutcome]) {
    for outcome in copies {
        if let Some(fault) = &outcome.fault {
            session.screen.warn(format!("copy {} is behind: {fault}", outcome.copy));
        }
    }
}

fn is_no_copy_yet(fault: &Fault) -> bool {
    fault.kind == FaultKind::NotFound && fault.object == format::FileName::CONFIG.path()
}

/// What of the backup is not as it was asked for.
pub(super) fn conclude(report: &BackupReport) -> Result<(), Failure> {
    let behind = report.copies.iter().filter(|outcome| outcome.fault.is_some()).count() as u64;
    let troubles = report.troubles.len() as u64;
    if behind == 0 && troubles == 0 && !report.has_damage {
        return Ok(());
    }
    let mut parts = Vec::new();
    if troubles > 0 {
        parts.push(format!("{} not saved as asked", figures::count(troubles, "entry")));
    }
    if behind > 0 {
        let of = report.copies.len();
        parts.push(format!("{behind} of {of} copies {} behind", figures::is_or_are(behind)));
    }
    // The new snapshot is whole, but who only looks at exit codes must not learn of lost ones on the day they are needed.
    if report.has_damage {
        parts.push("what older snapshots need is damaged".to_owned());
    }
    let mut failure = Failure::partial(format!("the backup is partial: {}", parts.join(", ")));
    if report.has_damage {
        failure = failure.hint("`triplicate check --read-data` names what is lost");
    }
    Err(if report.copies.iter().filter_map(|outcome| outcome.fault.as_ref()).any(is_no_copy_yet) {
        failure.hint(
            "is the disk of the copy without a repository mounted? a new, empty place becomes a copy by `triplicate copies add`",
        )
    } else if behind > 0 {
        failure.hint(
            "when the copy is reachable again: `triplicate copies sync`, or the next backup, brings it up to date",
        )
    } else {
        failure
    })
}
