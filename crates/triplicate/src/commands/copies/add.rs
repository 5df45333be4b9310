//! `copies add`: makes an empty place one more copy of the repository, and fills it.

use repository::copies::add::add;

use crate::failure::Failure;
use crate::password;
use crate::session::Session;
use crate::watch::Task;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The place, as for -r; it must be empty
    address: String,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    // Together with the others, so that a place that is a copy already is refused by name.
    let mut addresses = session.addresses()?;
    addresses.push(arguments.address.clone());
    let sites = session.sites_at(&addresses)?;
    let password = password::existing(&session.global)?;
    let (new, copies) = sites.split_last().ok_or_else(|| Failure::usage("no place was named"))?;
    {
        let watch = session.watch(Task::Sync);
        let repository = session.open_at(copies, &password, watch)?;
        add(&repository, session.destination(new)?)?;
    }
    // Only now: a file that stays on an append-only place would make it one that is not empty.
    if !super::probe::try_out(session, new)? {
        return Err(Failure::failed(format!("{} became a copy that cannot be used", new.location)));
    }
    super::sync::run_at(session, &sites, &password)
}
