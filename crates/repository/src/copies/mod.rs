//! The copy set: the copies of one repository, and what it takes to trust none of them blindly.
//!
//! Reads go to the copies in the order in which the user named them, and large ones to a further copy as well while
//! the first one has its hands full (`load`); bytes that do not match their name are told
//! to the observer and the next copy is asked. A copy that cannot be reached is *lost* for the rest of the
//! operation, so that its time-outs are paid once. Writes go through [`fan_out`], each copy in its own queue.
//!
//! This is the one place where the engine's threads meet the async destinations: every method here blocks.

pub mod add;
pub mod extend;
pub mod fan_out;
pub mod heal;
pub(crate) mod hot;
mod load;
pub mod probe;
pub(crate) mod removal;
pub mod retire;
pub mod status;
pub mod sync;
pub mod warm;

use std::future::Future;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use clock::Clock;
use destinations::{Destination, Listed, Span};
use format::{FileKind, FileName};
use futures::future::join_all;
use model::{Fault, FaultKind, Retry};
use tokio::runtime::Handle;

use self::load::Load;
use crate::error::{Damage, Error, Result};
use crate::observer::{Event, Observer};

/// Bytes that wait in memory for one copy before its files are deferred, when nobody says otherwise.
pub const QUEUE_BYTES: usize = 48 << 20;

/// One copy of the repository.
#[derive(Debug)]
pub struct Copy {
    destination: Arc<dyn Destination>,
    lost: OnceLock<Fault>,
    load: Load,
}

impl Copy {
    /// The place, without secrets.
    pub fn place(&self) -> &str {
        self.destination.place()
    }

    /// The destination itself.
    pub fn destination(&self) -> &Arc<dyn Destination> {
        &self.destination
    }

    /// False once the copy was given up.
    pub fn is_live(&self) -> bool {
        self.lost.get().is_none()
    }

    /// Why the copy was given up.
    pub fn lost(&self) -> Option<&Fault> {
        self.lost.get()
    }
}

/// How long a read is; a whole file is as long as it is, which nobody knows before, and short in most cases.
fn length_of(span: Span) -> u64 {
    match span {
        Span::Whole => 0,
        Span::Range { length, .. } => length,
    }
}

/// Which copies are to be asked for a file: a copy that is behind and lacks it is not damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holders(u64);

impl Holders {
    /// Every copy.
    pub const ALL: Holders = Holders(u64::MAX);

    /// The copies that listed the file.
    pub fn of(holdings: &status::Holdings, id: &model::Id) -> Self {
        Self(holdings.files.get(id).map_or(0, |held| held.copies))
    }

    fn has(self, number: usize) -> bool {
        self.0 & (1 << number) != 0
    }
}

/// What each copy that was asked answered.
pub(crate) type Answers<T> = Vec<(usize, Result<T, Fault>)>;

/// All copies that were named for this operation, in the order of preference.
pub struct CopySet {
    copies: Vec<Copy>,
    runtime: Handle,
    observer: Arc<dyn Observer>,
    clock: Arc<dyn Clock>,
    queue_bytes: usize,
}

impl std::fmt::Debug for CopySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.copies).finish()
    }
}

impl CopySet {
    /// A set of these destinations; nothing is asked of them yet.
    pub fn new(
        destinations: Vec<Arc<dyn Destination>>,
        runtime: Handle,
        observer: Arc<dyn Observer>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let copy = |destination| Copy { destination, lost: OnceLock::new(), load: Load::default() };
        let copies = destinations.into_iter().map(copy).collect();
        Self { copies, runtime, observer, clock, queue_bytes: QUEUE_BYTES }
    }

    /// The same with another limit on the bytes that wait in memory for each copy.
    pub fn with_queue_bytes(self, queue_bytes: usize) -> Self {
        Self { queue_bytes, ..self }
    }

    /// How many bytes may wait in memory for each copy.
    pub fn queue_bytes(&self) -> usize {
        self.queue_bytes
    }

    /// Every copy, lost ones too.
    pub fn all(&self) -> &[Copy] {
        &self.copies
    }

    /// The copies that can still be used, with their numbers in [`CopySet::all`].
    pub fn live(&self) -> impl Iterator<Item = (usize, &Copy)> {
        self.copies.iter().enumerate().filter(|(_, copy)| copy.is_live())
    }

    /// The places of all copies, for messages.
    pub fn places(&self) -> String {
        self.copies.iter().map(Copy::place).collect::<Vec<_>>().join(", ")
    }

    /// The place of the copy of this number, for messages.
    pub(crate) fn place(&self, number: usize) -> &str {
        self.copies.get(number).map_or("a copy", Copy::place)
    }

    /// The places of these copies (bits), for messages.
    pub(crate) fn places_of(&self, copies: u64) -> String {
        let held = self.copies.iter().enumerate().filter(|(number, _)| copies & (1 << number) != 0);
        held.map(|(_, copy)| copy.place()).collect::<Vec<_>>().join(", ")
    }

    /// The first copy that was given up, for whoever needs all of them, and why.
    pub(crate) fn first_lost(&self) -> Option<(&str, &Fault)> {
        self.copies.iter().find_map(|copy| Some((copy.place(), copy.lost()?)))
    }

    /// Gives a copy up for the rest of the operation; the first reason stays.
    pub fn lose(&self, number: usize, fault: Fault) {
        let copy = &self.copies[number];
        if copy.lost.set(fault.clone()).is_ok() {
            self.observer.event(Event::CopyLost { copy: copy.place().to_owned(), fault });
        }
    }

    /// Whoever watches.
    pub fn observer(&self) -> &dyn Observer {
        self.observer.as_ref()
    }

    /// The runtime on which destinations run.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// The clock by which copies are measured.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Waits for one thing asked of a destination. Must not be called on a thread of the runtime.
    pub fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Asks every live copy at once.
    pub fn ask_each<'a, T, F>(&'a self, ask: impl Fn(&'a dyn Destination) -> F) -> Vec<(usize, T)>
    where
        F: Future<Output = T> + 'a,
    {
        let asked = self.live().map(|(number, copy)| {
            let answer = ask(copy.destination.as_ref());
            async move { (number, answer.await) }
        });
        self.wait(join_all(asked))
    }

    /// Lists one kind on every live copy; a copy that cannot be listed is lost. At least one answer, or an error.
    pub fn list_each(&self, kind: FileKind) -> Result<Vec<(usize, Vec<Listed>)>> {
        self.listings(self.ask_each(|destination| destination.list(kind)))
    }

    /// The listings among answers of live copies; a copy that could not be listed is lost. At least one, or an error.
    pub(crate) fn listings(&self, answers: Answers<Vec<Listed>>) -> Result<Vec<(usize, Vec<Listed>)>> {
        let mut listings = Vec::new();
        for (number, answer) in answers {
            match answer {
                _ if !self.copies[number].is_live() => {}
                Ok(listed) => listings.push((number, listed)),
                Err(fault) => self.lose(number, fault),
            }
        }
        if listings.is_empty() { Err(self.none_left()) } else { Ok(listings) }
    }

    /// An error when no copy can be used any more.
    pub(crate) fn at_least_one(&self) -> Result<()> {
        if self.live().next().is_none() { Err(self.none_left()) } else { Ok(()) }
    }

    /// The error for "no copy can be used any more".
    pub fn none_left(&self) -> Error {
        let mut faults: Vec<Fault> = self.copies.iter().filter_map(|copy| copy.lost().cloned()).collect();
        match faults.len() {
            1 => Error::Destination(faults.remove(0)),
            _ => Error::NoCopyLeft(faults),
        }
    }

    /// Reads a whole file whose name is its hash, from the first live copy of `holders` that has it sound.
    pub fn read_whole(&self, name: FileName, holders: Holders) -> Result<Bytes> {
        self.read(name, Span::Whole, holders, |bytes| match name.id() {
            Some(id) if format::hash(&bytes) != id => Err("its bytes do not match its name".to_owned()),
            _ => Ok(bytes),
        })
    }

    /// Reads `span` of `name` from one live copy of `holders` after the other until `accept` takes the bytes. `accept`
    /// says what is wrong with bytes that it refuses.
    pub fn read<T>(
        &self,
        name: FileName,
        span: Span,
        holders: Holders,
        mut accept: impl FnMut(Bytes) -> Result<T, String>,
    ) -> Result<T> {
        self.try_each(name, span, holders, |copy| self.wait(copy.destination.read(name, span)).map(&mut accept))
    }

    /// As [`CopySet::read`], into memory that is used again: `accept` gets the bytes to itself and may change them.
    pub fn read_into<T>(
        &self,
        name: FileName,
        span: Span,
        holders: Holders,
        buffer: &mut Vec<u8>,
        mut accept: impl FnMut(&mut [u8]) -> Result<T, String>,
    ) -> Result<T> {
        self.try_each(name, span, holders, |copy| {
            let under_way = copy.load.begin(length_of(span), self.clock.as_ref());
            *buffer = self.wait(copy.destination.read_into(name, span, std::mem::take(buffer)))?;
            drop(under_way);
            Ok(accept(buffer))
        })
    }

    /// Asks one live copy of `holders` after the other until one of them gives what is accepted.
    fn try_each<T>(
        &self,
        name: FileName,
        span: Span,
        holders: Holders,
        mut attempt: impl FnMut(&Copy) -> Result<Result<T, String>, Fault>,
    ) -> Result<T> {
        let mut damages = Vec::new();
        let mut faults = Vec::new();
        for (number, copy) in self.in_turn(name, holders, length_of(span)) {
            // Another thread may have found out since.
            if !copy.is_live() {
                continue;
            }
            let mut answer = attempt(copy);
            if matches!(answer, Ok(Err(_))) && self.mended(copy, name) {
                answer = attempt(copy);
            }
            let refused = match answer {
                Ok(Ok(accepted)) => return Ok(accepted),
                Ok(Err(why)) => why,
                Err(fault) if matches!(fault.kind, FaultKind::NotFound | FaultKind::Damaged) => {
                    let why = fault.cause.clone();
                    faults.push(fault);
                    why
                }
                Err(fault) => {
                    if fault.retry() == Retry::Now {
                        self.lose(number, fault.clone());
                    }
                    faults.push(fault);
                    continue;
                }
            };
            let damage = Damage { copy: copy.place().to_owned(), file: name.path(), why: refused };
            self.observer.event(Event::Damage(damage.clone()));
            damages.push(damage);
        }
        if !damages.is_empty() {
            return Err(Error::Damaged { file: name.path(), damages });
        }
        Err(match faults.len() {
            0 if !(0..self.copies.len()).any(|number| holders.has(number)) => {
                let cause = "no copy lists it";
                Error::Destination(Fault::new(FaultKind::NotFound, "read", name.path(), self.places(), cause))
            }
            0 => self.none_left(),
            1 => Error::Destination(faults.remove(0)),
            _ => Error::NoCopyLeft(faults),
        })
    }

    /// Has a pair look at the whole file, so that wrong bytes of its hot part are replaced by those of the cold one.
    fn mended(&self, copy: &Copy, name: FileName) -> bool {
        copy.destination.as_pair().is_some() && self.wait(copy.destination.read(name, Span::Whole)).is_ok()
    }

    /// The live copies of `holders`: as the user named them, but for a large read the one that will have it first, and
    /// packs of those last that may lie in an archive.
    fn in_turn(&self, name: FileName, holders: Holders, length: u64) -> Vec<(usize, &Copy)> {
        let mut copies: Vec<(usize, &Copy)> = self.live().filter(|(number, _)| holders.has(*number)).collect();
        let is_last = |copy: &Copy| name.kind() == FileKind::Pack && copy.destination.may_be_cold();
        copies.sort_by_key(|(_, copy)| is_last(copy));
        let at_hand = copies.iter().take_while(|(_, copy)| !is_last(copy)).map(|(_, copy)| &copy.load);
        let soonest = load::soonest(at_hand, length, self.clock.as_ref());
        if let Some(first) = copies.get_mut(..=soonest) {
            first.rotate_right(1);
        }
        copies
    }

    /// Writes one small file to every live copy at once; a copy that fails is lost. At least one success, or an error.
    pub fn write_each(&self, name: FileName, bytes: &Bytes) -> Result<()> {
        for (number, answer) in self.ask_each(|destination| destination.write(name, bytes.clone())) {
            if let Err(fault) = answer {
                self.lose(number, fault);
            }
        }
        self.at_least_one()
    }
}
