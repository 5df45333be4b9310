//! `find`: entries by pattern, and objects by id, in many snapshots.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use format::Node;
use model::Id;
use repository::browse::{FindRequest, Found, Wanted, find};
use repository::filter::{Case, PatternList, Selection};
use repository::locks::LockMode;
use serde_json::{Value, json};

use crate::arguments::SnapshotArguments;
use crate::failure::Failure;
use crate::figures;
use crate::json;
use crate::session::Session;
use crate::watch::Task;

/// Find files, folders or objects in snapshots
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Patterns, or ids with --blob, --tree, --pack
    #[arg(required = true)]
    patterns: Vec<OsString>,
    /// Ignore upper and lower case
    #[arg(short, long)]
    ignore_case: bool,
    /// Changed at or after this time
    #[arg(short = 'O', long, value_name = "TIME", value_parser = moment)]
    oldest: Option<jiff::Timestamp>,
    /// Changed at or before this time
    #[arg(short = 'N', long, value_name = "TIME", value_parser = moment)]
    newest: Option<jiff::Timestamp>,
    /// Only these snapshots; several times for several
    #[arg(short, long, value_name = "SNAPSHOT")]
    snapshot: Vec<String>,
    /// The patterns are ids of data blobs
    #[arg(long, conflicts_with_all = ["tree", "pack"])]
    blob: bool,
    /// The patterns are ids of trees
    #[arg(long, conflicts_with = "pack")]
    tree: bool,
    /// The patterns are ids of packs
    #[arg(long)]
    pack: bool,
    /// Say more about each entry
    #[arg(short, long)]
    long: bool,
    #[command(flatten)]
    filter: SnapshotArguments,
}

fn moment(text: &str) -> Result<jiff::Timestamp, String> {
    let zone = jiff::tz::TimeZone::system();
    let local = |time: jiff::civil::DateTime| time.to_zoned(zone).map(|zoned| zoned.timestamp());
    let date = || text.parse::<jiff::civil::Date>().map(|date| date.to_datetime(jiff::civil::Time::midnight()));
    text.parse::<jiff::Timestamp>()
        .or_else(|_| text.parse::<jiff::civil::DateTime>().or_else(|_| date()).and_then(local))
        .map_err(|_| "use `2026-11-21`, `2026-11-21 08:00:00` or RFC 3339".to_owned())
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let wanted = wanted(arguments)?;
    let repository = session.open(session.watch(Task::Browse))?;
    let _guard = repository.lock(LockMode::Reading)?;
    let (snapshots, damaged) = super::chosen_snapshots(session, &repository, &arguments.snapshot, &arguments.filter)?;
    let zone = repository.clock().time_zone();
    let times: HashMap<Id, String> =
        snapshots.iter().map(|(id, snapshot)| (*id, figures::moment(&snapshot.time, &zone))).collect();
    let starts: HashMap<Id, String> =
        snapshots.iter().map(|(id, snapshot)| (*id, figures::rfc3339(&snapshot.time))).collect();
    let mut hits = Hits { session, arguments, times, starts, found: Vec::new(), objects: Vec::new(), broken: None };
    let indexed = repository.indexed()?;
    let report = find(&indexed, &snapshots, &FindRequest { wanted }, &mut |found| {
        hits.take(&found).map_err(|failure| {
            hits.broken = Some(failure);
            repository::Error::Interrupted
        })
    });
    let Hits { found, objects, broken, .. } = hits;
    let report = match broken {
        Some(failure) => return Err(failure),
        None => report?,
    };
    let is_objects = arguments.blob || arguments.tree || arguments.pack;
    session.screen.json(&if is_objects { Value::from(objects) } else { matches_json(found) })?;
    for (_, unreadable) in &report.unreadable {
        session.screen.json_error(&json::unreadable(unreadable));
        session.screen.warn(unreadable.to_string());
    }
    if damaged > 0 || !report.unreadable.is_empty() {
        return Err(Failure::partial("not everything could be looked through"));
    }
    Ok(())
}

fn wanted(arguments: &Arguments) -> Result<Wanted, Failure> {
    if arguments.blob || arguments.tree || arguments.pack {
        let ids = arguments.patterns.iter().map(|text| text.to_string_lossy().into_owned()).collect();
        return Ok(match (arguments.blob, arguments.tree) {
            (true, _) => Wanted::Blobs(ids),
            (_, true) => Wanted::Trees(ids),
            _ => Wanted::Packs(ids),
        });
    }
    let case = if arguments.ignore_case { Case::Insensitive } else { Case::Sensitive };
    let mut include = PatternList::default();
    for pattern in &arguments.patterns {
        include.add(pattern.as_bytes(), case).map_err(|error| Failure::usage(error.to_string()))?;
    }
    let selection = Selection { include, exclude: PatternList::default() };
    Ok(Wanted::Entries { selection, oldest: arguments.oldest, newest: arguments.newest })
}

struct Hits<'a> {
    session: &'a Session,
    arguments: &'a Arguments,
    times: HashMap<Id, String>,
    starts: HashMap<Id, String>,
    /// For JSON: restic prints one document at the end.
    found: Vec<(Id, Vec<Value>)>,
    objects: Vec<Value>,
    broken: Option<Failure>,
}

impl Hits<'_> {
    fn take(&mut self, found: &Found<'_>) -> Result<(), Failure> {
        match found {
            Found::Entry { snapshot, path, node } => self.entry(snapshot, path, node),
            Found::Object { snapshot, kind, id, path, parent_tree } => {
                let path_text = String::from_utf8_lossy(path);
                let object_type = if *kind == format::BlobKind::Tree { "tree" } else { "blob" };
                if self.session.screen.is_json() {
                    let mut value = json!({ "object_type": object_type, "id": id, "path": path_text });
                    if let Some(object) = value.as_object_mut() {
                        if let Some(parent) = parent_tree {
                            object.insert("parent_tree".to_owned(), parent.to_hex().into());
                        }
                        object.insert("snapshot".to_owned(), snapshot.to_hex().into());
                        object.insert("time".to_owned(), self.starts.get(snapshot).cloned().into());
                    }
                    self.objects.push(value);
                }
                let (shown, short) = (figures::shown(path), snapshot.short());
                self.session.screen.line(format!("{object_type} {id} in {shown} of snapshot {short}"))
            }
        }
    }

    fn entry(&mut self, snapshot: &Id, path: &[u8], node: &Node) -> Result<(), Failure> {
        let is_new = self.found.last().is_none_or(|(last, _)| last != snapshot);
        if is_new {
            self.found.push((*snapshot, Vec::new()));
            let time = self.times.get(snapshot).map_or("", String::as_str);
            self.session.screen.remark(format!("found in snapshot {} from {time}:", snapshot.short()))?;
        }
        if self.session.screen.is_json() {
            if let Some((_, matches)) = self.found.last_mut() {
                matches.push(match_json(path, node));
            }
            return Ok(());
        }
        let shown = figures::shown(path);
        if !self.arguments.long {
            return self.session.screen.line(shown);
        }
        let permissions = figures::permissions(node.kind, node.mode);
        let time = figures::moment(&node.mtime, &self.session.clock.time_zone());
        let line = format!("{permissions} {:>5} {:>5} {:>10} {time} {shown}", node.uid, node.gid, node.size);
        self.session.screen.line(line)
    }
}

fn matches_json(found: Vec<(Id, Vec<Value>)>) -> Value {
    let one = |(snapshot, matches): (Id, Vec<Value>)| {
        let hits = matches.len();
        json!({ "matches": matches, "hits": hits, "snapshot": snapshot })
    };
    found.into_iter().map(one).collect()
}

fn match_json(path: &[u8], node: &Node) -> Value {
    let mut value = json!({
        "path": String::from_utf8_lossy(path),
        "permissions": figures::permissions(node.kind, node.mode),
        "type": node.kind.word(),
        "mode": json::go_mode(node),
        "mtime": figures::rfc3339(&node.mtime),
        "atime": figures::rfc3339(&node.atime),
        "ctime": figures::rfc3339(&node.ctime),
        "uid": node.uid,
        "gid": node.gid,
        "user": node.user,
        "group": node.group,
        "inode": node.inode,
    });
    if let Some(object) = value.as_object_mut() {
        for (name, number) in [("device_id", node.device_id), ("size", node.size), ("links", node.links)] {
            // restic leaves zeros out here.
            if number > 0 {
                object.insert(name.to_owned(), number.into());
            }
        }
        if let Some(target) = &node.link_target {
            object.insert("linktarget".to_owned(), String::from_utf8_lossy(target).into());
        }
    }
    value
}
