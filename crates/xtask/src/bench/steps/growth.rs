//! Whether a million files cost as much among ten million as alone.
//!
//! The files are empty: what is measured is metadata. They need more memory (or inodes, on a disk) than anything else
//! here, so a size that does not fit is refused with a line, and the others are measured.

use std::fs;
use std::path::Path;

use super::{Settling, Step, Turn, make_scratch};
use crate::bench::measure::measure;
use crate::bench::places::Site;
use crate::bench::records::Records;
use crate::bench::tools::Scratch;

const MILLION: u64 = 1_000_000;
/// What an empty file takes in memory, on tmpfs and in the kernel's caches, with room for the repository.
const BYTES_PER_FILE: u64 = 1300;
/// What the measured programs and everybody else must be left.
const SPARE_BYTES: u64 = 3 << 30;
/// Folders need inodes too: one for each thousand files, and some.
const INODES_PER_THOUSAND: u64 = 1010;

/// The corpus's name in the records.
pub(in crate::bench) fn label(millions: u64) -> String {
    format!("GROWTH-{millions}M")
}

/// Why so many files cannot be made in `folder`; none when they can.
pub(in crate::bench) fn does_not_fit(millions: u64, folder: &Path) -> Option<String> {
    let files = millions * MILLION;
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let needed = files * BYTES_PER_FILE + SPARE_BYTES;
    if let Some(free) = available_bytes(&memory).filter(|free| *free < needed) {
        let (free, needed) = (free >> 30, needed >> 30);
        return Some(format!("{millions} million files need {needed} GiB of free memory, there are {free}"));
    }
    let inodes = rustix::fs::statvfs(folder).map(|system| system.f_favail).unwrap_or(u64::MAX);
    let needed = files / 1000 * INODES_PER_THOUSAND;
    let what = || format!("{millions} million files need {needed} inodes, `{}` has {inodes} left", folder.display());
    // Some file systems have no such limit and say 0.
    let hint = "mount a tmpfs with nr_inodes=0 and name it with --growth-folder";
    (inodes != 0 && inodes < needed).then(|| format!("{}; {hint}", what()))
}

fn available_bytes(memory: &str) -> Option<u64> {
    let line = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// First backup and the same again.
pub(in crate::bench) fn run(
    turn: &Turn<'_>,
    folder: &Path,
    settling: &Settling<'_>,
    records: &mut Records,
) -> Result<(), String> {
    make_scratch(folder)?;
    let scratch = Scratch { folder };
    let seats = [Site::open(turn.place, folder)?.seat(1)?];
    measure(&turn.tool.init(&scratch, &seats), folder)?;
    settling.wait();
    let name = label(turn.corpus.files as u64 / MILLION);
    for step in [Step::First, Step::Unchanged] {
        let cost = measure(&turn.tool.backup(&scratch, &seats, &turn.corpus.folder), folder)?;
        if turn.wants(step) {
            records.figure(turn.case(&name, step), turn.round, cost);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused() {
        let folder = std::env::temp_dir();
        assert_eq!(does_not_fit(0, &folder), None);
        assert!(does_not_fit(1_000_000, &folder).unwrap().contains("GiB"));
        assert_eq!(available_bytes("MemFree: 1 kB\nMemAvailable:   2048 kB\n"), Some(2 << 20));
        assert_eq!(available_bytes(""), None);
        assert_eq!(label(3), "GROWTH-3M");
    }
}
