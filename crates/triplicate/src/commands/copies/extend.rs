//! `copies extend`: keeps what snapshots need from being removed for so many days more.

use repository::copies::extend::{CopyExtended, ExtendReport, extend};
use serde_json::json;

use crate::failure::{Failure, code};
use crate::figures;
use crate::session::Session;
use crate::watch::Task;

pub(super) fn run(session: &Session) -> Result<(), Failure> {
    let watch = session.watch(Task::Sync);
    let repository = session.open(watch.clone())?;
    let report = {
        let _drawing = watch.draw();
        extend(&repository)?
    };
    show(session, &report)?;
    let failed = report.copies.iter().filter(|end| end.fault.is_some()).count();
    match failed {
        0 => Ok(()),
        _ if failed == report.copies.len() => Err(Failure::new(code::FAILED, "no copy could be locked")),
        _ => Err(Failure::partial(format!(
            "{failed} of {} copies are not locked as they should be",
            report.copies.len()
        ))),
    }
}

fn show(session: &Session, report: &ExtendReport) -> Result<(), Failure> {
    let screen = &session.screen;
    let copy = |end: &CopyExtended| {
        json!({
            "copy": end.copy,
            "until": end.until.map(|until| until.to_string()),
            "files": end.files,
            "error": end.fault.as_ref().map(ToString::to_string),
        })
    };
    screen.json(&json!({
        "message_type": "summary",
        "verdict": report.verdict.word(),
        "copies": report.copies.iter().map(copy).collect::<Vec<_>>(),
    }))?;
    for end in &report.copies {
        let files = figures::count(end.files, "file");
        screen.line(match (&end.until, &end.fault) {
            (None, _) => format!("copy {}: locks nothing", end.copy),
            (Some(until), None) => format!("copy {}: {files} locked until {until}", end.copy),
            (Some(until), Some(fault)) => format!("copy {}: only {files} locked until {until}: {fault}", end.copy),
        })?;
    }
    Ok(())
}
