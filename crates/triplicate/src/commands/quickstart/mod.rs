//! `quickstart`: from nothing to a first backup in three copies, proven by a restore that is compared byte by byte.
//!
//! Every step is made new or taken as it is, so that a second call, or one after an interruption, goes on with what is
//! there. Keys, passphrases and configurations are never overwritten.

mod compare;
mod home;
mod kit;
mod next_steps;
mod proof;
mod repository_step;
mod source;

use std::path::PathBuf;

use destinations::Location;
use model::Verdict;
use repository::backup::{BackupReport, BackupRequest, backup};
use serde_json::json;

use self::home::{Config, Home};
use self::kit::{Kit, write_if_missing};
use self::next_steps::next_steps;
use self::proof::Proof;
use self::source::Source;
use super::copies::{Places, distinct_places};
use crate::commands::{backup as backup_command, version};
use crate::failure::{Failure, code};
use crate::figures;
use crate::session::Session;
use crate::watch::Task;

/// Make a passphrase, a repository with three local copies and a recovery kit; back PATH up and prove that it restores
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The folder to back up
    path: PathBuf,
    /// Put a copy into this folder; several times for several copies. Without it, three folders of your account
    #[arg(long, value_name = "FOLDER")]
    copy: Vec<PathBuf>,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let screen = &session.screen;
    let home = Home::find()?;
    let config = Config::read(&home.config)?;
    let copies = chosen_copies(&home, config.as_ref(), arguments)?;
    let source = Source::look_at(&arguments.path, &copies, &home)?;
    for folder in &source.copies_inside {
        screen.note(format!("`{}` is inside the source and is left out: it belongs to the backup", folder.display()));
    }

    let passphrase = repository_step::passphrase(session, &home, config.as_ref(), &copies)?;
    let config = match config {
        Some(config) => {
            screen.remark(format!("configuration  {} (taken as it is)", home.config.display()))?;
            config
        }
        None => {
            let config = Config::write(&home, &copies, &source.path)?;
            screen.remark(format!("configuration  {} (new)", home.config.display()))?;
            config
        }
    };
    let locations = config.locations()?;
    let (repository_id, files) = repository_step::open_or_make(session, &locations, &passphrase)?;
    let kit = Kit {
        repository: repository_id,
        locations: &locations,
        passphrase: &passphrase,
        source: &source.path,
        date: session.clock.local().strftime("%Y-%m-%d").to_string(),
        hostname: &session.who.hostname,
        files: &files,
    };
    let state = if write_if_missing(&home, &kit)? { "new" } else { "taken as it is" };
    screen.remark(format!("recovery kit   {} ({state})", home.kit.display()))?;

    let report = back_up(session, &locations, &passphrase, &source)?;
    let proof = Proof::give(session, &locations, &passphrase, &source, &home, &report)?;
    let places = distinct_places(locations.iter());
    show_end(session, &home, &locations, &report, &proof, places)?;
    conclude(&report, &proof)
}

/// The copies that the configuration names, or else those that were asked for, or else three folders.
fn chosen_copies(home: &Home, config: Option<&Config>, arguments: &Arguments) -> Result<Vec<PathBuf>, Failure> {
    let absolute = |path: &PathBuf| {
        std::path::absolute(path).map_err(|error| crate::failure::local("find out the path of", path, error))
    };
    let asked: Vec<PathBuf> = arguments.copy.iter().map(absolute).collect::<Result<_, _>>()?;
    let Some(config) = config else {
        return Ok(if asked.is_empty() { home.default_copies() } else { asked });
    };
    let locations = config.locations()?;
    let local: Vec<PathBuf> = locations
        .iter()
        .filter_map(|location| match location {
            Location::Local(local) => Some(local.path.clone()),
            _ => None,
        })
        .collect();
    if !asked.is_empty() && asked != local {
        let message = format!("`{}` names other copies than --copy", home.config.display());
        return Err(Failure::usage(message).hint("leave --copy out to go on with them, or change the configuration"));
    }
    Ok(local)
}

fn back_up(
    session: &Session,
    locations: &[Location],
    passphrase: &model::Secret,
    source: &Source,
) -> Result<BackupReport, Failure> {
    let watch = session.watch(Task::Backup);
    let repository = session.open_at(&session.sites_of(locations)?, passphrase, watch.clone())?;
    let now = session.clock.local();
    let tags = backup_command::run_tags(now.timestamp())?;
    let request = BackupRequest {
        excludes: source.excludes()?,
        exclude_texts: source.exclude_texts(),
        tags: tags.to_vec(),
        time: Some(now),
        program_version: version::PROGRAM.to_owned(),
        compression: session.global.compression,
        ..BackupRequest::new(vec![source.path.clone()], PathBuf::from("/"), session.who.hostname.clone())
    };
    let report = {
        let _drawing = watch.draw();
        backup(&repository, &request)?
    };
    let id = report.id.map(|id| id.short()).unwrap_or_default();
    let files = figures::count(report.summary.total_files_processed, "file");
    let (bytes, time) = (figures::bytes(report.summary.total_bytes_processed), figures::duration(report.duration));
    session.screen.remark(format!("backup         snapshot {id}: {files}, {bytes} in {time}"))?;
    backup_command::show_behind(session, &report.copies);
    Ok(report)
}

fn show_end(
    session: &Session,
    home: &Home,
    locations: &[Location],
    report: &BackupReport,
    proof: &Proof,
    places: Places,
) -> Result<(), Failure> {
    let screen = &session.screen;
    let verdict = match conclude(report, proof) {
        Ok(()) => Verdict::Ok,
        Err(failure) if failure.code == code::PARTIAL => Verdict::Partial,
        Err(_) => Verdict::Failed,
    };
    screen.json(&json!({
        "message_type": "summary",
        "snapshot_id": report.id,
        "verdict": verdict,
        "config": home.config,
        "password_file": home.passphrase,
        "recovery_kit": home.kit,
        "copies": locations.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "distinct_places": places.distinct,
        "under_replicated": places.is_under_replicated(),
        "entries_compared": proof.comparison.entries,
        "bytes_compared": proof.comparison.bytes,
        "differences": proof.comparison.differences_count,
        "troubles": report.troubles.len(),
    }))?;
    let source = report.snapshot.paths.join(" ");
    next_steps(home, locations, &source, places).iter().try_for_each(|line| screen.remark(line))
}

fn conclude(report: &BackupReport, proof: &Proof) -> Result<(), Failure> {
    if proof.comparison.differences_count > 0 {
        let differences = figures::count(proof.comparison.differences_count, "difference");
        return Err(Failure::failed(format!("the restored files are not the source: {differences}, named above")));
    }
    let behind = report.copies.iter().filter(|outcome| outcome.fault.is_some()).count();
    let troubles = report.troubles.len() as u64;
    if behind > 0 {
        let of = report.copies.len();
        return Err(Failure::partial(format!("{behind} of {of} copies {} behind", figures::is_or_are(behind as u64)))
            .hint("call the quickstart again when they are reachable; it goes on with what is there"));
    }
    if let Err(failure) = &proof.check {
        return Err(Failure { code: failure.code, message: failure.message.clone(), hints: failure.hints.clone() });
    }
    if troubles > 0 {
        let entries = figures::count(troubles, "entry");
        return Err(Failure::partial(format!("the backup is partial: {entries} not saved as asked, named above")));
    }
    Ok(())
}
