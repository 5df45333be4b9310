//! `forget`: removes snapshots that no rule keeps, or that are named.

mod objects;
mod rules;
mod shown;

use std::collections::BTreeSet;

use model::Verdict;
use repository::forget::{ForgetReport, ForgetRequest, Selection, execute, named, plan};
use repository::retention::{Grouping, ShrinkLimit, Wish};
use repository::snapshots::SnapshotFilter;

use self::rules::{Overrides, Rules};
use crate::arguments::SnapshotArguments;
use crate::failure::Failure;
use crate::figures;
use crate::session::Session;
use crate::watch::Task;

/// Fewer digits of an id could be typed by accident.
const ID_DIGITS_MIN: usize = 8;

/// Remove snapshots that no rule keeps, or those that are named
///
/// Removes the snapshots only; `prune` removes the data that nobody needs any more. Rules are applied to each group of
/// snapshots on its own. The last good snapshot of each source stays, whatever the rules say, and snapshots that are
/// dated in the future neither count nor go. The plan is shown before anything happens.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Remove these, by id or the beginning of one, whatever the rules say
    snapshots: Vec<String>,
    #[command(flatten)]
    rules: Rules,
    /// Only snapshots of this host
    #[arg(long, alias = "hostname", value_name = "HOST", env = "RESTIC_HOST")]
    host: Vec<String>,
    /// Only snapshots that have all of these tags; several times: any of the lists
    #[arg(long, value_name = "TAG[,TAG,...]")]
    tag: Vec<String>,
    /// Only snapshots that have this absolute path; several times: all of them
    #[arg(long, value_name = "PATH")]
    path: Vec<String>,
    /// Group by `host`, `paths`, `tags`, `plan`, `source`, separated by commas; '' for one group
    #[arg(short, long, value_name = "GROUP", default_value = "host,paths")]
    group_by: Grouping,
    /// Show what would be done, and stop
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// One line for each snapshot's size and paths less
    #[arg(short, long)]
    compact: bool,
    /// Remove the data that nobody needs any more right after, as `prune` does
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    pruning: super::prune::Options,
    #[command(flatten)]
    overrides: Overrides,
}

impl Arguments {
    fn filter(&self) -> SnapshotFilter {
        let host = self.host.iter().filter(|host| !host.is_empty()).cloned().collect();
        SnapshotArguments { host, tag: self.tag.clone(), path: self.path.clone() }.filter()
    }

    fn request(&self, repository: &repository::Repository) -> Result<ForgetRequest, Failure> {
        let last_verified = &self.overrides.unsafe_remove_last_verified;
        if let Some(short) = last_verified.iter().find(|id| id.len() < ID_DIGITS_MIN) {
            let message =
                format!("--unsafe-remove-last-verified needs {ID_DIGITS_MIN} digits of the id, not `{short}`");
            return Err(Failure::usage(message));
        }
        let filter = self.filter();
        let named_last = if last_verified.is_empty() {
            BTreeSet::new()
        } else {
            named(repository, last_verified, &SnapshotFilter::default())?
        };
        let wish = Wish {
            policy: self.rules.policy(),
            grouping: self.group_by,
            allow_remove_all: self.overrides.unsafe_allow_remove_all,
            last_verified: named_last,
            shrink: ShrinkLimit { percent: self.overrides.shrink_limit },
            accept_shrink: self.overrides.accept_shrink,
            ..Wish::default()
        };
        let selection = if self.snapshots.is_empty() {
            Selection::Policy(filter)
        } else {
            Selection::Ids(named(repository, &self.snapshots, &filter)?)
        };
        Ok(ForgetRequest { selection, wish, believe_listings: self.overrides.believe_listings })
    }
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    if session.global.no_lock && !arguments.dry_run {
        return Err(Failure::usage("--no-lock is only applicable in combination with --dry-run for forget"));
    }
    let repository = session.open(session.watch(Task::Browse))?;
    let request = arguments.request(&repository)?;
    let plan = plan(&repository, &request)?;
    if let (Selection::Policy(_), false) = (&request.selection, plan.groups.is_empty()) {
        session.screen.remark(format!("Applying Policy: {}", request.wish.policy))?;
    }
    shown::show_plan(session, arguments, &plan)?;
    if arguments.dry_run {
        return session.screen.remark(format!("would remove {}", shown::count(plan.removals().len())));
    }
    if plan.is_empty() {
        return session.screen.remark("no snapshots were removed");
    }
    session.screen.flush()?;
    conclude(session, &execute(&repository, &plan)?)?;
    drop(repository);
    if arguments.prune { super::prune::run_behind(session, &arguments.pruning) } else { Ok(()) }
}

fn conclude(session: &Session, report: &ForgetReport) -> Result<(), Failure> {
    let screen = &session.screen;
    screen.json_error(&objects::report(report));
    let removed = report.copies.iter().map(|copy| copy.removed).max().unwrap_or(0);
    screen.remark(format!("removed {}", figures::count(removed, "snapshot")))?;
    for copy in report.copies.iter().filter(|copy| copy.kept > 0) {
        let kept = figures::count(copy.kept, "file");
        screen.note(format!("copy {}: kept {kept}, append-only", copy.copy));
    }
    let lost: Vec<&str> =
        report.copies.iter().filter(|copy| copy.verdict == Verdict::Failed).map(|copy| &*copy.copy).collect();
    match report.verdict {
        Verdict::Failed => Err(Failure::failed("no copy lets snapshots be removed; nothing was removed")
            .hint("use credentials that may delete, or let the server's own retention do it")),
        Verdict::Partial => Err(Failure::partial(format!("not all snapshots were removed from {}", lost.join(", ")))
            .hint("run it again when the copy is back: what is left there goes then")),
        _ => Ok(()),
    }
}
