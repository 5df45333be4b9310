//! `copies status`: which copies are complete, behind or unreachable.
//!
//! What counts is what a restore may need: packs that an index names, index files, snapshots. Packs that no index names
//! are left-overs of broken runs and make no copy complete.

use std::collections::BTreeSet;

use destinations::Site;
use format::FileKind;
use model::Id;
use repository::Repository;
use repository::copies::status::Holdings;
use serde_json::{Value, json};

use super::{Places, distinct_places};
use crate::failure::{Failure, code};
use crate::figures;
use crate::password;
use crate::session::Session;
use crate::watch::Task;

/// Where one copy stands.
#[derive(Debug, Default)]
struct Standing {
    copy: String,
    kind: &'static str,
    is_local: bool,
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

    fn words(&self) -> String {
        if let Some(error) = &self.error {
            return format!("not usable: {error}");
        }
        let mut parts = Vec::new();
        if self.missing_files > 0 {
            let (files, snapshots) = (self.missing_files, self.missing_snapshots);
            let (files, snapshots) = (figures::count(files, "file"), figures::count(snapshots, "snapshot"));
            parts.push(format!("behind by {files}, of these {snapshots}"));
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
        if self.is_local {
            parts.push("not off-site".to_owned());
        }
        parts.join("; ")
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
            "error": self.error,
        })
    }
}

pub(super) fn run(session: &Session) -> Result<(), Failure> {
    let sites = session.sites()?;
    let repository = session.open_at(&sites, &password::existing(&session.global)?, session.watch(Task::Browse))?;
    let standings = standings(&repository, &sites)?;
    let healthy = sites.iter().zip(&standings).filter(|(_, standing)| standing.is_healthy());
    let places = distinct_places(healthy.map(|(site, _)| &site.location));
    show(session, &standings, places)?;
    conclude(&standings)
}

fn standings(repository: &Repository, sites: &[Site]) -> Result<Vec<Standing>, Failure> {
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
            error: copy.lost().map(ToString::to_string),
            ..Standing::default()
        };
        if standing.error.is_none() {
            for held in &holdings {
                count(&mut standing, held, number, &packs_needed);
            }
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
    for standing in standings {
        let (files, bytes) = (figures::count(standing.files, "file"), figures::bytes(standing.bytes));
        screen.line(format!("copy {}: {files}, {bytes}: {}", standing.copy, standing.words()))?;
    }
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
