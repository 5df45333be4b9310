//! `ls`: what is in a snapshot.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use format::{Node, NodeKind};
use jiff::tz::TimeZone;
use repository::browse::{LsItem, LsReport, LsRequest, folder, ls};
use repository::locks::LockMode;
use serde_json::{Value, json};

use crate::arguments::{SelectionArguments, SnapshotArguments};
use crate::failure::Failure;
use crate::figures;
use crate::json;
use crate::session::Session;
use crate::watch::Task;

/// List what is in a snapshot
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The snapshot, by id, the beginning of one, or `latest`; `:/folder` behind it lists that folder only
    snapshot: String,
    /// Absolute paths in the snapshot; of a folder, what is directly in it
    paths: Vec<OsString>,
    /// List what is in folders of folders too
    #[arg(long)]
    recursive: bool,
    /// Say more about each entry
    #[arg(short, long)]
    long: bool,
    /// Sizes with units
    #[arg(long)]
    human_readable: bool,
    #[command(flatten)]
    selection: SelectionArguments,
    #[command(flatten)]
    filter: SnapshotArguments,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let selection = arguments.selection.selection()?;
    let repository = session.open(session.watch(Task::Browse))?;
    let _guard = repository.lock(LockMode::Reading)?;
    let choice = repository.find_snapshot(&arguments.snapshot, &arguments.filter.filter())?;
    let indexed = repository.indexed()?;
    let root = match &choice.subfolder {
        Some(path) => folder(&indexed, &choice.snapshot.tree, path.as_bytes())?,
        None => choice.snapshot.tree,
    };
    show_snapshot(session, &choice, &repository.clock().time_zone())?;
    let request = LsRequest {
        paths: arguments.paths.iter().map(|path| path.clone().into_vec()).collect(),
        recursive: arguments.recursive,
        selection,
    };
    let zone = repository.clock().time_zone();
    let mut broken: Option<Failure> = None;
    let report = ls(&indexed, &root, &request, &mut |item| {
        let LsItem::Entry { path, node, is_way: false } = item else { return Ok(()) };
        let written = if session.screen.is_json() {
            session.screen.json(&node_json(path, node))
        } else {
            session.screen.line(line(path, node, arguments, &zone))
        };
        written.map_err(|failure| {
            broken = Some(failure);
            repository::Error::Interrupted
        })
    });
    match broken {
        Some(failure) => Err(failure),
        None => conclude(session, &report?),
    }
}

fn show_snapshot(
    session: &Session,
    choice: &repository::snapshots::SnapshotChoice,
    zone: &TimeZone,
) -> Result<(), Failure> {
    let mut value = json::snapshot(choice.id, &choice.snapshot);
    if let Some(object) = value.as_object_mut() {
        object.insert("message_type".to_owned(), "snapshot".into());
        object.insert("struct_type".to_owned(), "snapshot".into());
    }
    session.screen.json(&value)?;
    let snapshot = &choice.snapshot;
    let (id, time, paths) = (choice.id.short(), figures::moment(&snapshot.time, zone), snapshot.paths.join(", "));
    let by = format!("{}@{}", snapshot.username, snapshot.hostname);
    session.screen.remark(figures::shown(format!("snapshot {id} of [{paths}] at {time} by {by}:").as_bytes()))
}

fn line(path: &[u8], node: &Node, arguments: &Arguments, zone: &TimeZone) -> String {
    let shown = figures::shown(path);
    if !arguments.long {
        return shown;
    }
    let size = if arguments.human_readable { figures::bytes(node.size) } else { node.size.to_string() };
    let (permissions, time) = (figures::permissions(node.kind, node.mode), figures::moment(&node.mtime, zone));
    let target = node.link_target.as_ref().map(|target| format!(" -> {}", figures::shown(target)));
    format!("{permissions} {:>5} {:>5} {size:>10} {time} {shown}{}", node.uid, node.gid, target.unwrap_or_default())
}

fn node_json(path: &[u8], node: &Node) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut value = json!({
        "name": text(&node.name),
        "type": node.kind.word(),
        "path": text(path),
        "uid": node.uid,
        "gid": node.gid,
    });
    if let (NodeKind::File, Some(object)) = (node.kind, value.as_object_mut()) {
        object.insert("size".to_owned(), node.size.into());
    }
    let rest = json!({
        "mode": json::go_mode(node),
        "permissions": figures::permissions(node.kind, node.mode),
        "mtime": figures::rfc3339(&node.mtime),
        "atime": figures::rfc3339(&node.atime),
        "ctime": figures::rfc3339(&node.ctime),
        "inode": node.inode,
        "message_type": "node",
        "struct_type": "node",
    });
    if let (Some(object), Value::Object(rest)) = (value.as_object_mut(), rest) {
        object.extend(rest);
        if let Some(target) = &node.link_target {
            object.insert("link_target".to_owned(), text(target).into());
        }
    }
    value
}

fn conclude(session: &Session, report: &LsReport) -> Result<(), Failure> {
    for unreadable in &report.unreadable {
        session.screen.json_error(&json::unreadable(unreadable));
        session.screen.warn(unreadable.to_string());
    }
    if let Some(path) = report.not_found.first() {
        return Err(Failure::failed(format!("`{}` is not in the snapshot", figures::shown(path))));
    }
    match report.unreadable.len() as u64 {
        0 => Ok(()),
        folders => Err(Failure::partial(format!("{} cannot be read", figures::count(folders, "folder")))
            .hint("run `triplicate check --read-data`, or name a further copy with -r")),
    }
}
