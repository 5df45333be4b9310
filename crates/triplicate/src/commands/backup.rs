//! `backup`: one read of the sources, one snapshot on every copy.

use std::path::PathBuf;

use jiff::Zoned;
use model::{Fault, FaultKind};
use repository::backup::{BackupReport, BackupRequest, ParentChoice, backup};
use repository::copies::fan_out::CopyOutcome;
use serde_json::{Value, json};

use crate::arguments::ExcludeArguments;
use crate::commands::version;
use crate::failure::Failure;
use crate::figures;
use crate::json;
use crate::session::Session;
use crate::source_lists;
use crate::watch::Task;

/// Back files and folders up into every copy
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What to back up
    paths: Vec<PathBuf>,
    /// Read patterns of what to back up from a file; `-` is standard input
    #[arg(long, value_name = "FILE")]
    files_from: Vec<PathBuf>,
    /// Read what to back up from a file, one path in each line, as it stands
    #[arg(long, value_name = "FILE")]
    files_from_verbatim: Vec<PathBuf>,
    /// Read what to back up from a file, one path behind each NUL byte
    #[arg(long, value_name = "FILE")]
    files_from_raw: Vec<PathBuf>,
    #[command(flatten)]
    excludes: ExcludeArguments,
    /// Add these tags to the snapshot
    #[arg(long, value_name = "TAG[,TAG,...]")]
    tag: Vec<String>,
    /// The host name in the snapshot
    #[arg(short = 'H', long, value_name = "HOST", env = "RESTIC_HOST")]
    host: Option<String>,
    /// The time in the snapshot: `2026-11-21 08:00:00`, RFC 3339, or `now`
    #[arg(long, value_name = "TIME", value_parser = time)]
    time: Option<SnapshotTime>,
    /// Compare with this snapshot, not with the latest of the same host and paths
    #[arg(long, value_name = "SNAPSHOT", conflicts_with = "force")]
    parent: Option<String>,
    /// Read every file, whatever the parent snapshot says
    #[arg(short, long)]
    force: bool,
    /// A change of a file's ctime alone is no change
    #[arg(long)]
    ignore_ctime: bool,
    /// A change of a file's inode number alone is no change
    #[arg(long)]
    ignore_inode: bool,
    /// Keep access times
    #[arg(long)]
    with_atime: bool,
    /// Do everything but write
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Threads that read files; one for each core without it
    #[arg(long, value_name = "N", env = "RESTIC_READ_CONCURRENCY",
          value_parser = clap::value_parser!(u16).range(1..=256))]
    read_concurrency: Option<u16>,
    /// Do not open each sealed blob again before it counts
    #[arg(long)]
    no_verify: bool,
    /// Make a snapshot of sources that hold no files
    #[arg(long)]
    allow_empty: bool,
}

#[derive(Debug, Clone)]
enum SnapshotTime {
    Now,
    Local(jiff::civil::DateTime),
    Instant(jiff::Timestamp),
}

fn time(text: &str) -> Result<SnapshotTime, String> {
    if text == "now" {
        return Ok(SnapshotTime::Now);
    }
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Ok(SnapshotTime::Instant(instant));
    }
    let local =
        text.parse::<jiff::civil::DateTime>().or_else(|_| jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M", text));
    local.map(SnapshotTime::Local).map_err(|_| "use `2026-11-21 08:00:00`, RFC 3339, or `now`".to_owned())
}

/// A run's id and its start, as the snapshot's last tags: the same on every copy, so that runs are matched by id.
pub(crate) fn run_tags(start: jiff::Timestamp) -> Result<[String; 2], Failure> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| Failure::failed(format!("no random numbers: {error}")))?;
    Ok([format!("run:{}", hex::encode(random)), start.as_second().to_string()])
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let request = request(session, arguments)?;
    let watch = session.watch(Task::Backup);
    let repository = session.open(watch.clone())?;
    let report = {
        let _drawing = watch.draw();
        backup(&repository, &request)?
    };
    show(session, &report, arguments.dry_run)
}

fn request(session: &Session, arguments: &Arguments) -> Result<BackupRequest, Failure> {
    let mut paths = arguments.paths.clone();
    for (lists, read) in [
        (&arguments.files_from, source_lists::patterns as fn(&std::path::Path) -> _),
        (&arguments.files_from_verbatim, source_lists::verbatim),
        (&arguments.files_from_raw, source_lists::raw),
    ] {
        for list in lists {
            paths.extend(read(list)?);
        }
    }
    if paths.is_empty() {
        let hint = "name files or folders, or a list with --files-from";
        return Err(Failure::usage("nothing to back up was named").hint(hint));
    }
    let current = std::env::current_dir()
        .map_err(|error| Failure::failed(format!("cannot find out the current folder: {error}")))?;
    let (excludes, exclude_texts) = arguments.excludes.excludes()?;
    let now = session.clock.local();
    let mut tags: Vec<String> = arguments.tag.iter().flat_map(|list| list.split(',')).map(str::to_owned).collect();
    tags.retain(|tag| !tag.is_empty());
    tags.extend(run_tags(now.timestamp())?);
    let hostname = arguments.host.clone().unwrap_or_else(|| session.who.hostname.clone());
    Ok(BackupRequest {
        excludes,
        exclude_texts,
        tags,
        time: Some(snapshot_time(arguments.time.as_ref(), &now)?),
        program_version: version::PROGRAM.to_owned(),
        parent: match &arguments.parent {
            _ if arguments.force => ParentChoice::None,
            Some(text) => ParentChoice::Snapshot(text.clone()),
            None => ParentChoice::Auto,
        },
        ignore_ctime: arguments.ignore_ctime,
        ignore_inode: arguments.ignore_inode,
        with_atime: arguments.with_atime,
        allow_empty: arguments.allow_empty,
        dry_run: arguments.dry_run,
        compression: session.global.compression,
        verify: !arguments.no_verify,
        threads: arguments.read_concurrency.map(usize::from),
        ..BackupRequest::new(paths, current, hostname)
    })
}

fn snapshot_time(asked: Option<&SnapshotTime>, now: &Zoned) -> Result<Zoned, Failure> {
    let zone = now.time_zone().clone();
    match asked {
        // The run's start, as in its tag; the backup itself starts when the repository is open.
        None | Some(SnapshotTime::Now) => Ok(now.clone()),
        Some(SnapshotTime::Instant(instant)) => Ok(instant.to_zoned(zone)),
        Some(SnapshotTime::Local(local)) => {
            let zoned = local.to_zoned(zone);
            zoned.map_err(|error| Failure::usage(format!("cannot use this --time: {error}")))
        }
    }
}

fn show(session: &Session, report: &BackupReport, dry_run: bool) -> Result<(), Failure> {
    session.screen.json(&summary_json(report, dry_run))?;
    show_counts(session, report, dry_run)?;
    conclude(report)
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
        None => screen.remark("dry run: no snapshot was made"),
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

fn conclude(report: &BackupReport) -> Result<(), Failure> {
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
