//! A tree over SFTP: owners, modes and links as the server tells them.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use destinations::reach::{SftpFacts, SftpFile, SftpReader};
use destinations::{AccountPlace, Limits, SshAccess};
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use model::{Fault, FaultKind};
use repository::backup::{Entry, EntryKind};

use super::tree::{Content, Opened, State, Tree};

/// Links and entries that listings tell little of, asked about at one time.
const QUESTIONS_AT_ONCE: usize = 32;
const KIND_BITS: u32 = 0o170_000;
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const MODE_BITS: u32 = 0o7777;

/// A folder of an SFTP server.
#[derive(Debug)]
pub(super) struct SftpTree(Arc<SftpReader>);

impl SftpTree {
    pub(super) fn new(place: &AccountPlace, access: &SshAccess, limits: &Limits) -> Result<Self, Fault> {
        Ok(Self(Arc::new(SftpReader::new(place, access, limits)?)))
    }

    async fn entry(&self, folder: &[u8], name: Bytes, told: SftpFacts) -> Result<Option<Entry>, Fault> {
        let slash: &[u8] = if folder.is_empty() { b"" } else { b"/" };
        // Only what is a name may be asked for; whoever looks at the listing refuses the others.
        let is_name = !name.contains(&b'/') && !name.contains(&0) && !name.is_empty();
        let path = [folder, slash, &name[..]].concat();
        let is_file_or_nobody_knows = told.mode.is_none_or(|mode| mode & KIND_BITS == FILE);
        let says_little = is_file_or_nobody_knows && (told.mode.is_none() || told.size.is_none());
        let facts = match is_name && says_little {
            true => match self.0.facts(&path).await {
                Ok(facts) => facts,
                // It went between the two questions.
                Err(fault) if fault.kind == FaultKind::NotFound => return Ok(None),
                Err(fault) => return Err(fault),
            },
            false => told,
        };
        let kind = match facts.mode.map(|mode| mode & KIND_BITS) {
            Some(FOLDER) => EntryKind::Folder,
            Some(FILE) => EntryKind::File,
            Some(LINK) if is_name => match self.0.link(&path).await {
                Ok(target) => EntryKind::Link(target.to_vec()),
                Err(fault) if fault.kind == FaultKind::NotFound => return Ok(None),
                Err(fault) => return Err(fault),
            },
            Some(_) => EntryKind::Other("a device, a pipe or a socket"),
            None => EntryKind::Other("the server does not tell what it is"),
        };
        let state = state_of(&facts);
        Ok(Some(Entry {
            name: name.to_vec(),
            size: state.size.filter(|_| kind == EntryKind::File),
            kind,
            modified: state.modified,
            version: None,
            mode: facts.mode.map(|mode| mode & MODE_BITS),
            owner: facts.owner,
        }))
    }
}

fn state_of(facts: &SftpFacts) -> State {
    State { size: facts.size, modified: facts.modified_seconds.map(|seconds| (seconds, 0)), version: None }
}

#[async_trait]
impl Tree for SftpTree {
    fn place(&self) -> &str {
        self.0.place()
    }

    async fn list(&self, folder: &[u8]) -> Result<Vec<Entry>, Fault> {
        let found = self.0.entries(folder).await?;
        let entries = found.into_iter().map(|(name, facts)| self.entry(folder, name, facts)).collect::<Vec<_>>();
        let entries: Vec<_> = stream::iter(entries).buffer_unordered(QUESTIONS_AT_ONCE).try_collect().await?;
        Ok(entries.into_iter().flatten().collect())
    }

    async fn open(&self, path: &[u8], from: u64, _known: Option<&State>) -> Result<Opened, Fault> {
        let file = self.0.open(path).await?;
        let facts = file.facts().await?;
        let state = state_of(&facts);
        let Some(size) = state.size.filter(|_| facts.mode.is_none_or(|mode| mode & KIND_BITS == FILE)) else {
            let shown = String::from_utf8_lossy(path);
            return Err(Fault::new(FaultKind::Refused, "read", shown, self.0.place(), "it is no file, or has no size"));
        };
        let bytes = file.bytes(from, size).boxed();
        Ok(Opened { state, from, content: Box::new(SftpContent { file, bytes }) })
    }
}

struct SftpContent {
    file: SftpFile,
    bytes: BoxStream<'static, Result<Bytes, Fault>>,
}

#[async_trait]
impl Content for SftpContent {
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        self.bytes.next().await.transpose()
    }

    async fn state_after(self: Box<Self>) -> Result<Option<State>, Fault> {
        let facts = self.file.facts().await?;
        self.file.close();
        Ok(Some(state_of(&facts)))
    }
}
