//! A folder of an account that allows nothing but rsync over ssh, also one that `rrsync` shuts in.
//!
//! The `rsync` program of this machine does the work, one file in each call. It writes beside the name and renames by
//! itself, so that no half file is visible. It knows no ranges: what is read in parts is fetched whole, once, into a
//! private folder of ours. And it cannot refuse to replace in one step: of two processes that make a first config at
//! the same moment both may believe to have won; two writers of this process never do.
//!
//! | room | its matter |
//! |---|---|
//! | [`call`] | one call of the program, and what its exit code means |
//! | [`listing`] | what `--list-only` prints |
//! | [`fetched`] | files that were fetched for their parts |

mod call;
mod fetched;
mod listing;

use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use format::{FileKind, FileName};
use model::{Fault, FaultKind};

use self::call::{Caller, Trouble};
use self::fetched::Fetched;
use crate::{AccountPlace, Destination, Limits, Listed, Span, SshAccess};

/// A copy that rsync reaches.
#[derive(Debug)]
pub struct RsyncFolder {
    place: String,
    caller: Caller,
    fetched: Fetched,
    /// Held while a config is written: looking and storing are two calls.
    config: tokio::sync::Mutex<()>,
}

impl RsyncFolder {
    /// The copy at `place`; nothing is asked yet, only the private folder is made.
    pub fn new(place: &AccountPlace, access: &SshAccess, limits: &Limits) -> Result<Self, Fault> {
        let shown = format!("rsync:{place}");
        let misconfigured = |cause: String| Fault::new(FaultKind::Misconfigured, "use", "", &shown, cause);
        let caller = Caller::new(place, access, limits).map_err(misconfigured)?;
        let fetched =
            Fetched::new().map_err(|error| misconfigured(format!("cannot make a private folder: {error}")))?;
        Ok(Self { place: shown, caller, fetched, config: tokio::sync::Mutex::default() })
    }

    fn fault(&self, action: &'static str, object: &str, trouble: Trouble) -> Fault {
        Fault::new(trouble.kind, action, object, &self.place, trouble.cause)
    }

    async fn fetch(&self, name: FileName, target: &Path) -> Result<(), Trouble> {
        self.caller.fetch(&name.path(), target).await
    }

    async fn read_span(&self, name: FileName, span: Span) -> Result<Bytes, Trouble> {
        let Span::Range { offset, length } = span else {
            let scratch = self.fetched.scratch()?;
            self.fetch(name, scratch.path()).await?;
            return call::blocking(move || fetched::whole(&scratch)).await;
        };
        let file = self.fetched.file(name, |target| async move { self.fetch(name, &target).await }).await?;
        call::blocking(move || fetched::part(&file, offset, length)).await
    }

    async fn store(&self, name: FileName, bytes: &Bytes, options: &[&str]) -> Result<(), Trouble> {
        let scratch = self.fetched.scratch()?;
        let (path, bytes) = (scratch.path().to_owned(), bytes.clone());
        call::blocking(move || Ok(std::fs::write(path, &bytes)?)).await?;
        self.caller.store(scratch.path(), &name.path(), options).await
    }

    async fn store_config(&self, bytes: &Bytes) -> Result<(), Trouble> {
        let _alone = self.config.lock().await;
        // An empty size limit would be a race too: what counts is what is there afterwards.
        self.store(FileName::CONFIG, bytes, &["--ignore-existing"]).await?;
        if self.read_span(FileName::CONFIG, Span::Whole).await? == *bytes {
            return Ok(());
        }
        Err(Trouble::new(FaultKind::Exists, "another config file is there"))
    }
}

#[async_trait]
impl Destination for RsyncFolder {
    fn place(&self) -> &str {
        &self.place
    }

    async fn create(&self) -> Result<(), Fault> {
        let mut folders: Vec<String> = FileKind::NAMED.iter().map(|kind| kind.folder().to_owned()).collect();
        folders.extend((0..=u8::MAX).map(|first| format!("{}/{first:02x}", FileKind::Pack.folder())));
        self.caller.make_folders(&folders).await.map_err(|trouble| self.fault("create", "", trouble))
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, Fault> {
        let folder = kind.folder();
        if kind == FileKind::Config {
            let trouble = Trouble::new(FaultKind::Refused, "the config file has no folder to list");
            return Err(self.fault("list", folder, trouble));
        }
        let listed = async {
            let text = self.caller.list(&format!("{folder}/")).await?;
            listing::parse(&text, kind).map_err(|cause| Trouble::new(FaultKind::Damaged, cause))
        };
        listed.await.map_err(|trouble| self.fault("list", folder, trouble))
    }

    async fn stat(&self, name: FileName) -> Result<u64, Fault> {
        let sized = async {
            let text = self.caller.list(&name.path()).await?;
            listing::parse_one(&text).map_err(|cause| Trouble::new(FaultKind::Damaged, cause))
        };
        sized.await.map_err(|trouble| self.fault("stat", &name.path(), trouble))
    }

    async fn read(&self, name: FileName, span: Span) -> Result<Bytes, Fault> {
        self.read_span(name, span).await.map_err(|trouble| self.fault("read", &name.path(), trouble))
    }

    async fn write(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        self.fetched.forget(name);
        let stored = match name.kind() {
            FileKind::Config => self.store_config(&bytes).await,
            _ => self.store(name, &bytes, &[]).await,
        };
        stored.map_err(|trouble| self.fault("write", &name.path(), trouble))
    }

    async fn remove(&self, name: FileName) -> Result<(), Fault> {
        self.fetched.forget(name);
        match self.caller.remove(&name.path()).await {
            Err(trouble) if trouble.kind != FaultKind::NotFound => Err(self.fault("remove", &name.path(), trouble)),
            _ => Ok(()),
        }
    }
}
