//! `copies status`: which copies are complete, behind or unreachable, what storing them is a matter of, and when they were
//! last verified.
//!
//! What counts is what a restore may need: packs that an index names, index files, snapshots. Packs that no index names
//! are left-overs of broken runs and make no copy complete.

use std::collections::BTreeSet;

use destinations::{CostClass, Site};
use format::FileKind;
use jiff::Timestamp;
use model::Id;
use repository::copies::status::Holdings;
use repository::records::places::Rights;
use repository::records::read::{Day, Readings};
use repository::{RecordsFolder, Repository};
use serde_json::{Value, json};

use super::{Places, distinct_places};
use crate::failure::{Failure, code};
use crate::figures;
use crate::password;
use crate::session::Session;
use crate::table::Table;
use crate::watch::Task;

const DAY_SECONDS: i64 = 24 * 3600;

/// The columns of the table.
const HEADINGS: [&str; 7] = ["Copy", "State", "Files", "Size", "Last verified", "Storage", "Where"];

/// Where one copy stands.
#[derive(Debug)]
struct Standing {
    copy: String,
    kind: &'static str,
    is_local: bool,
    cost: CostClass,
    /// What a probe found once.
    rights: Option<Rights>,
    readings: Readings,
    error: Option<String>,
    files: u64,
    bytes: u64,
    missing_files: u64,
    missing_snapshots: u64,
    other_size: u64,
    missing_keys: u64,
}

impl Standing {
    fn is_healthy(&self) -> bool {
        self.error.is_none() && self.missing_files == 0 && self.other_size == 0
    }

    /// For a cell of a table, in several lines.
    fn words(&self) -> String {
        if self.error.is_some() {
            return "not usable".to_owned();
        }
        let mut parts = Vec::new();
        if self.missing_files > 0 {
            let (files, snapshots) = (self.missing_files, self.missing_snapshots);
            parts.push(format!("behind by {},", figures::count(files, "file")));
            parts.push(format!("of these {}", figures::count(snapshots, "snapshot")));
        }
        if self.other_size > 0 {
            parts.push(format!("{} of another size than elsewhere", figures::count(self.other_size, "file")));
        }
        if parts.is_empty() {
            parts.push("complete".to_owned());
        }
        if self.missing_keys > 0 {
            parts.push(format!("lacks {}", figures::count(self.missing_keys, "key")));
        }
        parts.join("\n")
    }

    fn verified(&self) -> String {
        let Readings { newest, oldest, never } = self.readings;
        let (Some(newest), Some(oldest)) = (newest.and_then(date), oldest.and_then(date)) else {
            return "never".to_owned();
        };
        match never {
            0 if newest == oldest => newest,
            0 => format!("{newest}\n(all since {oldest})"),
            never => format!("{newest}\n({} never)", figures::count(never, "pack")),
        }
    }

    fn storage(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.cost.storage_class.clone());
        if self.cost.is_archive {
            parts.push("archive".to_owned());
        }
        if self.cost.has_hot_place {
            parts.push("cold, with a hot place".to_owned());
        }
        if self.rights.is_some_and(|rights| !rights.can_remove) {
            parts.push("append-only".to_owned());
        }
        if parts.is_empty() { "usual".to_owned() } else { parts.join("\n") }
    }

    fn row(&self) -> [String; HEADINGS.len()] {
        let (files, bytes) = match self.error {
            Some(_) => Default::default(),
            None => (self.files.to_string(), figures::bytes(self.bytes)),
        };
        let place = if self.is_local { "here" } else { "off-site" };
        [self.copy.clone(), self.words(), files, bytes, self.verified(), self.storage(), place.to_owned()]
    }

    fn json(&self) -> Value {
        json!({
            "copy": self.copy,
            "kind": self.kind,
            "off_site": !self.is_local,
            "reachable": self.error.is_none(),
            "complete": self.is_healthy(),
            "files": self.files,
            "bytes": self.bytes,
            "missing_files": self.missing_files,
            "missing_snapshots": self.missing_snapshots,
            "missing_keys": self.missing_keys,
            "files_of_other_size": self.other_size,
            "storage_class": self.cost.storage_class,
            "archive": self.cost.is_archive,
            "cold": self.cost.has_hot_place,
            "append_only": self.rights.map(|rights| !rights.can_remove),
            "last_verified": self.readings.newest.and_then(date),
            "verified_since": self.readings.oldest.filter(|_| self.readings.never == 0).and_then(date),
            "packs_never_verified": self.readings.never,
            "error": self.error,
        })
    }
}

/// A day as records count it.
fn date(day: Day) -> Option<String> {
    let midnight = Timestamp::from_second(i64::from(day) * DAY_SECONDS).ok()?;
    Some(midnight.strftime("%F").to_string())
}

pub(super) fn run(session: &Session) -> Result<(), Failure> {
    let sites = session.sites()?;
    let repository = session.open_at(&sites, &password::existing(&session.global)?, session.watch(Task::Browse))?;
    let standings = standings(&repository, &sites, session.records().as_ref())?;
    let healthy = sites.iter().zip(&standings).filter(|(_, standing)| standing.is_healthy());
    let places = distinct_places(healthy.map(|(site, _)| &site.location));
    show(session, &standings, places)?;
    conclude(&standings)
}

fn standings(
    repository: &Repository,
    sites: &[Site],
    records: Option<&RecordsFolder>,
) -> Result<Vec<Standing>, Failure> {
    let copies = repository.copies();
    let packs_needed: BTreeSet<Id> = repository.indexed()?.index.packs().iter().copied().collect();
    let kinds = [FileKind::Key, FileKind::Index, FileKind::Snapshot, FileKind::Pack];
    let holdings: Vec<Holdings> =
        kinds.into_iter().map(|kind| Holdings::gather(copies, kind)).collect::<Result<_, _>>()?;
    let mut standings = Vec::new();
    for (number, (copy, site)) in copies.all().iter().zip(sites).enumerate() {
        let mut standing = Standing {
            copy: copy.place().to_owned(),
            kind: site.location.kind(),
            is_local: site.location.is_local(),
            cost: site.cost_class(),
            rights: records.and_then(|records| records.rights_at(copy.place())),
            readings: Readings::default(),
            error: copy.lost().map(ToString::to_string),
            files: 0,
            bytes: 0,
            missing_files: 0,
            missing_snapshots: 0,
            other_size: 0,
            missing_keys: 0,
        };
        if standing.error.is_none() {
            for held in &holdings {
                count(&mut standing, held, number, &packs_needed);
            }
            standing.readings = repository.read_log(copy.place()).readings(packs_needed.iter());
        }
        standings.push(standing);
    }
    Ok(standings)
}

fn count(standing: &mut Standing, holdings: &Holdings, number: usize, packs_needed: &BTreeSet<Id>) {
    let (files, bytes) = holdings.of(number);
    standing.files += files;
    standing.bytes += bytes;
    standing.other_size += holdings.files.values().filter(|held| held.other_size & (1 << number) != 0).count() as u64;
    let missing = |is_needed: &dyn Fn(&Id) -> bool| holdings.missing(number).filter(|(id, _)| is_needed(id)).count();
    match holdings.kind {
        FileKind::Key => standing.missing_keys += missing(&|_| true) as u64,
        FileKind::Pack => {
            // A pack that an index names and that no copy lists is missing too.
            let nowhere = packs_needed.iter().filter(|id| !holdings.files.contains_key(id)).count();
            standing.missing_files += (missing(&|id| packs_needed.contains(id)) + nowhere) as u64;
        }
        FileKind::Snapshot => {
            let snapshots = missing(&|_| true) as u64;
            standing.missing_snapshots += snapshots;
            standing.missing_files += snapshots;
        }
        _ => standing.missing_files += missing(&|_| true) as u64,
    }
}

fn show(session: &Session, standings: &[Standing], places: Places) -> Result<(), Failure> {
    let screen = &session.screen;
    screen.json(&json!({
        "message_type": "copies",
        "copies": standings.iter().map(Standing::json).collect::<Vec<_>>(),
        "distinct_places": places.distinct,
        "under_replicated": places.is_under_replicated(),
        "keys_differ": keys_differ(standings),
    }))?;
    let mut table = Table::new(HEADINGS);
    standings.iter().for_each(|standing| table.row(standing.row()));
    for Standing { copy, error, .. } in standings {
        if let Some(error) = error {
            table.footer(format!("copy {copy}: not usable: {error}"));
        }
    }
    table.lines().into_iter().try_for_each(|line| screen.line(line))?;
    if places.is_under_replicated() {
        screen.line(places.words())?;
    }
    Ok(())
}

fn keys_differ(standings: &[Standing]) -> bool {
    standings.iter().any(|standing| standing.missing_keys > 0)
}

fn conclude(standings: &[Standing]) -> Result<(), Failure> {
    let unreachable = standings.iter().filter(|standing| standing.error.is_some()).count();
    let behind = standings.iter().filter(|standing| standing.error.is_none() && !standing.is_healthy()).count();
    let of = standings.len();
    if unreachable + behind > 0 {
        let away = unreachable + behind;
        let message = format!("{away} of {of} copies {} behind", figures::is_or_are(away as u64));
        let mut failure = Failure::new(code::BEHIND, message);
        if unreachable > 0 {
            failure = failure.hint("make every copy reachable, then run `triplicate copies sync`");
        } else if standings.iter().any(|standing| standing.missing_files > 0) {
            failure = failure.hint("`triplicate copies sync` brings them up to date");
        }
        if standings.iter().any(|standing| standing.other_size > 0) {
            failure = failure.hint("`triplicate check` shows which of the files of different sizes are damaged");
        }
        return Err(failure);
    }
    if keys_differ(standings) {
        let message = "not every copy has the same keys: a password may open one copy and not another";
        let hint = "set the password again with `triplicate key add` while every copy is reachable";
        return Err(Failure::new(code::BEHIND, message).hint(hint));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(storage_class: Option<&str>, is_archive: bool, readings: Readings) -> Standing {
        let storage_class = storage_class.map(str::to_owned);
        Standing {
            copy: "s3:https://host/bucket".to_owned(),
            kind: "s3",
            is_local: false,
            cost: CostClass { storage_class, is_archive, has_hot_place: is_archive },
            rights: Some(Rights { can_remove: false, tried_second: 0 }),
            readings,
            error: None,
            files: 3,
            bytes: 5,
            missing_files: 2,
            missing_snapshots: 1,
            other_size: 0,
            missing_keys: 0,
        }
    }

    #[test]
    fn a_row_says_what_is_set_and_what_was_seen() {
        let readings = Readings { newest: Some(20_001), oldest: Some(20_000), never: 0 };
        let cold = standing(Some("DEEP_ARCHIVE"), true, readings);
        let storage = "DEEP_ARCHIVE\narchive\ncold, with a hot place\nappend-only";
        let expected = [
            "s3:https://host/bucket",
            "behind by 2 files,\nof these 1 snapshot",
            "3",
            "5 B",
            "2024-10-05\n(all since 2024-10-04)",
            storage,
            "off-site",
        ];
        assert_eq!(cold.row(), expected);
        assert_eq!((&cold.json()["verified_since"], &cold.json()["archive"]), (&"2024-10-04".into(), &true.into()));
        let readings = Readings { never: 1, ..readings };
        let usual = standing(Some("STANDARD_IA"), false, readings);
        assert_eq!(
            (usual.verified(), usual.storage()),
            ("2024-10-05\n(1 pack never)".into(), "STANDARD_IA\nappend-only".into())
        );
        assert!(usual.json()["verified_since"].is_null());
        assert_eq!(standing(None, false, Readings::default()).verified(), "never");
    }
}
