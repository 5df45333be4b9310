//! The engine's own hands for the judge: its check, its restore, one copy at a time.

use std::path::Path;
use std::sync::Arc;

use model::{Id, Verdict};
use repository::check::{CheckRequest, ReadData, check};
use repository::restore::{RestoreRequest, restore};
use repository::{Repository, Silent};
use testkit::MemoryFolder;
use testkit::oracles::{Checked, Product};

use crate::room::Room;
use crate::stage::password;

/// The engine, without locks: it judges what lies there, not who works on it.
pub(crate) struct Engine<'a>(pub(crate) &'a Room);

impl Engine<'_> {
    fn open(&self, copy: &MemoryFolder) -> Result<Repository, String> {
        let surroundings = repository::Surroundings { no_lock: true, ..self.0.surroundings() };
        Repository::open(vec![Arc::new(copy.clone())], &password(), surroundings).map_err(|error| error.to_string())
    }
}

impl Product for Engine<'_> {
    fn snapshots(&self, copy: &MemoryFolder) -> Result<Vec<Id>, String> {
        let listing = self.open(copy)?.snapshots().map_err(|error| error.to_string())?;
        match listing.troubles.first() {
            Some(damage) => Err(damage.to_string()),
            None => Ok(listing.snapshots.into_iter().map(|(id, _)| id).collect()),
        }
    }

    fn check(&self, copy: &MemoryFolder) -> Checked {
        let request = CheckRequest { read: ReadData::All, ..CheckRequest::default() };
        let report =
            self.open(copy).and_then(|repository| check(&repository, &request).map_err(|error| error.to_string()));
        match report {
            Err(why) => Checked { wrong: vec![why], surplus_packs: 0 },
            Ok(report) => Checked {
                wrong: report.copies[0].damages.iter().map(|finding| finding.damage.to_string()).collect(),
                surplus_packs: report.copies[0].counts.packs_unindexed,
            },
        }
    }

    fn restore(&self, copy: &MemoryFolder, snapshot: Id, target: &Path) -> Result<(), String> {
        let repository = self.open(copy)?;
        let attempt = || -> repository::Result<_> {
            let snapshot = repository.snapshot(snapshot)?;
            let request = RestoreRequest {
                subfolder: Some(b"/source".to_vec()),
                target: target.to_owned(),
                ..RestoreRequest::default()
            };
            restore(&repository.indexed()?, &snapshot, &request, &Silent::default())
        };
        let report = attempt().map_err(|error| error.to_string())?;
        match report.verdict() {
            Verdict::Ok => Ok(()),
            verdict => Err(format!("{verdict}: {:?} {:?}", report.failed, report.warnings)),
        }
    }
}
