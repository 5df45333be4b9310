//! Sources that shrank, and up to which moment somebody said that this is all right. Who does not know it freezes
//! retention once more, and is told again.

use std::collections::BTreeMap;

use format::Moment;

use crate::repository::Repository;
use crate::retention::{Frozen, SourceKey};

const NAME: &str = "shrunk.json";

/// The time of the newest snapshot that was accepted, as text, by source.
type Accepted = BTreeMap<String, String>;

impl Repository {
    /// Remembers that the sizes of these sources are all right up to now.
    pub(super) fn note_accepted(&self, sources: &[Frozen]) {
        let Some(records) = self.records().filter(|_| !sources.is_empty()) else { return };
        let noted = records.change(NAME, |known: &mut Accepted| {
            known.extend(sources.iter().map(|frozen| (key(&frozen.source), frozen.time.to_string())));
        });
        // A machine whose records cannot be written asks again.
        let _ = noted;
    }

    /// Up to when the size of each of these sources was accepted.
    pub(super) fn accepted<'a>(&self, sources: impl IntoIterator<Item = &'a SourceKey>) -> BTreeMap<SourceKey, Moment> {
        let known: Accepted = self.records().map(|records| records.read(NAME)).unwrap_or_default();
        let accepted = |source: &SourceKey| Some((source.clone(), known.get(&key(source))?.parse().ok()?));
        if known.is_empty() { BTreeMap::new() } else { sources.into_iter().filter_map(accepted).collect() }
    }
}

/// One text for one source: lists are written so that no name can be taken for two.
fn key(source: &SourceKey) -> String {
    match source {
        SourceKey::Named(sources, plans) => serde_json::json!({ "sources": sources, "plans": plans }).to_string(),
        SourceKey::Place(host, paths) => serde_json::json!({ "host": host, "paths": paths }).to_string(),
    }
}
