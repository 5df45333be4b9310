//! The plan and the report as JSON: restic's objects, and beside them what it has no word for.

use model::Id;
use repository::forget::{ForgetPlan, ForgetReport};
use repository::retention::decision::Group;
use repository::retention::{Counters, Frozen, Grouping};
use serde_json::{Map, Value, json};

use crate::json;

/// restic's object; what it has no word for stands beside it. A list without entries is `null` there.
pub(super) fn group(group: &Group, grouping: Grouping, plan: &ForgetPlan) -> Value {
    let list = |values: Vec<Value>| if values.is_empty() { Value::Null } else { Value::from(values) };
    let texts = |asked: bool, values: &[String]| if asked { json!(values) } else { Value::Null };
    let shown = |id: &Id| plan.snapshots.get(id).map(|snapshot| json::snapshot(*id, snapshot));
    let reasons = group.keep.iter().filter_map(|kept| {
        let mut reason =
            json!({ "snapshot": shown(&kept.id)?, "matches": kept.matches, "counters": counters(&kept.counters) });
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

fn counters(counters: &Counters) -> Value {
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

pub(super) fn frozen(frozen: &Frozen) -> Value {
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
pub(super) fn report(report: &ForgetReport) -> Value {
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
