//! What the stages of a check of one copy share: the copy, the report that grows, and whoever watches.

use format::FileName;
use model::Id;

use super::place::{Place, Trouble};
use super::report::{CopyReport, Finding};
use crate::copies::warm::Patience;
use crate::error::Damage;
use crate::observer::{Cancel, Event, Observer, Progress};
use crate::repository::Repository;
use crate::threads;

pub(super) struct Session<'a> {
    pub(super) place: &'a Place<'a>,
    pub(super) observer: &'a dyn Observer,
    pub(super) cancel: &'a Cancel,
    pub(super) clock: &'a dyn clock::Clock,
    /// No other copy comes after this one: its totals are everybody's.
    pub(super) is_last: bool,
    pub(super) workers: usize,
    pub(super) report: CopyReport,
    /// The number of the copy in the set; none for what is no single copy.
    pub(super) number: Option<usize>,
    /// How long to wait for packs that lie in an archive.
    pub(super) patience: Option<Patience>,
    /// Packs that were read to the end and are sound.
    pub(super) sound_packs: Vec<Id>,
}

impl<'a> Session<'a> {
    /// Begins the check of one copy, the last one unless somebody says otherwise.
    pub(super) fn new(place: &'a Place<'a>, repository: &'a Repository, observer: &'a dyn Observer) -> Self {
        Self {
            place,
            observer,
            cancel: repository.cancel(),
            clock: repository.clock(),
            is_last: true,
            number: None,
            patience: None,
            workers: threads::count(),
            report: CopyReport { copy: place.destination.place().to_owned(), ..CopyReport::default() },
            sound_packs: Vec::new(),
        }
    }

    pub(super) fn progress(&self) -> &Progress {
        self.observer.progress()
    }

    /// Notes a damage of a file. A lost copy is no damage of the files that could not be read after that.
    pub(super) fn damage(&mut self, name: FileName, trouble: Trouble, hint: &'static str) {
        self.damage_of(name.path(), trouble, hint);
    }

    pub(super) fn damage_of(&mut self, file: impl Into<String>, trouble: Trouble, hint: &'static str) {
        let Trouble::Damaged(why) = trouble else { return };
        let damage = Damage { copy: self.report.copy.clone(), file: file.into(), why };
        self.progress().troubles.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.observer.event(Event::Damage(damage.clone()));
        self.report.add(Finding { damage, hint });
    }

    /// Notes that a whole snapshot is lost with its file.
    pub(super) fn affected_snapshot(&mut self, name: FileName, trouble: &Trouble) {
        if let (Trouble::Damaged(_), Some(id)) = (trouble, name.id()) {
            self.report.affected_snapshots.push(id);
        }
    }
}
