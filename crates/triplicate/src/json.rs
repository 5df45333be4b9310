//! The JSON lines. Names and types are restic's wherever restic has the field; ours are added beside them.

use model::{Fault, Id};
use repository::Damage;
use repository::copies::fan_out::CopyOutcome;
use serde::Serialize;
use serde_json::Value;

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Where an operation stands.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    pub(crate) percent_done: f64,
    pub(crate) items_done: u64,
    pub(crate) items_total: u64,
    pub(crate) bytes_done: u64,
    pub(crate) bytes_total: u64,
    pub(crate) troubles: u64,
    pub(crate) seconds_elapsed: u64,
    pub(crate) seconds_remaining: Option<u64>,
}

/// `status` of a backup.
#[derive(Debug, Serialize)]
pub(crate) struct BackupStatus {
    message_type: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    seconds_elapsed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_remaining: Option<u64>,
    percent_done: f64,
    #[serde(skip_serializing_if = "is_zero")]
    total_files: u64,
    #[serde(skip_serializing_if = "is_zero")]
    files_done: u64,
    #[serde(skip_serializing_if = "is_zero")]
    total_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    bytes_done: u64,
    #[serde(skip_serializing_if = "is_zero")]
    error_count: u64,
}

impl From<&Progress> for BackupStatus {
    fn from(progress: &Progress) -> Self {
        Self {
            message_type: "status",
            seconds_elapsed: progress.seconds_elapsed,
            seconds_remaining: progress.seconds_remaining,
            percent_done: progress.percent_done,
            total_files: progress.items_total,
            files_done: progress.items_done,
            total_bytes: progress.bytes_total,
            bytes_done: progress.bytes_done,
            error_count: progress.troubles,
        }
    }
}

/// `status` of a restore.
#[derive(Debug, Serialize)]
pub(crate) struct RestoreStatus {
    message_type: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    seconds_elapsed: u64,
    percent_done: f64,
    #[serde(skip_serializing_if = "is_zero")]
    total_files: u64,
    #[serde(skip_serializing_if = "is_zero")]
    files_restored: u64,
    #[serde(skip_serializing_if = "is_zero")]
    total_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    bytes_restored: u64,
}

impl From<&Progress> for RestoreStatus {
    fn from(progress: &Progress) -> Self {
        Self {
            message_type: "status",
            seconds_elapsed: progress.seconds_elapsed,
            percent_done: progress.percent_done,
            total_files: progress.items_total,
            files_restored: progress.items_done,
            total_bytes: progress.bytes_total,
            bytes_restored: progress.bytes_done,
        }
    }
}

/// `verbose_status` of a backup. What restic measures for each file and we do not is left out, not made up.
#[derive(Debug, Serialize)]
pub(crate) struct BackupEntry<'a> {
    message_type: &'static str,
    action: &'a str,
    item: &'a str,
    data_size: u64,
}

impl<'a> BackupEntry<'a> {
    pub(crate) fn new(action: &'a str, item: &'a str, size: u64) -> Self {
        Self { message_type: "verbose_status", action, item, data_size: size }
    }
}

/// `verbose_status` of a restore.
#[derive(Debug, Serialize)]
pub(crate) struct RestoreEntry<'a> {
    message_type: &'static str,
    action: &'a str,
    item: &'a str,
    size: u64,
}

impl<'a> RestoreEntry<'a> {
    pub(crate) fn new(action: &'a str, item: &'a str, size: u64) -> Self {
        Self { message_type: "verbose_status", action, item, size }
    }
}

/// A message inside an `error` line.
#[derive(Debug, Serialize)]
pub(crate) struct Message {
    message: String,
}

/// `error`: an entry that is not as it was asked for.
#[derive(Debug, Serialize)]
pub(crate) struct Trouble {
    message_type: &'static str,
    error: Message,
    during: &'static str,
    item: String,
    kind: &'static str,
}

impl Trouble {
    pub(crate) fn new(trouble: &repository::Trouble, during: &'static str) -> Self {
        Self {
            message_type: "error",
            error: Message { message: trouble.cause.clone() },
            during,
            item: trouble.path.to_string_lossy().into_owned(),
            kind: trouble.kind.word(),
        }
    }
}

/// `warming_up`: packs that lie in an archive were asked for, and so many cannot be read yet.
#[derive(Debug, Serialize)]
pub(crate) struct WarmingUp {
    pub(crate) message_type: &'static str,
    pub(crate) packs: u64,
    pub(crate) bytes: u64,
}

/// `error`: a copy, or a file of it, that cannot be used.
#[derive(Debug, Serialize)]
pub(crate) struct CopyTrouble {
    message_type: &'static str,
    error: Message,
    during: &'static str,
    item: String,
    copy: String,
}

impl CopyTrouble {
    pub(crate) fn damage(damage: &Damage) -> Self {
        Self {
            message_type: "error",
            error: Message { message: damage.why.clone() },
            during: "read",
            item: damage.file.clone(),
            copy: damage.copy.clone(),
        }
    }

    pub(crate) fn lost(copy: &str, fault: &Fault) -> Self {
        Self {
            message_type: "error",
            error: Message { message: fault.to_string() },
            during: fault.action,
            item: fault.object.clone(),
            copy: copy.to_owned(),
        }
    }
}

/// How one copy came out.
#[derive(Debug, Serialize)]
pub(crate) struct CopyEnd {
    copy: String,
    verdict: model::Verdict,
    files_written: u64,
    bytes_written: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl From<&CopyOutcome> for CopyEnd {
    fn from(outcome: &CopyOutcome) -> Self {
        Self {
            copy: outcome.copy.clone(),
            verdict: outcome.verdict,
            files_written: outcome.files_written,
            bytes_written: outcome.bytes_written,
            error: outcome.fault.as_ref().map(ToString::to_string),
        }
    }
}

/// A snapshot as restic shows it: the document as it is stored, with its id.
pub(crate) fn snapshot(id: Id, snapshot: &format::Snapshot) -> Value {
    let mut value: Value = serde_json::from_slice(&snapshot.to_bytes()).unwrap_or_default();
    if let Some(object) = value.as_object_mut() {
        object.insert("id".to_owned(), id.to_hex().into());
        object.insert("short_id".to_owned(), id.short().into());
    }
    value
}

/// A folder that no copy can give.
pub(crate) fn unreadable(unreadable: &repository::browse::Unreadable) -> Value {
    serde_json::json!({
        "message_type": "error",
        "error": { "message": unreadable.error.to_string() },
        "during": "read",
        "item": String::from_utf8_lossy(&unreadable.path),
    })
}

/// Go's `FileMode`, which restic has in its JSON.
pub(crate) fn go_mode(node: &format::Node) -> u32 {
    use format::NodeKind;
    let kind = match node.kind {
        NodeKind::File => 0,
        NodeKind::Dir => 1 << 31,
        NodeKind::Symlink => 1 << 27,
        NodeKind::Device => 1 << 26,
        NodeKind::CharDevice => 1 << 26 | 1 << 21,
        NodeKind::Fifo => 1 << 25,
        NodeKind::Socket => 1 << 24,
        NodeKind::Irregular => 1 << 19,
    };
    let special = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    let special = special.iter().filter(|(unix, _)| node.mode & unix != 0).fold(0, |sum, (_, go)| sum | go);
    kind | special | node.mode & 0o777
}
