//! Making a repository on several copies, and opening one.
//!
//! "Not found" is only believed from a place that could be looked at, and nothing is ever created on the way to an
//! open repository: only [`Repository::init`] creates. Opening reads every copy's `config` and keys, so that copies of
//! different repositories are refused before a byte is written, and a copy with a damaged `config` or key is named and
//! left out instead of failing everything.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use destinations::{Destination, Listed, Span};
use format::{Chunker, Config, FileKind, FileName, KeyFile, KeyOwner, MasterKey, Polynomial, ScryptCost};
use model::{Fault, FaultKind, Id, Secret};

use crate::copies::status::Holdings;
use crate::copies::{Answers, CopySet, hot};
use crate::error::{Error, Result};
use crate::keys;
use crate::repository::{Repository, Surroundings, copy_set};
use crate::unfinished;

/// What a new repository should be like.
#[derive(Debug, Clone)]
pub struct InitRequest {
    /// Format version; 2 unless there is a reason.
    pub version: u32,
    /// The chunker's polynomial; random unless chunks must match another repository's.
    pub polynomial: Option<Polynomial>,
    /// How costly the password is to guess.
    pub cost: ScryptCost,
}

impl Default for InitRequest {
    fn default() -> Self {
        Self { version: 2, polynomial: None, cost: ScryptCost::STANDARD }
    }
}

impl Repository {
    /// Makes one repository with byte-identical `config` and key on every destination.
    ///
    /// Every place is looked at first: if any cannot be looked at, or holds a repository already, nothing is created
    /// anywhere. An init that broke off between two places is finished by the next one.
    pub fn init(
        destinations: Vec<Arc<dyn Destination>>,
        password: &Secret,
        request: &InitRequest,
        surroundings: Surroundings,
    ) -> Result<Self> {
        let copies = copy_set(destinations, &surroundings)?;
        let left_over = match refuse_unless_empty(&copies) {
            Err(refusal @ Error::AlreadyThere { .. }) => {
                let begun = unfinished::find(&copies, password, request.version)?.ok_or(refusal)?;
                return begun.finish(copies, surroundings);
            }
            looked => looked?,
        };
        let unusable = |source| Error::Format { what: "a new repository".to_owned(), source };
        let master = MasterKey::generate().map_err(unusable)?;
        let mut config = Config { version: request.version, ..Config::generate().map_err(unusable)? };
        if let Some(polynomial) = request.polynomial {
            config.chunker_polynomial = polynomial;
        }
        // Refuses a version or a polynomial that a reader would refuse later.
        let config = Config::parse(&config.to_bytes()).map_err(unusable)?;
        let owner = owner(&surroundings);
        let key = KeyFile::seal(&master, password, &owner, request.cost).map_err(unusable)?.to_bytes();
        let key_id = format::hash(&key);
        let sealed_config = Bytes::from(master.seal(&config.to_bytes()));

        create_everywhere(&copies, |destination| async move { destination.create().await })?;
        let key = Bytes::from(key);
        let key_name = FileName::new(FileKind::Key, key_id);
        // The config comes last: a place without one is no repository, so a broken init can simply be repeated.
        create_everywhere(&copies, |destination| destination.write(key_name, key.clone()))?;
        let made = create_everywhere(&copies, |destination| destination.write(FileName::CONFIG, sealed_config.clone()));
        if let Err(Error::Destination(fault)) = &made
            && fault.kind == FaultKind::Exists
        {
            // Another process was faster: its repository must not keep a key that opens nothing.
            remove_keys(&copies, &[key_id]);
        }
        made?;
        remove_keys(&copies, &left_over);
        let everywhere: Vec<_> = (0..copies.all().len()).map(|number| (number, sealed_config.clone())).collect();
        hot::claim(&copies, &master, &everywhere, &Holdings::of_listings(FileKind::Key, Vec::new()));
        let chunker = Chunker::new(config.chunker_polynomial);
        Ok(Self { copies, config, master, key_id, chunker, surroundings, locks_at_opening: Mutex::default() })
    }

    /// Opens the repository of which these are the copies.
    ///
    /// Copies that cannot be reached, or whose `config` is missing or damaged, are lost in the copy set as long as one
    /// other copy opens; the caller decides whether that is good enough.
    pub fn open(
        destinations: Vec<Arc<dyn Destination>>,
        password: &Secret,
        surroundings: Surroundings,
    ) -> Result<Self> {
        let copies = copy_set(destinations, &surroundings)?;
        let FirstLook { configs, keys, locks } = FirstLook::at(&copies);
        let configs = read_configs(&copies, configs)?;
        let keys = Holdings::of_listings(FileKind::Key, copies.listings(keys)?);
        let unlocked = keys::unlock_master(&copies, keys, password, &surroundings.cancel, |master| {
            configs.iter().any(|(_, sealed)| master.open(sealed).is_ok())
        })?;
        let config = agree_on_config(&copies, &configs, &unlocked.master, &unlocked.holdings)?;
        hot::claim(&copies, &unlocked.master, &configs, &unlocked.holdings);
        copies.at_least_one()?;
        let chunker = Chunker::new(config.chunker_polynomial);
        let locks_at_opening = Mutex::new(Some(locks));
        let Unlocked { master, id: key_id, .. } = unlocked;
        Ok(Self { copies, config, master, key_id, chunker, surroundings, locks_at_opening })
    }
}

/// Who a new key file says made it.
pub(crate) fn owner(surroundings: &Surroundings) -> KeyOwner {
    KeyOwner {
        hostname: surroundings.who.hostname.clone(),
        username: surroundings.who.username.clone(),
        created: surroundings.clock.local(),
    }
}

/// Takes away keys that open no `config`. Other programs take the first key that a password opens, and would call the
/// repository damaged; we pass over such keys, so that one which cannot be removed does no harm.
pub(crate) fn remove_keys(copies: &CopySet, ids: &[Id]) {
    for id in ids {
        let name = FileName::new(FileKind::Key, *id);
        let _ = copies.ask_each(|destination| destination.remove(name));
    }
}

/// Looks at every place and goes on only when each said clearly that there is nothing. Gives the keys that are there
/// nevertheless.
pub(crate) fn refuse_unless_empty(copies: &CopySet) -> Result<Vec<Id>> {
    let mut keys = Vec::new();
    for (number, answer) in copies.ask_each(|destination| destination.stat(FileName::CONFIG)) {
        let place = copies.all()[number].place().to_owned();
        match answer {
            Ok(_) => return Err(Error::AlreadyThere { place, found: "there is a repository already".to_owned() }),
            Err(fault) if fault.kind == FaultKind::NotFound => {}
            Err(fault) => return Err(fault.into()),
        }
    }
    hot::refuse_taken(copies)?;
    for kind in [FileKind::Key, FileKind::Pack, FileKind::Index, FileKind::Snapshot] {
        for (number, answer) in copies.ask_each(|destination| destination.list(kind)) {
            let place = copies.all()[number].place().to_owned();
            match answer {
                // Keys alone are what an init leaves that broke off before its config: the next one continues.
                Ok(files) if kind == FileKind::Key => keys.extend(files.into_iter().map(|file| file.id)),
                Ok(files) if files.is_empty() => {}
                Ok(files) => {
                    let found = format!("it has no config, but {} files in `{}`", files.len(), kind.folder());
                    return Err(Error::AlreadyThere { place, found });
                }
                Err(fault) if fault.kind == FaultKind::NotFound => {}
                Err(fault) => return Err(fault.into()),
            }
        }
    }
    Ok(keys)
}

/// One step of init on every copy; the first fault ends it.
fn create_everywhere<'a, F>(copies: &'a CopySet, step: impl Fn(&'a dyn Destination) -> F) -> Result<()>
where
    F: Future<Output = Result<(), Fault>> + 'a,
{
    for (_, answer) in copies.ask_each(step) {
        answer?;
    }
    Ok(())
}

/// What is asked of every copy at once before anything is known, because each question would cost a round trip.
struct FirstLook {
    configs: Answers<Bytes>,
    keys: Answers<Vec<Listed>>,
    locks: Answers<Vec<Listed>>,
}

impl FirstLook {
    fn at(copies: &CopySet) -> Self {
        let answers = copies.ask_each(|destination| async move {
            let config = destination.read(FileName::CONFIG, Span::Whole);
            futures::join!(config, destination.list(FileKind::Key), destination.list(FileKind::Lock))
        });
        let mut look = Self { configs: Vec::new(), keys: Vec::new(), locks: Vec::new() };
        for (number, (config, keys, locks)) in answers {
            look.configs.push((number, config));
            look.keys.push((number, keys));
            look.locks.push((number, locks));
        }
        look
    }
}

/// Every copy's `config`. At least one copy has one, or the error says which of the four cases it is.
fn read_configs(copies: &CopySet, answers: Answers<Bytes>) -> Result<Vec<(usize, Bytes)>> {
    let mut configs = Vec::new();
    let mut faults = Vec::new();
    for (number, answer) in answers {
        match answer {
            Ok(bytes) => configs.push((number, bytes)),
            Err(fault) => faults.push((number, fault)),
        }
    }
    if configs.is_empty() {
        if faults.iter().all(|(_, fault)| fault.kind == FaultKind::NotFound) {
            return Err(Error::NoRepository { places: copies.places() });
        }
        let mut troubles: Vec<Fault> =
            faults.into_iter().map(|(_, fault)| fault).filter(|fault| fault.kind != FaultKind::NotFound).collect();
        return Err(if troubles.len() == 1 { troubles.remove(0).into() } else { Error::NoCopyLeft(troubles) });
    }
    for (number, mut fault) in faults {
        if fault.kind == FaultKind::NotFound {
            fault.cause = "there is no repository here, unlike on the other copies".to_owned();
        }
        copies.lose(number, fault);
    }
    Ok(configs)
}

/// Opens every copy's `config` and compares them.
///
/// A `config` that does not open is another repository's, unless the copy shares a key file with one that does: then
/// the bytes are damaged, and the copy is lost.
fn agree_on_config(
    copies: &CopySet,
    configs: &[(usize, Bytes)],
    master: &MasterKey,
    keys: &Holdings,
) -> Result<Config> {
    let mut agreed: Option<(usize, Config, &Bytes)> = None;
    let mut unopened = Vec::new();
    for (number, sealed) in configs {
        let opened = master.open(sealed).and_then(|plain| Config::parse(&plain));
        match (opened, &agreed) {
            (Ok(config), None) => agreed = Some((*number, config, sealed)),
            (Ok(config), Some((first, agreed, _))) if config.id != agreed.id => {
                let difference = format!("its id is {}, not {}", config.id.short(), agreed.id.short());
                return Err(not_the_same(copies, *first, *number, difference));
            }
            (Ok(_), Some((first, _, bytes))) if *bytes != sealed => {
                return Err(not_the_same(copies, *first, *number, "its `config` has other bytes".to_owned()));
            }
            (Ok(_), Some(_)) => {}
            (Err(error), _) => unopened.push((*number, error)),
        }
    }
    let Some((first, config, _)) = agreed else {
        let damage = |(number, error): (usize, format::FormatError)| crate::Damage {
            copy: copies.all()[number].place().to_owned(),
            file: FileName::CONFIG.path(),
            why: error.to_string(),
        };
        let damages = unopened.into_iter().map(damage).collect();
        return Err(Error::Damaged { file: FileName::CONFIG.path(), damages });
    };
    for (number, error) in unopened {
        let shares_a_key =
            keys.files.values().any(|held| held.copies & (1 << number) != 0 && held.copies & (1 << first) != 0);
        if !shares_a_key {
            let difference = "its `config` does not open with the same key".to_owned();
            return Err(not_the_same(copies, first, number, difference));
        }
        let place = copies.all()[number].place().to_owned();
        copies.lose(number, Fault::new(FaultKind::Damaged, "open", FileName::CONFIG.path(), place, error));
    }
    Ok(config)
}

fn not_the_same(copies: &CopySet, first: usize, second: usize, difference: String) -> Error {
    let place = |number: usize| copies.all()[number].place().to_owned();
    Error::NotTheSame { first: place(first), second: place(second), difference }
}

/// The master key and where it came from.
pub(crate) struct Unlocked {
    pub(crate) master: MasterKey,
    pub(crate) id: Id,
    pub(crate) holdings: Holdings,
}
