//! Why something failed on the way to or at an FTP server, before it is known which object it was about.

use destinations::reach;
use model::FaultKind;

use super::control::Reply;

/// No more of a server's words than this in a message of ours.
const WORDS_LIMIT_CHARS: usize = 200;

#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) kind: FaultKind,
    pub(super) cause: String,
    /// The server refused without a reason: what lies behind it may be found out elsewhere.
    pub(super) is_vague: bool,
    /// The session cannot be used again: nobody knows which answer would come next.
    pub(super) ends_session: bool,
}

pub(super) type Result<T> = std::result::Result<T, Trouble>;

impl Trouble {
    /// A refusal after which the session goes on.
    pub(super) fn new(kind: FaultKind, cause: impl Into<String>) -> Self {
        Self { kind, cause: cause.into(), is_vague: false, ends_session: false }
    }

    /// The same of something after which it does not.
    pub(super) fn fatal(kind: FaultKind, cause: impl Into<String>) -> Self {
        Self { ends_session: true, ..Self::new(kind, cause) }
    }

    pub(super) fn broken(error: impl std::fmt::Display) -> Self {
        Self::fatal(FaultKind::Unreachable, format!("the connection broke: {error}"))
    }

    /// What it means that TLS did not come about.
    pub(super) fn insecure(error: &std::io::Error) -> Self {
        if reach::is_about_certificates(error) {
            return Self::fatal(FaultKind::Misconfigured, format!("TLS cannot be agreed on: {error}"));
        }
        Self::broken(error)
    }

    /// An answer that is none of those which were hoped for (RFC 959, section 4.2).
    pub(super) fn refused(reply: &Reply) -> Self {
        let words = shown(reply.words());
        let kind = reach::kind_of_ftp_refusal(u32::from(reply.code), &words);
        Self {
            kind,
            cause: format!("the server answered `{} {words}`", reply.code),
            is_vague: kind == FaultKind::Failing && 500 <= reply.code,
            ends_session: matches!(reply.code, 421 | 425 | 426),
        }
    }
}

/// A server's words, short and on one line.
pub(super) fn shown(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS_LIMIT_CHARS).collect();
    line.trim().to_owned()
}
