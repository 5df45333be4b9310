//! `repair config`: `config` and a key come back from the recovery kit.

use std::path::PathBuf;

use repository::repair::config::restore_kit;
use repository::repair::kit::KitFiles;
use serde_json::json;

use crate::failure::{Failure, local};
use crate::password;
use crate::session::Session;
use crate::watch::Task;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The recovery kit, as `quickstart` wrote it, or typed in from paper
    #[arg(long, value_name = "FILE")]
    kit: PathBuf,
    /// Change nothing; show what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let text = std::fs::read_to_string(&arguments.kit).map_err(|error| local("read", &arguments.kit, error))?;
    let kit = KitFiles::parse(&text)?;
    let destinations = session.destinations(&session.sites()?)?;
    let password = password::existing(&session.global)?;
    let surroundings = session.surroundings(session.watch(Task::Browse));
    let report = restore_kit(destinations, &kit, &password, &surroundings, arguments.dry_run)?;
    session.screen.json(&json!({
        "message_type": "summary",
        "repository": report.repository,
        "dry_run": arguments.dry_run,
        "places": report.places.iter().map(|place| json!({
            "copy": place.place,
            "files_opened": place.proofs,
            "config_written": place.config_written,
            "key_written": place.key_written,
        })).collect::<Vec<_>>(),
    }))?;
    for place in &report.places {
        let would = if arguments.dry_run { "would be " } else { "" };
        let what = match (place.config_written, place.key_written) {
            (true, true) => format!("`config` and a key {would}written"),
            (true, false) => format!("`config` {would}written"),
            (false, true) => format!("a key {would}written"),
            (false, false) => "nothing is missing".to_owned(),
        };
        session.screen.line(format!("{}: {what}", place.place))?;
    }
    Ok(())
}
