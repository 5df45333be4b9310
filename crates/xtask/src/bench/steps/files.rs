//! A turn on files: first backup, the same again, restore, check, one per cent changed, three copies.

use std::path::Path;

use super::{Settling, Step, Turn, make_scratch};
use crate::bench::compare::compare;
use crate::bench::corpora::change;
use crate::bench::measure::{Cost, measure};
use crate::bench::places::{Place, Seat, Site};
use crate::bench::records::Records;
use crate::bench::remove;
use crate::bench::stages::write_copies;
use crate::bench::tools::{Scratch, ToolKind};

/// The name under which a repository's size is kept.
pub(in crate::bench) const STORED: &str = "stored bytes";
const COPIES: usize = 3;

struct Run<'a, 'b> {
    turn: &'a Turn<'b>,
    folder: &'a Path,
    site: Site,
    records: &'a mut Records,
}

pub(super) fn run(
    turn: &Turn<'_>,
    folder: &Path,
    settling: &mut Settling<'_>,
    records: &mut Records,
) -> Result<(), String> {
    make_scratch(folder)?;
    let site = Site::open(turn.place, folder)?;
    let one = site.seat(1)?;
    let mut run = Run { turn, folder, site, records };
    run.init(std::slice::from_ref(&one))?;
    settling.wait();
    let first = run.backup(std::slice::from_ref(&one), Step::First)?;
    if turn.place == Place::Local && turn.wants(Step::First) {
        let bytes = one.bytes()? as f64;
        run.records.amount(turn.case(turn.corpus.kind.name(), Step::First), STORED, bytes);
    }
    if turn.wants(Step::Unchanged) {
        run.backup(std::slice::from_ref(&one), Step::Unchanged)?;
    }
    if turn.wants(Step::Bare) {
        run.bare_writes(&one)?;
    }
    if turn.wants(Step::Restore) {
        run.restore(&one)?;
    }
    if turn.wants(Step::Check) {
        let call = turn.tool.check(&Scratch { folder }, &one);
        let cost = measure(&call, folder)?;
        run.take(Step::Check, cost);
    }
    if turn.wants(Step::ThreeByCopy) {
        run.three_by_copy(&one, first)?;
    }
    if turn.wants(Step::Changed) {
        change(turn.corpus, turn.round, turn.number)?;
        settling.written_now();
        settling.wait();
        run.backup(std::slice::from_ref(&one), Step::Changed)?;
    }
    if turn.wants(Step::Three) {
        run.three(&one, first)?;
    }
    Ok(())
}

impl Run<'_, '_> {
    fn take(&mut self, step: Step, cost: Cost) {
        if self.turn.wants(step) {
            let case = self.turn.case(self.turn.corpus.kind.name(), step);
            self.records.figure(case, self.turn.round, cost);
        }
    }

    fn init(&self, seats: &[Seat]) -> Result<(), String> {
        measure(&self.turn.tool.init(&Scratch { folder: self.folder }, seats), self.folder).map(|_| ())
    }

    fn backup(&mut self, seats: &[Seat], step: Step) -> Result<Cost, String> {
        let call = self.turn.tool.backup(&Scratch { folder: self.folder }, seats, &self.turn.corpus.folder);
        let cost = measure(&call, self.folder)?;
        self.take(step, cost);
        Ok(cost)
    }

    /// Two more copies of the repository's bytes, written from memory: what no engine can save.
    fn bare_writes(&mut self, one: &Seat) -> Result<(), String> {
        let Some(repository) = &one.data else { return Ok(()) };
        let folder = self.folder.join("bare");
        let cpu_seconds = write_copies(repository, &folder, COPIES - 1)?;
        remove(&folder)?;
        self.take(Step::Bare, Cost { cpu_seconds, wall_seconds: cpu_seconds, peak_mib: 0.0 });
        Ok(())
    }

    fn restore(&mut self, one: &Seat) -> Result<(), String> {
        let target = self.folder.join("restored");
        let Some(call) = self.turn.tool.restore(&Scratch { folder: self.folder }, one, &target) else {
            return Ok(());
        };
        let cost = measure(&call, self.folder)?;
        compare(self.turn.corpus, &target)?;
        self.take(Step::Restore, cost);
        remove(&target)
    }

    fn three_by_copy(&mut self, one: &Seat, first: Cost) -> Result<(), String> {
        let mut total = first;
        for number in [COPIES + 2, COPIES + 3] {
            let other = self.site.seat(number)?;
            let Some([init, copy]) = self.turn.tool.copy(&Scratch { folder: self.folder }, one, &other) else {
                return Ok(());
            };
            measure(&init, self.folder)?;
            total = total.then(measure(&copy, self.folder)?);
        }
        self.take(Step::ThreeByCopy, total);
        (COPIES + 2..=COPIES + 3).try_for_each(|number| self.site.seat(number)?.remove())
    }

    /// Ours writes three new ones in one run; the others have one already and write two more.
    fn three(&mut self, one: &Seat, first: Cost) -> Result<(), String> {
        if self.turn.tool.kind == ToolKind::Triplicate {
            one.remove()?;
            let all: Vec<Seat> = (2..2 + COPIES).map(|number| self.site.seat(number)).collect::<Result<_, _>>()?;
            self.init(&all)?;
            self.backup(&all, Step::Three)?;
            return Ok(());
        }
        let mut total = first;
        for number in 2..=COPIES {
            let other = [self.site.seat(number)?];
            self.init(&other)?;
            let call = self.turn.tool.backup(&Scratch { folder: self.folder }, &other, &self.turn.corpus.folder);
            total = total.then(measure(&call, self.folder)?);
        }
        self.take(Step::Three, total);
        Ok(())
    }
}
