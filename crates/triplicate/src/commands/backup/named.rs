//! Sources of the configuration: each is read on its own, with its hooks around it, and gets a snapshot of its own. One
//! that fails does not keep the others from theirs.

use std::path::PathBuf;

use config::{Source, What};
use model::Verdict;
use repository::backup::{BackupReport, BackupRequest, Given};
use serde_json::json;
use sources::hooks::{HookReport, Occasion, Outcome};

use super::sources::{current_folder, with_optional};
use super::{Arguments, Run, back_up, report, what_is_elsewhere};
use crate::failure::{Failure, code};
use crate::figures;
use crate::session::Session;
use crate::sites;

/// The tag that says which source a snapshot is of; retention groups by it.
const SOURCE_TAG: &str = "source:";

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    if arguments.sources.is_any() || arguments.streams.is_any() {
        return Err(Failure::usage("sources of the configuration and other ones are backed up one after the other"));
    }
    let config = sites::read_config(&session.global)?;
    let found = arguments.source.iter().map(|name| config.source(name));
    let found: Vec<&Source> = found.collect::<Result<_, _>>().map_err(|error| Failure::usage(error.to_string()))?;
    let mut failures = Vec::new();
    for source in &found {
        session.screen.remark(format!("source {}:", source.name))?;
        match one(session, arguments, source) {
            Ok(()) => {}
            // Of all sources, or of none any more: the same would happen to the next one.
            Err(failure) if is_of_all(&failure) => return Err(failure),
            Err(failure) => {
                session.screen.warn(format!("source `{}`: {}", source.name, failure.message));
                failure.hints.iter().for_each(|hint| session.screen.note(format!("hint: {hint}")));
                failures.push((source.name.as_str(), failure.code));
            }
        }
    }
    conclude(&failures, found.len())
}

fn is_of_all(failure: &Failure) -> bool {
    let codes = [code::NO_REPOSITORY, code::LOCKED, code::WRONG_PASSWORD, code::INTERRUPTED, code::USAGE];
    codes.contains(&failure.code)
}

fn conclude(failures: &[(&str, u8)], all: usize) -> Result<(), Failure> {
    if failures.is_empty() {
        return Ok(());
    }
    let names = |is_wanted: fn(u8) -> bool| {
        let wanted = failures.iter().filter(|(_, code)| is_wanted(*code));
        wanted.map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>()
    };
    let (partial, failed) = (names(|code| code == code::PARTIAL), names(|code| code != code::PARTIAL));
    let mut parts = Vec::new();
    if !failed.is_empty() {
        parts.push(format!(
            "{} of {} not backed up: {}",
            failed.len(),
            figures::count(all as u64, "source"),
            failed.join(", ")
        ));
    }
    if !partial.is_empty() {
        parts.push(format!("backed up in part: {}", partial.join(", ")));
    }
    let message = parts.join("; ");
    Err(if failed.len() == all { Failure::failed(message) } else { Failure::partial(message) })
}

/// Backs one source up, with its hooks.
fn one(session: &Session, arguments: &Arguments, source: &Source) -> Result<(), Failure> {
    let run = Run::begin(session)?;
    let mut occasion = Occasion { source: source.name.clone(), run: run.id.clone(), outcome: None };
    let begun = show_hooks(session, &source.hooks.before(&occasion, &session.cancel));
    let was_begun = begun.is_ok();
    let ended = begun.and_then(|()| read(session, arguments, source, &run));
    occasion.outcome = Some(match &ended {
        Ok(report) => Outcome { verdict: report.verdict, snapshot: report.id.map(|id| id.to_hex()), error: None },
        Err(failure) => Outcome { verdict: Verdict::Failed, snapshot: None, error: Some(failure.message.clone()) },
    });
    // Whatever happened, and whoever wants to stop: what the first hooks have stopped is to run again.
    let ended_well = show_hooks(session, &source.hooks.behind(&occasion, was_begun));
    report::conclude(&ended?)?;
    ended_well.map_err(|failure| Failure { code: code::PARTIAL, ..failure })
}

fn read(session: &Session, arguments: &Arguments, source: &Source, run: &Run) -> Result<BackupReport, Failure> {
    let what = match source.origin(session.runtime()).map_err(|error| Failure::failed(error.why))? {
        Some(origin) => {
            let folder = PathBuf::from("/").join(&source.name);
            what_is_elsewhere(session, Given { origin, paths: vec![folder.clone()], folder })
        }
        None => of_paths(session, source)?,
    };
    let (excludes, exclude_texts) = source.choice.excludes().map_err(Failure::failed)?;
    let (guards, allow_empty) = (source.choice.guards.clone(), source.choice.allow_empty);
    let what = BackupRequest { excludes, exclude_texts, guards, allow_empty, ..what };
    back_up(session, arguments, what, vec![format!("{SOURCE_TAG}{}", source.name)], run)
}

fn of_paths(session: &Session, source: &Source) -> Result<BackupRequest, Failure> {
    let What::Paths { required, optional } = &source.what else {
        return Err(Failure::failed("this kind of source cannot be read"));
    };
    let paths = with_optional(session, required.clone(), optional)?;
    Ok(BackupRequest::new(paths, current_folder()?, session.who.hostname.clone()))
}

/// Tells what hooks did; the first that failed is the error.
fn show_hooks(session: &Session, reports: &[HookReport]) -> Result<(), Failure> {
    let mut failed = None;
    for HookReport { moment, program, output, error } in reports {
        session.screen.json(&json!({
            "message_type": "hook",
            "moment": moment.word(),
            "program": program,
            "output": output,
            "error": error.as_ref().map(ToString::to_string),
        }))?;
        match error {
            Some(error) => {
                let message = format!("the hook `{}` failed: {error}", moment.word());
                session.screen.warn(&message);
                failed.get_or_insert(message);
            }
            None if !output.trim().is_empty() => {
                session.screen.remark(format!("hook {program}: {}", output.trim_end()))?
            }
            None => {}
        }
    }
    failed.map_or(Ok(()), |message| Err(Failure::failed(message)))
}
