//! `copies heal`: what is damaged, foreign or missing on one copy is replaced from a copy that has it sound.

use model::Verdict;
use repository::check::{ReadData, Subset};
use repository::copies::heal::{HealPlan, HealReport, HealRequest, HealedCopy, Healing};
use serde_json::{Value, json};

use crate::commands::check::affected_text;
use crate::failure::Failure;
use crate::figures;
use crate::session::Session;
use crate::watch::Task;

/// Files that are named of each sort; the rest is counted.
const NAMED_MAX: usize = 100;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Read every byte of every copy; without it small files, folders and sizes are compared
    #[arg(long)]
    read_data: bool,
    /// Read a part of the data: `n/t`, `x%` or a size such as `50M`
    #[arg(long, value_name = "SUBSET", conflicts_with = "read_data", value_parser = crate::commands::check::subset)]
    read_data_subset: Option<Subset>,
    /// Bring keys to copies that lack them, also those that most copies lack: they may have been removed on purpose
    #[arg(long)]
    bring_keys: bool,
    /// Change nothing; show what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let watch = session.watch(Task::Check);
    let repository = session.open(watch.clone())?;
    let read = match arguments.read_data_subset {
        _ if arguments.read_data => ReadData::All,
        Some(subset) => ReadData::Subset(subset),
        None => ReadData::No,
    };
    let request = HealRequest { read, bring_keys: arguments.bring_keys, ..HealRequest::default() };
    let mut healing = {
        let _drawing = watch.draw();
        Healing::examine(&repository, &request)?
    };
    show_plan(session, healing.plan(), arguments.dry_run)?;
    let report = {
        let watch = session.watch(Task::Sync);
        let _drawing = watch.draw();
        healing.apply(arguments.dry_run)?
    };
    show(session, &report, arguments.dry_run)?;
    conclude(&report, arguments.dry_run)
}

fn show_plan(session: &Session, plan: &HealPlan, dry_run: bool) -> Result<(), Failure> {
    let screen = &session.screen;
    for replacement in &plan.replacements {
        screen.json(&json!({
            "message_type": "plan",
            "copy": replacement.copy,
            "file": replacement.name.path(),
            "size": replacement.size,
            "damage": replacement.damage,
        }))?;
    }
    let would = if dry_run { "would be " } else { "" };
    for replacement in plan.replacements.iter().take(NAMED_MAX) {
        let (path, copy) = (replacement.name.path(), &replacement.copy);
        screen.line(match &replacement.damage {
            Some(why) => format!("`{path}` on {copy} {would}replaced: {why}"),
            None => format!("`{path}` on {copy} {would}brought: it is missing"),
        })?;
    }
    let more = plan.replacements.len().saturating_sub(NAMED_MAX) as u64;
    if more > 0 {
        screen.line(format!("and {} more", figures::count(more, "file")))?;
    }
    Ok(())
}

fn show(session: &Session, report: &HealReport, dry_run: bool) -> Result<(), Failure> {
    let screen = &session.screen;
    for lost in &report.lost {
        let (path, why) = (lost.name.path(), lost.why.join("; "));
        screen.json_error(&json!({
            "message_type": "error", "file": path, "needed": lost.is_needed,
            "message": format!("no copy has a sound `{path}`: {why}"),
        }));
        let harmless = if lost.is_needed { "" } else { " (no index names it, nothing depends on it)" };
        screen.warn(format!("no copy has a sound `{path}`: {why}{harmless}"));
    }
    for affected in &report.affected {
        let message = format!("no copy can give back {}", affected_text(affected));
        screen.json_error(&json!({ "message_type": "error", "message": message }));
        screen.warn(message);
    }
    for copy in &report.copies {
        show_copy(session, copy, dry_run)?;
    }
    if let Some(folder) = report.aside.as_ref().filter(|_| report.copies.iter().any(|copy| copy.replaced > 0)) {
        screen.note(format!("the wrong bytes are kept in `{}`", folder.display()));
    }
    if !report.forgotten.is_empty() {
        let snapshots = figures::count(report.forgotten.len() as u64, "snapshot");
        screen.note(format!("{snapshots} to be forgotten and still on some copies: not brought back"));
    }
    if !report.surplus.is_empty() {
        let packs = figures::count(report.surplus.len() as u64, "pack");
        screen.note(format!("{packs} in no index and not on every copy: left-overs, a prune removes them"));
    }
    if !report.keys_left.is_empty() {
        let keys = figures::count(report.keys_left.len() as u64, "key");
        screen.warn(format!(
            "{keys} not on every copy, left alone so that no removed password comes back (--bring-keys)"
        ));
    }
    screen.json(&summary_json(report, dry_run))
}

fn show_copy(session: &Session, copy: &HealedCopy, dry_run: bool) -> Result<(), Failure> {
    let screen = &session.screen;
    for (name, why) in &copy.not_healed {
        let message = format!("`{}` on {} is not healed: {why}", name.path(), copy.copy);
        screen.json_error(
            &json!({ "message_type": "error", "copy": copy.copy, "file": name.path(), "message": message }),
        );
        screen.warn(message);
    }
    for (name, why) in &copy.not_kept {
        screen.note(format!("what `{}` on {} had before was not kept: {why}", name.path(), copy.copy));
    }
    let line = match (&copy.fault, copy.replaced + copy.brought) {
        (Some(fault), _) => format!("not healed: {fault}"),
        (None, _) if dry_run => return Ok(()),
        (None, 0) if copy.not_healed.is_empty() => "nothing to heal".to_owned(),
        (None, _) => format!(
            "{} replaced, {} brought ({})",
            figures::count(copy.replaced, "file"),
            copy.brought,
            figures::bytes(copy.bytes)
        ),
    };
    screen.remark(format!("copy {}: {line}", copy.copy))
}

fn summary_json(report: &HealReport, dry_run: bool) -> Value {
    let names = |names: &[format::FileName]| names.iter().map(format::FileName::path).collect::<Vec<_>>();
    let copy = |copy: &HealedCopy| {
        json!({
            "copy": copy.copy,
            "verdict": copy.verdict().word(),
            "replaced": copy.replaced,
            "brought": copy.brought,
            "bytes": copy.bytes,
            "not_healed": copy.not_healed.iter().map(|(name, _)| name.path()).collect::<Vec<_>>(),
            "error": copy.fault.as_ref().map(ToString::to_string),
        })
    };
    json!({
        "message_type": "summary",
        "verdict": report.verdict().word(),
        "dry_run": dry_run,
        "files_lost": report.lost.iter().filter(|lost| lost.is_needed).map(|lost| lost.name.path()).collect::<Vec<_>>(),
        "affected_snapshots": report.affected_snapshots,
        "keys_left": names(&report.keys_left),
        "forgotten": names(&report.forgotten),
        "surplus": names(&report.surplus),
        "aside": report.aside,
        "bytes_read": report.bytes_read,
        "copies": report.copies.iter().map(copy).collect::<Vec<_>>(),
    })
}

fn conclude(report: &HealReport, dry_run: bool) -> Result<(), Failure> {
    let healed = if dry_run { "can be healed" } else { "is healed" };
    match report.verdict() {
        Verdict::Failed => {
            let files = figures::count(report.lost.iter().filter(|lost| lost.is_needed).count() as u64, "file");
            let snapshots = figures::count(report.affected_snapshots.len() as u64, "snapshot");
            Err(Failure::failed(format!("not everything {healed}: {files} lost on every copy, {snapshots} affected"))
                .hint("name a further copy with -r if there is one; else `triplicate repair` saves what is left"))
        }
        Verdict::Partial => Err(Failure::partial(format!("not everything {healed}: see the copies named above"))
            .hint("run `triplicate copies heal` again when every copy is reachable and may be written")),
        _ => Ok(()),
    }
}
