//! `forget`: removes snapshots that no rule keeps, or that are named.

use std::collections::BTreeSet;

use format::Snapshot;
use jiff::tz::TimeZone;
use model::{Id, Verdict};
use repository::forget::{ForgetPlan, ForgetReport, ForgetRequest, Selection, execute, named, plan};
use repository::retention::decision::Group;
use repository::retention::{Count, Counters, Frozen, GroupKey, Grouping, Guard, Period, Policy, ShrinkLimit, Wish};
use repository::snapshots::SnapshotFilter;
use serde_json::{Map, Value, json};

use crate::arguments::SnapshotArguments;
use crate::failure::Failure;
use crate::figures;
use crate::json;
use crate::session::Session;
use crate::table::Table;
use crate::watch::Task;

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

/// What stays.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Rules")]
struct Rules {
    /// Keep the last N snapshots; `unlimited` keeps all
    #[arg(
        short = 'l',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    keep_last: Count,
    /// Keep the last of each of the last N hours that have snapshots
    #[arg(
        short = 'H',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    keep_hourly: Count,
    /// The same for days
    #[arg(
        short = 'd',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    keep_daily: Count,
    /// The same for weeks
    #[arg(
        short = 'w',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    keep_weekly: Count,
    /// The same for months
    #[arg(
        short = 'm',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    keep_monthly: Count,
    /// The same for years
    #[arg(
        short = 'y',
        long,
        value_name = "N",
        default_value = "0",
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    keep_yearly: Count,
    /// Keep what is younger than this, seen from the newest: `1y5m7d2h`
    #[arg(long, value_name = "PERIOD", default_value = "", hide_default_value = true)]
    keep_within: Period,
    /// Keep the last of each hour within this time
    #[arg(long, value_name = "PERIOD", default_value = "", hide_default_value = true)]
    keep_within_hourly: Period,
    /// The same for days
    #[arg(long, value_name = "PERIOD", default_value = "", hide_default_value = true)]
    keep_within_daily: Period,
    /// The same for weeks
    #[arg(long, value_name = "PERIOD", default_value = "", hide_default_value = true)]
    keep_within_weekly: Period,
    /// The same for months
    #[arg(long, value_name = "PERIOD", default_value = "", hide_default_value = true)]
    keep_within_monthly: Period,
    /// The same for years
    #[arg(long, value_name = "PERIOD", default_value = "", hide_default_value = true)]
    keep_within_yearly: Period,
    /// Keep what has all of these tags; several times: any of the lists
    #[arg(long, value_name = "TAG[,TAG,...]")]
    keep_tag: Vec<String>,
}

/// What goes against the guards.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Against the guards")]
struct Overrides {
    /// Let all snapshots of a group go: of those that --host, --tag and --path choose, or of a source whose snapshots are
    /// all named by id
    #[arg(long)]
    unsafe_allow_remove_all: bool,
    /// Let this snapshot go although it is the last verified one of its source; give at least 8 digits of its id
    #[arg(long, value_name = "ID")]
    unsafe_remove_last_verified: Vec<String>,
    /// A source has shrunk when its newest snapshot has less than PERCENT of the files or bytes of those before it; then
    /// nothing of it goes
    #[arg(long, value_name = "PERCENT", default_value = "50", value_parser = clap::value_parser!(u8).range(0..=100))]
    shrink_limit: u8,
    /// It is all right that sources shrank, up to now
    #[arg(long)]
    accept_shrink: bool,
    /// Go on although a copy lists far fewer snapshots than before
    #[arg(long)]
    believe_listings: bool,
}

/// Fewer digits of an id could be typed by accident.
const ID_DIGITS_MIN: usize = 8;

impl Rules {
    fn policy(&self) -> Policy {
        Policy {
            last: self.keep_last,
            hourly: self.keep_hourly,
            daily: self.keep_daily,
            weekly: self.keep_weekly,
            monthly: self.keep_monthly,
            yearly: self.keep_yearly,
            within: self.keep_within,
            within_hourly: self.keep_within_hourly,
            within_daily: self.keep_within_daily,
            within_weekly: self.keep_within_weekly,
            within_monthly: self.keep_within_monthly,
            within_yearly: self.keep_within_yearly,
            tags: self.keep_tag.iter().map(|list| list.split(',').map(|tag| tag.trim().to_owned()).collect()).collect(),
        }
    }
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
    show_plan(session, arguments, &plan)?;
    if arguments.dry_run {
        return session.screen.remark(format!("would remove {}", count(plan.removals().len())));
    }
    if plan.is_empty() {
        return session.screen.remark("no snapshots were removed");
    }
    session.screen.flush()?;
    conclude(session, &execute(&repository, &plan)?)?;
    drop(repository);
    if arguments.prune { super::prune::run_behind(session, &arguments.pruning) } else { Ok(()) }
}

fn show_plan(session: &Session, arguments: &Arguments, plan: &ForgetPlan) -> Result<(), Failure> {
    let screen = &session.screen;
    screen.json(&plan.groups.iter().map(|group| group_json(group, arguments.group_by, plan)).collect::<Vec<_>>())?;
    let zone = session.clock.time_zone();
    for group in &plan.groups {
        if let Some(heading) = heading(&group.key) {
            screen.remark(heading)?;
        }
        let show = |word: &str, rows: Vec<Row<'_>>, with_reasons: bool| {
            if rows.is_empty() {
                return Ok(());
            }
            screen.remark(format!("{word} {}:", count(rows.len())))?;
            let lines = table(rows, &zone, arguments.compact, with_reasons).lines();
            lines.into_iter().try_for_each(|line| screen.remark(line))?;
            screen.remark("")
        };
        let kept = group
            .keep
            .iter()
            .rev()
            .filter_map(|kept| Some((kept.id, plan.snapshots.get(&kept.id)?, &kept.matches[..])));
        show("keep", kept.collect(), true)?;
        let removed = group.remove.iter().rev().filter_map(|id| Some((*id, plan.snapshots.get(id)?, &[][..])));
        show("remove", removed.collect(), false)?;
    }
    warn_of_guards(session, plan);
    Ok(())
}

/// What needs somebody's eyes.
fn warn_of_guards(session: &Session, plan: &ForgetPlan) {
    let screen = &session.screen;
    for frozen in &plan.frozen {
        screen.json_error(&frozen_json(frozen));
        let holds = |size: repository::retention::Size| {
            format!("{} ({})", figures::count(size.files, "file"), figures::bytes(size.bytes))
        };
        screen.warn(format!(
            "nothing is removed of {}: its newest snapshot {} holds {}, and before there were {}",
            figures::shown(frozen.source.to_string().as_bytes()),
            frozen.newest.short(),
            holds(frozen.now),
            holds(frozen.before),
        ));
        screen.note("hint: look at the source; --accept-shrink goes on if this is as it should be");
    }
    for kept in plan.groups.iter().flat_map(|group| &group.keep) {
        let Some(guard @ (Guard::FutureDated | Guard::ClockUnset)) = kept.guard else { continue };
        let id = kept.id.short();
        let message = format!("snapshot {id} is {}: it counts for nothing, and stays until it is named", guard.words());
        screen.json_error(&json!({ "message_type": "warning", "message": message, "snapshot": kept.id }));
        screen.warn(message);
    }
    for leftover in &plan.leftovers {
        let what = if leftover.goes { "it goes now" } else { "it stays there, as the last of its source" };
        let id = leftover.id.short();
        screen.note(format!("snapshot {id} was removed before and is still on {}: {what}", leftover.copies));
    }
}

fn conclude(session: &Session, report: &ForgetReport) -> Result<(), Failure> {
    let screen = &session.screen;
    screen.json_error(&report_json(report));
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

fn count(number: usize) -> String {
    figures::count(number as u64, "snapshot")
}

fn heading(key: &GroupKey) -> Option<String> {
    let shown = |text: &str| figures::shown(text.as_bytes());
    let mut parts = Vec::new();
    if !key.host.is_empty() {
        parts.push(format!("host [{}]", shown(&key.host)));
    }
    for (word, list) in [("tags", &key.tags), ("paths", &key.paths), ("plan", &key.plans), ("source", &key.sources)] {
        if !list.is_empty() {
            parts.push(format!("{word} [{}]", shown(&list.join(", "))));
        }
    }
    (!parts.is_empty()).then(|| format!("snapshots for ({}):", parts.join(", ")))
}

/// A snapshot with the reasons for which it stays.
type Row<'a> = (Id, &'a Snapshot, &'a [String]);

fn table(mut rows: Vec<Row<'_>>, zone: &TimeZone, compact: bool, with_reasons: bool) -> Table {
    rows.sort_by_key(|(id, snapshot, _)| (snapshot.time, *id));
    let mut table = match (compact, with_reasons) {
        (true, _) => Table::new(["ID", "Time", "Host", "Tags", "Size"]),
        (false, true) => Table::new(["ID", "Time", "Host", "Tags", "Reasons", "Paths", "Size"]),
        (false, false) => Table::new(["ID", "Time", "Host", "Tags", "Paths", "Size"]),
    };
    let footer = count(rows.len());
    for (id, snapshot, reasons) in rows {
        let lines = |texts: &[String], mark: &str| {
            texts.iter().map(|text| figures::shown(text.as_bytes())).collect::<Vec<_>>().join(mark)
        };
        let size = snapshot.summary.as_ref().map(|summary| figures::bytes(summary.total_bytes_processed));
        let size = size.unwrap_or_default();
        let (time, host) = (figures::moment(&snapshot.time, zone), figures::shown(snapshot.hostname.as_bytes()));
        let (id, paths, reasons) = (id.short(), lines(&snapshot.paths, "\n"), lines(reasons, "\n"));
        let (tags, tag_lines) = (lines(&snapshot.tags, ","), lines(&snapshot.tags, "\n"));
        match (compact, with_reasons) {
            (true, _) => table.row([id, time, host, tag_lines, size]),
            (false, true) => table.row([id, time, host, tags, reasons, paths, size]),
            (false, false) => table.row([id, time, host, tags, paths, size]),
        }
    }
    table.footer(footer);
    table
}

/// restic's object; what it has no word for stands beside it. A list without entries is `null` there.
fn group_json(group: &Group, grouping: Grouping, plan: &ForgetPlan) -> Value {
    let list = |values: Vec<Value>| if values.is_empty() { Value::Null } else { Value::from(values) };
    let texts = |asked: bool, values: &[String]| if asked { json!(values) } else { Value::Null };
    let shown = |id: &Id| plan.snapshots.get(id).map(|snapshot| json::snapshot(*id, snapshot));
    let reasons = group.keep.iter().filter_map(|kept| {
        let mut reason =
            json!({ "snapshot": shown(&kept.id)?, "matches": kept.matches, "counters": counters_json(&kept.counters) });
        if let (Some(guard), Some(object)) = (kept.guard, reason.as_object_mut()) {
            object.insert("guard".to_owned(), guard.words().into());
        }
        Some(reason)
    });
    let mut value = json!({
        "tags": texts(grouping.tags, &group.key.tags),
        "host": group.key.host,
        "paths": texts(grouping.paths, &group.key.paths),
        "keep": list(group.keep.iter().filter_map(|kept| shown(&kept.id)).collect()),
        "remove": list(group.remove.iter().filter_map(shown).collect()),
        "reasons": list(reasons.collect()),
    });
    if let Some(object) = value.as_object_mut() {
        for (asked, name, names) in
            [(grouping.plan, "plan", &group.key.plans), (grouping.source, "source", &group.key.sources)]
        {
            if asked {
                object.insert(name.to_owned(), json!(names));
            }
        }
    }
    value
}

fn counters_json(counters: &Counters) -> Value {
    let Counters { last, hourly, daily, weekly, monthly, yearly } = *counters;
    let all = [
        ("last", last),
        ("hourly", hourly),
        ("daily", daily),
        ("weekly", weekly),
        ("monthly", monthly),
        ("yearly", yearly),
    ];
    let counted = all.into_iter().filter(|(_, count)| *count != 0);
    Value::Object(counted.map(|(name, count)| (name.to_owned(), count.into())).collect::<Map<_, _>>())
}

fn frozen_json(frozen: &Frozen) -> Value {
    let size = |size: repository::retention::Size| json!({ "files": size.files, "bytes": size.bytes });
    json!({
        "message_type": "warning",
        "message": "nothing is removed of a source that has shrunk",
        "source": frozen.source.to_string(),
        "snapshot": frozen.newest,
        "now": size(frozen.now),
        "before": size(frozen.before),
    })
}

/// On standard error, so that standard output is restic's one array and nothing else.
fn report_json(report: &ForgetReport) -> Value {
    let copy = |copy: &repository::forget::CopyRemoval| {
        json!({
            "copy": copy.copy,
            "verdict": copy.verdict.word(),
            "removed": copy.removed,
            "kept": copy.kept,
            "error": copy.fault.as_ref().map(ToString::to_string),
        })
    };
    json!({
        "message_type": "summary",
        "verdict": report.verdict.word(),
        "removals": report.removals,
        "copies": report.copies.iter().map(copy).collect::<Vec<_>>(),
    })
}
