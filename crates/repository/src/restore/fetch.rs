//! A batch of entries from examined to complete: plans reads, fetches, opens and writes chunks.

use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use format::{BlobKind, NodeKind};

use super::Restoration;
use super::batch::Entry;
use super::content::BUFFER_BYTES;
use super::examine::{Piece, total_bytes};
use super::folder::Arrival;
use super::job::{Job, OpenFiles, Start};
use super::reads::{Chunk, Needs, Read, ReadPlan, Use};
use crate::copies::warm;
use crate::error::{Error, Result};
use crate::observer::{Action, TroubleKind};
use crate::opener::Opener;
use crate::threads::lock;

use super::report::End;

/// Entries without content to fetch that a thread takes at once.
const EASY_ENTRIES: usize = 32;

/// What a thread uses again for each read.
#[derive(Default)]
struct Tools {
    /// What was read.
    bytes: Vec<u8>,
    opener: Opener,
}

impl Restoration<'_> {
    /// Restores entries that do not depend on each other.
    pub(super) fn restore_entries(&self, entries: &[Entry]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let jobs = self.examine_all(entries)?;
        let Some(folders) = self.folders.as_ref().filter(|_| !self.request.dry_run) else {
            jobs.iter().for_each(|job| self.foretell(job));
            return Ok(());
        };
        let files = OpenFiles::new(folders, self.request.sparse);
        let plan = self.plan(&jobs);
        let easy: Vec<usize> = (0..jobs.len())
            .filter(|&n| jobs.get(n).is_some_and(|job| job.remaining.load(Ordering::Relaxed) == 0))
            .collect();
        let easy: Vec<&[usize]> = easy.chunks(EASY_ENTRIES).collect();
        // Fetching first: it is what takes long, and its last reads then have company.
        self.each(plan.reads.len() + easy.len(), Tools::default, |tools, number| match plan.reads.get(number) {
            Some(read) => self.fetch(read, &plan, &jobs, &files, tools),
            None => {
                for &job in easy.get(number - plan.reads.len()).copied().unwrap_or_default() {
                    self.complete(job, &jobs, &files);
                }
                Ok(())
            }
        })?;
        if self.request.verify { self.verify(&jobs, folders) } else { Ok(()) }
    }

    /// Finds out how to begin with each entry.
    fn examine_all<'e>(&self, entries: &'e [Entry]) -> Result<Vec<Job<'e>>> {
        let job = |entry: &'e Entry, buffer: &mut [u8]| -> Result<Job<'e>> {
            Ok(match self.pieces(&entry.node) {
                Ok(pieces) => Job::new(entry, self.examine(entry, &pieces, buffer)?, total_bytes(&pieces)),
                Err(why) => Job::new(entry, Start::Refused { kind: TroubleKind::Lost, why }, 0),
            })
        };
        // In folders that were just made there is nothing to look at.
        if !entries.iter().any(|entry| entry.folder.may_hold_others()) {
            return entries.iter().map(|entry| job(entry, &mut [])).collect();
        }
        let jobs: Vec<Mutex<Option<Job<'e>>>> = entries.iter().map(|_| Mutex::new(None)).collect();
        self.each(
            entries.len(),
            || vec![0; BUFFER_BYTES],
            |buffer, number| {
                if let (Some(entry), Some(slot)) = (entries.get(number), jobs.get(number)) {
                    *lock(slot) = Some(job(entry, buffer)?);
                }
                Ok(())
            },
        )?;
        Ok(jobs.into_iter().filter_map(|slot| slot.into_inner().unwrap_or_default()).collect())
    }

    /// Counts in a dry run what would be done.
    fn foretell(&self, job: &Job<'_>) {
        let entry = job.entry;
        let is_file = entry.node.kind == NodeKind::File;
        let is_new = entry.folder.arrival == Arrival::Absent || matches!(job.start, Start::New);
        let action = if is_new { Action::New } else { Action::Modified };
        let (end, wrote) = match &job.start {
            Start::Refused { kind, why } => return self.tally.trouble(entry.path(), *kind, why),
            Start::Kept => (End::Kept, 0),
            Start::Unchanged { .. } => (End::Unchanged, 0),
            Start::New if is_file => (End::File(action), job.size),
            Start::New => (End::Other(action), 0),
            Start::Update { .. } => {
                let wrong = self.wanted(job).iter().map(|piece| piece.length).sum();
                (End::File(action), wrong)
            }
        };
        self.note_packs(job);
        self.tally.wrote(wrote);
        self.tally.skipped(job.size - wrote);
        self.tally.ended(end, job.size, || entry.path());
    }

    /// Notes which packs would be read, where somebody may have to ask an archive for them.
    fn note_packs(&self, job: &Job<'_>) {
        if !warm::is_worth_asking(self.indexed.repository.copies()) {
            return;
        }
        let wanted = self.wanted(job);
        let packs = wanted.iter().filter_map(|piece| Some(self.indexed.index.get(BlobKind::Data, &piece.id)?.pack));
        lock(&self.packs).extend(packs);
    }

    /// The chunks of a job that are to be written.
    fn wanted(&self, job: &Job<'_>) -> Vec<Piece> {
        let pieces = || self.pieces(&job.entry.node).unwrap_or_default();
        match &job.start {
            Start::New => pieces(),
            Start::Update { wrong, .. } if !wrong.is_empty() => {
                let pieces = pieces();
                wrong.iter().filter_map(|&number| pieces.get(number as usize).copied()).collect()
            }
            _ => Vec::new(),
        }
    }

    fn plan(&self, jobs: &[Job<'_>]) -> ReadPlan {
        let mut needs = Needs::default();
        for (number, job) in jobs.iter().enumerate() {
            let wanted = self.wanted(job);
            let mut added = 0;
            for piece in &wanted {
                let belongs = Use { job: number as u32, offset: piece.offset };
                added += u32::from(needs.add(&self.indexed.index, piece.id, belongs));
            }
            job.remaining.store(added, Ordering::Relaxed);
        }
        needs.plan()
    }

    /// Fetches one read and writes every chunk in it to every place where it belongs.
    fn fetch(
        &self,
        read: &Read,
        plan: &ReadPlan,
        jobs: &[Job<'_>],
        files: &OpenFiles<'_>,
        tools: &mut Tools,
    ) -> Result<()> {
        let master = self.indexed.repository.master();
        let mut missing: Vec<&Chunk> = plan.chunks(read).iter().collect();
        // What one copy has sound is written at once, so that the next copy is asked for the rest only.
        let Tools { bytes, opener } = tools;
        let clock = self.indexed.repository.clock();
        let (start, mut worked) = (clock.monotonic(), Duration::ZERO);
        let got = self.indexed.pack_range(&read.pack, read.offset, read.length, bytes, |bytes| {
            let arrived = clock.monotonic();
            let mut wrong = None;
            let wanted = std::mem::take(&mut missing);
            opener.open_each(master, bytes, read.offset, wanted.iter().map(|chunk| &chunk.packed), |number, text| {
                let Some(&chunk) = wanted.get(number) else { return };
                match text {
                    Ok(plain) => self.deliver(plan.uses(chunk), Ok(plain), jobs, files),
                    Err(error) => {
                        let packed = &chunk.packed;
                        wrong
                            .get_or_insert_with(|| format!("blob {} at {}: {error}", packed.id.short(), packed.offset));
                        missing.push(chunk);
                    }
                }
            });
            worked += clock.monotonic().saturating_sub(arrived);
            wrong.map_or(Ok(()), Err)
        });
        self.turns.pace.read(clock.monotonic().saturating_sub(start).saturating_sub(worked));
        self.turns.pace.worked(1, worked);
        match got {
            Ok(()) => Ok(()),
            Err(error) if self.ends_everything(&error) => Err(error),
            // One by one: another pack may have it, or the part of this one that can still be read.
            Err(_) => missing.into_iter().try_for_each(|chunk| self.fetch_alone(chunk, plan, jobs, files)),
        }
    }

    fn fetch_alone(&self, chunk: &Chunk, plan: &ReadPlan, jobs: &[Job<'_>], files: &OpenFiles<'_>) -> Result<()> {
        match self.indexed.blob(BlobKind::Data, &chunk.packed.id) {
            Ok(plain) => self.deliver(plan.uses(chunk), Ok(&plain), jobs, files),
            Err(error) if self.ends_everything(&error) => return Err(error),
            Err(error) => self.deliver(plan.uses(chunk), Err(&error), jobs, files),
        }
        Ok(())
    }

    /// Writes a chunk wherever it belongs, or notes that it is lost; the last chunk of a file completes it.
    fn deliver(
        &self,
        uses: &[Use],
        plain: std::result::Result<&[u8], &Error>,
        jobs: &[Job<'_>],
        files: &OpenFiles<'_>,
    ) {
        let keeps_parts = self.request.incomplete == super::Incomplete::Keep;
        for &Use { job: number, offset } in uses {
            let Some(job) = jobs.get(number as usize) else { continue };
            match plain {
                Ok(bytes) if !job.has_failed() || keeps_parts => {
                    if job.write(number as usize, jobs, files, offset, bytes) {
                        self.tally.wrote(bytes.len() as u64);
                    }
                }
                Ok(_) => {}
                Err(error) => job.fail(TroubleKind::Lost, format!("a part of its content is lost: {error}")),
            }
            if job.remaining.fetch_sub(1, Ordering::AcqRel) == 1 {
                self.complete(number as usize, jobs, files);
            }
        }
    }
}
