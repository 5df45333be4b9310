//! The plan in words: what stays of each group and why, what goes, and what needs somebody's eyes.

use format::Snapshot;
use jiff::tz::TimeZone;
use model::Id;
use repository::forget::ForgetPlan;
use repository::retention::{GroupKey, Guard};
use serde_json::json;

use super::{Arguments, objects};
use crate::failure::Failure;
use crate::figures;
use crate::session::Session;
use crate::table::Table;

pub(super) fn show_plan(session: &Session, arguments: &Arguments, plan: &ForgetPlan) -> Result<(), Failure> {
    let screen = &session.screen;
    screen
        .json(&plan.groups.iter().map(|group| objects::group(group, arguments.group_by, plan)).collect::<Vec<_>>())?;
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
        screen.json_error(&objects::frozen(frozen));
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

pub(super) fn count(number: usize) -> String {
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
