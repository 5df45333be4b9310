//! What tests of sources share: a source read as the engine reads it, and its files handed to a restore.
#![allow(dead_code)] // each test file uses its part

use std::collections::BTreeMap;
use std::io::{self, Read};

use repository::Cancel;
use repository::backup::{Origin, OriginError};
use sources::into::Files;
use sources::manifest::Manifest;

/// All that a backup of a source would hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Copy {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) manifest: Manifest,
}

/// Reads a source: a listing, its files in the order of their names, its manifest.
pub(crate) fn backup(origin: &dyn Origin) -> Result<Copy, OriginError> {
    let mut entries = origin.list(b"", &Cancel::new())?;
    entries.sort_by(|left, right| left.name.cmp(&right.name));
    let mut files = BTreeMap::new();
    for entry in entries {
        let mut bytes = Vec::new();
        let read = origin.open(&entry.name, &entry, &Cancel::new())?.read_to_end(&mut bytes);
        read.map_err(|error| error.downcast::<OriginError>().unwrap())?;
        files.insert(String::from_utf8(entry.name).unwrap(), bytes);
    }
    let text = origin.manifest()?.unwrap();
    assert_eq!(origin.manifest()?.unwrap(), text);
    Ok(Copy { files, manifest: Manifest::parse(&text).unwrap() })
}

impl Files for Copy {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.files.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.files.get(name).ok_or(io::ErrorKind::NotFound)?.as_slice()))
    }
}

/// True when `TRIPLICATE_EXHAUSTIVE=1` asks for everything.
pub(crate) fn is_exhaustive() -> bool {
    std::env::var_os("TRIPLICATE_EXHAUSTIVE").is_some_and(|value| value == "1")
}
