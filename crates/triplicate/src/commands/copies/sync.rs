//! `copies sync`: gives every copy what another has and it lacks.

use destinations::Site;
use model::Secret;
use repository::copies::sync::{SyncReport, sync};
use serde_json::json;

use crate::commands::backup::show_behind;
use crate::failure::{Failure, code};
use crate::figures;
use crate::json;
use crate::password;
use crate::session::Session;
use crate::watch::Task;

pub(super) fn run(session: &Session) -> Result<(), Failure> {
    run_at(session, &session.sites()?, &password::existing(&session.global)?)
}

pub(super) fn run_at(session: &Session, sites: &[Site], password: &Secret) -> Result<(), Failure> {
    let watch = session.watch(Task::Sync);
    let repository = session.open_at(sites, password, watch.clone())?;
    let report = {
        let _drawing = watch.draw();
        sync(&repository)?
    };
    show(session, &report)?;
    conclude(&report)
}

fn show(session: &Session, report: &SyncReport) -> Result<(), Failure> {
    let screen = &session.screen;
    screen.json(&json!({
        "message_type": "summary",
        "verdict": report.verdict.word(),
        "missing_files": report.missing_files,
        "keys_differ": report.keys_differ,
        "copies": report.copies.iter().map(json::CopyEnd::from).collect::<Vec<_>>(),
    }))?;
    for outcome in report.copies.iter().filter(|outcome| outcome.fault.is_none()) {
        let (files, bytes) = (figures::count(outcome.files_written, "file"), figures::bytes(outcome.bytes_written));
        screen.line(match outcome.files_written {
            0 => format!("copy {}: complete", outcome.copy),
            _ => format!("copy {}: complete, {files} added ({bytes})", outcome.copy),
        })?;
    }
    show_behind(session, &report.copies);
    if report.keys_differ {
        screen.warn("not every copy has the same keys; they are left alone, so that no removed password comes back");
    }
    Ok(())
}

fn conclude(report: &SyncReport) -> Result<(), Failure> {
    let behind = report.copies.iter().filter(|outcome| outcome.fault.is_some()).count();
    let of = report.copies.len();
    match behind {
        0 => Ok(()),
        behind if behind == of => Err(Failure::new(code::FAILED, "no copy could be brought up to date")),
        behind => {
            Err(Failure::partial(format!("{behind} of {of} copies {} still behind", figures::is_or_are(behind as u64)))
                .hint("run `triplicate copies sync` again when they are reachable"))
        }
    }
}
