//! `copies`: the copies of the repository beside each other.

mod add;
mod extend;
mod heal;
mod places;
mod probe;
mod remove;
mod status;
mod sync;

pub(crate) use places::{Places, distinct_places};

use crate::failure::Failure;
use crate::session::Session;

/// Show which copies are complete, and bring those that are behind up to date
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show which copies are complete, behind or unreachable; exit code 21 when one is behind
    Status,
    /// Give every copy what another has and it lacks
    Sync,
    /// Replace what is damaged or missing on one copy from a copy that has it sound
    Heal(heal::Arguments),
    /// Try each place: list, write, read back, remove; show how fast it is
    Probe,
    /// Keep what snapshots need from being removed for so many days more, in buckets with object lock
    Extend,
    /// Make an empty place one more copy, and fill it
    Add(add::Arguments),
    /// Remove a copy from its place, when another has everything
    Remove(remove::Arguments),
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.action {
        None | Some(Action::Status) => status::run(session),
        Some(Action::Sync) => sync::run(session),
        Some(Action::Heal(arguments)) => heal::run(session, arguments),
        Some(Action::Probe) => probe::run(session),
        Some(Action::Extend) => extend::run(session),
        Some(Action::Add(arguments)) => add::run(session, arguments),
        Some(Action::Remove(arguments)) => remove::run(session, arguments),
    }
}
