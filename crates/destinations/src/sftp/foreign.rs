//! A tree of an account as it is, to be read and nothing else: names are bytes, files have owners and modes.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt as _};
use model::{Fault, FaultKind};

use super::lanes::{Entered, Lanes};
use super::session::{Handle, refused};
use super::trouble::{Result as TroubleOr, Trouble};
use super::wire::{Answer, Ask, Attributes};
use crate::{AccountPlace, Limits, SshAccess};

/// How much is asked for at one time: what came of a piece is lost when the connection drops.
const PIECE_BYTES: u32 = 32 << 10;
/// Requests for one file that are under way at one time.
const PIECES_AT_ONCE: usize = 64;

/// A folder of an SFTP server, to be read.
#[derive(Debug)]
pub struct SftpReader {
    place: Arc<str>,
    root: Vec<u8>,
    lanes: Lanes,
}

/// What a server tells of a file, a folder or a link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SftpFacts {
    /// Bytes.
    pub size: Option<u64>,
    /// When it was last changed, in seconds since 1970.
    pub modified_seconds: Option<i64>,
    /// The bits of `st_mode`, the kind of file among them.
    pub mode: Option<u32>,
    /// User and group by number.
    pub owner: Option<(u32, u32)>,
}

impl From<Attributes> for SftpFacts {
    fn from(told: Attributes) -> Self {
        Self {
            size: told.size,
            modified_seconds: told.modified_seconds.map(i64::from),
            mode: told.permissions,
            owner: told.owner,
        }
    }
}

impl SftpReader {
    /// The tree at `place`; nothing is asked yet.
    pub fn new(place: &AccountPlace, access: &SshAccess, limits: &Limits) -> Result<Self, Fault> {
        let shown = format!("sftp:{place}");
        let lanes = Lanes::new(place, access, limits.connections)
            .map_err(|cause| Fault::new(FaultKind::Misconfigured, "use", "", &shown, cause))?;
        Ok(Self { place: shown.into(), root: place.path.clone().into_bytes(), lanes })
    }

    /// What to call it, without secrets.
    pub fn place(&self) -> &str {
        &self.place
    }

    fn path(&self, inside: &[u8]) -> Vec<u8> {
        let between: &[u8] = if inside.is_empty() || self.root.ends_with(b"/") { b"" } else { b"/" };
        [&self.root, between, inside].concat()
    }

    async fn on_a_lane<T>(
        &self,
        action: &'static str,
        inside: &[u8],
        work: impl AsyncFnOnce(&Entered, Vec<u8>) -> TroubleOr<T>,
    ) -> Result<T, Fault> {
        let outcome = async {
            let lane = self.lanes.enter().await?;
            let outcome = work(&lane, self.path(inside)).await;
            lane.leave();
            outcome
        };
        outcome.await.map_err(|trouble| fault(&self.place, action, inside, trouble))
    }

    /// Everything in a folder, itself and the one above it left out.
    ///
    /// # Errors
    /// When there may be more than was told.
    pub async fn entries(&self, folder: &[u8]) -> Result<Vec<(Bytes, SftpFacts)>, Fault> {
        let work = async |lane: &Entered, path: Vec<u8>| lane.session().folder_entries(&path).await;
        let mut entries = self.on_a_lane("list", folder, work).await?;
        // A server may begin anew when it is asked for more behind the end.
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        entries.dedup_by(|(one, _), (other, _)| one == other);
        let own = entries.into_iter().filter(|(name, _)| !matches!(&name[..], b"." | b".."));
        Ok(own.map(|(name, attributes)| (name, attributes.into())).collect())
    }

    /// What is known of one entry; of a link itself and not of what it points to.
    ///
    /// # Errors
    /// When it is not there, or the server does not tell.
    pub async fn facts(&self, inside: &[u8]) -> Result<SftpFacts, Fault> {
        let work = async |lane: &Entered, path: Vec<u8>| lane.session().attributes(Ask::LinkStat(&path)).await;
        self.on_a_lane("stat", inside, work).await.map(SftpFacts::from)
    }

    /// What a link says.
    ///
    /// # Errors
    /// When it is none, or the server does not tell.
    pub async fn link(&self, inside: &[u8]) -> Result<Bytes, Fault> {
        let work = async |lane: &Entered, path: Vec<u8>| match lane.session().ask(Ask::ReadLink(&path)).await? {
            Answer::Names(names) => match <[_; 1]>::try_from(names) {
                Ok([(target, _)]) => Ok(target),
                Err(_) => Err(Trouble::protocol("a link with several targets")),
            },
            other => Err(refused(other, "another answer than a target")),
        };
        self.on_a_lane("read", inside, work).await
    }

    /// Opens a file.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn open(&self, inside: &[u8]) -> Result<SftpFile, Fault> {
        let opened = async {
            let lane = self.lanes.enter().await?;
            match lane.session().open(Ask::OpenToRead(&self.path(inside))).await {
                Ok(handle) => Ok((handle, lane)),
                Err(trouble) => {
                    lane.leave();
                    Err(trouble)
                }
            }
        };
        let (handle, lane) = opened.await.map_err(|trouble| fault(&self.place, "read", inside, trouble))?;
        let shown: Arc<str> = String::from_utf8_lossy(inside).into();
        Ok(SftpFile { handle, place: Arc::clone(&self.place), shown, lane })
    }
}

fn fault(place: &str, action: &'static str, inside: &[u8], trouble: Trouble) -> Fault {
    Fault::new(trouble.kind, action, String::from_utf8_lossy(inside), place, trouble.cause)
}

/// An open file. Dropped without [`SftpFile::close`], its connection is taken for dead and not used for others.
#[derive(Debug)]
pub struct SftpFile {
    handle: Handle,
    place: Arc<str>,
    shown: Arc<str>,
    lane: Entered,
}

impl SftpFile {
    /// What is known of it now.
    ///
    /// # Errors
    /// When the connection is over.
    pub async fn facts(&self) -> Result<SftpFacts, Fault> {
        let asked = self.handle.session().attributes(Ask::HandleStat(self.handle.name())).await;
        let told = asked.map_err(|trouble| fault(&self.place, "read", self.shown.as_bytes(), trouble));
        told.map(SftpFacts::from)
    }

    /// The work is done, and the connection is as good as before.
    pub fn close(self) {
        self.lane.leave();
    }

    /// Its bytes in order, several requests ahead; each part is whole or an error.
    pub fn bytes(&self, from: u64, until: u64) -> impl Stream<Item = Result<Bytes, Fault>> + Send + Unpin + use<> {
        let session = Arc::clone(self.handle.session());
        let (name, place, shown) = (self.handle.name().clone(), Arc::clone(&self.place), Arc::clone(&self.shown));
        let step = session.read_bytes.min(PIECE_BYTES);
        let starts = (from..until).step_by(step as usize);
        stream::iter(starts.map(move |start| {
            let (session, name) = (Arc::clone(&session), name.clone());
            let (place, shown) = (Arc::clone(&place), Arc::clone(&shown));
            let length = (until - start).min(u64::from(step)) as usize;
            Box::pin(async move {
                let mut piece = vec![0; length];
                match session.fill(&name, start, &mut piece).await {
                    Ok(()) => Ok(Bytes::from(piece)),
                    Err(trouble) => Err(fault(&place, "read", shown.as_bytes(), trouble)),
                }
            })
        }))
        .buffered(PIECES_AT_ONCE)
    }
}
