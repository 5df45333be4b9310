//! `man`: the manual pages.

use std::path::PathBuf;

use crate::arguments;
use crate::failure::{Failure, local};
use crate::session::Session;

/// Write manual pages into a folder, one for each command
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The folder; it is made when it is not there
    folder: PathBuf,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let folder = &arguments.folder;
    std::fs::create_dir_all(folder).map_err(|error| local("make folder", folder, error))?;
    clap_mangen::generate_to(arguments::command_line(), folder)
        .map_err(|error| local("write manual pages into", folder, error))?;
    session.screen.remark(format!("manual pages written into `{}`", folder.display()))
}
