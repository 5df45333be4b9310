//! A folder of an account on an FTP server, over TLS only: for hosts that offer nothing better.
//!
//! FTP (RFC 959, with RFC 2228, 3659 and 4217) has one data connection for each file and each listing, and a session
//! does one thing at a time. The protocol itself is the matter of `suppaftp`; what is here is the order of commands that
//! leaves no half file under a name, and what an answer means.
//!
//! | room | its matter |
//! |---|---|
//! | [`session`] | one login: TLS, what the server can do |
//! | [`lanes`] | several logins, used in turn |
//! | [`files`] | files and folders |
//! | [`listing`] | the lines of a listing |
//! | [`trouble`] | what a failure means |

mod files;
mod lanes;
mod listing;
mod session;
mod trouble;

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use format::{FileKind, FileName};
use model::{Fault, FaultKind};

use self::lanes::Lanes;
use self::session::Door;
use self::trouble::Trouble;
pub use self::trouble::kind_of_refusal;
use crate::{AccountPlace, Destination, FtpsAccess, Limits, Listed, Span, TlsAccess};

/// A copy in a folder of an FTP server.
#[derive(Debug)]
pub struct FtpsFolder {
    place: String,
    lanes: Lanes,
    /// What writers that were killed left behind, as listings showed it.
    leftovers: Mutex<Vec<String>>,
}

impl FtpsFolder {
    /// The copy at `place`; nothing is asked yet.
    pub fn new(place: &AccountPlace, access: &FtpsAccess, tls: &TlsAccess, limits: &Limits) -> Result<Self, Fault> {
        let shown = format!("ftps:{place}");
        let door = Door::new(place, access, tls)
            .map_err(|cause| Fault::new(FaultKind::Misconfigured, "use", "", &shown, cause))?;
        Ok(Self { place: shown, lanes: Lanes::new(door, limits.connections), leftovers: Mutex::default() })
    }

    fn fault(&self, action: &'static str, object: &str, trouble: Trouble) -> Fault {
        Fault::new(trouble.kind, action, object, &self.place, trouble.cause)
    }
}

#[async_trait]
impl Destination for FtpsFolder {
    fn place(&self) -> &str {
        &self.place
    }

    async fn create(&self) -> Result<(), Fault> {
        files::create_layout(&self.lanes).await.map_err(|trouble| self.fault("create", "", trouble))
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, Fault> {
        let folder = kind.folder();
        if kind == FileKind::Config {
            let trouble = Trouble::new(FaultKind::Refused, "the config file has no folder to list");
            return Err(self.fault("list", folder, trouble));
        }
        let listed = files::list(&self.lanes, kind).await;
        let (found, leftovers) = listed.map_err(|trouble| self.fault("list", folder, trouble))?;
        if !leftovers.is_empty() {
            *self.leftovers.lock().unwrap_or_else(PoisonError::into_inner) = leftovers;
        }
        Ok(found)
    }

    async fn stat(&self, name: FileName) -> Result<u64, Fault> {
        let sized = async {
            let mut lane = self.lanes.enter().await?;
            let size = lane.session().size(&name.path()).await;
            lane.leave_with(size)
        };
        sized.await.map_err(|trouble| self.fault("stat", &name.path(), trouble))
    }

    async fn read(&self, name: FileName, span: Span) -> Result<Bytes, Fault> {
        let read = async {
            let mut lane = self.lanes.enter().await?;
            let bytes = files::read(lane.session(), &name.path(), span).await;
            lane.leave_with(bytes)
        };
        read.await.map(Bytes::from).map_err(|trouble| self.fault("read", &name.path(), trouble))
    }

    async fn write(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        let leftovers = std::mem::take(&mut *self.leftovers.lock().unwrap_or_else(PoisonError::into_inner));
        let written = async {
            let mut lane = self.lanes.enter().await?;
            let written = files::write(lane.session(), name, &bytes).await;
            if written.is_ok() {
                // Only after a write, for readers change nothing; and in silence, for this write has succeeded.
                for path in leftovers {
                    let _ = lane.session().remove(&path).await;
                }
            }
            lane.leave_with(written)
        };
        written.await.map_err(|trouble| self.fault("write", &name.path(), trouble))
    }

    async fn remove(&self, name: FileName) -> Result<(), Fault> {
        let removed = async {
            let mut lane = self.lanes.enter().await?;
            let removed = lane.session().remove(&name.path()).await;
            lane.leave_with(removed)
        };
        removed.await.map_err(|trouble| self.fault("remove", &name.path(), trouble))
    }
}
