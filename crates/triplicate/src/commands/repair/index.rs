//! `repair index`: an index that says what the packs say.

use format::FileName;
use repository::repair::index::{IndexPlan, IndexRepair, RepairIndexRequest};
use serde_json::json;

use super::{NAMED_MAX, more, removed_json, show_heal_plan, show_removed};
use crate::failure::Failure;
use crate::figures;
use crate::session::Session;
use crate::watch::Task;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Believe no index file; read the header of every pack
    #[arg(long)]
    read_all_packs: bool,
    /// Change nothing; show what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let watch = session.watch(Task::Check);
    let repository = session.open(watch.clone())?;
    let repair = {
        let _drawing = watch.draw();
        IndexRepair::examine(&repository, RepairIndexRequest { read_all_packs: arguments.read_all_packs })?
    };
    let plan = repair.plan().clone();
    show_plan(session, &plan)?;
    if arguments.dry_run || plan.is_empty() {
        return conclude(&plan);
    }
    let report = repair.apply()?;
    session.screen.json(&json!({
        "message_type": "summary",
        "files_healed": report.healed.files,
        "index_files_written": report.written.iter().map(FileName::path).collect::<Vec<_>>(),
        "removed": removed_json(&report.removed),
    }))?;
    show_removed(session, &report.removed)?;
    let written = figures::count(report.written.len() as u64, "new index file");
    session.screen.line(format!("{written}, {} removed", report.removed.files))?;
    conclude(&plan)
}

fn show_plan(session: &Session, plan: &IndexPlan) -> Result<(), Failure> {
    let screen = &session.screen;
    screen.json(&json!({
        "message_type": "plan",
        "files_to_heal": plan.heal.replacements.len(),
        "unreadable_indexes": plan.unreadable_indexes.iter().map(FileName::path).collect::<Vec<_>>(),
        "wrong_indexes": plan.wrong_indexes.iter().map(FileName::path).collect::<Vec<_>>(),
        "missing_packs": plan.missing_packs,
        "packs_to_index": plan.read_packs,
        "unreadable_packs": plan.unreadable_packs.iter().map(|(id, _)| id).collect::<Vec<_>>(),
    }))?;
    if plan.is_empty() {
        return screen.line("the index is right");
    }
    show_heal_plan(session, &plan.heal)?;
    for (names, why) in [
        (&plan.unreadable_indexes, "no copy has it sound: it is removed"),
        (&plan.wrong_indexes, "it says something wrong: it is replaced"),
    ] {
        for name in names.iter().take(NAMED_MAX) {
            screen.line(format!("`{}`: {why}", name.path()))?;
        }
        more(session, names.len(), "index file")?;
    }
    for (ids, why) in [
        (&plan.missing_packs, "no copy has it: it is taken out of the index"),
        (&plan.read_packs, "it is indexed by its header"),
    ] {
        for id in ids.iter().take(NAMED_MAX) {
            screen.line(format!("`{}`: {why}", FileName::pack(*id).path()))?;
        }
        more(session, ids.len(), "pack")?;
    }
    Ok(())
}

fn conclude(plan: &IndexPlan) -> Result<(), Failure> {
    if let Some((id, why)) = plan.unreadable_packs.first() {
        let packs = figures::count(plan.unreadable_packs.len() as u64, "pack");
        let path = FileName::pack(*id).path();
        let message = format!("the header of {packs} cannot be read: `{path}`: {why}");
        return Err(Failure::partial(message).hint("`triplicate repair packs` saves what can be opened of them"));
    }
    Ok(())
}
