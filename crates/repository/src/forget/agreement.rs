//! Whether what the copies list can be believed, before anything is concluded from it.

use std::collections::BTreeMap;

use model::Id;

use crate::copies::status::{Held, Holdings};
use crate::error::{Error, Result};
use crate::repository::Repository;

/// Differences that are named in a refusal.
const NAMED_MAX: usize = 5;

/// The snapshots that the copies list.
#[derive(Debug)]
pub(super) struct Agreement {
    /// Who has what.
    pub(super) holdings: Holdings,
    /// Those that some copies have only because they were to be removed and were not, or not yet.
    pub(super) leftovers: Vec<Id>,
}

impl Agreement {
    /// Refuses listings from which nothing may be concluded.
    ///
    /// # Errors
    /// When a named copy is away, lists far fewer snapshots than this machine saw there before (unless
    /// `believe_listings`), or has other snapshots than the others have.
    pub(super) fn reach(repository: &Repository, holdings: Holdings, believe_listings: bool) -> Result<Self> {
        refuse_if_away(repository, &holdings)?;
        if !believe_listings {
            refuse_if_shrunk(repository, &holdings)?;
        }
        let intents = repository.intents();
        let (everywhere, partly): (Vec<_>, Vec<_>) =
            holdings.files.iter().partition(|(_, held)| held.copies == holdings.asked);
        refuse_other_sizes(repository, &holdings)?;
        let unexplained: Vec<_> = partly.iter().filter(|(id, _)| !intents.contains_key(id)).copied().collect();
        refuse_disagreement(repository, &holdings, &unexplained)?;
        let back: Vec<Id> = everywhere.iter().filter(|(id, _)| intents.contains_key(id)).map(|(id, _)| **id).collect();
        repository.drop_intent(&back);
        let leftovers = partly.into_iter().map(|(id, _)| *id).collect();
        Ok(Self { holdings, leftovers })
    }

    /// What was listed, to see later whether it still is.
    pub(super) fn listed(holdings: &Holdings) -> BTreeMap<Id, u64> {
        holdings.files.iter().map(|(id, held)| (*id, held.copies)).collect()
    }
}

fn refuse_if_away(repository: &Repository, holdings: &Holdings) -> Result<()> {
    for (number, copy) in repository.copies().all().iter().enumerate() {
        if copy.is_live() && holdings.asked & (1 << number) != 0 {
            continue;
        }
        let why = copy.lost().map_or_else(|| "it did not answer".to_owned(), ToString::to_string);
        return Err(Error::Refused {
            why: format!("copy {} cannot be used: {why}; nothing was removed", copy.place()),
            hint: "forget needs every copy that is named, or a copy that is away would keep what the others lose"
                .to_owned(),
        });
    }
    Ok(())
}

fn refuse_if_shrunk(repository: &Repository, holdings: &Holdings) -> Result<()> {
    let Some(shrunk) = repository.shrunk(holdings).into_iter().next() else { return Ok(()) };
    let (copy, now, before) = (shrunk.copy, shrunk.now.files, shrunk.before.files);
    Err(Error::Refused {
        why: format!(
            "copy {copy} lists {now} snapshots, and {before} when this machine looked last; nothing was removed"
        ),
        hint: "run `triplicate check`; if snapshots were removed from elsewhere, --believe-listings goes on".to_owned(),
    })
}

fn refuse_other_sizes(repository: &Repository, holdings: &Holdings) -> Result<()> {
    let Some((id, held)) = holdings.files.iter().find(|(_, held)| held.other_size != 0) else { return Ok(()) };
    Err(Error::Refused {
        why: format!(
            "snapshot {} has another size on {} than on other copies; nothing was removed",
            id.short(),
            repository.copies().places_of(held.other_size),
        ),
        hint: "run `triplicate check --read-data` to see which copy is damaged".to_owned(),
    })
}

fn refuse_disagreement(repository: &Repository, holdings: &Holdings, differences: &[(&Id, &Held)]) -> Result<()> {
    if differences.is_empty() {
        return Ok(());
    }
    let named = differences.iter().take(NAMED_MAX).map(|(id, held)| {
        format!("{} is missing on {}", id.short(), repository.copies().places_of(holdings.asked & !held.copies))
    });
    let mut named: Vec<String> = named.collect();
    if differences.len() > NAMED_MAX {
        named.push(format!("{} more", differences.len() - NAMED_MAX));
    }
    Err(Error::Refused {
        why: format!("the copies disagree: snapshot {}; nothing was removed", named.join(", ")),
        hint: "`triplicate copies sync` brings every copy up to date; then forget again".to_owned(),
    })
}
