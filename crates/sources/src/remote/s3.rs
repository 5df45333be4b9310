//! The objects of a bucket, their keys read as paths.
//!
//! A key that is no path (`a//b`, one with `..` in it, one that ends in a slash and has content) cannot be a file of a
//! snapshot: it is an entry of its own that cannot be backed up, under its name in the escapes of an address. An empty
//! object whose key ends in a slash is how many programs make a folder, and nothing else.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use destinations::reach::{S3FolderPage, S3Object, S3Reader, WebFile};
use destinations::{Access, Limits, S3Location};
use model::{Fault, FaultKind};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use repository::backup::{Entry, EntryKind};

use super::tree::{Content, Opened, State, Tree};
use super::webdav::{state_of, tag_of};

const NO_PATH: &str = "its key is no path";
const NAME_OF_A_FOLDER: &str = "an object with the name of a folder";

/// A bucket or what is below a prefix.
#[derive(Debug)]
pub(super) struct S3Tree(Arc<S3Reader>);

impl S3Tree {
    pub(super) fn new(location: &S3Location, access: &Access, limits: &Limits) -> Result<Self, Fault> {
        Ok(Self(Arc::new(S3Reader::new(location, access, limits)?)))
    }

    fn fault(&self, action: &'static str, path: &[u8], kind: FaultKind, cause: &str) -> Fault {
        Fault::new(kind, action, String::from_utf8_lossy(path), self.0.place(), cause)
    }

    /// The key of a path. Paths that were listed are text.
    fn key(&self, action: &'static str, path: &[u8]) -> Result<String, Fault> {
        let text = std::str::from_utf8(path).map_err(|_| self.fault(action, path, FaultKind::Refused, NO_PATH))?;
        Ok(format!("{}{text}", self.0.prefix()))
    }
}

/// What one page shows of the folder whose keys begin with `below`.
fn entries_of(page: S3FolderPage, below: &[u8], entries: &mut Vec<Entry>) -> Result<(), &'static str> {
    const STRANGER: &str = "the answer shows keys of another folder";
    let no_path = |rest: &[u8]| Entry {
        name: percent_encode(rest, NON_ALPHANUMERIC).to_string().into_bytes(),
        kind: EntryKind::Other(NO_PATH),
        ..Entry::default()
    };
    for S3Object { key, facts } in page.objects {
        let rest = key.strip_prefix(below).ok_or(STRANGER)?;
        match rest {
            b"" if facts.size == Some(0) => {}
            b"" => entries.push(Entry { name: b"%2F".to_vec(), ..no_path(rest) }),
            rest if !is_name(rest) => entries.push(no_path(rest)),
            rest => {
                let State { size, modified, version } = state_of(&facts);
                entries.push(Entry { name: rest.to_vec(), size, modified, version, ..Entry::default() });
            }
        }
    }
    for folder in page.folders {
        let rest = folder.strip_prefix(below).ok_or(STRANGER)?;
        match rest.strip_suffix(b"/") {
            Some(name) if is_name(name) => {
                entries.push(Entry { name: name.to_vec(), kind: EntryKind::Folder, ..Entry::default() });
            }
            _ => entries.push(no_path(rest)),
        }
    }
    Ok(())
}

fn is_name(name: &[u8]) -> bool {
    let is_path = matches!(name, b"" | b"." | b"..") || name.contains(&b'/') || name.contains(&0);
    !is_path && std::str::from_utf8(name).is_ok()
}

/// Of an object and a folder with one name, the folder stays; and no escaped name is another's.
fn without_doubles(entries: &mut [Entry]) {
    let folders: HashSet<Vec<u8>> =
        entries.iter().filter(|entry| entry.kind == EntryKind::Folder).map(|entry| entry.name.clone()).collect();
    for entry in entries.iter_mut().filter(|entry| entry.kind == EntryKind::File && folders.contains(&entry.name)) {
        entry.kind = EntryKind::Other(NAME_OF_A_FOLDER);
    }
    let is_other = |entry: &Entry| matches!(entry.kind, EntryKind::Other(_));
    let mut taken: HashSet<Vec<u8>> =
        entries.iter().filter(|entry| !is_other(entry)).map(|entry| entry.name.clone()).collect();
    for entry in entries.iter_mut().filter(|entry| is_other(entry)) {
        while !taken.insert(entry.name.clone()) {
            entry.name.push(b'%');
        }
    }
}

#[async_trait]
impl Tree for S3Tree {
    fn place(&self) -> &str {
        self.0.place()
    }

    async fn list(&self, folder: &[u8]) -> Result<Vec<Entry>, Fault> {
        let mut below = self.key("list", folder)?;
        if !folder.is_empty() {
            below.push('/');
        }
        let mut entries = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..S3Reader::PAGES_LIMIT {
            let mut page = self.0.page(&below, token.as_deref()).await?;
            token = page.next.take();
            entries_of(page, below.as_bytes(), &mut entries)
                .map_err(|why| self.fault("list", folder, FaultKind::Damaged, why))?;
            if token.is_none() {
                // A bucket has no empty folders.
                if entries.is_empty() && folder.is_empty() && !below.is_empty() {
                    let cause = "no object's key begins with this prefix";
                    return Err(self.fault("list", folder, FaultKind::NotFound, cause));
                }
                without_doubles(&mut entries);
                return Ok(entries);
            }
        }
        Err(self.fault("list", folder, FaultKind::Damaged, "the listing does not end"))
    }

    async fn open(&self, path: &[u8], from: u64, known: Option<&State>) -> Result<Opened, Fault> {
        let file = self.0.open(&self.key("read", path)?, from, tag_of(known)).await?;
        let (state, from) = (state_of(&file.facts), file.from);
        Ok(Opened { state, from, content: Box::new(S3Content { reader: Arc::clone(&self.0), file }) })
    }
}

struct S3Content {
    reader: Arc<S3Reader>,
    file: WebFile,
}

#[async_trait]
impl Content for S3Content {
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        self.reader.next(&mut self.file).await
    }

    /// An object is replaced as a whole, and who reads the old one reads it to its end.
    async fn state_after(self: Box<Self>) -> Result<Option<State>, Fault> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use destinations::reach::WebFacts;

    fn seen(objects: &[(&[u8], u64)], folders: &[&[u8]], below: &str) -> Vec<(String, EntryKind)> {
        let object = |(key, size): &(&[u8], u64)| S3Object {
            key: key.to_vec(),
            facts: WebFacts { size: Some(*size), ..WebFacts::default() },
        };
        let page = S3FolderPage {
            objects: objects.iter().map(object).collect(),
            folders: folders.iter().map(|folder| folder.to_vec()).collect(),
            next: None,
        };
        let mut entries = Vec::new();
        assert_eq!(entries_of(page, below.as_bytes(), &mut entries), Ok(()));
        without_doubles(&mut entries);
        entries.into_iter().map(|entry| (String::from_utf8_lossy(&entry.name).into_owned(), entry.kind)).collect()
    }

    #[test]
    fn keys_are_paths_or_are_named() {
        let found = seen(
            &[(b"p/", 0), (b"p/a", 1), (b"p/..", 1), (b"p/\xff", 1), (b"p/d", 2)],
            &[b"p/d/", b"p//", b"p/../", b"p/\xff/"],
            "p/",
        );
        let other = |name: &str| (name.to_owned(), EntryKind::Other(NO_PATH));
        let expected = [
            ("a".to_owned(), EntryKind::File),
            other("%2E%2E"),
            other("%FF"),
            ("d%".to_owned(), EntryKind::Other(NAME_OF_A_FOLDER)),
            ("d".to_owned(), EntryKind::Folder),
            other("%2F"),
            other("%2E%2E%2F"),
            other("%FF%2F"),
        ];
        assert_eq!(found, expected);
        assert_eq!(seen(&[(b"p/", 3)], &[], "p/"), [other("%2F")]);
        let page = S3FolderPage { objects: vec![], folders: vec![b"q/".to_vec()], next: None };
        assert!(entries_of(page, b"p/", &mut Vec::new()).is_err());
    }
}
