//! Why something failed on the way to or at an SFTP server, before it is known which object it was about.

use model::FaultKind;

use super::wire::Malformed;

/// Codes of answers: those of version 3, and those of later versions that some servers use all the same.
mod code {
    pub(super) const OK: u32 = 0;
    pub(super) const END: u32 = 1;
    pub(super) const NO_SUCH_FILE: u32 = 2;
    pub(super) const PERMISSION_DENIED: u32 = 3;
    pub(super) const FAILURE: u32 = 4;
    pub(super) const BAD_MESSAGE: u32 = 5;
    pub(super) const NO_CONNECTION: u32 = 6;
    pub(super) const CONNECTION_LOST: u32 = 7;
    pub(super) const NOT_SUPPORTED: u32 = 8;
    pub(super) const NO_SUCH_PATH: u32 = 10;
    pub(super) const EXISTS: u32 = 11;
    pub(super) const WRITE_PROTECTED: u32 = 12;
    pub(super) const NO_SPACE: u32 = 14;
    pub(super) const QUOTA: u32 = 15;
}

/// No more of a server's words than this in a message of ours.
const WORDS_LIMIT_CHARS: usize = 200;

#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) kind: FaultKind,
    pub(super) cause: String,
    /// The server said only that it failed: what lies behind it may be found out elsewhere.
    pub(super) is_vague: bool,
}

pub(super) type Result<T> = std::result::Result<T, Trouble>;

impl Trouble {
    pub(super) fn new(kind: FaultKind, cause: impl Into<String>) -> Self {
        Self { kind, cause: cause.into(), is_vague: false }
    }

    pub(super) fn damaged(cause: impl Into<String>) -> Self {
        Self::new(FaultKind::Damaged, cause)
    }

    pub(super) fn unreachable(cause: impl Into<String>) -> Self {
        Self::new(FaultKind::Unreachable, cause)
    }

    /// A server that does not keep to the protocol.
    pub(super) fn protocol(what: Malformed) -> Self {
        Self::new(FaultKind::Failing, format!("the server does not keep to SFTP: {what}"))
    }
}

/// The end of a file or listing.
pub(super) fn is_end(code: u32) -> bool {
    code == code::END
}

/// What a status is: nothing wrong, or why.
pub(super) fn of_status(code: u32, message: &str) -> Result<()> {
    let words: String = message.chars().filter(|c| !c.is_control()).take(WORDS_LIMIT_CHARS).collect();
    let lower = words.to_lowercase();
    let kind = match code {
        code::OK => return Ok(()),
        code::NO_SUCH_FILE | code::NO_SUCH_PATH => FaultKind::NotFound,
        code::PERMISSION_DENIED | code::WRITE_PROTECTED => FaultKind::Denied,
        code::NO_SPACE | code::QUOTA => FaultKind::Full,
        code::EXISTS => FaultKind::Exists,
        code::NO_CONNECTION | code::CONNECTION_LOST => FaultKind::Unreachable,
        code::NOT_SUPPORTED | code::BAD_MESSAGE => FaultKind::Refused,
        // Some servers put the reason into the words.
        _ if lower.contains("no space") || lower.contains("quota") => FaultKind::Full,
        _ if lower.contains("read-only") => FaultKind::Denied,
        _ => FaultKind::Failing,
    };
    let is_vague = code == code::FAILURE && kind == FaultKind::Failing;
    let words = if words.is_empty() { format!("status {code}") } else { words };
    Err(Trouble { kind, cause: format!("the server answered `{words}`"), is_vague })
}
