//! `repair config`: `config` and a key come back from the recovery kit, when no copy has them any more.
//!
//! A repository without them cannot be opened, so this works on places and not on a repository. It writes only where
//! it is proven that the kit belongs there: the passphrase opens the kit's key, the key opens the kit's `config`, and
//! the key opens files that are at the place. A `config` that is right is left alone, and a key is brought only where
//! the place has no sound one: the kit may be older than the last change of the password.

use std::sync::Arc;

use bytes::Bytes;
use destinations::{Destination, Span};
use format::{Config, FileKind, FileName, FormatError, HeaderRead, KeyFile, MasterKey};
use model::{Fault, FaultKind, Id, Secret};

use super::kit::KitFiles;
use crate::copies::CopySet;
use crate::error::{Error, Result};
use crate::records::aside::Aside;
use crate::repository::{Surroundings, copy_set};

/// Files of a place that are opened to prove that the kit belongs to it.
const PROOFS_MAX: usize = 5;

/// What was done, or with a dry run would be done.
#[derive(Debug, Clone)]
pub struct KitReport {
    /// The repository of the kit.
    pub repository: Id,
    /// Each place, in the order in which they were named.
    pub places: Vec<KitPlace>,
}

/// What was done at one place.
#[derive(Debug, Clone, Default)]
pub struct KitPlace {
    /// The place, without secrets.
    pub place: String,
    /// Files of the place that the kit's key opens.
    pub proofs: usize,
    /// `config` was lost or damaged, and is right now.
    pub config_written: bool,
    /// There was no sound key, and the kit's is there now.
    pub key_written: bool,
}

/// Puts the kit's files to every place that lacks them. All places are looked at, and the kit proven to belong to each,
/// before anything is written.
pub fn restore_kit(
    destinations: Vec<Arc<dyn Destination>>,
    kit: &KitFiles,
    password: &Secret,
    surroundings: &Surroundings,
    dry_run: bool,
) -> Result<KitReport> {
    let of_kit = |source| match source {
        FormatError::WrongPassword => Error::WrongPassword { place: "the recovery kit".to_owned(), keys: 1 },
        source => Error::Format { what: "the recovery kit".to_owned(), source },
    };
    let key = KeyFile::parse(&kit.key).map_err(of_kit)?;
    let master = key.open(password).map_err(of_kit)?;
    let config = master.open(&kit.config).and_then(|plain| Config::parse(&plain)).map_err(of_kit)?;
    let copies = copy_set(destinations, surroundings)?;
    let kit = OpenKit { files: kit, master, config: &config, copies: &copies };
    let mut report = KitReport { repository: config.id, places: Vec::new() };
    for copy in copies.all() {
        surroundings.cancel.check()?;
        report.places.push(kit.look_at(copy.destination().as_ref())?);
    }
    if !dry_run {
        let records = surroundings.records.as_ref().map(|records| records.of(&config.id));
        let aside = Aside::of(records.as_ref());
        for (copy, place) in copies.all().iter().zip(&report.places) {
            kit.write_to(copy.destination().as_ref(), place, &aside)?;
        }
    }
    Ok(report)
}

struct OpenKit<'a> {
    files: &'a KitFiles,
    master: MasterKey,
    config: &'a Config,
    copies: &'a CopySet,
}

impl OpenKit<'_> {
    fn key_name(&self) -> FileName {
        FileName::new(FileKind::Key, format::hash(&self.files.key))
    }

    fn look_at(&self, place: &dyn Destination) -> Result<KitPlace> {
        let mut found = KitPlace { place: place.place().to_owned(), ..KitPlace::default() };
        found.proofs = self.prove(place)?;
        if found.proofs == 0 {
            let why = format!(
                "nothing at {} can be opened by the kit's key: it cannot be told whether they belong together",
                place.place()
            );
            let hint = "is it the right place, and is its disk mounted? Nothing was written".to_owned();
            return Err(Error::Refused { why, hint });
        }
        found.config_written = match self.read(place, FileName::CONFIG)? {
            Some(bytes) => {
                let opened = self.master.open(&bytes).and_then(|plain| Config::parse(&plain));
                opened.ok().as_ref() != Some(self.config)
            }
            None => true,
        };
        found.key_written = !self.has_sound_key(place)?;
        Ok(found)
    }

    /// How many files of the place the kit's key opens. One that has the right name and does not open belongs to
    /// another repository.
    fn prove(&self, place: &dyn Destination) -> Result<usize> {
        let mut proofs = 0;
        for kind in [FileKind::Snapshot, FileKind::Index] {
            for file in self.list(place, kind)?.into_iter().take(PROOFS_MAX) {
                let name = FileName::new(kind, file.id);
                let Some(bytes) = self.read(place, name)?.filter(|bytes| format::hash(bytes) == file.id) else {
                    continue;
                };
                if format::open_file(&self.master, &bytes).is_err() {
                    let (place, path) = (place.place(), name.path());
                    let text =
                        format!("the kit belongs to another repository than {place}: its key does not open `{path}`");
                    return Err(Error::Request(format!("{text}; nothing was written")));
                }
                proofs += 1;
            }
        }
        // All of them may be gone. Packs have headers.
        if proofs == 0 {
            let packs = self.list(place, FileKind::Pack)?;
            proofs = packs.iter().take(PROOFS_MAX).filter(|pack| self.opens_pack(place, pack)).count();
        }
        Ok(proofs)
    }

    fn opens_pack(&self, place: &dyn Destination, pack: &destinations::Listed) -> bool {
        let length = pack.size.min(format::HEADER_BYTES_MAX as u64);
        let span = Span::Range { offset: pack.size - length, length };
        let Ok(tail) = self.copies.wait(place.read(FileName::pack(pack.id), span)) else { return false };
        matches!(format::parse_header(&self.master, pack.size, &tail), Ok(HeaderRead::Complete(_)))
    }

    fn has_sound_key(&self, place: &dyn Destination) -> Result<bool> {
        for file in self.list(place, FileKind::Key)? {
            let bytes = self.read(place, FileName::new(FileKind::Key, file.id))?;
            let is_sound = |bytes: Bytes| format::hash(&bytes) == file.id && KeyFile::parse(&bytes).is_ok();
            if bytes.is_some_and(is_sound) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The key first: a place with a `config` and no key would be a repository that nobody can open.
    fn write_to(&self, place: &dyn Destination, found: &KitPlace, aside: &Aside) -> Result<()> {
        if found.key_written {
            self.replace(place, self.key_name(), &self.files.key, aside)?;
        }
        if found.config_written {
            self.replace(place, FileName::CONFIG, &self.files.config, aside)?;
        }
        Ok(())
    }

    fn replace(&self, place: &dyn Destination, name: FileName, bytes: &Bytes, aside: &Aside) -> Result<()> {
        if let Some(wrong) = self.read(place, name)? {
            // Where it cannot be kept it is a damaged file that nobody can use all the same.
            let _ = aside.keep(place.place(), &name.path(), &wrong);
            if name == FileName::CONFIG {
                self.copies.wait(place.remove(name))?;
            }
        }
        self.copies.wait(place.write(name, bytes.clone()))?;
        if self.copies.wait(place.read(name, Span::Whole))? != bytes {
            let why = "what was written does not read back";
            return Err(Fault::new(FaultKind::Damaged, "write", name.path(), place.place(), why).into());
        }
        Ok(())
    }

    /// None where there is nothing; damaged bytes are bytes.
    fn read(&self, place: &dyn Destination, name: FileName) -> Result<Option<Bytes>> {
        match self.copies.wait(place.read(name, Span::Whole)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(fault) if matches!(fault.kind, FaultKind::NotFound | FaultKind::Damaged) => Ok(None),
            Err(fault) => Err(fault.into()),
        }
    }

    fn list(&self, place: &dyn Destination, kind: FileKind) -> Result<Vec<destinations::Listed>> {
        match self.copies.wait(place.list(kind)) {
            Ok(files) => Ok(files),
            Err(fault) if fault.kind == FaultKind::NotFound => Ok(Vec::new()),
            Err(fault) => Err(fault.into()),
        }
    }
}
