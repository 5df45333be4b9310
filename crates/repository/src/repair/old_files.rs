//! Taking old files away at the end of a repair: first they are kept on this machine, then they are removed from every
//! copy. A copy that lets nothing be removed keeps them, and is named.

use destinations::Span;
use format::{FileKind, FileName};

use super::work::Work;
use crate::copies::removal::{Patience, Remover, TOGETHER, confirm_everywhere};
use crate::copies::status::Holdings;
use crate::error::Result;
use crate::records::aside::{Aside, Kept};

/// What became of old files.
#[derive(Debug, Clone, Default)]
pub struct Removed {
    /// Files removed from every copy that let them be removed.
    pub files: u64,
    /// Files that a copy kept because it is append-only: its place, and how many.
    pub kept_by: Vec<(String, u64)>,
    /// Where the old files are on this machine.
    pub aside: Option<std::path::PathBuf>,
    /// Old files that this machine did not keep, and why.
    pub not_kept: Vec<(String, String)>,
}

impl Work<'_> {
    /// Keeps and removes `names`, in this order. Whatever replaces them has to be on every copy by now.
    pub(super) fn remove_old(&self, names: &[FileName]) -> Result<Removed> {
        let mut removed = Removed::default();
        if names.is_empty() {
            return Ok(removed);
        }
        let copies = self.repository.copies();
        let aside = Aside::of(self.repository.records().as_ref());
        for name in names {
            for (_, copy) in copies.live() {
                // One that cannot be read is not kept, and is no loss.
                let Ok(bytes) = copies.wait(copy.destination().read(*name, Span::Whole)) else { continue };
                let is_right = name.id() == Some(format::hash(&bytes));
                // The right bytes are the same everywhere, and kept once.
                let owner = if is_right { "every copy" } else { copy.place() };
                if let Kept::Not(why) = aside.keep(owner, &name.path(), &bytes) {
                    removed.not_kept.push((name.path(), why));
                }
                if is_right {
                    break;
                }
            }
        }
        removed.aside = aside.folder().filter(|folder| folder.exists()).map(std::path::Path::to_owned);
        let (cancel, fence) = (self.repository.cancel(), self.fence());
        confirm_everywhere(copies, &fence)?;
        let remover = Remover { copies, cancel, fence: &fence, patience: Patience::Endless };
        // Every copy has let one lot go before any is asked for the next; no lot is of two kinds, so that no pack goes
        // before an index file that names it.
        for lot in names.chunk_by(|one, next| one.kind() == next.kind()).flat_map(|kind| kind.chunks(TOGETHER)) {
            cancel.check()?;
            removed.files += lot.len() as u64;
            for (number, removal) in remover.remove(u64::MAX, |_| lot.to_vec()) {
                removed.kept(copies.place(number), removal.kept);
                if let Some(fault) = removal.fault {
                    cancel.check()?;
                    return Err(fault.into());
                }
            }
        }
        self.note_fewer(names)?;
        Ok(removed)
    }

    /// Fewer files are listed from now on, and that is right.
    fn note_fewer(&self, names: &[FileName]) -> Result<()> {
        for kind in [FileKind::Snapshot, FileKind::Index, FileKind::Pack] {
            if names.iter().any(|name| name.kind() == kind) {
                self.repository.note_listed(&Holdings::gather(self.repository.copies(), kind)?);
            }
        }
        Ok(())
    }
}

impl Removed {
    fn kept(&mut self, place: &str, count: u64) {
        match self.kept_by.iter_mut().find(|(copy, _)| copy == place) {
            Some((_, files)) => *files += count,
            None if count > 0 => self.kept_by.push((place.to_owned(), count)),
            None => {}
        }
    }
}
