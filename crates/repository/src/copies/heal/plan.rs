//! What a healing will do: which file of which copy is to be replaced, by whose bytes, and what nobody can replace.

use format::{FileKind, FileName};

use super::survey::{Standing, Survey};

/// One file of one copy that is to be written from another copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// The copy's number in the set.
    pub(crate) number: usize,
    /// The copy that has it wrong, without secrets.
    pub copy: String,
    /// The file.
    pub name: FileName,
    /// Its size where it is sound.
    pub size: u64,
    /// What is wrong with it; none where it is missing.
    pub damage: Option<String>,
    /// Copies that have it sound, as bits.
    pub(crate) sources: u64,
}

/// A file that no copy has sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostFile {
    /// The file.
    pub name: FileName,
    /// What each copy has instead.
    pub why: Vec<String>,
    /// False for a pack that no index names: nothing depends on it.
    pub is_needed: bool,
}

/// What is to be done, and what cannot be done.
#[derive(Debug, Clone, Default)]
pub struct HealPlan {
    /// In the order in which a copy is written: keys, packs, indexes, snapshots, `config`.
    pub replacements: Vec<Replacement>,
    /// Files that no copy has sound.
    pub lost: Vec<LostFile>,
    /// Key files that some copies have and others lack, and that are left alone: it could be a removed password that
    /// came back.
    pub keys_left: Vec<FileName>,
    /// Snapshots that this machine set out to forget and that some copies still have: they are not brought back.
    pub forgotten: Vec<FileName>,
    /// Packs that no index names and that not every copy has: left-overs, which a prune removes.
    pub surplus: Vec<FileName>,
}

impl HealPlan {
    /// True when there is nothing to do and nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.replacements.is_empty() && self.lost.is_empty()
    }

    /// How many bytes will be written.
    pub fn bytes(&self) -> u64 {
        self.replacements.iter().map(|replacement| replacement.size).sum()
    }
}

/// What may be brought to copies that lack it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bringing {
    /// Every key file, also one that may have been removed.
    pub(crate) keys: bool,
    /// Packs that no index names.
    pub(crate) surplus: bool,
}

/// Makes the plan from what was seen.
pub(super) fn plan(survey: &Survey, places: &[String], bringing: Bringing) -> HealPlan {
    let mut plan = HealPlan::default();
    for (name, standing) in &survey.files {
        if standing.sound == 0 {
            plan.lost.extend(lost(survey, *name, standing, places));
            continue;
        }
        for number in (0..places.len()).filter(|number| survey.asked & (1 << number) != 0) {
            if standing.sound & (1 << number) != 0 {
                continue;
            }
            let damage = standing.bad.iter().find(|(copy, _)| *copy == number).map(|(_, why)| why.clone());
            if damage.is_none() && !is_brought(survey, *name, standing, number, bringing) {
                let left = match name.kind() {
                    FileKind::Key => &mut plan.keys_left,
                    FileKind::Snapshot => &mut plan.forgotten,
                    _ => &mut plan.surplus,
                };
                if left.last() != Some(name) {
                    left.push(*name);
                }
                continue;
            }
            plan.replacements.push(Replacement {
                number,
                copy: places.get(number).cloned().unwrap_or_default(),
                name: *name,
                size: standing.size,
                damage,
                sources: standing.sound,
            });
        }
    }
    plan.replacements.sort_by_key(|replacement| (replacement.number, rank(replacement.name), replacement.name));
    plan
}

/// The order of writing. `config` comes last: where it is missing, the place is no repository until all is there.
fn rank(name: FileName) -> u8 {
    match name.kind() {
        FileKind::Key => 0,
        FileKind::Pack => 1,
        FileKind::Index => 2,
        FileKind::Snapshot => 3,
        FileKind::Config | FileKind::Lock => 4,
    }
}

/// Whether a file is given to a copy that lacks it.
fn is_brought(survey: &Survey, name: FileName, standing: &Standing, number: usize, bringing: Bringing) -> bool {
    match name.kind() {
        FileKind::Pack => {
            let is_known = |id| survey.indexed.contains_key(&id) || survey.marked.get(&id) == Some(&true);
            bringing.surplus || name.id().is_some_and(is_known)
        }
        FileKind::Key => {
            let has_none = survey.sound_keys(number) == 0;
            let most_have_it = standing.sound.count_ones() * 2 > survey.asked.count_ones();
            bringing.keys || has_none || most_have_it || name.id() == Some(survey.key_in_use)
        }
        FileKind::Snapshot => name.id().is_none_or(|id| !survey.intended.contains(&id)),
        _ => true,
    }
}

fn lost(survey: &Survey, name: FileName, standing: &Standing, places: &[String]) -> Option<LostFile> {
    let is_needed = name.kind() != FileKind::Pack || name.id().is_some_and(|id| survey.indexed.contains_key(&id));
    let told = |(number, why): &(usize, String)| format!("{}: {why}", places.get(*number).map_or("?", String::as_str));
    let mut why: Vec<String> = standing.bad.iter().map(told).collect();
    if why.is_empty() {
        why.push("an index names it, and no copy has it".to_owned());
    }
    Some(LostFile { name, why, is_needed })
}
