//! New index files: for those that mention a pack whose standing changes, and for the packs that are written anew.
//!
//! What is not affected stays as it is, byte by byte. Tiny files are merged with the others when there is something to
//! write anyway, or when there are many of them.

use format::{IndexFile, IndexedPack, MarkedPack, Moment};

use super::Pruning;
use super::ledger::{File, Ledger, Mention};
use super::plan::Fate;
use crate::bits::Bits;
use crate::copies::Holders;
use crate::copies::fan_out::FanOut;
use crate::error::Result;
use crate::index::load;
use crate::index::press::Press;

/// An index file with fewer blobs is tiny.
const TINY_BLOBS: u64 = 10_000;

/// So many tiny files are merged even when nothing else is to be done.
const TINY_FILES_MAX: usize = 20;

/// Files that have to be written anew, by number. `supersets` are the copies that let nothing be removed.
pub(super) fn affected(ledger: &Ledger, fates: &[Fate], supersets: u64) -> Vec<usize> {
    let fate = |mention: &Mention| fates.get(mention.pack as usize).copied().unwrap_or(Fate::Leave);
    let is_affected = |file: &File| {
        if !file.is_common {
            // What an append-only copy keeps for itself is left there, unless somebody needs what it says.
            let is_needed = file.packs.iter().any(|mention| {
                let standing = ledger.pack(mention.pack).map(|pack| pack.standing);
                standing == Some(super::ledger::Standing::Surplus) && fate(mention) == Fate::Keep
            });
            return is_needed || file.copies & !supersets != 0;
        }
        let marked_anew = |mention: &Mention| {
            let untimed = ledger.pack(mention.pack).is_some_and(|pack| pack.marked_at.is_none());
            fate(mention) != Fate::Wait || untimed
        };
        file.packs.iter().any(|mention| fate(mention) != Fate::Keep) || file.marks.iter().any(marked_anew)
    };
    let mut affected: Vec<usize> = Vec::new();
    let mut tiny = Vec::new();
    for (number, file) in ledger.files.iter().enumerate() {
        if is_affected(file) {
            affected.push(number);
        } else if file.is_common && file.blobs() < TINY_BLOBS {
            tiny.push(number);
        }
    }
    let is_written_anyway = !affected.is_empty() || fates.contains(&Fate::Mark);
    if (is_written_anyway && !tiny.is_empty()) || tiny.len() > TINY_FILES_MAX {
        affected.append(&mut tiny);
        affected.sort_unstable();
    }
    affected
}

/// Hands what the affected index files say to the press, with every pack in its new standing.
pub(super) fn run(pruning: &Pruning<'_>, fan_out: &FanOut<'_>, press: &Press<'_>) -> Result<()> {
    let ledger = &pruning.ledger;
    let now = Moment::from(&pruning.repository.clock().local());
    let mut rewriter = Rewriter { pruning, fan_out, press, listed: Bits::new(ledger.packs.len()), now };
    for (number, file) in ledger.files.iter().enumerate() {
        if pruning.decision.rewrite.binary_search(&number).is_err() && file.is_common {
            rewriter.note_listed(file);
        }
    }
    for file in pruning.decision.rewrite.iter().filter_map(|number| ledger.files.get(*number)) {
        pruning.repository.cancel().check()?;
        let holders = Holders::of(&pruning.scene.indexes, &file.id);
        let (copies, master) = (pruning.repository.copies(), pruning.repository.master());
        let content = load::read(copies, master, file.id, holders)?;
        rewriter.rewrite(content)?;
    }
    rewriter.mark_unindexed()
}

struct Rewriter<'a> {
    pruning: &'a Pruning<'a>,
    fan_out: &'a FanOut<'a>,
    press: &'a Press<'a>,
    /// Packs that the new index has with all their blobs.
    listed: Bits,
    now: Moment,
}

impl Rewriter<'_> {
    fn fate(&self, number: usize) -> Fate {
        self.pruning.decision.fates.get(number).copied().unwrap_or(Fate::Leave)
    }

    /// Whether a mention of so many blobs says all that is known of a pack.
    fn is_whole(&self, number: usize, blobs: usize) -> bool {
        self.pruning.ledger.packs.get(number).is_some_and(|pack| pack.rows as usize <= blobs)
    }

    fn note_listed(&mut self, file: &File) {
        for mention in file.packs.iter().chain(&file.marks) {
            if self.is_whole(mention.pack as usize, mention.blobs as usize) {
                self.listed.insert(mention.pack as usize);
            }
        }
    }

    /// True when the mention is to be written: none that says all was written before.
    fn claim(&self, number: usize, blobs: usize) -> bool {
        if self.listed.contains(number) {
            return false;
        }
        if self.is_whole(number, blobs) {
            self.listed.insert(number);
        }
        true
    }

    fn rewrite(&mut self, content: IndexFile) -> Result<()> {
        for IndexedPack { id, blobs } in content.packs {
            self.place(id, blobs)?;
        }
        for MarkedPack { id, blobs, .. } in content.packs_to_delete {
            self.place(id, blobs)?;
        }
        Ok(())
    }

    fn place(&mut self, id: model::Id, blobs: Vec<format::PackedBlob>) -> Result<()> {
        let Some(number) = self.pruning.ledger.number(&id) else { return Ok(()) };
        match self.fate(number) {
            Fate::Keep | Fate::TakeBack if self.claim(number, blobs.len()) => {
                self.press.index(self.fan_out, IndexedPack { id, blobs })
            }
            Fate::Mark | Fate::Repack | Fate::Wait if self.claim(number, blobs.len()) => self.mark(number, blobs),
            _ => Ok(()),
        }
    }

    fn mark(&self, number: usize, blobs: Vec<format::PackedBlob>) -> Result<()> {
        let Some(pack) = self.pruning.ledger.packs.get(number) else { return Ok(()) };
        let waited = pack.marked_at.filter(|_| self.fate(number) == Fate::Wait);
        let time = Some(waited.unwrap_or(self.now));
        self.press.mark(self.fan_out, MarkedPack { id: pack.id, blobs, time, size: u32::try_from(pack.size).ok() })
    }

    /// Packs of which no index file says anything.
    fn mark_unindexed(&mut self) -> Result<()> {
        for number in 0..self.pruning.ledger.packs.len() {
            if self.fate(number) == Fate::Mark && self.claim(number, usize::MAX) {
                self.mark(number, Vec::new())?;
            }
        }
        Ok(())
    }
}
