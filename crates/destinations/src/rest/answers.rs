//! What a REST server says in JSON, as pure functions: listings of both versions of the protocol.
//!
//! A listing counts only when it is whole: one that was cut is no shorter listing. Names that the format does not know
//! are left out, for others may keep files beside ours.

use model::Id;
use serde::Deserialize;

use crate::Listed;

/// One entry of a listing of version 2.
#[derive(Deserialize)]
struct Entry {
    name: String,
    size: u64,
}

/// Reads a listing of version 2: names with sizes. What is wrong with it otherwise is said in words.
pub(crate) fn parse_listing(json: &[u8]) -> Result<Vec<Listed>, String> {
    let entries: Vec<Entry> = serde_json::from_slice(json).map_err(no_listing)?;
    let known = |entry: Entry| Some(Listed { id: entry.name.parse().ok()?, size: entry.size });
    Ok(entries.into_iter().filter_map(known).collect())
}

/// Reads a listing of version 1: names alone.
pub(crate) fn parse_names(json: &[u8]) -> Result<Vec<Id>, String> {
    let names: Vec<String> = serde_json::from_slice(json).map_err(no_listing)?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

fn no_listing(error: serde_json::Error) -> String {
    format!("the answer is not a listing: {error}")
}
