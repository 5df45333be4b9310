//! What a quickstart says at its end: what to keep, what three folders on one disk are not, which commands come next.
//!
//! The commands are meant to be copied as they stand, so they name the program in a way that this shell finds.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use destinations::Location;

use super::home::Home;
use super::kit::{quote, quoted};
use crate::commands::copies::Places;
use crate::environment;
use crate::figures;

/// The name under which a shell finds programs of ours once they are installed.
const PROGRAM: &str = "triplicate";

/// The last lines of a quickstart.
pub(super) fn next_steps(home: &Home, locations: &[Location], source: &str, places: Places) -> Vec<String> {
    let program = program();
    let mut lines = vec![
        String::new(),
        "What to do next:".to_owned(),
        format!("- Print {}, or copy it to another place, and keep it.", home.kit.display()),
        "  Without the passphrase in it nobody can read the backups, and nobody can reset it.".to_owned(),
        "- Tell the commands below where the passphrase is:".to_owned(),
        format!("    export RESTIC_PASSWORD_FILE={}", quote(&home.passphrase.display().to_string())),
    ];
    if places.is_under_replicated() {
        lines.push(format!("- {}", warning(locations, places)));
        lines.push("  Add copies on other disks and servers, with one call for each:".to_owned());
        if let Some(first) = locations.first() {
            let first = quoted(first);
            lines.push(format!("    {program} -r {first} copies add /mnt/disk/backup"));
            lines.push(format!("    {program} -r {first} copies add rest:https://alice@host/alice/"));
            lines.push(format!("    {program} -r {first} copies add s3:https://endpoint/bucket/prefix"));
        }
        lines.push(format!("  Then list them in {}, remove the recovery kit, and call", home.config.display()));
        lines.push("  the quickstart again: it backs up into all of them and writes a kit that names them.".to_owned());
    }
    let copies = locations.iter().map(|location| format!("-r {}", quoted(location))).collect::<Vec<_>>().join(" ");
    lines.push("- Back up every day, look, and restore:".to_owned());
    lines.push(format!("    {program} {copies} backup {}", quote(source)));
    lines.push(format!("    {program} {copies} snapshots"));
    lines.push(format!("    {program} {copies} restore latest --target ./restored"));
    lines
}

/// Why these places are too few.
fn warning(locations: &[Location], places: Places) -> String {
    let copies = figures::count(locations.len() as u64, "folder");
    match (places.on_this_machine == locations.len(), places.distinct) {
        (true, 1) => format!("{copies} on one disk are not {} places: they die with the disk.", locations.len()),
        (true, _) => "All copies are on this machine: they die with it.".to_owned(),
        _ => format!("{}.", places.words()),
    }
}

/// `triplicate` where a shell finds this program under that name, or else the path of the running one.
fn program() -> String {
    let Ok(running) = std::env::current_exe() else { return PROGRAM.to_owned() };
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|stat| (stat.dev(), stat.ino()));
    let folders = environment::path("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join(PROGRAM)).find(|path| path.is_file());
    match found {
        Some(found) if identity(&found) == identity(&running) => PROGRAM.to_owned(),
        _ => quote(&running.display().to_string()),
    }
}
