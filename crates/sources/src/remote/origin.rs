//! A remote tree as the engine reads it: what failed is tried again, silence ends, and an error is judged by what it costs.

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use destinations::reach::{self, Patience};
use model::{Fault, FaultKind};
use repository::Cancel;
use repository::backup::{Entry, ErrorScope, Origin, OriginError};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::RemoteSettings;
use super::pour::{PIECES_AHEAD, Pour};
use super::reader::PouredFile;
use super::tree::{Opened, State, Tree};

/// Times of servers are to the second, and their clocks are not ours: a file that changed so shortly before the last
/// backup is read again.
const SETTLE_SECONDS: i64 = 120;
/// How often somebody who wants to stop is heeded.
const LOOK_UP_PAUSE: Duration = Duration::from_millis(200);
/// No tree has more entries. Names, and how deep folders lie, are looked at by the engine, for every origin.
const ENTRIES_LIMIT: u64 = 200_000_000;

/// A tree on a server, as an origin.
#[derive(Debug)]
pub(super) struct RemoteOrigin {
    kind: &'static str,
    tree: Arc<dyn Tree>,
    lanes: usize,
    runtime: Handle,
    patience: Arc<Patience>,
    stall: Duration,
    /// How many entries it has shown.
    seen: AtomicU64,
    /// The folder that was listed last to find out whether an error is of one file alone.
    sound_folder: Mutex<Option<Vec<u8>>>,
}

impl RemoteOrigin {
    pub(super) fn new(
        kind: &'static str,
        tree: Arc<dyn Tree>,
        settings: &RemoteSettings,
        lanes: usize,
        runtime: Handle,
    ) -> Self {
        Self {
            kind,
            tree,
            lanes,
            runtime,
            patience: Arc::new(Patience::new(&settings.limits, settings.listener.clone())),
            stall: settings.limits.stall(),
            seen: AtomicU64::new(0),
            sound_folder: Mutex::default(),
        }
    }

    fn fault(&self, action: &'static str, path: &[u8], kind: FaultKind, cause: String) -> Fault {
        Fault::new(kind, action, String::from_utf8_lossy(path), self.tree.place(), cause)
    }

    async fn watched<T>(
        &self,
        action: &'static str,
        path: &[u8],
        attempt: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let stalled = || format!("nothing moved for {} s", self.stall.as_secs());
        let answer = reach::watched(self.stall, attempt).await;
        answer.unwrap_or_else(|| Err(self.fault(action, path, FaultKind::Stalled, stalled())))
    }

    async fn listed(&self, folder: &[u8]) -> Result<Vec<Entry>, Fault> {
        let entries = self.patience.repeated(|| self.watched("list", folder, self.tree.list(folder))).await?;
        let seen = self.seen.fetch_add(entries.len() as u64, Ordering::Relaxed);
        if ENTRIES_LIMIT < seen {
            let cause = format!("the tree has more than {ENTRIES_LIMIT} entries");
            return Err(self.fault("list", folder, FaultKind::Refused, cause));
        }
        Ok(entries)
    }

    async fn opened(&self, path: &[u8], entry: &Entry) -> Result<Opened, Fault> {
        let known = State::of(entry);
        self.patience.repeated(|| self.watched("read", path, self.tree.open(path, 0, Some(&known)))).await
    }

    /// Judges whether a file that could not be opened is all that is lost. A disk that is away at the server, and
    /// credentials that were withdrawn, look just the same from one file: so its folder is looked at again.
    async fn judged(&self, path: &[u8], fault: Fault) -> OriginError {
        let (folder, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (path.get(..slash).unwrap_or_default(), path.get(slash + 1..).unwrap_or_default()),
            None => (&b""[..], path),
        };
        let kind = fault.kind;
        let error = error_of(fault);
        let lock = || self.sound_folder.lock().unwrap_or_else(PoisonError::into_inner);
        match kind {
            FaultKind::Denied | FaultKind::Cold if lock().as_deref() == Some(folder) => {
                error.of(ErrorScope::Unreadable)
            }
            FaultKind::Denied | FaultKind::Cold | FaultKind::NotFound => {
                match self.watched("list", folder, self.tree.list(folder)).await {
                    Ok(entries) => {
                        *lock() = Some(folder.to_vec());
                        let is_there = entries.iter().any(|entry| entry.name == name);
                        let is_gone = kind == FaultKind::NotFound && !is_there;
                        error.of(if is_gone { ErrorScope::Vanished } else { ErrorScope::Unreadable })
                    }
                    Err(_) => error,
                }
            }
            _ => error,
        }
    }
}

impl Origin for RemoteOrigin {
    fn place(&self) -> String {
        self.tree.place().to_owned()
    }

    fn list(&self, path: &[u8], stop: &Cancel) -> Result<Vec<Entry>, OriginError> {
        let listed = async { self.listed(path).await.map_err(error_of) };
        self.runtime.block_on(unless_stopped(stop, listed))
    }

    fn open(&self, path: &[u8], entry: &Entry, stop: &Cancel) -> Result<Box<dyn Read + Send>, OriginError> {
        let opened = async {
            match self.opened(path, entry).await {
                Ok(opened) => Ok(opened),
                Err(fault) => Err(self.judged(path, fault).await),
            }
        };
        let opened = self.runtime.block_on(unless_stopped(stop, opened))?;
        let (sink, parts) = mpsc::channel(PIECES_AHEAD);
        let pour = Pour {
            tree: Arc::clone(&self.tree),
            patience: Arc::clone(&self.patience),
            stall: self.stall,
            path: path.to_vec(),
            sink,
        };
        let stop = stop.clone();
        // Whoever reads learns that nothing more comes, as when it is stopped otherwise.
        let task = self.runtime.spawn(async move {
            tokio::select! {
                () = pour.run(opened) => {}
                () = until_set(&stop) => {}
            }
        });
        Ok(Box::new(PouredFile::new(parts, task)))
    }

    fn lanes(&self) -> usize {
        self.lanes
    }

    fn settle_seconds(&self) -> i64 {
        SETTLE_SECONDS
    }

    fn manifest(&self) -> Result<Option<String>, OriginError> {
        let text = serde_json::json!({ "kind": self.kind, "place": self.tree.place() });
        Ok(Some(text.to_string()))
    }
}

/// An answer, or that somebody wants to stop.
async fn unless_stopped<T>(
    stop: &Cancel,
    answer: impl Future<Output = Result<T, OriginError>>,
) -> Result<T, OriginError> {
    tokio::select! {
        answer = answer => answer,
        () = until_set(stop) => Err(OriginError::new("read", "", "it was stopped in the middle")),
    }
}

async fn until_set(stop: &Cancel) {
    while !stop.is_set() {
        tokio::time::sleep(LOOK_UP_PAUSE).await;
    }
}

/// A fault at a server that is read from, and what can be done about it.
pub(super) fn error_of(fault: Fault) -> OriginError {
    let hint = match fault.kind {
        FaultKind::NotFound => Some("check the path of the source; nothing is made there"),
        FaultKind::Denied => Some("check the credentials of the source and what they permit"),
        FaultKind::Unreachable => Some("check that the server is up, its address, and the network between"),
        FaultKind::Stalled => Some("the server stopped answering; try again, or check its load"),
        FaultKind::Failing => Some("the server has trouble of its own; see its log"),
        FaultKind::Misconfigured => Some("check the address of the source and what is set for it"),
        FaultKind::Cold => Some("it lies in an archive and has to be asked for there first"),
        _ => None,
    };
    let error = OriginError::new(fault.action, fault.object, fault.cause);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
