//! A tree of an account on an FTP server, over TLS only.
//!
//! The client of the copies is of no use here: it knows names of files as text, and the names of other people's files are
//! bytes. What it takes to read is little: lists for programs and for people, a file from any byte on, its size and its
//! time.
//!
//! | room | its matter |
//! |---|---|
//! | [`door`] | one login: TLS before anything is said |
//! | [`control`] | commands and answers |
//! | [`session`] | what a login is used for |
//! | [`lanes`] | several logins, used in turn |
//! | [`listing`] | the lines of a listing |
//! | [`trouble`] | what a failure means |

mod control;
mod door;
mod lanes;
mod listing;
mod session;
mod trouble;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use destinations::{Access, AccountPlace};
use model::{Fault, FaultKind};
use repository::backup::Entry;
use tokio::io::AsyncReadExt as _;

use self::door::Door;
use self::lanes::{Lane, Lanes};
use self::session::{DataStream, Session};
use self::trouble::Trouble;
use super::tree::{Content, Opened, State, Tree};

const STEP_BYTES: usize = 64 << 10;

/// A folder of an FTP server.
#[derive(Debug)]
pub(super) struct FtpsTree {
    place: Arc<str>,
    lanes: Lanes,
}

impl FtpsTree {
    pub(super) fn new(
        place: &AccountPlace,
        access: &Access,
        is_implicit: bool,
        connections: usize,
    ) -> Result<Self, Fault> {
        let shown = format!("ftps:{place}");
        let door = Door::new(place, access, is_implicit)
            .map_err(|cause| Fault::new(FaultKind::Misconfigured, "use", "", &shown, cause))?;
        Ok(Self { place: shown.into(), lanes: Lanes::new(door, connections) })
    }
}

fn fault(place: &str, action: &'static str, path: &[u8], trouble: Trouble) -> Fault {
    Fault::new(trouble.kind, action, String::from_utf8_lossy(path), place, trouble.cause)
}

#[async_trait]
impl Tree for FtpsTree {
    fn place(&self) -> &str {
        &self.place
    }

    async fn list(&self, folder: &[u8]) -> Result<Vec<Entry>, Fault> {
        let listed = async {
            let mut lane = self.lanes.enter().await?;
            let entries = lane.session().entries(folder).await;
            lane.leave_with(entries)
        };
        listed.await.map_err(|trouble| fault(&self.place, "list", folder, trouble))
    }

    async fn open(&self, path: &[u8], from: u64, known: Option<&State>) -> Result<Opened, Fault> {
        let opened = async {
            let mut lane = self.lanes.enter().await?;
            match begun(lane.session(), path, from, known).await {
                Ok((state, data)) => Ok((state, data, lane)),
                Err(trouble) => lane.leave_with(Err(trouble)),
            }
        };
        let (state, data, lane) = opened.await.map_err(|trouble| fault(&self.place, "read", path, trouble))?;
        let content =
            FtpsContent { place: Arc::clone(&self.place), path: path.to_vec(), lane: Some(lane), data: Some(data) };
        Ok(Opened { state, from, content: Box::new(content) })
    }
}

/// A file on its way, and the state that it is in. From the first byte on, what a listing told is believed until the
/// last: then the server is asked in any case.
async fn begun(
    session: &mut Session,
    path: &[u8],
    from: u64,
    known: Option<&State>,
) -> trouble::Result<(State, DataStream)> {
    let told = known.filter(|state| from == 0 && state.size.is_some() && state.modified.is_some());
    let state = match told {
        Some(state) => state.clone(),
        None => session.state(path).await?,
    };
    Ok((state, session.retrieve(path, from).await?))
}

struct FtpsContent {
    place: Arc<str>,
    path: Vec<u8>,
    lane: Option<Lane>,
    data: Option<DataStream>,
}

impl FtpsContent {
    async fn next_bytes(&mut self) -> trouble::Result<Option<Bytes>> {
        let (Some(data), Some(lane)) = (&mut self.data, &mut self.lane) else { return Ok(None) };
        let mut bytes = BytesMut::with_capacity(STEP_BYTES);
        match data.read_buf(&mut bytes).await {
            Ok(0) => {}
            Ok(_) => return Ok(Some(bytes.freeze())),
            // Not every server says goodbye; whoever counts the bytes knows whether any are missing.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(Trouble::broken(error)),
        }
        self.data = None;
        lane.session().transferred().await?;
        Ok(None)
    }
}

#[async_trait]
impl Content for FtpsContent {
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        self.next_bytes().await.map_err(|trouble| fault(&self.place, "read", &self.path, trouble))
    }

    async fn state_after(mut self: Box<Self>) -> Result<Option<State>, Fault> {
        let Some(mut lane) = self.lane.take() else { return Ok(None) };
        let state = lane.session().state(&self.path).await;
        let state = lane.leave_with(state).map_err(|trouble| fault(&self.place, "read", &self.path, trouble))?;
        Ok(Some(state))
    }
}
