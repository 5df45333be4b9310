//! `backup`: one read of the sources, one snapshot on every copy.
//!
//! | room | what it is for |
//! |---|---|
//! | [`sources`], [`lists`] | files and folders of this machine, as options name them |
//! | [`streams`] | standard input, or what a command writes |
//! | [`named`] | sources of the configuration, each with its hooks and a snapshot of its own |
//! | [`report`] | what is shown of a backup |

mod lists;
mod named;
mod report;
mod sources;
mod streams;

use std::path::PathBuf;

use jiff::Zoned;
use repository::backup::{BackupReport, BackupRequest, Given, ParentChoice, backup};

use crate::commands::version;
use crate::failure::Failure;
use crate::session::Session;
use crate::watch::Task;
pub(crate) use report::show_behind;
pub(crate) use sources::SourceArguments;
use streams::StreamArguments;

/// Back files and folders up into every copy
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    sources: SourceArguments,
    #[command(flatten)]
    streams: StreamArguments,
    /// Back up this source of the configuration; several times for several snapshots
    #[arg(long, value_name = "NAME")]
    source: Vec<String>,
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
    /// Make no snapshot when nothing has changed since the one it is compared with
    #[arg(long)]
    skip_if_unchanged: bool,
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

/// One backup of one source.
struct Run {
    start: Zoned,
    id: String,
}

impl Run {
    fn begin(session: &Session) -> Result<Self, Failure> {
        Ok(Self { start: session.clock.local(), id: run_id()? })
    }

    /// Its id and its start, as the snapshot's last tags: the same on every copy, so that runs are matched by id.
    fn tags(&self) -> [String; 2] {
        tags_of(&self.id, self.start.timestamp())
    }
}

fn run_id() -> Result<String, Failure> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| Failure::failed(format!("no random numbers: {error}")))?;
    Ok(hex::encode(random))
}

fn tags_of(id: &str, start: jiff::Timestamp) -> [String; 2] {
    [format!("run:{id}"), start.as_second().to_string()]
}

/// The tags of a run that starts now.
pub(crate) fn run_tags(start: jiff::Timestamp) -> Result<[String; 2], Failure> {
    Ok(tags_of(&run_id()?, start))
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    if !arguments.source.is_empty() {
        return named::run(session, arguments);
    }
    let what = match arguments.streams.given(&arguments.sources)? {
        Some(given) => what_is_elsewhere(session, given),
        None => arguments.sources.request(session)?,
    };
    report::conclude(&back_up(session, arguments, what, Vec::new(), &Run::begin(session)?)?)
}

/// Makes one snapshot, and shows it. `tags` come before those of the run.
fn back_up(
    session: &Session,
    arguments: &Arguments,
    what: BackupRequest,
    tags: Vec<String>,
    run: &Run,
) -> Result<BackupReport, Failure> {
    let request = request(session, arguments, what, tags, run)?;
    let watch = session.watch(Task::Backup);
    let repository = session.open(watch.clone())?;
    let report = {
        let _drawing = watch.draw();
        backup(&repository, &request)?
    };
    report::show(session, &report, arguments.dry_run)?;
    Ok(report)
}

/// A request for what is on no disk of this machine.
fn what_is_elsewhere(session: &Session, given: Given) -> BackupRequest {
    BackupRequest {
        origin: Some(given),
        ..BackupRequest::new(Vec::new(), PathBuf::new(), session.who.hostname.clone())
    }
}

/// What a call says of every snapshot that it makes.
fn request(
    session: &Session,
    arguments: &Arguments,
    what: BackupRequest,
    more_tags: Vec<String>,
    run: &Run,
) -> Result<BackupRequest, Failure> {
    let mut tags: Vec<String> = arguments.tag.iter().flat_map(|list| list.split(',')).map(str::to_owned).collect();
    tags.retain(|tag| !tag.is_empty());
    tags.extend(more_tags);
    tags.extend(run.tags());
    Ok(BackupRequest {
        tags,
        hostname: arguments.host.clone().unwrap_or(what.hostname),
        time: Some(snapshot_time(arguments.time.as_ref(), &run.start)?),
        program_version: version::PROGRAM.to_owned(),
        parent: match &arguments.parent {
            _ if arguments.force => ParentChoice::None,
            Some(text) => ParentChoice::Snapshot(text.clone()),
            None => ParentChoice::Auto,
        },
        ignore_ctime: arguments.ignore_ctime,
        ignore_inode: arguments.ignore_inode,
        with_atime: arguments.with_atime,
        allow_empty: arguments.allow_empty || what.allow_empty,
        dry_run: arguments.dry_run,
        compression: session.global.compression,
        verify: !arguments.no_verify,
        threads: arguments.read_concurrency.map(usize::from),
        skip_if_unchanged: arguments.skip_if_unchanged,
        ..what
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
