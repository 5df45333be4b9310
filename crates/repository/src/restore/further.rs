//! Further names of files that are already restored.

use rustix::io::Errno;

use super::Restoration;
use super::batch::{Entry, Fate, FurtherName};
use super::place::{Identity, Place};
use super::report::End;
use crate::error::Result;
use crate::observer::{Action, TroubleKind};

/// What became of a further name.
enum Linked {
    Made,
    WasThere,
    Kept,
}

impl Restoration<'_> {
    /// Makes the links of a batch. Gives back what has to be restored as a file of its own, because there is nothing to
    /// link to or the target does not take links.
    pub(super) fn make_further_names(&self, further: Vec<FurtherName>) -> Result<Vec<Entry>> {
        let mut singles = Vec::new();
        for FurtherName { entry, first } in further {
            self.indexed.repository.cancel().check()?;
            if self.request.dry_run {
                self.tally.ended(End::Other(Action::New), 0, || entry.path());
                continue;
            }
            match first.fate() {
                Fate::Restored => {}
                Fate::Kept => {
                    singles.push(entry);
                    continue;
                }
                Fate::Failed => {
                    let first = first.folder.path_of(&first.name);
                    let why = format!("it is one file with `{}`, which was not restored", first.display());
                    self.tally.trouble(entry.path(), TroubleKind::Unwritable, why);
                    continue;
                }
            }
            match self.link(&entry, &first.folder, &first.name) {
                Ok(Linked::Made) => self.tally.ended(End::Other(Action::New), 0, || entry.path()),
                Ok(Linked::WasThere) => self.tally.ended(End::Other(Action::Unchanged), 0, || entry.path()),
                Ok(Linked::Kept) => self.tally.ended(End::Kept, 0, || entry.path()),
                Err(error @ (Errno::PERM | Errno::MLINK | Errno::XDEV | Errno::OPNOTSUPP)) => {
                    let first = first.folder.path_of(&first.name);
                    let why = format!("restored as a file of its own, not as one with `{}`: {error}", first.display());
                    self.tally.trouble(entry.path(), TroubleKind::Metadata, why);
                    singles.push(entry);
                }
                Err(error) => {
                    self.tally.trouble(entry.path(), TroubleKind::Unwritable, format!("cannot link it: {error}"));
                }
            }
        }
        Ok(singles)
    }

    fn link(&self, entry: &Entry, first_folder: &super::folder::Folder, first_name: &[u8]) -> Result<Linked, Errno> {
        let folders = self.folders.as_ref().ok_or(Errno::NOENT)?;
        folders.at(first_folder, first_name, |first| {
            folders.at(&entry.folder, &entry.node.name, |place| self.link_at(entry, &place, &first))
        })
    }

    fn link_at(&self, entry: &Entry, place: &Place<'_>, first: &Place<'_>) -> Result<Linked, Errno> {
        if entry.folder.may_hold_others()
            && let Some(found) = place.stat()?
        {
            if first.stat()?.is_some_and(|stat| Identity::of(&stat) == Identity::of(&found)) {
                return Ok(Linked::WasThere);
            }
            if !self.may_overwrite(&entry.node, &found) {
                return Ok(Linked::Kept);
            }
        }
        place.link_from(first)?;
        Ok(Linked::Made)
    }
}
