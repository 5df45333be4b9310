//! An init that broke off between two places: some have the `config`, the others do not yet. Whoever repeats it, with
//! the same password, finishes it; otherwise nobody could go on without removing files by hand.
//!
//! Only what is certainly such a beginning is taken up: nothing but keys and one and the same `config`, and the password
//! opens it. Two processes that finish the same beginning write the same bytes.

use std::sync::Mutex;

use bytes::Bytes;
use destinations::{Listed, Span};
use format::{Chunker, Config, FileKind, FileName, KeyFile, MasterKey};
use model::{Fault, FaultKind, Id, Secret};

use crate::copies::status::Holdings;
use crate::copies::{CopySet, Holders};
use crate::error::Result;
use crate::open::remove_keys;
use crate::repository::{Repository, Surroundings};

/// What an init that broke off has left.
pub(crate) struct Unfinished {
    config: Config,
    sealed_config: Bytes,
    master: MasterKey,
    key_id: Id,
    key: Bytes,
    /// Keys of still earlier attempts.
    left_over: Vec<Id>,
}

/// Looks for the beginning of an init with this password and version.
pub(crate) fn find(copies: &CopySet, password: &Secret, version: u32) -> Result<Option<Unfinished>> {
    let answers = copies.ask_each(|destination| async move {
        let data = [FileKind::Pack, FileKind::Index, FileKind::Snapshot].map(|kind| destination.list(kind));
        let (config, keys) = (destination.read(FileName::CONFIG, Span::Whole), destination.list(FileKind::Key));
        futures::join!(config, keys, futures::future::join_all(data))
    });
    let (mut configs, mut listings) = (Vec::new(), Vec::new());
    for (number, (config, keys, data)) in answers {
        for listing in data {
            if !unless_missing(listing)?.is_empty() {
                return Ok(None);
            }
        }
        listings.push((number, unless_missing(keys)?));
        match config {
            Ok(config) => configs.push(config),
            Err(fault) if fault.kind == FaultKind::NotFound => {}
            Err(fault) => return Err(fault.into()),
        }
    }
    let Some(sealed_config) = configs.first().cloned() else { return Ok(None) };
    // With a `config` everywhere it is whole, and somebody's.
    let is_beginning = configs.len() < copies.all().len() && configs.iter().all(|config| *config == sealed_config);
    if !is_beginning {
        return Ok(None);
    }
    let keys = Holdings::of_listings(FileKind::Key, listings);
    for id in keys.files.keys() {
        let Ok(key) = copies.read_whole(FileName::new(FileKind::Key, *id), Holders::of(&keys, id)) else { continue };
        let Ok(master) = KeyFile::parse(&key).and_then(|key| key.open(password)) else { continue };
        let opened = master.open(&sealed_config).and_then(|plain| Config::parse(&plain));
        if let Some(config) = opened.ok().filter(|config| config.version == version) {
            let left_over = keys.files.keys().filter(|other| *other != id).copied().collect();
            return Ok(Some(Unfinished { config, sealed_config, master, key_id: *id, key, left_over }));
        }
    }
    Ok(None)
}

/// A place without the folder of a kind has no file of it.
fn unless_missing(listing: Result<Vec<Listed>, Fault>) -> Result<Vec<Listed>> {
    match listing {
        Err(fault) if fault.kind == FaultKind::NotFound => Ok(Vec::new()),
        listing => Ok(listing?),
    }
}

impl Unfinished {
    /// Brings every place to where the first one is.
    pub(crate) fn finish(self, copies: CopySet, surroundings: Surroundings) -> Result<Repository> {
        let Self { config, sealed_config, master, key_id, key, left_over } = self;
        let key_name = FileName::new(FileKind::Key, key_id);
        for (_, answer) in copies.ask_each(|destination| destination.create()) {
            answer?;
        }
        for (name, bytes) in [(key_name, key), (FileName::CONFIG, sealed_config)] {
            for (_, answer) in copies.ask_each(|destination| destination.write(name, bytes.clone())) {
                answer?;
            }
        }
        remove_keys(&copies, &left_over);
        let chunker = Chunker::new(config.chunker_polynomial);
        Ok(Repository { copies, config, master, key_id, chunker, surroundings, locks_at_opening: Mutex::default() })
    }
}
