//! `copies probe`: may we list, write, read back and remove at each place, and how fast is it?

use destinations::Site;
use repository::copies::probe::{Probe, ProbeFailure, probe};
use serde_json::json;

use crate::failure::Failure;
use crate::figures;
use crate::session::Session;

/// The word for a place that is append-only for this credential, beside those of failures.
const NO_DELETE_PERMISSION: &str = "no_delete_permission";

pub(super) fn run(session: &Session) -> Result<(), Failure> {
    let mut failed = 0;
    let sites = session.sites()?;
    for site in &sites {
        failed += usize::from(!try_out(session, site)?);
    }
    match failed {
        0 => Ok(()),
        failed if failed == sites.len() => Err(Failure::failed("no copy can be used")),
        failed => Err(Failure::partial(format!("{failed} of {} copies cannot be used", sites.len()))),
    }
}

/// Tries one place and shows what was seen; false when it cannot be used.
pub(super) fn try_out(session: &Session, site: &Site) -> Result<bool, Failure> {
    let place = session.destination(site)?;
    let seen = probe(place.as_ref(), session.runtime(), session.clock.as_ref());
    if let (Ok(probe), Some(records)) = (&seen, session.records()) {
        records.note_rights(place.place(), probe.can_remove, session.clock.now());
    }
    show(session, place.place(), &seen)?;
    Ok(seen.is_ok())
}

fn show(session: &Session, place: &str, seen: &Result<Probe, ProbeFailure>) -> Result<(), Failure> {
    let screen = &session.screen;
    match seen {
        Ok(probe) => {
            screen.json(&json!({
                "message_type": "probe",
                "copy": place,
                "usable": true,
                "append_only": !probe.can_remove,
                "code": (!probe.can_remove).then_some(NO_DELETE_PERMISSION),
                "latency_seconds": probe.latency.as_secs_f64(),
                "upload_bytes_per_second": probe.upload_bytes_per_second,
                "download_bytes_per_second": probe.download_bytes_per_second,
                "files": probe.files,
                "bytes": probe.bytes,
            }))?;
            let rights = if probe.can_remove { "list, write, read, remove" } else { "list, write, read; append-only" };
            screen.line(format!(
                "copy {place}: {rights}; answers in {:.1} ms, {}/s up, {}/s down",
                probe.latency.as_secs_f64() * 1000.0,
                figures::bytes(probe.upload_bytes_per_second),
                figures::bytes(probe.download_bytes_per_second),
            ))
        }
        Err(failure) => {
            screen.json(&json!({
                "message_type": "probe",
                "copy": place,
                "usable": false,
                "code": failure.lack.word(),
                "error": failure.fault.to_string(),
            }))?;
            screen.line(format!("copy {place}: {failure}"))
        }
    }
}
