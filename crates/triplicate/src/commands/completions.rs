//! `completions`: what a shell needs to complete our words.

use clap_complete::Shell;

use crate::arguments;
use crate::failure::Failure;
use crate::screen;
use crate::session::Session;

/// Write shell completions to standard output
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    // Into memory first: the generator panics when its output goes away.
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut arguments::command_line(), "triplicate", &mut text);
    let mut output = session.screen.raw();
    std::io::Write::write_all(&mut *output, &text).map_err(screen::output_failed)
}
