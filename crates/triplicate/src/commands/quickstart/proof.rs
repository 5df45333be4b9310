//! The proof that a backup is worth something: every copy is checked whole, and a restore is compared with the source.

use std::collections::BTreeSet;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use destinations::Location;
use model::Secret;
use repository::backup::BackupReport;
use repository::check::{CheckRequest, ReadData, check};
use repository::locks::LockMode;
use repository::restore::{RestoreRequest, restore};

use super::compare::{Comparison, Rules, compare};
use super::home::Home;
use super::source::Source;
use crate::commands::check as check_command;
use crate::failure::{Failure, local};
use crate::figures;
use crate::session::Session;
use crate::watch::Task;

/// What the proof found.
pub(super) struct Proof {
    /// What the check of the copies says.
    pub(super) check: Result<(), Failure>,
    pub(super) comparison: Comparison,
}

/// Where the proof restores to.
pub(super) fn scratch_folder(home: &Home) -> Option<PathBuf> {
    home.copies.parent().map(|data| data.join("proof-restore"))
}

impl Proof {
    /// Checks, restores and compares.
    pub(super) fn give(
        session: &Session,
        locations: &[Location],
        passphrase: &Secret,
        source: &Source,
        home: &Home,
        report: &BackupReport,
    ) -> Result<Self, Failure> {
        let check = check_copies(session, locations, passphrase)?;
        let scratch = Scratch::make(scratch_folder(home))?;
        restore_into(session, locations, passphrase, report, &scratch.0)?;
        let comparison = compare_with(session, source, report, &scratch.0)?;
        Ok(Self { check, comparison })
    }
}

fn check_copies(
    session: &Session,
    locations: &[Location],
    passphrase: &Secret,
) -> Result<Result<(), Failure>, Failure> {
    let watch = session.watch(Task::Check);
    let repository = session.open_at(&session.sites_of(locations)?, passphrase, watch.clone())?;
    let _guard = repository.lock(LockMode::Reading)?;
    let report = {
        let _drawing = watch.draw();
        check(&repository, &CheckRequest { read: ReadData::All, ..CheckRequest::default() })?
    };
    let concluded = check_command::conclude(&report);
    for finding in report.copies.iter().flat_map(|copy| &copy.damages) {
        session.screen.warn(format!("damaged: {}", finding.damage));
    }
    let read: u64 = report.copies.iter().map(|copy| copy.counts.bytes_read).sum();
    let sound = report.copies.iter().filter(|copy| copy.errors() == 0).count();
    let (of, read) = (report.copies.len(), figures::bytes(read));
    session.screen.remark(format!("check          {sound} of {of} copies sound, {read} read"))?;
    Ok(concluded)
}

fn restore_into(
    session: &Session,
    locations: &[Location],
    passphrase: &Secret,
    report: &BackupReport,
    scratch: &Path,
) -> Result<(), Failure> {
    let watch = session.watch(Task::Restore);
    let repository = session.open_at(&session.sites_of(locations)?, passphrase, watch.clone())?;
    let _guard = repository.lock(LockMode::Reading)?;
    let indexed = repository.indexed()?;
    let request = RestoreRequest { target: scratch.to_owned(), ..RestoreRequest::default() };
    let restored = {
        let _drawing = watch.draw();
        restore(&indexed, &report.snapshot, &request, watch.as_ref())?
    };
    if restored.failed_count > 0 {
        let entries = figures::count(restored.failed_count, "entry");
        return Err(Failure::failed(format!("the proof restore failed: {entries} not restored, named above")));
    }
    Ok(())
}

fn compare_with(
    session: &Session,
    source: &Source,
    report: &BackupReport,
    scratch: &Path,
) -> Result<Comparison, Failure> {
    let troubled: BTreeSet<PathBuf> = report.troubles.iter().map(|trouble| trouble.path.clone()).collect();
    let rules = Rules {
        left_out: &source.copies_inside,
        troubled: &troubled,
        owners: rustix::process::geteuid().is_root(),
        backup_start: (report.summary.backup_start.seconds, i64::from(report.summary.backup_start.nanoseconds)),
    };
    let restored = scratch.join(source.path.strip_prefix("/").unwrap_or(&source.path));
    let comparison = compare(&source.path, &restored, &rules)?;
    for difference in &comparison.differences {
        session.screen.warn(format!("differs: {difference}"));
    }
    let (entries, bytes) = (figures::count(comparison.entries, "entry"), figures::bytes(comparison.bytes));
    let result = match comparison.differences_count {
        0 => "all equal".to_owned(),
        count => figures::count(count, "difference"),
    };
    session.screen.remark(format!("proof          restored and compared {entries}, {bytes}: {result}"))?;
    let changed = comparison.changed_since.len() as u64;
    if changed > 0 {
        let entries = figures::count(changed, "entry");
        session.screen.note(format!("{entries} changed since the backup began, so there was nothing to compare with"));
    }
    Ok(comparison)
}

/// A folder for nobody else, gone when the proof is over.
struct Scratch(PathBuf);

impl Scratch {
    fn make(folder: Option<PathBuf>) -> Result<Self, Failure> {
        let folder = folder.ok_or_else(|| Failure::failed("there is no place for a proof restore"))?;
        // What an interrupted call left behind is nobody's.
        remove(&folder);
        if let Some(parent) = folder.parent() {
            std::fs::create_dir_all(parent).map_err(|error| local("make folder", parent, error))?;
        }
        let made = std::fs::DirBuilder::new().mode(0o700).create(&folder);
        made.map_err(|error| local("make folder", &folder, error))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Removes a restored tree, folders without write permission included.
fn remove(folder: &Path) {
    if folder.symlink_metadata().is_ok_and(|stat| stat.is_dir()) && std::fs::remove_dir_all(folder).is_err() {
        open_folders(folder);
        // What is still there is found, and removed or named, by the next call.
        let _ = std::fs::remove_dir_all(folder);
    }
}

fn open_folders(folder: &Path) {
    // As above: the removal tells whether it worked.
    let _ = std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700));
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_folders(&entry.path());
        }
    }
}
