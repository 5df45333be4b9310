//! `snapshots`: what there is.

use std::collections::HashMap;

use format::Snapshot;
use jiff::tz::TimeZone;
use model::Id;
use repository::snapshots::{SnapshotListing, group_by};
use serde_json::{Value, json};

use crate::arguments::SnapshotArguments;
use crate::failure::Failure;
use crate::figures;
use crate::json;
use crate::session::Session;
use crate::table::Table;
use crate::watch::Task;

/// List snapshots
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only these snapshots, by id, the beginning of one, or `latest`
    snapshots: Vec<String>,
    #[command(flatten)]
    filter: SnapshotArguments,
    /// Only the last N of each host and set of paths
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    latest: Option<u32>,
    /// One line for each snapshot's size and paths less
    #[arg(short, long)]
    compact: bool,
    /// Group by `host`, `paths`, `tags`, separated by commas
    #[arg(short, long, value_name = "GROUP", value_parser = grouping)]
    group_by: Option<Grouping>,
}

#[derive(Debug, Clone, Copy)]
struct Grouping {
    host: bool,
    paths: bool,
    tags: bool,
}

fn grouping(text: &str) -> Result<Grouping, String> {
    let mut grouping = Grouping { host: false, paths: false, tags: false };
    for word in text.split(',').filter(|word| !word.is_empty()) {
        match word {
            "host" | "hosts" => grouping.host = true,
            "path" | "paths" => grouping.paths = true,
            "tag" | "tags" => grouping.tags = true,
            _ => return Err("use `host`, `paths`, `tags`, separated by commas".to_owned()),
        }
    }
    Ok(grouping)
}

type Group = ((String, Vec<String>, Vec<String>), Vec<(Id, Snapshot)>);

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let repository = session.open(session.watch(Task::Browse))?;
    let filter = arguments.filter.filter();
    let listing = repository.snapshots()?;
    let damaged = listing.troubles.len();
    for trouble in &listing.troubles {
        session.screen.json_error(&json::CopyTrouble::damage(trouble));
        session.screen.warn(trouble.to_string());
    }
    let behind = copies_missing(&repository, &listing);
    let mut snapshots: Vec<(Id, Snapshot)> = if arguments.snapshots.is_empty() {
        listing.snapshots.into_iter().filter(|(_, snapshot)| filter.matches(snapshot)).collect()
    } else {
        let find = |text: &String| repository.find_snapshot(text, &filter).map(|choice| (choice.id, choice.snapshot));
        arguments.snapshots.iter().map(find).collect::<Result<_, _>>()?
    };
    if let Some(latest) = arguments.latest {
        snapshots = last_of_each(snapshots, latest as usize);
    }
    let grouping = arguments.group_by.unwrap_or(Grouping { host: false, paths: false, tags: false });
    let is_grouped = grouping.host || grouping.paths || grouping.tags;
    let groups: Vec<Group> = if is_grouped {
        group_by(snapshots, grouping.host, grouping.paths, grouping.tags).into_iter().collect()
    } else {
        vec![((String::new(), Vec::new(), Vec::new()), snapshots)]
    };
    session.screen.json(&groups_json(&groups, is_grouped.then_some(grouping)))?;
    let zone = repository.clock().time_zone();
    for (key, snapshots) in &groups {
        if is_grouped {
            session.screen.line(heading(key, grouping))?;
        }
        for line in table(snapshots, &zone, arguments.compact, &behind).lines() {
            session.screen.line(line)?;
        }
    }
    if damaged > 0 {
        let message = format!("{} cannot be read", figures::count(damaged as u64, "snapshot"));
        return Err(Failure::partial(message).hint("run `triplicate check`"));
    }
    Ok(())
}

/// restic's `--latest`: of each host and set of paths.
fn last_of_each(snapshots: Vec<(Id, Snapshot)>, latest: usize) -> Vec<(Id, Snapshot)> {
    let mut kept = Vec::new();
    for (_, group) in group_by(snapshots, true, true, false) {
        let skip = group.len().saturating_sub(latest);
        kept.extend(group.into_iter().skip(skip));
    }
    kept.sort_by(|(id_a, a), (id_b, b)| (a.time.timestamp(), id_a).cmp(&(b.time.timestamp(), id_b)));
    kept
}

/// For each snapshot that not every reachable copy has: the copies that lack it.
fn copies_missing(repository: &repository::Repository, listing: &SnapshotListing) -> HashMap<Id, Vec<String>> {
    let mut missing: HashMap<Id, Vec<String>> = HashMap::new();
    for (number, copy) in repository.copies().all().iter().enumerate() {
        if listing.holdings.asked & (1 << number) != 0 {
            for (id, _) in listing.holdings.missing(number) {
                missing.entry(id).or_default().push(copy.place().to_owned());
            }
        }
    }
    missing
}

fn groups_json(groups: &[Group], grouping: Option<Grouping>) -> Value {
    let list = |snapshots: &[(Id, Snapshot)]| -> Vec<Value> {
        snapshots.iter().map(|(id, snapshot)| json::snapshot(*id, snapshot)).collect()
    };
    let Some(grouping) = grouping else {
        return groups.iter().flat_map(|(_, snapshots)| list(snapshots)).collect();
    };
    let group = |((hostname, paths, tags), snapshots): &Group| {
        let if_asked = |asked: bool, values: &[String]| if asked { json!(values) } else { Value::Null };
        let key = json!({
            "hostname": hostname,
            "paths": if_asked(grouping.paths, paths),
            "tags": if_asked(grouping.tags, tags),
        });
        json!({ "group_key": key, "snapshots": list(snapshots) })
    };
    groups.iter().map(group).collect()
}

fn heading((host, paths, tags): &(String, Vec<String>, Vec<String>), grouping: Grouping) -> String {
    let mut parts = Vec::new();
    if grouping.host {
        parts.push(format!("host [{host}]"));
    }
    if grouping.tags {
        parts.push(format!("tags [{}]", tags.join(", ")));
    }
    if grouping.paths {
        parts.push(format!("paths [{}]", paths.join(", ")));
    }
    format!("snapshots for ({}):", parts.join(", "))
}

fn table(snapshots: &[(Id, Snapshot)], zone: &TimeZone, compact: bool, behind: &HashMap<Id, Vec<String>>) -> Table {
    let mut table = if compact {
        Table::new(["ID", "Time", "Host", "Tags", "Size"])
    } else {
        Table::new(["ID", "Time", "Host", "Tags", "Paths", "Size"])
    };
    let mut incomplete = 0;
    for (id, snapshot) in snapshots {
        let lines = |texts: &[String], mark: &str| {
            texts.iter().map(|text| figures::shown(text.as_bytes())).collect::<Vec<_>>().join(mark)
        };
        let size = snapshot.summary.as_ref().map(|summary| figures::bytes(summary.total_bytes_processed));
        let (time, host) = (figures::moment(&snapshot.time, zone), figures::shown(snapshot.hostname.as_bytes()));
        let size = size.unwrap_or_default();
        let short = id.short();
        if compact {
            table.row([short, time, host, lines(&snapshot.tags, "\n"), size]);
        } else {
            table.row([short, time, host, lines(&snapshot.tags, "\n"), lines(&snapshot.paths, "\n"), size]);
        }
        if let Some(copies) = behind.get(id) {
            incomplete += 1;
            table.footer(format!("{} is missing on {}", id.short(), copies.join(", ")));
        }
    }
    table.footer(figures::count(snapshots.len() as u64, "snapshot"));
    if incomplete > 0 {
        table.footer("`triplicate copies sync` brings copies that are behind up to date");
    }
    table
}
