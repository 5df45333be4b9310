//! Replacing one file of one copy.
//!
//! What is there is read once more right before, because a damage may have been one of the line, or somebody else was
//! faster. Wrong bytes are kept on this machine, the right ones are written, and read back. Nothing is removed from a
//! copy but a wrong `config`, which no place lets anybody write over: where that is interrupted, the copy has none, and
//! is healed next time.

use std::path::PathBuf;

use bytes::Bytes;
use destinations::{Destination, Span};
use format::{FileKind, FileName};
use model::{Fault, FaultKind};

use super::plan::Replacement;
use super::survey::Survey;
use crate::check::place::WRONG_NAME;
use crate::copies::CopySet;
use crate::locks::Fence;
use crate::records::aside::{Aside, Kept};

/// What is needed to replace files.
pub(super) struct Replacing<'a> {
    pub(super) copies: &'a CopySet,
    pub(super) survey: &'a Survey,
    pub(super) fence: &'a Fence,
    pub(super) aside: &'a Aside,
}

/// How it came out.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The right bytes are there, written and read back.
    Replaced {
        bytes: u64,
        /// Where the wrong ones are, or why they are not kept; none where there were none.
        kept: Option<Kept>,
    },
    /// It was right when it was looked at again.
    SoundAgain,
    /// The file stays as it is, and why.
    Not(String),
    /// The copy stopped answering.
    CopyLost(Fault),
}

/// A copy whose bytes were believed and are wrong.
pub(super) type BadSource = (usize, FileName, String);

impl Replacing<'_> {
    /// Replaces one file. Sources that turn out to be wrong are named as well.
    pub(super) fn replace(&self, item: &Replacement) -> (Outcome, Vec<BadSource>) {
        let mut bad_sources = Vec::new();
        let outcome = self.try_replace(item, &mut bad_sources);
        (outcome.unwrap_or_else(|outcome| outcome), bad_sources)
    }

    fn try_replace(&self, item: &Replacement, bad: &mut Vec<BadSource>) -> Result<Outcome, Outcome> {
        let Some(target) = self.copies.all().get(item.number).filter(|copy| copy.is_live()) else {
            return Ok(Outcome::Not("the copy was lost before".to_owned()));
        };
        let target = target.destination().as_ref();
        let there = self.look_again(target, item)?;
        if there.as_ref().is_some_and(|bytes| self.is_right(item.name, bytes)) {
            return Ok(Outcome::SoundAgain);
        }
        let right = self.fetch(item, bad)?;
        let kept = match (&there, &item.damage) {
            (Some(wrong), _) => Some(self.aside.keep(target.place(), &item.name.path(), wrong)),
            (None, Some(_)) => Some(Kept::Not("it cannot be read".to_owned())),
            (None, None) => None,
        };
        if matches!(item.name.kind(), FileKind::Index | FileKind::Snapshot) {
            self.copies.wait(self.fence.confirm(item.number)).map_err(Outcome::CopyLost)?;
        }
        if item.name == FileName::CONFIG && item.damage.is_some() {
            self.copies.wait(target.remove(item.name)).map_err(not_permitted)?;
        }
        let written = match self.survey.is_data(item.name) {
            true => target.write_data(item.name, right.clone()),
            false => target.write(item.name, right.clone()),
        };
        self.copies.wait(written).map_err(not_permitted)?;
        let back = self.copies.wait(target.read(item.name, Span::Whole)).map_err(not_permitted)?;
        if back != right {
            return Ok(Outcome::Not("what was written does not read back".to_owned()));
        }
        Ok(Outcome::Replaced { bytes: right.len() as u64, kept })
    }

    /// What stands there now; none where there is nothing, or nothing that can be read or kept.
    fn look_again(&self, target: &dyn Destination, item: &Replacement) -> Result<Option<Bytes>, Outcome> {
        if item.damage.is_none() {
            return Ok(None);
        }
        match self.copies.wait(target.read(item.name, Span::Whole)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(fault) if is_of_the_copy(&fault) => Err(Outcome::CopyLost(fault)),
            Err(_) => Ok(None),
        }
    }

    fn is_right(&self, name: FileName, bytes: &Bytes) -> bool {
        match name.id() {
            Some(id) => format::hash(bytes) == id,
            None => self.survey.config.as_ref() == Some(bytes),
        }
    }

    /// The right bytes, from the first copy that has them.
    fn fetch(&self, item: &Replacement, bad: &mut Vec<BadSource>) -> Result<Bytes, Outcome> {
        if item.name == FileName::CONFIG {
            let none = || Outcome::Not("no copy has it sound".to_owned());
            return self.survey.config.clone().ok_or_else(none);
        }
        let mut last = "no copy has it sound".to_owned();
        for (number, copy) in self.copies.live() {
            if number == item.number || item.sources & (1 << number) == 0 {
                continue;
            }
            // Once more, because a line can break bytes too.
            for _ in 0..2 {
                match self.copies.wait(copy.destination().read(item.name, Span::Whole)) {
                    Ok(bytes) if self.is_right(item.name, &bytes) => return Ok(bytes),
                    Ok(_) => last = format!("{WRONG_NAME} on {} either", copy.place()),
                    Err(fault) => {
                        last = fault.to_string();
                        if is_of_the_copy(&fault) {
                            self.copies.lose(number, fault);
                            break;
                        }
                    }
                }
            }
            if copy.is_live() {
                bad.push((number, item.name, last.clone()));
            }
        }
        Err(Outcome::Not(last))
    }
}

/// Whether nothing more can be asked of the copy.
fn is_of_the_copy(fault: &Fault) -> bool {
    matches!(
        fault.kind,
        FaultKind::Unreachable | FaultKind::Stalled | FaultKind::Full | FaultKind::Absent | FaultKind::Interrupted
    )
}

fn not_permitted(fault: Fault) -> Outcome {
    if is_of_the_copy(&fault) {
        return Outcome::CopyLost(fault);
    }
    let is_append_only = matches!(fault.kind, FaultKind::Denied | FaultKind::Refused | FaultKind::Exists);
    let why = if is_append_only { "the place does not let a file be replaced: " } else { "" };
    Outcome::Not(format!("{why}{fault}"))
}

/// Where wrong bytes are, for the report.
pub(super) fn kept_in(kept: Option<Kept>) -> Result<Option<PathBuf>, String> {
    match kept {
        None => Ok(None),
        Some(Kept::In(path)) => Ok(Some(path)),
        Some(Kept::Not(why)) => Err(why),
    }
}
