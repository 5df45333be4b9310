//! What a test asks of a faulty destination.

use format::{FileKind, FileName};
use model::FaultKind;

use super::Gate;
use crate::random::Random;

/// What was asked of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Make the layout.
    Create,
    /// List a kind.
    List,
    /// Size of a file.
    Stat,
    /// Bytes of a file.
    Read,
    /// Store a file.
    Write,
    /// Remove a file.
    Remove,
}

impl Verb {
    /// The word in fault messages.
    pub fn word(self) -> &'static str {
        match self {
            Verb::Create => "create",
            Verb::List => "list",
            Verb::Stat => "stat",
            Verb::Read => "read",
            Verb::Write => "write",
            Verb::Remove => "remove",
        }
    }
}

/// One thing that was asked of the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Its number among all, from 1.
    pub number: u64,
    /// Its number among those of its verb, from 1.
    pub of_verb: u64,
    /// What was asked.
    pub verb: Verb,
    /// The kind of file; config for `create`.
    pub kind: FileKind,
    /// The file, where there is one.
    pub name: Option<FileName>,
}

/// When a rule acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Always.
    Always,
    /// At the operation of this number.
    At(u64),
    /// At the operations from this number on.
    From(u64),
    /// At operations of this verb.
    Every(Verb),
    /// At the operation of this number among those of the verb.
    Nth(Verb, u64),
    /// At operations of this verb on files of this kind.
    Kind(Verb, FileKind),
    /// At operations of this verb on this file.
    File(Verb, FileName),
    /// Once in so many operations of this verb, by the seed.
    Chance(Verb, u64),
}

/// What a rule does.
#[derive(Debug, Clone)]
pub enum Act {
    /// Does nothing and reports this.
    FailBefore(FaultKind),
    /// Does it and reports this: a lost reply.
    FailAfter(FaultKind),
    /// Does nothing, and fails from now on, as if the place were gone.
    DieBefore,
    /// Does it, does not say so, and fails from now on.
    DieAfter,
    /// Reads: one bit is wrong.
    FlipBit,
    /// Reads: the end is missing, and nobody says so.
    Truncate,
    /// Reads: the bytes of another file.
    Swap(FileName),
    /// Listings: nothing, with success.
    EmptyListing,
    /// Listings: so many files are left out, with success.
    ShortListing {
        /// How many.
        missing: usize,
    },
    /// Listings: what the first listing of this kind said.
    StaleListing,
    /// Writes: a part of the bytes gets the final name, and the connection breaks.
    TearWrite,
    /// Waits until the gate is open, then does it.
    Wait(Gate),
}

/// One fault.
#[derive(Debug, Clone)]
pub struct Rule {
    /// When.
    pub when: When,
    /// What.
    pub act: Act,
}

/// All faults of one destination.
#[derive(Debug, Clone, Default)]
pub struct Script {
    pub(super) seed: u64,
    rules: Vec<Rule>,
}

impl Script {
    /// No faults; choices are made by `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed, rules: Vec::new() }
    }

    /// One more fault, behind those that are there.
    #[must_use]
    pub fn with(mut self, when: When, act: Act) -> Self {
        self.rules.push(Rule { when, act });
        self
    }

    pub(super) fn act_on(&self, operation: &Operation) -> Option<Act> {
        let fits = |when: When| match when {
            When::Always => true,
            When::At(number) => operation.number == number,
            When::From(number) => operation.number >= number,
            When::Every(verb) => operation.verb == verb,
            When::Nth(verb, number) => operation.verb == verb && operation.of_verb == number,
            When::Kind(verb, kind) => operation.verb == verb && operation.kind == kind,
            When::File(verb, name) => operation.verb == verb && operation.name == Some(name),
            When::Chance(verb, one_in) => {
                operation.verb == verb && Random::new(self.seed.wrapping_add(operation.of_verb)).chance(one_in)
            }
        };
        self.rules.iter().find(|rule| fits(rule.when)).map(|rule| rule.act.clone())
    }
}
