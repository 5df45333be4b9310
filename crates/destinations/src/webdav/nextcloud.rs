//! Large files for Nextcloud, in parts (its developer manual, "Chunked file upload v2"): the proxies before it mostly
//! have a limit on one request, and PHP has another.
//!
//! Parts go into a folder of their own below `uploads/USER/`, numbered from 1; a `MOVE` of the invisible `.file` in it
//! joins them. Nextcloud removes what was not touched for a day by a job of its own, which many installations do not
//! run, so ours are removed here too.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use model::{Fault, FaultKind};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, Url};

use super::WebdavFolder;
use super::folders;
use super::upload::{self, Taken};
use crate::http::{self, Matter, Refusal};
use crate::temporary;

/// A larger file goes up in parts.
pub(super) const LARGEST_SINGLE_BYTES: u64 = 10 << 20;
/// Nextcloud wants 5 MB to 5 GB, the last one excepted, and no more than 10,000: enough for any file of ours.
const PART_BYTES: usize = 10 << 20;
/// What tells our folders from those of other clients.
const FOLDER_PREFIX: &str = "triplicate-";
const FILES: &str = "/remote.php/dav/files/";
const UPLOADS: &str = "/remote.php/dav/uploads/";
const DESTINATION: HeaderName = HeaderName::from_static("destination");
const TOTAL_LENGTH: HeaderName = HeaderName::from_static("oc-total-length");

/// Where a user's uploads in parts go.
#[derive(Debug)]
pub(super) struct UploadsFolder {
    url: Url,
    swept: AtomicBool,
}

impl UploadsFolder {
    /// The one that belongs to the files below `base`; none when that is not a user's files on Nextcloud.
    pub(super) fn of(base: &Url) -> Option<Self> {
        let (before, after) = base.path().split_once(FILES)?;
        let user = after.split('/').next().filter(|user| !user.is_empty())?;
        let mut url = base.clone();
        url.set_path(&format!("{before}{UPLOADS}{user}/"));
        Some(Self { url, swept: AtomicBool::new(false) })
    }
}

impl WebdavFolder {
    /// Stores bytes at `target` in parts.
    pub(super) async fn put_in_parts(
        &self,
        matter: &Matter,
        uploads: &UploadsFolder,
        target: &Url,
        bytes: &Bytes,
    ) -> Result<Result<(), Refusal>, Fault> {
        if !uploads.swept.swap(true, Ordering::Relaxed) {
            self.sweep_uploads(uploads).await;
        }
        let random = temporary::random().map_err(|error| self.http.fault(FaultKind::Failing, matter, error))?;
        let folder = below(self, matter, &uploads.url, &format!("{FOLDER_PREFIX}{random}/"))?;
        let done = self.put_parts_and_join(matter, &folder, target, bytes).await;
        if !matches!(done, Ok(Ok(()))) {
            // Joining removes the folder; after a failure that is left to us, as a courtesy.
            let _ = self.ask(matter, Method::DELETE, folder, |_| {}).await;
        }
        done
    }

    async fn put_parts_and_join(
        &self,
        matter: &Matter,
        folder: &Url,
        target: &Url,
        bytes: &Bytes,
    ) -> Result<Result<(), Refusal>, Fault> {
        let destination = upload::header_value(self, matter, target.as_str())?;
        let head = |request: &mut reqwest::Request| {
            request.headers_mut().insert(DESTINATION, destination.clone());
            request.headers_mut().insert(TOTAL_LENGTH, HeaderValue::from(bytes.len()));
        };
        if let Err(refusal) = self.ask(matter, folders::make_collection(), folder.clone(), head).await? {
            // A missing `uploads/USER/` is no missing folder of ours: the fault must not be taken for one.
            return Err(as_refused(self.refused(matter, &refusal)));
        }
        for (number, start) in (1..).zip((0..bytes.len()).step_by(PART_BYTES)) {
            let part = bytes.slice(start..bytes.len().min(start + PART_BYTES));
            let url = below(self, matter, folder, &format!("{number:05}"))?;
            let change = |request: &mut reqwest::Request| {
                head(request);
                http::upload(request, part);
            };
            if let Err(refusal) = self.ask(matter, Method::PUT, url, change).await? {
                return Err(as_refused(self.refused(matter, &refusal)));
            }
        }
        let joined = below(self, matter, folder, ".file")?;
        let length = HeaderValue::from(bytes.len());
        self.rename_with(matter, joined, target, Taken::Keep, |request| {
            request.headers_mut().insert(TOTAL_LENGTH, length.clone());
        })
        .await
    }

    /// Removes upload folders of processes of ours that are gone: a courtesy, nobody waits for it to succeed.
    async fn sweep_uploads(&self, uploads: &UploadsFolder) {
        let matter = Matter::new("write", "");
        let Ok(listing) = self.listing_at(&matter, uploads.url.clone()).await else { return };
        for member in listing.members.iter().filter(|member| member.name.starts_with(FOLDER_PREFIX)) {
            if upload::is_stale(member, listing.now_seconds)
                && let Ok(url) = below(self, &matter, &uploads.url, &format!("{}/", member.name))
            {
                let _ = self.ask(&matter, Method::DELETE, url, |_| {}).await;
            }
        }
    }
}

fn below(place: &WebdavFolder, matter: &Matter, folder: &Url, name: &str) -> Result<Url, Fault> {
    folder.join(name).map_err(|error| place.http.fault(FaultKind::Misconfigured, matter, error))
}

fn as_refused(fault: Fault) -> Fault {
    match fault.kind {
        FaultKind::NotFound => Fault { kind: FaultKind::Refused, ..fault },
        _ => fault,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_a_users_files_have_a_folder_for_uploads() {
        let of = |text: &str| UploadsFolder::of(&Url::parse(text).unwrap()).map(|uploads| uploads.url.to_string());
        assert_eq!(
            of("https://h/cloud/remote.php/dav/files/al%20ice/backup/").as_deref(),
            Some("https://h/cloud/remote.php/dav/uploads/al%20ice/")
        );
        assert_eq!(of("https://h/remote.php/dav/files/"), None);
        assert_eq!(of("https://h/remote.php/webdav/backup/"), None);
        assert_eq!(of("https://h/dav/"), None);
    }
}
