//! `repair packs`: what can be opened of damaged packs goes into new ones.

use format::FileName;
use model::Id;
use repository::repair::packs::{PackRepair, PacksPlan};
use serde_json::{Value, json};

use super::{removed_json, show_heal_plan, show_removed};
use crate::failure::Failure;
use crate::figures;
use crate::session::Session;
use crate::watch::Task;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The packs, by their whole ids, as `check` names them
    #[arg(required = true, value_name = "ID")]
    packs: Vec<Id>,
    /// Change nothing; show what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let watch = session.watch(Task::Check);
    let repository = session.open(watch.clone())?;
    let repair = {
        let _drawing = watch.draw();
        PackRepair::examine(&repository, &arguments.packs)?
    };
    let plan = repair.plan().clone();
    show_plan(session, &plan)?;
    if arguments.dry_run || (plan.broken.is_empty() && plan.heal.replacements.is_empty()) {
        return Ok(());
    }
    let report = repair.apply()?;
    session.screen.json(&json!({
        "message_type": "summary",
        "files_healed": report.healed.files,
        "blobs_saved": report.saved,
        "packs_written": report.packs_written,
        "removed": removed_json(&report.removed),
    }))?;
    show_removed(session, &report.removed)?;
    let (saved, packs) = (figures::count(report.saved, "blob"), figures::count(report.packs_written, "new pack"));
    session.screen.line(format!("{saved} saved in {packs}"))?;
    let lost: usize = plan.broken.iter().map(|broken| broken.lost).sum();
    if lost > 0 {
        let blobs = figures::count(lost as u64, "blob");
        let failure = Failure::partial(format!("{blobs} could not be saved"));
        return Err(failure.hint("back up what is still there, then `triplicate repair snapshots` for the rest"));
    }
    Ok(())
}

fn show_plan(session: &Session, plan: &PacksPlan) -> Result<(), Failure> {
    let screen = &session.screen;
    let broken = |broken: &repository::repair::packs::BrokenPack| -> Value {
        json!({ "id": broken.id, "blobs_saved": broken.saved, "blobs_lost": broken.lost })
    };
    screen.json(&json!({
        "message_type": "plan",
        "files_to_heal": plan.heal.replacements.len(),
        "sound_packs": plan.sound,
        "broken_packs": plan.broken.iter().map(broken).collect::<Vec<_>>(),
    }))?;
    show_heal_plan(session, &plan.heal)?;
    for id in &plan.sound {
        screen.line(format!("`{}`: sound", FileName::pack(*id).path()))?;
    }
    for broken in &plan.broken {
        let (path, saved) = (FileName::pack(broken.id).path(), figures::count(broken.saved as u64, "blob"));
        screen.line(format!("`{path}`: {saved} can be saved, {} lost; the pack is removed", broken.lost))?;
    }
    Ok(())
}
