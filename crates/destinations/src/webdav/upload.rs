//! Uploads: up under a name that nobody looks at, asked for its size, then renamed.
//!
//! The config file is the one whose first writer must win, and nothing in the protocol decides between two renames at
//! the same moment: servers look whether a name is free and rename afterwards. Making a folder is decided by the file
//! system below, on every server; so whoever made [`CLAIM`] may rename.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use format::FileName;
use model::{Fault, FaultKind};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use sha2::{Digest as _, Sha256};

use super::answers::Member;
use super::folders;
use super::{WebdavFolder, nextcloud};
use crate::around::progress::Progress;
use crate::http::{self, Matter, Refusal};
use crate::{Destination as _, Span, temporary};

/// The folder that gives its maker the right to store the config.
const CLAIM: &str = "config-tmp-claim/";
/// How long another's claim is respected: it is held for one rename.
const CLAIM_LOOKS: u32 = 100;
const CLAIM_REFUSALS: u32 = 5;
const CLAIM_PAUSE_MILLISECONDS: u64 = 200;
const DESTINATION: HeaderName = HeaderName::from_static("destination");
const OVERWRITE: HeaderName = HeaderName::from_static("overwrite");

/// What happens to a file that has the name already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Keep,
    Replace,
}

impl WebdavFolder {
    /// Stores a file that is named by its hash.
    pub(super) async fn write_named(&self, matter: &Matter, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        let temporary = self.temporary_name(matter, name)?;
        let mut stored = self.upload(matter, &temporary, bytes).await;
        if stored.is_ok() {
            stored = self.give_name(matter, &temporary, name).await;
        }
        self.tidied(matter, &temporary, stored).await
    }

    /// A name beside `name` that nobody else uses and no listing shows.
    fn temporary_name(&self, matter: &Matter, name: FileName) -> Result<String, Fault> {
        let suffix = temporary::suffix().map_err(|error| self.http.fault(FaultKind::Failing, matter, error))?;
        Ok(format!("{}{suffix}", name.path()))
    }

    /// Renames an upload, and settles what it means when that is refused.
    async fn give_name(&self, matter: &Matter, temporary: &str, name: FileName) -> Result<(), Fault> {
        let target = self.url(matter, &name.path())?;
        let from = self.url(matter, temporary)?;
        let Err(refusal) = self.rename(matter, from.clone(), &target, Taken::Keep).await? else { return Ok(()) };
        // Something has the name, or the temporary file is gone because the answer to an earlier rename was lost.
        if !matches!(refusal.status, StatusCode::PRECONDITION_FAILED | StatusCode::NOT_FOUND) {
            return Err(self.refused(matter, &refusal));
        }
        let stored = match self.read(name, Span::Whole).await {
            Ok(stored) => stored,
            Err(fault) if fault.kind == FaultKind::NotFound => {
                let cause = "the server lost the upload before it had its name";
                return Err(self.http.fault(FaultKind::Failing, matter, cause));
            }
            Err(fault) => return Err(Fault { action: "write", ..fault }),
        };
        let is_sound = name.id().is_some_and(|id| Sha256::digest(&stored)[..] == id.as_bytes()[..]);
        if is_sound {
            // The upload is not needed. It may stay where nothing may be removed; it is swept with the other leftovers.
            let _ = self.delete(matter, temporary).await;
            return Ok(());
        }
        let replaced = self.rename(matter, from, &target, Taken::Replace).await?;
        replaced.map_err(|refusal| self.refused(matter, &refusal))
    }

    /// Stores the config where none is.
    pub(super) async fn write_config(&self, matter: &Matter, bytes: Bytes) -> Result<(), Fault> {
        if let Some(verdict) = self.stored_config(matter, &bytes).await? {
            return verdict;
        }
        let temporary = self.temporary_name(matter, FileName::CONFIG)?;
        let mut stored = self.upload(matter, &temporary, bytes.clone()).await;
        if stored.is_ok() {
            stored = self.claim_and_rename(matter, &temporary, &bytes).await;
        }
        self.tidied(matter, &temporary, stored).await
    }

    async fn claim_and_rename(&self, matter: &Matter, temporary: &str, bytes: &Bytes) -> Result<(), Fault> {
        let claim = self.url(matter, CLAIM)?;
        let progress = Progress::current();
        let mut refusals = 0;
        for _ in 0..CLAIM_LOOKS {
            match self.ask(matter, folders::make_collection(), claim.clone(), |_| {}).await? {
                Ok(_) => {
                    let stored = self.rename_config(matter, temporary, bytes).await;
                    let _ = self.delete(matter, CLAIM).await;
                    return stored;
                }
                Err(refusal) if refusal.status == StatusCode::METHOD_NOT_ALLOWED => {}
                // What Apache says when two make one folder at the same moment, and when it may not be made at all.
                Err(refusal) if refusal.status == StatusCode::FORBIDDEN && refusals < CLAIM_REFUSALS => refusals += 1,
                Err(refusal) => return Err(self.refused(matter, &refusal)),
            }
            tokio::time::sleep(Duration::from_millis(CLAIM_PAUSE_MILLISECONDS)).await;
            progress.note();
            if let Some(verdict) = self.stored_config(matter, bytes).await? {
                return self.discarded(matter, temporary, verdict).await;
            }
        }
        // Whoever made it died with it. The next attempt finds it gone.
        self.delete(matter, CLAIM).await?;
        Err(self.http.fault(FaultKind::Failing, matter, "another client began to store a config and did not end"))
    }

    async fn rename_config(&self, matter: &Matter, temporary: &str, bytes: &Bytes) -> Result<(), Fault> {
        let (from, target) = (self.url(matter, temporary)?, self.url(matter, &FileName::CONFIG.path())?);
        match self.rename(matter, from, &target, Taken::Keep).await? {
            Ok(()) => Ok(()),
            Err(refusal) if refusal.status == StatusCode::PRECONDITION_FAILED => {
                match self.stored_config(matter, bytes).await? {
                    Some(verdict) => self.discarded(matter, temporary, verdict).await,
                    None => Err(self.refused(matter, &refusal)),
                }
            }
            Err(refusal) => Err(self.refused(matter, &refusal)),
        }
    }

    /// What the config that is there means for ours; none while there is none.
    async fn stored_config(&self, matter: &Matter, bytes: &Bytes) -> Result<Option<Result<(), Fault>>, Fault> {
        match self.read(FileName::CONFIG, Span::Whole).await {
            Ok(stored) if stored == *bytes => Ok(Some(Ok(()))),
            Ok(_) => Ok(Some(Err(self.http.fault(FaultKind::Exists, matter, "another config file is there")))),
            Err(fault) if fault.kind == FaultKind::NotFound => Ok(None),
            Err(fault) => Err(Fault { action: "write", ..fault }),
        }
    }

    async fn discarded(&self, matter: &Matter, temporary: &str, verdict: Result<(), Fault>) -> Result<(), Fault> {
        let _ = self.delete(matter, temporary).await;
        verdict
    }

    /// Removes the temporary file of an upload that failed: a courtesy.
    async fn tidied(&self, matter: &Matter, temporary: &str, stored: Result<(), Fault>) -> Result<(), Fault> {
        match stored {
            Ok(()) => Ok(()),
            // Nobody answers, so nobody would remove it either.
            Err(fault) if fault.kind == FaultKind::Unreachable => Err(fault),
            Err(fault) => self.discarded(matter, temporary, Err(fault)).await,
        }
    }

    /// Stores bytes at `path`, where nobody looks, and asks for their size: some servers call half a file created.
    async fn upload(&self, matter: &Matter, path: &str, bytes: Bytes) -> Result<(), Fault> {
        let length = bytes.len() as u64;
        let uploads = self.uploads.as_ref().filter(|_| nextcloud::LARGEST_SINGLE_BYTES < length);
        let target = self.url(matter, path)?;
        let put = match uploads {
            Some(uploads) => self.put_in_parts(matter, uploads, &target, &bytes).await?,
            None => self.put(matter, target.clone(), bytes.clone()).await?,
        };
        match put {
            Ok(()) => {}
            // The folder is missing; servers differ in what they call that.
            Err(refusal) if matches!(refusal.status, StatusCode::CONFLICT | StatusCode::NOT_FOUND) => {
                let folder =
                    target.join("./").map_err(|error| self.http.fault(FaultKind::Misconfigured, matter, error))?;
                self.make_folder(matter, folder).await?;
                let again = match uploads {
                    Some(uploads) => self.put_in_parts(matter, uploads, &target, &bytes).await?,
                    None => self.put(matter, target, bytes).await?,
                };
                again.map_err(|refusal| self.refused(matter, &refusal))?;
            }
            Err(refusal) => return Err(self.refused(matter, &refusal)),
        }
        match self.size(matter, path).await {
            Ok(size) if size == length => Ok(()),
            Ok(size) => {
                let cause = format!("the server kept {size} of {length} bytes and called that a success");
                Err(self.http.fault(FaultKind::Failing, matter, cause))
            }
            Err(fault) if fault.kind == FaultKind::NotFound => {
                let cause = "the server called the upload a success and does not have it";
                Err(self.http.fault(FaultKind::Failing, matter, cause))
            }
            Err(fault) => Err(fault),
        }
    }

    async fn put(&self, matter: &Matter, url: Url, bytes: Bytes) -> Result<Result<(), Refusal>, Fault> {
        let answer = self.ask(matter, Method::PUT, url, |request| http::upload(request, bytes)).await?;
        Ok(answer.map(drop))
    }

    /// Gives what is at `from` another address.
    pub(super) async fn rename(
        &self,
        matter: &Matter,
        from: Url,
        to: &Url,
        taken: Taken,
    ) -> Result<Result<(), Refusal>, Fault> {
        self.rename_with(matter, from, to, taken, |_| {}).await
    }

    /// The same with more in the request.
    pub(super) async fn rename_with(
        &self,
        matter: &Matter,
        from: Url,
        to: &Url,
        taken: Taken,
        more: impl Fn(&mut reqwest::Request),
    ) -> Result<Result<(), Refusal>, Fault> {
        if self.tells_target_by_path.load(Ordering::Relaxed) {
            return self.rename_telling(matter, from, to.path(), taken, &more).await;
        }
        match self.rename_telling(matter, from.clone(), to.as_str(), taken, &more).await? {
            // Behind a proxy that ends TLS a server takes its own address for a stranger's.
            Err(refusal) if matches!(refusal.status, StatusCode::BAD_GATEWAY | StatusCode::BAD_REQUEST) => {
                let again = self.rename_telling(matter, from, to.path(), taken, &more).await?;
                if again.is_ok() {
                    self.tells_target_by_path.store(true, Ordering::Relaxed);
                    return Ok(again);
                }
                Ok(Err(refusal))
            }
            answer => Ok(answer),
        }
    }

    async fn rename_telling(
        &self,
        matter: &Matter,
        from: Url,
        target: &str,
        taken: Taken,
        more: impl Fn(&mut reqwest::Request),
    ) -> Result<Result<(), Refusal>, Fault> {
        let target = header_value(self, matter, target)?;
        let overwrite = HeaderValue::from_static(if taken == Taken::Keep { "F" } else { "T" });
        let change = |request: &mut reqwest::Request| {
            request.headers_mut().insert(DESTINATION, target);
            request.headers_mut().insert(OVERWRITE, overwrite);
            more(request);
        };
        match self.ask(matter, folders::rename(), from, change).await? {
            Ok(response) if matches!(response.status(), StatusCode::CREATED | StatusCode::NO_CONTENT) => Ok(Ok(())),
            Ok(response) => {
                let cause = format!("the server answered {} to `MOVE`, which is no promise", response.status());
                Err(self.http.fault(FaultKind::Failing, matter, cause))
            }
            Err(refusal) => Ok(Err(refusal)),
        }
    }
}

pub(super) fn header_value(place: &WebdavFolder, matter: &Matter, text: &str) -> Result<HeaderValue, Fault> {
    HeaderValue::from_str(text).map_err(|error| place.http.fault(FaultKind::Misconfigured, matter, error))
}

/// Whether it is a temporary file of a process that is gone.
pub(super) fn is_leftover(member: &Member, now_seconds: Option<i64>) -> bool {
    temporary::is_one(&member.name) && is_stale(member, now_seconds)
}

/// Whether it was not touched for a day, by the server's own clock.
pub(super) fn is_stale(member: &Member, now_seconds: Option<i64>) -> bool {
    let age = now_seconds.zip(member.modified_seconds).map(|(now, modified)| now.saturating_sub(modified));
    age.is_some_and(|age| temporary::LEFTOVER_AGE_SECONDS < age)
}
