//! Reading again what was restored, by its name, and comparing it with the snapshot.
//!
//! This finds what writing cannot: a disk that gives back other bytes than it took, and two names that are one file
//! for the target's file system (upper and lower case).

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use format::NodeKind;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::Restoration;
use super::content::{BUFFER_BYTES, is_chunk};
use super::folder::Folders;
use super::job::{Job, Start};
use super::metadata::with_owner_reading;
use super::place::{Identity, Place, is_file};
use super::request::Overwrite;
use crate::error::Result;
use crate::observer::TroubleKind;

impl Restoration<'_> {
    /// Reads the files of these jobs again.
    pub(super) fn verify(&self, jobs: &[Job<'_>], folders: &Folders) -> Result<()> {
        let is_due = |job: &&Job<'_>| match job.start {
            _ if job.entry.node.kind != NodeKind::File || !job.is_done.load(Ordering::Acquire) => false,
            // Content that was compared a moment ago need not be read twice.
            Start::Unchanged { .. } => self.request.overwrite == Overwrite::IfChanged,
            Start::New | Start::Update { .. } => true,
            Start::Kept | Start::Refused { .. } => false,
        };
        let due: Vec<&Job<'_>> = jobs.iter().filter(is_due).collect();
        self.each(
            due.len(),
            || vec![0; BUFFER_BYTES],
            |buffer, number| {
                let Some(job) = due.get(number) else { return Ok(()) };
                let entry = job.entry;
                match folders.at(&entry.folder, &entry.node.name, |place| self.first_difference(job, &place, buffer)) {
                    Ok(None) => self.tally.verified(),
                    Ok(Some(difference)) => self.tally.trouble(entry.path(), TroubleKind::Unwritable, difference),
                    Err(error) => {
                        let why = format!("cannot read it again to verify it: {error}");
                        self.tally.trouble(entry.path(), TroubleKind::Unwritable, why);
                    }
                }
                Ok(())
            },
        )
    }

    fn first_difference(&self, job: &Job<'_>, place: &Place<'_>, buffer: &mut [u8]) -> Result<Option<String>, Errno> {
        let Some(stat) = place.stat()? else { return Ok(Some("it is not there any more".to_owned())) };
        if !is_file(&stat) {
            return Ok(Some("something else stands there now".to_owned()));
        }
        if u64::try_from(stat.st_size) != Ok(job.size) {
            return Ok(Some(format!("read again, it has {} bytes instead of {}", stat.st_size, job.size)));
        }
        let open = || place.open_file(Identity::of(&stat), OFlags::RDONLY);
        let file = match open() {
            Err(Errno::ACCESS) => with_owner_reading(place.pin()?.as_fd(), open)?,
            end => end?,
        };
        for piece in self.pieces(&job.entry.node).unwrap_or_default() {
            if !is_chunk(&file, piece.offset, piece.length, &piece.id, buffer)? {
                return Ok(Some(format!("read again, it is not what the snapshot has, from byte {} on", piece.offset)));
            }
        }
        Ok(None)
    }
}
