//! Key files: finding the one that a password opens, and listing, adding, removing and changing them.
//!
//! Every key file seals the same master key, so removing one takes a password away but no knowledge: whoever copied
//! the master key keeps it. Changes need every copy reachable, or the copies' keys would drift apart. Whoever removes a
//! key holds an exclusive lock: of two that remove each other's, none would be left.

use std::cmp::Reverse;

use bytes::Bytes;
use destinations::Span;
use format::{FileKind, FileName, FormatError, KeyFile, MasterKey, Moment, ScryptCost};
use model::{Id, Secret};

use crate::copies::removal::confirm_everywhere;
use crate::copies::status::Holdings;
use crate::copies::{CopySet, Holders};
use crate::error::{Damage, Error, Result};
use crate::locks::Guard;
use crate::observer::{Cancel, Event};
use crate::open::{Unlocked, owner};
use crate::repository::Repository;

/// Key files that are tried with a password before giving up; restic tries 20.
const KEYS_TRIED_MAX: usize = 100;

/// Tries the password on the key files of `holdings` until one opens whose master key `fits` the repository.
///
/// One that does not fit was left behind by an init that broke off before its `config`, or that another one overtook.
pub(crate) fn unlock_master(
    copies: &CopySet,
    holdings: Holdings,
    password: &Secret,
    cancel: &Cancel,
    fits: impl Fn(&MasterKey) -> bool,
) -> Result<Unlocked> {
    if holdings.files.is_empty() {
        let damage = Damage {
            copy: copies.places(),
            file: FileKind::Key.folder().to_owned(),
            why: "there is a `config`, but not one key file".to_owned(),
        };
        return Err(Error::Damaged { file: FileKind::Key.folder().to_owned(), damages: vec![damage] });
    }
    let mut broken: Vec<Damage> = Vec::new();
    let mut unread = None;
    let mut unfit = None;
    let mut wrong = 0;
    // Keys that most copies have come first, so that one copy cannot hide them behind many of its own; then those of
    // the first copy: where copies turn out to be strangers, the first one is the one that was meant.
    let mut keys: Vec<(Id, u64)> = holdings.files.iter().map(|(id, held)| (*id, held.copies)).collect();
    keys.sort_by_key(|(_, copies)| (Reverse(copies.count_ones()), copies.trailing_zeros()));
    for (id, _) in keys.into_iter().take(KEYS_TRIED_MAX) {
        cancel.check()?;
        let name = FileName::new(FileKind::Key, id);
        let opened = match copies.read_whole(name, Holders::of(&holdings, &id)) {
            Ok(bytes) => KeyFile::parse(&bytes).and_then(|key| key.open(password)),
            Err(Error::Damaged { damages, .. }) => {
                broken.extend(damages);
                continue;
            }
            Err(error) => {
                unread.get_or_insert(error);
                continue;
            }
        };
        match opened {
            Ok(master) if fits(&master) => return Ok(Unlocked { master, id, holdings }),
            Ok(master) => unfit = unfit.or(Some((master, id))),
            Err(FormatError::WrongPassword) => wrong += 1,
            Err(error) => {
                broken.push(Damage { copy: copies.places(), file: name.path(), why: error.to_string() });
            }
        }
    }
    // The password is right, and no `config` opens with it: who compares the copies' configs says what is wrong there.
    if let Some((master, id)) = unfit {
        return Ok(Unlocked { master, id, holdings });
    }
    if let Some(error) = unread {
        return Err(error);
    }
    if broken.is_empty() {
        return Err(Error::WrongPassword { place: copies.places(), keys: wrong });
    }
    // Whether the password is right cannot be known while a key is damaged: name the key.
    Err(Error::Damaged { file: broken[0].file.clone(), damages: broken })
}

/// One key file, for lists.
#[derive(Debug, Clone)]
pub struct KeyInfo {
    /// Its id.
    pub id: Id,
    /// True for the one whose password was given.
    pub current: bool,
    /// User who made it.
    pub username: String,
    /// Host where it was made.
    pub hostname: String,
    /// When, where the file says.
    pub created: Option<Moment>,
}

/// All key files; damaged ones are told to the observer and left out.
pub fn list(repository: &Repository) -> Result<Vec<KeyInfo>> {
    let holdings = Holdings::gather(repository.copies(), FileKind::Key)?;
    let mut keys = Vec::new();
    for &id in holdings.files.keys() {
        let name = FileName::new(FileKind::Key, id);
        let Ok(bytes) = repository.copies().read_whole(name, Holders::of(&holdings, &id)) else { continue };
        let key = match KeyFile::parse(&bytes) {
            Ok(key) => key,
            // Left out, or one bad file on one copy would keep every password from being changed.
            Err(error) => {
                let copy = repository.copies().places();
                let damage = Damage { copy, file: name.path(), why: error.to_string() };
                repository.observer().event(Event::Damage(damage));
                continue;
            }
        };
        keys.push(KeyInfo {
            id,
            current: id == repository.key_id(),
            username: key.username.clone(),
            hostname: key.hostname.clone(),
            created: key.created,
        });
    }
    Ok(keys)
}

/// Adds a key file with this password to every copy; reads it back and opens it from each before it counts. One that an
/// earlier attempt left on some of them is given to the others instead of a second one.
pub fn add(repository: &Repository, password: &Secret, cost: ScryptCost) -> Result<Id> {
    all_reachable(repository, "add a key")?;
    let bytes = match begun(repository, password)? {
        Some(bytes) => bytes,
        None => {
            let owner = owner(repository.surroundings());
            let key = KeyFile::seal(repository.master(), password, &owner, cost);
            Bytes::from(key.map_err(|source| Error::Format { what: "new key".to_owned(), source })?.to_bytes())
        }
    };
    let name = FileName::new(FileKind::Key, format::hash(&bytes));
    if let Err(error) = store_everywhere(repository, name, &bytes, password) {
        // A password that opens some copies and not others helps nobody. What cannot be taken back is told as a
        // difference of the copies.
        let _ = repository.copies().ask_each(|destination| destination.remove(name));
        return Err(error);
    }
    name.id().ok_or_else(|| Error::Request("a key has no id".to_owned()))
}

/// Writes a key file to every copy, reads it back from each, and opens it.
fn store_everywhere(repository: &Repository, name: FileName, bytes: &Bytes, password: &Secret) -> Result<()> {
    let copies = repository.copies();
    for (_, answer) in copies.ask_each(|destination| destination.write(name, bytes.clone())) {
        answer?;
    }
    for (_, answer) in copies.ask_each(|destination| destination.read(name, Span::Whole)) {
        if answer? != *bytes {
            let place = copies.places();
            let why = "what was written does not read back";
            return Err(model::Fault::new(model::FaultKind::Damaged, "add", name.path(), place, why).into());
        }
    }
    let opened = KeyFile::parse(bytes).and_then(|key| key.open(password));
    opened.map(drop).map_err(|source| Error::Format { what: "new key".to_owned(), source })
}

/// A key file that only some copies have, and that this password opens: what is left of an addition that broke off.
fn begun(repository: &Repository, password: &Secret) -> Result<Option<Bytes>> {
    let copies = repository.copies();
    let holdings = Holdings::gather(copies, FileKind::Key)?;
    for (id, _) in holdings.files.iter().filter(|(_, held)| held.copies != holdings.asked).take(KEYS_TRIED_MAX) {
        let Ok(bytes) = copies.read_whole(FileName::new(FileKind::Key, *id), Holders::of(&holdings, id)) else {
            continue;
        };
        let opened = KeyFile::parse(&bytes).and_then(|key| key.open(password));
        // It must lead to this repository, not only open: somebody else may have put it there.
        let config = copies.read(FileName::CONFIG, Span::Whole, Holders::ALL, Ok)?;
        if opened.is_ok_and(|master| master.open(&config).is_ok()) {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// Removes a key file from every copy, under an exclusive lock. The one in use stays: a repository must not lose its last
/// way in.
pub fn remove(repository: &Repository, guard: &Guard, id: Id) -> Result<()> {
    if id == repository.key_id() {
        let text =
            format!("key {} is the one in use; open the repository with another password to remove it", id.short());
        return Err(Error::Request(text));
    }
    all_reachable(repository, "remove a key")?;
    // Whoever held the lock before us may have removed it.
    let holdings = Holdings::gather(repository.copies(), FileKind::Key)?;
    if holdings.files.get(&repository.key_id()).is_none_or(|held| held.copies != holdings.asked) {
        let text = format!(
            "key {}, the one in use, is no longer on every copy; nothing was removed",
            repository.key_id().short()
        );
        return Err(Error::Request(text));
    }
    // Somebody who passed over our lock while we slept may be about to remove ours.
    confirm_everywhere(repository.copies(), &guard.fence())?;
    let name = FileName::new(FileKind::Key, id);
    for (_, answer) in repository.copies().ask_each(|destination| destination.remove(name)) {
        answer?;
    }
    Ok(())
}

/// Gives the repository a new password: adds a key, then removes the one in use.
pub fn change_password(repository: &mut Repository, guard: &Guard, password: &Secret, cost: ScryptCost) -> Result<Id> {
    let old = repository.key_id();
    let new = add(repository, password, cost)?;
    repository.key_id = new;
    remove(repository, guard, old)?;
    Ok(new)
}

/// The full id of a key named by a prefix.
pub fn find(repository: &Repository, text: &str) -> Result<Id> {
    let found: Vec<KeyInfo> = list(repository)?.into_iter().filter(|key| key.id.to_hex().starts_with(text)).collect();
    match found.as_slice() {
        [one] if !text.is_empty() => Ok(one.id),
        [] => Err(Error::Request(format!("no key begins with `{text}`"))),
        _ => Err(Error::Request(format!("several keys begin with `{text}`"))),
    }
}

fn all_reachable(repository: &Repository, action: &str) -> Result<()> {
    match repository.copies().first_lost() {
        None => Ok(()),
        Some((_, fault)) => Err(Error::Request(format!("cannot {action} while a copy is missing: {fault}"))),
    }
}
