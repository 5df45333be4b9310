//! `copies add`: makes an empty place one more copy of the repository, and fills it.

use repository::copies::add::add;

use crate::failure::Failure;
use crate::password;
use crate::session::{Session, parse_locations};
use crate::watch::Task;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The place, as for -r; it must be empty
    address: String,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let mut locations = session.locations()?;
    // Together with the others, so that a place that is a copy already is refused by name.
    let mut texts: Vec<String> = session.addresses()?;
    texts.push(arguments.address.clone());
    let all = parse_locations(&texts)?;
    let password = password::existing(&session.global)?;
    let new = all.into_iter().next_back().ok_or_else(|| Failure::usage("no place was named"))?;
    {
        let watch = session.watch(Task::Sync);
        let repository = session.open_at(&locations, &password, watch)?;
        add(&repository, session.destination(&new)?)?;
    }
    locations.push(new);
    super::sync::run_at(session, &locations, &password)
}
