//! `cache`: what this machine keeps of repositories to be faster, and removing what nobody uses any more.

use model::Id;
use serde_json::{Value, json};

use crate::failure::{self, Failure};
use crate::figures;
use crate::session::Session;
use crate::table::Table;

/// Days without use after which `--cleanup` removes a cache, as in restic.
const AGE_DAYS_MAX: u32 = 30;
const DAY_SECONDS: i64 = 24 * 3600;

/// List the caches of this machine, and remove old ones
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Remove caches that have not been used for a while
    #[arg(long)]
    cleanup: bool,
    /// How many days without use are a while
    #[arg(long, value_name = "DAYS", default_value_t = AGE_DAYS_MAX)]
    max_age: u32,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let Some(folder) = session.cache() else {
        let hint = "name a folder with --cache-dir or RESTIC_CACHE_DIR, and leave out --no-cache";
        return Err(Failure::usage("there is no folder for caches").hint(hint));
    };
    let now = session.clock.now().as_second();
    let zone = session.clock.time_zone();
    let is_old = |used: i64| now.saturating_sub(used) > i64::from(arguments.max_age) * DAY_SECONDS;
    let mut table = Table::new(["Repository", "Last used", "Size"]);
    let mut documents = Vec::new();
    for cached in folder.repositories() {
        let is_removed = arguments.cleanup && is_old(cached.used_seconds);
        if is_removed {
            folder.forget(&cached.id).map_err(|error| failure::local("remove the cache in", folder.root(), error))?;
        }
        let used = format::Moment { seconds: cached.used_seconds, nanoseconds: 0, offset_seconds: 0 };
        let used = figures::moment(&used, &zone);
        documents.push(document(&cached.id, &used, cached.bytes, is_removed));
        if arguments.cleanup && !is_removed {
            continue;
        }
        table.row([cached.id.short(), used, figures::bytes(cached.bytes)]);
    }
    session.screen.json(&documents)?;
    let count = documents.iter().filter(|document| !arguments.cleanup || document["removed"] == true).count();
    let count = figures::count(count as u64, "cache");
    let root = folder.root().display();
    if arguments.cleanup {
        table.footer(format!("{count} removed from {root}"));
    } else {
        table.footer(format!("{count} in {root}"));
    }
    table.lines().into_iter().try_for_each(|line| session.screen.line(line))
}

fn document(id: &Id, used: &str, bytes: u64, is_removed: bool) -> Value {
    json!({ "repository": id, "last_used": used, "size": bytes, "removed": is_removed })
}
