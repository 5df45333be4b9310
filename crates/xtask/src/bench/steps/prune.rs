//! What a prune costs that follows a snapshot through a million blobs, half of which nobody needs.
//!
//! Packs of data are holes, so nothing may be repacked: the limit for unused data is none. What is measured is reading the
//! index and the listings, the decision, and new index files; restic then deletes, rustic and we mark.

use std::fs;
use std::path::Path;

use model::Secret;
use testkit::many_blobs::{self, ManyBlobs};

use super::index::BLOBS_PER_PACK;
use super::{Step, Turn, make_scratch};
use crate::bench::measure::measure;
use crate::bench::places::Site;
use crate::bench::records::Records;
use crate::bench::tools::{PASSWORD, Scratch};

const SEED: u64 = 2;

/// Makes a repository for this turn alone, and prunes it.
pub(in crate::bench) fn run(turn: &Turn<'_>, folder: &Path, blobs: u64, records: &mut Records) -> Result<(), String> {
    if !turn.wants(Step::Prune) {
        return Ok(());
    }
    make_scratch(folder)?;
    let seat = Site::open(turn.place, folder)?.seat(3)?;
    let Some(call) = turn.tool.prune(&Scratch { folder }, &seat) else { return Ok(()) };
    let Some(place) = &seat.data else { return Err("a prune is measured in a folder only".to_owned()) };
    let cannot = |error: std::io::Error| format!("cannot make a repository of {blobs} blobs: {error}");
    fs::create_dir_all(place).map_err(cannot)?;
    let size = ManyBlobs { blobs, blobs_per_pack: BLOBS_PER_PACK, seed: SEED };
    many_blobs::make_half_used(place, &Secret::from(PASSWORD), &size).map_err(cannot)?;
    let cost = measure(&call, folder)?;
    records.figure(turn.case(turn.corpus.kind.name(), Step::Prune), turn.round, cost);
    Ok(())
}
