//! `stats`: how much snapshots hold.

use repository::browse::{StatsMode, StatsReport, stats};
use repository::locks::LockMode;
use serde_json::{Value, json};

use crate::arguments::SnapshotArguments;
use crate::failure::Failure;
use crate::figures;
use crate::json;
use crate::session::Session;
use crate::watch::Task;

/// Count what snapshots hold together
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The snapshots, by id, the beginning of one, or `latest`; all of them without
    snapshots: Vec<String>,
    /// What to count: restore-size, files-by-contents, blobs-per-file or raw-data
    #[arg(long, value_name = "MODE", default_value = "restore-size", value_parser = mode)]
    mode: StatsMode,
    #[command(flatten)]
    filter: SnapshotArguments,
}

fn mode(text: &str) -> Result<StatsMode, String> {
    text.parse().map_err(|error: repository::Error| error.to_string())
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let repository = session.open(session.watch(Task::Browse))?;
    let _guard = repository.lock(LockMode::Reading)?;
    let (snapshots, damaged) = super::chosen_snapshots(session, &repository, &arguments.snapshots, &arguments.filter)?;
    let report = stats(&repository.indexed()?, &snapshots, arguments.mode)?;
    session.screen.json(&stats_json(&report, arguments.mode))?;
    show(session, &report, arguments.mode)?;
    for unreadable in &report.unreadable {
        session.screen.json_error(&json::unreadable(unreadable));
        session.screen.warn(unreadable.to_string());
    }
    if damaged > 0 || !report.unreadable.is_empty() {
        return Err(Failure::partial("the numbers are too small: not everything could be read"));
    }
    Ok(())
}

fn stats_json(report: &StatsReport, mode: StatsMode) -> Value {
    let mut value = json!({ "total_size": report.total_size });
    let Some(object) = value.as_object_mut() else { return value };
    let mut add = |name: &str, value: Value| {
        object.insert(name.to_owned(), value);
    };
    if report.total_uncompressed_size > 0 {
        add("total_uncompressed_size", report.total_uncompressed_size.into());
        add("compression_ratio", report.compression_ratio.into());
        add("compression_progress", report.compression_progress.into());
        add("compression_space_saving", report.compression_space_saving.into());
    }
    if mode != StatsMode::RawData {
        add("total_file_count", report.total_file_count.into());
    }
    if matches!(mode, StatsMode::RawData | StatsMode::BlobsPerFile) {
        add("total_blob_count", report.total_blob_count.into());
    }
    add("snapshots_count", report.snapshots_count.into());
    value
}

fn show(session: &Session, report: &StatsReport, mode: StatsMode) -> Result<(), Failure> {
    let screen = &session.screen;
    screen.line(format!("Stats in {} mode:", mode.word()))?;
    let line = |what: &str, value: String| format!("{what:>21}  {value}");
    screen.line(line("Snapshots processed:", report.snapshots_count.to_string()))?;
    if matches!(mode, StatsMode::RawData | StatsMode::BlobsPerFile) {
        screen.line(line("Total Blob Count:", report.total_blob_count.to_string()))?;
    }
    if mode != StatsMode::RawData {
        screen.line(line("Total File Count:", report.total_file_count.to_string()))?;
    }
    if report.total_uncompressed_size > 0 {
        screen.line(line("Total Uncompressed:", figures::bytes(report.total_uncompressed_size)))?;
        screen.line(line("Compression Ratio:", format!("{:.2}x", report.compression_ratio)))?;
        screen.line(line("Space Saving:", format!("{:.2}%", report.compression_space_saving)))?;
    }
    screen.line(line("Total Size:", figures::bytes(report.total_size)))
}
