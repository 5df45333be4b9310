//! What a test asks of the proxy.

use std::time::Duration;

use format::FileKind;

use super::Asked;
use crate::faulty::Verb;

/// How a connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// Bytes are taken and lead nowhere; nothing comes back.
    Drop,
    /// A reset.
    Reset,
    /// An orderly end in the middle.
    Finish,
    /// The other side is gone and nobody was told: no byte is taken and none is given.
    HalfOpen,
}

impl Break {
    /// All of them.
    pub const ALL: [Break; 4] = [Break::Drop, Break::Reset, Break::Finish, Break::HalfOpen];

    /// True when the client hears nothing of it and has to notice by itself.
    pub fn is_silent(self) -> bool {
        matches!(self, Break::Drop | Break::HalfOpen)
    }
}

/// Where in an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// As soon as the connection stands.
    Connection,
    /// When so many thousandths of the request, head and body, have reached the server.
    Request(u16),
    /// When so many thousandths of the reply have reached the client; at 0, what was asked is done and nobody knows.
    Reply(u16),
}

impl At {
    /// The place among `bytes` bytes of the request, if it is there.
    pub(super) fn in_request(self, bytes: u64) -> Option<u64> {
        let At::Request(thousandths) = self else { return None };
        Some(bytes * u64::from(thousandths.min(1000)) / 1000)
    }

    /// The place among `bytes` bytes of the reply, if it is there.
    pub(super) fn in_reply(self, bytes: u64) -> Option<u64> {
        let At::Reply(thousandths) = self else { return None };
        Some(bytes * u64::from(thousandths.min(1000)) / 1000)
    }
}

/// What a listing says instead of the truth, with success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Nothing is there.
    Empty,
    /// Only so many of a hundred files.
    Percent(u8),
    /// What was there when the rules were given.
    Stale,
    /// Its bytes end in the middle, and the length agrees.
    Cut,
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpFault {
    /// The connection breaks.
    Break(Break, At),
    /// Nothing moves for this long, then all goes on.
    Stall(Duration, At),
    /// Both directions move so many bytes a second.
    Slow {
        /// Bytes per second.
        bytes_per_second: u64,
    },
    /// The server never sees the request; this is the answer.
    Answer {
        /// The status.
        status: u16,
        /// More header lines.
        headers: Vec<String>,
        /// What it says.
        body: String,
    },
    /// The server does what was asked; this is the answer.
    AnswerInstead {
        /// The status.
        status: u16,
    },
    /// The body of the reply ends in the middle, and the announced length agrees.
    ShortBody,
    /// A listing is not the truth.
    Listing(Lie),
}

impl HttpFault {
    /// An answer with a status alone.
    pub fn status(status: u16) -> Self {
        Self::Answer { status, headers: Vec::new(), body: String::new() }
    }

    /// An answer that asks to come back later.
    pub fn retry_after(status: u16, seconds: u64) -> Self {
        Self::Answer { status, headers: vec![format!("Retry-After: {seconds}")], body: String::new() }
    }

    /// An answer that points somewhere else.
    pub fn redirect(status: u16, target: &str) -> Self {
        Self::Answer { status, headers: vec![format!("Location: {target}")], body: String::new() }
    }

    /// Done, and the connection is gone before the answer.
    pub fn lost_reply() -> Self {
        Self::Break(Break::Reset, At::Reply(0))
    }
}

/// One fault, and the requests that it happens to.
#[derive(Debug, Clone)]
pub struct Rule {
    fault: HttpFault,
    verb: Option<Verb>,
    kind: Option<FileKind>,
    from: u64,
    times: Option<u64>,
}

impl Rule {
    /// `fault` on every request.
    pub fn new(fault: HttpFault) -> Self {
        Self { fault, verb: None, kind: None, from: 1, times: None }
    }

    /// Only on requests of this verb.
    #[must_use]
    pub fn on(mut self, verb: Verb) -> Self {
        self.verb = Some(verb);
        self
    }

    /// Only on requests about files of this kind.
    #[must_use]
    pub fn of(mut self, kind: FileKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Only from the request of this number on, of those that fit.
    #[must_use]
    pub fn from(mut self, number: u64) -> Self {
        self.from = number;
        self
    }

    /// Only so many times.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    pub(super) fn fault(&self) -> &HttpFault {
        &self.fault
    }

    pub(super) fn is_about_connections(&self) -> bool {
        matches!(self.fault, HttpFault::Break(_, At::Connection))
    }

    pub(super) fn broken(&self) -> Option<Break> {
        if let HttpFault::Break(how, _) = self.fault { Some(how) } else { None }
    }

    pub(super) fn fits(&self, asked: &Asked) -> bool {
        self.verb.is_none_or(|verb| verb == asked.verb)
            && self.kind.is_none_or(|kind| asked.words().any(|words| concerns(words, kind)))
    }

    /// Whether the `number`th of those that fit is meant.
    pub(super) fn is_due(&self, number: u64) -> bool {
        self.from <= number && self.times.is_none_or(|times| number < self.from.saturating_add(times))
    }
}

/// Paths have the folder as a whole part; listings of buckets have it in the query, encoded, and some questions in JSON.
fn concerns(words: &str, kind: FileKind) -> bool {
    let decoded = words.replace("%2F", "/");
    let path = decoded.split('&').find(|part| part.starts_with("prefix=")).unwrap_or(&decoded);
    path.split(['/', '?', '=', '"', ' ']).any(|part| part == kind.folder())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_apart_in_both_protocols() {
        assert!(concerns("/repo/data/", FileKind::Pack));
        assert!(concerns("/repo/config", FileKind::Config));
        assert!(concerns("/bucket/pre/index/abc", FileKind::Index));
        let listing = "/bucket/?encoding-type=url&list-type=2&prefix=pre%2Flocks%2F&max-keys=1";
        assert!(concerns(listing, FileKind::Lock));
        assert!(concerns(r#"{"bucketId":"id-1","prefix":"pre/locks/"}"#, FileKind::Lock));
        assert!(!concerns(listing, FileKind::Key) && !concerns("/database/keys/", FileKind::Pack));
    }

    #[test]
    fn a_rule_is_due_for_as_long_as_it_says() {
        let rule = Rule::new(HttpFault::status(500)).from(3).times(2);
        let due: Vec<u64> = (1..8).filter(|number| rule.is_due(*number)).collect();
        assert_eq!(due, [3, 4]);
        assert!(Rule::new(HttpFault::status(500)).is_due(u64::MAX));
    }
}
