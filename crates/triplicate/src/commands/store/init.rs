//! `store init`: the folders and the state of a new store.

use serde_json::json;
use store::{State, Vault};

use super::{DataFolder, failed};
use crate::failure::Failure;
use crate::session::Session;

/// Make a new store, with no accounts yet
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    data: DataFolder,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let folder = arguments.data.path()?;
    // The state last: whoever finds one finds a whole store.
    Vault::create(&folder).map_err(failed)?;
    State::create(&folder).map_err(failed)?;
    session.screen.json(&json!({ "message_type": "store_made", "folder": folder }))?;
    session.screen.line(format!("made a store in {}", folder.display()))
}
