//! What can go wrong at a place that holds files, told in a way that both retry and report can use.
//!
//! *Branching* on a fault uses [`FaultKind`], *reporting* it uses `Display` and [`Fault::hint`]: two jobs, two
//! parts of one value. A `Fault` is plain data, so that it can be cloned into every report that mentions it.

use std::fmt;

/// Whose trouble a fault is. It keeps "the repository is full" from ever being taken for "a file could not be read".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// What was to be backed up, or the target of a restore.
    Source,
    /// The place that holds a copy.
    Destination,
    /// What lies between us and that place.
    Network,
    /// The user's settings, credentials or request.
    Control,
    /// Ours.
    Bug,
}

/// Whether doing the same thing again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Soon, with backoff.
    Now,
    /// In a later run, after somebody or something has made room.
    Later,
    /// Never without a change.
    Never,
}

/// The kinds of trouble that callers branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The object is not there, and the place was able to say so.
    NotFound,
    /// Credentials were refused, or they do not permit this.
    Denied,
    /// The place itself is away: a disk that is not plugged in, a folder that is not mounted.
    Absent,
    /// No space, or the quota is used up.
    Full,
    /// The place could not be reached, or the connection broke.
    Unreachable,
    /// No progress within the stall limit.
    Stalled,
    /// The place is there and failed in a way that may pass (5xx, 429, EIO).
    Failing,
    /// The place refused for good (4xx, an unsupported request).
    Refused,
    /// It is there, in an archive, and cannot be read before it was asked for.
    Cold,
    /// Another object has this name already.
    Exists,
    /// Bytes do not match their name, their length or their form.
    Damaged,
    /// The settings for this place make no sense.
    Misconfigured,
    /// The user asked to stop.
    Interrupted,
}

/// One failed action on one object at one place.
#[derive(Debug, Clone, thiserror::Error)]
pub struct Fault {
    /// What callers branch on.
    pub kind: FaultKind,
    /// What failed, as a verb: `read`, `write`, `list`.
    pub action: &'static str,
    /// The object, as a path inside the place; empty for the place as a whole.
    pub object: String,
    /// The place, without secrets.
    pub place: String,
    /// Why, in the words of whoever said no; without secrets.
    pub cause: String,
    /// How long the place asked us to wait (`Retry-After`).
    pub wait: Option<std::time::Duration>,
}

impl Fault {
    /// A fault of `kind` while doing `action` to `object` at `place`.
    pub fn new(
        kind: FaultKind,
        action: &'static str,
        object: impl Into<String>,
        place: impl Into<String>,
        cause: impl fmt::Display,
    ) -> Self {
        Self { kind, action, object: object.into(), place: place.into(), cause: cause.to_string(), wait: None }
    }

    /// Whose trouble this is.
    pub fn side(&self) -> Side {
        match self.kind {
            FaultKind::Unreachable | FaultKind::Stalled => Side::Network,
            FaultKind::Denied | FaultKind::Misconfigured | FaultKind::Interrupted => Side::Control,
            _ => Side::Destination,
        }
    }

    /// Whether doing it again can help.
    pub fn retry(&self) -> Retry {
        match self.kind {
            FaultKind::Unreachable | FaultKind::Stalled | FaultKind::Failing => Retry::Now,
            FaultKind::Full | FaultKind::Absent | FaultKind::Cold => Retry::Later,
            _ => Retry::Never,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self.kind {
            FaultKind::NotFound => None,
            FaultKind::Denied => Some("check the credentials of this destination and what they permit"),
            FaultKind::Absent => Some("plug in or mount the disk; the copy is brought up to date with the next backup"),
            FaultKind::Full => Some("make room at this destination, or raise its quota; nothing stored so far is lost"),
            FaultKind::Unreachable => Some("check that the destination is up, its address, and the network between"),
            FaultKind::Stalled => Some("the destination stopped answering; try again, or check its load"),
            FaultKind::Failing => Some("the destination has trouble of its own; see its log"),
            FaultKind::Refused => Some("check that the URL names a place of this kind"),
            FaultKind::Cold => {
                Some("`triplicate restore` asks for what it needs and waits for it; or name a copy that is not cold")
            }
            FaultKind::Exists => Some("the name is taken by other content; nothing was overwritten"),
            FaultKind::Damaged => {
                Some("run `triplicate check --read-data`; other copies are used where they are sound")
            }
            FaultKind::Misconfigured => {
                Some("check the address of this destination and what is set for it; README has the forms")
            }
            FaultKind::Interrupted => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.object.is_empty() {
            write!(f, "cannot {} {}: {}", self.action, self.place, self.cause)
        } else {
            write!(f, "cannot {} `{}` on {}: {}", self.action, self.object, self.place, self.cause)
        }
    }
}
