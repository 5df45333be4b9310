//! What a large index costs: a backup of next to nothing into a repository of a million blobs.
//!
//! The same backup into a repository without blobs is measured beside it; the difference is the index. All three start
//! with a key derivation of the standard cost, whose memory is part of each peak.

use std::fs;
use std::path::Path;

use model::Secret;
use testkit::many_blobs::{self, ManyBlobs};

use super::{Step, Turn, make_scratch};
use crate::bench::measure::measure;
use crate::bench::places::Site;
use crate::bench::records::Records;
use crate::bench::tools::{PASSWORD, Scratch};

/// As of a tree of small files. Who has large files has more packs, and some engines list them.
pub(in crate::bench) const BLOBS_PER_PACK: u32 = 1000;
const SEED: u64 = 1;
const TINY_FILES: usize = 10;

/// Makes both repositories for this turn alone and backs a folder of ten files up into them.
pub(in crate::bench) fn run(turn: &Turn<'_>, folder: &Path, blobs: u64, records: &mut Records) -> Result<(), String> {
    make_scratch(folder)?;
    let site = Site::open(turn.place, folder)?;
    let cannot = |error: std::io::Error| format!("cannot make a repository of {blobs} blobs: {error}");
    let source = folder.join("tiny");
    fs::create_dir_all(&source).map_err(cannot)?;
    for number in 0..TINY_FILES {
        fs::write(source.join(number.to_string()), format!("file {number}\n")).map_err(cannot)?;
    }
    let (empty, large) = (site.seat(1)?, site.seat(2)?);
    for (seat, blobs) in [(&empty, 0), (&large, blobs)] {
        let Some(folder) = &seat.data else { return Err("a large index is measured in a folder only".to_owned()) };
        fs::create_dir_all(folder).map_err(cannot)?;
        let size = ManyBlobs { blobs, blobs_per_pack: BLOBS_PER_PACK, seed: SEED };
        many_blobs::make(folder, &Secret::from(PASSWORD), &size).map_err(cannot)?;
    }
    for (seat, step) in [(empty, Step::OpenEmpty), (large.clone(), Step::OpenFirst), (large, Step::OpenCached)] {
        let cost = measure(&turn.tool.backup(&Scratch { folder }, &[seat], &source), folder)?;
        if turn.wants(step) {
            records.figure(turn.case(turn.corpus.kind.name(), step), turn.round, cost);
        }
    }
    Ok(())
}
