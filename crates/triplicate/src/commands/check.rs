//! `check`: whether each copy on its own gives every snapshot back.

use repository::check::{
    Affected, CheckReport, CheckRequest, CopyReport, Loss, ReadData, Rolling, RollingCounts, Subset, check,
};
use repository::filter::parse_size;
use repository::locks::LockMode;
use serde_json::{Value, json};

use crate::arguments::WarmUpArguments;
use crate::failure::{Failure, code};
use crate::figures;
use crate::session::Session;
use crate::watch::Task;

/// Check every copy for errors
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Read and verify every byte of every copy
    #[arg(long)]
    read_data: bool,
    /// Read a part of the data: `n/t`, `x%` or a size such as `50M`
    #[arg(long, value_name = "SUBSET", conflicts_with = "read_data", value_parser = subset)]
    read_data_subset: Option<Subset>,
    /// Read a part of the data each day, so that every pack of every copy is read again and again
    ///
    /// What was read when is remembered on this machine. Call it once a day, or more often.
    #[arg(long, conflicts_with_all = ["read_data", "read_data_subset"])]
    rolling: bool,
    /// With --rolling: read every pack within so many days
    #[arg(long, value_name = "DAYS", default_value = "30d", requires = "rolling", value_parser = days)]
    within: u32,
    /// With --rolling: read at most so much of each copy a day, such as `5G`
    #[arg(long, value_name = "SIZE", requires = "rolling", value_parser = size)]
    at_most: Option<u64>,
    #[command(flatten)]
    warm_up: WarmUpArguments,
}

/// Days that a rolling check may take, at the most.
const DAYS_MAX: u32 = 3650;

fn days(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('d').unwrap_or(text).parse::<u32>().ok();
    let refused = || format!("`{text}` is no number of days from 1 to {DAYS_MAX}, such as `30d`");
    number.filter(|days| (1..=DAYS_MAX).contains(days)).ok_or_else(refused)
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text)
        .ok()
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| format!("`{text}` is no size such as `500M` or `5G`"))
}

pub(super) fn subset(text: &str) -> Result<Subset, String> {
    text.parse().map_err(|error: repository::Error| error.to_string())
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let watch = session.watch(Task::Check);
    let repository = session.open(watch.clone())?;
    let _guard = repository.lock(LockMode::Reading)?;
    let read = match arguments.read_data_subset {
        _ if arguments.read_data => ReadData::All,
        Some(subset) => ReadData::Subset(subset),
        None if arguments.rolling => {
            ReadData::Rolling(Rolling { within_days: arguments.within, at_most_bytes: arguments.at_most })
        }
        None => ReadData::No,
    };
    let report = {
        let _drawing = watch.draw();
        check(&repository, &CheckRequest { read, patience: arguments.warm_up.patience(), ..CheckRequest::default() })?
    };
    show(session, &report)?;
    conclude(&report)
}

/// Also at the end of a quickstart.
pub(crate) fn conclude(report: &CheckReport) -> Result<(), Failure> {
    let unsound: Vec<&CopyReport> = report.copies.iter().filter(|copy| copy.errors() > 0).collect();
    if !unsound.is_empty() {
        let names = unsound.iter().map(|copy| copy.copy.as_str()).collect::<Vec<_>>().join(", ");
        let errors = figures::count(report.errors(), "error");
        let failure = Failure::failed(format!("{errors} found on {names}"));
        let is_sound_elsewhere = unsound.len() < report.copies.len();
        return Err(if is_sound_elsewhere {
            failure.hint("`triplicate copies heal --read-data` replaces what is damaged from the copies that are sound")
        } else {
            failure.hint("`triplicate copies heal --read-data` heals each copy from the others, and names what is lost")
        });
    }
    if report.lacking.iter().any(|lacking| lacking.needed > 0) {
        return Err(Failure::new(code::PARTIAL, "every copy is sound, but not every copy is complete")
            .hint("`triplicate copies sync` brings copies that are behind up to date"));
    }
    Ok(())
}

fn show(session: &Session, report: &CheckReport) -> Result<(), Failure> {
    let screen = &session.screen;
    for copy in &report.copies {
        show_copy(session, copy)?;
    }
    for lacking in &report.lacking {
        let first: Vec<String> = lacking.first.iter().map(|name| format!("`{}`", name.path())).collect();
        let files = figures::count(lacking.files, "file");
        screen.warn(format!("copy {} lacks {files} that others have: {}", lacking.copy, first.join(", ")));
    }
    screen.json(&summary_json(report))?;
    if report.errors() == 0 {
        screen.line("no errors were found")?;
    }
    Ok(())
}

fn show_copy(session: &Session, copy: &CopyReport) -> Result<(), Failure> {
    let screen = &session.screen;
    let counts = &copy.counts;
    let error = |message: String, hint: &str| {
        screen.json_error(&json!({ "message_type": "error", "message": message, "copy": copy.copy, "hint": hint }));
        screen.warn(&message);
    };
    if let Some(fault) = &copy.fault {
        error(format!("copy {} was not checked to the end: {fault}", copy.copy), fault.hint().unwrap_or_default());
    }
    // People were told of each damage when it was found.
    for finding in &copy.damages {
        let message = format!("damaged: {}", finding.damage);
        screen.json_error(
            &json!({ "message_type": "error", "message": message, "copy": copy.copy, "hint": finding.hint }),
        );
    }
    if copy.damages_left_out > 0 {
        error(format!("copy {}: {} more damages", copy.copy, copy.damages_left_out), "");
    }
    for affected in &copy.affected {
        error(format!("copy {} cannot give back {}", copy.copy, affected_text(affected)), "");
    }
    for note in &copy.notes {
        screen.note(format!("copy {}: {note}", copy.copy));
    }
    let (snapshots, packs) = (figures::count(counts.snapshots, "snapshot"), figures::count(counts.packs, "pack"));
    let size = figures::bytes(counts.pack_bytes);
    let mut line = format!("copy {}: {snapshots}, {packs}, {size}", copy.copy);
    if counts.packs_read > 0 {
        let read = figures::count(counts.packs_read, "pack");
        line.push_str(&format!("; read {read} ({})", figures::bytes(counts.bytes_read)));
    }
    line.push_str(match (&copy.fault, copy.errors()) {
        (Some(_), _) => ": not checked to the end",
        (None, 0) => ": ok",
        (None, _) => ": damaged",
    });
    screen.remark(line)?;
    let Some(rolling) = &copy.rolling else { return Ok(()) };
    let read = format!("{} ({})", figures::count(rolling.packs, "pack"), figures::bytes(rolling.bytes));
    let overdue = match rolling.overdue_packs {
        0 => "nothing is overdue".to_owned(),
        packs => format!("{} overdue ({})", figures::count(packs, "pack"), figures::bytes(rolling.overdue_bytes)),
    };
    screen.remark(format!("copy {}: read {read} today; {overdue}, {} never read", copy.copy, rolling.never_read_packs))
}

pub(super) fn affected_text(affected: &Affected) -> String {
    let path = figures::shown(&affected.path);
    let snapshot = affected.snapshot.short();
    match affected.loss {
        Loss::Folder => format!("folder `{path}` of snapshot {snapshot}"),
        Loss::Content { blobs, of } => format!("`{path}` of snapshot {snapshot}: {blobs} of its {of} blobs are lost"),
    }
}

fn summary_json(report: &CheckReport) -> Value {
    let broken = report.broken_packs();
    let copies: Vec<Value> = report.copies.iter().map(copy_json).collect();
    json!({
        "message_type": "summary",
        "num_errors": report.errors(),
        "broken_packs": if broken.is_empty() { Value::Null } else { json!(broken) },
        "suggest_repair_index": report.suggest_repair_index(),
        "suggest_prune": report.suggest_prune(),
        "verdict": report.verdict().word(),
        "seed": report.seed.to_string(),
        "copies": copies,
    })
}

fn copy_json(copy: &CopyReport) -> Value {
    let counts = &copy.counts;
    json!({
        "copy": copy.copy,
        "verdict": copy.verdict().word(),
        "num_errors": copy.errors(),
        "broken_packs": copy.broken_packs,
        "affected_snapshots": copy.affected_snapshots,
        "error": copy.fault.as_ref().map(ToString::to_string),
        "snapshots": counts.snapshots,
        "index_files": counts.index_files,
        "keys": counts.keys,
        "packs": counts.packs,
        "pack_bytes": counts.pack_bytes,
        "packs_unindexed": counts.packs_unindexed,
        "packs_read": counts.packs_read,
        "bytes_read": counts.bytes_read,
        "blobs_read": counts.blobs_read,
        "rolling": copy.rolling.as_ref().map(rolling_json),
    })
}

fn rolling_json(rolling: &RollingCounts) -> Value {
    json!({
        "packs": rolling.packs,
        "bytes": rolling.bytes,
        "overdue_packs": rolling.overdue_packs,
        "overdue_bytes": rolling.overdue_bytes,
        "never_read_packs": rolling.never_read_packs,
    })
}
