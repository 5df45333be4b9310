//! What each kind of server has to offer: the entries of a folder, and a file from any byte on.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use model::Fault;
use repository::backup::Entry;

/// A tree on a server. Nothing in it writes, and nothing is tried twice: that is the matter of whoever asks.
#[async_trait]
pub(super) trait Tree: Send + Sync + fmt::Debug {
    /// What to call it, without secrets.
    fn place(&self) -> &str;

    /// All entries of a folder; of the top for an empty path. An error where there may be more.
    async fn list(&self, folder: &[u8]) -> Result<Vec<Entry>, Fault>;

    /// A file, from a byte on. `known` is the state in which it is believed to be, from a listing or from an earlier
    /// opening; a file in another one is opened all the same, or refused as [`model::FaultKind::Damaged`].
    async fn open(&self, path: &[u8], from: u64, known: Option<&State>) -> Result<Opened, Fault>;
}

/// An open file.
pub(super) struct Opened {
    /// Its state before the first byte.
    pub(super) state: State,
    /// Which byte comes first; not every server begins where it was asked to.
    pub(super) from: u64,
    pub(super) content: Box<dyn Content>,
}

/// The bytes of a file in order.
#[async_trait]
pub(super) trait Content: Send {
    /// The next bytes; none when the server says that this is the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Fault>;

    /// The state of the file behind the last byte; none where a file that was opened cannot change.
    async fn state_after(self: Box<Self>) -> Result<Option<State>, Fault>;
}

/// By what a file is known to be the same.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) size: Option<u64>,
    pub(super) modified: Option<(i64, u32)>,
    pub(super) version: Option<Vec<u8>>,
}

impl State {
    pub(super) fn of(entry: &Entry) -> Self {
        Self { size: entry.size, modified: entry.modified, version: entry.version.clone() }
    }

    /// Whether something that both know is not the same.
    pub(super) fn differs(&self, other: &Self) -> bool {
        fn differ<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
            one.zip(other).is_some_and(|(one, other)| one != other)
        }
        // A tag is weak for a moment after a change and strong from then on.
        let tag = |state: &Self| state.version.as_deref().map(|tag| tag.strip_prefix(b"W/").unwrap_or(tag).to_vec());
        differ(self.size, other.size) || differ(self.modified, other.modified) || differ(tag(self), tag(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_differ_in_what_both_know() {
        let state = |size, seconds: Option<i64>, tag: Option<&str>| State {
            size,
            modified: seconds.map(|seconds| (seconds, 0)),
            version: tag.map(|tag| tag.as_bytes().to_vec()),
        };
        let one = state(Some(1), Some(2), Some("W/\"a\""));
        assert!(!one.differs(&state(Some(1), Some(2), Some("\"a\""))));
        assert!(!one.differs(&state(None, None, None)));
        assert!(one.differs(&state(Some(2), None, None)));
        assert!(one.differs(&state(Some(1), Some(3), None)));
        assert!(one.differs(&state(Some(1), Some(2), Some("\"b\""))));
    }
}
