//! A folder of an account that is reached over SSH, by SFTP: laid out as restic lays it out, so that both may use it.
//!
//! | room | its matter |
//! |---|---|
//! | [`wire`] | packets |
//! | [`session`] | questions and answers over one stream |
//! | [`files`] | files and folders: no half file under a name |
//! | [`reading`] | listings and pieces of files |
//! | [`foreign`] | trees that are no copies, to be read |
//! | [`through_ssh`], [`known_hosts`] | our own SSH client, and which hosts it believes |
//! | [`through_program`] | the system's ssh instead |
//! | [`lanes`] | several connections to one server |
//! | [`trouble`] | what a failure means |

mod files;
mod foreign;
mod known_hosts;
mod lanes;
mod reading;
mod session;
mod through_program;
mod through_ssh;
mod trouble;
mod wire;

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use format::{FileKind, FileName};
use model::{Fault, FaultKind};

use self::files::Files;
pub use self::foreign::{SftpFacts, SftpFile, SftpReader};
use self::lanes::Lanes;
use self::trouble::{Result as TroubleOr, Trouble};
use crate::pace::flow::Flow;
use crate::{AccountPlace, Destination, Limits, Listed, Span, SshAccess};

/// A copy in a folder of an SFTP server.
#[derive(Debug)]
pub struct SftpFolder {
    place: String,
    root: std::sync::Arc<str>,
    lanes: Lanes,
    /// What writers that were killed left behind, as listings showed it.
    leftovers: Mutex<Vec<String>>,
}

impl SftpFolder {
    /// The copy at `place`; nothing is asked yet.
    pub fn new(place: &AccountPlace, access: &SshAccess, limits: &Limits) -> Result<Self, Fault> {
        let shown = format!("sftp:{place}");
        let lanes = Lanes::new(place, access, limits.connections)
            .map_err(|cause| Fault::new(FaultKind::Misconfigured, "use", "", &shown, cause))?;
        Ok(Self { place: shown, root: place.path.as_str().into(), lanes, leftovers: Mutex::default() })
    }

    /// Runs `work` on one of the connections.
    async fn on_a_lane<T, F>(
        &self,
        action: &'static str,
        object: String,
        work: impl FnOnce(Files) -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = TroubleOr<T>>,
    {
        let outcome = async {
            Flow::current().request().await;
            let lane = self.lanes.enter().await?;
            let outcome = work(Files { session: lane.session(), root: self.root.clone() }).await;
            lane.leave();
            outcome
        };
        outcome.await.map_err(|trouble: Trouble| Fault::new(trouble.kind, action, object, &self.place, trouble.cause))
    }

    fn remember(&self, found: Vec<String>) {
        if !found.is_empty() {
            *self.leftovers.lock().unwrap_or_else(PoisonError::into_inner) = found;
        }
    }
}

#[async_trait]
impl Destination for SftpFolder {
    fn place(&self) -> &str {
        &self.place
    }

    async fn create(&self) -> Result<(), Fault> {
        self.on_a_lane("create", String::new(), |files| async move { files.create_layout().await }).await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, Fault> {
        if kind == FileKind::Config {
            let cause = "the config file has no folder to list";
            return Err(Fault::new(FaultKind::Refused, "list", kind.folder(), &self.place, cause));
        }
        let listed = |files: Files| async move { files.list(kind).await };
        let (found, leftovers) = self.on_a_lane("list", kind.folder().to_owned(), listed).await?;
        self.remember(leftovers);
        Ok(found)
    }

    async fn stat(&self, name: FileName) -> Result<u64, Fault> {
        self.on_a_lane("stat", name.path(), |files| async move { files.size(&name.path()).await }).await
    }

    async fn read(&self, name: FileName, span: Span) -> Result<Bytes, Fault> {
        self.read_into(name, span, Vec::new()).await.map(Bytes::from)
    }

    async fn read_into(&self, name: FileName, span: Span, buffer: Vec<u8>) -> Result<Vec<u8>, Fault> {
        let read = |files: Files| async move { files.read(&name.path(), span, buffer).await };
        self.on_a_lane("read", name.path(), read).await
    }

    async fn write(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        let leftovers = std::mem::take(&mut *self.leftovers.lock().unwrap_or_else(PoisonError::into_inner));
        let written = |files: Files| async move {
            files.write(name, &bytes).await?;
            // Only after a write, for readers change nothing; and in silence, for this write has succeeded.
            for path in leftovers {
                let _ = files.remove(&path).await;
            }
            Ok(())
        };
        self.on_a_lane("write", name.path(), written).await
    }

    async fn remove(&self, name: FileName) -> Result<(), Fault> {
        self.on_a_lane("remove", name.path(), |files| async move { files.remove(&name.path()).await }).await
    }
}
