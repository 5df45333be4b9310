//! A destination with faults that a test has scripted, to put around any other destination.
//!
//! Every operation gets a number, from 1. A [`Rule`] says *when* ([`When`]) and *what* ([`Act`]); the first rule that
//! fits an operation acts. The same script over the same operations does the same again: randomness comes from the
//! script's seed and the operation's number alone, never from the order in which tasks happen to run.
//!
//! To try the death of the place at every operation: run once without rules, ask [`Faulty::count`], then run once for
//! each number with [`Act::DieBefore`] and once with [`Act::DieAfter`]. The death of the one who asks, on all places at
//! once, is [`Lifeline`]'s.

mod gate;
mod lifeline;
mod script;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use destinations::{Destination, Listed, Span};
use format::{FileKind, FileName};
use model::{Fault, FaultKind};

use crate::random::Random;

pub use gate::Gate;
pub use lifeline::{Asked, Fate, Lifeline};
pub use script::{Act, Operation, Rule, Script, Verb, When};

/// A destination with faults. Share it through an [`Arc`] to ask it questions while it is in use.
#[derive(Debug)]
pub struct Faulty<D: ?Sized> {
    script: Script,
    dead: AtomicBool,
    done: Mutex<Done>,
    inner: Arc<D>,
}

#[derive(Debug, Default)]
struct Done {
    operations: Vec<Operation>,
    fired: usize,
    /// What each kind's first listing said: what a stale listing repeats.
    first_listings: BTreeMap<FileKind, Vec<Listed>>,
}

impl<D: Destination + ?Sized> Faulty<D> {
    /// `inner` with the faults of `script`.
    pub fn new(inner: Arc<D>, script: Script) -> Self {
        Self { script, dead: AtomicBool::new(false), done: Mutex::default(), inner }
    }

    fn done(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many operations have been asked for.
    pub fn count(&self) -> u64 {
        self.done().operations.len() as u64
    }

    /// All operations so far, in order.
    pub fn operations(&self) -> Vec<Operation> {
        self.done().operations.clone()
    }

    /// How often a rule has acted; a test whose faults never came has tested nothing.
    pub fn fired(&self) -> usize {
        self.done().fired
    }

    /// True when the place is dead.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Everything fails from now on.
    pub fn die(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    /// Operations work again (rules that fit still act).
    pub fn revive(&self) {
        self.dead.store(false, Ordering::SeqCst);
    }

    /// The destination inside.
    pub fn inner(&self) -> &Arc<D> {
        &self.inner
    }

    /// Notes the operation, and does everything that comes before it. Says what is left to do after it.
    async fn before(&self, verb: Verb, kind: FileKind, name: Option<FileName>) -> Result<Step, Fault> {
        let (operation, act) = {
            let mut done = self.done();
            let of_verb = 1 + done.operations.iter().filter(|operation| operation.verb == verb).count() as u64;
            let number = 1 + done.operations.len() as u64;
            let operation = Operation { number, of_verb, verb, kind, name };
            done.operations.push(operation);
            let act = if self.is_dead() { None } else { self.script.act_on(&operation) };
            done.fired += usize::from(act.is_some());
            (operation, act)
        };
        let step = Step { random: Random::new(self.script.seed ^ operation.number.rotate_left(32)), operation, act };
        match &step.act {
            Some(Act::FailBefore(fault)) => return Err(self.fault(&step, *fault, "scripted, and not done")),
            Some(Act::DieBefore) => self.die(),
            Some(Act::Wait(gate)) => gate.passed().await,
            _ => {}
        }
        // Looked at last, so that what waited at a gate while the place died fails as well.
        if self.is_dead() { Err(self.fault(&step, FaultKind::Unreachable, "the place is dead")) } else { Ok(step) }
    }

    /// What comes after a finished operation: the lost reply and the death behind it.
    fn after(&self, step: &Step) -> Result<(), Fault> {
        match &step.act {
            Some(Act::FailAfter(kind)) => Err(self.fault(step, *kind, "done, and the answer was lost")),
            Some(Act::DieAfter) => {
                self.die();
                Err(self.fault(step, FaultKind::Unreachable, "done, and the place died before it answered"))
            }
            _ => Ok(()),
        }
    }

    fn fault(&self, step: &Step, kind: FaultKind, cause: &str) -> Fault {
        let Operation { number, verb, name, .. } = step.operation;
        let object = name.map_or_else(|| step.operation.kind.folder().to_owned(), |name| name.path());
        Fault::new(kind, verb.word(), object, self.inner.place(), format!("operation {number}: {cause}"))
    }
}

/// One operation under way.
struct Step {
    operation: Operation,
    act: Option<Act>,
    random: Random,
}

#[async_trait]
impl<D: Destination + ?Sized> Destination for Faulty<D> {
    fn place(&self) -> &str {
        self.inner.place()
    }

    async fn create(&self) -> Result<(), Fault> {
        let step = self.before(Verb::Create, FileKind::Config, None).await?;
        self.inner.create().await?;
        self.after(&step)
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, Fault> {
        let mut step = self.before(Verb::List, kind, None).await?;
        let mut listed = self.inner.list(kind).await?;
        let first = self.done().first_listings.entry(kind).or_insert_with(|| listed.clone()).clone();
        match step.act {
            Some(Act::EmptyListing) => listed.clear(),
            Some(Act::StaleListing) => listed = first,
            Some(Act::ShortListing { missing }) => {
                for _ in 0..missing.min(listed.len()) {
                    listed.swap_remove(step.random.index(listed.len()));
                }
            }
            _ => {}
        }
        self.after(&step)?;
        Ok(listed)
    }

    async fn stat(&self, name: FileName) -> Result<u64, Fault> {
        let step = self.before(Verb::Stat, name.kind(), Some(name)).await?;
        let size = self.inner.stat(name).await?;
        self.after(&step)?;
        Ok(size)
    }

    async fn read(&self, name: FileName, span: Span) -> Result<Bytes, Fault> {
        let mut step = self.before(Verb::Read, name.kind(), Some(name)).await?;
        let mut bytes = self.inner.read(name, span).await?;
        match step.act {
            Some(Act::FlipBit) if !bytes.is_empty() => {
                let mut wrong = bytes.to_vec();
                let at = step.random.index(wrong.len());
                if let Some(byte) = wrong.get_mut(at) {
                    *byte ^= 1 << step.random.below(8);
                }
                bytes = wrong.into();
            }
            Some(Act::Truncate) => bytes.truncate(step.random.index(bytes.len())),
            Some(Act::Swap(other)) => bytes = self.inner.read(other, span).await?,
            _ => {}
        }
        self.after(&step)?;
        Ok(bytes)
    }

    async fn write(&self, name: FileName, bytes: Bytes) -> Result<(), Fault> {
        let mut step = self.before(Verb::Write, name.kind(), Some(name)).await?;
        if let Some(Act::TearWrite) = step.act {
            let torn = bytes.slice(..step.random.index(bytes.len()));
            self.inner.write(name, torn).await?;
            return Err(self.fault(&step, FaultKind::Unreachable, "the connection broke within the file"));
        }
        self.inner.write(name, bytes).await?;
        self.after(&step)
    }

    async fn remove(&self, name: FileName) -> Result<(), Fault> {
        let step = self.before(Verb::Remove, name.kind(), Some(name)).await?;
        self.inner.remove(name).await?;
        self.after(&step)
    }
}
