//! The passphrase and the repository of a quickstart: found, made, or completed after an interruption.

use std::path::PathBuf;

use destinations::{LocalLocation, Location, Span};
use format::{FileKind, FileName, ScryptCost};
use model::{FaultKind, Id, Secret};
use repository::repair::kit::KitFiles;
use repository::{Error, InitRequest, Repository};

use super::home::{Config, Home};
use crate::failure::{Failure, code};
use crate::session::Session;
use crate::watch::Task;

/// The passphrase: the one that is there, or a new one where no repository needs an old one.
pub(super) fn passphrase(
    session: &Session,
    home: &Home,
    config: Option<&Config>,
    copies: &[PathBuf],
) -> Result<Secret, Failure> {
    let screen = &session.screen;
    let path = config.map_or(&home.passphrase, |config| &config.repository.password_file);
    let home = &Home {
        config: home.config.clone(),
        passphrase: path.clone(),
        kit: home.kit.clone(),
        copies: home.copies.clone(),
    };
    if let Some(passphrase) = home.read_passphrase()? {
        screen.remark(format!("passphrase     {} (taken as it is)", path.display()))?;
        return Ok(passphrase);
    }
    let locations = match config {
        Some(config) => config.locations()?,
        None => copies.iter().map(|path| Location::Local(LocalLocation { path: path.clone() })).collect(),
    };
    refuse_if_a_repository_is_there(session, &locations, path)?;
    home.make_folder()?;
    let passphrase = home.make_passphrase()?;
    screen.remark(format!("passphrase     {} (new, for your eyes only)", path.display()))?;
    Ok(passphrase)
}

/// A new passphrase opens no old repository: whoever lost the file must be told, not given another.
fn refuse_if_a_repository_is_there(
    session: &Session,
    locations: &[Location],
    passphrase: &std::path::Path,
) -> Result<(), Failure> {
    for location in locations {
        let place = std::slice::from_ref(location);
        // Any password tells a repository that is there from one that is not.
        match session.open_at(&session.sites_of(place)?, &Secret::from("?"), session.watch(Task::Browse)) {
            Err(failure) if failure.code == code::NO_REPOSITORY => {}
            Err(failure) if failure.code != code::WRONG_PASSWORD => return Err(failure),
            _ => {
                let (file, place) = (passphrase.display(), location);
                let message = format!("the passphrase file `{file}` is missing, and there is a repository at {place}");
                return Err(Failure::failed(message)
                    .hint("write the passphrase from the recovery kit into the file; nothing was changed"));
            }
        }
    }
    Ok(())
}

/// Opens the repository, or makes it; completes one whose making was interrupted. Gives what the recovery kit keeps.
pub(super) fn open_or_make(
    session: &Session,
    locations: &[Location],
    passphrase: &Secret,
) -> Result<(Id, KitFiles), Failure> {
    let screen = &session.screen;
    let places = locations.iter().map(ToString::to_string).collect::<Vec<_>>();
    let show = |id: Id, state: &str| {
        screen.remark(format!("repository     {} ({state}), in", id.short()))?;
        places.iter().try_for_each(|place| screen.remark(format!("               {place}")))
    };
    match session.open_at(&session.sites_of(locations)?, passphrase, session.watch(Task::Browse)) {
        Ok(repository) => {
            complete(&repository)?;
            show(repository.config().id, "taken as it is")?;
            Ok((repository.config().id, KitFiles::of(&repository)?))
        }
        Err(failure) if failure.code == code::NO_REPOSITORY => {
            let request = InitRequest { version: 2, polynomial: None, cost: ScryptCost::STANDARD };
            let made =
                session.init_at(&session.sites_of(locations)?, passphrase, &request, session.watch(Task::Browse))?;
            show(made.config().id, "new")?;
            Ok((made.config().id, KitFiles::of(&made)?))
        }
        Err(failure) => Err(failure),
    }
}

/// Gives places where an earlier call was interrupted what they lack to be copies: keys first, the config last.
///
/// Only while there is no snapshot anywhere: later, a place without a repository is more likely a disk that is not
/// mounted, and must not be filled.
fn complete(repository: &Repository) -> Result<(), Failure> {
    let copies = repository.copies();
    let is_unmade = |copy: &&repository::copies::Copy| {
        copy.lost().is_some_and(|fault| fault.kind == FaultKind::NotFound && fault.object == FileName::CONFIG.path())
    };
    let unmade: Vec<&repository::copies::Copy> = copies.all().iter().filter(is_unmade).collect();
    if unmade.is_empty() || !repository.snapshots()?.holdings.files.is_empty() {
        return Ok(());
    }
    let (_, first) = copies.live().next().ok_or_else(|| Failure::from(copies.none_left()))?;
    let source = first.destination();
    for copy in unmade {
        let target = copy.destination();
        let given = copies.wait(async {
            for kind in [FileKind::Pack, FileKind::Index, FileKind::Snapshot] {
                match target.list(kind).await {
                    Ok(files) if files.is_empty() => {}
                    Err(fault) if fault.kind == FaultKind::NotFound => {}
                    Ok(_) => return Ok(false),
                    Err(fault) => return Err(fault),
                }
            }
            target.create().await?;
            for key in source.list(FileKind::Key).await? {
                let name = FileName::new(FileKind::Key, key.id);
                target.write(name, source.read(name, Span::Whole).await?).await?;
            }
            target.write(FileName::CONFIG, source.read(FileName::CONFIG, Span::Whole).await?).await?;
            Ok(true)
        });
        if !given.map_err(Error::from)? {
            let message = format!("{} has no config, but other files of a repository", copy.place());
            return Err(Failure::failed(message).hint("look what it is; nothing was changed there"));
        }
    }
    Ok(())
}
