//! Packs that lie in an archive: asked for together, and waited for.
//!
//! Only what no copy can give at once is asked for, and from one copy. Asking and waiting are apart: what was asked for
//! gets warm whether or not somebody waits, so that whoever was interrupted goes on where it was by asking again.

use std::collections::HashSet;
use std::time::Duration;

use destinations::{Destination, Warmth};
use format::{FileKind, FileName};
use futures::StreamExt as _;
use futures::stream;
use model::{Fault, Id};

use super::CopySet;
use super::status::Holdings;
use crate::error::{Error, Result};
use crate::observer::{Cancel, Event};

/// Questions under way at one time; each place has its own limit below that.
const QUESTIONS_AT_ONCE: usize = 16;
/// Questions between two looks at whether the user wants to stop.
const QUESTIONS_IN_A_ROW: usize = 256;
/// How often somebody who waits looks whether he should stop.
const CANCEL_POLL: Duration = Duration::from_millis(100);

/// How long to wait for an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Altogether; zero asks and does not wait.
    pub total: Duration,
    /// Between two looks.
    pub poll: Duration,
}

impl Default for Patience {
    /// Two days, the time of the slowest archive, with a look every five minutes.
    fn default() -> Self {
        Self { total: Duration::from_secs(48 * 3600), poll: Duration::from_secs(300) }
    }
}

/// Packs that cannot be read now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ColdPacks {
    packs: Vec<ColdPack>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ColdPack {
    name: FileName,
    size: u64,
    /// The copy to ask.
    number: usize,
    warmth: Warmth,
}

impl ColdPacks {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.packs.len() as u64
    }

    /// Their bytes.
    pub fn bytes(&self) -> u64 {
        self.packs.iter().map(|pack| pack.size).sum()
    }
}

/// Whether any copy may be cold, so that it is worth finding out what will be read.
pub(crate) fn is_worth_asking(copies: &CopySet) -> bool {
    copies.live().any(|(_, copy)| copy.destination().may_be_cold())
}

/// Which of these packs no copy can give now.
pub(crate) fn find(copies: &CopySet, needed: &HashSet<Id>, cancel: &Cancel) -> Result<ColdPacks> {
    if needed.is_empty() || !is_worth_asking(copies) {
        return Ok(ColdPacks::default());
    }
    let cold: u64 = copies.live().filter(|(_, copy)| copy.destination().may_be_cold()).map(|(n, _)| 1 << n).sum();
    let holdings = Holdings::gather(copies, FileKind::Pack)?;
    let mut packs: Vec<(FileName, u64, u64)> = Vec::new();
    for id in needed {
        // What nobody lists is told by whoever reads it.
        let Some(held) = holdings.files.get(id).filter(|held| held.copies & !cold == 0) else { continue };
        packs.push((FileName::pack(*id), held.size, held.copies));
    }
    packs.sort_unstable();
    let mut found = Vec::new();
    for some in packs.chunks(QUESTIONS_IN_A_ROW) {
        cancel.check()?;
        let asked = some.iter().map(|&(name, size, holders)| look(copies, name, size, holders));
        let looks: Vec<_> = copies.wait(stream::iter(asked).buffer_unordered(QUESTIONS_AT_ONCE).collect());
        for look in looks {
            found.extend(look?);
        }
    }
    found.sort_unstable_by_key(|pack| pack.name);
    Ok(ColdPacks { packs: found })
}

/// The warmest of the copies that have a pack; none when one of them can give it now.
async fn look(copies: &CopySet, name: FileName, size: u64, holders: u64) -> Result<Option<ColdPack>, Fault> {
    let mut best: Option<ColdPack> = None;
    let mut trouble = None;
    for (number, copy) in copies.live().filter(|(number, _)| holders & (1 << number) != 0) {
        match copy.destination().warmth(name).await {
            Ok(Warmth::Warm) => return Ok(None),
            Ok(warmth) if best.is_none() || warmth == Warmth::Warming => {
                best = Some(ColdPack { name, size, number, warmth });
            }
            Ok(_) => {}
            Err(fault) => trouble = Some(fault),
        }
    }
    match (best, trouble) {
        (None, Some(fault)) => Err(fault),
        (best, _) => Ok(best),
    }
}

/// Sees to it that these packs can be read, for whoever asks an archive only where the user says so.
///
/// # Errors
/// Without patience when anything would have to be asked for, and as [`warm_up`].
pub(crate) fn make_warm(
    copies: &CopySet,
    needed: &HashSet<Id>,
    patience: Option<Patience>,
    cancel: &Cancel,
) -> Result<()> {
    let cold = find(copies, needed, cancel)?;
    match patience {
        Some(patience) => warm_up(copies, cold, patience, cancel),
        None if cold.packs.is_empty() => Ok(()),
        None => Err(Error::Refused {
            why: format!(
                "{} packs with {} bytes would have to be read and lie in an archive ({})",
                cold.count(),
                cold.bytes(),
                places(copies, &cold.packs)
            ),
            hint: "`--warm-up-wait 48h` asks for them and waits, which costs what the archive takes for that"
                .to_owned(),
        }),
    }
}

/// Asks for the packs that were not asked for, and waits until all can be read.
///
/// # Errors
/// [`Error::StillCold`] when the patience is over: what was asked for goes on getting warm.
pub(crate) fn warm_up(copies: &CopySet, cold: ColdPacks, patience: Patience, cancel: &Cancel) -> Result<()> {
    let mut left = cold.packs;
    if left.is_empty() {
        return Ok(());
    }
    let started = copies.clock().monotonic();
    let tell = |left: &[ColdPack]| {
        let bytes = left.iter().map(|pack| pack.size).sum();
        copies.observer().event(Event::WarmingUp { packs: left.len() as u64, bytes });
    };
    tell(&left);
    for some in left.chunks(QUESTIONS_IN_A_ROW) {
        cancel.check()?;
        let cold = some.iter().filter(|pack| pack.warmth == Warmth::Cold);
        let asked = cold.map(|pack| place(copies, pack).warm_up(pack.name));
        let answers: Vec<_> = copies.wait(stream::iter(asked).buffer_unordered(QUESTIONS_AT_ONCE).collect());
        answers.into_iter().collect::<Result<(), Fault>>()?;
    }
    loop {
        let before = left.len();
        left = still_cold(copies, left, cancel)?;
        if left.is_empty() {
            return Ok(());
        }
        if left.len() < before {
            tell(&left);
        }
        let waited = copies.clock().monotonic().saturating_sub(started);
        let rest = patience.total.saturating_sub(waited);
        if rest.is_zero() {
            return Err(Error::StillCold { places: places(copies, &left), packs: left.len() as u64 });
        }
        pause(copies, patience.poll.min(rest), cancel)?;
    }
}

fn still_cold(copies: &CopySet, left: Vec<ColdPack>, cancel: &Cancel) -> Result<Vec<ColdPack>> {
    let mut cold = Vec::new();
    for some in left.chunks(QUESTIONS_IN_A_ROW) {
        cancel.check()?;
        let asked = some.iter().map(|pack| async move { (*pack, place(copies, pack).warmth(pack.name).await) });
        let answers: Vec<_> = copies.wait(stream::iter(asked).buffered(QUESTIONS_AT_ONCE).collect());
        for (pack, warmth) in answers {
            if warmth? != Warmth::Warm {
                cold.push(pack);
            }
        }
    }
    Ok(cold)
}

fn place<'a>(copies: &'a CopySet, pack: &ColdPack) -> &'a dyn Destination {
    copies.all()[pack.number].destination().as_ref()
}

/// The copies that these packs are asked of, for people.
fn places(copies: &CopySet, packs: &[ColdPack]) -> String {
    copies.places_of(packs.iter().fold(0, |bits, pack| bits | 1 << pack.number))
}

fn pause(copies: &CopySet, time: Duration, cancel: &Cancel) -> Result<()> {
    let mut left = time;
    while !left.is_zero() {
        cancel.check()?;
        let step = left.min(CANCEL_POLL);
        copies.wait(async { tokio::time::sleep(step).await });
        left -= step;
    }
    Ok(())
}
