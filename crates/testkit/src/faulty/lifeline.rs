//! What one process asks of all its destinations, counted together, with one end for all of them.
//!
//! [`super::Faulty`] breaks one place; this breaks the one who asks. When the process dies, nothing that it asks
//! afterwards happens on any place; when it pauses, everything that it asks waits, as if it had been stopped or the
//! machine slept. To try every moment: run once with [`Fate::Lives`], ask [`Lifeline::count`], then run once for each
//! number with [`Fate::DiesBefore`] and once with [`Fate::DiesAfter`].

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use destinations::{Destination, Listed, Span};
use format::{FileKind, FileName};
use model::{Fault, FaultKind};

use super::{Gate, Verb};
use crate::process::wait_until;

/// How long an operation that was under way at the end may take to come back.
const QUIET_LIMIT_SECONDS: u64 = 30;

/// What becomes of the process. Numbers count what it asks of all its destinations together, from 1.
#[derive(Debug, Clone)]
pub enum Fate {
    /// Nothing happens to it.
    Lives,
    /// It dies instead of asking this.
    DiesBefore(u64),
    /// This is done, and it dies before it hears of it.
    DiesAfter(u64),
    /// From this number on everything waits until the gate is open.
    PausesBefore(u64, Gate),
}

impl std::fmt::Display for Fate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fate::Lives => f.write_str("it lives"),
            Fate::DiesBefore(number) => write!(f, "it dies before operation {number}"),
            Fate::DiesAfter(number) => write!(f, "it dies after operation {number}"),
            Fate::PausesBefore(number, _) => write!(f, "it pauses before operation {number}"),
        }
    }
}

/// One thing that the process asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its number, from 1.
    pub number: u64,
    /// Of whom.
    pub place: String,
    /// What.
    pub verb: Verb,
    /// The kind of file; config for `create`.
    pub kind: FileKind,
    /// The file, where there is one.
    pub name: Option<FileName>,
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} on {}", self.verb.word(), self.kind.folder(), self.place)
    }
}

/// The life of one process. Clones are the same life.
#[derive(Debug, Clone)]
pub struct Lifeline(Arc<Life>);

#[derive(Debug)]
struct Life {
    fate: Fate,
    dead: AtomicBool,
    asked: Mutex<Vec<Asked>>,
    under_way: AtomicUsize,
    after_death: AtomicUsize,
}

impl Lifeline {
    /// A process with this fate.
    pub fn new(fate: Fate) -> Self {
        let (dead, asked) = (AtomicBool::new(false), Mutex::default());
        Self(Arc::new(Life { fate, dead, asked, under_way: AtomicUsize::new(0), after_death: AtomicUsize::new(0) }))
    }

    /// `place` as this process sees it.
    pub fn to<D: Destination + ?Sized + 'static>(&self, place: Arc<D>) -> Arc<dyn Destination> {
        Arc::new(Tied { lifeline: self.clone(), place })
    }

    fn asked(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.0.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much it has asked, without what it asked after its death.
    pub fn count(&self) -> u64 {
        self.asked().len() as u64
    }

    /// Everything that it asked before its end.
    pub fn history(&self) -> Vec<Asked> {
        self.asked().clone()
    }

    /// What it asked under this number, in words.
    pub fn what(&self, number: u64) -> String {
        let found = self.asked().iter().find(|asked| asked.number == number).map(ToString::to_string);
        found.unwrap_or_else(|| "nothing".to_owned())
    }

    /// True once it is dead.
    pub fn is_dead(&self) -> bool {
        self.0.dead.load(Ordering::SeqCst)
    }

    /// It dies now.
    pub fn die(&self) {
        self.0.dead.store(true, Ordering::SeqCst);
    }

    /// How often it still asked when it was dead: whoever goes on asking for long would hang on real places.
    pub fn asked_after_death(&self) -> usize {
        self.0.after_death.load(Ordering::SeqCst)
    }

    /// Waits until nothing that it asked is under way any more; false when something stays.
    pub fn wait_until_quiet(&self) -> bool {
        wait_until(Duration::from_secs(QUIET_LIMIT_SECONDS), || self.0.under_way.load(Ordering::SeqCst) == 0)
    }

    /// Everything that comes before something asked is done.
    async fn before(&self, asked: Asked) -> Result<UnderWay<'_>, Fault> {
        let under_way = UnderWay::new(&self.0);
        let number = {
            let mut all = self.asked();
            if self.is_dead() {
                self.0.after_death.fetch_add(1, Ordering::SeqCst);
                return Err(fault(&asked, "the process is dead"));
            }
            let number = 1 + all.len() as u64;
            if matches!(self.0.fate, Fate::DiesBefore(end) if end == number) {
                self.die();
            }
            all.push(Asked { number, ..asked.clone() });
            number
        };
        if let Fate::PausesBefore(first, gate) = &self.0.fate
            && number >= *first
        {
            gate.passed().await;
        }
        if self.is_dead() { Err(fault(&asked, "the process died")) } else { Ok(UnderWay { number, ..under_way }) }
    }

    /// Everything that comes behind what was done.
    fn after<T>(&self, under_way: &UnderWay<'_>, asked: &Asked, answer: Result<T, Fault>) -> Result<T, Fault> {
        if matches!(self.0.fate, Fate::DiesAfter(end) if end == under_way.number) {
            self.die();
        }
        // What was done at the moment of death is done, but nobody hears of it any more.
        if self.is_dead() { Err(fault(asked, "the process died before it heard of it")) } else { answer }
    }
}

fn fault(asked: &Asked, cause: &str) -> Fault {
    let object = asked.name.map_or_else(|| asked.kind.folder().to_owned(), |name| name.path());
    Fault::new(FaultKind::Unreachable, asked.verb.word(), object, &*asked.place, cause)
}

/// Counts what is under way; also when it is given up in the middle.
struct UnderWay<'a> {
    number: u64,
    _counted: Counted<'a>,
}

struct Counted<'a>(&'a AtomicUsize);

impl<'a> UnderWay<'a> {
    fn new(life: &'a Life) -> Self {
        life.under_way.fetch_add(1, Ordering::SeqCst);
        Self { number: 0, _counted: Counted(&life.under_way) }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One place as the process sees it.
#[derive(Debug)]
struct Tied<D: ?Sized> {
    lifeline: Lifeline,
    place: Arc<D>,
}

impl<D: Destination + ?Sized> Tied<D> {
    fn asked(&self, verb: Verb, kind: FileKind, name: Option<FileName>) -> Asked {
        Asked { number: 0, place: self.place.place().to_owned(), verb, kind, name }
    }

    async fn live<T>(&self, asked: Asked, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let under_way = self.lifeline.before(asked.clone()).await?;
        let answer = work.await;
        self.lifeline.after(&under_way, &asked, answer)
    }
}

#[async_trait]
impl<D: Destination + ?Sized> Destination for Tied<D> {
    fn place(&self) -> &str {
        self.place.place()
    }

    async fn create(&self) -> Result<(), Fault> {
        self.live(self.asked(Verb::Create, FileKind::Config, None), self.place.create()).await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, Fault> {
        self.live(self.asked(Verb::List, kind, None), self.place.list(kind)).await
    }

    async fn stat(&self, name: FileName) -> Result<u64, Fault> {
        self.live(self.asked(Verb::Stat, name.kind(), Some(name)), self.place.stat(name)).await
    }

    async fn read(&self, name: FileName, span: Span) -> Result<Bytes, Fault> {
        self.live(self.asked(Verb::Read, name.kind(), Some(name)), self.place.read(name, span)).await
    }

    async fn write(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        self.live(self.asked(Verb::Write, name.kind(), Some(name)), self.place.write(name, bytes)).await
    }

    async fn remove(&self, name: FileName) -> Result<(), Fault> {
        self.live(self.asked(Verb::Remove, name.kind(), Some(name)), self.place.remove(name)).await
    }
}
