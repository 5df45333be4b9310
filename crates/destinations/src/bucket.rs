//! What stores without folders have in common: keys that begin with a prefix, listings in pages, and what a name that is
//! taken means.
//!
//! Nothing here speaks a protocol. A listing counts only when its last page said that it was the last.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use bytes::Bytes;
use format::{FileKind, FileName};
use model::{Fault, FaultKind, Id};

use crate::http::{HttpClient, Matter};
use crate::{Destination, Listed, Span};

/// A hundred million files: more than any copy has, so that a server cannot keep us turning pages for ever.
pub(crate) const PAGES_LIMIT: usize = 100_000;

/// The keys of one copy.
#[derive(Debug)]
pub(crate) struct Keys {
    /// What precedes our names: empty, or with a slash at the end.
    prefix: String,
}

/// One page of a listing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// Keys and sizes.
    pub(crate) objects: Vec<(String, u64)>,
    /// Where the next page begins; none after the last one.
    pub(crate) next: Option<String>,
}

impl Keys {
    /// Those below `prefix`, which has no slash at its ends.
    pub(crate) fn below(prefix: &str) -> Self {
        Self { prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") } }
    }

    /// What all of them begin with.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn of(&self, name: FileName) -> String {
        format!("{}{}", self.prefix, name.path())
    }

    /// The id that a key below the folder of `kind` stands for, when it is the key that we would use for it.
    fn id_of(&self, kind: FileKind, key: &str) -> Option<Id> {
        let (_, last) = key.rsplit_once('/')?;
        let id = last.parse().ok()?;
        (self.of(FileName::new(kind, id)) == key).then_some(id)
    }

    /// All files of one kind, page by page. `page` is asked for what begins with a prefix, from a mark on.
    pub(crate) async fn list<F>(
        &self,
        http: &HttpClient,
        kind: FileKind,
        page: impl Fn(Matter, String, Option<String>) -> F,
    ) -> Result<Vec<Listed>, Fault>
    where
        F: Future<Output = Result<Page, Fault>>,
    {
        let matter = Matter::new("list", kind.folder());
        if kind == FileKind::Config {
            return Err(http.fault(FaultKind::Refused, &matter, "the config file has no folder to list"));
        }
        let below = format!("{}{}/", self.prefix, kind.folder());
        let mut found = Vec::new();
        let mut mark: Option<String> = None;
        for _ in 0..PAGES_LIMIT {
            let Page { objects, next } = page(matter.clone(), below.clone(), mark.clone()).await?;
            let known = |(key, size): &(String, u64)| Some(Listed { id: self.id_of(kind, key)?, size: *size });
            found.extend(objects.iter().filter_map(known));
            if next.is_none() {
                found.sort_unstable();
                found.dedup_by_key(|listed| listed.id);
                return Ok(found);
            }
            if next == mark {
                return Err(http.fault(FaultKind::Damaged, &matter, "the listing does not go on"));
            }
            mark = next;
        }
        Err(http.fault(FaultKind::Damaged, &matter, format!("the listing has more than {PAGES_LIMIT} pages")))
    }
}

/// The MD5 of what is sent, as stores compare it: against what happens on the way, not against anybody's ill will.
pub(crate) fn md5(bytes: &[u8]) -> String {
    BASE64.encode(md5::compute(bytes).0)
}

/// Decides what it means that `place` would not store `bytes` under a name that may be taken: done already when the same
/// bytes are there; a config of other bytes is there to stay; everything else was `refused`.
pub(crate) async fn settle_taken(
    place: &dyn Destination,
    name: FileName,
    bytes: &Bytes,
    refused: Fault,
) -> Result<(), Fault> {
    let stored = match place.read(name, Span::Whole).await {
        Ok(stored) => stored,
        // It was not the name that was in the way; or we may not look either.
        Err(fault) if refused.kind == FaultKind::Denied => {
            return Err(if fault.kind == FaultKind::NotFound || fault.kind == FaultKind::Denied {
                refused
            } else {
                fault
            });
        }
        // Whoever had the name gave it up in this moment.
        Err(fault) if fault.kind == FaultKind::NotFound => return Err(Fault { kind: FaultKind::Failing, ..refused }),
        Err(fault) => return Err(Fault { action: "write", ..fault }),
    };
    if stored == *bytes {
        return Ok(());
    }
    if name.kind() == FileKind::Config {
        return Err(Fault {
            kind: FaultKind::Exists,
            cause: "another config file is there".to_owned(),
            wait: None,
            ..refused
        });
    }
    Err(refused)
}
