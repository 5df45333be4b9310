//! `prune`: removes what no snapshot needs, from every copy; the plan first.

use std::sync::Arc;
use std::time::Duration;

use repository::Repository;
use repository::filter::parse_size;
use repository::prune::{
    Amount, CopyPruned, MaxUnused, Packs, Plan, PruneReport, PruneRequest, SMALL_PACK_BYTES, prepare,
};
use serde_json::{Value, json};

use crate::arguments::{WarmUpArguments, parse_duration};
use crate::failure::Failure;
use crate::figures;
use crate::session::Session;
use crate::watch::{Task, Watch};

/// Remove data that no snapshot needs, from every copy
///
/// Packs that nobody needs leave the index first and are marked; a later prune deletes those that were marked longer ago
/// than the grace period and that still nobody needs. Every copy that is named has to be reachable, and all have to agree.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// Show what would be done, and change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Go on although a copy lists far fewer files than before
    #[arg(long)]
    believe_listings: bool,
    #[command(flatten)]
    options: Options,
}

/// How to prune.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "How to prune")]
pub(crate) struct Options {
    /// Let so much unused data stay: a share of all that stays (`5%`), a size (`10G`) or `unlimited`
    #[arg(long, value_name = "LIMIT", default_value = "5%", value_parser = max_unused)]
    max_unused: MaxUnused,
    /// Stop repacking after packs of this size in total, such as `10G`
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_repack_size: Option<u64>,
    /// Pack small packs together: those below four fifths of a full one
    #[arg(long, conflicts_with = "repack_smaller_than")]
    repack_small: bool,
    /// Pack packs below this size together
    #[arg(long, value_name = "SIZE", value_parser = size)]
    repack_smaller_than: Option<u64>,
    /// Compress what was stored uncompressed
    #[arg(long)]
    repack_uncompressed: bool,
    /// Repack packs of folder listings only
    #[arg(long)]
    repack_cacheable_only: bool,
    /// Delete packs that were marked longer ago than this, and never in the run that marks them
    #[arg(long, visible_alias = "keep-delete", value_name = "DURATION", default_value = "24h", value_parser = parse_duration)]
    grace: Duration,
    #[command(flatten)]
    warm_up: WarmUpArguments,
}

fn max_unused(text: &str) -> Result<MaxUnused, String> {
    text.parse().map_err(|error: repository::Error| error.to_string())
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text).map_err(|error| error.why.to_owned())
}

impl Options {
    /// The same for the engine.
    fn request(&self, session: &Session) -> PruneRequest {
        PruneRequest {
            max_unused: self.max_unused,
            max_repack_bytes: self.max_repack_size,
            repack_smaller_than: self.repack_smaller_than.or(self.repack_small.then_some(SMALL_PACK_BYTES)),
            repack_uncompressed: self.repack_uncompressed,
            repack_cacheable_only: self.repack_cacheable_only,
            grace: self.grace,
            compression: session.global.compression,
            patience: self.warm_up.patience(),
            ..PruneRequest::default()
        }
    }
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let watch = session.watch(Task::Prune);
    let repository = session.open(watch.clone())?;
    let Arguments { dry_run, believe_listings, ref options } = *arguments;
    prune(session, &watch, &repository, &PruneRequest { dry_run, believe_listings, ..options.request(session) })
}

/// Behind a `forget --prune`.
pub(super) fn run_behind(session: &Session, options: &Options) -> Result<(), Failure> {
    let watch = session.watch(Task::Prune);
    let repository = session.open(watch.clone())?;
    prune(session, &watch, &repository, &options.request(session))
}

fn prune(
    session: &Session,
    watch: &Arc<Watch>,
    repository: &Repository,
    request: &PruneRequest,
) -> Result<(), Failure> {
    let dry_run = request.dry_run;
    let pruning = {
        let _drawing = watch.draw();
        prepare(repository, request)?
    };
    show_plan(session, pruning.plan(), dry_run)?;
    let report = {
        let _drawing = watch.draw();
        pruning.run()?
    };
    show(session, &report, dry_run)?;
    conclude(&report)
}

fn show_plan(session: &Session, plan: &Plan, dry_run: bool) -> Result<(), Failure> {
    let screen = &session.screen;
    screen.json(&plan_json(plan, dry_run))?;
    let blobs = |amount: Amount| format!("{} / {}", figures::count(amount.blobs, "blob"), figures::bytes(amount.bytes));
    let packs = |packs: Packs| format!("{} / {}", figures::count(packs.packs, "pack"), figures::bytes(packs.bytes));
    let line = |name: &str, text: String| screen.remark(format!("{name:<28} {text}"));
    line("snapshots:", plan.snapshots.to_string())?;
    line("used:", blobs(plan.used))?;
    line("duplicates:", blobs(plan.duplicate))?;
    line("unused:", blobs(plan.unused))?;
    if plan.unindexed.packs > 0 {
        line("in no index:", packs(plan.unindexed))?;
    }
    line("to repack:", format!("{} from {}", blobs(plan.rewritten), packs(plan.repack)))?;
    line("this removes:", blobs(plan.repack_removes))?;
    line("to mark:", packs(plan.mark))?;
    line("to delete:", format!("{} (marked before)", packs(plan.sweep)))?;
    if plan.take_back.packs > 0 {
        line("to take back:", format!("{} (marked before, and needed again)", packs(plan.take_back)))?;
    }
    if plan.wait.packs > 0 {
        let until = plan.wait_until.map(|until| until.to_zoned(session.clock.time_zone()));
        let until = until.map_or_else(String::new, |until| format!(", the first until {}", until.strftime("%F %T")));
        line("marked, waiting:", format!("{}{until}", packs(plan.wait)))?;
    }
    if plan.left.packs > 0 {
        line("left on append-only copies:", packs(plan.left))?;
    }
    line("remaining:", figures::bytes(plan.remaining_bytes))?;
    let percent = plan.unused_after_percent();
    line(
        "unused size after prune:",
        format!("{} ({percent:.2}% of remaining size)", figures::bytes(plan.unused_after_bytes)),
    )?;
    if plan.future_marks > 0 {
        let marks = figures::count(plan.future_marks, "pack");
        screen.warn(format!("{marks} marked by a clock that was ahead of ours; waiting until their time has come"));
    }
    Ok(())
}

fn show(session: &Session, report: &PruneReport, dry_run: bool) -> Result<(), Failure> {
    let screen = &session.screen;
    screen.json(&json!({
        "message_type": "summary",
        "verdict": report.verdict.word(),
        "dry_run": dry_run,
        "copies": report.copies.iter().map(copy_json).collect::<Vec<_>>(),
    }))?;
    if dry_run {
        return screen.remark("dry run: nothing was changed");
    }
    for copy in &report.copies {
        if let Some(fault) = &copy.fault {
            screen.warn(format!("copy {} was not pruned to the end: {fault}", copy.copy));
            continue;
        }
        let (written, removed) =
            (figures::count(copy.files_written, "file"), figures::count(copy.files_removed, "file"));
        let mut line = match (copy.files_written, copy.files_removed) {
            (0, 0) => format!("copy {}: nothing to do", copy.copy),
            _ => {
                let (new, gone) = (figures::bytes(copy.bytes_written), figures::bytes(copy.bytes_removed));
                format!("copy {}: {written} written ({new}), {removed} removed ({gone} of packs)", copy.copy)
            }
        };
        if copy.files_kept > 0 {
            line.push_str(&format!(", kept {}, append-only", figures::count(copy.files_kept, "file")));
        }
        screen.line(line)?;
    }
    Ok(())
}

fn conclude(report: &PruneReport) -> Result<(), Failure> {
    let unfinished = report.copies.iter().filter(|copy| copy.fault.is_some()).count() as u64;
    if unfinished == 0 {
        return Ok(());
    }
    let of = report.copies.len();
    let message = format!("{unfinished} of {of} copies {} not pruned to the end", figures::is_or_are(unfinished));
    Err(Failure::partial(message)
        .hint("nothing is lost; bring the copies up to date with `triplicate copies sync`, then prune again"))
}

fn plan_json(plan: &Plan, dry_run: bool) -> Value {
    let blobs = |amount: Amount| json!({ "blobs": amount.blobs, "bytes": amount.bytes });
    let packs = |packs: Packs| json!({ "packs": packs.packs, "bytes": packs.bytes });
    json!({
        "message_type": "plan",
        "dry_run": dry_run,
        "snapshots": plan.snapshots,
        "used": blobs(plan.used),
        "duplicate": blobs(plan.duplicate),
        "unused": blobs(plan.unused),
        "unindexed": packs(plan.unindexed),
        "repack": packs(plan.repack),
        "rewritten": blobs(plan.rewritten),
        "repack_removes": blobs(plan.repack_removes),
        "mark": packs(plan.mark),
        "delete": packs(plan.sweep),
        "take_back": packs(plan.take_back),
        "waiting": packs(plan.wait),
        "waiting_until": plan.wait_until.map(|until| until.to_string()),
        "future_marks": plan.future_marks,
        "left": packs(plan.left),
        "remaining_bytes": plan.remaining_bytes,
        "unused_after_bytes": plan.unused_after_bytes,
        "index_files": plan.index_files,
        "index_files_rewritten": plan.index_files_rewritten,
    })
}

fn copy_json(copy: &CopyPruned) -> Value {
    json!({
        "copy": copy.copy,
        "verdict": copy.verdict.word(),
        "error": copy.fault.as_ref().map(ToString::to_string),
        "files_written": copy.files_written,
        "bytes_written": copy.bytes_written,
        "files_removed": copy.files_removed,
        "bytes_removed": copy.bytes_removed,
        "files_kept": copy.files_kept,
    })
}
