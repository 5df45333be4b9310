//! `repair`: making the best of what no copy has sound any more. Each shows its plan before anything happens.

mod config;
mod index;
mod packs;
mod snapshots;

use repository::copies::heal::HealPlan;
use repository::repair::Removed;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::figures;
use crate::session::Session;

/// Files, packs or paths that are named of each sort; the rest is counted.
const NAMED_MAX: usize = 100;

/// Repair what no copy has sound any more; `copies heal` comes first
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make the index anew where it is lost or says something wrong
    Index(index::Arguments),
    /// Save what can be opened of damaged packs
    Packs(packs::Arguments),
    /// Make snapshots go on without what is lost
    Snapshots(snapshots::Arguments),
    /// Bring `config` and a key back from the recovery kit
    Config(config::Arguments),
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.action {
        Action::Index(arguments) => index::run(session, arguments),
        Action::Packs(arguments) => packs::run(session, arguments),
        Action::Snapshots(arguments) => snapshots::run(session, arguments),
        Action::Config(arguments) => config::run(session, arguments),
    }
}

/// What is healed before the repair.
fn show_heal_plan(session: &Session, plan: &HealPlan) -> Result<(), Failure> {
    for replacement in plan.replacements.iter().take(NAMED_MAX) {
        let what = if replacement.damage.is_some() { "replaced from" } else { "brought from" };
        let (path, copy) = (replacement.name.path(), &replacement.copy);
        session.screen.line(format!("first `{path}` on {copy} is {what} another copy"))?;
    }
    more(session, plan.replacements.len(), "file")
}

fn more(session: &Session, count: usize, noun: &str) -> Result<(), Failure> {
    match count.saturating_sub(NAMED_MAX) as u64 {
        0 => Ok(()),
        more => session.screen.line(format!("and {} more", figures::count(more, noun))),
    }
}

fn show_removed(session: &Session, removed: &Removed) -> Result<(), Failure> {
    let screen = &session.screen;
    for (copy, files) in &removed.kept_by {
        screen.note(format!("copy {copy} is append-only and kept {}", figures::count(*files, "old file")));
    }
    for (path, why) in &removed.not_kept {
        screen.note(format!("the old `{path}` was not kept on this machine: {why}"));
    }
    match &removed.aside {
        Some(folder) if removed.files > 0 => {
            screen.remark(format!("{} kept in `{}`", figures::count(removed.files, "old file"), folder.display()))
        }
        _ => Ok(()),
    }
}

fn removed_json(removed: &Removed) -> Value {
    json!({
        "files": removed.files,
        "kept_by": removed.kept_by.iter().map(|(copy, files)| json!({ "copy": copy, "files": files })).collect::<Vec<_>>(),
        "aside": removed.aside,
    })
}
