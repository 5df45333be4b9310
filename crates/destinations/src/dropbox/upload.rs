//! Uploads: in one request, or for the rare file that is too large for one, in a session.

use bytes::Bytes;
use format::{FileKind, FileName};
use model::{Fault, FaultKind};
use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::answers::{self, FileMetadata, Session};
use super::{DropboxFolder, PAGE_LIMIT_BYTES};
use crate::http::{self, Matter, Refusal};
use crate::{Destination as _, Span};

/// Dropbox takes 150 MB in one request; well below that nothing is gained any more.
const LARGEST_SINGLE_BYTES: usize = 64 << 20;
/// A part of a session; Dropbox wants a multiple of 4 MiB.
const PART_BYTES: usize = 32 << 20;
/// What Dropbox's content hash is made of.
const HASHED_BLOCK_BYTES: usize = 4 << 20;

impl DropboxFolder {
    /// Stores a file; the config only where none is.
    pub(super) async fn upload(
        &self,
        matter: &Matter,
        name: FileName,
        bytes: &Bytes,
    ) -> Result<Result<(), Refusal>, Fault> {
        let is_config = name.kind() == FileKind::Config;
        let commit = json!({
            "path": self.path(name),
            "mode": if is_config { "add" } else { "overwrite" },
            // Another config is a conflict, and so is the same one: which it was is looked at.
            "strict_conflict": is_config,
            "autorename": false,
            "mute": true,
        });
        let answer = if bytes.len() <= LARGEST_SINGLE_BYTES {
            let mut question = commit;
            question["content_hash"] = content_hash(bytes).into();
            self.send(matter, "2/files/upload", &question, bytes.clone()).await?
        } else {
            self.upload_in_session(matter, &commit, bytes).await?
        };
        let response = match answer {
            Ok(response) => response,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let body = self.http.body(matter, response, PAGE_LIMIT_BYTES).await?;
        let stored: FileMetadata = self.parsed(matter, &body)?;
        let is_whole = stored.size == bytes.len() as u64;
        if !is_whole || stored.content_hash.is_none_or(|stored| stored != content_hash(bytes)) {
            let cause = "what Dropbox says that it stored is not what was sent";
            return Err(self.http.fault(FaultKind::Failing, matter, cause));
        }
        Ok(Ok(()))
    }

    async fn upload_in_session(
        &self,
        matter: &Matter,
        commit: &Value,
        bytes: &Bytes,
    ) -> Result<Result<Response, Refusal>, Fault> {
        let mut session: Option<String> = None;
        let mut offset = 0;
        while PART_BYTES < bytes.len() - offset {
            let part = bytes.slice(offset..offset + PART_BYTES);
            let hash = content_hash(&part);
            let (route, question) = match &session {
                None => ("2/files/upload_session/start", json!({ "close": false, "content_hash": hash })),
                Some(session) => (
                    "2/files/upload_session/append_v2",
                    json!({ "cursor": { "session_id": session, "offset": offset }, "close": false, "content_hash": hash }),
                ),
            };
            let response = match self.send(matter, route, &question, part).await? {
                Ok(response) => response,
                Err(refusal) => return Err(self.unfinished(matter, &refusal)),
            };
            if session.is_none() {
                let body = self.http.body(matter, response, PAGE_LIMIT_BYTES).await?;
                session = Some(self.parsed::<Session>(matter, &body)?.session_id);
            }
            offset += PART_BYTES;
        }
        let last = bytes.slice(offset..);
        let question = json!({
            "cursor": { "session_id": session, "offset": offset },
            "commit": commit,
            "content_hash": content_hash(&last),
        });
        self.send(matter, "2/files/upload_session/finish", &question, last).await
    }

    /// A session that Dropbox lost is no missing file: beginning again helps.
    fn unfinished(&self, matter: &Matter, refusal: &Refusal) -> Fault {
        let fault = self.refused(matter, refusal);
        match fault.kind {
            FaultKind::NotFound => Fault { kind: FaultKind::Failing, ..fault },
            _ => fault,
        }
    }

    async fn send(
        &self,
        matter: &Matter,
        route: &str,
        question: &Value,
        bytes: Bytes,
    ) -> Result<Result<Response, Refusal>, Fault> {
        self.ask_content(matter, route, question, |request| {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            http::upload(request, bytes.clone());
        })
        .await
    }

    pub(super) async fn write_config(&self, matter: &Matter, bytes: &Bytes) -> Result<(), Fault> {
        let Err(refusal) = self.upload(matter, FileName::CONFIG, bytes).await? else { return Ok(()) };
        if !answers::parse_error(&refusal.body).is("conflict") {
            return Err(self.refused(matter, &refusal));
        }
        let stored =
            self.read(FileName::CONFIG, Span::Whole).await.map_err(|fault| Fault { action: "write", ..fault })?;
        if stored == *bytes {
            return Ok(());
        }
        Err(self.http.fault(FaultKind::Exists, matter, "another config file is there"))
    }
}

/// Dropbox's content hash: the SHA-256 of the SHA-256 of each block of 4 MiB.
pub(super) fn content_hash(bytes: &[u8]) -> String {
    let mut whole = Sha256::new();
    for block in bytes.chunks(HASHED_BLOCK_BYTES) {
        whole.update(Sha256::digest(block));
    }
    hex::encode(whole.finalize())
}

#[cfg(test)]
mod tests {
    use super::content_hash;

    #[test]
    fn the_content_hash_is_one_of_blocks() {
        assert_eq!(content_hash(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        // SHA-256 of the SHA-256 of `abc`.
        assert_eq!(content_hash(b"abc"), "4f8b42c22dd3729b519ba6f68d2da7cc5b2d606d05daed5ad5128cc03e6c6358");
        assert_ne!(content_hash(&[0; (4 << 20) + 1]), content_hash(&[0; (4 << 20) + 2]));
    }
}
