//! `version`.

use serde_json::json;

use crate::failure::Failure;
use crate::session::Session;

/// Show the version
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

/// The name and version that snapshots bear.
pub(crate) const PROGRAM: &str = concat!("triplicate ", env!("CARGO_PKG_VERSION"));

pub(super) fn run(session: &Session) -> Result<(), Failure> {
    let (system, machine) = (std::env::consts::OS, std::env::consts::ARCH);
    session.screen.json(&json!({
        "message_type": "version",
        "version": env!("CARGO_PKG_VERSION"),
        "os": system,
        "arch": machine,
    }))?;
    session.screen.line(format!("{PROGRAM} on {system}/{machine}"))
}
