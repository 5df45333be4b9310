//! What can be wrong with bytes of a repository: which object, and why.
//!
//! Only cases that a caller treats differently are variants. Texts never hold file contents or secrets, because
//! they end in logs and reports.

use model::Id;

/// `Result` with this crate's error.
pub type Result<T> = std::result::Result<T, FormatError>;

/// Bytes that are not what the format says, or not what their name says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The password does not open this key file; another key file may still be opened by it.
    #[error("the password does not open this key")]
    WrongPassword,

    /// The message authentication code does not match: damaged, forged, or sealed by another master key.
    #[error("{what} cannot be opened: it is damaged or was sealed by another key")]
    Sealed {
        /// Which kind of object.
        what: &'static str,
    },

    /// Authentic or plain bytes that the format does not allow.
    #[error("{what} is malformed: {why}")]
    Malformed {
        /// Which kind of object.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },

    /// A named limit would be passed; refused before memory or time is spent.
    #[error("{what} is too large: the limit is {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit, in the unit that `what` names.
        limit: u64,
    },

    /// Written for a reader of another version.
    #[error("{what} is not supported: {why}")]
    Unsupported {
        /// Which kind of object.
        what: &'static str,
        /// What is not understood.
        why: String,
    },

    /// Sound bytes under a wrong name: their SHA-256 is not the id that was asked for.
    #[error("{what} {expected} has other contents: their hash is {found}")]
    WrongContents {
        /// Which kind of object.
        what: &'static str,
        /// The id that was asked for.
        expected: Id,
        /// The hash of what was found.
        found: Id,
    },

    /// The operating system gave no random bytes; nothing may be sealed without them.
    #[error("no random bytes from the operating system: {why}")]
    NoRandomness {
        /// The operating system's reason.
        why: String,
    },
}

impl FormatError {
    pub(crate) fn malformed(what: &'static str, why: impl std::fmt::Display) -> Self {
        Self::Malformed { what, why: why.to_string() }
    }
}
